//! Bytes that arrive.

use crate::support::{Bench, PAGE, assert_bytes, faults, map, on, requests, segment, span};
use vcm::{Access, Attributes, MemoryType, PhysicalAddress, SIZE_2M};
use vcm_iommu::virtio::spec::Features;
use vcm_iommu::virtio::{Config, Reserved, ReservedKind};
use vcm_iommu::{Iommu, Translation, Way};
use vcm_qemu::IommuModel;

/// Mapped before and after attaching, in several pieces and in a large one.
fn bytes_arrive(bench: &Bench) {
    let mut driver = bench.driver();
    let Way::Requests { page_sizes, input } = driver.preferred() else { panic!("not by requests") };
    assert_eq!(page_sizes.smallest(), PAGE);
    assert!(input.covers(span(0, 1 << 39)), "{input}");
    let domain = requests(&mut driver);

    let (from, data) = bench.pages(4, 1);
    let (to, _) = bench.pages(4, 2);
    // The pages of both in another order, mapped before there is a domain for the device.
    let order = |base: PhysicalAddress| {
        [2, 0, 3, 1].map(|page| segment(base.checked_add(page * PAGE).unwrap(), PAGE))
    };
    driver.map_segments(domain, 0x1234_5000, &order(from), Attributes::READ_WRITE).unwrap();
    driver.attach(bench.stream(0), domain).unwrap();
    driver.map_segments(domain, 0x8000_0000, &order(to), Attributes::READ_WRITE).unwrap();
    bench.copy(0, 0x1234_5000, 0x8000_0000, 4 * PAGE);
    assert_bytes(&bench.memory(to, 4 * PAGE), &data, "pages");

    let large = bench.machine.ram().allocate(SIZE_2M, SIZE_2M).unwrap();
    map(&mut driver, domain, 0x40_0000_0000, large, SIZE_2M);
    bench.copy(0, 0x1234_5000, 0x40_0000_0000 + SIZE_2M - 4 * PAGE, 4 * PAGE);
    let last = large.checked_add(SIZE_2M - 4 * PAGE).unwrap();
    // As the device sees them, the pages are in the other order.
    let seen: Vec<u8> =
        [2, 0, 3, 1].iter().flat_map(|page| data[page * 0x1000..][..0x1000].to_vec()).collect();
    assert_bytes(&bench.memory(last, 4 * PAGE), &seen, "the end of the large page");
    assert_eq!(faults(&mut driver), []);
}

#[test]
fn bytes_arrive_on_arm() {
    on(IommuModel::VirtioOnArm, |bench| bytes_arrive(&bench));
}

#[test]
fn bytes_arrive_on_a_pc() {
    on(IommuModel::VirtioOnPc, |bench| bytes_arrive(&bench));
}

#[test]
fn many_mappings_go_through_small_queues() {
    on(IommuModel::VirtioOnArm, |bench| {
        for queue_size in [2, 4, 64] {
            let mut driver = bench.driver_with(Config::new("small").with_queue_size(queue_size));
            let domain = requests(&mut driver);
            let (from, data) = bench.pages(100, queue_size as u8);
            let (to, _) = bench.pages(100, 0);
            let backwards: Vec<_> =
                (0..100).rev().map(|page| segment(from.checked_add(page * PAGE).unwrap(), PAGE)).collect();
            driver.attach(bench.stream(0), domain).unwrap();
            driver.map_segments(domain, 0x10_0000, &backwards, Attributes::READ_WRITE).unwrap();
            for page in 0..100 {
                map(
                    &mut driver,
                    domain,
                    0x1000_0000 + page * PAGE,
                    to.checked_add((99 - page) * PAGE).unwrap(),
                    PAGE,
                );
            }
            bench.copy(0, 0x10_0000, 0x1000_0000, 100 * PAGE);
            assert_bytes(&bench.memory(to, 100 * PAGE), &data, "all pages");
            // One request for all of them.
            driver.unmap(domain, span(0, 1 << 40)).unwrap();
            bench.edus[0].dma_to_device(vcm::Iova::new(0x10_0000), 0, 4).unwrap();
            assert_eq!(faults(&mut driver).len(), usize::from(queue_size > 0));
            driver.detach(bench.stream(0)).unwrap();
            driver.destroy_domain(domain).unwrap();
        }
    });
}

#[test]
fn a_device_passes_untranslated_before_the_driver_and_in_its_own_domain() {
    on(IommuModel::VirtioOnArm, |bench| {
        let (from, data) = bench.pages(2, 7);
        let (to, old) = bench.pages(2, 8);
        // The machine starts with the IOMMU in bypass.
        bench.copy(0, from.raw(), to.raw(), PAGE);
        assert_bytes(&bench.memory(to, PAGE), &data[..0x1000], "boot bypass");

        let mut driver = bench.driver();
        assert!(driver.features().has(Features::BYPASS_CONFIG));
        let second = to.checked_add(PAGE).unwrap();
        bench.copy(0, from.raw() + PAGE, second.raw(), PAGE);
        assert_bytes(&bench.memory(second, PAGE), &old[0x1000..], "blocked by the driver");

        let identity = driver.create_domain(Translation::Identity).unwrap();
        driver.attach(bench.stream(0), identity).unwrap();
        bench.copy(0, from.raw() + PAGE, second.raw(), PAGE);
        assert_bytes(&bench.memory(second, PAGE), &data[0x1000..], "its own domain");
        // The other one is blocked still.
        bench.copy(1, from.raw(), second.raw(), PAGE);
        assert_bytes(&bench.memory(second, PAGE), &data[0x1000..], "the other is blocked");
        assert!(driver.map(identity, 0, segment(from, PAGE), Attributes::READ_WRITE).is_err());
        driver.detach(bench.stream(0)).unwrap();
        bench.copy(0, from.raw(), second.raw(), PAGE);
        assert_bytes(&bench.memory(second, PAGE), &data[0x1000..], "detached");
    });
}

#[test]
fn device_registers_are_mapped_as_such() {
    on(IommuModel::VirtioOnArm, |bench| {
        let mut driver = bench.driver();
        let domain = requests(&mut driver);
        driver.attach(bench.stream(0), domain).unwrap();
        let (to, _) = bench.pages(1, 0);
        // The identification registers of the machine's UART (PrimeCell PL011), of which the last is 0xb1.
        let uart = segment(PhysicalAddress::new(0x900_0000), PAGE);
        let device = Attributes::READ_WRITE.with_memory_type(MemoryType::Device).with_access(Access::READ);
        driver.map(domain, 0x5000, uart, device).unwrap();
        map(&mut driver, domain, 0x10_0000, to, PAGE);
        bench.copy(0, 0x5ffc, 0x10_0000, 4);
        assert_eq!(bench.memory(to, 4), [0xb1, 0, 0, 0]);
    });
}

#[test]
fn the_doorbell_is_reserved() {
    for (model, first, len) in
        [(IommuModel::VirtioOnArm, 0x802_0000, 0x1000), (IommuModel::VirtioOnPc, 0xfee0_0000, 0x10_0000)]
    {
        on(model, |bench| {
            let mut driver = bench.driver();
            let reserved = driver.reserved(bench.stream(0)).unwrap();
            assert_eq!(*reserved, [Reserved { span: span(first, len), kind: ReservedKind::Messages }]);
            assert!(driver.reserved(vcm_iommu::StreamId(0xffff)).is_err());
        });
    }
}
