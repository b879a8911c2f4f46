//! The memory that page tables live in.

use crate::TableError;
use core::fmt;
use core::ops::{BitAnd, BitOr, BitXor, Range};
use vcm::PhysicalAddress;

mod sealed {
    pub trait Sealed {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
}

/// The word that a format's entries are made of: `u32` or `u64`.
pub trait Word:
    sealed::Sealed
    + Copy
    + Eq
    + BitAnd<Output = Self>
    + BitOr<Output = Self>
    + BitXor<Output = Self>
    + fmt::LowerHex
    + fmt::Debug
    + 'static
{
    /// All bits clear: an entry that translates nothing, in every format.
    const ZERO: Self;
    /// All bits set.
    const ONES: Self;
    /// Its size in bytes.
    const BYTES: u64;

    /// The low bits of `value`, as many as the word has.
    fn truncate(value: u64) -> Self;
    /// The word, with zeros above it.
    fn widen(self) -> u64;
    /// The sum, without the carry out of the word.
    #[must_use]
    fn wrapping_add(self, other: Self) -> Self;
}

macro_rules! word {
    ($word:ty) => {
        impl Word for $word {
            const ZERO: Self = 0;
            const ONES: Self = <$word>::MAX;
            const BYTES: u64 = size_of::<$word>() as u64;

            #[inline]
            fn truncate(value: u64) -> Self {
                value as $word
            }

            #[inline]
            fn widen(self) -> u64 {
                u64::from(self)
            }

            #[inline]
            fn wrapping_add(self, other: Self) -> Self {
                <$word>::wrapping_add(self, other)
            }
        }
    };
}

word!(u32);
word!(u64);

/// Memory that page tables live in, in words of `W`.
///
/// The implementor decides how a word is stored: with a plain, volatile or atomic store, with or without
/// cleaning a cache behind it. A table is named by its physical address, as the walker sees it; an index counts
/// words. A store of one word must not be torn: the walker may read it at any moment.
///
/// The provided methods are correct for every implementor. Those that can reach a whole table as a slice should
/// replace [`fill`](Self::fill) and [`first_unlike`](Self::first_unlike), by way of [`fill_slice`] and
/// [`first_unlike_in_slice`]: long ranges live on them.
pub trait TableMemory<W: Word> {
    /// A table of `size` bytes at a multiple of `align` bytes (a power of two), all zero, to the walker as well: words
    /// that are never written are never published.
    ///
    /// # Errors
    /// [`TableError::OutOfMemory`], or another reason why there is no table.
    fn allocate(&mut self, size: u64, align: u64) -> Result<PhysicalAddress, TableError>;

    /// Takes back a table of `size` bytes that [`allocate`](Self::allocate) gave. What it holds now is of no
    /// account, and is not zero as a rule.
    fn free(&mut self, table: PhysicalAddress, size: u64);

    /// The word at `index`.
    fn read(&self, table: PhysicalAddress, index: usize) -> W;

    /// Stores `value` at `index`, in one piece.
    fn write(&mut self, table: PhysicalAddress, index: usize, value: W);

    /// Stores `count` words from `index` on: `first`, `first + step`, `first + 2 * step` and so on, each in one
    /// piece, sums wrapping.
    #[inline]
    fn fill(&mut self, table: PhysicalAddress, index: usize, count: usize, first: W, step: W) {
        let mut value = first;
        for index in index..index + count {
            self.write(table, index, value);
            value = value.wrapping_add(step);
        }
    }

    /// The index of the first of `words` that differs from `value` in a bit of `mask`, if there is one.
    #[inline]
    fn first_unlike(&self, table: PhysicalAddress, words: Range<usize>, mask: W, value: W) -> Option<usize> {
        words.into_iter().find(|&index| (self.read(table, index) ^ value) & mask != W::ZERO)
    }

    /// Everything written to `words` is visible to the walker when this returns: a release barrier, and a cache
    /// clean where the walker does not look into the cache. Nothing by default.
    ///
    /// It is called for a table's new words before the entry that leads to the table is written.
    #[inline]
    fn publish(&mut self, table: PhysicalAddress, words: Range<usize>) {
        let _ = (table, words);
    }
}

/// [`TableMemory::fill`] for words that are a slice.
#[inline]
pub fn fill_slice<W: Word>(words: &mut [W], first: W, step: W) {
    if step == W::ZERO {
        words.fill(first);
        return;
    }
    let mut value = first;
    for word in words {
        *word = value;
        value = value.wrapping_add(step);
    }
}

/// [`TableMemory::first_unlike`] for words that are a slice; the index is into the slice.
#[inline]
pub fn first_unlike_in_slice<W: Word>(words: &[W], mask: W, value: W) -> Option<usize> {
    // A loop that may end at every word is not vectorised: find the block first, without looking where in it.
    const BLOCK: usize = 32;
    let unlike = |word: &W| (*word ^ value) & mask != W::ZERO;
    let mut start = 0;
    for block in words.chunks(BLOCK) {
        // The differences of all its words together, masked and compared once.
        if block.iter().fold(W::ZERO, |found, &word| found | (word ^ value)) & mask != W::ZERO {
            break;
        }
        start += block.len();
    }
    words[start..].iter().position(unlike).map(|index| start + index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn the_first_unlike_word_is_found_wherever_it_is() {
        for len in [0, 1, 31, 32, 33, 64, 100] {
            let mut words = vec![0x12_u32; len];
            assert_eq!(first_unlike_in_slice(&words, 0xf, 2), None);
            for index in (0..len).rev() {
                words[index] = 0x13;
                assert_eq!(first_unlike_in_slice(&words, 0xf, 2), Some(index));
                assert_eq!(first_unlike_in_slice(&words, 0xf0, 0x10), None);
                assert_eq!(first_unlike_in_slice(&words, 0xf0, 0x1f), None, "the low bits are not asked for");
            }
        }
    }

    #[test]
    fn filling_wraps_at_the_end_of_the_word() {
        let mut words = [0_u32; 3];
        fill_slice(&mut words, 0xffff_e000, 0x1000);
        assert_eq!(words, [0xffff_e000, 0xffff_f000, 0]);
        fill_slice(&mut words, 7, 0);
        assert_eq!(words, [7; 3]);
    }
}
