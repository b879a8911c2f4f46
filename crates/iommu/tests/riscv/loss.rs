//! The device falls silent at every single access, and comes back.

use crate::domains::{FIRST, tables};
use crate::fake::{Fake, SILENCES, STREAMS, config};
use vcm::{FaultAccess, Span};
use vcm_iommu::riscv::RiscvIommu;
use vcm_iommu::{DomainId, Invalidation, Iommu, IommuError, ProbeError, Reach, Translation, Unresponsive};

const ROOT: u64 = 0x9000_0000;

type Driver = RiscvIommu<Fake, Fake>;

fn typed<T>(result: Result<T, IommuError>) -> Result<Option<T>, Unresponsive> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(IommuError::Unresponsive(error)) => Err(error),
        // What an operation before did not achieve.
        Err(IommuError::InUse { .. } | IommuError::NotAttached(_) | IommuError::NotMapped(_)) => Ok(None),
        Err(other) => panic!("{other}"),
    }
}

fn start() -> (Fake, Driver, [DomainId; 2]) {
    let fake = Fake::new();
    fake.device().tables.extend([((ROOT, 5), 0x111), ((ROOT + 0x1000, 5), 0x222)]);
    let mut iommu = fake.probe(config());
    let create =
        |iommu: &mut Driver, root| iommu.create_domain(Translation::Tables(tables(FIRST, root))).unwrap();
    let domains = [create(&mut iommu, ROOT), create(&mut iommu, ROOT + 0x1000)];
    (fake, iommu, domains)
}

/// A life with everything in it. Returns the first sign of silence.
fn live(fake: &Fake, iommu: &mut Driver, [one, two]: [DomainId; 2]) -> Result<(), Unresponsive> {
    let mut first = Ok(());
    let mut note = |result: Result<(), Unresponsive>| {
        if first.is_ok() {
            first = result;
        }
    };
    note(typed(iommu.attach(STREAMS[0], one)).map(drop));
    let _ = fake.read_of(STREAMS[0], 0x5000);
    note(typed(iommu.attach(STREAMS[1], one)).map(drop));
    let spans = [Span::new(0x5000, 0x3000).unwrap()];
    note(
        iommu.invalidate(
            one,
            &Invalidation::Addresses { spans: &spans, granule: 0x1000, reach: Reach::Pages },
        ),
    );
    note(iommu.next_fault().map(drop));
    note(typed(iommu.translate(STREAMS[0], 0x5000, FaultAccess::Read)).map(drop));
    note(typed(iommu.attach(STREAMS[0], two)).map(drop));
    let _ = fake.read_of(STREAMS[0], 0x5000);
    note(iommu.next_fault().map(drop));
    note(iommu.detach(STREAMS[1]));
    note(iommu.invalidate(two, &Invalidation::Everything));
    note(iommu.detach(STREAMS[0]));
    first
}

fn accesses_of_a_life() -> usize {
    let (fake, mut iommu, domains) = start();
    let before = fake.device().accesses;
    live(&fake, &mut iommu, domains).unwrap();
    fake.device().accesses - before
}

/// After everything was undone, nothing is left anywhere.
fn nothing_is_left(fake: &Fake, iommu: &mut Driver, domains: [DomainId; 2]) {
    for stream in STREAMS {
        iommu.detach(stream).unwrap();
        assert!(fake.read_of(stream, 0x5000).is_err());
    }
    for domain in domains {
        iommu.destroy_domain(domain).unwrap();
    }
    assert!(fake.device().translations.is_empty());
    while iommu.next_fault().unwrap().is_some() {}
}

#[test]
fn silence_at_any_access_is_seen_and_survived() {
    let whole = accesses_of_a_life();
    assert!(whole > 15, "{whole} accesses");
    for silence in SILENCES {
        for lives in 0..whole {
            // Back as it was, by repeating; back as it was, by recovering; and after a reset.
            for back in 0..3 {
                let (fake, mut iommu, domains) = start();
                fake.device().silence = silence;
                fake.device().lives = Some(lives);
                let seen = live(&fake, &mut iommu, domains);
                // A device that fell silent after its last command was executed may go unseen: that one was done.
                assert!(seen.is_err() || lives + 8 > whole, "silence {silence:#x} after {lives} accesses");
                // While it is silent, everything still answers.
                assert!(iommu.recover().is_err());
                assert!(iommu.invalidate(domains[0], &Invalidation::Everything).is_err());
                let _ = iommu.next_fault();

                fake.device().lives = None;
                if back == 2 {
                    fake.device().reset();
                }
                iommu.recover().unwrap();
                if back == 0 {
                    live(&fake, &mut iommu, domains).unwrap();
                }
                nothing_is_left(&fake, &mut iommu, domains);
            }
        }
    }
}

/// Silence that nobody recovers from by more than repeating the call.
#[test]
fn calls_can_be_repeated_until_they_succeed() {
    let whole = accesses_of_a_life();
    for lives in 0..whole {
        let (fake, mut iommu, domains) = start();
        fake.device().lives = Some(lives);
        let _ = live(&fake, &mut iommu, domains);
        fake.device().lives = None;
        live(&fake, &mut iommu, domains).unwrap();
        nothing_is_left(&fake, &mut iommu, domains);
    }
}

#[test]
fn silence_during_initialisation_is_an_error_and_frees_nothing_that_may_be_in_use() {
    let fake = Fake::new();
    fake.probe(config());
    let whole = fake.device().accesses;
    for silence in SILENCES {
        // The last register read is the high half of `ddtp`, and is 0.
        for lives in 0..whole - usize::from(silence == 0) {
            let fake = Fake::new();
            fake.device().silence = silence;
            fake.device().lives = Some(lives);
            match RiscvIommu::probe(fake.clone(), fake.clone(), config()).map(drop) {
                Err(ProbeError::Absent { .. }) => assert!(lives < 2),
                Err(ProbeError::Unresponsive(_) | ProbeError::Unknown { .. }) => {
                    assert!(silence == 0 || fake.device().allocated.len() == 4, "after {lives} accesses");
                }
                other => panic!("{other:?} after {lives} accesses"),
            }
        }
    }
}

#[test]
fn silence_during_recovery() {
    let count = |fake: &Fake, iommu: &mut Driver| {
        fake.device().reset();
        let before = fake.device().accesses;
        iommu.recover().unwrap();
        fake.device().accesses - before
    };
    let (fake, mut iommu, _) = start();
    let whole = count(&fake, &mut iommu);
    for lives in 0..whole {
        let (fake, mut iommu, [one, two]) = start();
        iommu.attach(STREAMS[0], one).unwrap();
        iommu.attach(STREAMS[2], two).unwrap();
        fake.device().reset();
        fake.device().lives = Some(lives);
        assert!(iommu.recover().is_err(), "after {lives} accesses");
        fake.device().lives = None;
        // What is half set up is not used.
        assert!(iommu.invalidate(one, &Invalidation::Everything).is_err());
        assert!(iommu.attach(STREAMS[0], one).is_err(), "it was attached, and is not now");
        assert!(iommu.detach(STREAMS[1]).is_ok(), "it was not attached");
        iommu.recover().unwrap();
        iommu.attach(STREAMS[0], one).unwrap();
        assert_eq!(fake.read_of(STREAMS[0], 0x5000), Ok(0x11_1000));
        assert_eq!(fake.read_of(STREAMS[2], 0x5000), Ok(0x22_2000));
        assert_eq!(fake.read_of(STREAMS[1], 0x5000), Err(258));
    }
}

/// A stream that was to be blocked is blocked after recovering, although nobody saw it happen.
#[test]
fn recovering_attaches_nothing_that_was_being_detached() {
    for moving in [false, true] {
        let (fake, mut iommu, [one, two]) = start();
        iommu.attach(STREAMS[0], one).unwrap();
        iommu.attach(STREAMS[2], two).unwrap();
        assert_eq!(fake.read_of(STREAMS[0], 0x5000), Ok(0x11_1000));
        fake.device().lives = Some(0);
        if moving {
            typed(iommu.attach(STREAMS[0], two)).unwrap_err();
        } else {
            iommu.detach(STREAMS[0]).unwrap_err();
        }
        fake.device().lives = None;
        // Until then its domain stays.
        assert!(iommu.destroy_domain(one).is_err());
        iommu.recover().unwrap();
        assert!(fake.read_of(STREAMS[0], 0x5000).is_err());
        assert_eq!(fake.read_of(STREAMS[2], 0x5000), Ok(0x22_2000));
        iommu.destroy_domain(one).unwrap();
    }
}

#[test]
fn a_device_that_was_reset_is_not_believed() {
    let (fake, mut iommu, [one, _]) = start();
    iommu.attach(STREAMS[0], one).unwrap();
    fake.device().reset();
    let error = iommu.invalidate(one, &Invalidation::Everything).unwrap_err();
    assert_eq!(error.to_string(), "iommu test: the command queue is off");
    let error = iommu.invalidate(one, &Invalidation::Everything).unwrap_err();
    assert_eq!(error.to_string(), "iommu test: ddtp is not what it was: the IOMMU was reset");
    iommu.recover().unwrap();
    assert_eq!(fake.read_of(STREAMS[0], 0x5000), Ok(0x11_1000));
    // Another device in its place is not taken for it.
    fake.device().set(0, 0x10);
    let error = iommu.recover().unwrap_err();
    assert_eq!(error.to_string(), "iommu test: capabilities are not what they were");
}
