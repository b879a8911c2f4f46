//! Faults, and registers of faults that make no sense.

use crate::fake::{
    CAP, DEVICE, ECAP, Fake, GONE, OTHER, SCALABLE, USER_PAGE, config, first_stage, second_stage,
};
use std::collections::BTreeSet;
use vcm::{FaultAccess, FaultReason, FaultState};
use vcm_iommu::vtd::{BlockedReason, Event, Mode, spec};
use vcm_iommu::{Iommu, StreamId};

const SID: u16 = DEVICE.0 as u16;

#[test]
fn a_fault_tells_who_where_what_and_why() {
    let fake = Fake::new(CAP, ECAP);
    let mut vtd = fake.probe(config(Mode::Legacy));
    let root = fake.table();
    fake.map(root, 4, 0x1000, 0x8000, 1);
    let domain = vtd.create_domain(second_stage(root, 4)).unwrap();
    assert_eq!(fake.read(SID, 0x1234), None);
    vtd.attach(DEVICE, domain).unwrap();
    for (address, write, page, access, reason, code) in [
        (0x1234, true, 0x1000, FaultAccess::Write, FaultReason::Permission, 5),
        (0x7fff_1234, false, 0x7fff_1000, FaultAccess::Read, FaultReason::Permission, 6),
        (1 << 48, false, 1 << 48, FaultAccess::Read, FaultReason::AddressSize, 4),
    ] {
        assert_eq!(if write { fake.write(SID, address) } else { fake.read(SID, address) }, None);
        let mut fault = vtd.next_fault().unwrap().unwrap();
        if fault.reason == FaultReason::NoContext {
            assert_eq!((fault.stream, fault.address, fault.code), (DEVICE, 0x1000, 1));
            fault = vtd.next_fault().unwrap().unwrap();
        }
        assert_eq!((fault.stream, fault.address, fault.access), (DEVICE, page, access));
        assert_eq!((fault.reason, fault.code, fault.state), (reason, code, FaultState::Terminated));
        assert_eq!(fault.substream, None);
        assert_eq!(vtd.next_fault(), Ok(None));
    }
}

#[test]
fn the_first_stage_tells_missing_from_forbidden() {
    let fake = Fake::new(CAP, SCALABLE);
    let mut vtd = fake.probe(config(Mode::Scalable));
    let root = fake.table();
    fake.map(root, 4, 0x1000, 0x8000, USER_PAGE & !2);
    let domain = vtd.create_domain(first_stage(root, 4)).unwrap();
    vtd.attach(DEVICE, domain).unwrap();
    fake.write(SID, 0x1000);
    fake.read(SID, 0x2000);
    fake.read(SID, 1 << 47);
    let reasons = [(); 3].map(|()| vtd.next_fault().unwrap().unwrap().reason);
    assert_eq!(reasons, [FaultReason::Permission, FaultReason::Translation, FaultReason::AddressSize]);
}

#[test]
fn faults_come_in_order_around_the_registers() {
    let fake = Fake::new(CAP, ECAP);
    let mut vtd = fake.probe(config(Mode::Legacy));
    let mut at = 0;
    // Four registers; between one and four faults at a time.
    for count in [1, 4, 3, 2, 4, 1, 1, 4, 3, 3] {
        for step in 0..count {
            fake.read(SID, (at + step) << 12);
        }
        for _ in 0..count {
            assert_eq!(vtd.next_fault().unwrap().unwrap().address, at << 12);
            at += 1;
        }
        assert_eq!(vtd.next_fault(), Ok(None));
    }
    assert_eq!(vtd.fault_overflows(), 0);
}

#[test]
fn faults_that_arrive_while_others_are_fetched_follow_them() {
    let fake = Fake::new(CAP, ECAP);
    let mut vtd = fake.probe(config(Mode::Legacy));
    fake.read(SID, 0x1000);
    fake.read(SID, 0x2000);
    for at in 1..50_u64 {
        assert_eq!(vtd.next_fault().unwrap().unwrap().address, at << 12);
        fake.read(SID, (at + 2) << 12);
    }
}

#[test]
fn an_overflow_is_counted_once_and_recording_goes_on() {
    let fake = Fake::new(CAP, ECAP);
    let mut vtd = fake.probe(config(Mode::Legacy));
    for round in 1..4 {
        for at in 0..9 {
            fake.read(SID, at << 12);
        }
        for at in 0..4 {
            assert_eq!(vtd.next_fault().unwrap().unwrap().address, at << 12);
        }
        assert_eq!(vtd.next_fault(), Ok(None));
        assert_eq!(vtd.next_fault(), Ok(None));
        assert_eq!(vtd.fault_overflows(), round);
    }
}

#[test]
fn registers_that_contradict_each_other_are_an_error_not_a_loop() {
    let fake = Fake::new(CAP, ECAP);
    let mut vtd = fake.probe(config(Mode::Legacy));
    // A pending fault that no register holds.
    fake.get().unit.fsts = 2 | 3 << 8;
    vtd.next_fault().unwrap_err();
    // An index beyond the registers.
    fake.get().unit.fsts = 0;
    fake.read(SID, 0x1000);
    fake.get().unit.fsts |= 0xff00;
    assert_eq!(vtd.next_fault().unwrap().unwrap().address, 0x1000);
    assert_eq!(vtd.next_fault(), Ok(None));
    // A unit that vanishes while it is read.
    for lives in 0..6 {
        fake.read(SID, 0x2000);
        fake.get().unit.lives = Some(lives);
        fake.get().unit.silence = GONE;
        let fetched = vtd.next_fault();
        assert!(fetched.is_err() || lives >= 6, "{fetched:?}");
        fake.get().unit.lives = None;
        assert_eq!(vtd.next_fault().unwrap().unwrap().address, 0x2000);
        assert_eq!(vtd.next_fault(), Ok(None));
    }
}

#[test]
fn every_record_decodes_to_something() {
    let fake = Fake::new(CAP, SCALABLE);
    let mut vtd = fake.probe(config(Mode::Scalable));
    let mut named = BTreeSet::new();
    for code in 0..=255_u64 {
        for kind in 0..16 {
            let (t1, t2, execute, present) = (kind & 1, kind >> 1 & 1, kind >> 2 & 1, kind >> 3 & 1);
            let high = u64::from(OTHER.0) | code << 32 | t1 << 62 | t2 << 28 | execute << 30 | present << 31;
            fake.get().unit.record(0x0123_4567_89ab_c000, high | 0x5_4321 << 40);
            let Some(event) = vtd.next_event().unwrap() else { panic!("nothing recorded") };
            match event {
                Event::Fault(fault) => {
                    assert!(!(0x20..=0x26).contains(&code));
                    assert_eq!((fault.stream, u64::from(fault.code)), (OTHER, code));
                    assert_eq!(fault.address, 0x0123_4567_89ab_c000);
                    assert_eq!(fault.substream, (present == 1).then_some(0x5_4321));
                    let access = match (t1, t2, execute) {
                        (0, ..) | (1, 1, _) => FaultAccess::Write,
                        (_, _, 1) => FaultAccess::Execute,
                        _ => FaultAccess::Read,
                    };
                    assert_eq!(fault.access, access);
                    if fault.name != "unknown fault reason" {
                        named.insert(code);
                    }
                }
                Event::BlockedInterrupt(blocked) => {
                    assert!((0x20..=0x26).contains(&code));
                    assert_eq!(
                        (blocked.stream, blocked.index, u64::from(blocked.code)),
                        (OTHER, 0x0123, code)
                    );
                    named.insert(code);
                }
            }
        }
    }
    assert_eq!(named.len(), spec::FAULT_CODES.len() + spec::INTERRUPT_FAULT_CODES.len(), "codes are unique");
}

#[test]
fn a_blocked_interrupt_is_a_refused_write_to_those_who_do_not_care() {
    let fake = Fake::new(CAP, ECAP);
    let mut vtd = fake.probe(config(Mode::Legacy));
    for (code, reason, blocked) in [
        (0x20, FaultReason::Configuration, BlockedReason::Malformed),
        (0x21, FaultReason::Translation, BlockedReason::NoEntry),
        (0x22, FaultReason::Translation, BlockedReason::NoEntry),
        (0x25, FaultReason::Permission, BlockedReason::CompatibilityFormat),
        (0x26, FaultReason::Permission, BlockedReason::OtherRequester),
    ] {
        fake.get().unit.record(7 << 48, 0x10 | code << 32);
        let fault = vtd.next_fault().unwrap().unwrap();
        assert_eq!((fault.stream, fault.address, fault.reason), (StreamId(0x10), 0xfee0_0000, reason));
        assert_eq!(fault.access, FaultAccess::Write);
        fake.get().unit.record(7 << 48, 0x10 | code << 32);
        let event = vtd.next_event().unwrap();
        let Some(Event::BlockedInterrupt(found)) = event else { panic!("{event:?}") };
        assert_eq!((found.reason, found.index), (blocked, 7));
    }
}
