//! The device falls silent at every single access, and comes back.

use crate::fake::{Fake, STREAMS, config};
use crate::fake_rig::{SILENCES, silence, start};
use vcm_iommu::riscv::RiscvIommu;
use vcm_iommu::{Invalidation, Iommu, ProbeError};

type Driver = RiscvIommu<Fake, Fake>;

#[test]
fn silence_at_any_access_is_seen_and_survived() {
    silence::silence_at_any_access_is_seen_and_survived::<Fake>();
}

#[test]
fn calls_can_be_repeated_until_they_succeed() {
    silence::calls_can_be_repeated_until_they_succeed::<Fake>();
}

#[test]
fn silence_during_initialisation_is_an_error_and_frees_nothing_that_may_be_in_use() {
    let fake = Fake::new();
    fake.probe(config());
    let whole = fake.device().power.accesses;
    for silence in SILENCES {
        // The last register read is the high half of `ddtp`, and is 0.
        for lives in 0..whole - usize::from(silence == 0) {
            let fake = Fake::new();
            fake.device().power.silence = silence;
            fake.device().power.lives = Some(lives);
            match RiscvIommu::probe(fake.clone(), fake.clone(), config()).map(drop) {
                Err(ProbeError::Absent { .. }) => assert!(lives < 2),
                Err(ProbeError::Unresponsive(_) | ProbeError::Unknown { .. }) => {
                    assert!(
                        silence == 0 || fake.device().memory.allocated.len() == 4,
                        "after {lives} accesses"
                    );
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
        let before = fake.device().power.accesses;
        iommu.recover().unwrap();
        fake.device().power.accesses - before
    };
    let (fake, mut iommu, _) = start::<Fake>();
    let whole = count(&fake, &mut iommu);
    for lives in 0..whole {
        let (fake, mut iommu, [one, two]) = start::<Fake>();
        iommu.attach(STREAMS[0], one).unwrap();
        iommu.attach(STREAMS[2], two).unwrap();
        fake.device().reset();
        fake.device().power.lives = Some(lives);
        assert!(iommu.recover().is_err(), "after {lives} accesses");
        fake.device().power.lives = None;
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

#[test]
fn recovering_attaches_nothing_that_was_being_detached() {
    silence::recovering_attaches_nothing_that_was_being_detached::<Fake>();
}

#[test]
fn a_device_that_was_reset_is_not_believed() {
    let (fake, mut iommu, [one, _]) = start::<Fake>();
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
