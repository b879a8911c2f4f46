//! QEMU's educational device, the plainest bus master there is.
//!
//! Source: docs/specs/edu.rst of QEMU, and hw/misc/edu.c where that says nothing.

mod driver;
pub mod spec;

use vcm::Iova;

pub use driver::{Edu, EduError};

/// A DMA between memory and the device's buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EduDma {
    /// Where in memory, as the device addresses it.
    pub memory: Iova,
    /// Where in the buffer.
    pub offset: u64,
    /// How many bytes; they must not pass the end of the buffer.
    pub len: u64,
    /// Which way.
    pub direction: Direction,
}

/// Which way a DMA goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From memory to the device.
    ToDevice,
    /// From the device to memory.
    FromDevice,
}

/// How the end of a DMA is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EduCompletion {
    /// By its registers only.
    Silent,
    /// By an interrupt as well, with [`spec::DMA_INTERRUPT`].
    Interrupt,
}

impl EduDma {
    /// Checks what QEMU does not check well (hw/misc/edu.c, `edu_check_range`).
    ///
    /// # Errors
    /// Says what passes which end.
    pub fn check(&self) -> Result<(), String> {
        let &Self { memory, offset, len, .. } = self;
        if memory.checked_add(len.saturating_sub(1)).is_none() {
            return Err(format!("{len:#x} bytes at {memory} pass the end of the addresses"));
        }
        if offset.checked_add(len).is_none_or(|end| end > spec::BUFFER_LEN) {
            return Err(format!("{len:#x} bytes at {offset:#x} of {:#x} of its buffer", spec::BUFFER_LEN));
        }
        Ok(())
    }

    /// What its registers are written, in their order: 64 bits each.
    pub const fn writes(&self, completion: EduCompletion) -> [(u32, u64); 4] {
        let buffer = spec::BUFFER.wrapping_add(self.offset);
        let (source, destination, direction) = match self.direction {
            Direction::ToDevice => (self.memory.raw(), buffer, 0),
            Direction::FromDevice => (buffer, self.memory.raw(), spec::TO_MEMORY),
        };
        let raise = match completion {
            EduCompletion::Silent => 0,
            EduCompletion::Interrupt => spec::RAISE,
        };
        [
            (spec::SOURCE, source),
            (spec::DESTINATION, destination),
            (spec::COUNT, self.len),
            (spec::COMMAND, spec::RUN | direction | raise),
        ]
    }
}
