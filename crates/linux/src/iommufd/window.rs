//! A second mapping of a memory file into this process, for kernels that pin memory by address only.
//!
//! iommufd pins lazily: an address is looked up when a device is attached, which may be long after it was mapped. Were it an
//! address that this process could free meanwhile, the device would get whatever is there by then. So what is mapped by
//! address is mapped at addresses that belong to the mapping alone, and stay until the kernel has let go of them.
#![allow(unsafe_code, reason = "makes and removes mappings")]

use crate::Error;
use crate::memory::MemoryRange;
use rustix::fd::AsFd;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Addresses of this process that nothing but the kernel's pinning uses.
#[derive(Debug)]
pub(super) struct Window {
    base: usize,
    len: usize,
    /// Where the range begins, from `base` on.
    inside: usize,
}

impl Window {
    /// Maps the pages around `memory`.
    pub(super) fn new(memory: MemoryRange<'_>) -> Result<Self, Error> {
        let page = memory.file().page_len();
        let first = memory.offset() / page * page;
        let end = (memory.offset() + memory.len()).next_multiple_of(page);
        let len = (end - first) as usize;
        // SAFETY: a new mapping at a place that the kernel chooses.
        let base = unsafe {
            mmap(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                memory.file().as_fd(),
                first,
            )
        };
        let base = base.map_err(|errno| {
            Error::system("mmap", format!("{len:#x} bytes from {first:#x} on of a memory file"), errno)
        })?;
        Ok(Self { base: base.expose_provenance(), len, inside: (memory.offset() - first) as usize })
    }

    /// The address of the range's first byte.
    pub(super) const fn address(&self) -> u64 {
        (self.base + self.inside) as u64
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let base = std::ptr::with_exposed_provenance_mut(self.base);
        // SAFETY: the mapping of `new`; nothing in this process was ever given an address in it. There is nothing to do about
        // an error.
        let _ = unsafe { munmap(base, self.len) };
    }
}
