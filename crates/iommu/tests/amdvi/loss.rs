//! The device falls silent at every single access, and comes back.

use crate::fake::{Fake, STREAMS, config};
use crate::fake_rig::{SILENCES, silence, start};
use vcm_iommu::amdvi::AmdVi;
use vcm_iommu::{Invalidation, Iommu, ProbeError};

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
        for lives in 0..whole - 1 {
            let fake = Fake::new();
            fake.device().power.silence = silence;
            fake.device().power.lives = Some(lives);
            match AmdVi::probe(fake.clone(), fake.clone(), config()).map(drop) {
                Err(ProbeError::Absent { .. }) => assert!(lives < 2),
                Err(ProbeError::Unresponsive(_) | ProbeError::Unknown { .. }) => {
                    assert!(
                        silence == 0 || lives < 2 || fake.device().memory.allocated.len() == 4,
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
            let (fake, mut iommu, [one, two]) = start::<Fake>();
            iommu.attach(STREAMS[0], one).unwrap();
            iommu.attach(STREAMS[2], two).unwrap();
            if reset {
                fake.device().reset();
            }
            (fake, iommu, one)
        };
        let (fake, mut iommu, _) = prepare();
        let before = fake.device().power.accesses;
        iommu.recover().unwrap();
        let whole = fake.device().power.accesses - before;
        for lives in 0..whole - 1 {
            let (fake, mut iommu, one) = prepare();
            fake.device().power.lives = Some(lives);
            assert!(iommu.recover().is_err(), "after {lives} accesses");
            fake.device().power.lives = None;
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
    let (fake, mut iommu, [one, _]) = start::<Fake>();
    iommu.attach(STREAMS[0], one).unwrap();
    let whole = {
        let before = fake.device().power.accesses;
        iommu.recover().unwrap();
        fake.device().power.accesses - before
    };
    for lives in 0..whole {
        fake.device().power.lives = Some(lives);
        let _ = iommu.recover();
        assert!(fake.device().is_on(), "after {lives} accesses");
        assert!(fake.read_of(STREAMS[1], 0x5000).is_err());
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
    let (fake, mut iommu, [one, _]) = start::<Fake>();
    {
        let mut device = fake.device();
        let control = device.get(0x18);
        device.set(0x18, control & !1);
        device.set(0x2000, 0x40);
    }
    let error = iommu.invalidate(one, &Invalidation::Everything).unwrap_err();
    assert_eq!(error.to_string(), "iommu test: the IOMMU was reset");
}
