//! Hearing that the kernel wants a device back.

use super::device::Device;
use super::interrupt::{DeviceInterrupt, Interrupt, REQUEST};
use crate::Error;
use rustix::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Signalled when the device is being taken away: it is unbound from its driver, or unplugged.
///
/// Whoever does that waits in the kernel until this process has let go: until [`Device::tear_down`]. The kernel signals it
/// again every few seconds meanwhile.
#[derive(Debug)]
pub struct Removal {
    interrupt: Interrupt,
}

impl Device {
    /// What tells when the device is being taken away. There is one.
    ///
    /// # Errors
    /// [`Error::NotSupported`] for a device that is no PCI function, whose driver does not tell; [`Error::Argument`] when
    /// somebody has it already.
    pub fn removal(&self) -> Result<Removal, Error> {
        if !self.info().is_pci() {
            return Err(Error::not_supported(
                format!("hearing of the removal of {}", self.name()),
                "only PCI functions have that",
            ));
        }
        Ok(Removal { interrupt: self.interrupt(DeviceInterrupt { index: REQUEST, subindex: 0 })? })
    }
}

impl Removal {
    /// Waits until the device is asked for, at most so long; without a limit for `None`. Answers whether it was.
    ///
    /// # Errors
    /// [`Error::Missing`] when the device was torn down.
    pub fn wait(&self, limit: Option<Duration>) -> Result<bool, Error> {
        Ok(self.interrupt.wait(limit)? > 0)
    }
}

impl AsFd for Removal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.interrupt.as_fd()
    }
}
