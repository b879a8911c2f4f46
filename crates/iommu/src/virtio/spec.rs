//! The registers, rings, requests and reports of a virtio-iommu: layouts and numbers, no behaviour.
//!
//! Source: OASIS "Virtual I/O Device (VIRTIO) Version 1.2"; section numbers are that version's. Checked against
//! Linux `include/uapi/linux/virtio_{config,ring,pci,mmio,iommu}.h`. All fields are little-endian.

mod device;
mod iommu;
pub mod mmio;
pub mod pci;
mod ring;

pub use device::*;
pub use iommu::*;
pub use ring::*;
