//! The mapping graph.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod address;
mod attributes;
mod block;
mod fault;
mod hardware;
mod kind;
mod page_sizes;
mod span;
mod storage;

pub use address::{CpuAddress, GuestPhysicalAddress, Iova, PhysicalAddress, RegionAddress, RemoteAddress};
pub use attributes::{Access, Attributes, CachePolicy, MemoryType, Privilege, Security, Shareability};
pub use block::{Segment, Segments};
pub use fault::{Answer, Fault, FaultAccess, FaultReason, FaultState};
pub use hardware::{
    DeviceHandle, Format, Hardware, HardwareError, HardwareErrorKind, LeafCount, Part, Quiesced, SpaceHandle,
    Unfinished,
};
pub use kind::RegionKind;
pub use page_sizes::{Bytes, PageSizes, SIZE_1G, SIZE_1M, SIZE_2M, SIZE_4K, SIZE_16M, SIZE_64K};
pub use span::Span;
pub use storage::{Arena, Key, List, OutOfMemory};
