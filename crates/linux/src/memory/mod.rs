//! Memory that processes, devices and guests share: files that the kernel keeps in memory.
//!
//! A [`MemoryFile`] is made by a [`MemoryRequest`], or wraps what somebody else made. Parts of it, [`MemoryRange`] and
//! [`MemoryPiece`], are what devices, guests and this process map. [`CpuSpace`] is this process's side of the graph,
//! [`Stitched`] makes one stretch of scattered parts, and [`Layout`] gives each memory the addresses by which the graph knows
//! it.

mod access;
mod copy;
mod cpu_space;
mod dma_buf;
mod driver_memory;
mod file;
mod huge_pages;
mod kind;
mod layout;
mod maps;
mod physical;
mod populate;
mod range;
mod request;
mod stitched;
mod stretch;
mod transparent;
pub mod udmabuf;
mod wrap;

pub use copy::Word;
pub use cpu_space::CpuSpace;
pub use dma_buf::{CpuAccess, DmaBuf};
pub use driver_memory::DriverMemory;
pub use file::MemoryFile;
pub use kind::{FileKind, MemoryUse};
pub use layout::Layout;
pub use physical::physical_spans;
pub use populate::Progress;
pub use range::{MemoryPiece, MemoryRange};
pub use request::{MemoryRequest, PageKind, Sealing};
pub use stitched::Stitched;
pub use wrap::Trust;
