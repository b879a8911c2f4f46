//! The RISC-V driver on QEMU's RISC-V IOMMU, a model that others wrote.
//!
//! Without `qemu-system-riscv64` the tests fail, unless `VCM_WITHOUT_QEMU_IOMMUS=1` says that this is meant.
//!
//! What QEMU 10.0 does otherwise than the specification (hw/riscv/riscv-iommu.c), so that it cannot be tested here:
//! - An entry of a large page is cached in pieces of 4 KiB, and a command with an address drops one piece.
//! - `IOTINVAL.GVMA` with an address drops nested translations by their *first* address.
//! - A write to a page that is cached as one to read is dropped without a record.
//! - What leads to the address that it comes from is not cached.
//! - A device behind a root port has device id 0: the number of its bus is read before there is one.
//! - Svnapot is not known: each page of an entry of 64 KiB leads to the ninth.
//! - Records name every transaction a write, and always have a process id. Records of a missing context have no
//!   address.
//! - `tr_response` has the page number 10 bits too low.
//! - After an error of the command queue the commands that wait are looked at only when the tail is written again.
//! - Reserved bits of commands and contexts are not looked at, nor is the user bit of entries.
//! - The first level of a directory, and tables above the last level, are not cached; nor are fences ever late.

#[path = "qemu_rig/mod.rs"]
mod rig;
#[path = "qemu_iommu_riscv/support.rs"]
mod support;

#[path = "qemu_iommu_riscv/faults.rs"]
mod faults;
#[path = "qemu_iommu_riscv/queues.rs"]
mod queues;
#[path = "qemu_iommu_riscv/stale.rs"]
mod stale;
#[path = "qemu_iommu_riscv/translation.rs"]
mod translation;
