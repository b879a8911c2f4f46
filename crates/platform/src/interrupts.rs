//! The seam for interrupts: devices' lines, guests that own them, and what became of each.

use crate::PlatformError;
use vcm::DeviceHandle;
use vcm_irq::kvm::Mode;
use vcm_irq::{DeviceInterrupt, HostInterrupt, Sense};

/// A device's interrupt that a guest can be given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LineDescription {
    /// The device.
    pub device: DeviceHandle,
    /// Which of its interrupts.
    pub interrupt: DeviceInterrupt,
    /// Its number at the host's interrupt controller.
    pub host: HostInterrupt,
    /// What it reacts to.
    pub sense: Sense,
    /// What the device tree calls it, if it has a name there.
    pub name: Option<String>,
}

/// Names a guest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GuestHandle(pub u32);

/// Names an interrupt that was given to a guest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AssignmentHandle(pub u32);

/// When a guest's driver quiets the device, which makes it lower its line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Quieting {
    /// Before it ends the interrupt, as most do.
    #[default]
    BeforeEnd,
    /// After: it masks the interrupt, ends it, quiets the device in a thread, and unmasks (Linux calls this a
    /// oneshot interrupt).
    Oneshot,
    /// After, without masking: the device asks again before it is content.
    AfterEnd,
}

/// How a guest ends interrupts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum GuestEnd {
    /// The end-of-interrupt register deactivates too (`EOImode` 0).
    #[default]
    Together,
    /// The end-of-interrupt register drops the priority, another one deactivates (`EOImode` 1).
    Apart,
}

/// A guest to be started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GuestRequest {
    /// Its name.
    pub name: String,
    /// Its virtual CPUs, at least 1. Its interrupts go to them in turn.
    pub vcpus: u16,
    /// How its drivers quiet their devices.
    pub quieting: Quieting,
    /// How it ends interrupts.
    pub end: GuestEnd,
}

/// How an interrupt is to reach its guest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Way {
    /// Forwarded, if the machine can.
    Forwarded,
    /// In the ordinary way: the host masks, injects, and unmasks when the guest has ended it.
    Automasked,
}

/// An interrupt to be given to a guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AssignmentRequest {
    /// The device.
    pub device: DeviceHandle,
    /// Which of its interrupts.
    pub interrupt: DeviceInterrupt,
    /// To whom.
    pub guest: GuestHandle,
    /// As which of its interrupts.
    pub gsi: u32,
    /// How.
    pub way: Way,
}

/// Where a guest stands with an interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stage {
    /// Nothing is in progress.
    Idle,
    /// The host has taken it for the guest, which has not acknowledged it.
    Pending,
    /// The guest's handler runs.
    InService,
}

/// What became of an interrupt. Counts are since it was given to the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct InterruptCounts {
    /// How often the device asked.
    pub asked: u64,
    /// How often the guest's handler ran for it and found the device asking.
    pub delivered: u64,
    /// How often the guest's handler ran and the device had asked for nothing.
    pub spurious: u64,
    /// How often the device asked and nobody came, as of now. Something that is still under way is not lost.
    pub lost: u64,
    /// Times that a vCPU left the guest because of it, for whatever reason.
    pub exits: u64,
    /// Those of them that were maintenance interrupts.
    pub maintenance_exits: u64,
    /// The host's accesses to registers of the interrupt controller because of it.
    pub mmio: u64,
    /// How often it was shut because it asked too often or nobody could take it.
    pub shut: u64,
}

/// What is left of interrupts when all should be taken down.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct InterruptRemains {
    /// Interrupts of devices that are enabled at the host's controller.
    pub enabled: usize,
    /// Those that are active there.
    pub active: usize,
    /// Devices that somebody holds a reference on.
    pub references: usize,
    /// List registers, of all CPUs, that are in use.
    pub list_registers: usize,
    /// Events that reached a guest, or its remains, after it was gone.
    pub late: usize,
}

/// Interrupts of devices, and guests that own them.
pub trait Interrupts {
    /// Every line of a device that a guest can be given.
    fn lines(&self) -> &[LineDescription];

    /// Starts a guest.
    ///
    /// # Errors
    /// When the machine cannot run it.
    fn start_guest(&mut self, request: &GuestRequest) -> Result<GuestHandle, PlatformError>;

    /// Gives an interrupt to a guest. From now on the device's interrupts are the guest's. How it is done:
    /// the host's VMM opens the device, and its control interface joins the two.
    ///
    /// # Errors
    /// When there is no such line or guest, or one of them is taken.
    fn assign(&mut self, request: &AssignmentRequest) -> Result<(AssignmentHandle, Mode), PlatformError>;

    /// Changes an interrupt to forwarded, on a running guest.
    ///
    /// # Errors
    /// When it is forwarded already, or in flight.
    fn forward(&mut self, assignment: AssignmentHandle) -> Result<Mode, PlatformError>;

    /// Takes forwarding back, on a running guest, whatever is in flight.
    fn unforward(&mut self, assignment: AssignmentHandle);

    /// Kills a guest and the program that ran it, as by SIGKILL: everything of it is taken down.
    fn kill(&mut self, guest: GuestHandle);

    /// The device asks `times` times: each time as soon as it was served the time before, or all at once.
    ///
    /// # Errors
    /// When the device cannot, or there is no such line.
    fn ask(
        &mut self,
        device: DeviceHandle,
        interrupt: DeviceInterrupt,
        times: u64,
        pace: Pace,
    ) -> Result<(), PlatformError>;

    /// Lets guests run until an interrupt is at a stage. `false` if that never comes.
    ///
    /// # Errors
    /// When the machine finds that something was done which must not be.
    fn run_until(&mut self, assignment: AssignmentHandle, stage: Stage) -> Result<bool, PlatformError>;

    /// Lets guests run until nothing is left to do for them.
    ///
    /// # Errors
    /// As for [`run_until`](Self::run_until); and when that does not come to an end.
    fn settle(&mut self) -> Result<(), PlatformError>;

    /// How an interrupt reaches its guest now; `None` when it is nobody's any more.
    fn mode(&self, assignment: AssignmentHandle) -> Option<Mode>;

    /// What became of an interrupt; of one whose guest is gone, what became of it until then.
    fn counts(&self, assignment: AssignmentHandle) -> InterruptCounts;

    /// What is left.
    fn remains(&self) -> InterruptRemains;
}

/// How fast a device asks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Pace {
    /// When it was served the time before.
    #[default]
    Served,
    /// Without waiting for anybody: a storm. An edge that comes while one is pending is the same interrupt.
    AtOnce,
}
