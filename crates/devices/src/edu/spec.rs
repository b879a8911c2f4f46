//! Registers: docs/specs/edu.rst and hw/misc/edu.c of QEMU. All are in BAR 0.
//!
//! Registers below 0x80 take accesses of 32 bits only. Those from there on take 64 bits as well, and need them for values
//! of more than 32: what is written to a register's upper half is dropped.

/// The vendor's id.
pub const VENDOR: u16 = 0x1234;
/// The device's id.
pub const DEVICE: u16 = 0x11e8;

/// Identification: 0x010000ed, the upper half being the version.
pub const IDENTIFICATION: u32 = 0x00;
/// The lower half of [`IDENTIFICATION`].
pub const IDENTIFIED: u16 = 0x00ed;
/// What is written is read inverted.
pub const LIVENESS: u32 = 0x04;
/// Which interrupts are raised.
pub const INTERRUPT_STATUS: u32 = 0x24;
/// Written bits are raised in the status.
pub const INTERRUPT_RAISE: u32 = 0x60;
/// Written bits are cleared in the status.
pub const INTERRUPT_ACKNOWLEDGE: u32 = 0x64;
/// Where a DMA reads; 64 bits.
pub const SOURCE: u32 = 0x80;
/// Where a DMA writes; 64 bits.
pub const DESTINATION: u32 = 0x88;
/// How many bytes a DMA copies; 64 bits.
pub const COUNT: u32 = 0x90;
/// Starts a DMA, and tells whether one runs; 64 bits.
pub const COMMAND: u32 = 0x98;

/// COMMAND bit 0: start, and until the DMA is over.
pub const RUN: u64 = 1;
/// COMMAND bit 1: from the buffer to memory, not from memory to the buffer.
pub const TO_MEMORY: u64 = 1 << 1;
/// COMMAND bit 2: raise [`DMA_INTERRUPT`] at the end.
pub const RAISE: u64 = 1 << 2;

/// The bit of the interrupt status that the end of a DMA sets.
pub const DMA_INTERRUPT: u32 = 0x100;
/// Where the device's own buffer is among DMA addresses.
pub const BUFFER: u64 = 0x4_0000;
/// The size of its buffer in bytes.
pub const BUFFER_LEN: u64 = 4096;
