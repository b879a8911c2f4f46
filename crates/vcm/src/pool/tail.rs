//! Which pages were allocated together.

use super::bitmap::zeros;
use crate::{List, OutOfMemory};

/// One bit per page: whether it is allocated together with the page before.
#[derive(Debug)]
pub(super) struct Tails(List<u64>);

impl Tails {
    /// Of `pages` pages, none of them joined.
    pub(super) fn new(pages: u64) -> Result<Self, OutOfMemory> {
        Ok(Self(zeros(usize::try_from(pages.div_ceil(64)).map_err(|_| OutOfMemory)?)?))
    }

    /// The bits of pages 64 * `index` and up; none beyond the end.
    #[inline]
    pub(super) fn word(&self, index: u64) -> u64 {
        self.0.get(index as usize).copied().unwrap_or(0)
    }

    #[inline]
    pub(super) fn contains(&self, page: u64) -> bool {
        self.word(page / 64) >> (page % 64) & 1 != 0
    }

    /// Makes the pages one block.
    pub(super) fn join(&mut self, page: u64, pages: u64) {
        for (index, mask) in words(page + 1, pages - 1) {
            self.0[index as usize] |= mask;
        }
    }

    /// Takes back [`Tails::join`].
    pub(super) fn part(&mut self, page: u64, pages: u64) {
        for (index, mask) in words(page + 1, pages - 1) {
            self.0[index as usize] &= !mask;
        }
    }

    /// Whether the pages, two or more, are one block.
    pub(super) fn is_block(&self, page: u64, pages: u64) -> bool {
        !self.contains(page)
            && !self.contains(page + pages)
            && words(page + 1, pages - 1).all(|(index, mask)| self.word(index) & mask == mask)
    }
}

/// The words that the `count` bits from `first` on are in, each with a mask of those.
pub(super) fn words(first: u64, count: u64) -> impl Iterator<Item = (u64, u64)> {
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
