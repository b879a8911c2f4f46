//! The virtio-iommu driver against a device that is written from the specification, and against ones that lie.

#[path = "virtio/bench.rs"]
mod bench;
#[path = "virtio/fake.rs"]
mod fake;
#[path = "virtio/iommu.rs"]
mod iommu;
#[path = "virtio/memory.rs"]
mod memory;
#[path = "virtio/windows.rs"]
mod windows;

#[path = "virtio/domains.rs"]
mod domains;
#[path = "virtio/events.rs"]
mod events;
#[path = "virtio/lies.rs"]
mod lies;
#[path = "virtio/loss.rs"]
mod loss;
#[path = "virtio/model.rs"]
mod model;
#[path = "virtio/negotiation.rs"]
mod negotiation;
