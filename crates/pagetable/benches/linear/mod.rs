//! Memory for tables as a kernel has it: all of physical memory at a fixed offset. The other crates are given theirs
//! in the same way.
#![allow(unsafe_code, reason = "a linear map is reached by raw pointers, as in the crates measured beside")]

use std::ops::Range;
use vcm::PhysicalAddress;
use vcm_pagetable::{TableError, TableMemory, Word, fill_slice, first_unlike_in_slice};

/// Where the memory starts, for the walker.
const START: u64 = 0x1000_0000;
const BYTES: u64 = 16 << 20;

/// 16 MiB of memory for tables; freed ones are zeroed and used again.
pub(crate) struct Linear<W> {
    /// As many bytes as [`BYTES`], which nobody else has a pointer to.
    words: *mut W,
    next: u64,
    free: Vec<(u64, PhysicalAddress)>,
}

impl<W: Word> Linear<W> {
    pub(crate) fn new() -> Self {
        let words = vec![W::ZERO; (BYTES / W::BYTES) as usize].leak().as_mut_ptr();
        Self { words, next: START, free: Vec::new() }
    }

    /// The word at `index` of `table`, of which [`allocate`](TableMemory::allocate) gave out that many at least.
    #[inline]
    fn word(&self, table: PhysicalAddress, index: usize) -> *mut W {
        self.words.wrapping_byte_add((table.raw() - START) as usize).wrapping_add(index)
    }
}

// SAFETY, of all pointers below: `PageTable` names tables that `allocate` gave it, and words within them; they are in
// the memory that `words` points to. References live for one call only.
impl<W: Word> TableMemory<W> for Linear<W> {
    fn allocate(&mut self, size: u64, align: u64) -> Result<PhysicalAddress, TableError> {
        if let Some(index) = self.free.iter().rposition(|free| free.0 == size) {
            let table = self.free.swap_remove(index).1;
            self.fill(table, 0, (size / W::BYTES) as usize, W::ZERO, W::ZERO);
            return Ok(table);
        }
        let table = self.next.next_multiple_of(align);
        if table + size > START + BYTES {
            return Err(TableError::OutOfMemory { size });
        }
        self.next = table + size;
        Ok(PhysicalAddress::new(table))
    }

    fn free(&mut self, table: PhysicalAddress, size: u64) {
        self.free.push((size, table));
    }

    #[inline]
    fn read(&self, table: PhysicalAddress, index: usize) -> W {
        // SAFETY: see above.
        unsafe { self.word(table, index).read() }
    }

    #[inline]
    fn write(&mut self, table: PhysicalAddress, index: usize, value: W) {
        // SAFETY: see above.
        unsafe { self.word(table, index).write(value) }
    }

    #[inline]
    fn fill(&mut self, table: PhysicalAddress, index: usize, count: usize, first: W, step: W) {
        // SAFETY: see above.
        let words = unsafe { std::slice::from_raw_parts_mut(self.word(table, index), count) };
        fill_slice(words, first, step);
    }

    #[inline]
    fn first_unlike(&self, table: PhysicalAddress, words: Range<usize>, mask: W, value: W) -> Option<usize> {
        // SAFETY: see above.
        let slice = unsafe { std::slice::from_raw_parts(self.word(table, words.start), words.len()) };
        first_unlike_in_slice(slice, mask, value).map(|index| words.start + index)
    }
}
