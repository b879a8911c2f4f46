//! The VT-d driver on QEMU's model of VT-d, which others wrote: legacy mode, and scalable mode with second-stage and with
//! first-stage tables.
//!
//! What QEMU 10.0 does otherwise than the specification (hw/i386/intel_iommu.c), so that it cannot be tested here:
//! - An interrupt in compatibility format passes while remapping is enabled, whatever GSTS.CFIS says.
//! - Pages are cached with the source of the request, and looked up before the context in legacy mode.
//! - A write to a page that is cached as one to read is dropped without a record.
//! - A second fault of a device whose first one is still recorded is dropped, and is not an overflow.
//! - The PASID cache, pointers to tables and interrupt entries are not cached; invalidating them does nothing.
//! - In scalable mode records tell of PASID 0 where requests have none, and the second stage's have the reasons of legacy
//!   mode.
//! - The first stage's canonical addresses follow from AW, which the specification has ignored there.
//! - Nothing waits: no completion is late, there is no write buffer (RWBF), and no translation cache in devices. So the
//!   errors ICE and ITE never occur, and a missing wait descriptor would go unnoticed.
//! - The queue goes on after an error only when the tail is written, and is disabled only after a wait.
//! - One fault recording register, no five levels, no nested translation; MGAW is the host address width, too.
//!
//! Without QEMU 10.0 or newer the tests fail, unless `VCM_WITHOUT_QEMU_IOMMUS=1` says that this is meant.

#[path = "qemu_rig/mod.rs"]
mod rig;
#[path = "qemu_iommu_vtd/support.rs"]
mod support;

#[path = "qemu_iommu_vtd/faults.rs"]
mod faults;
#[path = "qemu_iommu_vtd/interrupts.rs"]
mod interrupts;
#[path = "qemu_iommu_vtd/queue.rs"]
mod queue;
#[path = "qemu_iommu_vtd/stale.rs"]
mod stale;
#[path = "qemu_iommu_vtd/translation.rs"]
mod translation;
