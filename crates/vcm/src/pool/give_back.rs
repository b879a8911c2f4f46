//! Giving blocks back, and merging them.

use super::frames::{Frames, LEVELS, level_of, number_of, pages_of};
use crate::SIZE_4K;
use crate::Segment;

impl Frames {
    /// Frees a block or a range that starts in here; `false`, with nothing changed, when none is allocated
    /// with this start and length.
    #[inline]
    pub(super) fn free(&mut self, block: Segment) -> bool {
        let offset = block.base.raw().wrapping_sub(self.base * SIZE_4K);
        if let Some(level) = level_of(block.len)
            && offset & (block.len - 1) == 0
        {
            let number = number_of(offset / SIZE_4K, level);
            let there = self.blocks[level].unmark((number / 64) as usize, 1 << (number % 64));
            if there {
                self.put_one(level, number);
            }
            return there;
        }
        self.free_range(offset, block.len)
    }

    fn free_range(&mut self, offset: u64, len: u64) -> bool {
        let (page, pages) = (offset / SIZE_4K, len / SIZE_4K);
        let whole = (offset | len).is_multiple_of(SIZE_4K)
            && self.end.checked_sub(page).is_some_and(|most| pages <= most)
            && self.tail.part(page, pages);
        if whole {
            self.release(page, pages);
        }
        whole
    }

    /// Frees the single pages that `blocks` start with, if they are of the same 64 neighbours, in any order.
    /// How many blocks that were; zero when they start with something else, or with what is not allocated.
    pub(super) fn free_pages(&mut self, blocks: &[Segment]) -> usize {
        let Some(first) = blocks.first() else { return 0 };
        if !self.contains(first.base.raw()) {
            return 0;
        }
        // Where the 64 neighbours start.
        let base = first.base.raw() & !(64 * SIZE_4K - 1);
        let index = ((base / SIZE_4K - self.base) / 64) as usize;
        if let Some(all) = blocks.first_chunk::<64>()
            && all[63].base.raw() == base + 63 * SIZE_4K
        {
            // It seems to be all of them in order: then told without a branch for each.
            let addresses = (0..64).map(|each| base + each * SIZE_4K);
            let wrong = all.iter().zip(addresses).fold(0, |wrong, (block, address)| {
                wrong | (block.base.raw() ^ address) | (block.len ^ SIZE_4K)
            });
            if wrong == 0 && self.blocks[0].unmark(index, u64::MAX) {
                self.put_pages(index, u64::MAX);
                return 64;
            }
        }
        let taken = self.blocks[0].taken_word(index);
        let (mut mask, mut count) = (0, 0);
        for block in blocks {
            let offset = block.base.raw().wrapping_sub(base);
            let bit = 1u64.wrapping_shl((offset / SIZE_4K) as u32);
            // Something else, not from here, or the second time.
            if block.len != SIZE_4K
                || offset >= 64 * SIZE_4K
                || !offset.is_multiple_of(SIZE_4K)
                || taken & !mask & bit == 0
            {
                break;
            }
            mask |= bit;
            count += 1;
        }
        if count > 0 && self.blocks[0].unmark(index, mask) {
            self.put_pages(index, mask);
        }
        count
    }

    /// Adds the pages of `mask` in word `index` to the free ones.
    fn put_pages(&mut self, index: usize, mask: u64) {
        let number = index as u64;
        if !self.splits() {
            self.blocks[0].add(index, mask);
        } else if mask == u64::MAX {
            self.put(1, number * 4, 0xf);
        } else {
            for group in 0..4 {
                let pages = mask >> (group * 16) & 0xffff;
                if pages != 0 {
                    self.put(0, number * 64 + group * 16, pages);
                }
            }
        }
    }

    /// Adds the pages from `page` on to the free ones, as the largest blocks that they make.
    pub(super) fn release(&mut self, page: u64, pages: u64) {
        let (mut at, end) = (page, page + pages);
        while at < end {
            let fits = |level: &usize| at & (pages_of(*level) - 1) == 0 && end - at >= pages_of(*level);
            let level = (1..LEVELS).rev().find(fits).unwrap_or(0);
            let number = number_of(at, level);
            // To the end of the word, of the parent, or of the pages.
            let limit = if level + 1 < LEVELS { 16 - number % 16 } else { 64 - number % 64 };
            let run = (number_of(end - at, level)).min(limit);
            self.put(level, number, u64::MAX >> (64 - run));
            at += run * pages_of(level);
        }
    }

    /// Adds the blocks of `mask` in the group of sixteen that block `number` is in, from that on, to the free
    /// ones, and merges the group when it is complete.
    fn put(&mut self, level: usize, number: u64, mask: u64) {
        let (index, mask) = ((number / 64) as usize, mask << (number % 64));
        let group = 0xffff << (number & 48);
        let free = self.blocks[level].free_word(index) & group;
        if level + 1 == LEVELS || free | mask != group || !self.splits() {
            self.blocks[level].add(index, mask);
            return;
        }
        if free != 0 {
            self.blocks[level].remove(index, free);
        }
        self.put_one(level + 1, number / 16);
    }

    /// As [`Frames::put`] for one block.
    #[inline]
    fn put_one(&mut self, mut level: usize, mut number: u64) {
        while level + 1 < LEVELS {
            let group = 0xffff << (number & 48);
            let others = group ^ 1 << (number % 64);
            let index = (number / 64) as usize;
            if self.blocks[level].free_word(index) & others != others || !self.splits() {
                break;
            }
            self.blocks[level].remove(index, others);
            (level, number) = (level + 1, number / 16);
        }
        self.blocks[level].add_one(number);
    }
}
