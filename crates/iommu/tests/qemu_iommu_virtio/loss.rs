//! A device that loses its way.

use crate::support::{Bench, Driver, PAGE, assert_bytes, faults, map, on, requests, span};
use vcm::{Iova, PhysicalAddress};
use vcm_iommu::virtio::spec::{self, pci};
use vcm_iommu::virtio::{Config, Transport};
use vcm_iommu::{DomainId, Iommu, IommuError, NarrowRegisters, Registers, SharedMemory};
use vcm_qemu::IommuModel;

/// Two domains, with a stream each and the same addresses; what both see, and where they write it.
fn two_domains(bench: &Bench, driver: &mut Driver) -> ([DomainId; 2], [Vec<u8>; 2], PhysicalAddress) {
    let out = bench.pages(1, 0).0;
    let both = [0, 1].map(|edu| {
        let domain = requests(driver);
        let (page, data) = bench.pages(1, 0x40 + edu as u8);
        map(driver, domain, 0x1000, page, PAGE);
        map(driver, domain, 0x8000, out, PAGE);
        driver.attach(bench.stream(edu), domain).unwrap();
        (domain, data)
    });
    let [(a, data_a), (b, data_b)] = both;
    ([a, b], [data_a, data_b], out)
}

fn check(bench: &Bench, driver: &mut Driver, data: &[Vec<u8>; 2], out: PhysicalAddress) {
    for (edu, data) in data.iter().enumerate() {
        bench.copy(edu, 0x1000, 0x8000, PAGE);
        assert_bytes(&bench.memory(out, PAGE), data, "after recovery");
    }
    assert_eq!(faults(driver), []);
}

#[test]
fn a_device_that_was_reset_is_brought_back() {
    on(IommuModel::VirtioOnArm, |bench| {
        let mut driver = bench.driver_with(Config::new("reset").with_patience(50));
        let (domains, data, out) = two_domains(&bench, &mut driver);
        check(&bench, &mut driver, &data, out);
        driver.transport_mut().set_status(spec::Status::RESET);
        assert!(driver.next_fault().is_err());
        let error = driver.unmap(domains[0], span(0x1000, PAGE)).unwrap_err();
        assert!(matches!(error, IommuError::Unresponsive(_)), "{error}");
        driver.recover().unwrap();
        // What was to be unmapped is; the rest is there.
        bench.edus[0].dma_to_device(Iova::new(0x1000), 0, 4).unwrap();
        assert_eq!(faults(&mut driver).first().map(|record| record.address), Some(0x1000));
        bench.copy(1, 0x1000, 0x8000, PAGE);
        assert_bytes(&bench.memory(out, PAGE), &data[1], "the other one");
        // A stream that was detached stays so.
        driver.detach(bench.stream(1)).unwrap();
        driver.recover().unwrap();
        bench.edus[1].dma_to_device(Iova::new(0x1000), 0, 4).unwrap();
        assert_eq!(faults(&mut driver).first().map(|record| record.stream), Some(bench.stream(1)));
    });
}

/// Behind the driver's back, the available ring names a descriptor that does not exist.
fn make_an_illegal_request(bench: &Bench, driver: &mut Driver) {
    let mut common = driver.transport_mut().windows_mut().common.clone();
    common.write16(pci::QUEUE_SELECT, spec::REQUEST_QUEUE);
    let low = u64::from(common.read(pci::QUEUE_DRIVER));
    let ring = u64::from(common.read(pci::QUEUE_DRIVER + 4)) << 32 | low;
    let mut ram = bench.machine.ram().clone();
    let index = SharedMemory::read32(&mut ram, PhysicalAddress::new(ring)) >> 16;
    for word in 0..32 {
        let entry = PhysicalAddress::new(ring + spec::RING_ENTRIES + 4 * word);
        SharedMemory::write32(&mut ram, entry, 0x7777_7777);
    }
    SharedMemory::write32(&mut ram, PhysicalAddress::new(ring), (index + 1) << 16 | 1);
    driver.transport_mut().notify(spec::REQUEST_QUEUE);
}

#[test]
fn an_illegal_request_stops_the_device_until_it_is_recovered() {
    on(IommuModel::VirtioOnArm, |bench| {
        let mut driver = bench.driver_with(Config::new("illegal").with_patience(50));
        let (domains, data, out) = two_domains(&bench, &mut driver);
        make_an_illegal_request(&bench, &mut driver);
        let (page, _) = bench.pages(1, 0);
        let segment = vcm_pagetable::Segment { physical: page, len: PAGE };
        let error = driver.map(domains[0], 0x2000, segment, vcm::Attributes::READ_WRITE).unwrap_err();
        assert!(error.to_string().contains("needs a reset"), "{error}");
        assert!(driver.next_fault().is_err());
        driver.recover().unwrap();
        check(&bench, &mut driver, &data, out);
        driver.map(domains[0], 0x2000, segment, vcm::Attributes::READ_WRITE).unwrap();
        driver.unmap(domains[0], span(0x2000, PAGE)).unwrap();
    });
}

#[test]
fn a_stream_whose_detaching_was_cut_off_is_blocked_by_recovery() {
    on(IommuModel::VirtioOnArm, |bench| {
        let mut driver = bench.driver_with(Config::new("illegal").with_patience(50));
        let (_, data, out) = two_domains(&bench, &mut driver);
        make_an_illegal_request(&bench, &mut driver);
        assert!(driver.detach(bench.stream(1)).is_err());
        driver.recover().unwrap();
        bench.copy(0, 0x1000, 0x8000, PAGE);
        assert_bytes(&bench.memory(out, PAGE), &data[0], "the one that stays");
        assert_eq!(faults(&mut driver), []);
        bench.copy(1, 0x1000, 0x8000, PAGE);
        assert_bytes(&bench.memory(out, PAGE), &data[0], "the one that was detached");
        assert_eq!(faults(&mut driver).first().map(|record| record.stream), Some(bench.stream(1)));
    });
}

/// QEMU leaves endpoints attached when it resets the device. What is left of another driver must not be seen in a domain
/// that has the same number, even if another endpoint keeps it.
#[test]
fn a_domain_has_nothing_of_an_earlier_driver_in_it() {
    on(IommuModel::VirtioOnArm, |bench| {
        let mut first = bench.driver();
        let (out, old) = bench.pages(1, 0);
        let domain = requests(&mut first);
        map(&mut first, domain, 0x8000, out, PAGE);
        for edu in 0..2 {
            first.attach(bench.stream(edu), domain).unwrap();
        }
        drop(first);
        let mut second = bench.driver();
        let domain = requests(&mut second);
        let (page, data) = bench.pages(1, 0x99);
        map(&mut second, domain, 0x1000, page, PAGE);
        second.attach(bench.stream(0), domain).unwrap();
        bench.copy(0, 0x1000, 0x8000, PAGE);
        assert_bytes(&bench.memory(out, PAGE), &old, "mapped by the first driver");
        map(&mut second, domain, 0x8000, out, PAGE);
        bench.copy(0, 0x1000, 0x8000, PAGE);
        assert_bytes(&bench.memory(out, PAGE), &data, "mapped by the second driver");
    });
}

/// Two streams in one domain: the domain outlives the reset of QEMU's device.
#[test]
fn a_shared_domain_is_brought_back() {
    on(IommuModel::VirtioOnArm, |bench| {
        let mut driver = bench.driver();
        let domain = requests(&mut driver);
        let (out, _) = bench.pages(1, 0);
        let (page, data) = bench.pages(1, 0x55);
        for edu in 0..2 {
            driver.attach(bench.stream(edu), domain).unwrap();
        }
        map(&mut driver, domain, 0x1000, page, PAGE);
        map(&mut driver, domain, 0x8000, out, PAGE);
        driver.recover().unwrap();
        check(&bench, &mut driver, &[data.clone(), data], out);
    });
}
