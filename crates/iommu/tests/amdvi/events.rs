//! The event log: what events say, and what they must not do.

use crate::domains::domain;
use crate::fake::{Fake, Leads, STREAMS, config};
use proptest::prelude::*;
use vcm::{FaultAccess, FaultReason, FaultState};
use vcm_iommu::amdvi::{Config, Interrupts};
use vcm_iommu::{FaultRecord, Iommu, StreamId};

const ROOT: u64 = 0x9000_0000;
const STATUS: u32 = 0x2020;

#[test]
fn events_say_who_where_what_and_why() {
    let fake = Fake::new();
    let mut iommu = fake.probe(config());
    let id = domain(&fake, &mut iommu, ROOT, 5, 0x111);
    fake.device().tables.insert((ROOT, 6), Leads { to: 0x222, access: 1 });
    iommu.attach(STREAMS[0], id).unwrap();
    fake.device().access(STREAMS[0].0, 0x6008, true).unwrap_err();
    fake.read_of(STREAMS[0], 0x7000).unwrap_err();
    fake.device().access(STREAMS[1].0, 0x8000, true).unwrap_err();
    let first = FaultRecord {
        stream: STREAMS[0],
        substream: None,
        address: 0x6008,
        access: FaultAccess::Write,
        reason: FaultReason::Permission,
        state: FaultState::Terminated,
        name: "IO_PAGE_FAULT",
        code: 2,
        stall: None,
    };
    assert_eq!(iommu.next_fault(), Ok(Some(first)));
    let rest = [
        "translation fault (IO_PAGE_FAULT): read of stream 0x10 at 0x7000, terminated",
        "no-context fault (IO_PAGE_FAULT): write of stream 0x11 at 0x8000, terminated",
    ];
    for text in rest {
        assert_eq!(iommu.next_fault().unwrap().unwrap().to_string(), text);
    }
    assert_eq!(iommu.next_fault(), Ok(None));
}

#[test]
fn every_kind_of_event() {
    let fake = Fake::new();
    let mut iommu = fake.probe(config());
    let id = domain(&fake, &mut iommu, ROOT, 5, 0x111);
    iommu.attach(STREAMS[0], id).unwrap();
    let cases: [(u64, u64, FaultReason, FaultAccess, u64); 8] = [
        (1, 1 << 55 | 1 << 53, FaultReason::Configuration, FaultAccess::Write, 0x1234),
        (2, 1 << 55, FaultReason::Configuration, FaultAccess::Read, 0x1234),
        (2, 1 << 52 | 1 << 53, FaultReason::Permission, FaultAccess::Write, 0x1234),
        (2, 0, FaultReason::Translation, FaultAccess::Read, 0x1234),
        (3, 0, FaultReason::TableWalk, FaultAccess::Read, 0),
        (4, 1 << 53, FaultReason::TableWalk, FaultAccess::Write, 0),
        (8, 0, FaultReason::Permission, FaultAccess::Read, 0x1234),
        (15, 0, FaultReason::Bus, FaultAccess::Read, 0),
    ];
    for (code, flags, reason, access, address) in cases {
        fake.device().log(code << 60 | flags | 0x10, 0x1234);
        let fault = iommu.next_fault().unwrap().unwrap();
        assert_eq!((fault.reason, fault.access, fault.address), (reason, access, address), "{code}");
        assert_eq!((fault.stream, fault.code, fault.substream), (StreamId(0x10), code as u32, None));
    }
    // A process id.
    fake.device().log(2 << 60 | 1 << 48 | 0xbcde << 32 | 0xa << 16 | 0x10, 0);
    assert_eq!(iommu.next_fault().unwrap().unwrap().substream, Some(0xabcde));
    // Commands and counters are no transactions.
    for code in [5, 6, 7, 10] {
        fake.device().log(code << 60, 0x1234);
    }
    assert_eq!((iommu.next_fault(), iommu.command_errors()), (Ok(None), 3));
}

#[test]
fn an_overflow_is_counted_and_logging_goes_on() {
    let fake = Fake::new();
    let mut iommu = fake.probe(Config { interrupts: Interrupts::On, ..config() });
    for round in 1..=4 {
        for at in 0..260 {
            fake.read_of(STREAMS[0], at << 12).unwrap_err();
        }
        assert_eq!(fake.device().get(STATUS) & 0xb, 3, "overflow, interrupt, not running");
        for at in 0..255 {
            assert_eq!(iommu.next_fault().unwrap().unwrap().address, at << 12);
        }
        assert_eq!(iommu.next_fault(), Ok(None));
        assert_eq!(iommu.fault_overflows(), round);
        assert_eq!(fake.device().get(STATUS) & 0xb, 8, "running, and the interrupt is acknowledged");
        assert_eq!(fake.device().get(0x18), 0x100d);
    }
}

#[test]
fn an_event_that_comes_late_is_waited_for() {
    let fake = Fake::new();
    let mut iommu = fake.probe(config());
    fake.device().late = 15;
    fake.read_of(STREAMS[0], 0x5000).unwrap_err();
    assert_eq!(iommu.next_fault().unwrap().unwrap().address, 0x5000);
    // But not for ever: it counts as lost, and what follows is seen.
    fake.device().late = 1000;
    fake.read_of(STREAMS[0], 0x6000).unwrap_err();
    fake.device().late = 0;
    fake.read_of(STREAMS[0], 0x7000).unwrap_err();
    assert_eq!(iommu.next_fault().unwrap().unwrap().address, 0x7000);
    assert_eq!((iommu.next_fault(), iommu.fault_overflows()), (Ok(None), 1));
}

/// A device that announces a log full of events and writes none does not keep the driver for all of them.
#[test]
fn events_that_never_come_share_one_wait() {
    let fake = Fake::new();
    let mut iommu = fake.probe(Config { polls: 1000, ..config() });
    fake.device().set(0x2018, 200 * 16);
    fake.device().memory_reads = 0;
    assert_eq!((iommu.next_fault(), iommu.fault_overflows()), (Ok(None), 200));
    let reads = fake.device().memory_reads;
    assert!(reads < 1000 + 3 * 200, "{reads} reads of memory");
}

#[test]
fn a_tail_beyond_the_log_and_a_log_that_is_off() {
    let fake = Fake::new();
    let mut iommu = fake.probe(config());
    fake.device().set(0x2018, 0x1000);
    assert_eq!(iommu.next_fault().unwrap_err().to_string(), "iommu test: the event tail is beyond the log");
    fake.device().set(0x2018, u64::MAX);
    assert_eq!(iommu.next_fault().unwrap_err().to_string(), "iommu test: registers read all ones");
    fake.device().set(0x2018, 0);
    fake.device().set(STATUS, 0);
    assert_eq!(iommu.next_fault().unwrap_err().to_string(), "iommu test: events are not logged");
    iommu.recover().unwrap();
    assert_eq!(iommu.next_fault(), Ok(None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn garbage_is_reported_once_and_does_no_harm(
        events in proptest::collection::vec(any::<[u64; 2]>(), 1..250),
        tail in 0..256_u64,
    ) {
        let fake = Fake::new();
        let mut iommu = fake.probe(config());
        {
            let mut device = fake.device();
            let base = device.get(0x10) & 0xf_ffff_ffff_f000;
            for (event, index) in events.iter().zip(0..) {
                device.memory.set_word(base + index * 16, event[0]);
                device.memory.set_word(base + index * 16 + 8, event[1]);
            }
            // Bits that are no offset are not looked at.
            device.set(0x2018, (tail * 16) | 0xf);
        }
        let mut count = 0;
        while let Some(fault) = iommu.next_fault().unwrap() {
            let _ = fault.to_string();
            count += 1;
        }
        prop_assert!(count <= tail);
        prop_assert_eq!(fake.device().get(0x2010), tail * 16);
    }
}
