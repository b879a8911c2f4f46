//! A device's interrupt messages are writes, and the graph is what lets them through.

use crate::support::*;
use vcm::{Iova, MemoryType, PhysicalAddress};
use vcm_qemu::{Edu, GicV2m};

const SLOT: u8 = 21;
const EDU: [Device; 1] = [Device::Edu { slot: SLOT }];
const PAGE: u64 = 0x1000;

/// Has the device signal by message, and takes what it raised back.
fn signal(world: &World, edu: &Edu, gic: &GicV2m, interrupt: u32, address: u64) -> bool {
    let message = gic.message(interrupt, Iova::new(address)).unwrap();
    edu.function().enable_msi(&mut world.emulated.machine().ecam(), message).unwrap();
    edu.raise(1).unwrap();
    let pending = gic.is_pending(interrupt).unwrap();
    edu.acknowledge(1).unwrap();
    gic.clear(interrupt).unwrap();
    assert!(!gic.is_pending(interrupt).unwrap());
    pending
}

#[test]
fn a_message_arrives_where_its_doorbell_is_backed() {
    on(&[IommuModel::Smmuv3], &EDU, |world| {
        let gic = GicV2m::new(world.emulated.machine().bus()).unwrap();
        let edu = world.emulated.machine().edu(SLOT).unwrap();
        let interrupt = gic.interrupts().start + 3;
        let (region, links) = world.region("device with messages", &["slot21"]);
        // The doorbell's page, which is no memory, is wrapped: it comes from no pool.
        let doorbell = gic.doorbell().raw();
        let frame = PhysicalAddress::new(doorbell & !(PAGE - 1));
        let frame = world.graph.wrap_physical("doorbell", frame, PAGE).unwrap();
        let registers = Attributes::READ_WRITE.with_memory_type(MemoryType::Device);
        let reservation = world.graph.reserve(region, PAGE, registers).unwrap();
        let at = world.graph.device_address(reservation).unwrap().raw() + doorbell % PAGE;
        assert_ne!(at, doorbell);

        let refused = |world: &mut World| {
            assert!(!signal(world, &edu, &gic, interrupt, at));
            let fault = world.emulated.iommu().next_fault().unwrap().expect("the SMMU tells of it");
            assert_eq!((fault.address, fault.access), (at, FaultAccess::Write));
            while world.emulated.iommu().next_fault().unwrap().is_some() {}
            fault.reason
        };
        assert_eq!(refused(world), FaultReason::Translation);
        world.graph.back(reservation, frame, &mut world.emulated).unwrap();
        for interrupt in [interrupt, interrupt + 1] {
            assert!(signal(world, &edu, &gic, interrupt, at));
        }
        assert_eq!(world.emulated.iommu().next_fault().unwrap(), None);
        world.unback(reservation);
        assert_eq!(refused(world), FaultReason::Translation);
        world.graph.back(reservation, frame, &mut world.emulated).unwrap();
        assert!(signal(world, &edu, &gic, interrupt, at));
        world.deactivate(links[0]);
        assert!(!signal(world, &edu, &gic, interrupt, at));
        while world.emulated.iommu().next_fault().unwrap().is_some() {}
    });
}

/// A device that a driver elsewhere programs has a hook like any other: it is called when the IOMMU is looked at next.
#[test]
fn a_refused_message_is_told_to_the_devices_hook() {
    on(&[IommuModel::Smmuv3], &EDU, |world| {
        let gic = GicV2m::new(world.emulated.machine().bus()).unwrap();
        let edu = world.emulated.machine().edu(SLOT).unwrap();
        let (_, _) = world.region("device with messages", &["slot21"]);
        let (region, _) = world.region("master", &["lsi1"]);
        let (told, others) = (world.watch("slot21"), world.watch("lsi1"));
        let buffer = world.buffer(region, PAGE, Attributes::READ_WRITE, 1);
        let at = 0x2345_6000 + gic.doorbell().raw() % PAGE;
        assert!(!signal(world, &edu, &gic, gic.interrupts().start, at));
        assert_eq!(world.run("lsi1", &write(buffer.at, PAGE, 2)).outcome, Outcome::Completed);
        let fault = told.one();
        assert_eq!((fault.device, fault.address), (world.handle("slot21"), at));
        assert_eq!((fault.access, fault.reason), (FaultAccess::Write, FaultReason::Translation));
        assert_eq!(others.take(), []);
        world.assert_memory(&[(buffer.memory, &written(2, PAGE))]);
    });
}

/// On QEMU's Arm machine virtio-iommu lets messages to the GICv2m pass as they are, and says so in its reserved regions
/// (`virt_machine_device_pre_plug_cb` in hw/arm/virt.c): the graph gives nobody these addresses.
#[test]
fn a_reserved_window_of_messages_is_never_reserved_from() {
    on(&[IommuModel::VirtioOnArm], &EDU, |world| {
        let gic = GicV2m::new(world.emulated.machine().bus()).unwrap();
        let edu = world.emulated.machine().edu(SLOT).unwrap();
        let interrupt = gic.interrupts().start;
        let doorbell = gic.doorbell().raw();
        let window = vcm::Span::inclusive(0, 0x7fff_ffff).unwrap();
        let request = vcm::RegionRequest::new("low", vcm::RegionKind::Translated, window);
        let region = world.graph.create_region(&request).unwrap();
        world.activate(region, "slot21");
        let refused = world.graph.reserve_at(region, doorbell & !(PAGE - 1), PAGE, Attributes::READ_WRITE);
        assert!(matches!(refused, Err(vcm::Error::Occupied { .. })), "{refused:?}");
        assert!(signal(world, &edu, &gic, interrupt, doorbell));
        assert_eq!(world.emulated.iommu().next_fault().unwrap(), None);
    });
}
