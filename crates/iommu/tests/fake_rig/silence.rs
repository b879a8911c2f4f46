//! The device falls silent at every single access, and comes back.

use super::{Fake, FaultQueue, SILENCES, start, typed};
use vcm::Span;
use vcm_iommu::{DomainId, Invalidation, Iommu, Reach, Unresponsive};

/// A life with everything in it. Returns the first sign of silence.
fn live<F: Fake>(fake: &F, iommu: &mut F::Driver, [one, two]: [DomainId; 2]) -> Result<(), Unresponsive> {
    let mut first = Ok(());
    let mut note = |result: Result<(), Unresponsive>| {
        if first.is_ok() {
            first = result;
        }
    };
    note(typed(iommu.attach(F::STREAMS[0], one)));
    let _ = fake.reads(F::STREAMS[0], 0x5000);
    note(typed(iommu.attach(F::STREAMS[1], one)));
    let spans = [Span::new(0x5000, 0x3000).unwrap()];
    let pages = Invalidation::Addresses { spans: &spans, granule: 0x1000, reach: Reach::Pages };
    note(iommu.invalidate(one, &pages));
    note(iommu.next_fault().map(drop));
    note(F::more(iommu, F::STREAMS[0]));
    note(typed(iommu.attach(F::STREAMS[0], two)));
    let _ = fake.reads(F::STREAMS[0], 0x5000);
    note(iommu.next_fault().map(drop));
    note(iommu.detach(F::STREAMS[1]));
    note(iommu.invalidate(two, &Invalidation::Everything));
    note(iommu.detach(F::STREAMS[0]));
    first
}

fn accesses_of_a_life<F: Fake>() -> usize {
    let (fake, mut iommu, domains) = start::<F>();
    let before = fake.power().accesses;
    live(&fake, &mut iommu, domains).unwrap();
    let whole = fake.power().accesses - before;
    assert!(whole >= F::LEAST_ACCESSES, "{whole} accesses");
    whole
}

/// After everything was undone, nothing is left anywhere.
fn nothing_is_left<F: Fake>(fake: &F, iommu: &mut F::Driver, domains: [DomainId; 2]) {
    for stream in F::STREAMS {
        iommu.detach(stream).unwrap();
        assert_eq!(fake.reads(stream, 0x5000), Err(F::BLOCKED));
    }
    for domain in domains {
        iommu.destroy_domain(domain).unwrap();
    }
    assert!(fake.caches_nothing());
    while iommu.next_fault().unwrap().is_some() {}
}

pub(crate) fn silence_at_any_access_is_seen_and_survived<F: Fake>() {
    let whole = accesses_of_a_life::<F>();
    for silence in SILENCES {
        for lives in 0..whole {
            // Back as it was, and used; back as it was; and after a reset.
            for back in 0..3 {
                let (fake, mut iommu, domains) = start::<F>();
                fake.power().silence = silence;
                fake.power().lives = Some(lives);
                let seen = live(&fake, &mut iommu, domains);
                assert!(
                    seen.is_err() || lives + F::UNSEEN_ACCESSES >= whole,
                    "silence {silence:#x} after {lives} accesses"
                );
                // While it is silent, everything still answers.
                assert!(iommu.recover().is_err());
                assert!(iommu.invalidate(domains[0], &Invalidation::Everything).is_err());
                let asked = iommu.next_fault();
                assert!(asked.is_err() || F::FAULT_QUEUE == FaultQueue::MayBeEmpty);

                fake.power().lives = None;
                if back == 2 {
                    fake.reset();
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
pub(crate) fn calls_can_be_repeated_until_they_succeed<F: Fake>() {
    for lives in 0..accesses_of_a_life::<F>() {
        let (fake, mut iommu, domains) = start::<F>();
        fake.power().lives = Some(lives);
        let _ = live(&fake, &mut iommu, domains);
        fake.power().lives = None;
        live(&fake, &mut iommu, domains).unwrap();
        nothing_is_left(&fake, &mut iommu, domains);
    }
}

/// A stream that was to be blocked is blocked after recovering, although nobody saw it happen.
pub(crate) fn recovering_attaches_nothing_that_was_being_detached<F: Fake>() {
    for (moving, reset) in [(false, false), (false, true), (true, false), (true, true)] {
        let (fake, mut iommu, [one, two]) = start::<F>();
        iommu.attach(F::STREAMS[0], one).unwrap();
        iommu.attach(F::STREAMS[2], two).unwrap();
        assert_eq!(fake.reads(F::STREAMS[0], 0x5000), Ok(0x11_1000));
        fake.power().lives = Some(0);
        if moving {
            typed(iommu.attach(F::STREAMS[0], two)).unwrap_err();
        } else {
            iommu.detach(F::STREAMS[0]).unwrap_err();
        }
        fake.power().lives = None;
        // Until then its domain stays.
        assert!(iommu.destroy_domain(one).is_err());
        if reset {
            fake.reset();
        }
        iommu.recover().unwrap();
        assert_eq!(fake.reads(F::STREAMS[0], 0x5000), Err(F::BLOCKED));
        assert_eq!(fake.reads(F::STREAMS[2], 0x5000), Ok(0x22_2000));
        iommu.destroy_domain(one).unwrap();
    }
}
