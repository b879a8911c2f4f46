//! Events, global errors and stalls.

use crate::fake::{BOTH_STAGES, Bench, Fetched, Hardware, bench, by, config, stage1, stage2, try_bench};
use vcm::{Answer, FaultAccess, FaultReason, FaultState};
use vcm_iommu::smmuv3::{Config, Stalls};
use vcm_iommu::{Feature, Iommu, IommuError, Stall, StreamId};

const STREAM: u64 = 0x2a;
const READ: u64 = 1 << 35;
const INSTRUCTION: u64 = 1 << 34;

fn record(bench: &Bench, first: u64, second: u64, third: u64) {
    bench.hardware.borrow_mut().record([first | STREAM << 32, second, third, 0]);
}

#[test]
fn every_kind_is_decoded() {
    use FaultReason as Reason;
    let kinds = [
        (0x01, "F_UUT", Reason::Configuration, Some(7)),
        (0x02, "C_BAD_STREAMID", Reason::NoContext, None),
        (0x03, "F_STE_FETCH", Reason::TableWalk, None),
        (0x04, "C_BAD_STE", Reason::NoContext, None),
        (0x05, "F_BAD_ATS_TREQ", Reason::Configuration, Some(7)),
        (0x06, "F_STREAM_DISABLED", Reason::Configuration, None),
        (0x07, "F_TRANSL_FORBIDDEN", Reason::Permission, Some(7)),
        (0x08, "C_BAD_SUBSTREAMID", Reason::Configuration, None),
        (0x09, "F_CD_FETCH", Reason::TableWalk, None),
        (0x0a, "C_BAD_CD", Reason::Configuration, None),
        (0x0b, "F_WALK_EABT", Reason::TableWalk, Some(7)),
        (0x10, "F_TRANSLATION", Reason::Translation, Some(7)),
        (0x11, "F_ADDR_SIZE", Reason::AddressSize, Some(7)),
        (0x12, "F_ACCESS", Reason::AccessFlag, Some(7)),
        (0x13, "F_PERMISSION", Reason::Permission, Some(7)),
        (0x20, "F_TLB_CONFLICT", Reason::TlbConflict, Some(7)),
        (0x21, "F_CFG_CONFLICT", Reason::Configuration, None),
        (0x25, "F_VMS_FETCH", Reason::TableWalk, None),
        (0x00, "unknown event", Reason::Configuration, None),
        (0xff, "unknown event", Reason::Configuration, None),
    ];
    let mut bench = bench();
    for (code, name, reason, address) in kinds {
        record(&bench, code, READ, 7);
        let fault = bench.smmu.next_fault().unwrap().unwrap();
        assert_eq!((fault.name, fault.code, fault.reason), (name, code as u32, reason));
        assert_eq!((fault.stream, fault.address), (StreamId(STREAM as u32), address.unwrap_or(0)));
        assert_eq!((fault.access, fault.state), (FaultAccess::Read, FaultState::Terminated));
        assert_eq!((fault.substream, fault.stall), (None, None));
    }
    assert_eq!(bench.smmu.statistics().unknown_events, 2);
    assert_eq!(bench.smmu.statistics().faults, kinds.len() as u64);
    assert_eq!(bench.smmu.next_fault().unwrap(), None);
}

#[test]
fn the_access_and_the_substream_are_told() {
    let mut bench = bench();
    for (detail, access) in [
        (0, FaultAccess::Write),
        (READ, FaultAccess::Read),
        (READ | INSTRUCTION, FaultAccess::Execute),
        (INSTRUCTION, FaultAccess::Write),
    ] {
        record(&bench, 0x13 | 1 << 11 | 0xabcde << 12, detail, u64::MAX);
        let fault = bench.smmu.next_fault().unwrap().unwrap();
        assert_eq!((fault.access, fault.substream, fault.address), (access, Some(0xabcde), u64::MAX));
    }
    record(&bench, 0x10, READ, 0x1000);
    let fault = bench.smmu.next_fault().unwrap().unwrap();
    assert_eq!(
        fault.to_string(),
        "translation fault (F_TRANSLATION): read of stream 0x2a at 0x1000, terminated"
    );
}

#[test]
fn an_invalid_entry_of_an_attached_stream_is_a_mistake_in_configuration() {
    let mut bench = bench();
    let domain = bench.smmu.create_domain(by(stage1(0x1000))).unwrap();
    bench.smmu.attach(StreamId(STREAM as u32), domain).unwrap();
    record(&bench, 0x04, 0, 0);
    assert_eq!(bench.smmu.next_fault().unwrap().unwrap().reason, FaultReason::Configuration);
}

#[test]
fn the_queue_wraps_overflows_is_counted_and_goes_on() {
    let mut bench = bench();
    for round in 1..=20 {
        for address in 0..11 {
            record(&bench, 0x10, READ, address);
        }
        for address in 0..8 {
            assert_eq!(bench.smmu.next_fault().unwrap().unwrap().address, address);
        }
        assert_eq!(bench.smmu.next_fault().unwrap(), None);
        assert_eq!(bench.smmu.fault_overflows(), round);
        let hardware = bench.hardware.borrow();
        assert_eq!(hardware.get(0x1_00a8), hardware.get(0x1_00ac), "the overflow is acknowledged");
    }
}

#[test]
fn an_overflow_is_acknowledged_even_when_all_was_read() {
    let mut bench = bench();
    let flipped = bench.hardware.borrow().get(0x1_00a8) ^ 1 << 31;
    bench.hardware.borrow_mut().set(0x1_00a8, flipped);
    assert_eq!(bench.smmu.next_fault().unwrap(), None);
    assert_eq!(bench.smmu.fault_overflows(), 1);
    assert_eq!(bench.hardware.borrow().get(0x1_00ac), flipped);
}

#[test]
fn indices_that_make_no_sense_are_an_error_and_nothing_is_read() {
    for garbage in [u32::MAX, 0x10, 0x9, 0xf_ffff, 0x8000_0100] {
        let mut bench = bench();
        bench.hardware.borrow_mut().set(0x1_00a8, garbage);
        let error = bench.smmu.next_fault().unwrap_err();
        assert_eq!(error.what, "EVENTQ_PROD makes no sense", "{garbage:#x}");
        bench.smmu.recover().unwrap();
        record(&bench, 0x10, 0, 1);
        assert_eq!(bench.smmu.next_fault().unwrap().unwrap().address, 1);
    }
}

#[test]
fn hints_are_counted_and_passed_over_but_not_for_ever() {
    let mut bench = bench();
    for _ in 0..5 {
        record(&bench, 0x24, 0, 0);
    }
    record(&bench, 0x10, 0, 1);
    assert_eq!(bench.smmu.next_fault().unwrap().unwrap().address, 1);
    assert_eq!(bench.smmu.statistics().hints, 5);
}

#[test]
fn global_errors_are_counted_and_acknowledged() {
    let mut bench = bench();
    for (bit, aborts, others) in [(2, 1, 0), (3, 1, 1), (4, 1, 2), (5, 1, 3), (6, 1, 4), (7, 1, 5), (2, 2, 5)]
    {
        let raised = bench.hardware.borrow().get(0x60) ^ 1 << bit;
        bench.hardware.borrow_mut().set(0x60, raised);
        assert_eq!(bench.smmu.next_fault().unwrap(), None);
        let statistics = bench.smmu.statistics();
        assert_eq!((statistics.event_aborts, statistics.other_errors), (aborts, others), "bit {bit}");
        assert_eq!(bench.hardware.borrow().get(0x64), raised);
    }
    assert_eq!(bench.smmu.fault_overflows(), 2, "an event that could not be written is lost");

    let raised = bench.hardware.borrow().get(0x60) ^ 1 << 8;
    bench.hardware.borrow_mut().set(0x60, raised);
    assert_eq!(bench.smmu.next_fault().unwrap_err().what, "service failure mode");
    bench.smmu.recover().unwrap();
    assert_eq!(bench.smmu.next_fault().unwrap(), None);
}

fn stalling(idr0: u32, stalls: Stalls) -> Bench {
    let mut hardware = Hardware::new();
    hardware.set(0, idr0);
    try_bench(hardware, Config { stalls, ..config() }).unwrap()
}

#[test]
fn a_stalled_transaction_is_answered_once() {
    let mut bench = stalling(BOTH_STAGES, Stalls::WherePossible);
    for (tag, answer, code) in [(7, Answer::Retry, 1), (8, Answer::Terminate, 2)] {
        bench.hardware.borrow_mut().stalled.insert((STREAM as u32, tag));
        record(&bench, 0x10, u64::from(tag) | 1 << 31, 0x5000);
        let fault = bench.smmu.next_fault().unwrap().unwrap();
        let stall = Stall { stream: StreamId(STREAM as u32), tag };
        assert_eq!((fault.state, fault.stall), (FaultState::Stalled, Some(stall)));
        bench.smmu.answer(stall, answer).unwrap();
        assert_eq!(bench.hardware.borrow_mut().answered.pop(), Some((STREAM as u32, tag, code)));
        assert_eq!(bench.smmu.answer(stall, answer), Err(IommuError::NotStalled(stall.stream)));
    }
}

#[test]
fn leaving_a_domain_ends_what_waits() {
    let mut bench = stalling(BOTH_STAGES, Stalls::WherePossible);
    let stream = StreamId(STREAM as u32);
    let domain = bench.smmu.create_domain(by(stage2(0x2000))).unwrap();
    bench.smmu.attach(stream, domain).unwrap();
    assert!(matches!(bench.hardware.borrow_mut().access(stream.0, 0), Fetched::Translate { .. }));
    bench.hardware.borrow_mut().stalled.insert((stream.0, 1));
    record(&bench, 0x10, 1 | 1 << 31, 0);
    let stall = bench.smmu.next_fault().unwrap().unwrap().stall.unwrap();
    bench.smmu.detach(stream).unwrap();
    assert!(bench.hardware.borrow().stalled.is_empty());
    assert_eq!(bench.smmu.answer(stall, Answer::Retry), Err(IommuError::NotStalled(stream)));
}

#[test]
fn more_stalls_than_there_can_be_are_not_remembered() {
    let mut bench = stalling(BOTH_STAGES, Stalls::WherePossible);
    for tag in 0..5 {
        record(&bench, 0x10, tag | 1 << 31, 0);
    }
    let states: Vec<_> = (0..5).map(|_| bench.smmu.next_fault().unwrap().unwrap().state).collect();
    use FaultState::{Stalled, Terminated};
    assert_eq!(states, [Stalled, Stalled, Terminated, Terminated, Terminated], "IDR5.STALL_MAX is 2");
    assert_eq!(bench.smmu.statistics().stalls_given_up, 3);
}

#[test]
fn the_stall_model_of_the_hardware_decides() {
    let never = BOTH_STAGES | 1 << 24;
    let always = BOTH_STAGES | 2 << 24;
    for (idr0, stalls, stalling_model) in [
        (BOTH_STAGES, Stalls::Terminate, false),
        (BOTH_STAGES, Stalls::WherePossible, true),
        (never, Stalls::WherePossible, false),
        (always, Stalls::Terminate, true),
    ] {
        let mut bench = self::stalling(idr0, stalls);
        for (stream, tables) in [(1, stage1(0x1000)), (2, stage2(0x2000))] {
            let domain = bench.smmu.create_domain(by(tables)).unwrap();
            bench.smmu.attach(StreamId(stream), domain).unwrap();
            // The fake refuses structures with the stall bits that its model forbids.
            assert!(matches!(bench.hardware.borrow_mut().access(stream, 0), Fetched::Translate { .. }));
            bench.smmu.detach(StreamId(stream)).unwrap();
        }
        let stall = Stall { stream: StreamId(1), tag: 0 };
        let refused = bench.smmu.answer(stall, Answer::Retry).unwrap_err();
        let expected = if stalling_model {
            IommuError::NotStalled(StreamId(1))
        } else {
            IommuError::NotSupported(Feature::Stalls)
        };
        assert_eq!(refused, expected);
        assert_eq!(bench.smmu.statistics().refused_commands, 0);
    }
    // Hardware that cannot stall and says that something does is not believed.
    let mut bench = stalling(never, Stalls::Terminate);
    record(&bench, 0x10, 1 << 31, 0);
    assert_eq!(bench.smmu.next_fault().unwrap().unwrap().state, FaultState::Terminated);
}
