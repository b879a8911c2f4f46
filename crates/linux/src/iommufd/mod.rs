//! iommufd: I/O address spaces, page tables of IOMMUs, dirty tracking, page faults.
//!
//! Everything is made in an [`Iommufd`], one opening of `/dev/iommu`. An [`Ioas`] is an address space that devices are attached to
//! (by `vfio`, which needs its number). A [`Library`] holds every memory file once, so that each mapping is one copy of a part of
//! it, and memory is pinned and counted once however many devices see it.
//!
//! Source: Documentation/userspace-api/iommufd.rst, include/uapi/linux/iommufd.h.

#[doc(hidden)]
pub mod command;
mod context;
mod dirty;
mod dma_buf;
mod fault;
mod hardware_info;
mod hwpt;
mod ioas;
mod library;
pub(crate) mod locked;
mod mapped;
mod mapping;
#[doc(hidden)]
pub mod mock;
mod object;
mod space;
mod window;

pub use context::{Accounting, Iommufd};
pub use dirty::DirtyBitmap;
pub use dma_buf::DmaBuf;
pub use fault::{FaultAnswer, FaultGroup, FaultPermissions, FaultQueue, PageFault};
pub use hardware_info::{HardwareInfo, HardwareKind};
pub use hwpt::{DirtyTracking, Hwpt, HwptRequest, Notes};
pub use ioas::{Attachment, Ioas, LargePages};
pub use library::{Library, Way};
pub use object::BoundDevice;
pub use space::SharedIoas;
