//! Contiguous ranges of any number of pages.

use super::frames::{Frames, LARGEST, LEVELS, bytes_of, level_of, number_of, pages_of};
use crate::SIZE_4K;
use crate::Segment;

impl Frames {
    /// Takes `pages` pages in one run that starts at a multiple of `alignment` bytes.
    pub(super) fn take_run(&mut self, pages: u64, alignment: u64) -> Option<Segment> {
        let page = self.find_in_block(pages, alignment).or_else(|| self.find_run(pages, alignment))?;
        self.claim(page, pages);
        match level_of(pages * SIZE_4K) {
            // It is a block, and given back as one.
            Some(level) if page & (pages - 1) == 0 => {
                let number = number_of(page, level);
                self.blocks[level].mark((number / 64) as usize, 1 << (number % 64));
            }
            _ => self.tail.join(page, pages),
        }
        Some(Segment { base: self.address(page), len: pages * SIZE_4K })
    }

    /// The start of the smallest free block that is as long and as aligned.
    fn find_in_block(&self, pages: u64, alignment: u64) -> Option<u64> {
        (0..LEVELS).filter(|level| pages_of(*level) >= pages && bytes_of(*level) >= alignment).find_map(
            |level| {
                let index = self.blocks[level].any_word()?;
                let bit = self.blocks[level].free_word(index).trailing_zeros();
                Some((index as u64 * 64 + u64::from(bit)) * pages_of(level))
            },
        )
    }

    /// The lowest run across blocks, wherever they start.
    fn find_run(&self, pages: u64, alignment: u64) -> Option<u64> {
        let unit = (alignment / SIZE_4K).max(1);
        let mut run = Run { pages, unit, base: self.base, start: 0 };
        let mut page = 0;
        while page < self.end {
            let largest = page / LARGEST;
            if self.blocks[3].is_free(largest) {
                page += LARGEST;
            } else if self.is_taken(largest) {
                page += LARGEST;
                run.start = page;
            } else {
                for index in page / 64..(page + LARGEST) / 64 {
                    if let Some(found) = run.word(index * 64, self.free_word(index)) {
                        return Some(found);
                    }
                }
                page += LARGEST;
            }
            if let Some(found) = run.found(page) {
                return Some(found);
            }
        }
        None
    }

    /// Whether no page is free in the largest block `number`, which is not free as a whole.
    fn is_taken(&self, number: u64) -> bool {
        let index = number as usize;
        self.blocks[2].free_word(index / 4) >> (index % 4 * 16) & 0xffff == 0
            && (0..4).all(|word| self.blocks[1].free_word(index * 4 + word) == 0)
            && self.blocks[0].word_from(index * 64).is_none_or(|word| word >= (index + 1) * 64)
    }

    /// Which of the pages from 64 * `index` on are free, in a block of any size.
    fn free_word(&self, index: u64) -> u64 {
        if self.blocks[3].is_free(index / 64) || self.blocks[2].is_free(index / 4) {
            return u64::MAX;
        }
        let groups = self.blocks[1].free_word((index / 16) as usize) >> (index % 16 * 4) & 0xf;
        let spread = (groups & 1) | (groups & 2) << 15 | (groups & 4) << 30 | (groups & 8) << 45;
        self.blocks[0].free_word(index as usize) | (spread * 0xffff)
    }

    /// Takes the free pages from `page` on out of the blocks that they are in, and gives the rest of these
    /// blocks back.
    fn claim(&mut self, page: u64, pages: u64) {
        let end = page + pages;
        let mut at = page;
        while at < end {
            let level = (0..LEVELS).find(|level| self.blocks[*level].is_free(number_of(at, *level)));
            let Some(level) = level else {
                debug_assert!(false, "page {at} is not free");
                return;
            };
            let number = number_of(at, level);
            self.blocks[level].remove((number / 64) as usize, 1 << (number % 64));
            let (first, next) = (number * pages_of(level), (number + 1) * pages_of(level));
            if first < at {
                self.release(first, at - first);
            }
            if next > end {
                self.release(end, next - end);
            }
            at = next;
        }
    }
}

/// A run of free pages that grows page by page.
struct Run {
    pages: u64,
    /// The start's alignment, in pages.
    unit: u64,
    base: u64,
    /// The first free page of the run.
    start: u64,
}

impl Run {
    /// The place for the pages wanted, if the run that ends before `end` has one.
    fn found(&self, end: u64) -> Option<u64> {
        let first = ((self.base + self.start).checked_add(self.unit - 1)? & !(self.unit - 1)) - self.base;
        (first <= end && end - first >= self.pages).then_some(first)
    }

    /// Goes on with the 64 pages from `page` on, of which those in `free` are free.
    fn word(&mut self, page: u64, free: u64) -> Option<u64> {
        if free == u64::MAX {
            return self.found(page + 64);
        }
        if self.pages >= 64 {
            // Too long to start and end in here: what matters is where the last run ends and the next starts.
            let found = self.found(page + u64::from(free.trailing_ones()));
            self.start = page + 64 - u64::from(free.leading_ones());
            return found;
        }
        let mut at = 0;
        loop {
            at += (free >> at).trailing_ones();
            let found = self.found(page + u64::from(at));
            if found.is_some() || at >= 64 {
                return found;
            }
            at += (free >> at).trailing_zeros().min(64 - at);
            self.start = page + u64::from(at);
            if at == 64 {
                return None;
            }
        }
    }
}
