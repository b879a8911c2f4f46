//! Contiguous ranges that are no block: which pages were allocated together.

use super::blocks::filled;
use crate::{List, OutOfMemory};

/// One bit per page: whether it is in the same range as the page before.
#[derive(Debug)]
pub(super) struct Tails(List<u64>);

impl Tails {
    /// Of `pages` pages, none of them joined.
    pub(super) fn new(pages: u64) -> Result<Self, OutOfMemory> {
        Ok(Self(filled(usize::try_from(pages.div_ceil(64)).map_err(|_| OutOfMemory)?)?))
    }

    /// The bits of pages 64 * `index` and up; none beyond the end.
    fn word(&self, index: u64) -> u64 {
        self.0.get(index as usize).copied().unwrap_or(0)
    }

    fn contains(&self, page: u64) -> bool {
        self.word(page / 64) >> (page % 64) & 1 != 0
    }

    /// Makes the pages, two or more, one range.
    pub(super) fn join(&mut self, page: u64, pages: u64) {
        for (index, mask) in words(page + 1, pages - 1) {
            self.0[index as usize] |= mask;
        }
    }

    /// Takes back [`Tails::join`] if these pages are one range and its whole; else `false`.
    pub(super) fn part(&mut self, page: u64, pages: u64) -> bool {
        let whole = pages > 1
            && !self.contains(page)
            && !self.contains(page + pages)
            && words(page + 1, pages - 1).all(|(index, mask)| self.word(index) & mask == mask);
        if whole {
            for (index, mask) in words(page + 1, pages - 1) {
                self.0[index as usize] &= !mask;
            }
        }
        whole
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
