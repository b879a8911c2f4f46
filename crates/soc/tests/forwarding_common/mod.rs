//! A machine whose bus masters have interrupts, with guests on it.
#![allow(dead_code, unused_imports, reason = "not every test file uses every helper")]

pub(crate) use vcm::DeviceHandle;
pub(crate) use vcm_irq::DeviceInterrupt;
pub(crate) use vcm_irq::kvm::{Fallback, Mode};
pub(crate) use vcm_platform::topology::{Interrupt, InterruptKind, Topology, Trigger, shipped};
pub(crate) use vcm_platform::{
    AssignmentHandle, AssignmentRequest, Event, GuestEnd, GuestHandle, GuestRequest, InterruptCounts,
    InterruptRemains, Interrupts, Pace, Platform, PlatformError, Quieting, Stage, Way,
};
pub(crate) use vcm_soc::Soc;
pub(crate) use vcm_soc::hardware::Options;

pub(crate) const LINE: DeviceInterrupt = DeviceInterrupt { index: 0, subindex: 0 };
/// The first master's interrupt at the host; the others follow.
pub(crate) const FIRST: u32 = 200;
pub(crate) const AUTOMASKED: Mode = Mode::Automasked(Fallback::Configured);
/// Masters of the machine: more than there are list registers.
pub(crate) const DEVICES: u32 = 9;

/// A machine with nine masters, each with one interrupt of this kind.
pub(crate) fn machine(trigger: Trigger) -> Soc {
    let mut topology = Topology::from_device_tree(shipped("two-banks").unwrap()).unwrap();
    for number in 5..DEVICES {
        let mut master = topology.masters[4].clone();
        master.name = format!("{}{number}", master.name);
        topology.masters.push(master);
    }
    for (master, number) in topology.masters.iter_mut().zip(FIRST..) {
        master.interrupts = vec![Interrupt { name: None, kind: InterruptKind::Shared, number, trigger }];
    }
    assert_eq!(topology.masters.len(), DEVICES as usize);
    Soc::new(&topology, &Options::default()).unwrap()
}

/// What a guest is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) vcpus: u16,
    pub(crate) quieting: Quieting,
    pub(crate) end: GuestEnd,
}

impl Kind {
    pub(crate) const PLAIN: Self = Self { vcpus: 1, quieting: Quieting::BeforeEnd, end: GuestEnd::Together };

    /// Every kind with one vCPU and with four.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let quietings = [Quieting::BeforeEnd, Quieting::AfterEnd, Quieting::Oneshot];
        let ends = [GuestEnd::Together, GuestEnd::Apart];
        [1, 4].into_iter().flat_map(move |vcpus| {
            quietings
                .into_iter()
                .flat_map(move |quieting| ends.into_iter().map(move |end| Self { vcpus, quieting, end }))
        })
    }
}

pub(crate) fn start(soc: &mut Soc, name: &str, kind: Kind) -> GuestHandle {
    let Kind { vcpus, quieting, end } = kind;
    soc.start_guest(&GuestRequest { name: name.to_owned(), vcpus, quieting, end }).unwrap()
}

/// Gives the interrupt of a device to a guest, as GSI 100 and so on.
pub(crate) fn give(soc: &mut Soc, guest: GuestHandle, device: u32, way: Way) -> AssignmentHandle {
    try_give(soc, guest, device, way).unwrap()
}

pub(crate) fn try_give(
    soc: &mut Soc,
    guest: GuestHandle,
    device: u32,
    way: Way,
) -> Result<AssignmentHandle, PlatformError> {
    let request =
        AssignmentRequest { device: DeviceHandle(device), interrupt: LINE, guest, gsi: 100 + device, way };
    let (handle, mode) = soc.assign(&request)?;
    assert_eq!(mode, if way == Way::Forwarded { Mode::Forwarded } else { AUTOMASKED });
    assert_eq!(soc.mode(handle), Some(mode));
    Ok(handle)
}

pub(crate) fn ask(soc: &mut Soc, device: u32, times: u64, pace: Pace) {
    soc.ask(DeviceHandle(device), LINE, times, pace).unwrap();
}

/// A guest of this kind with one device.
pub(crate) fn one(trigger: Trigger, kind: Kind, way: Way) -> (Soc, GuestHandle, AssignmentHandle) {
    let mut soc = machine(trigger);
    let guest = start(&mut soc, "guest", kind);
    let handle = give(&mut soc, guest, 0, way);
    (soc, guest, handle)
}

/// All that was asked was served, and nothing is under way.
#[track_caller]
pub(crate) fn all_served(soc: &Soc, handle: AssignmentHandle, asked: u64) {
    let counts = soc.counts(handle);
    assert_eq!((counts.asked, counts.lost, counts.shut), (asked, 0, 0), "{counts:?}");
    assert!(counts.delivered <= asked, "{counts:?}");
    assert!(counts.delivered > 0 || asked == 0, "{counts:?}");
}

/// As [`all_served`], and each request for itself.
#[track_caller]
pub(crate) fn each_served(soc: &Soc, handle: AssignmentHandle, asked: u64) {
    all_served(soc, handle, asked);
    assert_eq!(soc.counts(handle).delivered, asked);
}
