//! Where a range fits into a gap: plain arithmetic on inclusive ends, so that the last byte of a 64-bit
//! space needs no exception.

use crate::Span;

/// What the tree looks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// The length less one, so that 2^64 bytes are a `u64` too.
    pub(super) extra: u64,
    /// A power of two.
    pub(super) alignment: u64,
    pub(super) within: Span,
    /// A gap longer than this many bytes less one takes the range wherever it starts.
    sure_extra: u64,
    /// A gap that holds an aligned block of 2^this bytes takes the range.
    sure_order: u8,
    /// A gap that holds no aligned block of 2^this bytes does not take the range.
    least_order: u8,
    /// A gap in which no address is a multiple of 2^this does not take the range.
    least_point: u8,
}

impl Wanted {
    #[inline]
    pub(super) fn new(extra: u64, alignment: u64, granule: u64, within: Span) -> Self {
        // The order of the smallest power of two that is not below the length; 64 for lengths above 2^63.
        let len_order = 64 - extra.leading_zeros() as u8;
        let alignment_order = alignment.trailing_zeros() as u8;
        Self {
            extra,
            alignment,
            within,
            // Saturating is safe: a gap that passes by it is still checked by its addresses.
            sure_extra: extra.saturating_add(alignment - granule),
            sure_order: len_order.max(alignment_order),
            least_order: if alignment - 1 <= extra { alignment_order } else { 0 },
            least_point: alignment_order,
        }
    }

    /// Whether a gap of these measures takes the range for certain.
    #[inline]
    pub(super) fn surely_fits(&self, measure: Measure) -> bool {
        measure.gap > self.sure_extra || (measure.gap > self.extra && measure.order >= self.sure_order)
    }

    /// Whether a gap of these measures can take the range at all.
    #[inline]
    pub(super) fn may_fit(&self, measure: Measure) -> bool {
        measure.gap > self.extra && measure.order >= self.least_order && measure.point >= self.least_point
    }

    /// The lowest place in the gap from `first` to `last`.
    #[inline]
    pub(super) fn place(&self, first: u64, last: u64) -> Option<u64> {
        let low = first.max(self.within.first());
        let high = last.min(self.within.last());
        let low = low.checked_add(self.alignment - 1)? & !(self.alignment - 1);
        (low <= high && high - low >= self.extra).then_some(low)
    }

    /// The place with the largest alignment in the gap from `first` to `last`, whatever was wanted.
    #[inline]
    pub(super) fn most_aligned_place(&self, granule: u64, first: u64, last: u64) -> Option<u64> {
        let low = first.max(self.within.first()).checked_add(granule - 1)? & !(granule - 1);
        let high = last.min(self.within.last()).checked_sub(self.extra)?;
        if low > high {
            return None;
        }
        let Some(below) = low.checked_sub(1) else { return Some(0) };
        // The highest bit in which the address below the first candidate and the last candidate differ:
        // the last candidate with everything under that bit cleared is still a candidate, and no other is
        // a multiple of more.
        let bit = 63 - (below ^ high).leading_zeros();
        Some(high & (u64::MAX << bit))
    }
}

/// The measures of a gap, or of the best gaps of a subtree (each the largest, not always of one gap).
///
/// Of a subtree, `gap` is exact. The others may be too large after an insertion: a search that was misled
/// corrects them. So an insertion need not measure all its neighbours.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Measure {
    /// The length in bytes.
    pub(super) gap: u64,
    /// The order of the largest block inside that is a multiple of its own size: 2^order bytes.
    pub(super) order: u8,
    /// The order of the address inside that is a multiple of the most: 2^point; 64 for address 0.
    pub(super) point: u8,
}

impl Measure {
    /// Of the gap of `gap` bytes from `first` on.
    #[inline]
    pub(super) fn of(first: u64, gap: u64) -> Self {
        if gap == 0 {
            return Self::default();
        }
        // A gap of 2^n to 2^(n+1) bytes always holds an aligned block of order n-1, and at most one of n.
        let order = 63 - gap.leading_zeros();
        let mask = (1u64 << order) - 1;
        let lead = first.wrapping_neg() & mask;
        let fits = gap - lead > mask;
        // The highest bit in which the address before the gap and its last one differ.
        let point = match first.checked_sub(1) {
            Some(before) => 63 - (before ^ first.wrapping_add(gap - 1)).leading_zeros(),
            None => 64,
        };
        Self { gap, order: (order - u32::from(!fits)) as u8, point: point as u8 }
    }

    #[inline]
    pub(super) fn max(self, other: Self) -> Self {
        Self {
            gap: self.gap.max(other.gap),
            order: self.order.max(other.order),
            point: self.point.max(other.point),
        }
    }

    /// Takes another gap in; says whether that made a difference.
    #[inline]
    pub(super) fn include(&mut self, other: Self) -> bool {
        let larger = other.gap > self.gap || other.order > self.order || other.point > self.point;
        if larger {
            *self = self.max(other);
        }
        larger
    }

    /// Notes that the longest gap has become `gap`, and that others may have shrunk.
    #[inline]
    pub(super) fn shrink(&mut self, gap: u64) {
        self.gap = gap;
        self.order = self.order.min(gap.checked_ilog2().unwrap_or(0) as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_a_gap_is_that_of_its_largest_aligned_block() {
        for first in 0..70u64 {
            for gap in 1..70u64 {
                let holds = |order: u32| {
                    let size = 1u64 << order;
                    first.next_multiple_of(size) + size <= first + gap
                };
                let naive = (0..7).rev().find(|order| holds(*order)).unwrap();
                assert_eq!(Measure::of(first, gap).order, naive as u8, "{first}+{gap}");
                let zeros = |address: u64| if address == 0 { 64 } else { address.trailing_zeros() };
                let point = (first..first + gap).map(zeros).max().unwrap();
                assert_eq!(Measure::of(first, gap).point, point as u8, "{first}+{gap}");
            }
        }
        assert_eq!(Measure::of(u64::MAX, 1), Measure { gap: 1, order: 0, point: 0 });
        assert_eq!(Measure::of(1 << 63, 1 << 63), Measure { gap: 1 << 63, order: 63, point: 63 });
        assert_eq!(Measure::of(1, u64::MAX), Measure { gap: u64::MAX, order: 63, point: 63 });
    }

    #[test]
    fn the_most_aligned_place_is_found() {
        for first in 0..40u64 {
            for last in first..40 {
                for extra in 0..6u64 {
                    let wanted = Wanted::new(extra, 1, 1, Span::ALL);
                    let zeros = |address: u64| if address == 0 { 64 } else { address.trailing_zeros() };
                    let naive = (first..=last).filter(|place| place + extra <= last).map(zeros).max();
                    assert_eq!(wanted.most_aligned_place(1, first, last).map(zeros), naive);
                }
            }
        }
    }

    #[test]
    fn the_measure_tells_no_lie() {
        for (first, extra) in (0..40u64).flat_map(|first| (0..20u64).map(move |extra| (first, extra))) {
            for (gap, order) in (1..40u64).flat_map(|gap| (0..6u32).map(move |order| (gap, order))) {
                let wanted = Wanted::new(extra, 1 << order, 1, Span::ALL);
                let (measure, place) = (Measure::of(first, gap), wanted.place(first, first + gap - 1));
                assert!(place.is_none() || wanted.may_fit(measure), "{wanted:?} {first}+{gap}");
                assert!(place.is_some() || !wanted.surely_fits(measure), "{wanted:?} {first}+{gap}");
            }
        }
    }
}
