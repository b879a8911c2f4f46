//! The queues: around their ends, full, and with what should not be in them.

use crate::support::*;
use vcm::{Iova, PhysicalAddress, Span};
use vcm_iommu::smmuv3::{Config, spec};
use vcm_iommu::{Invalidation, Iommu, Reach, Registers};

#[test]
fn small_queues_wrap_around_many_times() {
    on_qemu(Config { command_queue: 1, event_queue: 2, ..config() }, |bench| {
        let page = bench.page();
        bench.put(page, 3);
        let (domain, _table) = bench.domain_to(page);
        bench.iommu.attach(STREAM, domain).unwrap();
        let spans = [0_u64, 1, 2, 3].map(|index| Span::new(index << 24, 37 << 12).unwrap());
        let several = Invalidation::Addresses { spans: &spans, granule: 0x1000, reach: Reach::Tables };
        for round in 0..30 {
            bench.iommu.invalidate(domain, &several).unwrap();
            let at = 0x6000_0000 + 4 * round;
            assert_eq!(bench.fault_of_read(at).unwrap().address, at);
        }
        assert!(bench.iommu.statistics().commands > 200);
        assert_eq!(bench.iommu.statistics().faults, 30);
        assert!(bench.reads(&bench.edu, AT, 3));
        assert_eq!(bench.iommu.fault_overflows(), 0);
    });
}

#[test]
fn an_overflow_is_counted_and_events_go_on() {
    on_qemu(Config { event_queue: 3, ..config() }, |bench| {
        let (page, other_page) = (bench.page(), bench.page());
        bench.put(page, 3);
        let (domain, _table) = bench.domain_to(page);
        bench.iommu.attach(STREAM, domain).unwrap();
        for round in 1..=4 {
            // Each word of it faults.
            bench.edu.dma_to_device(Iova::new(0x6000_0000), 0, 256).unwrap();
            let faults = bench.faults();
            assert_eq!(faults.len(), 8);
            for (index, fault) in faults.iter().enumerate() {
                assert_eq!(fault.address, 0x6000_0000 + 4 * index as u64);
            }
            assert_eq!(bench.iommu.fault_overflows(), round);
            let fault = bench.fault_of_write(other_page.raw()).unwrap();
            assert_eq!(fault.address, other_page.raw());
        }
        let registers = bench.iommu.registers_mut();
        assert_eq!(registers.read(spec::GERROR), registers.read(spec::GERRORN), "all is acknowledged");
    });
}

/// Puts a command that does not exist where the driver will put its next one, and tells the hardware of it.
fn slip_in_an_illegal_command(bench: &mut Bench) {
    let registers = bench.iommu.registers_mut();
    let (base, producer) = (registers.read64(spec::CMDQ_BASE), registers.read(spec::CMDQ_PROD));
    let log2 = base & 0x1f;
    let (slot, mask) = (u64::from(producer) & ((1 << log2) - 1), (2 << log2) - 1);
    let at = (base & 0x000f_ffff_ffff_ffe0) + 16 * slot;
    bench.ram.write_bytes(PhysicalAddress::new(at), &[0xff; 16]).unwrap();
    registers.write(spec::CMDQ_PROD, (producer + 1) & mask);
    let consumer = spec::CmdqCons::from_bits(registers.read(spec::CMDQ_CONS));
    assert_eq!((consumer.rd(), consumer.err()), (producer, spec::CERROR_ILL), "it has stopped there");
}

#[test]
fn an_illegal_command_is_mended_and_the_call_can_be_repeated() {
    on_qemu(Config { command_queue: 3, ..config() }, |bench| {
        let page = bench.page();
        bench.put(page, 3);
        let (domain, mut table) = bench.domain_to(page);
        bench.iommu.attach(STREAM, domain).unwrap();
        for round in 1..=10 {
            assert!(bench.reads(&bench.edu, AT, 3));
            let gather = bench.unmap(&mut table, AT, 0x1000);
            slip_in_an_illegal_command(bench);
            // The hardware stands at the first command of this call, which is replaced.
            let error = bench.iommu.invalidate(domain, &(&gather).into()).unwrap_err();
            assert_eq!(error.what, "a command was refused (CERROR_ILL)");
            assert!(bench.reads(&bench.edu, AT, 3), "the invalidation was not carried out");
            bench.iommu.invalidate(domain, &(&gather).into()).unwrap();
            assert!(!bench.reads(&bench.edu, AT, 3));
            assert_eq!(bench.iommu.statistics().refused_commands, round);
            bench.finish(gather);
            bench.faults();
            bench.map(&mut table, AT, page, 0x1000);
        }
    });
}

#[test]
fn a_command_error_that_nobody_waits_for_does_not_stop_events() {
    on_qemu(config(), |bench| {
        slip_in_an_illegal_command(bench);
        assert!(bench.fault_of_read(0).is_some());
        assert_eq!(bench.iommu.statistics().refused_commands, 0);
    });
}

#[test]
fn after_a_reset_recovering_restores_everything() {
    on_qemu(config(), |bench| {
        let (page, other_page) = (bench.page(), bench.page());
        bench.put(page, 1);
        bench.put(other_page, 2);
        let (domain, _table) = bench.domain_to(page);
        let (other, _other_table) = bench.domain_to(other_page);
        bench.iommu.attach(STREAM, domain).unwrap();
        bench.iommu.attach(OTHER_STREAM, other).unwrap();
        bench.iommu.detach(OTHER_STREAM).unwrap();
        // RAM keeps its contents, and from here on nothing is allocated.
        bench.machine.reset().unwrap();
        let error = bench.iommu.invalidate(domain, &Invalidation::Everything).unwrap_err();
        assert_eq!(error.what, "CMDQ_CONS makes no sense");
        bench.iommu.recover().unwrap();
        (bench.edu, bench.other) = (bench.machine.edu(2).unwrap(), bench.machine.edu(3).unwrap());
        assert!(bench.reads(&bench.edu, AT, 1));
        assert_eq!(bench.faults(), []);
        assert!(!bench.reads(&bench.other, AT, 2));
        assert!(bench.faults().iter().all(|fault| fault.stream == OTHER_STREAM));
        bench.iommu.attach(OTHER_STREAM, other).unwrap();
        assert!(bench.reads(&bench.other, AT, 2));
    });
}

#[test]
fn stopped_it_refuses_everything_and_records_nothing() {
    on_qemu(config(), |bench| {
        let page = bench.page();
        bench.put(page, 1);
        let (domain, _table) = bench.domain_to(page);
        bench.iommu.attach(STREAM, domain).unwrap();
        bench.iommu.stop().unwrap();
        assert!(!bench.reads(&bench.edu, AT, 1));
        bench.edu.dma_from_device(Iova::new(page.raw()), 0, 64).unwrap();
        assert!(bench.holds(page, 1));
        bench.iommu.recover().unwrap();
        assert_eq!(bench.faults(), []);
        assert!(bench.reads(&bench.edu, AT, 1));
    });
}
