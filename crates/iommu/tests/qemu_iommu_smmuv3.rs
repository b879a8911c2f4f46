//! The `SMMUv3` driver on QEMU's `SMMUv3`, a model that others wrote.
//!
//! Without `qemu-system-aarch64` the tests fail, unless `VCM_WITHOUT_QEMU_IOMMUS=1` says that this is meant.
//!
//! What QEMU 10.0 does otherwise than the specification, or not at all (hw/arm/smmuv3.c, hw/arm/smmu-common.c), so that
//! it cannot be tested here:
//! - Commands are carried out within the register write that publishes them: a missing `CMD_SYNC` is not noticed, nor is
//!   one that is late, and the queue is never seen full.
//! - The leaf bit of invalidations has no effect, since tables above the last level are not cached. Nor has the
//!   contiguous bit: each entry is cached by itself.
//! - Changing an entry without break-before-make goes unnoticed; there is no `F_TLB_CONFLICT` or `F_CFG_CONFLICT`.
//! - Of a stage-2 root of several tables only the first is walked, for all addresses.
//! - Once a page is cached, a write that stage 2 alone does not permit is refused without a record.
//! - Configuration that is in error is not cached, so that an entry which becomes valid works without invalidation.
//! - `CMD_CFGI_CD` and `CMD_CFGI_STE` drop the same.
//! - A full event queue raises `GERROR.EVENTQ_ABT_ERR`; `EVENTQ_PROD.OVFLG` never changes.
//! - There are no stalls, no substreams, no message interrupts of the SMMU itself, no ATS and no page requests;
//!   `CMD_RESUME` and `CMD_STALL_TERM` are accepted and do nothing.
//! - Registers that the specification freezes while the SMMU is enabled can be written.
//! - Memory attributes and coherency mean nothing.

#[path = "qemu_rig/mod.rs"]
mod rig;
#[path = "qemu_iommu_smmuv3/support.rs"]
mod support;

#[path = "qemu_iommu_smmuv3/faults.rs"]
mod faults;
#[path = "qemu_iommu_smmuv3/messages.rs"]
mod messages;
#[path = "qemu_iommu_smmuv3/nested.rs"]
mod nested;
#[path = "qemu_iommu_smmuv3/queues.rs"]
mod queues;
#[path = "qemu_iommu_smmuv3/stages.rs"]
mod stages;
#[path = "qemu_iommu_smmuv3/stale.rs"]
mod stale;
#[path = "qemu_iommu_smmuv3/translation.rs"]
mod translation;
