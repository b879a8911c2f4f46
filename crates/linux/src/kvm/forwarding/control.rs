//! The control: assign, forward, take back.

use super::line::{Afterwards, Line, Request};
use super::poll::Poll;
use super::relay::Relay;
use super::source::InterruptSource;
use super::table::{Shared, Way, lock};
use crate::Error;
use crate::kvm::vm::Vm;
use rustix::io::Errno;
use std::sync::Arc;
use vcm_irq::kvm::Mode;
use vcm_irq::kvm_vfio::{Control, ControlError};
use vcm_irq::{DeviceInterrupt, GuestInterrupt, Sense};

/// Why an interrupt is not assigned or not forwarded. Nothing has changed then.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ForwardError {
    /// The device has no such interrupt (EINVAL).
    #[error("the device has no {0}")]
    NoSuchInterrupt(DeviceInterrupt),
    /// The virtual machine has no such GSI, or none that such an interrupt can have (EINVAL).
    #[error("{interrupt}: GSI {gsi} {why}")]
    NoSuchGsi {
        /// What was asked for.
        interrupt: DeviceInterrupt,
        /// As what.
        gsi: u32,
        /// What is wrong with it.
        why: &'static str,
    },
    /// This control has it forwarded or assigned already (EINVAL).
    #[error("{interrupt} is {} already, as GSI {gsi}", match .way { Way::Forwarded => "forwarded", Way::Automasked => "assigned" })]
    Duplicate {
        /// What was asked for.
        interrupt: DeviceInterrupt,
        /// As which it is.
        gsi: u32,
        /// Which way it goes.
        way: Way,
    },
    /// It is assigned to another GSI (EBUSY).
    #[error("{interrupt} is assigned to GSI {gsi}")]
    Conflict {
        /// What was asked for.
        interrupt: DeviceInterrupt,
        /// To which it is assigned.
        gsi: u32,
    },
    /// Another interrupt has the GSI (EBUSY).
    #[error("GSI {gsi} is another interrupt's")]
    GsiInUse {
        /// The GSI.
        gsi: u32,
    },
    /// Somebody else leads the interrupt somewhere (EBUSY).
    #[error("{interrupt} is lent to somebody else")]
    Lent {
        /// What was asked for.
        interrupt: DeviceInterrupt,
    },
    /// The kernel's.
    #[error(transparent)]
    System(#[from] Error),
}

impl ForwardError {
    /// Its number.
    pub const fn errno(&self) -> Errno {
        match self {
            Self::NoSuchInterrupt(_) | Self::NoSuchGsi { .. } | Self::Duplicate { .. } => Errno::INVAL,
            Self::Conflict { .. } | Self::GsiInUse { .. } | Self::Lent { .. } => Errno::BUSY,
            Self::System(error) => error.errno(),
        }
    }

    /// As the control interface answers it.
    fn control(&self, interrupt: DeviceInterrupt, gsi: u32) -> ControlError {
        let engine = |why, errno| ControlError::Engine { interrupt, gsi, why, errno };
        match self {
            Self::NoSuchInterrupt(interrupt) => ControlError::NoSuchInterrupt(*interrupt),
            Self::NoSuchGsi { gsi, .. } => ControlError::NoSuchGsi(*gsi),
            Self::Duplicate { .. } => engine("it is forwarded already", vcm_irq::Errno::Invalid),
            Self::Conflict { .. } => engine("it is assigned to another GSI", vcm_irq::Errno::Busy),
            Self::GsiInUse { .. } => engine("the GSI is another interrupt's", vcm_irq::Errno::Busy),
            Self::Lent { .. } => engine("it is lent to somebody else", vcm_irq::Errno::Busy),
            Self::System(error) => engine("the kernel refused a call", number(error.errno())),
        }
    }
}

/// The control interface has eight numbers. What is none of them is EINVAL there; [`Forwarding::forward`] answers the
/// kernel's own.
const fn number(errno: Errno) -> vcm_irq::Errno {
    match errno {
        Errno::NXIO => vcm_irq::Errno::NoSuchAttribute,
        Errno::BADF => vcm_irq::Errno::BadDescriptor,
        Errno::AGAIN => vcm_irq::Errno::Again,
        Errno::NOMEM => vcm_irq::Errno::OutOfMemory,
        Errno::FAULT => vcm_irq::Errno::Fault,
        Errno::BUSY => vcm_irq::Errno::Busy,
        Errno::NOTTY => vcm_irq::Errno::Unsupported,
        _ => vcm_irq::Errno::Invalid,
    }
}

/// Leads interrupts of devices to GSIs of one virtual machine.
///
/// A reference on a device is held exactly while an interrupt of it is assigned or forwarded here. Dropping this
/// takes everything back.
#[derive(Debug)]
pub struct Forwarding<S: InterruptSource> {
    shared: Arc<Shared<S>>,
    group: u32,
}

impl<S: InterruptSource> Forwarding<S> {
    /// A control with nothing assigned, whose attributes are in `group` ([`vcm_irq::kvm_vfio::GROUP`] as a rule).
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(vm: &Vm, group: u32) -> Result<Self, Error> {
        Ok(Self { shared: Arc::new(Shared::new(vm.clone(), Poll::new()?)), group })
    }

    /// What passes on the interrupts that are not forwarded.
    pub fn relay(&self) -> Relay<S> {
        Relay::of(Arc::clone(&self.shared))
    }

    /// Leads an interrupt to a GSI, the automasked way: through [`Forwarding::relay`].
    ///
    /// # Errors
    /// [`ForwardError`].
    pub fn assign(&self, source: &Arc<S>, interrupt: DeviceInterrupt, gsi: u32) -> Result<(), ForwardError> {
        let sense = self.check(source, interrupt, gsi)?;
        let found = self.shared.table().of(source, interrupt);
        if let Some(line) = found {
            let line = lock(&line);
            let way = line.way().unwrap_or(Way::Automasked);
            return Err(ForwardError::Duplicate { interrupt, gsi: line.gsi(), way });
        }
        self.open(source, interrupt, sense, gsi, Afterwards::Automasked)?;
        Ok(())
    }

    /// Ends that, whatever the interrupt is doing. When this returns, nothing of it reaches the guest. Passed over
    /// where it is not assigned.
    pub fn unassign(&self, source: &Arc<S>, interrupt: DeviceInterrupt) {
        if let Some(line) = self.shared.table().remove(source, interrupt) {
            lock(&line).close(&self.shared.vm, &self.shared.poll);
        }
    }

    /// Lets the kernel do what this process does for an interrupt. One that is not assigned is assigned by that.
    ///
    /// # Errors
    /// [`ForwardError`].
    pub fn forward(&self, source: &Arc<S>, interrupt: DeviceInterrupt, gsi: u32) -> Result<(), ForwardError> {
        let sense = self.check(source, interrupt, gsi)?;
        let (vm, poll) = (&self.shared.vm, &self.shared.poll);
        let found = self.shared.table().of(source, interrupt);
        if let Some(line) = found {
            let mut line = lock(&line);
            return match line.way() {
                Some(Way::Automasked) if line.gsi() == gsi => Ok(line.forward(vm, poll)?),
                Some(Way::Automasked) => Err(ForwardError::Conflict { interrupt, gsi: line.gsi() }),
                way => {
                    let way = way.unwrap_or(Way::Automasked);
                    Err(ForwardError::Duplicate { interrupt, gsi: line.gsi(), way })
                }
            };
        }
        self.open(source, interrupt, sense, gsi, Afterwards::Off)?;
        let line = self.shared.table().of(source, interrupt);
        let forwarded = line.map_or(Ok(()), |line| lock(&line).forward(vm, poll));
        forwarded.map_err(|error| {
            self.unassign(source, interrupt);
            error.into()
        })
    }

    /// Takes an interrupt back from the kernel, whatever it is doing. It goes the automasked way again, if it was
    /// assigned; what is in flight ends in that way. One that was not assigned before is switched off. Passed over
    /// where it is not forwarded.
    pub fn unforward(&self, source: &Arc<S>, interrupt: DeviceInterrupt) {
        let found = self.shared.table().of(source, interrupt);
        let Some(line) = found else { return };
        let afterwards = {
            let mut line = lock(&line);
            if line.way() != Some(Way::Forwarded) {
                return;
            }
            if line.afterwards == Afterwards::Automasked {
                line.unforward(&self.shared.vm, &self.shared.poll);
            }
            line.afterwards
        };
        if afterwards == Afterwards::Off {
            self.unassign(source, interrupt);
        }
    }

    /// Which way an interrupt goes, if it is assigned.
    pub fn way(&self, source: &Arc<S>, interrupt: DeviceInterrupt) -> Option<Way> {
        let line = self.shared.table().of(source, interrupt)?;
        lock(&line).way()
    }

    /// Takes all back that was forwarded.
    pub fn unforward_all(&self) {
        let lines = self.shared.table().all();
        let forwarded = lines.iter().map(|line| {
            let line = lock(line);
            (Arc::clone(line.source()), line.interrupt())
        });
        for (source, interrupt) in forwarded.collect::<Vec<_>>() {
            self.unforward(&source, interrupt);
        }
    }

    fn check(&self, source: &Arc<S>, interrupt: DeviceInterrupt, gsi: u32) -> Result<Sense, ForwardError> {
        let sense = source.sense(interrupt).ok_or(ForwardError::NoSuchInterrupt(interrupt))?;
        let routing = self.shared.vm.routing();
        let why = match sense {
            _ if !routing.has(gsi) => "does not exist",
            Sense::Level if !routing.is_pin(gsi) => "is a message, and the interrupt is level-sensitive",
            _ => return Ok(sense),
        };
        Err(ForwardError::NoSuchGsi { interrupt, gsi, why })
    }

    fn open(
        &self,
        source: &Arc<S>,
        interrupt: DeviceInterrupt,
        sense: Sense,
        gsi: u32,
        afterwards: Afterwards,
    ) -> Result<(), ForwardError> {
        let mut table = self.shared.table();
        if table.is_used(gsi) {
            return Err(ForwardError::GsiInUse { gsi });
        }
        if !source.lend(interrupt) {
            return Err(ForwardError::Lent { interrupt });
        }
        let number = table.number();
        let (vm, poll) = (&self.shared.vm, &self.shared.poll);
        // The device may interrupt before the line is in the table: a relay waits for the table, and finds it.
        let request = Request { number, interrupt, sense, gsi, afterwards };
        let line = Line::open(vm, poll, source, request).inspect_err(|_| source.give_back(interrupt))?;
        table.insert(number, line);
        Ok(())
    }
}

impl<S: InterruptSource> Drop for Forwarding<S> {
    fn drop(&mut self) {
        let lines = self.shared.table().all();
        for line in lines {
            let (source, interrupt) = {
                let line = lock(&line);
                (Arc::clone(line.source()), line.interrupt())
            };
            self.unassign(&source, interrupt);
        }
    }
}

/// The interface of "KVM: kvm-vfio: generic forwarding control" over Linux's KVM and VFIO. A GSI that the interface
/// can name is below 988.
impl<S: InterruptSource> Control for Forwarding<S> {
    type Device = Arc<S>;

    fn group(&self) -> u32 {
        self.group
    }

    fn forward_gsi(
        &mut self,
        device: &Arc<S>,
        interrupt: DeviceInterrupt,
        gsi: u32,
    ) -> Result<Mode, ControlError> {
        let refused = |error: ForwardError| error.control(interrupt, gsi);
        GuestInterrupt::from_gsi(gsi).ok_or(ControlError::NoSuchGsi(gsi))?;
        Self::forward(self, device, interrupt, gsi).map_err(refused)?;
        Ok(Mode::Forwarded)
    }

    fn unforward(&mut self, device: &Arc<S>, interrupt: DeviceInterrupt) -> Result<(), ControlError> {
        if device.sense(interrupt).is_none() {
            return Err(ControlError::NoSuchInterrupt(interrupt));
        }
        if self.way(device, interrupt) != Some(Way::Forwarded) {
            return Err(ControlError::NotForwarded { interrupt });
        }
        Self::unforward(self, device, interrupt);
        Ok(())
    }

    fn release(&mut self) {
        self.unforward_all();
    }
}
