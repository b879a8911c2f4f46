//! The registers, commands and records of a RISC-V IOMMU: offsets and fields, no behaviour.
//!
//! The source is the RISC-V IOMMU Architecture Specification, version 1.0.1; sections are named after a colon.
//! Offsets and fields were compared with Linux `drivers/iommu/riscv/iommu-bits.h` and with QEMU
//! `hw/riscv/riscv-iommu-bits.h`.

mod command;
mod context;
mod fault;
mod register;

pub use command::*;
pub use context::*;
pub use fault::*;
pub use register::*;

/// Bytes of the unit that directories, queues and page tables are made of.
pub const PAGE: u64 = 4096;

/// Bits of a physical address: a page number of 44 bits and 12 bits within the page.
pub const PHYSICAL_BITS: u32 = 56;
