//! A set of numbers, with summaries: bit n of a summary says whether word n below has a bit set.

use crate::{List, OutOfMemory};

/// Summaries of 64 words each over up to 2^52 pages.
const MOST_LEVELS: usize = 9;

#[derive(Debug)]
pub(super) struct Bitmap {
    /// The bits, then the summary of them, then the summary of that, down to one word.
    words: List<u64>,
    /// Where each level starts; the first `levels` are in use.
    starts: [usize; MOST_LEVELS],
    levels: usize,
    /// The number of words of the first level.
    width: usize,
    /// The word last added to: looked at first, because it is still in the processor's cache.
    hint: usize,
}

impl Bitmap {
    /// The empty set of numbers below `bits`. It never allocates again.
    pub(super) fn new(bits: u64) -> Result<Self, OutOfMemory> {
        let mut starts = [0; MOST_LEVELS];
        let mut levels = 0;
        let mut total = 0usize;
        let mut width = bits;
        loop {
            width = width.div_ceil(64).max(1);
            let words = usize::try_from(width).map_err(|_| OutOfMemory)?;
            *starts.get_mut(levels).ok_or(OutOfMemory)? = total;
            levels += 1;
            total = total.checked_add(words).ok_or(OutOfMemory)?;
            if width == 1 {
                break;
            }
        }
        let width = if levels > 1 { starts[1] } else { total };
        Ok(Self { words: zeros(total)?, starts, levels, width, hint: 0 })
    }

    #[inline]
    pub(super) fn contains(&self, number: u64) -> bool {
        self.word((number / 64) as usize) >> (number % 64) & 1 != 0
    }

    /// The numbers 64 * `index` and up; none beyond the end.
    #[inline]
    pub(super) fn word(&self, index: usize) -> u64 {
        self.words[..self.width].get(index).copied().unwrap_or(0)
    }

    /// Adds the numbers of `mask` to word `index`.
    #[inline]
    pub(super) fn add(&mut self, index: usize, mask: u64) {
        let word = &mut self.words[index];
        let before = *word;
        *word |= mask;
        self.hint = index;
        if before == 0 && mask != 0 {
            self.summarize(index, true);
        }
    }

    /// Removes the numbers of `mask` from word `index`.
    #[inline]
    pub(super) fn remove(&mut self, index: usize, mask: u64) {
        let word = &mut self.words[index];
        let before = *word;
        *word &= !mask;
        if before != 0 && *word == 0 {
            self.summarize(index, false);
        }
    }

    /// Tells the summaries that word `index` has become something or nothing.
    fn summarize(&mut self, mut index: usize, something: bool) {
        for level in 1..self.levels {
            let bit = 1u64 << (index % 64);
            index /= 64;
            let word = &mut self.words[self.starts[level] + index];
            let before = *word;
            *word = if something { before | bit } else { before & !bit };
            if (before == 0) == (*word == 0) {
                return;
            }
        }
    }

    /// A word with numbers in it: the one last added to, else the first.
    #[inline]
    pub(super) fn any_word(&self) -> Option<usize> {
        if self.words[self.hint] != 0 { Some(self.hint) } else { self.word_from(0) }
    }

    /// The first word at `from` or after with numbers in it.
    pub(super) fn word_from(&self, from: usize) -> Option<usize> {
        if *self.words[..self.width].get(from)? != 0 {
            return Some(from);
        }
        let mut index = from;
        for level in 1..self.levels {
            // Up, until a summary names a word behind the one asked for; and down to it.
            let behind = !(u64::MAX >> (63 - index % 64));
            index /= 64;
            let rest = self.words[self.starts[level] + index] & behind;
            if rest != 0 {
                index = index * 64 + rest.trailing_zeros() as usize;
                for below in (1..level).rev() {
                    let word = self.words[self.starts[below] + index];
                    index = index * 64 + word.trailing_zeros() as usize;
                }
                return Some(index);
            }
        }
        None
    }

    /// Removes everything.
    pub(super) fn clear(&mut self) {
        self.words.fill(0);
    }
}

/// A list of `len` zeros.
pub(super) fn zeros(len: usize) -> Result<List<u64>, OutOfMemory> {
    let mut list = List::new();
    list.reserve(len)?;
    for _ in 0..len {
        list.push_reserved(0);
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
        fn it_is_a_set(bits in 1..600_000u64, ops in prop::collection::vec((any::<u64>(), 0..3u8), 1..200)) {
            let mut bitmap = Bitmap::new(bits).unwrap();
            let mut model = BTreeSet::new();
            for (number, kind) in ops {
                let number = number % bits;
                let (index, mask) = ((number / 64) as usize, 1 << (number % 64));
                match kind {
                    0 => {
                        bitmap.remove(index, mask);
                        model.remove(&number);
                    }
                    1 => {
                        bitmap.add(index, mask);
                        model.insert(number);
                    }
                    _ => {
                        let next = model.range(number / 64 * 64..).next().map(|next| (next / 64) as usize);
                        prop_assert_eq!(bitmap.word_from(index), next);
                        prop_assert_eq!(bitmap.any_word().is_some(), !model.is_empty());
                        prop_assert!(bitmap.any_word().is_none_or(|index| bitmap.word(index) != 0));
                    }
                }
                prop_assert_eq!(bitmap.contains(number), model.contains(&number));
            }
            // What is stored behind the bits are the summaries, not bits.
            let behind = bits.div_ceil(64) as usize;
            prop_assert_eq!((bitmap.word(behind), bitmap.word_from(behind)), (0, None));
            prop_assert!(!bitmap.contains(behind as u64 * 64));
        }
    }
}
