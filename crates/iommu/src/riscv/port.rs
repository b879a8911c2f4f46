//! The way to the hardware: its registers, the memory that it shares, and how long to wait for it.

use super::Config;
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
    pub(super) fn read(&mut self, offset: u32) -> Result<u32, Unresponsive> {
        match self.registers.read(offset) {
            u32::MAX => Err(self.unresponsive("registers read all ones")),
            value => Ok(value),
        }
    }

    /// Writes a register of 64 bits, its high half first: what acts on the write is in the low half, and an access of
    /// 64 bits may be taken apart in this order anyway ("Memory-mapped register interface").
    pub(super) fn write64(&mut self, offset: u32, value: u64) {
        self.registers.write(offset + 4, (value >> 32) as u32);
        self.registers.write(offset, value as u32);
    }

    /// Reads a register until the bits of `mask` are `wanted`.
    pub(super) fn wait(
        &mut self,
        offset: u32,
        mask: u32,
        wanted: u32,
        what: &'static str,
    ) -> Result<u32, Unresponsive> {
        for _ in 0..self.config.polls.max(1) {
            let value = self.read(offset)?;
            if value & mask == wanted {
                return Ok(value);
            }
        }
        Err(self.unresponsive(what))
    }
}
