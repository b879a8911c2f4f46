//! The page frames of one memory as free blocks of four sizes, each sixteen of the next smaller.
//!
//! What always holds:
//! 1. A free block is in the bitmap of its size and in no other. Where blocks merge, sixteen free parts of
//!    one block are never there one by one: they are the block.
//! 2. Bit n of `tail` is set if page n is allocated together with page n - 1. So it says where every
//!    allocated block of more than a page starts and ends, and that its pages are allocated; single pages
//!    cost nothing.
//!
//! Everything is allocated at the start. A page costs 2.3 bits, with fixed counts 3.4.

use super::bitmap::{Bitmap, zeros};
use super::request::Block;
use crate::{List, OutOfMemory, PhysicalAddress, SIZE_4K, Span};

/// 4K, 64K, 1M, 16M: the level is the power of sixteen.
pub(super) const LEVELS: usize = 4;
/// Pages of the largest block.
const LARGEST: u64 = pages_of(LEVELS - 1);

/// Pages of a block of `level`.
pub(super) const fn pages_of(level: usize) -> u64 {
    1 << (4 * level)
}

/// Bytes of a block of `level`.
pub(super) const fn bytes_of(level: usize) -> u64 {
    SIZE_4K << (4 * level)
}

/// The level of blocks of `bytes` bytes.
pub(super) fn level_of(bytes: u64) -> Option<usize> {
    (0..LEVELS).find(|level| bytes_of(*level) == bytes)
}

#[derive(Debug)]
pub(super) struct Frames {
    /// The number in physical memory of page 0: a multiple of the largest block, so that a block that is a
    /// multiple of its size here is one there.
    base: u64,
    /// The pages that are ours: from `first` to below `end`.
    first: u64,
    end: u64,
    free: [Bitmap; LEVELS],
    /// The number of free blocks of each level.
    count: [u64; LEVELS],
    tail: List<u64>,
    /// With fixed counts, the blocks that there are: then nothing splits or merges.
    fixed: Option<[List<u64>; LEVELS]>,
}

impl Frames {
    /// The pages of `memory`, whose ends are multiples of 4K, all free.
    pub(super) fn new(memory: Span) -> Result<Self, OutOfMemory> {
        let base = memory.first() / SIZE_4K / LARGEST * LARGEST;
        let first = memory.first() / SIZE_4K - base;
        let end = memory.last() / SIZE_4K + 1 - base;
        let bitmap = |level| Bitmap::new(end.div_ceil(pages_of(level)));
        let mut frames = Self {
            base,
            first,
            end,
            free: [bitmap(0)?, bitmap(1)?, bitmap(2)?, bitmap(3)?],
            count: [0; LEVELS],
            tail: zeros(usize::try_from(end.div_ceil(64)).map_err(|_| OutOfMemory)?)?,
            fixed: None,
        };
        frames.release(first, end - first);
        Ok(frames)
    }

    /// As [`Frames::new`], but only `counts` blocks of each level, which neither split nor merge. `None` when
    /// they do not fit.
    pub(super) fn with_counts(memory: Span, counts: [u64; LEVELS]) -> Result<Option<Self>, OutOfMemory> {
        let mut frames = Self::new(memory)?;
        let list = |level| zeros(frames.end.div_ceil(pages_of(level)).div_ceil(64) as usize);
        let mut fixed = [list(0)?, list(1)?, list(2)?, list(3)?];
        // From the largest size down, lowest address first: blocks of one size never take the place of more
        // than their own number of larger ones.
        for level in (0..LEVELS).rev() {
            for _ in 0..counts[level] {
                while frames.count[level] == 0 {
                    if !frames.split_above(level) {
                        return Ok(None);
                    }
                }
                let Some(index) = frames.free[level].word_from(0) else { return Ok(None) };
                let bit = frames.free[level].word(index) & frames.free[level].word(index).wrapping_neg();
                frames.unset(level, index, bit);
                fixed[level][index] |= bit;
            }
        }
        for (level, list) in fixed.iter().enumerate() {
            frames.free[level].clear();
            frames.count[level] = 0;
            for (index, word) in list.iter().enumerate() {
                if *word != 0 {
                    frames.free[level].add(index, *word);
                    frames.count[level] += u64::from(word.count_ones());
                }
            }
        }
        frames.fixed = Some(fixed);
        Ok(Some(frames))
    }

    pub(super) fn contains(&self, address: u64) -> bool {
        (address / SIZE_4K).checked_sub(self.base).is_some_and(|page| self.first <= page && page < self.end)
    }

    /// The number of free blocks of `level`, as they lie.
    pub(super) const fn count(&self, level: usize) -> u64 {
        self.count[level]
    }

    pub(super) fn free_bytes(&self) -> u64 {
        (0..LEVELS).map(|level| self.count[level] * bytes_of(level)).sum()
    }

    fn address(&self, page: u64) -> PhysicalAddress {
        PhysicalAddress::new((self.base + page) * SIZE_4K)
    }

    // Taking blocks.

    /// How many blocks of each level come together for `pages` pages, the largest first, when the levels of
    /// `allowed` may be used; and the pages that are left over.
    pub(super) fn plan(&self, allowed: [bool; LEVELS], mut pages: u64) -> ([u64; LEVELS], u64) {
        let mut plan = [0; LEVELS];
        // The free pages in blocks of the level and above, which can be split down to it.
        let mut above = 0;
        for level in (0..LEVELS).rev() {
            let own = self.count[level] * pages_of(level);
            above = if self.fixed.is_some() { own } else { above + own };
            if allowed[level] {
                plan[level] = pages.min(above) / pages_of(level);
                pages -= plan[level] * pages_of(level);
                above -= plan[level] * pages_of(level);
            }
        }
        (plan, pages)
    }

    /// Takes `wanted` blocks of `level`, of which [`Frames::plan`] promised that they are there, into the
    /// room reserved in `out`.
    pub(super) fn take(&mut self, level: usize, mut wanted: u64, out: &mut List<Block>) {
        while wanted > 0 {
            let Some(index) = self.free[level].any_word() else {
                if !self.take_whole(level, &mut wanted, out) && !self.split_above(level) {
                    debug_assert!(false, "fewer blocks than planned");
                    return;
                }
                continue;
            };
            let mut bits = self.free[level].word(index);
            let all = u64::from(bits.count_ones());
            if all > wanted {
                // The lowest of them.
                let mut rest = bits;
                for _ in 0..wanted {
                    rest &= rest - 1;
                }
                bits ^= rest;
            }
            wanted -= all.min(wanted);
            self.unset(level, index, bits);
            if bits == u64::MAX {
                self.emit(level, index as u64 * 64, 64, out);
                continue;
            }
            while bits != 0 {
                self.emit(level, index as u64 * 64 + u64::from(bits.trailing_zeros()), 1, out);
                bits &= bits - 1;
            }
        }
    }

    /// Takes a whole free block above `level` as blocks of `level`, if so many are wanted, without splitting
    /// it step by step.
    fn take_whole(&mut self, level: usize, wanted: &mut u64, out: &mut List<Block>) -> bool {
        if self.fixed.is_some() {
            return false;
        }
        for above in level + 1..LEVELS {
            let parts = pages_of(above - level);
            if parts > *wanted {
                return false;
            }
            if let Some(index) = self.free[above].any_word() {
                let bit = self.free[above].word(index).trailing_zeros();
                self.unset(above, index, 1 << bit);
                self.emit(level, (index as u64 * 64 + u64::from(bit)) * parts, parts, out);
                *wanted -= parts;
                return true;
            }
        }
        false
    }

    /// Writes `count` blocks of `level` from number `number` on down as allocated.
    fn emit(&mut self, level: usize, number: u64, count: u64, out: &mut List<Block>) {
        let len = bytes_of(level);
        let base = self.address(number * pages_of(level)).raw();
        if level > 0 {
            for each in number..number + count {
                self.set_tail(each * pages_of(level), pages_of(level), u64::MAX);
            }
        }
        for each in 0..count {
            out.push_reserved(Block { base: PhysicalAddress::new(base + each * len), len });
        }
    }

    /// Takes one block of `level` that starts at a multiple of `alignment` bytes. The search goes on in word
    /// `from`, where the last one ended.
    pub(super) fn take_aligned(&mut self, level: usize, alignment: u64, from: &mut usize) -> Option<Block> {
        let number = self.pop_aligned(level, alignment, from)?;
        let page = number * pages_of(level);
        if level > 0 {
            self.set_tail(page, pages_of(level), u64::MAX);
        }
        Some(Block { base: self.address(page), len: bytes_of(level) })
    }

    fn pop_aligned(&mut self, level: usize, alignment: u64, from: &mut usize) -> Option<u64> {
        // In blocks, of which one in `every` will do; of 64 neighbours at most those in `mask`. Where page 0
        // is, the mask does not know: up to the largest block that makes no difference.
        let every = (alignment / bytes_of(level)).max(1);
        let mask = match every.min(LARGEST / pages_of(level)) {
            known @ 0..64 => u64::MAX / ((1 << known) - 1),
            _ => 1,
        };
        let base = self.base / pages_of(level);
        while let Some(index) = self.free[level].word_from(*from) {
            *from = index;
            let mut bits = self.free[level].word(index) & mask;
            while bits != 0 {
                let number = index as u64 * 64 + u64::from(bits.trailing_zeros());
                if (base + number) & (every - 1) == 0 {
                    self.unset(level, index, bits & bits.wrapping_neg());
                    return Some(number);
                }
                bits &= bits - 1;
            }
            *from = index + 1;
        }
        if self.fixed.is_some() || level + 1 == LEVELS {
            return None;
        }
        let above = self.pop_aligned(level + 1, alignment, &mut 0)?;
        self.put_group(level, above * 16, 0xfffe);
        *from = (above / 4) as usize;
        Some(above * 16)
    }

    /// Splits the smallest free block above `level` into sixteen.
    fn split_above(&mut self, level: usize) -> bool {
        if self.fixed.is_some() {
            return false;
        }
        for above in level + 1..LEVELS {
            if let Some(index) = self.free[above].any_word() {
                let bit = self.free[above].word(index).trailing_zeros();
                self.unset(above, index, 1 << bit);
                self.put_group(above - 1, (index as u64 * 64 + u64::from(bit)) * 16, 0xffff);
                return true;
            }
        }
        false
    }

    /// Removes blocks from the free ones.
    fn unset(&mut self, level: usize, index: usize, mask: u64) {
        self.free[level].remove(index, mask);
        self.count[level] -= u64::from(mask.count_ones());
    }

    /// Adds blocks of the group of sixteen that `number` is in, without merging.
    fn put_group(&mut self, level: usize, number: u64, mask: u64) {
        self.free[level].add((number / 64) as usize, mask << (number % 64 & 48));
        self.count[level] += u64::from(mask.count_ones());
    }

    // Contiguous pages.

    /// Takes `pages` pages in one run that starts at a multiple of `alignment` bytes.
    pub(super) fn take_run(&mut self, pages: u64, alignment: u64) -> Option<Block> {
        let page = self.find_in_block(pages, alignment).or_else(|| self.find_run(pages, alignment))?;
        self.claim(page, pages);
        self.set_tail(page, pages, u64::MAX);
        Some(Block { base: self.address(page), len: pages * SIZE_4K })
    }

    /// The start of the smallest free block that is as long and as aligned.
    fn find_in_block(&self, pages: u64, alignment: u64) -> Option<u64> {
        (0..LEVELS).filter(|level| pages_of(*level) >= pages && bytes_of(*level) >= alignment).find_map(
            |level| {
                let index = self.free[level].any_word()?;
                let bit = self.free[level].word(index).trailing_zeros();
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
            if self.free[3].contains(largest) {
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
        self.free[2].word(index / 4) >> (index % 4 * 16) & 0xffff == 0
            && (0..4).all(|word| self.free[1].word(index * 4 + word) == 0)
            && self.free[0].word_from(index * 64).is_none_or(|word| word >= (index + 1) * 64)
    }

    /// Which of the pages from 64 * `index` on are free, in a block of any size.
    fn free_word(&self, index: u64) -> u64 {
        if self.free[3].contains(index / 64) || self.free[2].contains(index / 4) {
            return u64::MAX;
        }
        let groups = self.free[1].word((index / 16) as usize) >> (index % 16 * 4) & 0xf;
        let spread = (groups & 1) | (groups & 2) << 15 | (groups & 4) << 30 | (groups & 8) << 45;
        self.free[0].word(index as usize) | spread * 0xffff
    }

    /// Takes the free pages from `page` on out of the blocks that they are in, and gives the rest of these
    /// blocks back.
    fn claim(&mut self, page: u64, pages: u64) {
        let end = page + pages;
        let mut at = page;
        while at < end {
            let level = (0..LEVELS).find(|level| self.free[*level].contains(at / pages_of(*level)));
            let Some(level) = level else {
                debug_assert!(false, "page {at} is not free");
                return;
            };
            let number = at / pages_of(level);
            self.unset(level, (number / 64) as usize, 1 << (number % 64));
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

    // Giving back.

    /// The pages of the block, if they are ours.
    fn pages(&self, block: Block) -> Option<(u64, u64)> {
        let (base, len) = (block.base.raw(), block.len);
        if base % SIZE_4K != 0 || len == 0 || len % SIZE_4K != 0 {
            return None;
        }
        let page = (base / SIZE_4K).checked_sub(self.base)?;
        let pages = len / SIZE_4K;
        (self.first <= page && pages <= self.end.checked_sub(page)?).then_some((page, pages))
    }

    /// Frees a block; `false`, with nothing changed, when it is not allocated with this start and length.
    pub(super) fn free(&mut self, block: Block) -> bool {
        let Some((page, pages)) = self.pages(block) else { return false };
        if pages == 1 {
            // Neither a part of something longer, nor free.
            if self.is_tail(page)
                || self.is_tail(page + 1)
                || (0..LEVELS).any(|level| self.free[level].contains(page / pages_of(level)))
            {
                return false;
            }
        } else if !self.is_one_block(page, pages) {
            return false;
        }
        if let Some(fixed) = &self.fixed {
            let Some(level) = level_of(block.len) else { return false };
            let number = page / pages_of(level);
            let (index, bit) = ((number / 64) as usize, 1 << (number % 64));
            if fixed[level].get(index).is_none_or(|word| word & bit == 0) {
                return false;
            }
            self.free[level].add(index, bit);
            self.count[level] += 1;
        } else if pages == 1 {
            self.put(0, page, 1);
        } else {
            self.release(page, pages);
        }
        if pages > 1 {
            self.set_tail(page, pages, 0);
        }
        true
    }

    /// Frees the single pages in address order that `blocks` start with, in bulk; how many blocks that were.
    /// Zero when they start with something else, or with what is not allocated.
    pub(super) fn free_pages(&mut self, blocks: &[Block]) -> usize {
        /// Far enough for the bulk to pay, and near enough to still be in the processor's cache.
        const MOST: usize = 1024;
        let Some(first) = blocks.first() else { return 0 };
        if self.fixed.is_some() || first.len != SIZE_4K {
            return 0;
        }
        let next = |block: &Block| block.base.raw().wrapping_add(SIZE_4K);
        let follows = |pair: &&[Block]| pair[1].len == SIZE_4K && pair[1].base.raw() == next(&pair[0]);
        let run = 1 + blocks[..blocks.len().min(MOST)].windows(2).take_while(follows).count();
        let Some((page, pages)) = self.pages(Block { base: first.base, len: run as u64 * SIZE_4K }) else {
            return 0;
        };
        let mut good = 0;
        for (index, mask) in words(page, pages) {
            let tail = |index: u64| self.tail.get(index as usize).copied().unwrap_or(0);
            // Free, or in the middle of something longer, or, before a tail, the start of it.
            let wrong = self.free_word(index) | tail(index) | tail(index) >> 1 | tail(index + 1) << 63;
            if wrong & mask != 0 {
                good += u64::from((wrong & mask).trailing_zeros() - mask.trailing_zeros());
                break;
            }
            good += u64::from(mask.count_ones());
        }
        self.release(page, good);
        good as usize
    }

    /// Adds the pages from `page` on to the free ones, as the largest blocks that they make.
    fn release(&mut self, page: u64, pages: u64) {
        let (mut at, end) = (page, page + pages);
        while at < end {
            let fits = |level: &usize| at % pages_of(*level) == 0 && end - at >= pages_of(*level);
            let level = (1..LEVELS).rev().find(fits).unwrap_or(0);
            let number = at / pages_of(level);
            // To the end of the word, of the parent, or of the pages.
            let limit = if level + 1 < LEVELS { 16 - number % 16 } else { 64 - number % 64 };
            let run = ((end - at) / pages_of(level)).min(limit);
            self.put(level, number, u64::MAX >> (64 - run));
            at += run * pages_of(level);
        }
    }

    /// Adds the blocks `number` and following that are in `mask`, all of one group of sixteen, to the free
    /// ones, and merges the group when it is complete.
    fn put(&mut self, mut level: usize, mut number: u64, mut mask: u64) {
        while level + 1 < LEVELS {
            let (index, shift) = ((number / 64) as usize, number % 64 & 48);
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

    // Tails.

    /// Whether the page is allocated together with the one before; beyond the end none is.
    fn is_tail(&self, page: u64) -> bool {
        let word = self.tail.get((page / 64) as usize).copied().unwrap_or(0);
        word >> (page % 64) & 1 != 0
    }

    /// Sets the tail bits of a block from its second page on to those of `value`: all ones or all zeros.
    fn set_tail(&mut self, page: u64, pages: u64, value: u64) {
        for (index, mask) in words(page + 1, pages - 1) {
            let word = &mut self.tail[index as usize];
            *word = *word & !mask | value & mask;
        }
    }

    /// Whether the pages are allocated as one block: of two or more.
    fn is_one_block(&self, page: u64, pages: u64) -> bool {
        !self.is_tail(page)
            && !self.is_tail(page + pages)
            && words(page + 1, pages - 1).all(|(index, mask)| self.tail[index as usize] & mask == mask)
    }
}

/// The words that the `count` bits from `first` on are in, each with a mask of those.
fn words(first: u64, count: u64) -> impl Iterator<Item = (u64, u64)> {
    let end = first + count;
    let mut at = first;
    core::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let run = (64 - at % 64).min(end - at);
        let word = (at / 64, u64::MAX >> (64 - run) << (at % 64));
        at += run;
        Some(word)
    })
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
        let first = (self.base + self.start).checked_next_multiple_of(self.unit)? - self.base;
        (first <= end && end - first >= self.pages).then_some(first)
    }

    /// Goes on with the 64 pages from `page` on, of which those in `free` are free.
    fn word(&mut self, page: u64, free: u64) -> Option<u64> {
        let mut at = 0;
        while at < 64 {
            let rest = free >> at;
            let run = rest.trailing_ones().min(64 - at);
            at += run;
            if run > 0
                && let Some(found) = self.found(page + u64::from(at))
            {
                return Some(found);
            }
            if at == 64 {
                break;
            }
            at += (free >> at).trailing_zeros().min(64 - at);
            self.start = page + u64::from(at);
        }
        None
    }
}
