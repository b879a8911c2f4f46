//! What only the inside can see: the tree's invariants, the cache's bound, the generations' end.

use proptest::prelude::*;
use std::vec::Vec;

use super::*;

const ALL: u128 = 1 << 64;

fn request(len: u128, alignment: Alignment) -> Request {
    Request { len, alignment, within: Span::ALL }
}

impl<T> Ranges<T> {
    fn check(&self) {
        self.tree.check(&self.slots);
        assert_eq!(self.tree.len(), self.len + self.cache.iter().count());
        for slot in self.cache.iter() {
            assert!(self.slots.at(slot).value.is_none());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_tree_holds_its_invariants(
        ops in prop::collection::vec((0..100u32, 1..40u64, 0..6u32, any::<prop::sample::Index>()), 1..1500),
        grow in 40..90u32,
    ) {
        let window = Span::inclusive(3, 20_000).unwrap();
        let mut ranges = Ranges::new(window, 1);
        let mut keys = Vec::new();
        for (number, (dice, len, order, pick)) in ops.iter().enumerate() {
            if *dice < grow || keys.is_empty() {
                let alignment = Alignment::Preferring(1 << order);
                let request = Request { len: u128::from(*len), alignment, within: window };
                if let Ok(key) = ranges.place(&request, number) {
                    keys.push(key);
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
    ranges.slots.at_mut(key.slot).generation = u32::MAX;
    let last = RangeKey { generation: u32::MAX, ..key };
    assert_eq!(ranges.remove(last), Some((Span::new(0, 1).unwrap(), 1)));
    ranges.check();
    assert_eq!(ranges.get(last), None);
    let next = ranges.place(&request(1, Alignment::Exactly(1)), 2).unwrap();
    assert_eq!((next.slot, ranges.remove(last)), (1, None));
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
