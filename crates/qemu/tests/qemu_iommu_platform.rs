//! The mapping graph on QEMU's machines: what its calls promise holds on IOMMUs that others built.
//!
//! What QEMU 10.0 does otherwise than hardware, as it is seen from here:
//! - AMD-Vi tells no fault at all: a refused write is dropped, a refused read gives zeros, and a device that is attached to
//!   nothing is silent. The tests hold that, so that they fail when QEMU learns it.
//! - virtio-iommu has no TLB: without invalidation nothing is stale.
//! - VT-d tells a second-stage entry that is absent as a lack of permission; the graph is told what the tables say.
//! - virtio-iommu does not tell whether a transaction that nothing is mapped for was a read or a write; the graph is told what
//!   the master did. So it is for a device that is attached to nothing, which already fails to fetch its program.
//! - VT-d and the RISC-V IOMMU refuse a write without a record where a cached entry is enough for that; where a page is
//!   mapped, the machine empties their caches and tries again. What is not mapped is left to them.
//!
//! Without QEMU 10.0 or newer the tests fail, unless `VCM_WITHOUT_QEMU_IOMMUS` is set.

mod qemu_iommu;

#[path = "qemu_iommu_platform/support.rs"]
mod support;

#[path = "qemu_iommu_platform/faults.rs"]
mod faults;
#[path = "qemu_iommu_platform/loss.rs"]
mod loss;
#[path = "qemu_iommu_platform/messages.rs"]
mod messages;
#[path = "qemu_iommu_platform/nvme.rs"]
mod nvme;
#[path = "qemu_iommu_platform/same.rs"]
mod same;
#[path = "qemu_iommu_platform/stale.rs"]
mod stale;
#[path = "qemu_iommu_platform/traffic.rs"]
mod traffic;
