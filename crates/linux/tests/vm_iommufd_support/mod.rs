//! What the tests of iommufd share: bytes in memory files, random numbers, failures on order, and the mapping graph's machine.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(unsafe_code, reason = "looks into memory that the kernel and mock devices write")]

pub(crate) mod machine;
pub(crate) mod world;

use std::fs;
use std::sync::Arc;
use vcm::{Iova, Span};
use vcm_linux::iommufd::Iommufd;
use vcm_linux::iommufd::mock::APERTURE;
use vcm_linux::memory::{MemoryFile, MemoryRange};

/// The kernel's page.
pub(crate) const PAGE: u64 = 4096;

/// The first address that a mock device can use.
pub(crate) const START: u64 = APERTURE.0;

pub(crate) fn iommufd() -> Arc<Iommufd> {
    Iommufd::open().unwrap()
}

pub(crate) fn iova(address: u64) -> Iova {
    Iova::new(address)
}

pub(crate) fn span(first: u64, len: u64) -> Span {
    Span::new(first, len).unwrap()
}

/// A memory file of `pages` pages, each filled with bytes of its own.
pub(crate) fn memory(pages: u64) -> MemoryFile {
    let file = MemoryFile::new("test", pages * PAGE).unwrap();
    for page in 0..pages {
        fill(file.range(page * PAGE, PAGE).unwrap(), |at| pattern(page * PAGE + at));
    }
    file
}

/// The byte that [`memory`] puts at `offset`.
pub(crate) fn pattern(offset: u64) -> u8 {
    (offset / PAGE * 31 + offset % PAGE % 251) as u8
}

pub(crate) fn fill(range: MemoryRange<'_>, byte: impl Fn(u64) -> u8) {
    for at in 0..range.len() {
        // SAFETY: inside of the range, which is mapped and written to by nobody else just now.
        unsafe { range.address().add(at as usize).write_volatile(byte(at)) };
    }
}

pub(crate) fn bytes(range: MemoryRange<'_>) -> Vec<u8> {
    // SAFETY: inside of the range, which is mapped and written to by nobody else just now.
    (0..range.len()).map(|at| unsafe { range.address().add(at as usize).read_volatile() }).collect()
}

/// Numbers that look random, the same each time.
#[derive(Debug)]
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// One below `limit`. (`SplitMix64`.)
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// Runs `operation` with the `nth` place in iommufd that can fail on order failing. Whether it came to that.
///
/// Source: Documentation/fault-injection/fault-injection.rst, `fail-nth`; drivers/iommu/iommufd/selftest.c.
pub(crate) fn with_failure<T>(nth: u64, operation: impl FnOnce() -> T) -> (T, bool) {
    const NODE: &str = "/proc/thread-self/fail-nth";
    fs::write(NODE, nth.to_string()).expect("a kernel with CONFIG_FAULT_INJECTION");
    let result = operation();
    let left: u64 = fs::read_to_string(NODE).unwrap().trim().parse().unwrap();
    fs::write(NODE, "0").unwrap();
    (result, left == 0)
}

/// A line of this process's status, in bytes.
pub(crate) fn status_bytes(key: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    let kibibytes: u64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap();
    kibibytes * 1024
}
