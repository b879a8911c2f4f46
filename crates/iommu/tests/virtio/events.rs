//! Fault reports.

use crate::bench::{Driver, Fake, STREAM, requests};
use crate::fake::report;
use vcm::{Access, Attributes, FaultAccess, FaultReason, FaultState, PhysicalAddress};
use vcm_iommu::{FaultRecord, Iommu, StreamId};
use vcm_pagetable::Segment;

const READ: u32 = 1;
const WRITE: u32 = 2;
const ADDRESS: u32 = 1 << 8;

fn attached(fake: &Fake) -> Driver {
    let mut driver = fake.driver();
    let domain = requests(&mut driver);
    let segment = Segment { physical: PhysicalAddress::new(0), len: 0x1000 };
    let attributes = Attributes::READ_WRITE.with_access(Access::READ);
    driver.map(domain, 0x5000, segment, attributes).unwrap();
    driver.attach(STREAM, domain).unwrap();
    driver
}

#[test]
fn reports_become_records() {
    let fake = Fake::new();
    let mut driver = attached(&fake);
    assert_eq!(driver.next_fault(), Ok(None));
    let mut next = |reason, flags, endpoint, address| -> FaultRecord {
        assert!(fake.device().report(reason, flags, endpoint, address));
        driver.next_fault().unwrap().unwrap()
    };
    let record = next(2, READ | ADDRESS, 8, 0x1234);
    let expected = FaultRecord {
        stream: STREAM,
        substream: None,
        address: 0x1234,
        access: FaultAccess::Read,
        reason: FaultReason::Translation,
        state: FaultState::Terminated,
        name: "MAPPING",
        code: 2,
        stall: None,
    };
    assert_eq!(record, expected);
    // Something is mapped there, and the report says for what it was not.
    let record = next(2, WRITE | ADDRESS, 8, 0x5fff);
    assert_eq!((record.reason, record.access), (FaultReason::Permission, FaultAccess::Write));
    // It does not say what it was for: it came before the mapping, perhaps.
    assert_eq!(next(2, ADDRESS, 8, 0x5000).reason, FaultReason::Translation);
    assert_eq!(next(2, READ | ADDRESS, 8, 0x5000).reason, FaultReason::Translation);
    assert_eq!(next(2, WRITE | ADDRESS, 16, 0x5000).reason, FaultReason::Translation);
    assert_eq!(next(1, READ | ADDRESS, 16, 0).reason, FaultReason::NoContext);
    assert_eq!(next(0, ADDRESS, 16, 0).reason, FaultReason::NoContext);
    assert_eq!(next(0, ADDRESS, 8, 0).reason, FaultReason::Configuration);
    assert_eq!(next(99, 4 | 0xffff_f000, 8, 7).reason, FaultReason::Configuration);
    let record = next(99, 4 | 0xffff_f000, 8, 7);
    assert_eq!((record.access, record.address, record.code), (FaultAccess::Execute, 0, 99));
    assert_eq!(record.to_string(), "configuration fault (UNKNOWN): execute of stream 0x8 at 0x0, terminated");
}

#[test]
fn buffers_come_in_any_order_and_go_back() {
    let fake = Fake::new();
    let mut driver = fake.driver_with(Fake::config().with_queue_size(4));
    // More than there are numbers for the ring's index.
    for round in 0..20_000_u64 {
        let mut device = fake.device();
        let mut heads: Vec<u16> = (0..4).map(|_| device.take_buffer().unwrap()).collect();
        assert_eq!(device.take_buffer(), None);
        heads.rotate_left(round as usize % 4);
        let turned = heads.clone();
        for (index, head) in heads.into_iter().enumerate() {
            device.give_report(head, &report(1, ADDRESS, 8, 4 * round + index as u64), 24);
        }
        drop(device);
        for index in 0..4 {
            assert_eq!(driver.next_fault().unwrap().unwrap().address, 4 * round + index, "{turned:?}");
        }
        assert_eq!(driver.next_fault(), Ok(None));
    }
    assert_eq!(driver.fault_overflows(), 20_000);
}

#[test]
fn reports_that_make_no_sense_are_passed_over() {
    let fake = Fake::new();
    let mut driver = fake.driver();
    let send = |bytes: &[u8], len| {
        let head = fake.device().take_buffer().unwrap();
        fake.device().give_report(head, bytes, len);
    };
    let good = report(1, ADDRESS, 8, 0x7000);
    let mut reserved = good.clone();
    reserved[2] = 1;
    send(&good, 23);
    send(&reserved, 24);
    send(&good, 0);
    // A later version's, which is longer.
    let mut longer = good.clone();
    longer.extend([0x55; 40]);
    send(&longer, 64);
    assert_eq!(driver.next_fault().unwrap().map(|record| record.address), Some(0x7000));
    assert_eq!((driver.next_fault(), driver.ignored_faults()), (Ok(None), 3));
    assert_eq!(driver.fault_overflows(), 0);
}

#[test]
fn a_device_that_needs_a_reset_says_so_here() {
    let fake = Fake::new();
    let mut driver = attached(&fake);
    fake.device().report(1, ADDRESS, 24, 0);
    fake.device().status |= 0x40;
    assert_eq!(driver.next_fault().unwrap().map(|record| record.stream), Some(StreamId(24)));
    assert!(driver.next_fault().unwrap_err().what.contains("needs a reset"));
    driver.recover().unwrap();
    assert_eq!(driver.next_fault(), Ok(None));
}
