//! Physical blocks, and the contiguous stretches that a run of them makes.

use crate::{Bytes, PhysicalAddress, Span};
use core::fmt;

/// A contiguous stretch of physical memory: a block of a pool, or several that touch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Segment {
    /// The address of the first byte.
    pub base: PhysicalAddress,
    /// Bytes; a multiple of 4 KiB where it is of a pool.
    pub len: u64,
}

impl Segment {
    /// Its addresses; `None` when it has no byte or passes the end of the space.
    pub const fn span(self) -> Option<Span> {
        Span::new(self.base.raw(), self.len)
    }
}

/// As `16M at 0x80000000`.
impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", Bytes(self.len), self.base)
    }
}

/// Part of an allocation as contiguous stretches, in order; neighbours that touch are merged, so that large
/// pages can cover them.
#[derive(Clone, Debug)]
pub struct Segments<'a> {
    blocks: &'a [Segment],
    /// Bytes of the first block to leave out.
    skip: u64,
    /// Bytes still to give.
    left: u64,
}

impl<'a> Segments<'a> {
    /// `len` bytes of `blocks`, from the byte `offset` of them on. What passes the end of the blocks is not given.
    pub fn new(blocks: &'a [Segment], offset: u64, len: u64) -> Self {
        let mut skip = offset;
        let mut first = 0;
        while let Some(block) = blocks.get(first) {
            if skip < block.len {
                break;
            }
            skip -= block.len;
            first += 1;
        }
        Self { blocks: &blocks[first..], skip, left: len }
    }

    /// The bytes still to come, as far as the caller asked for them.
    pub const fn remaining(&self) -> u64 {
        self.left
    }
}

impl Iterator for Segments<'_> {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        if self.left == 0 {
            return None;
        }
        let (block, mut rest) = self.blocks.split_first()?;
        let base = PhysicalAddress::new(block.base.raw() + self.skip);
        let mut len = block.len - self.skip;
        while let Some((next, after)) = rest.split_first() {
            if base.checked_add(len) != Some(next.base) || len >= self.left {
                break;
            }
            len += next.len;
            rest = after;
        }
        self.blocks = rest;
        self.skip = 0;
        let len = len.min(self.left);
        self.left -= len;
        Some(Segment { base, len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn segment(base: u64, len: u64) -> Segment {
        Segment { base: PhysicalAddress::new(base), len }
    }

    #[test]
    fn neighbours_that_touch_become_one() {
        let blocks = [segment(0x1000, 0x1000), segment(0x2000, 0x1000), segment(0x8000, 0x1000)];
        let all: Vec<_> = Segments::new(&blocks, 0, 0x3000).collect();
        assert_eq!(all, [segment(0x1000, 0x2000), segment(0x8000, 0x1000)]);
    }

    #[test]
    fn a_part_begins_and_ends_inside_blocks() {
        let blocks = [segment(0x1_0000, 0x1_0000), segment(0x4_0000, 0x1_0000)];
        let part: Vec<_> = Segments::new(&blocks, 0xf000, 0x2000).collect();
        assert_eq!(part, [segment(0x1_f000, 0x1000), segment(0x4_0000, 0x1000)]);
        assert_eq!(Segments::new(&blocks, 0x1_0000, 0x1000).next(), Some(segment(0x4_0000, 0x1000)));
        assert_eq!(Segments::new(&blocks, 0x2_0000, 0x1000).next(), None);
        assert_eq!(Segments::new(&blocks, 0, 0x1000).collect::<Vec<_>>(), [segment(0x1_0000, 0x1000)]);
    }

    #[test]
    fn the_last_block_of_the_space_has_no_successor() {
        let blocks = [segment(u64::MAX - 0xfff, 0x1000), segment(0, 0x1000)];
        assert_eq!(Segments::new(&blocks, 0, 0x2000).count(), 2);
    }
}
