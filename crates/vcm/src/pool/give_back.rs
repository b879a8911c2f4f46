//! Giving blocks back, and merging them.

use super::frames::{Frames, LEVELS, level_of, number_of, pages_of};
use super::tail::words;
use crate::SIZE_4K;
use crate::Segment;

impl Frames {
    /// The pages of the block, if they are ours.
    fn pages(&self, block: Segment) -> Option<(u64, u64)> {
        let (base, len) = (block.base.raw(), block.len);
        if !base.is_multiple_of(SIZE_4K) || len == 0 || !len.is_multiple_of(SIZE_4K) {
            return None;
        }
        let page = (base / SIZE_4K).checked_sub(self.base)?;
        let pages = len / SIZE_4K;
        (self.first <= page && pages <= self.end.checked_sub(page)?).then_some((page, pages))
    }

    /// Frees a block; `false`, with nothing changed, when it is not allocated with this start and length.
    pub(super) fn free(&mut self, block: Segment) -> bool {
        let Some((page, pages)) = self.pages(block) else { return false };
        if pages == 1 {
            // Neither a part of something longer, nor free.
            if self.tail.contains(page)
                || self.tail.contains(page + 1)
                || (0..LEVELS).any(|level| self.free[level].contains(number_of(page, level)))
            {
                return false;
            }
        } else if !self.tail.is_block(page, pages) {
            return false;
        }
        if let Some(fixed) = &self.fixed {
            let Some(level) = level_of(block.len) else { return false };
            let number = number_of(page, level);
            let (index, bit) = ((number / 64) as usize, 1 << (number % 64));
            if fixed[level].get(index).is_none_or(|word| word & bit == 0) {
                return false;
            }
            self.free[level].add(index, bit);
            self.count[level] += 1;
        } else if let Some(level) = level_of(block.len)
            && page & (pages_of(level) - 1) == 0
        {
            self.put(level, number_of(page, level), 1);
        } else {
            self.release(page, pages);
        }
        if pages > 1 {
            self.tail.part(page, pages);
        }
        true
    }

    /// Frees the single pages that `blocks` start with, in bulk: a long run, or those of 64 neighbours in any
    /// order. How many blocks that were; zero when they start with something else, or with what is not
    /// allocated.
    pub(super) fn free_pages(&mut self, blocks: &[Segment]) -> usize {
        /// Far enough for the bulk to pay, and near enough to still be in the processor's cache.
        const MOST: usize = 1024;
        let Some(first) = blocks.first() else { return 0 };
        if self.fixed.is_some() || first.len != SIZE_4K {
            return 0;
        }
        let next = |block: &Segment| block.base.raw().wrapping_add(SIZE_4K);
        let follows = |pair: &&[Segment]| pair[1].len == SIZE_4K && pair[1].base.raw() == next(&pair[0]);
        let run = 1 + blocks[..blocks.len().min(MOST)].windows(2).take_while(follows).count();
        if run < 64 {
            return self.free_neighbours(blocks);
        }
        let Some((page, pages)) = self.pages(Segment { base: first.base, len: run as u64 * SIZE_4K }) else {
            return 0;
        };
        let mut good = 0;
        for (index, mask) in words(page, pages) {
            let wrong = self.no_single_pages(index) & mask;
            if wrong != 0 {
                good += u64::from(wrong.trailing_zeros() - mask.trailing_zeros());
                break;
            }
            good += u64::from(mask.count_ones());
        }
        self.release(page, good);
        good as usize
    }

    fn free_neighbours(&mut self, blocks: &[Segment]) -> usize {
        let Some((first, _)) = blocks.first().and_then(|block| self.pages(*block)) else { return 0 };
        let index = first / 64;
        let wrong = self.no_single_pages(index);
        let (mut mask, mut count) = (0, 0);
        for block in blocks {
            let Some((page, 1)) = self.pages(*block) else { break };
            let bit = 1 << (page % 64);
            // Not from here, or the second time.
            if page / 64 != index || (wrong | mask) & bit != 0 {
                break;
            }
            mask |= bit;
            count += 1;
        }
        for group in 0..4 {
            let pages = mask >> (group * 16) & 0xffff;
            if pages != 0 {
                self.put(0, index * 64 + group * 16, pages);
            }
        }
        count
    }

    /// Which of the pages from 64 * `index` on are not allocated as a single page: free, or in the middle of
    /// something longer, or, before a tail, the start of it.
    fn no_single_pages(&self, index: u64) -> u64 {
        let tail = self.tail.word(index);
        self.free_word(index) | tail | tail >> 1 | self.tail.word(index + 1) << 63
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

    /// Adds the blocks `number` and following that are in `mask`, all of one group of sixteen, to the free
    /// ones, and merges the group when it is complete.
    fn put(&mut self, mut level: usize, mut number: u64, mut mask: u64) {
        while level + 1 < LEVELS {
            let (index, shift) = ((number / 64) as usize, number & 48);
            let group = self.free[level].word(index) >> shift & 0xffff;
            let added = mask << (number % 16);
            if group | added != 0xffff {
                break;
            }
            if group != 0 {
                self.unset(level, index, group << shift);
            }
            (level, number, mask) = (level + 1, number / 16, 1);
        }
        self.free[level].add((number / 64) as usize, mask << (number % 64));
        self.count[level] += u64::from(mask.count_ones());
    }
}
