//! The virtio-iommu driver against QEMU's device (hw/virtio/virtio-iommu.c), on its Arm and its PC machine.
//!
//! Where QEMU 10.0 does otherwise than the specification, and what cannot be tested for it:
//!
//! - Resetting the device leaves endpoints attached and mappings in place (5.13.5 wants none attached); only a reset of the
//!   machine clears them. A driver that takes over finds them, and cannot know the endpoints: one that it never
//!   attaches sees what was mapped before, and what is mapped in a domain of the same number.
//! - MAP is accepted unaligned and over reserved addresses (5.13.6.5.2, 5.13.6.8.1 would have it refused).
//! - A fault of an endpoint that was detached has the reason UNKNOWN, not DOMAIN (5.13.6.9). Only permission faults tell
//!   the access.
//! - There is no TLB: what is unmapped faults at once, so that a missing wait is not seen. Requests are done in order.
//! - It says nothing of faults for which there was no buffer, which the specification allows.
//! - `virtio-iommu-device`, on MMIO, does not start for want of a PCI bus: that transport is tested against our own device
//!   only.

#[path = "qemu_rig/left_out.rs"]
mod left_out;
#[path = "qemu_iommu_virtio/support.rs"]
mod support;

#[path = "qemu_iommu_virtio/faults.rs"]
mod faults;
#[path = "qemu_iommu_virtio/loss.rs"]
mod loss;
#[path = "qemu_iommu_virtio/streams.rs"]
mod streams;
#[path = "qemu_iommu_virtio/transfers.rs"]
mod transfers;
