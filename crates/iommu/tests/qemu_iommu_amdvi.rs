//! The AMD-Vi driver on QEMU's AMD IOMMU, a model that others wrote.
//!
//! Without `qemu-system-x86_64` the tests fail, unless `VCM_WITHOUT_QEMU_IOMMUS=1` says that this is meant.
//!
//! What QEMU 10.0 does otherwise than the specification (hw/i386/amd_iommu.c), so that it cannot be tested here:
//! - Events are written to the log, but the tail never moves and the overflow flag is never set: no fault is ever seen.
//! - A stream that is blocked, and a page whose entry is 0, fault without an event anyway.
//! - An illegal command is passed over; fetching does not stop.
//! - The device table is not cached, nor is its size looked at.
//! - Translations are cached by device *and* domain: the address of an invalidation is not looked at, all of the
//!   domain goes. Requests to streams of the mode without tables are cached as well.
//! - `COMMAND_HEAD` shows the end of the buffer where it means its start.
//! - Reserved bits and the PDE flag of commands, and the levels that an entry may skip, are not looked at.
//! - With `intremap=on` nothing changes for DMA; `pt=on` would let everything pass.

#[path = "qemu_rig/mod.rs"]
mod rig;
#[path = "qemu_iommu_amdvi/support.rs"]
mod support;

#[path = "qemu_iommu_amdvi/commands.rs"]
mod commands;
#[path = "qemu_iommu_amdvi/stale.rs"]
mod stale;
#[path = "qemu_iommu_amdvi/translation.rs"]
mod translation;
