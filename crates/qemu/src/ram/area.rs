//! Which parts of a run of memory are in use.

use std::collections::BTreeMap;
use vcm::Span;

/// Gives out parts of a run of addresses: the lowest that fits.
#[derive(Debug)]
pub(super) struct Area {
    whole: Span,
    /// First and last address of what is free. Neighbours are joined.
    free: BTreeMap<u64, u64>,
    /// First address and length of what was given out.
    used: BTreeMap<u64, u64>,
}

impl Area {
    pub(super) fn new(whole: Span) -> Self {
        Self { whole, free: BTreeMap::from([(whole.first(), whole.last())]), used: BTreeMap::new() }
    }

    pub(super) fn whole(&self) -> Span {
        self.whole
    }

    /// All is free again.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.whole);
    }

    /// `size` bytes at a multiple of `align`, a power of two.
    pub(super) fn allocate(&mut self, size: u64, align: u64) -> Option<u64> {
        if size == 0 || !align.is_power_of_two() {
            return None;
        }
        let (first, last, start) = self.free.iter().find_map(|(&first, &last)| {
            let start = first.checked_next_multiple_of(align)?;
            (start.checked_add(size - 1)? <= last).then_some((first, last, start))
        })?;
        self.take(first, last, start, size);
        Some(start)
    }

    /// `size` bytes from `start` on, if they are free.
    pub(super) fn allocate_at(&mut self, start: u64, size: u64) -> Option<()> {
        let end = start.checked_add(size.checked_sub(1)?)?;
        let (&first, &last) = self.free.range(..=start).next_back()?;
        (end <= last).then(|| self.take(first, last, start, size))
    }

    /// Takes `size` bytes from `start` on out of the free run from `first` to `last`.
    fn take(&mut self, first: u64, last: u64, start: u64, size: u64) {
        self.free.remove(&first);
        if start > first {
            self.free.insert(first, start - 1);
        }
        let end = start + (size - 1);
        if end < last {
            self.free.insert(end + 1, last);
        }
        self.used.insert(start, size);
    }

    /// Takes back what [`Self::allocate`] gave. Anything else is refused.
    pub(super) fn free(&mut self, start: u64, size: u64) -> bool {
        if self.used.get(&start) != Some(&size) {
            return false;
        }
        self.used.remove(&start);
        let (mut first, mut last) = (start, start + (size - 1));
        if let Some((&before, &end)) = self.free.range(..start).next_back()
            && end + 1 == start
        {
            self.free.remove(&before);
            first = before;
        }
        if let Some(after) = last.checked_add(1)
            && let Some(end) = self.free.remove(&after)
        {
            last = end;
        }
        self.free.insert(first, last);
        true
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.used.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area() -> Area {
        Area::new(Span::new(0x4000_1000, 0x40_0000).unwrap())
    }

    #[test]
    fn what_is_given_is_aligned_inside_and_nobody_else_s() {
        let mut area = area();
        let mut given = Vec::new();
        for (size, align) in
            [(8, 8), (0x1000, 0x1000), (3, 1), (0x20_0000, 0x20_0000), (64, 64), (0x4000, 0x4000)]
        {
            let start = area.allocate(size, align).unwrap();
            assert!(start.is_multiple_of(align), "{start:#x}");
            assert!(start >= 0x4000_1000 && start + size <= 0x4040_1000);
            for &(other, len) in &given {
                assert!(start + size <= other || other + len <= start, "{start:#x} and {other:#x}");
            }
            given.push((start, size));
        }
        let sum: u64 = given.iter().map(|(_, size)| size).sum();
        assert_eq!(area.used_bytes(), sum);
        // In any order, and then all is there as before.
        for index in [3, 0, 5, 1, 4, 2] {
            let (start, size) = given[index];
            assert!(area.free(start, size));
            assert!(!area.free(start, size), "twice");
        }
        assert_eq!(area.allocate(0x40_0000, 1), Some(0x4000_1000));
        assert_eq!(area.allocate(1, 1), None);
    }

    #[test]
    fn what_cannot_be_is_refused_and_changes_nothing() {
        let mut area = area();
        for (size, align) in [(0, 1), (1, 0), (1, 3), (u64::MAX, 1), (0x40_0001, 1), (1, 1 << 63)] {
            assert_eq!(area.allocate(size, align), None, "{size:#x} {align:#x}");
        }
        let start = area.allocate(0x1000, 0x1000).unwrap();
        assert!(!area.free(start, 0x800) && !area.free(start + 0x800, 0x800) && !area.free(0, 1));
        assert_eq!(area.allocate_at(start + 0xfff, 2), None);
        assert_eq!(area.allocate_at(0, 1), None);
        assert_eq!(area.allocate_at(0x4040_0fff, 2), None);
        assert_eq!(area.allocate_at(0x4040_0fff, 1), Some(()));
        area.clear();
        assert_eq!((area.used_bytes(), area.allocate(0x40_0000, 1)), (0, Some(0x4000_1000)));
    }

    #[test]
    fn the_end_of_the_addresses_is_an_end() {
        let mut area = Area::new(Span::inclusive(u64::MAX - 0xfff, u64::MAX).unwrap());
        let start = area.allocate(0x1000, 0x1000).unwrap();
        assert_eq!(start, u64::MAX - 0xfff);
        assert!(area.free(start, 0x1000));
        assert_eq!(area.allocate(0x1001, 1), None);
        assert_eq!(area.allocate(1, 0x2000), None);
    }
}
