//! The fault queue: what records say, and what they must not do.

use crate::domains::domain;
use crate::fake::{Fake, STREAMS, config};
use proptest::prelude::*;
use vcm::{FaultAccess, FaultReason, FaultState};
use vcm_iommu::riscv::{Config, Interrupts};
use vcm_iommu::{FaultRecord, Iommu, StreamId};

#[test]
fn records_say_who_where_what_and_why() {
    let fake = Fake::new();
    let mut iommu = fake.probe(config());
    let id = domain(&fake, &mut iommu, 0x9000_0000, 5, 0x111);
    iommu.attach(STREAMS[2], id).unwrap();
    fake.device().access(STREAMS[2].0, 0x6008, true).unwrap_err();
    fake.read_of(STREAMS[0], 0x7000).unwrap_err();
    let first = FaultRecord {
        stream: STREAMS[2],
        substream: None,
        address: 0x6008,
        access: FaultAccess::Write,
        reason: FaultReason::Translation,
        state: FaultState::Terminated,
        name: "write page fault",
        code: 15,
        stall: None,
    };
    assert_eq!(iommu.next_fault(), Ok(Some(first)));
    let second = iommu.next_fault().unwrap().unwrap();
    assert_eq!(
        second.to_string(),
        "no-context fault (DDT entry not valid): read of stream 0x10 at 0x7000, terminated"
    );
    assert_eq!(iommu.next_fault(), Ok(None));
}

#[test]
fn causes_and_types() {
    let cases = [
        (1, 2, FaultAccess::Execute, FaultReason::TableWalk),
        (5, 3, FaultAccess::Read, FaultReason::TableWalk),
        (12, 1, FaultAccess::Execute, FaultReason::Translation),
        // As QEMU reports a read.
        (13, 3, FaultAccess::Read, FaultReason::Translation),
        (23, 3, FaultAccess::Write, FaultReason::Translation),
        (256, 3, FaultAccess::Write, FaultReason::NoContext),
        (257, 2, FaultAccess::Read, FaultReason::TableWalk),
        (258, 7, FaultAccess::Write, FaultReason::NoContext),
        (259, 5, FaultAccess::Execute, FaultReason::Configuration),
        (260, 8, FaultAccess::Read, FaultReason::NoContext),
        (272, 2, FaultAccess::Read, FaultReason::Bus),
        (4095, 63, FaultAccess::Read, FaultReason::Bus),
    ];
    let fake = Fake::new();
    let mut iommu = fake.probe(config());
    for (cause, kind, access, reason) in cases {
        fake.device().record([cause | kind << 34 | 0xabc << 40, 0, 0x1234, 0]);
        let fault = iommu.next_fault().unwrap().unwrap();
        assert_eq!((fault.access, fault.reason, fault.address), (access, reason, 0x1234), "cause {cause}");
        assert_eq!((fault.stream, fault.code), (StreamId(0xabc), cause as u32));
    }
    // A process id; and what carries no address of the stream.
    fake.device().record([13 | 0x5a5a5 << 12 | 1 << 32 | 2 << 34, 0, 7, 0]);
    assert_eq!(iommu.next_fault().unwrap().unwrap().substream, Some(0x5a5a5));
    for kind in [0, 9] {
        fake.device().record([273 | kind << 34, 0, 7, 0]);
        assert_eq!(iommu.next_fault().unwrap().unwrap().address, 0);
    }
}

#[test]
fn an_overflow_is_counted_and_the_queue_goes_on() {
    for faults_log2 in [0, 2, 5] {
        let fake = Fake::new();
        let interrupts = Interrupts::Wired;
        let mut iommu = fake.probe(Config { faults_log2, interrupts, ..config() });
        let room = (1 << faults_log2.max(2)) - 1;
        for round in 1..=4 {
            for at in 0..room + 3 {
                fake.read_of(STREAMS[0], at << 12).unwrap_err();
            }
            for at in 0..room {
                assert_eq!(iommu.next_fault().unwrap().unwrap().address, at << 12);
            }
            assert_eq!(fake.device().get(0x54) & 2, 2);
            assert_eq!(iommu.next_fault(), Ok(None));
            assert_eq!(fake.device().get(0x54) & 2, 0, "the interrupt is acknowledged");
            assert_eq!(iommu.fault_overflows(), round);
            assert_eq!(fake.device().get(0x4c), 0x1_0003);
        }
    }
}

#[test]
fn a_record_that_could_not_be_written_counts_too() {
    let fake = Fake::new();
    let mut iommu = fake.probe(config());
    let csr = fake.device().get(0x4c);
    fake.device().set(0x4c, csr | 1 << 8);
    assert_eq!((iommu.next_fault(), iommu.fault_overflows()), (Ok(None), 1));
    assert_eq!(fake.device().get(0x4c), csr);
}

#[test]
fn a_tail_beyond_the_queue_and_a_queue_that_is_off() {
    let fake = Fake::new();
    let mut iommu = fake.probe(config());
    for tail in [128, 0x8000_0000, u32::MAX - 1] {
        fake.device().set(0x34, tail);
        assert_eq!(iommu.next_fault().unwrap_err().to_string(), "iommu test: fqt is beyond the fault queue");
    }
    fake.device().set(0x34, u32::MAX);
    assert_eq!(iommu.next_fault().unwrap_err().to_string(), "iommu test: registers read all ones");
    fake.device().set(0x34, 0);
    fake.device().set(0x4c, 0);
    assert_eq!(iommu.next_fault().unwrap_err().to_string(), "iommu test: the fault queue is off");
    iommu.recover().unwrap();
    assert_eq!(iommu.next_fault(), Ok(None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn garbage_is_reported_once_and_does_no_harm(
        records in proptest::collection::vec(any::<[u64; 4]>(), 1..100),
        tail in 0..128_u32,
    ) {
        let fake = Fake::new();
        let mut iommu = fake.probe(config());
        {
            let mut device = fake.device();
            let base = device.get64(0x28) >> 10 << 12;
            for (record, index) in records.iter().zip(0..) {
                for (word, offset) in record.iter().zip(0..) {
                    device.memory.set_word(base + index * 32 + offset * 8, *word);
                }
            }
            device.set(0x34, tail);
        }
        let mut count = 0;
        while let Some(fault) = iommu.next_fault().unwrap() {
            let _ = fault.to_string();
            count += 1;
        }
        prop_assert_eq!(count, tail);
    }
}
