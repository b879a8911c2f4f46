//! A stretch of this process's addresses that nobody else maps anything into.
//!
//! One gap is left, and known: when a file system refuses a mapping late (huge pages that ran out after they were reserved), the
//! kernel has already unmapped what was there. The addresses are taken again at once, but a thread that maps something in between
//! can get them. Moving a finished mapping into place (`mremap`) would close it, for a second system call with every mapping.
#![allow(unsafe_code, reason = "mappings are made and replaced inside addresses that a `Stretch` owns")]

use crate::Error;
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mmap_anonymous, mprotect, munmap};
use std::ptr::NonNull;
use vcm::{Access, Span};

/// The smallest page of this machine, in bytes.
pub(super) fn system_page_len() -> u64 {
    rustix::param::page_size() as u64
}

/// Addresses that were got from the kernel and stay mapped, as nothing (`PROT_NONE`) or as files, until it is dropped:
/// the kernel never gives them to another `mmap`. No Rust reference ever points into it.
#[derive(Debug)]
pub(super) struct Stretch {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the addresses belong to the value, not to a thread, and what is there is reached by raw pointers only.
unsafe impl Send for Stretch {}
// SAFETY: as above; what replaces mappings is kept apart from what uses them by the owners (`&mut CpuSpace`).
unsafe impl Sync for Stretch {}

impl Stretch {
    /// `len` bytes at a multiple of `alignment`; a multiple of the page size and a power of two, both in bytes.
    pub(super) fn reserve(len: u64, alignment: u64) -> Result<Self, Error> {
        let page = system_page_len();
        let refused = |why: String| Error::argument(format!("{len:#x} bytes of addresses"), why);
        if len == 0 || !len.is_multiple_of(page) {
            return Err(refused(format!("not a multiple of the page size, {page:#x}")));
        }
        if !alignment.is_power_of_two() {
            return Err(refused(format!("an alignment of {alignment:#x} is not a power of two")));
        }
        let spare = alignment.max(page) - page;
        let total = len.checked_add(spare).and_then(|total| isize::try_from(total).ok());
        let total = total.ok_or_else(|| refused("more than a process has".into()))? as usize;
        let none = ProtFlags::empty();
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new mapping at a place that the kernel chooses.
        let got = unsafe { mmap_anonymous(std::ptr::null_mut(), total, none, flags) };
        let got = got.map_err(|errno| {
            Error::system("mmap", format!("{total:#x} bytes of addresses"), errno)
                .with_help("see `ulimit -v`, and /proc/sys/vm/max_map_count when there are many mappings")
        })?;
        let whole = NonNull::new(got.cast::<u8>())
            .map(|base| Self { base, len: total })
            .ok_or_else(|| Error::Garbage { object: "mmap".into(), what: "a mapping at address 0".into() })?;
        Ok(whole.trim(len as usize, alignment))
    }

    /// The first `len` aligned bytes of it; what is before and behind goes back.
    fn trim(self, len: usize, alignment: u64) -> Self {
        let start = self.first();
        let before = (start.next_multiple_of(alignment) - start) as usize;
        let after = self.len - before - len;
        // SAFETY: `reserve` has asked for enough: `before + len` is inside.
        let base = unsafe { self.base.add(before) };
        // SAFETY: both are of the mapping just made, of which nobody else knows. Where the kernel refuses, addresses stay
        // reserved that nobody uses: no harm.
        unsafe {
            if before > 0 {
                let _ = munmap(self.base.as_ptr().cast(), before);
            }
            if after > 0 {
                let _ = munmap(base.add(len).as_ptr().cast(), after);
            }
        }
        std::mem::forget(self);
        Self { base, len }
    }

    /// Takes over addresses that are mapped already.
    ///
    /// # Safety
    /// They are mapped, nobody else unmaps or maps there any more, and no reference to what is there is used from now on.
    pub(super) unsafe fn adopt(base: NonNull<u8>, len: usize) -> Self {
        Self { base, len }
    }

    pub(super) const fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(super) fn first(&self) -> u64 {
        self.base.addr().get() as u64
    }

    /// Its addresses.
    pub(super) fn span(&self) -> Span {
        // A mapping has a byte at least and does not wrap.
        Span::new(self.first(), self.len as u64).unwrap_or(Span::ALL)
    }

    fn at(&self, offset: u64, len: u64) -> *mut u8 {
        assert!(offset.checked_add(len).is_some_and(|end| end <= self.len as u64), "inside the stretch");
        // SAFETY: checked just now.
        unsafe { self.base.add(offset as usize) }.as_ptr()
    }

    /// Replaces what is mapped at `offset` for `len` bytes by `file` from `start` on. When it fails, what was there is there
    /// still, or nothing (`PROT_NONE`).
    pub(super) fn map(
        &self,
        offset: u64,
        len: u64,
        file: impl AsFd,
        start: u64,
        access: Access,
    ) -> Result<(), Errno> {
        let at = self.at(offset, len).cast();
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        // SAFETY: the addresses are this value's own, and no reference points into them.
        let result = unsafe { mmap(at, len as usize, protection(access), flags, file, start) };
        if result.is_err() {
            // A kernel can have unmapped the old mapping by the time that a file system refuses the new one (mm/vma.c,
            // `vms_abort_munmap_vmas`). Where nothing is mapped now, the addresses are taken again at once; where something is,
            // this changes nothing. In between another thread's mapping could come to lie there: see the module.
            let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED_NOREPLACE;
            // SAFETY: NOREPLACE: no mapping is replaced.
            let _ = unsafe { mmap_anonymous(at, len as usize, ProtFlags::empty(), flags) };
        }
        result.map(drop)
    }

    /// Replaces what is mapped at `offset` for `len` bytes by nothing. When it fails, what was there is there still.
    pub(super) fn clear(&self, offset: u64, len: u64) -> Result<(), Errno> {
        let at = self.at(offset, len).cast();
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        // SAFETY: as for `map`.
        unsafe { mmap_anonymous(at, len as usize, ProtFlags::empty(), flags) }.map(drop)
    }

    /// Changes what may be done at `offset` for `len` bytes.
    pub(super) fn protect(&self, offset: u64, len: u64, access: Access) -> Result<(), Errno> {
        let at = self.at(offset, len).cast();
        let flags = MprotectFlags::from_bits_retain(protection(access).bits());
        // SAFETY: the addresses are this value's own; who accesses them asks the owner what is permitted.
        unsafe { mprotect(at, len as usize, flags) }
    }
}

impl Drop for Stretch {
    fn drop(&mut self) {
        // SAFETY: this value's own addresses, which nobody has a pointer into any more. There is nothing to do about an error:
        // the addresses stay mapped then, which harms nobody.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
    }
}

fn protection(access: Access) -> ProtFlags {
    let pairs = [
        (Access::READ, ProtFlags::READ),
        (Access::WRITE, ProtFlags::WRITE),
        (Access::EXECUTE, ProtFlags::EXEC),
    ];
    pairs
        .into_iter()
        .filter(|(asked, _)| access.contains(*asked))
        .fold(ProtFlags::empty(), |all, (_, flag)| all | flag)
}
