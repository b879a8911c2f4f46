//! A device that does not answer, at every moment.

use crate::bench::{Driver, Fake, Mappings, OTHER, STREAM, requests};
use crate::fake::Trick;
use vcm::{Attributes, PhysicalAddress, Span};
use vcm_iommu::{DomainId, Iommu, IommuError};
use vcm_pagetable::Segment;

const RW: Attributes = Attributes::READ_WRITE;

fn segment(physical: u64) -> Segment {
    Segment { physical: PhysicalAddress::new(physical), len: 0x1000 }
}

fn span(first: u64, len: u64) -> Span {
    Span::new(first, len).unwrap()
}

/// Two domains; STREAM is attached to the first.
fn prepared(fake: &Fake) -> (Driver, [DomainId; 2]) {
    let mut driver = fake.driver();
    let domains = [requests(&mut driver), requests(&mut driver)];
    for (domain, physical) in domains.into_iter().zip([0x10_0000, 0x20_0000]) {
        driver.map_segments(domain, 0x5000, &[segment(physical), segment(physical + 0x8000)], RW).unwrap();
    }
    driver.attach(STREAM, domains[0]).unwrap();
    fake.log();
    (driver, domains)
}

type Step = fn(&mut Driver, [DomainId; 2]) -> Result<(), IommuError>;

/// Every kind of call that asks the device something.
const STEPS: [(&str, Step); 8] = [
    ("map", |driver, domains| driver.map_segments(domains[0], 0x9000, &[segment(0), segment(0x3000)], RW)),
    ("unmap", |driver, domains| driver.unmap(domains[0], span(0x5000, 0x2000))),
    ("attach the first", |driver, domains| driver.attach(OTHER, domains[1])),
    ("attach another", |driver, domains| driver.attach(OTHER, domains[0])),
    ("move", |driver, domains| driver.attach(STREAM, domains[1])),
    ("detach", |driver, _| Ok(driver.detach(STREAM)?)),
    ("detach and destroy", |driver, domains| {
        driver.detach(STREAM)?;
        driver.destroy_domain(domains[0])
    }),
    ("reserved", |driver, _| driver.reserved(STREAM).map(drop)),
];

/// What the device has in the end: for each endpoint, what it sees.
fn state(fake: &Fake) -> [Option<Mappings>; 3] {
    [8, 16, 24].map(|endpoint| fake.mapped(endpoint))
}

/// What a step leads to when all goes well.
fn expected(step: Step) -> [Option<Mappings>; 3] {
    let fake = Fake::new();
    let (mut driver, domains) = prepared(&fake);
    step(&mut driver, domains).unwrap();
    state(&fake)
}

#[test]
fn a_step_whose_request_is_late_can_be_repeated() {
    for (name, step) in STEPS {
        for late in 0.. {
            let fake = Fake::new();
            let (mut driver, domains) = prepared(&fake);
            fake.play((0..late).map(|_| Trick::Honest).chain([Trick::Withhold]));
            let result = step(&mut driver, domains);
            if result.is_ok() {
                assert!(late > 0, "{name} asked the device nothing");
                break;
            }
            assert!(matches!(result, Err(IommuError::Unresponsive(_))), "{name}, {late}: {result:?}");
            // As long as it is late, nothing else is asked.
            fake.log();
            assert!(step(&mut driver, domains).is_err(), "{name}, {late}");
            assert_eq!(fake.log(), [0_u8; 0]);
            fake.device().release();
            step(&mut driver, domains).unwrap_or_else(|error| panic!("{name}, {late}: {error}"));
            assert_eq!(state(&fake), expected(step), "{name}, {late}");
        }
    }
}

#[test]
fn a_step_after_which_the_device_is_gone_can_be_repeated_when_it_is_back() {
    for (name, step) in STEPS {
        for lives in 0.. {
            let fake = Fake::new();
            let (mut driver, domains) = prepared(&fake);
            fake.device().lives = Some(lives);
            let result = step(&mut driver, domains);
            let gone = fake.device().lives == Some(0);
            assert!(
                matches!(result, Ok(()) | Err(IommuError::Unresponsive(_))),
                "{name}, {lives}: {result:?}"
            );
            if result.is_ok() && !gone {
                break;
            }
            if result.is_err() {
                assert!(driver.recover().is_err(), "{name}, {lives}");
            }
            fake.device().lives = None;
            driver.recover().unwrap_or_else(|error| panic!("{name}, {lives}: {error}"));
            if result.is_err() {
                step(&mut driver, domains).unwrap_or_else(|error| panic!("{name}, {lives}: {error}"));
            }
            // A stream whose moving was cut off is blocked until it is attached again, which the repetition did.
            assert_eq!(state(&fake), expected(step), "{name}, {lives}");
        }
    }
}

#[test]
fn a_recovery_that_is_cut_off_can_be_repeated() {
    let mut cut = 0;
    for lives in 0.. {
        let fake = Fake::new();
        let (mut driver, domains) = prepared(&fake);
        driver.attach(OTHER, domains[1]).unwrap();
        let before = state(&fake);
        fake.device().lives = Some(lives);
        if driver.recover().is_ok() {
            break;
        }
        cut += 1;
        fake.device().lives = None;
        // Half of it may be as before: nothing is asked.
        fake.log();
        assert!(driver.map(domains[0], 0x9000, segment(0), RW).is_err());
        assert!(driver.detach(OTHER).is_err());
        assert_eq!(fake.log(), [0_u8; 0]);
        driver.recover().unwrap();
        driver.attach(OTHER, domains[1]).unwrap();
        assert_eq!(state(&fake), before, "{lives}");
    }
    assert!(cut > 40, "{cut}");
}

#[test]
fn recovery_brings_back_what_is_attached_and_nothing_else() {
    let fake = Fake::new();
    let (mut driver, domains) = prepared(&fake);
    let identity = driver.create_domain(vcm_iommu::Translation::Identity).unwrap();
    driver.attach(vcm_iommu::StreamId(24), identity).unwrap();
    driver.attach(OTHER, domains[0]).unwrap();
    driver.map(domains[1], 0x9000, segment(0), RW).unwrap();
    let before = state(&fake);
    fake.device().set_status(0);
    assert!(driver.map(domains[0], 0x1_0000, segment(0), RW).is_err());
    driver.recover().unwrap();
    assert_eq!(state(&fake), before);
    driver.map(domains[0], 0x1_0000, segment(0), RW).unwrap();
}

#[test]
fn another_device_in_its_place_is_noticed() {
    let changes: [fn(&Fake); 4] = [
        |fake| fake.device().offered &= !(1 << 5),
        |fake| fake.device().set_config(28, &5_u32.to_le_bytes()),
        |fake| fake.device().set_config(0, &0x1_0000_u64.to_le_bytes()),
        |fake| fake.device().queues[0].max = 32,
    ];
    for change in changes {
        let fake = Fake::new();
        let (mut driver, _) = prepared(&fake);
        change(&fake);
        let error = driver.recover().unwrap_err();
        assert_eq!(error.what, "it is another device than it was");
        assert_eq!(fake.device().status & 0x80, 0x80, "FAILED");
    }
}

#[test]
fn indexes_wrap() {
    let fake = Fake::new();
    let mut driver = fake.driver_with(Fake::config().with_queue_size(4));
    let domain = requests(&mut driver);
    driver.attach(STREAM, domain).unwrap();
    for round in 0..25_000_u64 {
        let at = 0x10_0000 + (round % 7) * 0x1000;
        driver.map_segments(domain, at, &[segment(round << 12), segment(0), segment(0)], RW).unwrap();
        assert_eq!(fake.mapped(8).unwrap()[0], (at, at + 0xfff, round << 12, 3));
        driver.unmap(domain, span(at, 0x3000)).unwrap();
    }
    assert!(fake.log().len() > 90_000);
}
