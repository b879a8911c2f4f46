//! The blocks of one size: which are free, and which are allocated as such a block.
//!
//! The two bits of a block lie in the same cache line. Summaries say where free ones are: bit n of a summary
//! is set if word n below has a bit set.

use crate::{List, OutOfMemory};

/// Summaries of 64 words each over up to 2^52 pages.
const MOST_LEVELS: usize = 9;

/// 64 neighbours. A block has neither bit while it is part of something else.
#[derive(Clone, Copy, Default, Debug)]
struct Word {
    free: u64,
    taken: u64,
}

#[derive(Debug)]
pub(super) struct Blocks {
    words: List<Word>,
    /// The summary of the free blocks, then the summary of that, down to one word.
    summaries: List<u64>,
    /// Where each level of summaries starts; the first `levels` are in use.
    starts: [usize; MOST_LEVELS],
    levels: usize,
    /// The word last added to: looked at first, because it is still in the processor's cache.
    hint: usize,
    /// The number of free blocks.
    count: u64,
}

impl Blocks {
    /// Blocks 0 to `blocks` less one, none of them free or allocated. It never allocates again.
    pub(super) fn new(blocks: u64) -> Result<Self, OutOfMemory> {
        let words = usize::try_from(blocks.div_ceil(64).max(1)).map_err(|_| OutOfMemory)?;
        let mut starts = [0; MOST_LEVELS];
        let mut levels = 0;
        let mut total = 0;
        let mut width = words;
        while width > 1 {
            width = width.div_ceil(64);
            *starts.get_mut(levels).ok_or(OutOfMemory)? = total;
            levels += 1;
            total += width;
        }
        Ok(Self { words: filled(words)?, summaries: filled(total)?, starts, levels, hint: 0, count: 0 })
    }

    /// The number of free blocks.
    #[inline]
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// Which of the blocks 64 * `index` and up are free; none beyond the end.
    #[inline]
    pub(super) fn free_word(&self, index: usize) -> u64 {
        self.words.get(index).map_or(0, |word| word.free)
    }

    #[inline]
    pub(super) fn is_free(&self, number: u64) -> bool {
        self.free_word((number / 64) as usize) >> (number % 64) & 1 != 0
    }

    /// Makes the blocks of `mask` in word `index` free.
    #[inline]
    pub(super) fn add(&mut self, index: usize, mask: u64) {
        let word = &mut self.words[index];
        debug_assert_eq!((word.free | word.taken) & mask, 0);
        let before = word.free;
        word.free |= mask;
        self.count += u64::from(mask.count_ones());
        self.hint = index;
        if before == 0 {
            self.summarize(index, true);
        }
    }

    /// Makes block `number` free.
    #[inline]
    pub(super) fn add_one(&mut self, number: u64) {
        let (index, bit) = ((number / 64) as usize, 1 << (number % 64));
        let word = &mut self.words[index];
        debug_assert_eq!((word.free | word.taken) & bit, 0);
        let before = word.free;
        word.free |= bit;
        self.count += 1;
        self.hint = index;
        if before == 0 {
            self.summarize(index, true);
        }
    }

    /// Removes the blocks of `mask` in word `index` from the free ones.
    #[inline]
    pub(super) fn remove(&mut self, index: usize, mask: u64) {
        let word = &mut self.words[index];
        debug_assert_eq!(word.free & mask, mask);
        word.free &= !mask;
        self.count -= u64::from(mask.count_ones());
        if word.free == 0 {
            self.summarize(index, false);
        }
    }

    /// Marks blocks that are not free as allocated.
    #[inline]
    pub(super) fn mark(&mut self, index: usize, mask: u64) {
        let word = &mut self.words[index];
        debug_assert_eq!((word.free | word.taken) & mask, 0);
        word.taken |= mask;
    }

    /// Takes back [`Blocks::mark`] if *all* of `mask` are allocated; else `false`.
    #[inline]
    pub(super) fn unmark(&mut self, index: usize, mask: u64) -> bool {
        match self.words.get_mut(index) {
            Some(word) if word.taken & mask == mask => {
                word.taken ^= mask;
                true
            }
            _ => false,
        }
    }

    /// Which blocks of word `index` are allocated; none beyond the end.
    #[inline]
    pub(super) fn taken_word(&self, index: usize) -> u64 {
        self.words.get(index).map_or(0, |word| word.taken)
    }

    /// Allocates any free block, and says its number.
    #[inline]
    pub(super) fn take_any(&mut self) -> Option<u64> {
        let index = self.any_word()?;
        let word = &mut self.words[index];
        let bit = word.free & word.free.wrapping_neg();
        word.free ^= bit;
        word.taken |= bit;
        self.count -= 1;
        if word.free == 0 {
            self.summarize(index, false);
        }
        Some(index as u64 * 64 + u64::from(bit.trailing_zeros()))
    }

    /// Makes the allocated blocks the free ones, and forgets those that were free.
    pub(super) fn free_the_taken(&mut self) {
        self.summaries.fill(0);
        self.count = 0;
        for index in 0..self.words.len() {
            let taken = core::mem::take(&mut self.words[index]).taken;
            if taken != 0 {
                self.add(index, taken);
            }
        }
    }

    /// Tells the summaries that word `index` has become something or nothing.
    #[cold]
    fn summarize(&mut self, mut index: usize, something: bool) {
        for level in 0..self.levels {
            let bit = 1u64 << (index % 64);
            index /= 64;
            let word = &mut self.summaries[self.starts[level] + index];
            let before = *word;
            *word = if something { before | bit } else { before & !bit };
            if (before == 0) == (*word == 0) {
                return;
            }
        }
    }

    /// A word with free blocks: the one last added to, else the first.
    #[inline]
    pub(super) fn any_word(&self) -> Option<usize> {
        if self.free_word(self.hint) != 0 { Some(self.hint) } else { self.word_from(0) }
    }

    /// The first word at `from` or after with free blocks.
    pub(super) fn word_from(&self, from: usize) -> Option<usize> {
        if self.words.get(from)?.free != 0 {
            return Some(from);
        }
        let mut index = from;
        for level in 0..self.levels {
            // Up, until a summary names a word behind the one asked for; and down to it.
            let behind = !(u64::MAX >> (63 - index % 64));
            index /= 64;
            let rest = self.summaries[self.starts[level] + index] & behind;
            if rest != 0 {
                index = index * 64 + rest.trailing_zeros() as usize;
                for below in (0..level).rev() {
                    let word = self.summaries[self.starts[below] + index];
                    index = index * 64 + word.trailing_zeros() as usize;
                }
                return Some(index);
            }
        }
        None
    }
}

/// A list of `len` default values.
pub(super) fn filled<T: Copy + Default>(len: usize) -> Result<List<T>, OutOfMemory> {
    let mut list = List::new();
    list.reserve(len)?;
    for _ in 0..len {
        list.push_reserved(T::default());
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn they_are_two_sets(blocks in 1..600_000u64, ops in prop::collection::vec((any::<u64>(), 0..5u8), 1..200)) {
            let mut tested = Blocks::new(blocks).unwrap();
            let (mut free, mut taken) = (BTreeSet::new(), BTreeSet::new());
            for (number, kind) in ops {
                let number = number % blocks;
                let (index, mask) = ((number / 64) as usize, 1 << (number % 64));
                match kind {
                    0 if free.remove(&number) => tested.remove(index, mask),
                    1 if !taken.contains(&number) && free.insert(number) => tested.add(index, mask),
                    2 if !free.contains(&number) && taken.insert(number) => tested.mark(index, mask),
                    3 => match tested.take_any() {
                        Some(any) => prop_assert!(free.remove(&any) && taken.insert(any)),
                        None => prop_assert!(free.is_empty()),
                    },
                    4 => prop_assert_eq!(tested.unmark(index, mask), taken.remove(&number)),
                    _ => {}
                }
                let next = free.range(number / 64 * 64..).next().map(|next| (next / 64) as usize);
                prop_assert_eq!(tested.word_from(index), next);
                prop_assert_eq!(tested.any_word().is_some(), !free.is_empty());
                prop_assert_eq!(tested.is_free(number), free.contains(&number));
                prop_assert_eq!(tested.taken_word(index) & mask != 0, taken.contains(&number));
                prop_assert_eq!(tested.count(), free.len() as u64);
            }
            // Beyond the end there is nothing.
            let behind = blocks.div_ceil(64) as usize;
            prop_assert_eq!((tested.free_word(behind), tested.word_from(behind)), (0, None));
            prop_assert!(!tested.is_free(behind as u64 * 64) && !tested.unmark(behind, 1));
            tested.free_the_taken();
            prop_assert_eq!(tested.count(), taken.len() as u64);
            prop_assert_eq!(tested.word_from(0), taken.first().map(|first| (first / 64) as usize));
            prop_assert!(taken.iter().all(|each| tested.is_free(*each) && !tested.unmark((each / 64) as usize, 1 << (each % 64))));
        }
    }
}
