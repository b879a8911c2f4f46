//! The device falls silent at every single access, and comes back.

use crate::domains::tables;
use crate::fake::{Fake, Leads, SILENCES, STREAMS, config};
use vcm::Span;
use vcm_iommu::amdvi::AmdVi;
use vcm_iommu::{DomainId, Invalidation, Iommu, IommuError, ProbeError, Reach, Translation, Unresponsive};

const ROOT: u64 = 0x9000_0000;

type Driver = AmdVi<Fake, Fake>;

fn typed(result: Result<(), IommuError>) -> Result<(), Unresponsive> {
    match result {
        Ok(()) => Ok(()),
        Err(IommuError::Unresponsive(error)) => Err(error),
        Err(other) => panic!("{other}"),
    }
}

fn start() -> (Fake, Driver, [DomainId; 2]) {
    let fake = Fake::new();
    let leads = |to| Leads { to, access: 3 };
    fake.device().tables.extend([((ROOT, 5), leads(0x111)), ((ROOT + 0x1000, 5), leads(0x222))]);
    let mut iommu = fake.probe(config());
    let domains =
        [ROOT, ROOT + 0x1000].map(|root| iommu.create_domain(Translation::Tables(tables(root))).unwrap());
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
    note(typed(iommu.attach(STREAMS[0], one)));
    let _ = fake.read_of(STREAMS[0], 0x5000);
    note(typed(iommu.attach(STREAMS[1], one)));
    let spans = [Span::new(0x5000, 0x3000).unwrap()];
    note(
        iommu.invalidate(
            one,
            &Invalidation::Addresses { spans: &spans, granule: 0x1000, reach: Reach::Pages },
        ),
    );
    note(iommu.next_fault().map(drop));
    note(typed(iommu.attach(STREAMS[0], two)));
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
    assert!(whole > 30, "{whole} accesses");
    for silence in SILENCES {
        for lives in 0..whole {
            // Back as it was, and used; back as it was; and after a reset.
            for back in 0..3 {
                let (fake, mut iommu, domains) = start();
                fake.device().silence = silence;
                fake.device().lives = Some(lives);
                let seen = live(&fake, &mut iommu, domains);
                // The last access is the high half of a tail, which no device needs.
                assert!(seen.is_err() || lives + 1 == whole, "silence {silence:#x} after {lives} accesses");
                // While it is silent, everything still answers.
                assert!(iommu.recover().is_err());
                assert!(iommu.invalidate(domains[0], &Invalidation::Everything).is_err());
                assert!(iommu.next_fault().is_err());

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
        for lives in 0..whole - 1 {
            let fake = Fake::new();
            fake.device().silence = silence;
            fake.device().lives = Some(lives);
            match AmdVi::probe(fake.clone(), fake.clone(), config()).map(drop) {
                Err(ProbeError::Absent { .. }) => assert!(lives < 2),
                Err(ProbeError::Unresponsive(_) | ProbeError::Unknown { .. }) => {
                    assert!(
                        silence == 0 || lives < 2 || fake.device().allocated.len() == 4,
                        "{lives} accesses"
                    );
                }
                other => panic!("{other:?} after {lives} accesses"),
            }
        }
    }
}

#[test]
fn silence_during_recovery() {
    for reset in [false, true] {
        let prepare = || {
            let (fake, mut iommu, [one, two]) = start();
            iommu.attach(STREAMS[0], one).unwrap();
            iommu.attach(STREAMS[2], two).unwrap();
            if reset {
                fake.device().reset();
            }
            (fake, iommu, one)
        };
        let (fake, mut iommu, _) = prepare();
        let before = fake.device().accesses;
        iommu.recover().unwrap();
        let whole = fake.device().accesses - before;
        for lives in 0..whole - 1 {
            let (fake, mut iommu, one) = prepare();
            fake.device().lives = Some(lives);
            assert!(iommu.recover().is_err(), "after {lives} accesses");
            fake.device().lives = None;
            // What is half set up is not used.
            assert!(iommu.invalidate(one, &Invalidation::Everything).is_err());
            assert!(iommu.attach(STREAMS[0], one).is_err(), "it was attached, and is not now");
            iommu.recover().unwrap();
            iommu.attach(STREAMS[0], one).unwrap();
            assert_eq!(fake.read_of(STREAMS[0], 0x5000), Ok(0x11_1000));
            assert_eq!(fake.read_of(STREAMS[2], 0x5000), Ok(0x22_2000));
            assert!(fake.read_of(STREAMS[1], 0x5000).is_err());
        }
    }
}

/// While the hardware has the driver's table, recovery lets nothing pass.
#[test]
fn recovery_keeps_the_iommu_on() {
    let (fake, mut iommu, [one, _]) = start();
    iommu.attach(STREAMS[0], one).unwrap();
    let whole = {
        let before = fake.device().accesses;
        iommu.recover().unwrap();
        fake.device().accesses - before
    };
    for lives in 0..whole {
        fake.device().lives = Some(lives);
        let _ = iommu.recover();
        assert!(fake.device().is_on(), "after {lives} accesses");
        assert!(fake.read_of(STREAMS[1], 0x5000).is_err());
    }
}

/// A stream that was to be blocked is blocked after recovering, although nobody saw it happen.
#[test]
fn recovering_attaches_nothing_that_was_being_detached() {
    for (moving, reset) in [(false, false), (false, true), (true, false), (true, true)] {
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
        if reset {
            fake.device().reset();
        }
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
    iommu.invalidate(one, &Invalidation::Everything).unwrap_err();
    let error = iommu.invalidate(one, &Invalidation::Everything).unwrap_err();
    assert_eq!(error.to_string(), "iommu test: the IOMMU was reset");
    iommu.recover().unwrap();
    assert_eq!(fake.read_of(STREAMS[0], 0x5000), Ok(0x11_1000));
    assert!(fake.read_of(STREAMS[1], 0x5000).is_err());
    // Another device in its place is not taken for it.
    fake.device().set(0x30, 0x40);
    let error = iommu.recover().unwrap_err();
    assert_eq!(error.to_string(), "iommu test: the extended features are not what they were");
}

/// Somebody has switched it off: everything passes, and no answer to a command changes that.
#[test]
fn a_device_that_is_off_is_not_believed() {
    let (fake, mut iommu, [one, _]) = start();
    {
        let mut device = fake.device();
        let control = device.get(0x18);
        device.set(0x18, control & !1);
        device.set(0x2000, 0x40);
    }
    let error = iommu.invalidate(one, &Invalidation::Everything).unwrap_err();
    assert_eq!(error.to_string(), "iommu test: the IOMMU was reset");
}
