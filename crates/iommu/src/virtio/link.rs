//! The device and the memory that is shared with it, and waiting for the device.

use super::Transport;
use super::spec::Status;
use crate::Unresponsive;
use vcm::Label;

/// How often memory is looked at between two readings of the status.
const LOOKS: u32 = 64;

#[derive(Debug)]
pub(super) struct Link<T, M> {
    pub(super) transport: T,
    pub(super) memory: M,
    pub(super) label: Label,
    pub(super) patience: u32,
}

impl<T, M> Link<T, M> {
    pub(super) const fn lost(&self, what: &'static str) -> Unresponsive {
        Unresponsive { label: self.label, what }
    }

    pub(super) const fn wait(&self) -> Wait {
        Wait { looks: LOOKS, left: self.patience }
    }
}

impl<T: Transport, M> Link<T, M> {
    /// Checks that the device works as it was initialised.
    pub(super) fn check_live(&mut self) -> Result<(), Unresponsive> {
        match self.transport.status() {
            Status::LIVE => Ok(()),
            Status::GONE => Err(self.lost("the device is gone")),
            Status::RESET => Err(self.lost("the device was reset behind the driver's back")),
            status if status.has(Status::NEEDS_RESET) => {
                Err(self.lost("the device says that it needs a reset"))
            }
            _ => Err(self.lost("the device's status is not what was written")),
        }
    }

    /// Resets the device, and waits until it is.
    pub(super) fn reset(&mut self) -> Result<(), Unresponsive> {
        self.transport.set_status(Status::RESET);
        for _ in 0..=self.patience {
            match self.transport.status() {
                Status::RESET => return Ok(()),
                Status::GONE => return Err(self.lost("the device is gone")),
                _ => {}
            }
        }
        Err(self.lost("a reset did not complete"))
    }
}

/// Waiting that ends.
#[derive(Debug)]
pub(super) struct Wait {
    looks: u32,
    left: u32,
}

impl Wait {
    /// To be called each time that what is waited for has not happened.
    pub(super) fn once_more<T: Transport, M>(
        &mut self,
        link: &mut Link<T, M>,
        what: &'static str,
    ) -> Result<(), Unresponsive> {
        if self.looks > 0 {
            self.looks -= 1;
            core::hint::spin_loop();
            return Ok(());
        }
        self.looks = LOOKS;
        link.check_live()?;
        self.left = self.left.checked_sub(1).ok_or(link.lost(what))?;
        Ok(())
    }
}
