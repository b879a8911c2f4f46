//! QEMU's interrupt remapping: where an interrupt arrives is seen in the local APIC of the processor, which is parked.

use crate::support::*;
use vcm::Iova;
use vcm_iommu::Iommu;
use vcm_iommu::vtd::{
    BlockSize, BlockedInterrupt, BlockedReason, Destinations, Event, InterruptMessage, InterruptTarget,
};
use vcm_qemu::{Edu, Message};

/// The vectors that wait in the processor's local APIC.
fn waiting(bench: &Bench) -> Vec<u32> {
    let text = bench.machine.bus().with(|machine| machine.qmp.human_monitor_command("info lapic")).unwrap();
    let line = text.lines().find(|line| line.starts_with("IRR")).expect("the monitor tells the IRR");
    line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

fn signal(bench: &Bench, edu: &Edu, message: InterruptMessage) {
    let message = Message { address: Iova::new(message.address), data: message.data };
    edu.function().enable_msi(&mut bench.machine.ecam(), message).unwrap();
    edu.raise(1).unwrap();
    edu.acknowledge(1).unwrap();
}

fn blocked(bench: &mut Bench) -> BlockedInterrupt {
    match bench.iommu.next_event().unwrap() {
        Some(Event::BlockedInterrupt(blocked)) => blocked,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_interrupt_arrives_where_it_is_routed_and_from_its_device_only() {
    on_all(|bench| {
        bench.iommu.enable_interrupt_remapping(8, Destinations::Xapic).unwrap();
        let others = bench.iommu.allocate_interrupts(OTHER_STREAM, BlockSize::Four).unwrap();
        let block = bench.iommu.allocate_interrupts(STREAM, BlockSize::Two).unwrap();
        let message = bench.iommu.interrupt_message(block).unwrap();
        assert_eq!(message, InterruptMessage { address: 0xfee0_0000 | 4 << 5 | 0x18, data: 0 });
        signal(bench, &bench.edu, message);
        let refused = blocked(bench);
        assert_eq!((refused.stream, refused.index, refused.reason), (STREAM, 4, BlockedReason::NoEntry));

        bench.iommu.route_interrupt(block, 0, &InterruptTarget::new(0x55, 0)).unwrap();
        bench.iommu.route_interrupt(block, 1, &InterruptTarget::new(0x66, 0)).unwrap();
        assert!(!waiting(bench).contains(&0x55));
        signal(bench, &bench.edu, message);
        assert!(waiting(bench).contains(&0x55) && !waiting(bench).contains(&0x66));
        signal(bench, &bench.edu, InterruptMessage { data: 1, ..message });
        assert!(waiting(bench).contains(&0x66));
        assert_eq!(bench.iommu.next_event(), Ok(None));

        signal(bench, &bench.other, message);
        let refused = blocked(bench);
        assert_eq!((refused.stream, refused.reason), (OTHER_STREAM, BlockedReason::OtherRequester));
        println!("{:?}: {} {:#x}", bench.model, refused.name, refused.code);

        bench.iommu.route_interrupt(block, 0, &InterruptTarget::new(0x77, 0)).unwrap();
        signal(bench, &bench.edu, message);
        assert!(waiting(bench).contains(&0x77));
        bench.iommu.free_interrupts(block).unwrap();
        signal(bench, &bench.edu, message);
        assert_eq!(blocked(bench).reason, BlockedReason::NoEntry);
        bench.iommu.free_interrupts(others).unwrap();
        // An entry beyond the table.
        signal(bench, &bench.edu, InterruptMessage { address: 0xfee0_0000 | 300 << 5 | 0x18, data: 0 });
        assert_eq!((blocked(bench).index, bench.iommu.next_event()), (300, Ok(None)));
    });
}

#[test]
fn routes_survive_a_reset_of_the_machine() {
    on_qemu(Variant::Legacy, |bench| {
        bench.iommu.enable_interrupt_remapping(8, Destinations::Xapic).unwrap();
        let block = bench.iommu.allocate_interrupts(STREAM, BlockSize::One).unwrap();
        bench.iommu.route_interrupt(block, 0, &InterruptTarget::new(0x55, 0)).unwrap();
        bench.machine.reset().unwrap();
        bench.edu = bench.machine.edu(2).unwrap();
        bench.iommu.recover().unwrap();
        assert!(!waiting(bench).contains(&0x55));
        signal(bench, &bench.edu, bench.iommu.interrupt_message(block).unwrap());
        assert!(waiting(bench).contains(&0x55));
    });
}

#[test]
fn a_fault_is_told_by_an_interrupt() {
    on_all(|bench| {
        bench.iommu.enable_fault_interrupt(0xfee0_0000, 0x61);
        assert!(!waiting(bench).contains(&0x61));
        assert!(bench.faults_at(NOWHERE));
        assert!(waiting(bench).contains(&0x61));
        bench.iommu.enable_fault_interrupt(0xfee0_0000, 0x62);
        bench.iommu.disable_fault_interrupt();
        assert!(bench.faults_at(NOWHERE));
        assert!(!waiting(bench).contains(&0x62));
    });
}
