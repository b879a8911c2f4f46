//! Waiting for the hardware, but not for ever.

use super::PATIENCE;
use crate::gic::{Field, Registers};
use crate::sync::{AtomicU32, Ordering};

/// Waits for a bit of a register, and counts when it does not come.
pub(super) struct Settling(AtomicU32);

impl Settling {
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Reads the register at `offset` until the bit `field` has the value `wanted`, at most [`PATIENCE`] times.
    ///
    /// # Errors
    ///
    /// What was read last, when the bit did not come; counted.
    pub(super) fn wait(
        &self,
        registers: &impl Registers,
        offset: u32,
        field: Field,
        wanted: u32,
    ) -> Result<(), u32> {
        let mut read = 0;
        for _ in 0..PATIENCE {
            read = registers.read(offset);
            if field.get(read) == wanted {
                return Ok(());
            }
            core::hint::spin_loop();
        }
        self.0.fetch_add(1, Ordering::Relaxed);
        Err(read)
    }

    /// How many times a bit did not come.
    pub(super) fn timeouts(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}
