//! The way to the hardware: its registers, the memory that it shares, and how long to wait for it.

use super::Config;
use super::spec::{self, Control, Status};
use crate::{Registers, SharedMemory, Unresponsive};

/// Registers and memory, with what every wait needs.
#[derive(Debug)]
pub(super) struct Port<R, M> {
    pub(super) registers: R,
    pub(super) memory: M,
    pub(super) config: Config,
}

impl<R: Registers, M: SharedMemory> Port<R, M> {
    pub(super) const fn unresponsive(&self, what: &'static str) -> Unresponsive {
        Unresponsive { label: self.config.label, what }
    }

    /// Reads a register of which some bit is always 0, so that all ones tell of a device that is gone.
    pub(super) fn read(&mut self, offset: u32) -> Result<u64, Unresponsive> {
        match self.registers.read64(offset) {
            u64::MAX => Err(self.unresponsive("registers read all ones")),
            value => Ok(value),
        }
    }

    pub(super) fn status(&mut self) -> Result<Status, Unresponsive> {
        Ok(Status::from_bits(self.read(spec::STATUS)?))
    }

    pub(super) fn control(&mut self) -> Result<Control, Unresponsive> {
        Ok(Control::from_bits(self.read(spec::CONTROL)?))
    }

    pub(super) fn set_control(&mut self, control: Control) {
        self.registers.write64(spec::CONTROL, control.into_bits());
    }

    /// Reads the status until it is as wanted.
    pub(super) fn wait(
        &mut self,
        wanted: impl Fn(Status) -> bool,
        what: &'static str,
    ) -> Result<(), Unresponsive> {
        for _ in 0..self.config.polls.max(1) {
            if wanted(self.status()?) {
                return Ok(());
            }
        }
        Err(self.unresponsive(what))
    }

    /// Writes a base or pointer register, and looks whether it was kept.
    pub(super) fn set(&mut self, offset: u32, value: u64, what: &'static str) -> Result<(), Unresponsive> {
        self.registers.write64(offset, value);
        if self.registers.read64(offset) != value {
            return Err(self.unresponsive(what));
        }
        Ok(())
    }
}
