//! QEMU's invalidation queue.

use crate::support::*;
use vcm_iommu::vtd::{Mode, spec};
use vcm_iommu::{Invalidation, Iommu, Registers};

#[test]
fn the_queue_wraps_and_goes_on() {
    on_all(|bench| {
        let page = bench.filled(1);
        let (domain, mut table) = bench.domain_to(page);
        bench.iommu.attach(STREAM, domain).unwrap();
        for _ in 0..300 {
            bench.iommu.invalidate(domain, &Invalidation::Everything).unwrap();
        }
        assert!(bench.reads(&bench.edu, AT, 1));
        let gather = bench.unmap(&mut table, AT, 0x1000);
        assert!(bench.reads(&bench.edu, AT, 1));
        bench.invalidate_and_finish(domain, gather);
        assert!(!bench.reads(&bench.edu, AT, 1));
        assert_eq!(bench.iommu.queue_errors_recovered(), 0);
    });
}

#[test]
fn an_illegal_descriptor_does_not_stop_it() {
    on_all(|bench| {
        let page = bench.filled(1);
        let (domain, mut table) = bench.domain_to(page);
        bench.iommu.attach(STREAM, domain).unwrap();
        let bytes = if bench.model.mode() == Mode::Scalable { 32 } else { 16 };
        for round in 1..=3 {
            assert!(bench.reads(&bench.edu, AT, 1));
            let gather = bench.unmap(&mut table, AT, 0x1000);
            // Behind the driver's back: a descriptor of a type that there is not.
            let mut registers = bench.machine.iommu_registers().unwrap();
            let base = registers.read64(spec::IQA) & !0xfff;
            let tail = registers.read64(spec::IQT);
            write64(&bench.ram, base + tail, 0xf);
            registers.write64(spec::IQT, (tail + bytes) % 4096);
            let status = spec::FaultStatus::from_bits(registers.read(spec::FSTS));
            assert!(status.iqe(), "{status:?}");
            assert!(bench.reads(&bench.edu, AT, 1), "the stale translation is used");
            bench.invalidate_and_finish(domain, gather);
            assert!(!bench.reads(&bench.edu, AT, 1));
            assert_eq!(bench.iommu.queue_errors_recovered(), round);
            bench.faults();
            bench.map(&mut table, AT, page, 0x1000);
        }
    });
}
