//! Accesses that are refused.

use crate::support::{Bench, PAGE, assert_bytes, faults, map, on, requests, segment, span};
use vcm::{Access, Attributes, FaultAccess, FaultReason, FaultState, Iova};
use vcm_iommu::virtio::Config;
use vcm_iommu::{FaultRecord, Iommu, IommuError};
use vcm_qemu::IommuModel;

/// QEMU tries a refused DMA again in pieces of 4 bytes; each gives a record.
fn first(records: &[FaultRecord]) -> FaultRecord {
    *records.first().expect("a fault is recorded")
}

fn refused(bench: &Bench) {
    let mut driver = bench.driver();
    let (stream, edu) = (bench.stream(0), &bench.edus[0]);
    let domain = requests(&mut driver);
    let (memory, data) = bench.pages(3, 3);
    let read_only = Attributes::READ_WRITE.with_access(Access::READ);
    let write_only = Attributes::READ_WRITE.with_access(Access::WRITE);
    let page = |number: u64| segment(memory.checked_add(number * PAGE).unwrap(), PAGE);

    // Attached to nothing: blocked.
    edu.dma_to_device(Iova::new(0x1000), 0, 4).unwrap();
    let record = first(&faults(&mut driver));
    assert_eq!((record.stream, record.reason), (stream, FaultReason::NoContext));
    assert_eq!((record.address, record.state), (0x1000, FaultState::Terminated));

    driver.attach(stream, domain).unwrap();
    driver.map(domain, 0x1000, page(0), read_only).unwrap();
    driver.map(domain, 0x2000, page(1), write_only).unwrap();
    map(&mut driver, domain, 0x3000, page(2).physical, PAGE);

    // Outside.
    edu.dma_to_device(Iova::new(0x7000), 0, 8).unwrap();
    let records = faults(&mut driver);
    assert_eq!((first(&records).address, first(&records).reason), (0x7000, FaultReason::Translation));
    assert_eq!((first(&records).stream, first(&records).name), (stream, "MAPPING"));

    // Across the end of what is mapped: the rest is refused.
    edu.dma_from_device(Iova::new(0x3ff8), 0, 16).unwrap();
    let records = faults(&mut driver);
    assert_eq!((first(&records).address, first(&records).reason), (0x4000, FaultReason::Translation));

    // Without permission.
    edu.dma_from_device(Iova::new(0x1000), 0, 4).unwrap();
    let record = first(&faults(&mut driver));
    assert_eq!((record.address, record.access), (0x1000, FaultAccess::Write));
    assert_eq!(record.reason, FaultReason::Permission);
    assert_bytes(&bench.memory(memory, PAGE), &data[..0x1000], "read-only");
    edu.dma_to_device(Iova::new(0x2010), 0, 4).unwrap();
    let record = first(&faults(&mut driver));
    assert_eq!((record.address, record.access), (0x2010, FaultAccess::Read));
    assert_eq!(record.reason, FaultReason::Permission);

    // After it was unmapped: at once.
    edu.dma_to_device(Iova::new(0x1000), 0, 4).unwrap();
    assert_eq!(faults(&mut driver), []);
    driver.unmap(domain, span(0x1000, PAGE)).unwrap();
    edu.dma_to_device(Iova::new(0x1000), 0, 4).unwrap();
    assert_eq!(first(&faults(&mut driver)).reason, FaultReason::Translation);

    // After it was detached.
    driver.detach(stream).unwrap();
    edu.dma_from_device(Iova::new(0x3000), 0, 4).unwrap();
    let record = first(&faults(&mut driver));
    assert_eq!((record.reason, record.stream, record.address), (FaultReason::NoContext, stream, 0x3000));
    assert_eq!(driver.ignored_faults(), 0);
}

#[test]
fn what_is_refused_is_reported_on_arm() {
    on(IommuModel::VirtioOnArm, |bench| refused(&bench));
}

#[test]
fn what_is_refused_is_reported_on_a_pc() {
    on(IommuModel::VirtioOnPc, |bench| refused(&bench));
}

#[test]
fn a_flood_of_faults_is_counted_and_ends() {
    on(IommuModel::VirtioOnArm, |bench| {
        let mut driver = bench.driver_with(Config::new("flood").with_queue_size(4));
        let domain = requests(&mut driver);
        driver.attach(bench.stream(0), domain).unwrap();
        for round in 0..20 {
            // 16 pieces, 4 buffers.
            let address = 0x10_0000 * (round + 1);
            bench.edus[0].dma_to_device(Iova::new(address), 0, 64).unwrap();
            let records = faults(&mut driver);
            assert_eq!(records.len(), 4);
            assert_eq!(first(&records).address, address);
            assert_eq!(driver.fault_overflows(), round + 1);
        }
        // And with all the room that it wants, again.
        bench.edus[0].dma_to_device(Iova::new(0x9000), 0, 4).unwrap();
        assert_eq!(first(&faults(&mut driver)).address, 0x9000);
        assert_eq!(driver.fault_overflows(), 20);
    });
}

#[test]
fn what_the_device_would_accept_is_refused_all_the_same() {
    on(IommuModel::VirtioOnArm, |bench| {
        let mut driver = bench.driver();
        let domain = requests(&mut driver);
        driver.attach(bench.stream(0), domain).unwrap();
        let (memory, _) = bench.pages(2, 0);
        let mut map = |at, physical, len| {
            driver.map(domain, at, segment(vcm::PhysicalAddress::new(physical), len), Attributes::READ_WRITE)
        };
        for (at, physical, len) in
            [(0x1001, memory.raw(), PAGE), (0x1000, memory.raw() + 1, PAGE), (0x1000, memory.raw(), PAGE - 1)]
        {
            assert_eq!(map(at, physical, len), Err(IommuError::Address { at, len }));
        }
        map(0x1000, memory.raw(), 2 * PAGE).unwrap();
        assert_eq!(map(0x2000, memory.raw(), PAGE), Err(IommuError::Occupied(0x2000)));
        let split = driver.unmap(domain, span(0x1000, PAGE));
        assert_eq!(split, Err(IommuError::Address { at: 0x1000, len: 2 * PAGE }));
        bench.edus[0].dma_to_device(Iova::new(0x1000), 0, 4096).unwrap();
        assert_eq!(faults(&mut driver), [], "nothing was unmapped");
    });
}
