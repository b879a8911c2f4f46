//! A fake's memory.

use std::collections::BTreeMap;
use vcm::{OutOfMemory, PhysicalAddress};

/// Words that are 0 until they are written, and what of them is allocated.
pub(crate) struct Memory {
    words: BTreeMap<u64, u64>,
    next: u64,
    /// What is allocated now, by address.
    pub(crate) allocated: BTreeMap<u64, u64>,
    /// Allocations until one fails.
    pub(crate) allocations: Option<usize>,
}

impl Memory {
    /// Allocates from `next` on.
    pub(crate) fn new(next: u64) -> Self {
        Self { words: BTreeMap::new(), next, allocated: BTreeMap::new(), allocations: None }
    }

    pub(crate) fn word(&self, at: u64) -> u64 {
        assert_eq!(at % 8, 0, "{at:#x} is no word");
        self.words.get(&at).copied().unwrap_or(0)
    }

    pub(crate) fn set_word(&mut self, at: u64, value: u64) {
        self.words.insert(at, value);
    }

    pub(crate) fn allocate(&mut self, size: u64, align: u64) -> Result<PhysicalAddress, OutOfMemory> {
        if let Some(left) = &mut self.allocations {
            *left = left.checked_sub(1).ok_or(OutOfMemory)?;
        }
        let at = self.next.next_multiple_of(align);
        self.next = at + size;
        self.allocated.insert(at, size);
        Ok(PhysicalAddress::new(at))
    }

    pub(crate) fn free(&mut self, address: PhysicalAddress, size: u64) {
        assert_eq!(self.allocated.remove(&address.raw()), Some(size));
    }
}
