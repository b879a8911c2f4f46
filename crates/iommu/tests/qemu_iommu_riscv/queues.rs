//! The command queue: round and round, and after what it does not understand.

use crate::rig::transfers;
use crate::support::*;
use vcm::{PhysicalAddress, Span};
use vcm_iommu::riscv::{Config, spec};
use vcm_iommu::{Invalidation, Iommu, Reach, Registers};

#[test]
fn many_more_commands_than_entries() {
    on_qemu(Config { commands_log2: 2, ..config() }, |bench| {
        let page = bench.page();
        bench.put(page, 3);
        let (domain, mut table) = bench.domain_to(page);
        bench.iommu.attach(STREAM, domain).unwrap();
        for pages in [1, 2, 3, 5, 200, 512] {
            assert!(bench.reads(&bench.edu, AT, 3));
            let gather = bench.unmap(&mut table, AT, 0x1000);
            // Its last page is the one that counts.
            let spans = [Span::new(AT + 0x1000 - pages * 0x1000, pages * 0x1000).unwrap()];
            let all = Invalidation::Addresses { spans: &spans, granule: 0x1000, reach: Reach::Pages };
            bench.iommu.invalidate(domain, &all).unwrap();
            assert!(bench.faults_at(AT), "{pages} pages");
            bench.finish(gather);
            bench.map(&mut table, AT, page, 0x1000);
        }
        assert_eq!(bench.iommu.command_errors(), 0);
    });
}

#[test]
fn an_illegal_command_costs_nothing() {
    on_qemu(config(), |bench| {
        let page = bench.page();
        bench.put(page, 3);
        let (domain, mut table) = bench.domain_to(page);
        bench.iommu.attach(STREAM, domain).unwrap();
        assert!(bench.reads(&bench.edu, AT, 3));
        let gather = bench.unmap(&mut table, AT, 0x1000);
        // Behind the driver's back an illegal command is queued.
        let mut registers = bench.machine.iommu_registers().unwrap();
        let base = spec::QueueBase::from_bits(registers.read64(spec::CQB)).ppn() << 12;
        let tail = registers.read(spec::CQT);
        let at = PhysicalAddress::new(base + u64::from(tail) * spec::COMMAND_BYTES);
        bench.ram.write_bytes(at, &0x7f_u64.to_le_bytes()).unwrap();
        registers.write(spec::CQT, tail + 1);
        assert!(spec::CommandCsr::from_bits(registers.read(spec::CQCSR)).cmd_ill());

        bench.iommu.invalidate(domain, &(&gather).into()).unwrap();
        assert!(bench.faults_at(AT));
        assert!(bench.iommu.command_errors() > 0);
        assert!(!spec::CommandCsr::from_bits(registers.read(spec::CQCSR)).cmd_ill());
    });
}

/// The machine is reset: what the driver has told it is gone, and the IOMMU is off or lets everything pass.
#[test]
fn a_reset_is_noticed_and_recovered_from() {
    on_qemu(config(), |bench| {
        let page = bench.page();
        bench.put(page, 3);
        let (domain, _table) = bench.domain_to(page);
        bench.iommu.attach(STREAM, domain).unwrap();
        assert!(bench.reads(&bench.edu, AT, 3));
        bench.machine.reset().unwrap();
        let error = bench.iommu.invalidate(domain, &Invalidation::Everything).unwrap_err();
        assert_eq!(error.to_string(), "iommu qemu: the command queue is off");
        bench.iommu.invalidate(domain, &Invalidation::Everything).unwrap_err();
        bench.iommu.detach(OTHER_STREAM).unwrap();
        bench.iommu.detach(STREAM).unwrap_err();
        bench.iommu.recover().unwrap();
        bench.edu = bench.machine.edu(2).unwrap();
        // As it was told at last: to be detached.
        bench.iommu.detach(STREAM).unwrap();
        assert!(bench.faults_at(AT));
        bench.iommu.attach(STREAM, domain).unwrap();
        assert!(bench.reads(&bench.edu, AT, 3));
    });
}

#[test]
fn the_driver_that_comes_after_another_finds_everything_blocked() {
    on_qemu(config(), |bench| {
        transfers::the_driver_that_comes_after_another_blocks_everything(bench, |machine| {
            probe(machine, config())
        });
    });
}
