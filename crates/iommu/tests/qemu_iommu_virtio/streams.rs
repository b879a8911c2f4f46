//! Several streams and several domains.

use crate::support::{PAGE, assert_bytes, faults, map, on, requests, span};
use vcm::Iova;
use vcm_iommu::{Iommu, IommuError, StreamId};
use vcm_qemu::{Direction, EduCompletion, EduDma, IommuModel};

#[test]
fn domains_are_apart_and_streams_of_one_see_the_same() {
    on(IommuModel::VirtioOnArm, |bench| {
        let mut driver = bench.driver();
        let (a, b) = (requests(&mut driver), requests(&mut driver));
        let (page_a, data_a) = bench.pages(1, 0x11);
        let (page_b, data_b) = bench.pages(1, 0x22);
        let (out, _) = bench.pages(1, 0);
        for (domain, page) in [(a, page_a), (b, page_b)] {
            map(&mut driver, domain, 0x1000, page, PAGE);
            map(&mut driver, domain, 0x8000, out, PAGE);
        }
        let check = |expected: [&[u8]; 2]| {
            for (edu, expected) in expected.into_iter().enumerate() {
                bench.copy(edu, 0x1000, 0x8000, PAGE);
                assert_bytes(&bench.memory(out, PAGE), expected, &format!("device {edu}"));
            }
        };
        driver.attach(bench.stream(0), a).unwrap();
        driver.attach(bench.stream(1), b).unwrap();
        check([&data_a, &data_b]);
        // The first one moves: its domain is forgotten by the device, and remembered by the driver.
        driver.attach(bench.stream(0), b).unwrap();
        check([&data_b, &data_b]);
        driver.unmap(b, span(0x1000, PAGE)).unwrap();
        for edu in 0..2 {
            bench.edus[edu].dma_to_device(Iova::new(0x1000), 0, 4).unwrap();
            assert_eq!(faults(&mut driver).first().map(|record| record.stream), Some(bench.stream(edu)));
        }
        // Both move to the first domain.
        driver.attach(bench.stream(0), a).unwrap();
        driver.attach(bench.stream(1), a).unwrap();
        check([&data_a, &data_a]);
        // One leaves; the other does not mind.
        driver.detach(bench.stream(0)).unwrap();
        bench.machine.ram().write_bytes(out, &[0; 4096]).unwrap();
        bench.copy(1, 0x1000, 0x8000, PAGE);
        assert_bytes(&bench.memory(out, PAGE), &data_a, "the one that stays");
        let in_use = Err(IommuError::InUse { domain: a, stream: bench.stream(1) });
        assert_eq!(driver.destroy_domain(a), in_use);
        driver.detach(bench.stream(1)).unwrap();
        driver.destroy_domain(a).unwrap();
        assert_eq!(driver.attach(bench.stream(1), a), Err(IommuError::UnknownDomain(a)));
    });
}

#[test]
fn a_stream_that_does_not_exist_stays_where_it_was() {
    on(IommuModel::VirtioOnArm, |bench| {
        let mut driver = bench.driver();
        let domain = requests(&mut driver);
        // There is no bus 0x77.
        assert!(driver.attach(StreamId(0x7700), domain).is_err());
        assert_eq!(driver.domain_of(StreamId(0x7700)), None);
        driver.attach(bench.stream(0), domain).unwrap();
        driver.destroy_domain(domain).unwrap_err();
    });
}

#[test]
fn nothing_passes_after_detaching_under_traffic() {
    on(IommuModel::VirtioOnArm, |bench| {
        let mut driver = bench.driver();
        let domain = requests(&mut driver);
        let (memory, _) = bench.pages(1, 0);
        map(&mut driver, domain, 0x1000, memory, PAGE);
        let mut stopped = 0;
        for round in 0..50_u8 {
            driver.attach(bench.stream(0), domain).unwrap();
            bench.machine.ram().write_bytes(memory, &[round; 4096]).unwrap();
            bench.edus[0].dma_to_device(Iova::new(0x1000), 0, 4096).unwrap();
            bench.machine.ram().write_bytes(memory, &[0xff; 4096]).unwrap();
            let dma =
                EduDma { memory: Iova::new(0x1000), offset: 0, len: 4096, direction: Direction::FromDevice };
            bench.edus[0].start(&dma, EduCompletion::Silent).unwrap();
            driver.detach(bench.stream(0)).unwrap();
            let then = bench.memory(memory, PAGE);
            while bench.edus[0].is_running().unwrap() {}
            assert_bytes(&bench.memory(memory, PAGE), &then, "after it was detached");
            stopped += usize::from(then == [0xff; 4096]);
            faults(&mut driver);
        }
        println!("{stopped} of 50 transfers came too late");
    });
}
