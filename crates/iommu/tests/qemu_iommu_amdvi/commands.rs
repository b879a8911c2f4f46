//! The command buffer: round and round, and after what another hand put there.

use crate::rig::transfers;
use crate::support::*;
use vcm::{PhysicalAddress, Span};
use vcm_iommu::amdvi::{Config, spec};
use vcm_iommu::{Invalidation, Iommu, Reach, Registers};

#[test]
fn many_more_commands_than_entries() {
    on_qemu(Config { commands_log2: 8, ..config() }, |bench| {
        let page = bench.page();
        bench.put(page, 3);
        let (domain, mut table) = bench.domain_to(page);
        bench.iommu.attach(STREAM, domain).unwrap();
        // 256 pages apart, each a command, and then the page that counts: in all more than three times round.
        let apart: Vec<Span> = (0..255).map(|index| Span::new(index * 0x2000, 0x1000).unwrap()).collect();
        for round in 0..8 {
            assert!(bench.reads(&bench.edu, AT, 3));
            let gather = bench.unmap(&mut table, AT, 0x1000);
            let mut spans = apart.clone();
            spans.truncate(255 - round);
            spans.push(Span::new(AT, 0x1000).unwrap());
            let all = Invalidation::Addresses { spans: &spans, granule: 0x1000, reach: Reach::Pages };
            bench.iommu.invalidate(domain, &all).unwrap();
            assert!(!bench.reads(&bench.edu, AT, 3), "round {round}");
            bench.finish(gather);
            bench.map(&mut table, AT, page, 0x1000);
            // And one at a time.
            for _ in 0..100 {
                bench.invalidate_page(domain, AT + 0x1000, Reach::Pages);
            }
        }
        assert_eq!(bench.iommu.command_stops(), 0);
    });
}

#[test]
fn an_illegal_command_costs_nothing() {
    on_qemu(config(), |bench| {
        let page = bench.page();
        bench.put(page, 3);
        let (domain, mut table) = bench.domain_to(page);
        bench.iommu.attach(STREAM, domain).unwrap();
        for _ in 0..3 {
            assert!(bench.reads(&bench.edu, AT, 3));
            let gather = bench.unmap(&mut table, AT, 0x1000);
            // Behind the driver's back an illegal command is queued. QEMU passes over it, and then is ahead of the
            // driver.
            let mut registers = bench.machine.iommu_registers().unwrap();
            let base = spec::BufferBase::from_bits(registers.read64(spec::COMMAND_BASE)).page() << 12;
            let tail = registers.read64(spec::COMMAND_TAIL);
            let at = PhysicalAddress::new(base + tail + 8);
            bench.ram.write_bytes(at, &[0; 8]).unwrap();
            let at = PhysicalAddress::new(base + tail);
            bench.ram.write_bytes(at, &(0xf_u64 << 60).to_le_bytes()).unwrap();
            registers.write64(spec::COMMAND_TAIL, tail + spec::COMMAND_BYTES);
            bench.iommu.invalidate(domain, &(&gather).into()).unwrap();
            assert!(!bench.reads(&bench.edu, AT, 3));
            bench.finish(gather);
            bench.map(&mut table, AT, page, 0x1000);
        }
    });
}

#[test]
fn a_reset_is_noticed_and_recovered_from() {
    on_qemu(config(), |bench| {
        let page = bench.page();
        bench.put(page, 3);
        let (domain, _table) = bench.domain_to(page);
        bench.iommu.attach(STREAM, domain).unwrap();
        bench.iommu.attach(OTHER_STREAM, domain).unwrap();
        assert!(bench.reads(&bench.edu, AT, 3) && bench.reads(&bench.other, AT, 3));
        bench.machine.reset().unwrap();
        bench.iommu.invalidate(domain, &Invalidation::Everything).unwrap_err();
        let error = bench.iommu.invalidate(domain, &Invalidation::Everything).unwrap_err();
        assert_eq!(error.to_string(), "iommu qemu: the IOMMU was reset");
        bench.iommu.detach(OTHER_STREAM).unwrap_err();
        bench.iommu.recover().unwrap();
        bench.edu = bench.machine.edu(2).unwrap();
        bench.other = bench.machine.edu(3).unwrap();
        assert!(bench.reads(&bench.edu, AT, 3), "as it was before");
        assert!(!bench.reads(&bench.other, AT, 3), "it was to be blocked");
        bench.iommu.detach(STREAM).unwrap();
        assert!(!bench.reads(&bench.edu, AT, 3));
        bench.iommu.attach(STREAM, domain).unwrap();
        assert!(bench.reads(&bench.edu, AT, 3));
    });
}

#[test]
fn the_driver_that_comes_after_another_blocks_everything() {
    on_qemu(config(), |bench| {
        transfers::the_driver_that_comes_after_another_blocks_everything(bench, |machine| {
            probe(machine, config())
        });
    });
}
