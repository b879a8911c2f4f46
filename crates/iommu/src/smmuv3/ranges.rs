//! Spans as the ranges that one command can invalidate.

use super::spec;
use vcm::Span;

/// `units` times 2^`scale` granules from `address` on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Range {
    pub(super) address: u64,
    /// 1 to 32.
    pub(super) units: u64,
    pub(super) scale: u8,
}

/// Ranges that together are the granules of 2^`shift` bytes that `span` touches: one for each five bits of their number
/// that are not all zero (Arm IHI 0070, 4.4.1: a range starts at any granule and is (NUM + 1) * 2^SCALE granules long).
/// `span` ends below 2^48.
pub(super) fn ranges(span: Span, shift: u32) -> impl Iterator<Item = Range> + Clone {
    let mut page = span.first() >> shift;
    let mut left = (span.last() >> shift) - page + 1;
    core::iter::from_fn(move || {
        if left == 0 {
            return None;
        }
        let scale = left.trailing_zeros().min(spec::TLBI_SCALE_MAX.into());
        let scaled = left >> scale;
        let units = if scaled <= spec::TLBI_UNITS { scaled } else { scaled % spec::TLBI_UNITS };
        let range = Range { address: page << shift, units, scale: scale as u8 };
        page += units << scale;
        left -= units << scale;
        Some(range)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn check(first: u64, last: u64, shift: u32) {
        let all: Vec<Range> = ranges(Span::inclusive(first, last).unwrap(), shift).collect();
        assert!(all.len() <= 8, "{} ranges for {first:#x} to {last:#x}", all.len());
        let mut next = first >> shift << shift;
        for range in &all {
            assert_eq!(range.address, next, "a gap, or an overlap");
            assert!((1..=32).contains(&range.units) && range.scale <= 31, "{range:?}");
            next += range.units << range.scale << shift;
        }
        assert_eq!(next, ((last >> shift) + 1) << shift, "{all:?}");
    }

    #[test]
    fn whole_spaces_and_single_bytes() {
        for shift in [12, 14, 16] {
            check(0, (1 << 48) - 1, shift);
            check((1 << 48) - 1, (1 << 48) - 1, shift);
            check(0, 0, shift);
            check(0, (33 << shift) - 1, shift);
            check(1 << shift, (32 << shift) + (1 << shift) - 1, shift);
        }
    }

    proptest! {
        #[test]
        fn they_cover_the_granules_of_a_span_and_no_others(
            first in 0..1_u64 << 48,
            len in (0..48_u32).prop_flat_map(|bits| 0..1_u64 << bits),
            shift in prop::sample::select([12, 14, 16].as_slice()),
        ) {
            check(first, (first + len).min((1 << 48) - 1), shift);
        }
    }
}
