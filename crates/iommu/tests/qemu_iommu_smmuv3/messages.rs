//! Message-signalled interrupts are writes like any other: the SMMU translates them.

use crate::support::*;
use vcm::{Attributes, Iova, MemoryType, PhysicalAddress};
use vcm_iommu::Iommu;
use vcm_qemu::GicV2m;

const DOORBELL: u64 = 0x5500_0000;

#[test]
fn a_message_to_an_unmapped_doorbell_faults_and_to_a_mapped_one_arrives() {
    on_qemu(config(), |bench| {
        let gic = GicV2m::new(bench.machine.bus()).unwrap();
        let interrupt = gic.interrupts().start;
        let page = bench.page();
        let (domain, mut table) = bench.domain_to(page);
        bench.iommu.attach(STREAM, domain).unwrap();
        let doorbell = gic.doorbell().raw();
        let at = DOORBELL + doorbell % 0x1000;
        let message = gic.message(interrupt, Iova::new(at)).unwrap();
        bench.edu.function().enable_msi(&mut bench.machine.ecam(), message).unwrap();

        bench.edu.raise(1).unwrap();
        let fault = bench.faults()[0];
        assert_eq!(
            fault.to_string(),
            format!("translation fault (F_TRANSLATION): write of stream 0x10 at {at:#x}, terminated")
        );
        assert!(!gic.is_pending(interrupt).unwrap());
        bench.edu.acknowledge(1).unwrap();

        let frame = PhysicalAddress::new(doorbell & !0xfff);
        let device = Attributes { memory_type: MemoryType::Device, ..Attributes::READ_WRITE };
        map_in(&mut bench.ram.clone(), &mut table, DOORBELL, frame, 0x1000, device);
        bench.edu.raise(1).unwrap();
        assert_eq!(bench.faults(), []);
        assert!(gic.is_pending(interrupt).unwrap());
        bench.edu.acknowledge(1).unwrap();
        gic.clear(interrupt).unwrap();

        // And no more once the doorbell is unmapped.
        let gather = bench.unmap(&mut table, DOORBELL, 0x1000);
        bench.iommu.invalidate(domain, &(&gather).into()).unwrap();
        bench.finish(gather);
        bench.edu.raise(1).unwrap();
        assert!(!gic.is_pending(interrupt).unwrap());
        assert_eq!(bench.faults()[0].address, at);
    });
}

/// What the SMMU itself signals by its lines (`VIRT_SMMU` of `a15irqmap` in QEMU's hw/arm/virt.c: 74 events, 77 global
/// errors, of the shared interrupts).
#[test]
fn an_event_raises_the_event_line() {
    on_qemu(config(), |bench| {
        let gic = GicV2m::new(bench.machine.bus()).unwrap();
        let events = 32 + 74_u32;
        // An edge, whose level falls at once.
        make_edge(bench, events.into());
        gic.clear(events).unwrap();
        assert!(!gic.is_pending(events).unwrap());
        assert!(bench.fault_of_read(0x1000).is_some());
        assert!(gic.is_pending(events).unwrap());
    });
}

/// Sets bit 1 of an interrupt's field in GICD_ICFGRn (Arm IHI 0048B.b 4.3.13).
fn make_edge(bench: &Bench, interrupt: u64) {
    let register = PhysicalAddress::new(0x0800_0c00 + interrupt / 16 * 4);
    let width = vcm_qemu::Width::Bits32;
    let value = bench.machine.bus().read(width, register).unwrap();
    bench.machine.bus().write(width, register, value | 2 << (interrupt % 16 * 2)).unwrap();
}
