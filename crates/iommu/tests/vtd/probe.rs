//! What probing finds and refuses.

use crate::fake::{CAP, DEVICE, ECAP, Fake, GONE, NO_QUEUE, SCALABLE, config};
use vcm_iommu::vtd::{Config, Mode, Vtd};
use vcm_iommu::{Iommu, ProbeError, TableFormat, Way};

fn refused(cap: u64, ecap: u64, config: Config) -> ProbeError {
    let fake = Fake::new(cap, ecap);
    let error = Vtd::probe(fake.clone(), fake.clone(), config).map(drop).unwrap_err();
    assert_eq!(fake.get().memory.live(), 0, "{error}");
    assert!(!fake.get().unit.translates());
    error
}

#[test]
fn nothing_there_is_told_from_a_unit() {
    for silence in [0, GONE] {
        let fake = Fake::new(CAP, ECAP);
        fake.get().unit.lives = Some(0);
        fake.get().unit.silence = silence;
        let error = Vtd::probe(fake.clone(), fake.clone(), config(Mode::Legacy)).map(drop).unwrap_err();
        let ProbeError::Absent { register: "VER", found, .. } = error else { panic!("{error}") };
        assert_eq!(found, u64::from(silence));
    }
}

#[test]
fn what_the_driver_cannot_drive_is_refused_before_anything_is_touched() {
    let legacy = config(Mode::Legacy);
    for (cap, ecap, config) in [
        // Caching mode.
        (CAP | 1 << 7, ECAP, legacy),
        // No fault records.
        (CAP & !(0x3ff << 24), ECAP, legacy),
        // Nothing to invalidate with.
        (CAP, ECAP & !(1 << 1) & !(0x3ff << 8), legacy),
        // No tables to walk.
        (CAP & !(0x1f << 8), ECAP, legacy),
        // No scalable mode, or none without a queue.
        (CAP, ECAP, config(Mode::Scalable)),
        (CAP, SCALABLE & !(1 << 1), config(Mode::Scalable)),
        // A physical address of no width that there is.
        (CAP, ECAP, legacy.with_host_bits(64)),
    ] {
        assert!(matches!(refused(cap, ecap, config), ProbeError::Unknown { .. }), "{cap:#x} {ecap:#x}");
    }
    assert!(matches!(refused(CAP, u64::MAX, legacy), ProbeError::Absent { register: "ECAP", .. }));
    assert!(matches!(refused(u64::MAX, ECAP, legacy), ProbeError::Absent { register: "CAP", .. }));
}

#[test]
fn the_mode_is_scalable_where_there_is_one() {
    for (ecap, mode) in [(NO_QUEUE, Mode::Legacy), (ECAP, Mode::Legacy), (SCALABLE, Mode::Scalable)] {
        let vtd = Fake::new(CAP, ecap).probe(Config::new("dmar0"));
        assert_eq!(vtd.mode(), mode);
    }
}

#[test]
fn formats_are_those_that_the_hardware_tells() {
    let second = |levels| TableFormat::VtdSecondStage { levels };
    let first = |levels| TableFormat::VtdFirstStage { levels };
    let formats = [second(3), second(4), second(5), first(4), first(5)];
    let no_five = CAP & !(1 << 60) & !(0b1010 << 8);
    for (cap, ecap, mode, expected) in [
        (CAP, ECAP, Mode::Legacy, [true, true, true, false, false]),
        (CAP, SCALABLE, Mode::Legacy, [true, true, true, false, false]),
        (CAP, SCALABLE, Mode::Scalable, [true, true, true, true, true]),
        (no_five, SCALABLE, Mode::Scalable, [false, true, false, true, false]),
        (CAP, SCALABLE & !(1 << 46), Mode::Scalable, [false, false, false, true, true]),
        (CAP, SCALABLE & !(1 << 47), Mode::Scalable, [true, true, true, false, false]),
    ] {
        let vtd = Fake::new(cap, ecap).probe(config(mode));
        assert_eq!(formats.map(|format| vtd.supports(format)), expected, "{cap:#x} {ecap:#x}");
        let Way::Tables(preferred) = vtd.preferred() else { panic!("{:?}", vtd.preferred()) };
        assert!(vtd.supports(preferred));
        for levels in [0, 1, 2, 6, 7, 255] {
            assert!(!vtd.supports(second(levels)) && !vtd.supports(first(levels)));
        }
    }
}

#[test]
fn limits_are_those_that_the_hardware_tells() {
    let sizes = |cap, ecap, mode| Fake::new(cap, ecap).probe(config(mode)).limits().page_sizes.mask();
    let all = 1 << 12 | 1 << 21 | 1 << 30;
    assert_eq!(sizes(CAP, ECAP, Mode::Legacy), all);
    assert_eq!(sizes(CAP & !(0xf << 34), ECAP, Mode::Legacy), 1 << 12);
    assert_eq!(sizes(CAP & !(2 << 34), ECAP, Mode::Legacy), 1 << 12 | 1 << 21);
    assert_eq!(sizes(CAP & !(1 << 56), SCALABLE, Mode::Scalable), 1 << 12 | 1 << 21);
    assert_eq!(sizes(CAP & !(1 << 56), SCALABLE, Mode::Legacy), all);
    let vtd = Fake::new(CAP, ECAP).probe(config(Mode::Legacy).with_host_bits(46));
    assert_eq!((vtd.limits().input_bits, vtd.limits().output_bits), (57, 46));
}

#[test]
fn everyone_is_blocked_after_probing() {
    for (ecap, mode) in [(NO_QUEUE, Mode::Legacy), (ECAP, Mode::Legacy), (SCALABLE, Mode::Scalable)] {
        let fake = Fake::new(CAP, ecap);
        let mut vtd = fake.probe(config(mode));
        assert!(fake.get().unit.translates());
        assert_eq!(fake.read(DEVICE.0 as u16, 0x1000), None);
        assert_eq!(vtd.next_fault().unwrap().unwrap().stream, DEVICE);
    }
}

#[test]
fn faults_from_before_the_driver_are_not_reported() {
    let fake = Fake::new(CAP, ECAP);
    for _ in 0..9 {
        fake.get().unit.record(0x1000, 0x10 | 2 << 32);
    }
    let mut vtd = fake.probe(config(Mode::Legacy));
    assert_eq!(vtd.next_fault(), Ok(None));
    assert_eq!(vtd.fault_overflows(), 0);
}

#[test]
fn translation_that_firmware_left_on_stays_on_but_for_another_mode() {
    for (mode, kept) in [(Mode::Legacy, true), (Mode::Scalable, false)] {
        let fake = Fake::new(CAP, SCALABLE);
        let first = fake.probe(config(Mode::Legacy));
        drop(first);
        // Told by whether translation was ever off: hardware that does not follow TE can only be left as it is.
        fake.get().unit.deaf_to = 1 << 31;
        let again = Vtd::probe(fake.clone(), fake.clone(), config(mode));
        assert_eq!(again.is_ok(), kept, "{mode:?}");
    }
}
