//! What the platform says of QEMU's machines is what happened there.
//!
//! Without QEMU 10.0 or newer the tests fail, unless `VCM_WITHOUT_QEMU_IOMMUS` is set.

mod qemu_iommu;

use qemu_iommu::{noise, without_qemu_iommus};
use vcm::{
    Access, Answer, Attributes, DeviceHandle, Fault, FaultReason, FaultState, Hardware, Iova, Part,
    PhysicalAddress, Privilege, RegionKind, Segment, Segments, SpaceHandle, Span,
};
use vcm_platform::{Event, Layout, Outcome, Platform, Surface, Transfer, TransferReport, pattern};
use vcm_qemu::{Device, Emulated, Invalidations, IommuModel};

/// Where the page is for devices.
const AT: u64 = 0x2000_0000;
const PAGE: u64 = 0x1000;

/// A machine whose `lsi1` finds one page of memory at [`AT`].
struct World {
    emulated: Emulated,
    lsi: DeviceHandle,
    space: SpaceHandle,
    memory: PhysicalAddress,
}

impl World {
    fn start(model: IommuModel, more: &[Device]) -> Self {
        let mut emulated = Emulated::start_with("qemu", model, more).unwrap_or_else(|error| {
            panic!("{model:?}: {error}. Install QEMU 10.0 or newer, or set VCM_WITHOUT_QEMU_IOMMUS")
        });
        let lsi = emulated.devices().iter().find(|device| device.name == "lsi1").unwrap().handle;
        let format = emulated.format(lsi, Part::Whole).unwrap();
        let span = Span::new(0x1000_0000, 0x6000_0000).unwrap();
        let space = emulated.create_space(RegionKind::Translated, format, span).unwrap();
        let memory = PhysicalAddress::new(emulated.memories()[0].span.first());
        emulated.machine().ram().write_bytes(memory, &noise(1, PAGE as usize)).unwrap();
        let mut world = Self { emulated, lsi, space, memory };
        world.map(Attributes::READ_WRITE);
        world.emulated.attach(space, lsi, Part::Whole).unwrap();
        world
    }

    fn map(&mut self, attributes: Attributes) {
        let page = [Segment { base: self.memory, len: PAGE }];
        self.emulated.map(self.space, AT, Segments::new(&page, 0, PAGE), attributes).unwrap();
    }

    fn unmap(&mut self) {
        let _ = self.emulated.unmap(self.space, Span::new(AT, PAGE).unwrap()).unwrap();
    }

    /// Runs a transfer of `lsi1`, and gives the faults that there were. Those that wait are terminated.
    fn run(&mut self, transfer: &Transfer) -> (TransferReport, Vec<Fault>) {
        self.emulated.start(self.lsi, transfer, Privilege::User).unwrap();
        let mut faults = Vec::new();
        loop {
            match self.emulated.next_event().unwrap().expect("a transfer is under way") {
                Event::Fault { token, fault } => {
                    faults.push(fault);
                    self.emulated.answer(token, Answer::Terminate);
                }
                Event::Completed { device, report } => {
                    assert_eq!(device, self.lsi);
                    return (report, faults);
                }
                _ => {}
            }
        }
    }

    fn memory(&self) -> Vec<u8> {
        let mut bytes = vec![0; PAGE as usize];
        self.emulated.read_memory(self.memory, &mut bytes).unwrap();
        bytes
    }
}

fn page(address: u64) -> Surface {
    Surface { address, layout: Layout::Linear { len: PAGE } }
}

fn write(seed: u64) -> Transfer {
    Transfer::Write { to: page(AT), seed }
}

/// What a driver forgot to invalidate is used: the platform does not make good for it.
#[test]
fn a_missing_invalidation_is_not_hidden() {
    if without_qemu_iommus() {
        return;
    }
    for model in [IommuModel::VtdLegacy, IommuModel::VtdScalableFirstStage, IommuModel::Riscv] {
        let mut world = World::start(model, &[]);
        assert_eq!(world.run(&write(1)).0.outcome, Outcome::Completed);
        // The driver is careless once.
        world.emulated.set_invalidations(Invalidations::LeftOut);
        world.unmap();
        world.emulated.set_invalidations(Invalidations::Made);
        let (report, faults) = world.run(&write(2));
        assert_eq!((report.outcome, faults), (Outcome::Completed, vec![]), "{model:?}");
        let written: Vec<u8> = (0..PAGE).map(|index| pattern(2, index)).collect();
        assert!(world.memory() == written, "{model:?}: other bytes arrived than it says");
        // The same for a permission that was taken away: what arrived can be seen.
        world.emulated.set_invalidations(Invalidations::LeftOut);
        world.map(Attributes::READ_WRITE.with_access(Access::READ));
        world.emulated.set_invalidations(Invalidations::Made);
        let before = world.memory();
        let (_, faults) = world.run(&write(3));
        assert_eq!(faults.len(), 1, "{model:?}");
        assert!(world.memory() != before, "{model:?}: what was stale did not pass");
    }
}

/// A refused access of a device that somebody else programs is that device's, and spoils nobody's transfer.
#[test]
fn another_device_s_fault_is_told_as_its_own() {
    if without_qemu_iommus() {
        return;
    }
    for model in [IommuModel::Smmuv3, IommuModel::VtdLegacy, IommuModel::VirtioOnArm] {
        let mut world = World::start(model, &[Device::Edu { slot: 20 }]);
        let other = world.emulated.devices().iter().find(|device| device.name == "slot20").unwrap().handle;
        world.emulated.attach(world.space, other, Part::Whole).unwrap();
        let edu = world.emulated.machine().edu(20).unwrap();
        let nowhere = AT + 0x10_0000;
        edu.dma_to_device(Iova::new(nowhere), 0, 4).unwrap();
        let (report, faults) = world.run(&write(4));
        assert_eq!((report.outcome, report.faults), (Outcome::Completed, 0), "{model:?}");
        assert!(!faults.is_empty(), "{model:?}");
        for fault in faults {
            assert_eq!((fault.device, fault.address, fault.state), (other, nowhere, FaultState::Terminated));
            assert_ne!(fault.reason, FaultReason::NoContext, "{model:?}");
        }
    }
}

/// The masters have 32 bits of address. What lies beyond is an error that says so, and the next transfer works.
#[test]
fn addresses_beyond_a_master_s_reach_are_an_error_that_says_so() {
    if without_qemu_iommus() {
        return;
    }
    let mut world = World::start(IommuModel::Smmuv3, &[]);
    for address in [1 << 32, u64::MAX - (PAGE - 1)] {
        let far = Transfer::Write { to: page(address), seed: 1 };
        world.emulated.start(world.lsi, &far, Privilege::User).unwrap();
        let error = world.emulated.next_event().unwrap_err();
        assert!(error.to_string().contains("not below 4 GiB"), "{error}");
        assert_eq!(world.emulated.next_event().unwrap(), None);
    }
    let nothing = Transfer::Write { to: Surface { address: AT, layout: Layout::Linear { len: 0 } }, seed: 0 };
    assert_eq!(world.run(&nothing).0.bytes_written, 0);
    assert_eq!(world.run(&write(5)).0.outcome, Outcome::Completed);
}
