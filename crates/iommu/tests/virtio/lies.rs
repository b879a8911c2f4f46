//! A device that lies in memory.

use crate::bench::{Driver, Fake, STREAM, requests};
use crate::fake::Trick;
use proptest::prelude::*;
use vcm::{Attributes, PhysicalAddress, Span};
use vcm_iommu::{DomainId, Iommu, IommuError};
use vcm_pagetable::Segment;

const PAGE: Segment = Segment { physical: PhysicalAddress::new(0x7000), len: 0x1000 };

fn map(driver: &mut Driver, domain: DomainId, at: u64) -> Result<(), IommuError> {
    driver.map(domain, at, PAGE, Attributes::READ_WRITE)
}

#[test]
fn a_lie_in_the_used_ring_ends_it_until_the_device_is_reset() {
    let tricks = [
        (Trick::Head(1), "names a buffer"),
        (Trick::Head(2), "names a buffer"),
        (Trick::Head(0x1_0000), "names a buffer"),
        (Trick::Head(u32::MAX), "names a buffer"),
        (Trick::Len(5), "length beyond"),
        (Trick::Len(u32::MAX), "length beyond"),
        (Trick::Index(1), "more entries"),
        (Trick::Index(0x8000), "more entries"),
        (Trick::Index(0xfffe), "more entries"),
    ];
    for (trick, expected) in tricks {
        let fake = Fake::new();
        let mut driver = fake.driver();
        let domain = requests(&mut driver);
        map(&mut driver, domain, 0x5000).unwrap();
        driver.attach(STREAM, domain).unwrap();
        fake.play([trick]);
        for at in [0x6000, 0x6000, 0x9000] {
            let error = map(&mut driver, domain, at).unwrap_err();
            assert!(error.to_string().contains(expected), "{trick:?}: {error}");
        }
        assert!(driver.unmap(domain, Span::new(0x5000, 0x1000).unwrap()).is_err());
        assert!(driver.detach(STREAM).is_err());
        assert!(driver.destroy_domain(domain).is_err());
        driver.recover().unwrap();
        // Nothing was changed since the lie.
        assert_eq!(fake.mapped(8), Some(vec![(0x5000, 0x5fff, 0x7000, 3)]));
        map(&mut driver, domain, 0x6000).unwrap();
        assert_eq!(fake.mapped(8).unwrap().len(), 2);
    }
}

#[test]
fn a_status_that_was_not_written_is_none() {
    for len in 0..4 {
        let fake = Fake::new();
        let mut driver = fake.driver();
        let domain = requests(&mut driver);
        driver.attach(STREAM, domain).unwrap();
        // Done, but who knows.
        fake.play([Trick::Len(len)]);
        let error = map(&mut driver, domain, 0x6000);
        assert!(matches!(error, Err(IommuError::Unresponsive(_))), "{len}");
        assert_eq!(fake.mapped(8), Some(vec![]), "undone");
        map(&mut driver, domain, 0x6000).unwrap();
    }
}

#[test]
fn a_lie_about_events_ends_those_only() {
    for lie in [(64, 24, 0), (0, 65, 0), (u32::MAX, 24, 0), (0, 24, 100), (0, 24, 0x8000)] {
        let fake = Fake::new();
        let mut driver = fake.driver();
        let domain = requests(&mut driver);
        let (head, len, skew) = lie;
        fake.device().complete(1, head, len, skew);
        for _ in 0..3 {
            assert!(driver.next_fault().is_err(), "{lie:?}");
        }
        driver.attach(STREAM, domain).unwrap();
        driver.recover().unwrap();
        assert_eq!(driver.next_fault(), Ok(None));
        assert!(fake.device().report(1, 0, 8, 0));
        assert!(driver.next_fault().unwrap().is_some());
    }
    // The same buffer twice.
    let fake = Fake::new();
    let mut driver = fake.driver();
    fake.device().complete(1, 5, 24, 0);
    fake.device().complete(1, 5, 24, 0);
    assert!(driver.next_fault().unwrap().is_some());
    // It was the device's again: this one is no lie.
    assert!(driver.next_fault().unwrap().is_some());
    assert_eq!(driver.next_fault(), Ok(None));
}

#[test]
fn a_flood_that_never_ends_does_not_hold_the_driver() {
    let fake = Fake::new();
    let mut driver = fake.driver_with(Fake::config().with_queue_size(8));
    for _ in 0..3 {
        // As many as there are buffers, none of which makes sense.
        let mut device = fake.device();
        while let Some(head) = device.take_buffer() {
            device.give_report(head, &[], 0);
        }
        drop(device);
        assert_eq!(driver.next_fault(), Ok(None));
    }
    assert_eq!((driver.ignored_faults(), driver.fault_overflows()), (24, 3));
}

fn trick() -> impl Strategy<Value = Trick> {
    prop_oneof![
        6 => Just(Trick::Honest),
        1 => Just(Trick::Withhold),
        1 => any::<u8>().prop_map(Trick::Status),
        1 => prop_oneof![0..70_u32, any::<u32>()].prop_map(Trick::Head),
        1 => prop_oneof![0..5_u32, any::<u32>()].prop_map(Trick::Len),
        1 => prop_oneof![0..5_u16, any::<u16>()].prop_map(Trick::Index),
        1 => Just(Trick::NeedsReset),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever the device does, calls end and nothing panics; and when it is honest again, all is as the driver says.
    #[test]
    fn no_lie_is_believed_for_good(
        tricks in prop::collection::vec(trick(), 0..40),
        steps in prop::collection::vec((0..8_u8, 0..6_u64, 0..3_u32), 1..30),
        used in prop::collection::vec((0..260_u64, any::<u32>()), 0..6),
    ) {
        let fake = Fake::new();
        let mut driver = fake.driver_with(Fake::config().with_queue_size(8));
        let domains = [requests(&mut driver), requests(&mut driver)];
        fake.play(tricks);
        for &(step, page, endpoint) in &steps {
            let (domain, stream) = (domains[page as usize % 2], vcm_iommu::StreamId(8 + 8 * endpoint));
            let at = 0x5000 + page * 0x1000;
            match step {
                0 | 1 => drop(map(&mut driver, domain, at)),
                2 => drop(driver.unmap(domain, Span::new(at, 0x2000).unwrap())),
                3 | 4 => drop(driver.attach(stream, domain)),
                5 => drop(driver.detach(stream)),
                6 => {
                    for &(offset, value) in &used {
                        let ring = fake.device().queues[1].addresses[2];
                        fake.memory.put(ring + offset % 68 / 4 * 4, &value.to_le_bytes());
                    }
                    for _ in 0..20 {
                        let _ = driver.next_fault();
                    }
                }
                _ => drop(driver.reserved(stream)),
            }
        }
        fake.device().tricks.clear();
        driver.recover().unwrap();
        prop_assert_eq!(driver.next_fault(), Ok(None));
        // Every stream is where the driver says, and sees the same as another that joins it.
        for endpoint in [8, 16, 24] {
            let domain = driver.domain_of(vcm_iommu::StreamId(endpoint));
            prop_assert_eq!(fake.mapped(endpoint).is_some(), domain.is_some());
        }
        for domain in domains {
            for endpoint in [8, 16, 24] {
                driver.attach(vcm_iommu::StreamId(endpoint), domain).unwrap();
            }
            let there = fake.mapped(8).unwrap();
            // All of it can go, with one call.
            driver.unmap(domain, Span::ALL).unwrap();
            prop_assert_eq!(fake.mapped(8).unwrap(), vec![]);
            for (first, ..) in there {
                map(&mut driver, domain, first).unwrap();
            }
        }
    }
}
