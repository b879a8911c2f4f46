//! Associations: what a device translates through, and when.

mod support;

use support::machine::{self, Blocked, FakeMachine};
use support::world::{RW, World, span};
use vcm::{
    AssociationState, DeviceHandle, DeviceRequest, Error, Hardware, HardwareErrorKind, Part, PhysicalAddress,
    RegionKind, SIZE_1M, SIZE_4K, SIZE_16M, SIZE_64K, Span, Teardown, errno,
};

#[test]
fn a_device_takes_regions_of_its_kind_only() {
    let mut world = World::new();
    for kind in RegionKind::ALL {
        let region = world.region("kind", kind, 0, SIZE_16M);
        let devices: Vec<_> = world.graph.devices().map(|device| (device.id, device.kind)).collect();
        for (device, device_kind) in devices {
            match world.graph.associate(region, device, Part::Whole, &mut world.machine) {
                Ok(_) => assert_eq!(kind, device_kind),
                Err(error) => {
                    assert_ne!(kind, device_kind);
                    assert_eq!(error, Error::KindMismatch { region, region_kind: kind, device, device_kind });
                    assert_eq!(error.errno(), errno::EINVAL);
                }
            }
        }
    }
}

#[test]
fn a_second_link_of_the_same_two_names_the_first() {
    let mut world = World::new();
    let (region, device) = (world.translated("once"), world.devices.codec_a);
    let association = world.associate(region, device);
    let again =
        world.graph.associate(region, device, Part::Low { split: 1 }, &mut world.machine).unwrap_err();
    assert_eq!(again, Error::AlreadyAssociated { region, device, association });
    assert_eq!(again.errno(), errno::EEXIST);
    world.graph.deassociate(association, &mut world.machine).unwrap();
    let link = world.associate(region, device);
    assert_eq!(
        world.graph.deassociate(association, &mut world.machine),
        Err(Error::UnknownAssociation(association))
    );
    assert_eq!(world.graph.is_active(link), Ok(false));
}

#[test]
fn a_region_has_to_be_translatable_whole() {
    let mut world = World::new();
    let device = world.devices.codec_a;
    let region = world.region("wide", RegionKind::Translated, 0, 0x1_0000_1000);
    let error = world.graph.associate(region, device, Part::Whole, &mut world.machine).unwrap_err();
    let translates = Span::inclusive(0, 0xffff_ffff).unwrap();
    let window = span(0, 0x1_0000_1000);
    assert_eq!(error, Error::NotTranslatable { region, window, device, translates, part: Part::Whole });
    assert_eq!(error.errno(), errno::ERANGE);
    // The document's region at 1K: only its whole pages count.
    let region = world.region("to the end", RegionKind::Translated, 0, 0x1_0000_0400);
    assert!(world.graph.associate(region, device, Part::Whole, &mut world.machine).is_ok());
    let gone = Error::Hardware {
        doing: "associating",
        error: vcm::HardwareError { kind: HardwareErrorKind::NotSupported, at: "fake machine".into() },
    };
    let (gpu, low) = (world.devices.gpu, Part::Low { split: 1 });
    let error = world.graph.associate(region, gpu, low, &mut world.machine).unwrap_err();
    assert_eq!((error, error.errno()), (gone, errno::EOPNOTSUPP));
    let request = DeviceRequest {
        label: "stranger".into(),
        handle: DeviceHandle(99),
        kind: RegionKind::Translated,
        reserved: &[],
    };
    let stranger = world.graph.add_device(&request).unwrap();
    let error = world.graph.associate(region, stranger, Part::Whole, &mut world.machine).unwrap_err();
    assert_eq!(error.errno(), errno::ENODEV, "{error}");
}

/// Reviewers asked that IOMMUs share one table where their formats agree.
#[test]
fn devices_of_one_format_share_a_table() {
    let mut world = World::new();
    let region = world.translated("shared");
    let (reservation, _) = world.buffer(region, SIZE_64K);
    let a = world.activate(region, world.devices.codec_a);
    let b = world.activate(region, world.devices.codec_b);
    assert_eq!(world.machine.spaces.len(), 1);
    let gpu = world.activate(region, world.devices.gpu);
    assert_eq!(world.machine.spaces.len(), 2);
    let formats: Vec<_> = world.graph.associations().map(|link| link.format).collect();
    assert_eq!(formats, [Some("short"), Some("short"), Some("long")]);
    for link in [a, gpu] {
        world.graph.deactivate(link, &mut world.machine);
        world.graph.deassociate(link, &mut world.machine).unwrap();
    }
    assert_eq!(world.machine.spaces.len(), 1, "the table stays for the second codec");
    let at = world.at(reservation);
    assert!(world.machine.access(machine::CODEC_B, at).is_ok());
    world.graph.deactivate(b, &mut world.machine);
    world.graph.deassociate(b, &mut world.machine).unwrap();
    assert!(world.machine.spaces.is_empty());
    assert!(world.graph.allocation_behind(reservation).is_ok(), "the region keeps its backing");
}

#[test]
fn only_an_active_association_translates() {
    let mut world = World::new();
    let region = world.translated("inactive");
    let (reservation, _) = world.buffer(region, SIZE_64K);
    let at = world.at(reservation);
    let link = world.associate(region, world.devices.codec_a);
    assert_eq!(world.graph.is_active(link), Ok(false));
    assert_eq!(world.machine.access(machine::CODEC_A, at), Err(Blocked::NoContext));
    assert_eq!(
        world.graph.deactivate(link, &mut world.machine),
        Teardown::NothingThere,
        "ENOENT in the original"
    );
    world.graph.activate(link, &mut world.machine).unwrap();
    let arrived = world.machine.access(machine::CODEC_A, at).unwrap();

    // The original deactivated under backed reservations; here they wait for the next activation.
    assert_eq!(world.graph.deactivate(link, &mut world.machine), Teardown::Done);
    assert_eq!(
        world.machine.access(machine::CODEC_A, at),
        Err(Blocked::NoContext),
        "the TLB is empty as well"
    );
    assert!(world.graph.allocation_behind(reservation).is_ok());
    world.graph.activate(link, &mut world.machine).unwrap();
    assert_eq!(world.machine.access(machine::CODEC_A, at), Ok(arrived));
}

#[test]
fn an_active_association_is_neither_removed_nor_changed() {
    let mut world = World::new();
    let (region, device) = (world.translated("active"), world.devices.codec_a);
    let association = world.activate(region, device);
    let active = Error::Active { association, region, device };
    assert_eq!(active.errno(), errno::EBUSY);
    assert_eq!(world.graph.deassociate(association, &mut world.machine), Err(active));
    assert_eq!(world.graph.activate(association, &mut world.machine), Err(active), "not counted");
    let part = Part::High { split: 1 };
    assert_eq!(world.graph.set_association_part(association, part, &mut world.machine), Err(active));
    assert_eq!(world.graph.association_part(association), Ok(Part::Whole));
    assert_eq!(world.graph.remove_device(device), Err(Error::DeviceInUse { device, association }));

    world.graph.deactivate(association, &mut world.machine);
    let low = Part::Low { split: 1 };
    world.graph.set_association_part(association, low, &mut world.machine).unwrap();
    assert_eq!(world.graph.association_part(association), Ok(low));
    assert_eq!(world.machine.spaces.len(), 1, "the old table went");
    // The region is not in the high half: nothing changes.
    let error = world.graph.set_association_part(association, part, &mut world.machine).unwrap_err();
    assert!(matches!(error, Error::NotTranslatable { .. }), "{error}");
    assert_eq!(world.graph.association_part(association), Ok(low));
    world.graph.deassociate(association, &mut world.machine).unwrap();
    world.graph.remove_device(device).unwrap();
    assert_eq!(world.graph.remove_device(device), Err(Error::UnknownDevice(device)));
}

#[test]
fn a_changed_part_sees_what_is_backed() {
    let mut world = World::new();
    let region = world.translated("changed");
    let (reservation, _) = world.buffer(region, SIZE_64K);
    let link = world.associate(region, world.devices.codec_a);
    world.graph.set_association_part(link, Part::Low { split: 2 }, &mut world.machine).unwrap();
    world.graph.activate(link, &mut world.machine).unwrap();
    let at = world.at(reservation);
    assert!(world.machine.access(machine::CODEC_A, at).is_ok());
}

/// The text of the original speaks of reference counting; its code had a boolean.
#[test]
fn activations_of_cpus_and_one_to_one_devices_are_counted() {
    for (kind, device) in [(RegionKind::Cpu, 0), (RegionKind::OneToOne, 1)] {
        let mut world = World::new();
        let device = [world.devices.cpu, world.devices.ethernet][device];
        let region = world.region("counted", kind, 0, SIZE_16M);
        let link = world.associate(region, device);
        for count in 1..=3 {
            world.graph.activate(link, &mut world.machine).unwrap();
            assert_eq!(world.graph.associations().next().unwrap().state, AssociationState::Active(count));
        }
        for _ in 0..2 {
            assert_eq!(world.graph.deactivate(link, &mut world.machine), Teardown::StillCounted);
            assert_eq!(world.graph.is_active(link), Ok(true));
        }
        assert_eq!(world.graph.deactivate(link, &mut world.machine), Teardown::Done);
        assert_eq!(world.graph.deactivate(link, &mut world.machine), Teardown::NothingThere);
        world.graph.deassociate(link, &mut world.machine).unwrap();
        assert_eq!(
            world.graph.deactivate(link, &mut world.machine),
            Teardown::NothingThere,
            "gone altogether"
        );
    }
}

#[test]
fn a_device_that_is_held_names_its_holder() {
    let mut world = World::new();
    let (first, second) = (world.translated("first"), world.translated("second"));
    let device = world.devices.codec_a;
    let held = world.activate(first, device);
    let link = world.associate(second, device);
    let error = world.graph.activate(link, &mut world.machine).unwrap_err();
    assert_eq!(error, Error::DeviceBusy { device, holder: first, part: Part::Whole, association: held });
    assert_eq!(error.errno(), errno::EBUSY);
    let text = world.graph.explain(error).to_string();
    assert!(text.contains("\"codec_a\"") && text.contains("\"first\""), "{text}");
    // Activated in turn: a context switch.
    world.graph.deactivate(held, &mut world.machine);
    world.graph.activate(link, &mut world.machine).unwrap();
    assert!(world.graph.activate(held, &mut world.machine).is_err());
}

/// The original stored `USE_LOW_BASE`, `USE_HIGH_BASE` and `SPLIT`, and never read them.
#[test]
fn the_low_and_the_high_part_of_a_device_serve_two_regions() {
    let mut world = World::new();
    let device = world.devices.codec_a;
    let low = world.region("low", RegionKind::Translated, 0, SIZE_16M);
    let high = world.region("high", RegionKind::Translated, 0x8000_0000, SIZE_16M);
    let part =
        |world: &mut World, region, part| world.graph.associate(region, device, part, &mut world.machine);
    let wrong = part(&mut world, high, Part::Low { split: 1 });
    assert!(matches!(wrong, Err(Error::NotTranslatable { .. })), "{wrong:?}");
    let low_link = part(&mut world, low, Part::Low { split: 1 }).unwrap();
    let high_link = part(&mut world, high, Part::High { split: 1 }).unwrap();
    world.graph.activate(low_link, &mut world.machine).unwrap();
    world.graph.activate(high_link, &mut world.machine).unwrap();
    let (below, _) = world.buffer(low, SIZE_64K);
    let (above, _) = world.buffer(high, SIZE_64K);
    for (region, reservation) in [(low, below), (high, above)] {
        let at = world.at(reservation);
        let to = world.graph.physical_at(region, at).unwrap();
        assert_eq!(world.machine.access(machine::CODEC_A, at), Ok(to.raw()));
        let said = world.graph.translate(device, at, &mut world.machine).unwrap();
        assert_eq!((said.graph, said.tables, said.hardware), (Some(to), Some(to), Ok(to)));
    }
    // A third, and another split, are not beside them.
    let other = world.region("other", RegionKind::Translated, 0, SIZE_16M);
    let link = part(&mut world, other, Part::Low { split: 2 }).unwrap();
    let busy = world.graph.activate(link, &mut world.machine);
    assert!(matches!(busy, Err(Error::DeviceBusy { holder, .. }) if holder == low), "{busy:?}");
    world.graph.deactivate(low_link, &mut world.machine);
    let busy = world.graph.activate(link, &mut world.machine);
    assert!(matches!(busy, Err(Error::DeviceBusy { holder, .. }) if holder == high), "{busy:?}");
}

#[test]
fn a_cpu_has_regions_side_by_side_and_one_to_one_devices_have_any() {
    let mut world = World::new();
    let cpu = world.devices.cpu;
    let lower = world.region("lower", RegionKind::Cpu, 0, SIZE_16M);
    let upper = world.region("upper", RegionKind::Cpu, SIZE_16M, SIZE_16M);
    let across = world.region("across", RegionKind::Cpu, SIZE_16M - SIZE_4K, SIZE_1M);
    world.activate(lower, cpu);
    world.activate(upper, cpu);
    for region in [lower, upper] {
        let (reservation, _) = world.buffer(region, SIZE_64K);
        let at = world.at(reservation);
        let to = world.graph.physical_at(region, at).unwrap().raw();
        assert_eq!(world.machine.access(machine::CPU, at), Ok(to));
    }
    let link = world.associate(across, cpu);
    let busy = world.graph.activate(link, &mut world.machine);
    assert!(matches!(busy, Err(Error::DeviceBusy { holder, .. }) if holder == lower), "{busy:?}");

    let ethernet = world.devices.ethernet;
    for label in ["one", "two"] {
        let region = world.region(label, RegionKind::OneToOne, 0, u64::MAX);
        world.activate(region, ethernet);
    }
    assert!(world.machine.spaces.values().all(|space| space.kind == RegionKind::Cpu));
}

#[test]
fn the_graph_the_tables_and_the_hardware_agree() {
    let mut world = World::new();
    let region = world.translated("agree");
    let (reservation, _) = world.buffer(region, SIZE_64K);
    let device = world.devices.gpu;
    world.activate(region, device);
    let at = world.at(reservation) + 0x1234;
    let to = world.graph.physical_at(region, at);
    let said = world.graph.translate(device, at, &mut world.machine).unwrap();
    assert_eq!((said.graph, said.tables, said.hardware.ok()), (to, to, to));
    let nowhere = world.graph.translate(device, 0x3000_0000, &mut world.machine).unwrap();
    assert_eq!((nowhere.graph, nowhere.tables), (None, None));
    assert_eq!(nowhere.hardware.unwrap_err().kind, HardwareErrorKind::Address);

    let ethernet = world.devices.ethernet;
    let region = world.region("one-to-one", RegionKind::OneToOne, 0, u64::MAX);
    world.activate(region, ethernet);
    let reservation = world.reserve(region, SIZE_64K);
    let memory = world.contiguous("packets", SIZE_64K);
    world.back(reservation, memory).unwrap();
    let at = world.at(reservation);
    let said = world.graph.translate(ethernet, at, &mut world.machine).unwrap();
    let to = Some(PhysicalAddress::new(at));
    assert_eq!((said.graph, said.tables), (to, to));
}

/// The fake machine's own TLB, without which nothing above would prove anything.
#[test]
fn the_fake_machines_tlb_remembers_until_it_is_invalidated() {
    let mut machine = FakeMachine::new();
    let format = machine.format(machine::GPU, Part::Whole).unwrap();
    let space = machine.create_space(RegionKind::Translated, format, span(0, SIZE_16M)).unwrap();
    machine.attach(space, machine::GPU, Part::Whole).unwrap();
    let block = [vcm::Segment { base: PhysicalAddress::new(0x5000), len: SIZE_4K }];
    machine.memory_taken(block[0]);
    machine.map(space, 0x1000, vcm::Segments::new(&block, 0, SIZE_4K), RW).unwrap();
    assert_eq!(machine.access(machine::GPU, 0x1008), Ok(0x5008));
    machine.spaces.get_mut(&space).unwrap().pages.clear();
    assert_eq!(machine.access(machine::GPU, 0x1008), Ok(0x5008), "the table is empty, the TLB is not");
    assert!(machine.unmap(space, span(0x1000, SIZE_4K)).is_ok());
    assert_eq!(machine.access(machine::GPU, 0x1008), Err(Blocked::Translation));
}
