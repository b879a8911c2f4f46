//! Access to a device's registers.

/// The register window of a device. A driver owns one, and reaches the hardware through it and through
/// [`SharedMemory`](crate::SharedMemory).
///
/// An implementation for real hardware makes each call one volatile access and keeps their order; writes to
/// memory that came before a register write must be visible to the device before it (a barrier).
/// A window of a device that is gone answers reads with all ones, as buses do.
pub trait Registers {
    /// Reads the 32-bit register at `offset` bytes from the window's start.
    fn read(&mut self, offset: u32) -> u32;

    /// Writes the 32-bit register at `offset` bytes from the window's start.
    fn write(&mut self, offset: u32, value: u32);

    /// Reads the 64-bit register at `offset`: its low half, then its high half, where the bus has no such access.
    fn read64(&mut self, offset: u32) -> u64 {
        let low = self.read(offset);
        u64::from(self.read(offset + 4)) << 32 | u64::from(low)
    }

    /// Writes the 64-bit register at `offset`: its low half, then its high half, where the bus has no such access.
    fn write64(&mut self, offset: u32, value: u64) {
        self.write(offset, value as u32);
        self.write(offset + 4, (value >> 32) as u32);
    }
}

/// A register window that also has narrow registers, as virtio's has.
pub trait NarrowRegisters: Registers {
    /// Reads the 8-bit register at `offset` bytes from the window's start.
    fn read8(&mut self, offset: u32) -> u8;

    /// Writes the 8-bit register at `offset` bytes from the window's start.
    fn write8(&mut self, offset: u32, value: u8);

    /// Reads the 16-bit register at `offset` bytes from the window's start.
    fn read16(&mut self, offset: u32) -> u16;

    /// Writes the 16-bit register at `offset` bytes from the window's start.
    fn write16(&mut self, offset: u32, value: u16);
}

impl<R: Registers + ?Sized> Registers for &mut R {
    fn read(&mut self, offset: u32) -> u32 {
        (**self).read(offset)
    }

    fn write(&mut self, offset: u32, value: u32) {
        (**self).write(offset, value);
    }

    fn read64(&mut self, offset: u32) -> u64 {
        (**self).read64(offset)
    }

    fn write64(&mut self, offset: u32, value: u64) {
        (**self).write64(offset, value);
    }
}
