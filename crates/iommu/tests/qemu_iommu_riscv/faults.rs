//! What is refused is recorded.

use crate::support::*;
use vcm::{Access, FaultAccess, FaultReason, Iova};
use vcm_iommu::riscv::{Config, Interrupts, spec};
use vcm_iommu::{Iommu, Registers};

#[test]
fn addresses_outside_and_without_permission() {
    on_qemu(config(), |bench| {
        let (page, fixed) = (bench.page(), bench.page());
        bench.put(fixed, 9);
        let (domain, mut table) = bench.domain_to(page);
        bench.map_as(&mut table, AT + 0x1000, fixed, 0x1000, Access::READ);
        bench.iommu.attach(STREAM, domain).unwrap();

        bench.edu.dma_to_device(Iova::new(0x7fff_f004), 0, 4).unwrap();
        let fault = bench.faults()[0];
        assert_eq!(
            fault.to_string(),
            "translation fault (read page fault): read of stream 0x10, substream 0x0 at 0x7ffff004, terminated"
        );
        assert_eq!(fault.code, u32::from(spec::CAUSE_READ_PAGE));

        bench.edu.dma_from_device(Iova::new(0x7fff_f004), 0, 4).unwrap();
        let fault = bench.faults()[0];
        assert_eq!((fault.access, fault.address), (FaultAccess::Write, 0x7fff_f004));

        // Before it is read: once the page is cached, QEMU drops writes without a record.
        bench.edu.dma_from_device(Iova::new(AT + 0x1000), 8, 4).unwrap();
        let fault = bench.faults()[0];
        assert_eq!((fault.stream, fault.access, fault.address), (STREAM, FaultAccess::Write, AT + 0x1000));
        // The hardware does not tell permission from translation.
        assert_eq!(fault.reason, FaultReason::Translation);
        assert!(bench.reads(&bench.edu, AT + 0x1000, 9));
        assert_eq!(bench.faults(), []);
        bench.edu.dma_from_device(Iova::new(AT + 0x1000), 8, 4).unwrap();
        assert!(bench.holds(fixed, 9));
    });
}

#[test]
fn a_stream_without_domain_before_between_and_after() {
    on_qemu(config(), |bench| {
        let page = bench.page();
        bench.put(page, 4);
        let (domain, _table) = bench.domain_to(page);
        for _ in 0..3 {
            // Also where the address is that of memory: nothing passes untranslated.
            bench.edu.dma_from_device(Iova::new(page.raw()), 0, 4).unwrap();
            let faults = bench.faults();
            assert_eq!((faults[0].stream, faults[0].reason), (STREAM, FaultReason::NoContext));
            assert_eq!(faults[0].code, u32::from(spec::CAUSE_DDT_INVALID));
            bench.iommu.attach(STREAM, domain).unwrap();
            assert!(bench.reads(&bench.edu, AT, 4));
            assert_eq!(bench.faults(), []);
            bench.iommu.detach(STREAM).unwrap();
        }
        assert!(bench.holds(page, 4));
    });
}

#[test]
fn a_context_that_makes_no_sense() {
    on_qemu(config(), |bench| {
        let page = bench.page();
        let (domain, _table) = bench.domain_to(page);
        bench.iommu.attach(STREAM, domain).unwrap();
        let at = context_of(bench, 0x10);
        // A default process id without process directory.
        let tc = spec::Tc::new().with_v(true).with_dpe(true).into_bits();
        bench.ram.write_bytes(vcm::PhysicalAddress::new(at), &tc.to_le_bytes()).unwrap();
        bench.edu.dma_to_device(Iova::new(AT), 0, 4).unwrap();
        assert_eq!(bench.faults()[0].reason, FaultReason::Configuration);
    });
}

#[test]
fn a_full_fault_queue_is_counted_emptied_and_goes_on() {
    on_qemu(Config { faults_log2: 2, ..config() }, |bench| {
        let page = bench.page();
        let (domain, _table) = bench.domain_to(page);
        bench.iommu.attach(STREAM, domain).unwrap();
        for round in 1..=3 {
            for index in 0..6 {
                bench.edu.dma_to_device(Iova::new(0x5000_0000 + index * 0x1000), 0, 4).unwrap();
            }
            // A queue of four holds three.
            let faults = bench.faults();
            let addresses: Vec<u64> = faults.iter().map(|fault| fault.address).collect();
            assert_eq!(addresses, [0x5000_0000, 0x5000_1000, 0x5000_2000]);
            assert_eq!(bench.iommu.fault_overflows(), round);
        }
        // One at a time, many times round the queue.
        for index in 0..20 {
            bench.edu.dma_to_device(Iova::new(0x6000_0000 + index * 0x1000), 0, 4).unwrap();
            let faults = bench.faults();
            assert_eq!((faults.len(), faults[0].address), (1, 0x6000_0000 + index * 0x1000));
        }
        assert_eq!(bench.iommu.fault_overflows(), 3);
    });
}

#[test]
fn an_interrupt_is_pending_while_there_are_records() {
    on_qemu(Config { interrupts: Interrupts::Wired, ..config() }, |bench| {
        let mut registers = bench.machine.iommu_registers().unwrap();
        let mut pending = || spec::Ipsr::from_bits(registers.read(spec::IPSR)).fip();
        assert!(!pending());
        bench.edu.dma_to_device(Iova::new(AT), 0, 4).unwrap();
        assert!(pending());
        assert!(!bench.faults().is_empty());
        assert!(!pending());
    });
}
