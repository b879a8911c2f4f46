//! Registers, tables and descriptors of VT-d. Data only.
//!
//! Source: Intel Virtualization Technology for Directed I/O, Architecture Specification (order number D51397), revisions
//! 3.1 to 5.10. It is cited by the titles of its sections ("the specification, *Context Entry*"), since their numbers
//! differ between revisions. Offsets and bits were cross-checked with Linux (`drivers/iommu/intel/iommu.h`, `pasid.h`,
//! `dmar.c`) and with QEMU (`hw/i386/intel_iommu_internal.h`).

mod descriptors;
mod entries;
mod faults;
mod interrupts;
mod registers;

pub use descriptors::*;
pub use entries::*;
pub use faults::*;
pub use interrupts::*;
pub use registers::*;
