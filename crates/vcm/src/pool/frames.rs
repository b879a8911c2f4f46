//! The page frames of one memory as free blocks of four sizes, each sixteen of the next smaller.
//!
//! What always holds:
//! 1. A free block is in the bitmap of its size and in no other. Where blocks merge, sixteen free parts of
//!    one block are never there one by one: they are the block.
//! 2. Bit n of `tail` is set if page n is allocated together with page n - 1. So it says where every
//!    allocated block of more than a page starts and ends, and that its pages are allocated; single pages
//!    cost nothing.
//!
//! Everything is allocated at the start. A page costs 2.1 bits, with fixed counts 3.2.

use super::bitmap::{Bitmap, zeros};
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
pub(super) fn level_of(bytes: u64) -> Option<usize> {
    match bytes {
        SIZE_4K => Some(0),
        SIZE_64K => Some(1),
        SIZE_1M => Some(2),
        SIZE_16M => Some(3),
        _ => None,
    }
}

#[derive(Debug)]
pub(super) struct Frames {
    /// The number in physical memory of page 0: a multiple of the largest block, so that a block that is a
    /// multiple of its size here is one there.
    pub(super) base: u64,
    /// The pages that are ours: from `first` to below `end`.
    pub(super) first: u64,
    pub(super) end: u64,
    pub(super) free: [Bitmap; LEVELS],
    /// The number of free blocks of each level.
    pub(super) count: [u64; LEVELS],
    pub(super) tail: Tails,
    /// With fixed counts, the blocks that there are: then nothing splits or merges.
    pub(super) fixed: Option<[List<u64>; LEVELS]>,
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
            tail: Tails::new(end)?,
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

    #[inline]
    pub(super) fn contains(&self, address: u64) -> bool {
        (address / SIZE_4K).checked_sub(self.base).is_some_and(|page| self.first <= page && page < self.end)
    }

    /// The number of free blocks of `level`, as they lie.
    #[inline]
    pub(super) const fn count(&self, level: usize) -> u64 {
        self.count[level]
    }

    pub(super) fn free_bytes(&self) -> u64 {
        (0..LEVELS).map(|level| self.count[level] * bytes_of(level)).sum()
    }

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
            let own = self.count[level] * pages_of(level);
            above = if self.fixed.is_some() { own } else { above + own };
            if sizes.contains(bytes_of(level)) {
                plan[level] = number_of(pages.min(above), level);
                pages -= plan[level] * pages_of(level);
                above -= plan[level] * pages_of(level);
            }
        }
        (plan, pages)
    }

    /// Takes one block of `level`, of which [`Frames::count`] says that one is there as it lies.
    #[inline]
    pub(super) fn take_one(&mut self, level: usize, out: &mut List<Segment>) {
        let Some(index) = self.free[level].any_word() else { return };
        let bits = self.free[level].word(index);
        self.unset(level, index, bits & bits.wrapping_neg());
        let page = (index as u64 * 64 + u64::from(bits.trailing_zeros())) * pages_of(level);
        if level > 0 {
            self.tail.join(page, pages_of(level));
        }
        out.push_reserved(Segment { base: self.address(page), len: bytes_of(level) });
    }

    /// Takes `wanted` blocks of `level`, of which [`Frames::plan`] promised that they are there, into the
    /// room reserved in `out`.
    pub(super) fn take(&mut self, level: usize, mut wanted: u64, out: &mut List<Segment>) {
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
    fn take_whole(&mut self, level: usize, wanted: &mut u64, out: &mut List<Segment>) -> bool {
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
    fn emit(&mut self, level: usize, number: u64, count: u64, out: &mut List<Segment>) {
        let len = bytes_of(level);
        let base = self.address(number * pages_of(level)).raw();
        if level > 0 {
            for each in number..number + count {
                self.tail.join(each * pages_of(level), pages_of(level));
            }
        }
        // Not an iterator over `count` numbers: those of 64 bits have no exact size.
        let blocks = (0..count as u32)
            .map(|each| Segment { base: PhysicalAddress::new(base + u64::from(each) * len), len });
        out.extend_reserved(blocks);
    }

    /// Takes one block of `level` that starts at a multiple of `alignment` bytes. The search goes on in word
    /// `from`, where the last one ended.
    pub(super) fn take_aligned(&mut self, level: usize, alignment: u64, from: &mut usize) -> Option<Segment> {
        let number = self.pop_aligned(level, alignment, from)?;
        let page = number * pages_of(level);
        if level > 0 {
            self.tail.join(page, pages_of(level));
        }
        Some(Segment { base: self.address(page), len: bytes_of(level) })
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
    #[inline]
    pub(super) fn unset(&mut self, level: usize, index: usize, mask: u64) {
        self.free[level].remove(index, mask);
        self.count[level] -= u64::from(mask.count_ones());
    }

    /// Adds blocks of the group of sixteen that `number` is in, without merging.
    pub(super) fn put_group(&mut self, level: usize, number: u64, mask: u64) {
        self.free[level].add((number / 64) as usize, mask << (number & 48));
        self.count[level] += u64::from(mask.count_ones());
    }
}
