//! The driver against a model of its own rules: what endpoints see.

use crate::bench::{Fake, requests};
use proptest::prelude::*;
use std::collections::BTreeMap;
use vcm::{Attributes, PhysicalAddress, Span};
use vcm_iommu::{Iommu, IommuError, StreamId};
use vcm_pagetable::Segment;

#[derive(Clone, Debug)]
enum Step {
    Map { domain: usize, page: u64, segments: Vec<u64> },
    Unmap { domain: usize, page: u64, pages: u64 },
    Attach { endpoint: u32, domain: usize },
    Detach { endpoint: u32 },
    Recover,
}

fn step() -> impl Strategy<Value = Step> {
    let segments = prop::collection::vec(1..4_u64, 1..6);
    prop_oneof![
        4 => (0..3_usize, 1..40_u64, segments)
            .prop_map(|(domain, page, segments)| Step::Map { domain, page, segments }),
        3 => (0..3_usize, 0..40_u64, 1..20_u64)
            .prop_map(|(domain, page, pages)| Step::Unmap { domain, page, pages }),
        3 => (0..3_u32, 0..3_usize).prop_map(|(endpoint, domain)| Step::Attach { endpoint, domain }),
        2 => (0..3_u32).prop_map(|endpoint| Step::Detach { endpoint }),
        1 => Just(Step::Recover),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn endpoints_see_what_was_mapped(steps in prop::collection::vec(step(), 1..60)) {
        let fake = Fake::new();
        let mut driver = fake.driver_with(Fake::config().with_queue_size(8));
        let ids = [requests(&mut driver), requests(&mut driver), requests(&mut driver)];
        // First page: pages, physical page.
        let mut domains = [const { BTreeMap::<u64, (u64, u64)>::new() }; 3];
        let mut attached = BTreeMap::<u32, usize>::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Map { domain, page, segments } => {
                    let total: u64 = segments.iter().sum();
                    let free = domains[domain].iter().all(|(at, (len, _))| at + len <= page || page + total <= *at);
                    let mut physical = (number as u64) << 8;
                    let mut at = page;
                    let mut list = Vec::new();
                    for &len in &segments {
                        list.push(Segment { physical: PhysicalAddress::new(physical << 12), len: len << 12 });
                        if free {
                            domains[domain].insert(at, (len, physical));
                        }
                        at += len;
                        physical += 16;
                    }
                    let result = driver.map_segments(ids[domain], page << 12, &list, Attributes::READ_WRITE);
                    prop_assert_eq!(result.is_ok(), free);
                }
                Step::Unmap { domain, page, pages } => {
                    let map = &mut domains[domain];
                    let inside = |at: u64, len: u64| page <= at && at + len <= page + pages;
                    let touched = |at: u64, len: u64| at < page + pages && page < at + len;
                    let split = map.iter().any(|(at, (len, _))| touched(*at, *len) && !inside(*at, *len));
                    let result = driver.unmap(ids[domain], Span::new(page << 12, pages << 12).unwrap());
                    if split {
                        let refused = matches!(result, Err(IommuError::Address { .. }));
                        prop_assert!(refused);
                    } else {
                        prop_assert_eq!(result, Ok(()));
                        map.retain(|at, (len, _)| !touched(*at, *len));
                    }
                }
                Step::Attach { endpoint, domain } => {
                    driver.attach(StreamId(8 + 8 * endpoint), ids[domain]).unwrap();
                    attached.insert(endpoint, domain);
                }
                Step::Detach { endpoint } => {
                    driver.detach(StreamId(8 + 8 * endpoint)).unwrap();
                    attached.remove(&endpoint);
                }
                Step::Recover => driver.recover().unwrap(),
            }
            for endpoint in 0..3 {
                let seen = fake.mapped(8 + 8 * endpoint);
                let expected = attached.get(&endpoint).map(|domain| {
                    let mappings = domains[*domain].iter();
                    mappings
                        .map(|(at, (len, physical))| (at << 12, ((at + len) << 12) - 1, physical << 12, 3))
                        .collect::<Vec<_>>()
                });
                prop_assert_eq!(seen, expected);
            }
        }
    }
}
