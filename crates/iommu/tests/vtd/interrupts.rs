//! Interrupt remapping.

use crate::fake::{CAP, DEVICE, Driver, ECAP, Fake, NO_QUEUE, OTHER, config};
use vcm_iommu::vtd::{
    BlockSize, BlockedReason, Delivery, DestinationMode, Destinations, Event, InterruptTarget, Mode, Trigger,
};
use vcm_iommu::{Feature, Iommu, IommuError, StreamId};

const SID: u16 = DEVICE.0 as u16;

fn remapping(fake: &Fake, destinations: Destinations) -> Driver {
    let mut vtd = fake.probe(config(Mode::Legacy));
    vtd.enable_interrupt_remapping(8, destinations).unwrap();
    vtd
}

fn blocked(vtd: &mut Driver) -> (BlockedReason, u16) {
    match vtd.next_event().unwrap() {
        Some(Event::BlockedInterrupt(blocked)) => (blocked.reason, blocked.index),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_interrupt_goes_where_it_is_routed_and_only_for_its_device() {
    for (destinations, apic) in [(Destinations::Xapic, 0x5a), (Destinations::X2apic, 0x1234_5678)] {
        let fake = Fake::new(CAP, ECAP);
        let mut vtd = remapping(&fake, destinations);
        let block = vtd.allocate_interrupts(DEVICE, BlockSize::One).unwrap();
        let message = vtd.interrupt_message(block).unwrap();
        let raise = |sid| fake.interrupt(sid, message.address, message.data);
        assert_eq!(raise(SID), None);
        assert_eq!(blocked(&mut vtd), (BlockedReason::NoEntry, 0));
        vtd.route_interrupt(block, 0, &InterruptTarget::new(0x41, apic)).unwrap();
        assert_eq!(raise(SID), Some((0x41, apic)));
        assert_eq!(raise(OTHER.0 as u16), None);
        assert_eq!(blocked(&mut vtd), (BlockedReason::OtherRequester, 0));
        // Again, while the entry is cached.
        vtd.route_interrupt(block, 0, &InterruptTarget::new(0x42, 7)).unwrap();
        assert_eq!(raise(SID), Some((0x42, 7)));
        vtd.free_interrupts(block).unwrap();
        assert_eq!(raise(SID), None);
        assert_eq!(blocked(&mut vtd), (BlockedReason::NoEntry, 0));
        vtd.free_interrupts(block).unwrap();
        assert!(matches!(vtd.interrupt_message(block), Err(IommuError::Address { .. })));
        assert!(matches!(
            vtd.route_interrupt(block, 0, &InterruptTarget::new(0x41, 0)),
            Err(IommuError::Address { .. })
        ));
    }
}

#[test]
fn interrupts_in_compatibility_format_are_blocked() {
    let fake = Fake::new(CAP, ECAP);
    // As firmware may have left it: CFI.
    fake.get().unit.status |= 1 << 23;
    let mut vtd = remapping(&fake, Destinations::Xapic);
    assert_eq!(fake.get().unit.status >> 23 & 1, 0);
    assert_eq!(fake.interrupt(SID, 0xfee0_0000, 0x41), None);
    assert_eq!(blocked(&mut vtd).0, BlockedReason::CompatibilityFormat);
}

#[test]
fn blocks_are_aligned_and_their_interrupts_told_by_the_data() {
    let fake = Fake::new(CAP, ECAP);
    let mut vtd = remapping(&fake, Destinations::Xapic);
    let single = vtd.allocate_interrupts(OTHER, BlockSize::One).unwrap();
    let block = vtd.allocate_interrupts(DEVICE, BlockSize::Eight).unwrap();
    let message = vtd.interrupt_message(block).unwrap();
    assert_eq!(message.address, 0xfee0_0000 | 8 << 5 | 1 << 4 | 1 << 3);
    assert_eq!(vtd.interrupt_message(single).unwrap().address, 0xfee0_0000 | 1 << 4 | 1 << 3);
    for index in 0..8 {
        vtd.route_interrupt(block, index, &InterruptTarget::new(0x40 + index as u8, 0)).unwrap();
    }
    for index in 0..8 {
        let found = fake.interrupt(SID, message.address, message.data | index);
        assert_eq!(found, Some((0x40 + index as u8, 0)));
    }
    assert!(matches!(
        vtd.route_interrupt(block, 8, &InterruptTarget::new(0x40, 0)),
        Err(IommuError::Address { at: 8, len: 1 })
    ));
    vtd.free_interrupts(block).unwrap();
    for index in 0..8 {
        assert_eq!(fake.interrupt(SID, message.address, message.data | index), None);
    }
}

#[test]
fn blocks_larger_than_the_mask_are_freed_whole() {
    // MHMV = 1: two entries at a time.
    let fake = Fake::new(CAP, ECAP & !(0xf << 20) | 1 << 20);
    let mut vtd = remapping(&fake, Destinations::Xapic);
    let block = vtd.allocate_interrupts(DEVICE, BlockSize::ThirtyTwo).unwrap();
    let message = vtd.interrupt_message(block).unwrap();
    for index in 0..32 {
        vtd.route_interrupt(block, index, &InterruptTarget::new(0x40, 0)).unwrap();
        assert!(fake.interrupt(SID, message.address, u32::from(index)).is_some());
    }
    vtd.free_interrupts(block).unwrap();
    for index in 0..32 {
        assert_eq!(fake.interrupt(SID, message.address, index), None);
    }
}

#[test]
fn a_full_table_says_so_and_freed_entries_come_back() {
    let fake = Fake::new(CAP, ECAP);
    let mut vtd = remapping(&fake, Destinations::Xapic);
    let mut blocks: Vec<_> =
        (0..8).map(|_| vtd.allocate_interrupts(DEVICE, BlockSize::ThirtyTwo).unwrap()).collect();
    assert_eq!(vtd.allocate_interrupts(DEVICE, BlockSize::One), Err(IommuError::NoFreeSlot(256)));
    vtd.free_interrupts(blocks.remove(3)).unwrap();
    vtd.allocate_interrupts(DEVICE, BlockSize::One).unwrap();
    assert_eq!(vtd.allocate_interrupts(DEVICE, BlockSize::ThirtyTwo), Err(IommuError::NoFreeSlot(256)));
    vtd.allocate_interrupts(DEVICE, BlockSize::Sixteen).unwrap();
    vtd.allocate_interrupts(DEVICE, BlockSize::Eight).unwrap();
}

#[test]
fn targets_that_there_cannot_be_are_refused() {
    let fake = Fake::new(CAP, ECAP);
    let mut vtd = remapping(&fake, Destinations::Xapic);
    let block = vtd.allocate_interrupts(DEVICE, BlockSize::One).unwrap();
    for target in
        [InterruptTarget::new(0x0f, 0), InterruptTarget::new(0xff, 0), InterruptTarget::new(0x41, 0x100)]
    {
        assert_eq!(vtd.route_interrupt(block, 0, &target), Err(IommuError::Attributes));
    }
    let lowest = InterruptTarget {
        destination_mode: DestinationMode::Logical,
        delivery: Delivery::LowestPriority,
        trigger: Trigger::Level,
        ..InterruptTarget::new(0x41, 0xff)
    };
    vtd.route_interrupt(block, 0, &lowest).unwrap();
    let stream = StreamId(0x1_0000);
    let last = StreamId(0xffff);
    assert_eq!(
        vtd.allocate_interrupts(stream, BlockSize::One),
        Err(IommuError::StreamOutOfRange { stream, last })
    );
}

#[test]
fn without_the_hardware_it_is_not_supported() {
    let unable = Err(IommuError::NotSupported(Feature::InterruptRemapping));
    for (ecap, order, destinations) in [
        (NO_QUEUE | 1 << 3, 8, Destinations::Xapic),
        (ECAP & !(1 << 3), 8, Destinations::Xapic),
        (ECAP & !(1 << 4), 8, Destinations::X2apic),
        (ECAP, 7, Destinations::Xapic),
        (ECAP, 17, Destinations::Xapic),
    ] {
        let fake = Fake::new(CAP, ecap);
        let mut vtd = fake.probe(config(Mode::Legacy));
        assert_eq!(vtd.enable_interrupt_remapping(order, destinations), unable);
        assert_eq!(vtd.allocate_interrupts(DEVICE, BlockSize::One).map(drop), unable);
    }
    let fake = Fake::new(CAP, ECAP);
    let mut vtd = remapping(&fake, Destinations::Xapic);
    assert_eq!(vtd.enable_interrupt_remapping(8, Destinations::Xapic), Ok(()));
    assert_eq!(vtd.enable_interrupt_remapping(9, Destinations::Xapic), unable);
}

#[test]
fn what_did_not_complete_stays_taken() {
    let fake = Fake::new(CAP, ECAP);
    let mut vtd = remapping(&fake, Destinations::Xapic);
    let block = vtd.allocate_interrupts(DEVICE, BlockSize::One).unwrap();
    vtd.route_interrupt(block, 0, &InterruptTarget::new(0x41, 0)).unwrap();
    fake.get().unit.lost_waits = 1;
    vtd.free_interrupts(block).unwrap_err();
    let next = vtd.allocate_interrupts(DEVICE, BlockSize::One).unwrap();
    assert_ne!(vtd.interrupt_message(next), vtd.interrupt_message(block));
    vtd.free_interrupts(block).unwrap();
}

#[test]
fn routes_survive_a_reset_of_the_unit() {
    let fake = Fake::new(CAP, ECAP);
    let mut vtd = remapping(&fake, Destinations::X2apic);
    let block = vtd.allocate_interrupts(DEVICE, BlockSize::Two).unwrap();
    vtd.route_interrupt(block, 1, &InterruptTarget::new(0x41, 0x300)).unwrap();
    vtd.enable_fault_interrupt(0x1_fee0_1000, 0x61);
    fake.get().unit.reset();
    vtd.recover().unwrap();
    let message = vtd.interrupt_message(block).unwrap();
    assert_eq!(fake.interrupt(SID, message.address, message.data | 1), Some((0x41, 0x300)));
    let registers = [0x38, 0x3c, 0x40, 0x44].map(|offset| fake.get().unit.read(offset));
    assert_eq!(registers, [0, 0x61, 0xfee0_1000, 1]);
    vtd.disable_fault_interrupt();
    assert_eq!(fake.get().unit.read(0x38), 1 << 31);
}
