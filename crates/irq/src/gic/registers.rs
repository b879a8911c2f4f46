//! Access to a controller's registers.

/// A window of registers. Calls may come from every CPU at once, and reach the registers of the CPU they come from
/// where these are banked.
///
/// # Duties of an implementation for real hardware
///
/// - Each call is one volatile access of the width that its name says, to memory mapped as Device-nGnRE or stronger.
///   Accesses of one CPU stay in order, between the windows of one controller too: a deactivation by the CPU interface
///   comes before a look at the distributor that follows it.
/// - A write may be posted: it has reached the device when a later read of the same window answers. The back-ends
///   read where that matters.
/// - Writes to memory and to other devices that came before a register write in program order must be visible
///   before it takes effect: a `dsb st` before the write. Whoever quiets a device's line and then ends its interrupt
///   relies on this; without it the controller may still see the line high and signal once more.
/// - A read of an acknowledge register must be complete before anything that follows touches what the interrupt
///   tells of: a `dsb sy` after the read.
/// - A window of a device that is gone may answer reads with anything.
pub trait Registers {
    /// Reads the 32-bit register at `offset` bytes from the window's start.
    fn read(&self, offset: u32) -> u32;

    /// Writes the 32-bit register at `offset` bytes from the window's start.
    fn write(&self, offset: u32, value: u32);

    /// Writes the byte at `offset`. Priorities and targets of neighbours share a word, and their owners do not share
    /// a lock.
    fn write_byte(&self, offset: u32, value: u8);
}

impl<R: Registers + ?Sized> Registers for &R {
    fn read(&self, offset: u32) -> u32 {
        (**self).read(offset)
    }
    fn write(&self, offset: u32, value: u32) {
        (**self).write(offset, value);
    }
    fn write_byte(&self, offset: u32, value: u8) {
        (**self).write_byte(offset, value);
    }
}
