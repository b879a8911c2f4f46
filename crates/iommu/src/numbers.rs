//! Numbers that tag cached translations.

use crate::IommuError;
use vcm::List;

/// The numbers 1 to `last`, each free or taken. 0 is nobody's: it is what hardware tags with where no number is
/// asked for.
#[derive(Debug)]
pub(crate) struct Numbers {
    last: u32,
    /// A bit for each number that was ever taken, set while it is.
    taken: List<u64>,
    /// All words before this one are full.
    from: usize,
}

impl Numbers {
    pub(crate) const fn up_to(last: u32) -> Self {
        Self { last, taken: List::new(), from: 0 }
    }

    /// Takes a free number.
    pub(crate) fn take(&mut self) -> Result<u32, IommuError> {
        while self.from < self.taken.len() && self.taken[self.from] == u64::MAX {
            self.from += 1;
        }
        let used = self.taken.get(self.from).copied().unwrap_or(0);
        let number = self.from as u32 * 64 + used.trailing_ones() + 1;
        if number > self.last {
            return Err(IommuError::NoFreeSlot(self.last));
        }
        if self.from == self.taken.len() {
            self.taken.push(0)?;
        }
        self.taken[self.from] |= used + 1;
        Ok(number)
    }

    /// Gives a number back. Nothing may be cached under it any more.
    pub(crate) fn give(&mut self, number: u32) {
        let bit = number - 1;
        let word = bit as usize / 64;
        debug_assert!(self.taken[word] & 1 << (bit % 64) != 0, "{number} is given back and was not taken");
        self.taken[word] &= !(1 << (bit % 64));
        self.from = self.from.min(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_once_and_again_when_given_back() {
        let mut numbers = Numbers::up_to(130);
        for number in 1..=130 {
            assert_eq!(numbers.take(), Ok(number));
        }
        assert_eq!(numbers.take(), Err(IommuError::NoFreeSlot(130)));
        for number in [130, 7, 64, 65] {
            numbers.give(number);
        }
        for number in [7, 64, 65, 130] {
            assert_eq!(numbers.take(), Ok(number));
        }
        assert_eq!(numbers.take(), Err(IommuError::NoFreeSlot(130)));
    }
}
