//! The machine around the hardware: the host, one virtual machine with its vCPUs, and who waits for whom.
//!
//! It runs in one thread: whoever waits for a vCPU to leave the guest makes it leave.

use super::hardware::Hardware;
use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};
use vcm_irq::host::{Acknowledged, Host, OpenLine, StormLimit, Taken, Trigger};
use vcm_irq::kvm::{Mode, Route};
use vcm_irq::vgic::{Completion, CompletionBy, EndMode, ListRegister, LrState, Machine, Vcpu, Vm, Wanted};
use vcm_irq::{FIRST_SPI, GuestInterrupt, HostInterrupt, Sense, Token, VcpuId};

/// The shape of a machine.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// A device with one line each.
    pub(crate) devices: Vec<Sense>,
    pub(crate) cpus: usize,
    pub(crate) vcpus: usize,
    pub(crate) registers: usize,
    pub(crate) ends: EndMode,
    pub(crate) completion: CompletionBy,
    pub(crate) storm: StormLimit,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            devices: vec![Sense::Level],
            cpus: 1,
            vcpus: 1,
            registers: 2,
            ends: EndMode::Together,
            completion: CompletionBy::Guest,
            storm: StormLimit::NONE,
        }
    }
}

/// Guest and host numbers are not the same, nor in the same order.
pub(crate) fn guest_number(device: usize) -> GuestInterrupt {
    GuestInterrupt(FIRST_SPI + (device as u32 ^ 3))
}

/// In the guest, the first device is the most urgent; sixteen priorities are all there are for them.
pub(crate) fn priority(device: usize) -> u8 {
    0x80 + 8 * (device % 16) as u8
}

/// Which device has this number in the guest.
pub(crate) fn device_of(interrupt: GuestInterrupt) -> usize {
    ((interrupt.0 - FIRST_SPI) ^ 3) as usize
}

pub(crate) fn host_number(device: usize) -> HostInterrupt {
    HostInterrupt(FIRST_SPI + device as u32)
}

pub(crate) fn eventfd(device: usize) -> Token {
    Token::new(1 + device as u64).expect("not 0")
}

/// The guest interrupt that software raises, and no device.
pub(crate) const SOFTWARE: GuestInterrupt = GuestInterrupt(40);

/// What a guest has acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct InHand {
    pub(crate) interrupt: GuestInterrupt,
    /// Its priority is dropped; it has to be deactivated.
    pub(crate) dropped: bool,
}

/// A vCPU, and the guest on it.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) vcpu: Vcpu,
    pub(crate) on: Option<usize>,
    pub(crate) trap: Wanted,
    pub(crate) in_hand: Vec<InHand>,
    /// Devices whose interrupts it acknowledged and that it has not served.
    pub(crate) to_serve: Vec<usize>,
}

/// What is known of a device.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    /// It asked, and nobody has served it.
    pub(crate) work: bool,
    /// Joined, as the machine sees it.
    pub(crate) mode: Option<Mode>,
    /// How many interrupts were delivered to the guest and not acknowledged.
    pub(crate) credit: u8,
    /// How many were signalled to the user.
    pub(crate) user: u8,
    pub(crate) guest_enabled: bool,
    /// The generation of its line may differ, but not in what is hashed.
    pub(crate) line: OpenLine,
}

pub(crate) struct Rig {
    pub(crate) host: Host<Hardware>,
    pub(crate) places: RefCell<Vec<Place>>,
    pub(crate) devices: RefCell<Vec<Device>>,
    pub(crate) kicks: RefCell<Vec<bool>>,
    /// What CPUs have acknowledged and not handled yet.
    pub(crate) late: RefCell<Vec<Option<Acknowledged>>>,
    pub(crate) vm: OnceCell<Weak<Vm<Runs>>>,
    pub(crate) killed: Cell<bool>,
}

/// What the virtual machine sees of the machine.
#[derive(Clone)]
pub(crate) struct Runs(pub(crate) Rc<Rig>);

impl fmt::Debug for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Runs")
    }
}

impl Machine for Runs {
    type Controller = Hardware;

    fn host(&self) -> &Host<Hardware> {
        &self.0.host
    }

    fn kick(&self, vcpu: VcpuId) {
        self.0.kicks.borrow_mut()[usize::from(vcpu.0)] = true;
    }

    fn wait_for(&self, vcpu: VcpuId) {
        let vcpu = usize::from(vcpu.0);
        assert!(
            self.0.places.borrow()[vcpu].on.is_some(),
            "somebody waits for vCPU {vcpu}, which is not loaded"
        );
        self.0.save(vcpu);
    }
}

impl Trigger for Runs {
    fn signal(&self, token: Token) -> Taken {
        let vm = self.0.vm();
        match Route::of(token) {
            Route::Eventfd(number) => {
                let mut devices = self.0.devices.borrow_mut();
                let device = &mut devices[number as usize - 1];
                assert!(device.mode.is_none(), "device {} is joined, and the user is told", number - 1);
                device.user = 1;
                Taken::Yes
            }
            Route::Forwarded { guest, .. } => {
                let taken = vm.deliver(guest);
                let mut devices = self.0.devices.borrow_mut();
                let device = &mut devices[device_of(guest)];
                assert_eq!(device.mode, Some(Mode::Forwarded), "{guest} is delivered after un-forwarding");
                device.credit += u8::from(taken == Taken::Yes);
                taken
            }
            Route::Injected { guest, .. } => {
                let taken = vm.signal(guest);
                let mut devices = self.0.devices.borrow_mut();
                let device = &mut devices[device_of(guest)];
                assert!(
                    matches!(device.mode, Some(Mode::Automasked(_))),
                    "{guest} is injected after parting"
                );
                device.credit += u8::from(taken == Taken::Yes);
                taken
            }
        }
    }
}

impl Rig {
    pub(crate) fn vm(&self) -> Rc<Vm<Runs>> {
        self.vm.get().and_then(Weak::upgrade).expect("the world holds it")
    }

    pub(crate) fn hardware(&self) -> &Hardware {
        self.host.controller()
    }

    /// The vCPU leaves its CPU.
    pub(crate) fn save(&self, vcpu: usize) {
        let vm = self.vm();
        let mut places = self.places.borrow_mut();
        let place = &mut places[vcpu];
        let Some(cpu) = place.on.take() else { return };
        let forwarded_and_pending = self.hardware().look(|state| {
            let pending = |r: &&ListRegister| r.state == LrState::Pending;
            let registers = state.cpus[cpu].registers.iter().flatten().filter(pending);
            let physical = registers.filter_map(|r| match r.completion {
                Completion::Physical(host) => Some((host.0 - FIRST_SPI) as usize),
                _ => None,
            });
            physical.collect::<Vec<_>>()
        });
        place.vcpu.save(&vm, &mut self.hardware().virtual_cpu(cpu));
        place.trap = Wanted::No;
        self.kicks.borrow_mut()[vcpu] = false;
        self.hardware().look(|state| {
            assert!(state.cpus[cpu].registers.iter().all(Option::is_none), "a list register stays in use");
            for device in forwarded_and_pending {
                if !state.inputs[device].active {
                    assert!(!state.inputs[device].high, "what the device still asks for was withdrawn");
                    self.devices.borrow_mut()[device].credit = 0;
                }
            }
        });
    }

    pub(crate) fn load(&self, vcpu: usize, cpu: usize) {
        let vm = self.vm();
        let mut places = self.places.borrow_mut();
        let place = &mut places[vcpu];
        assert!(place.on.is_none());
        place.on = Some(cpu);
        self.kicks.borrow_mut()[vcpu] = false;
        let loaded = place.vcpu.load(&vm, &mut self.hardware().virtual_cpu(cpu));
        place.trap = loaded.trap_deactivation;
        let others =
            loaded.waiting > 0 && self.hardware().look(|s| s.cpus[cpu].registers.iter().any(Option::is_none));
        assert!(!others, "a list register is free and an interrupt waits");
    }

    pub(crate) fn kicked(&self, vcpu: usize) -> bool {
        self.kicks.borrow()[vcpu]
    }
}
