//! The page in which the guest counts.
#![allow(unsafe_code, reason = "memory that a guest writes is read as atomics")]

use crate::Error;
use crate::memory::MemoryFile;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many interrupts one page has room for.
pub(super) const MOST: usize = (4096 - FIRST as usize) / EACH as usize;

const FIRST: u32 = 64;
const EACH: u32 = 16;

/// Where the guest keeps what, in bytes from the start of the page: 32 bits each.
pub(super) mod place {
    use super::{EACH, FIRST};

    /// How many vCPUs have set themselves up.
    pub(in super::super) const READY: u32 = 0;
    /// 1 when the I/O APIC is set up as well.
    pub(in super::super) const SET_UP: u32 = 4;
    /// A spin lock for the I/O APIC's two registers.
    pub(in super::super) const LOCK: u32 = 8;

    /// Interrupts whose device wanted something.
    pub(in super::super) const fn delivered(interrupt: usize) -> u32 {
        FIRST + interrupt as u32 * EACH
    }

    /// Interrupts whose device wanted nothing.
    pub(in super::super) const fn spurious(interrupt: usize) -> u32 {
        delivered(interrupt) + 4
    }

    /// 1 while the handler runs.
    pub(in super::super) const fn in_service(interrupt: usize) -> u32 {
        delivered(interrupt) + 8
    }

    /// The number of the vCPU that took the last one.
    pub(in super::super) const fn vcpu(interrupt: usize) -> u32 {
        delivered(interrupt) + 12
    }
}

/// What a guest counted of one interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// How often its device wanted something.
    pub delivered: u32,
    /// How often it came, and its device wanted nothing.
    pub spurious: u32,
    /// Whether a handler of it runs.
    pub in_service: bool,
    /// Which vCPU took the last one.
    pub vcpu: u32,
}

/// The guest's memory as this process sees it.
#[derive(Debug)]
pub(super) struct Shared {
    file: MemoryFile,
    /// Where the page with the counters is in the file.
    counters: u64,
}

impl Shared {
    pub(super) const fn new(file: MemoryFile, counters: u64) -> Self {
        Self { file, counters }
    }

    pub(super) const fn file(&self) -> &MemoryFile {
        &self.file
    }

    /// Writes the guest's program, before the guest runs.
    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        let range = self.file.range(offset, bytes.len() as u64)?;
        // SAFETY: `range` has as many bytes, they are mapped and nobody has a reference into them; `bytes` is
        // elsewhere.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), range.address().as_ptr(), bytes.len()) };
        Ok(())
    }

    pub(super) fn counter(&self, place: u32) -> u32 {
        let Ok(range) = self.file.range(self.counters + u64::from(place), 4) else { return 0 };
        // SAFETY: the counter is inside the mapping, which lives as long as `self`; it is a multiple of four into a
        // page; and this process uses it in this way only, once the guest runs.
        let counter = unsafe { AtomicU32::from_ptr(range.address().as_ptr().cast()) };
        counter.load(Ordering::Acquire)
    }

    pub(super) fn counts(&self, interrupt: usize) -> Counts {
        Counts {
            delivered: self.counter(place::delivered(interrupt)),
            spurious: self.counter(place::spurious(interrupt)),
            in_service: self.counter(place::in_service(interrupt)) != 0,
            vcpu: self.counter(place::vcpu(interrupt)),
        }
    }
}
