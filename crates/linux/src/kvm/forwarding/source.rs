//! What has interrupts to forward.

use crate::Error;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use vcm_irq::{DeviceInterrupt, Sense};
use vmm_sys_util::eventfd::EventFd;

/// A device's interrupts, as VFIO has them (`VFIO_DEVICE_SET_IRQS`, include/uapi/linux/vfio.h).
///
/// # Contract
/// - A level-sensitive interrupt masks itself when it is signalled, and is signalled again after it is unmasked if
///   the device still asks.
/// - Everything can be changed while the device is interrupting. When a call returns, the eventfd that it replaced is
///   not signalled, and not looked at, any more.
/// - An eventfd is looked at by reading it: a signal that was taken has its effect, and one that was not is still
///   there. One that is signalled when it is set to unmask, unmasks at once.
pub trait InterruptSource: std::fmt::Debug + Send + Sync {
    /// What an interrupt reacts to: [`Sense::Level`] masks itself, [`Sense::Edge`] is a message or an edge. `None`
    /// when the device has no such interrupt.
    fn sense(&self, interrupt: DeviceInterrupt) -> Option<Sense>;

    /// Notes that somebody leads the interrupt somewhere from now on. Whether that is so: not if somebody does already.
    /// [`Lending`] does it.
    fn lend(&self, interrupt: DeviceInterrupt) -> bool;

    /// Ends that.
    fn give_back(&self, interrupt: DeviceInterrupt);

    /// Makes an interrupt signal `trigger`, or switches it off. Switched off, it forgets that it was masked.
    ///
    /// # Errors
    /// The kernel's. Then it is as before.
    fn set_trigger(&self, interrupt: DeviceInterrupt, trigger: Option<&EventFd>) -> Result<(), Error>;

    /// Makes signals of `unmask` unmask a level-sensitive interrupt, or ends that.
    ///
    /// # Errors
    /// The kernel's. Then it is as before.
    fn set_unmask(&self, interrupt: DeviceInterrupt, unmask: Option<&EventFd>) -> Result<(), Error>;

    /// Unmasks a level-sensitive interrupt.
    ///
    /// # Errors
    /// The kernel's.
    fn unmask(&self, interrupt: DeviceInterrupt) -> Result<(), Error>;
}

/// Which of a device's interrupts somebody leads somewhere.
#[derive(Debug, Default)]
pub struct Lending {
    lent: Mutex<BTreeSet<(u32, u32)>>,
}

impl Lending {
    /// As [`InterruptSource::lend`].
    pub fn lend(&self, interrupt: DeviceInterrupt) -> bool {
        self.with(|lent| lent.insert((interrupt.index, interrupt.subindex)))
    }

    /// As [`InterruptSource::give_back`].
    pub fn give_back(&self, interrupt: DeviceInterrupt) {
        self.with(|lent| lent.remove(&(interrupt.index, interrupt.subindex)));
    }

    /// Whether somebody has it.
    pub fn is_lent(&self, interrupt: DeviceInterrupt) -> bool {
        self.with(|lent| lent.contains(&(interrupt.index, interrupt.subindex)))
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeSet<(u32, u32)>) -> T) -> T {
        act(&mut self.lent.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
