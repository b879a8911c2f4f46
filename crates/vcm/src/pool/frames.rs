//! The page frames of one memory as free blocks of four sizes, each sixteen of the next smaller.
//!
//! What always holds:
//! 1. A free block is a free block of its size and of no other. Where blocks merge, sixteen free parts of
//!    one block are never there one by one: they are the block.
//! 2. An allocated block is marked in the blocks of its size, and its pages nowhere else. An allocated range
//!    that is no block is in `tail`: bit n is set if page n is allocated together with page n - 1.
//!
//! Everything is allocated at the start. A page costs 3.2 bits.

use super::blocks::Blocks;
use super::tail::Tails;
use crate::Segment;
use crate::{List, OutOfMemory, PageSizes, PhysicalAddress, SIZE_1M, SIZE_4K, SIZE_16M, SIZE_64K, Span};

/// 4K, 64K, 1M, 16M: the level is the power of sixteen.
pub(super) const LEVELS: usize = 4;
/// Pages of the largest block.
pub(super) const LARGEST: u64 = pages_of(LEVELS - 1);

/// Pages of a block of `level`.
pub(super) const fn pages_of(level: usize) -> u64 {
    1 << (4 * level)
}

/// Bytes of a block of `level`.
pub(super) const fn bytes_of(level: usize) -> u64 {
    SIZE_4K << (4 * level)
}

/// The number of the block of `level` that `page` is in. (A shift, where a division would be slow.)
pub(super) const fn number_of(page: u64, level: usize) -> u64 {
    page >> (4 * level)
}

/// The level of blocks of `bytes` bytes.
#[inline]
pub(super) const fn level_of(bytes: u64) -> Option<usize> {
    match bytes {
        SIZE_4K => Some(0),
        SIZE_64K => Some(1),
        SIZE_1M => Some(2),
        SIZE_16M => Some(3),
        _ => None,
    }
}

/// Whether blocks split and merge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Division {
    Splitting,
    Fixed,
}

#[derive(Debug)]
pub(super) struct Frames {
    /// The number in physical memory of page 0: a multiple of the largest block, so that a block that is a
    /// multiple of its size here is one there.
    pub(super) base: u64,
    /// The pages that are ours: from `first` to below `end`.
    pub(super) first: u64,
    pub(super) end: u64,
    pub(super) blocks: [Blocks; LEVELS],
    pub(super) tail: Tails,
    division: Division,
}

impl Frames {
    /// The pages of `memory`, whose ends are multiples of 4K, all free.
    pub(super) fn new(memory: Span) -> Result<Self, OutOfMemory> {
        let base = memory.first() / SIZE_4K / LARGEST * LARGEST;
        let first = memory.first() / SIZE_4K - base;
        let end = memory.last() / SIZE_4K + 1 - base;
        let blocks = |level| Blocks::new(end.div_ceil(pages_of(level)));
        let mut frames = Self {
            base,
            first,
            end,
            blocks: [blocks(0)?, blocks(1)?, blocks(2)?, blocks(3)?],
            tail: Tails::new(end)?,
            division: Division::Splitting,
        };
        frames.release(first, end - first);
        Ok(frames)
    }

    /// As [`Frames::new`], but only `counts` blocks of each level, which neither split nor merge. `None` when
    /// they do not fit.
    pub(super) fn with_counts(memory: Span, counts: [u64; LEVELS]) -> Result<Option<Self>, OutOfMemory> {
        let mut frames = Self::new(memory)?;
        // From the largest size down, lowest address first: blocks of one size never take the place of more
        // than their own number of larger ones.
        for level in (0..LEVELS).rev() {
            for _ in 0..counts[level] {
                while frames.count(level) == 0 {
                    if !frames.split_above(level) {
                        return Ok(None);
                    }
                }
                let Some(index) = frames.blocks[level].word_from(0) else { return Ok(None) };
                let bits = frames.blocks[level].free_word(index);
                frames.allocate(level, index, bits & bits.wrapping_neg());
            }
        }
        frames.blocks.iter_mut().for_each(Blocks::free_the_taken);
        frames.division = Division::Fixed;
        Ok(Some(frames))
    }

    #[inline]
    pub(super) fn contains(&self, address: u64) -> bool {
        (address / SIZE_4K).checked_sub(self.base).is_some_and(|page| self.first <= page && page < self.end)
    }

    /// Whether blocks split and merge.
    #[inline]
    pub(super) fn splits(&self) -> bool {
        self.division == Division::Splitting
    }

    /// The number of free blocks of `level`, as they lie.
    #[inline]
    pub(super) const fn count(&self, level: usize) -> u64 {
        self.blocks[level].count()
    }

    pub(super) fn free_bytes(&self) -> u64 {
        (0..LEVELS).map(|level| self.count(level) * bytes_of(level)).sum()
    }

    #[inline]
    pub(super) fn address(&self, page: u64) -> PhysicalAddress {
        PhysicalAddress::new((self.base + page) * SIZE_4K)
    }

    // Taking blocks.

    /// How many blocks of each level come together for `pages` pages, the largest first, when `sizes` are
    /// allowed; and the pages that are left over.
    pub(super) fn plan(&self, sizes: PageSizes, mut pages: u64) -> ([u64; LEVELS], u64) {
        let mut plan = [0; LEVELS];
        // The free pages in blocks of the level and above, which can be split down to it.
        let mut above = 0;
        for level in (0..LEVELS).rev() {
            let own = self.count(level) * pages_of(level);
            above = if self.splits() { above + own } else { own };
            if sizes.contains(bytes_of(level)) {
                plan[level] = number_of(pages.min(above), level);
                pages -= plan[level] * pages_of(level);
                above -= plan[level] * pages_of(level);
            }
        }
        (plan, pages)
    }

    /// Takes one block of `level`, if there is one as it lies.
    #[inline(always)]
    pub(super) fn take_one(&mut self, level: usize) -> Option<Segment> {
        let page = self.blocks[level].take_any()? << (4 * level);
        Some(Segment { base: self.address(page), len: bytes_of(level) })
    }

    /// Takes `wanted` blocks of `level`, of which [`Frames::plan`] promised that they are there, into the
    /// room reserved in `out`.
    pub(super) fn take(&mut self, level: usize, mut wanted: u64, out: &mut List<Segment>) {
        while wanted > 0 {
            let Some(index) = self.blocks[level].any_word() else {
                if !self.take_whole(level, &mut wanted, out) && !self.split_above(level) {
                    debug_assert!(false, "fewer blocks than planned");
                    return;
                }
                continue;
            };
            let mut bits = self.blocks[level].free_word(index);
            let mut count = bits.count_ones();
            if u64::from(count) > wanted {
                // The lowest of them.
                let mut rest = bits;
                for _ in 0..wanted {
                    rest &= rest - 1;
                }
                bits ^= rest;
                count = wanted as u32;
            }
            wanted -= u64::from(count);
            self.allocate(level, index, bits);
            let len = bytes_of(level);
            let base = self.address((index as u64 * 64) << (4 * level)).raw();
            out.extend_reserved((0..count).map(|_| {
                let number = u64::from(bits.trailing_zeros());
                bits &= bits - 1;
                Segment { base: PhysicalAddress::new(base + number * len), len }
            }));
        }
    }

    /// Takes a whole free block above `level` as blocks of `level`, if so many are wanted, without splitting
    /// it step by step.
    fn take_whole(&mut self, level: usize, wanted: &mut u64, out: &mut List<Segment>) -> bool {
        if !self.splits() {
            return false;
        }
        for above in level + 1..LEVELS {
            let parts = pages_of(above - level);
            if parts > *wanted {
                return false;
            }
            if let Some(index) = self.blocks[above].any_word() {
                let bit = self.blocks[above].free_word(index).trailing_zeros();
                self.blocks[above].remove(index, 1 << bit);
                let first = (index as u64 * 64 + u64::from(bit)) * parts;
                let len = bytes_of(level);
                let base = self.address(first << (4 * level)).raw();
                // Not an iterator over numbers of 64 bits: those have no exact size.
                let blocks = (0..parts as u32)
                    .map(|each| Segment { base: PhysicalAddress::new(base + u64::from(each) * len), len });
                out.extend_reserved(blocks);
                let mask = u64::MAX >> (64 - parts.min(64)) << (first % 64);
                for index in first / 64..(first + parts).div_ceil(64) {
                    self.blocks[level].mark(index as usize, mask);
                }
                *wanted -= parts;
                return true;
            }
        }
        false
    }

    /// Takes one block of `level` that starts at a multiple of `alignment` bytes. The search goes on in word
    /// `from`, where the last one ended.
    pub(super) fn take_aligned(&mut self, level: usize, alignment: u64, from: &mut usize) -> Option<Segment> {
        let number = self.pop_aligned(level, alignment, from)?;
        self.blocks[level].mark((number / 64) as usize, 1 << (number % 64));
        Some(Segment { base: self.address(number << (4 * level)), len: bytes_of(level) })
    }

    fn pop_aligned(&mut self, level: usize, alignment: u64, from: &mut usize) -> Option<u64> {
        // In blocks, of which one in `every` will do; of 64 neighbours at most those in `mask`. Where page 0
        // is, the mask does not know: up to the largest block that makes no difference.
        let every = (number_of(alignment / SIZE_4K, level)).max(1);
        let mask = match every.min(number_of(LARGEST, level)) {
            known @ 0..64 => u64::MAX / ((1 << known) - 1),
            _ => 1,
        };
        let base = number_of(self.base, level);
        while let Some(index) = self.blocks[level].word_from(*from) {
            *from = index;
            let mut bits = self.blocks[level].free_word(index) & mask;
            while bits != 0 {
                let number = index as u64 * 64 + u64::from(bits.trailing_zeros());
                if (base + number) & (every - 1) == 0 {
                    self.blocks[level].remove(index, bits & bits.wrapping_neg());
                    return Some(number);
                }
                bits &= bits - 1;
            }
            *from = index + 1;
        }
        if !self.splits() || level + 1 == LEVELS {
            return None;
        }
        let above = self.pop_aligned(level + 1, alignment, &mut 0)?;
        self.blocks[level].add((above / 4) as usize, 0xfffe << (above % 4 * 16));
        *from = (above / 4) as usize;
        Some(above * 16)
    }

    /// Splits the smallest free block above `level` into sixteen.
    fn split_above(&mut self, level: usize) -> bool {
        if !self.splits() {
            return false;
        }
        for above in level + 1..LEVELS {
            if let Some(index) = self.blocks[above].any_word() {
                let bit = self.blocks[above].free_word(index).trailing_zeros();
                self.blocks[above].remove(index, 1 << bit);
                let number = index as u64 * 64 + u64::from(bit);
                self.blocks[above - 1].add((number / 4) as usize, 0xffff << (number % 4 * 16));
                return true;
            }
        }
        false
    }

    /// Allocates free blocks.
    fn allocate(&mut self, level: usize, index: usize, mask: u64) {
        self.blocks[level].remove(index, mask);
        self.blocks[level].mark(index, mask);
    }
}
