//! The registers, tables, commands and events of AMD-Vi: offsets and fields, no behaviour.
//!
//! The source is the AMD I/O Virtualization Technology (IOMMU) Specification, 48882; sections are those of revision 3.
//! Offsets and fields were compared with Linux `drivers/iommu/amd/amd_iommu_types.h`, with VirtualBox
//! `include/VBox/iommu-amd.h` and with QEMU `hw/i386/amd_iommu.h`.

mod command;
mod device_table;
mod event;
mod register;

pub use command::*;
pub use device_table::*;
pub use event::*;
pub use register::*;

/// Bytes of the unit that tables and buffers are made of.
pub const PAGE: u64 = 4096;

/// Bits of a physical address.
pub const PHYSICAL_BITS: u32 = 52;
