//! What only the inside can see: the tree's invariants, the cache's bound, the generations' end.

use proptest::prelude::*;
use std::vec::Vec;

use super::fit::Measure;
use super::node::NONE;
use super::*;

const ALL: u128 = 1 << 64;

fn request(len: u128, alignment: Alignment) -> Request {
    Request { len, alignment, within: Span::ALL }
}

impl Tree {
    /// Checks everything that must always hold.
    fn check<T>(&self, slots: &Slots<T>) {
        if self.root == NONE {
            return;
        }
        let mut entries = Vec::new();
        let mut leaves = Vec::new();
        self.check_below(self.root, self.height, NONE, 0, &mut leaves);
        for (position, leaf) in leaves.iter().enumerate() {
            let node = self.leaf(*leaf);
            assert_eq!(node.previous, if position == 0 { NONE } else { leaves[position - 1] });
            assert_eq!(node.next, leaves.get(position + 1).copied().unwrap_or(NONE));
            for index in 0..node.len() {
                let entry = node.entries[index];
                entries.push((entry.first, entry.end));
                if position + index > 0 {
                    let slot = slots.at(entry.slot);
                    assert_eq!((slot.first, slot.leaf), (entry.first, *leaf));
                    assert_eq!(slot.last.wrapping_add(1), entry.end);
                }
            }
            let limit = leaves.get(position + 1).map(|next| self.leaf(*next).entries[0].first);
            assert_eq!(node.entries[node.len()].first, limit.unwrap_or(self.window.last().wrapping_add(1)));
        }
        assert_eq!(entries.len(), self.len + 1);
        assert!(entries[1..].is_sorted_by(|a, b| a.1 <= b.0 && a.0 < b.0));
        let chained = |leaf: u32| (leaf != NONE).then_some(leaf);
        let unused = core::iter::successors(chained(self.unused_leaf), |leaf| chained(self.leaf(*leaf).next));
        assert_eq!(leaves.len() + unused.count(), self.leaves.len());
        assert!(self.hint == NONE || leaves.contains(&self.hint));
    }

    fn check_below(&self, node: u32, height: u32, parent: u32, at: u32, leaves: &mut Vec<u32>) {
        if height == 0 {
            let leaf = self.leaf(node);
            assert_eq!((leaf.parent, leaf.at), (parent, at));
            assert!(leaf.len() > 0);
            let mut again = leaf.clone();
            again.remeasure();
            // The gap of the empty 64-bit space is beyond measure.
            if self.len > 0 {
                assert_eq!(again.measure.gap, leaf.measure.gap);
                assert_eq!(again.measure.max(leaf.measure), leaf.measure);
                assert!(leaf.loose || again.measure == leaf.measure);
            }
            leaves.push(node);
            return;
        }
        let inner = self.inner(node);
        assert_eq!((inner.parent, inner.at), (parent, at));
        assert!(inner.len() > usize::from(parent == NONE));
        let measures = (0..inner.len()).map(|index| inner.measure_of(index));
        assert_eq!(inner.measure, measures.fold(Measure::default(), Measure::max));
        for index in 0..inner.len() {
            let child = inner.child[index];
            let (low, measure) = if height == 1 {
                (self.leaf(child).entries[0].first, self.leaf(child).measure)
            } else {
                (self.inner(child).low[0], self.inner(child).measure)
            };
            assert_eq!((inner.low[index], inner.measure_of(index)), (low, measure));
            self.check_below(child, height - 1, node, index as u32, leaves);
        }
    }
}

impl<T> Ranges<T> {
    /// Whether some gap has room for `len` bytes at a multiple of `alignment`.
    fn takes(&self, len: u64, alignment: u64) -> bool {
        let mut start = self.window.first();
        let ends = self.iter().map(|(_, span, _)| (span.first(), span.last() + 1));
        let window_end = self.window.last() + 1;
        ends.chain([(window_end, window_end)]).any(|(first, end)| {
            let place = start.next_multiple_of(alignment);
            start = end;
            place + len <= first
        })
    }

    fn check(&self) {
        self.tree.check(&self.slots);
        assert_eq!(self.tree.len(), self.len() + self.cache.iter().count());
        for slot in self.cache.iter() {
            assert!(self.slots.at(slot).value.is_none());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_tree_holds_its_invariants(
        ops in prop::collection::vec((0..100u32, 1..40u64, 0..9u32, any::<prop::sample::Index>()), 1..1500),
        grow in 40..90u32,
    ) {
        let window = Span::inclusive(3, 20_000).unwrap();
        let mut ranges = Ranges::new(window, 1);
        let mut keys = Vec::new();
        for (number, (dice, len, order, pick)) in ops.iter().enumerate() {
            if *dice < grow || keys.is_empty() {
                let bytes = 1 << order;
                let alignment = match dice % 2 {
                    0 => Alignment::Preferring(bytes),
                    _ => Alignment::Exactly(bytes),
                };
                let request = Request { len: u128::from(*len), alignment, within: window };
                match ranges.place(&request, number) {
                    Ok(key) => keys.push(key),
                    Err(_) => {
                        let least = if dice % 2 == 0 { 1 } else { bytes };
                        prop_assert!(!ranges.takes(*len, least));
                    }
                }
            } else {
                ranges.remove(keys.swap_remove(pick.index(keys.len())));
            }
            if number % 16 == 0 {
                ranges.check();
            }
        }
        ranges.check();
        for key in keys {
            ranges.remove(key);
        }
        ranges.check();
        ranges.flush();
        ranges.check();
        prop_assert_eq!(ranges.tree.largest_gap(window), Some(window));
    }
}

#[test]
fn the_empty_64_bit_space_is_measured_again_after_it_was_emptied() {
    let mut ranges = Ranges::new(Span::ALL, 1);
    for _ in 0..3 {
        let half = ranges.place(&request(1 << 63, Alignment::Exactly(1 << 63)), ()).unwrap();
        let rest = ranges.place(&request(1 << 63, Alignment::Exactly(1)), ()).unwrap();
        ranges.check();
        ranges.remove(half);
        ranges.remove(rest);
        ranges.check();
        let all = ranges.place(&request(ALL, Alignment::Exactly(1)), ()).unwrap();
        ranges.check();
        assert_eq!(ranges.remove(all), Some((Span::ALL, ())));
        let byte = ranges.place(&request(33, Alignment::Exactly(1)), ()).unwrap();
        ranges.check();
        assert!(ranges.place(&request(ALL - 32, Alignment::Exactly(1)), ()).is_err());
        ranges.remove(byte);
    }
}

#[test]
fn a_slot_is_retired_before_its_generations_wrap() {
    let mut ranges = Ranges::new(Span::ALL, 1);
    let key = ranges.place(&request(1, Alignment::Exactly(1)), 1).unwrap();
    ranges.slots.at_mut(key.slot()).generation = u32::MAX;
    let last = RangeKey::new(key.slot(), u32::MAX);
    assert_eq!(ranges.remove(last), Some((Span::new(0, 1).unwrap(), 1)));
    ranges.check();
    assert_eq!(ranges.get(last), None);
    let next = ranges.place(&request(1, Alignment::Exactly(1)), 2).unwrap();
    assert_eq!((next.slot(), ranges.remove(last)), (1, None));
}

#[test]
fn the_cache_is_bounded_and_what_does_not_fit_goes_back_to_the_tree() {
    let mut ranges = Ranges::new(Span::ALL, 1);
    let keys: Vec<_> =
        (0..1000).map(|number| ranges.place(&request(1, Alignment::Exactly(1)), number).unwrap()).collect();
    for key in keys {
        ranges.remove(key);
    }
    assert!(ranges.cache.iter().count() < 100);
    ranges.check();
    assert_eq!(ranges.largest_gap(), Some(Span::ALL));
}

#[test]
fn a_large_tree_that_shrinks_holds_its_invariants() {
    let mut ranges = Ranges::new(Span::ALL, 0x1000);
    let order: Vec<u64> = (0..40_000).map(|number| number * 7919 % 40_000).collect();
    let place = |ranges: &mut Ranges<u64>, number: u64| {
        // Of lengths that are not cached.
        let span = Span::new(number << 32, 0x30_1000).unwrap();
        ranges.place_at(span, number).unwrap()
    };
    let mut keys: Vec<_> = order.iter().map(|number| place(&mut ranges, *number)).collect();
    ranges.check();
    let height = ranges.tree.height;
    assert!(height >= 3);
    for (number, key) in keys.iter().enumerate().skip(100) {
        assert_eq!(ranges.remove(*key).map(|(_, value)| value), Some(order[number]));
        if number % 1000 == 0 {
            ranges.check();
        }
    }
    ranges.check();
    assert!(ranges.tree.height < height);
    // What became free is used again.
    let nodes = (ranges.tree.leaves.len(), ranges.tree.inners.len());
    keys.truncate(100);
    keys.extend(order[100..].iter().map(|number| place(&mut ranges, *number)));
    ranges.check();
    assert_eq!((ranges.tree.leaves.len(), ranges.tree.inners.len()), nodes);
    for key in keys.iter().rev() {
        ranges.remove(*key);
    }
    ranges.check();
    assert_eq!((ranges.tree.height, ranges.largest_gap()), (0, Some(Span::ALL)));
}
