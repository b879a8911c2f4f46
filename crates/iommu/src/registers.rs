//! Access to a device's registers.

/// The register window of a device. A driver owns one and reaches the hardware through nothing else.
///
/// An implementation for real hardware makes each call one volatile access and keeps their order; writes to
/// memory that came before a register write must be visible to the device before it (a barrier).
/// A window of a device that is gone answers reads with all ones, as buses do.
pub trait Registers {
    /// Reads the 32-bit register at `offset` bytes from the window's start.
    fn read(&mut self, offset: u32) -> u32;

    /// Writes the 32-bit register at `offset` bytes from the window's start.
    fn write(&mut self, offset: u32, value: u32);
}

impl<R: Registers + ?Sized> Registers for &mut R {
    fn read(&mut self, offset: u32) -> u32 {
        (**self).read(offset)
    }

    fn write(&mut self, offset: u32, value: u32) {
        (**self).write(offset, value);
    }
}
