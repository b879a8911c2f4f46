//! Every error: its number, and that its words name what was asked, where, and who holds it.

mod support;

use std::collections::BTreeSet;
use support::world::{RW, World, span};
use vcm::{
    CachePolicy, Error, HardwareError, HardwareErrorKind, Holder, MemoryType, OutOfMemory, PageSizes, Part,
    PhysicalAddress, RegionKind, SIZE_4K, SIZE_64K, Teardown, errno,
};

/// Each error with its number and the words that it has to contain.
fn table() -> Vec<(Error, i32, Vec<String>)> {
    let mut world = World::new();
    let region = world.translated("region");
    let other = world.translated("other");
    world.graph.create_bound(region, SIZE_4K).unwrap();
    let (bound, _) = world.graph.bounds(region).next().unwrap();
    let (reservation, _) = world.buffer(region, SIZE_4K);
    let (with, allocation) = world.buffer(other, SIZE_64K);
    let device = world.devices.gpu;
    let association = world.associate(region, device);
    let (target, pool) = (world.target, world.main);
    let asked = span(0x7000, 0x3000);
    let window = span(0, 0x9000);
    let wanted = RW.with_memory_type(MemoryType::Normal(CachePolicy::WriteThrough));
    let page_sizes = PageSizes::ARM_SHORT;
    let hardware = |kind| HardwareError { kind, at: "smmu vcodec_a".into() };

    let mut rows = Vec::new();
    let mut row = |error: Error, number: i32, words: &[&dyn ToString]| {
        rows.push((error, number, words.iter().map(|word| word.to_string()).collect()));
    };
    row(Error::UnknownRegion(region), errno::EINVAL, &[&region]);
    row(Error::UnknownReservation(reservation), errno::EINVAL, &[&reservation, &region]);
    row(Error::UnknownBound(bound), errno::EINVAL, &[&bound, &region]);
    row(Error::UnknownAllocation(allocation), errno::EINVAL, &[&allocation]);
    row(Error::UnknownDevice(device), errno::EINVAL, &[&device]);
    row(Error::UnknownAssociation(association), errno::EINVAL, &[&association]);
    row(Error::UnknownTarget(target), errno::EINVAL, &[&target]);
    row(Error::UnknownPool(pool), errno::EINVAL, &[&pool]);
    row(
        Error::BadLength { start: 0x7000, len: 123, page: SIZE_4K },
        errno::EINVAL,
        &[&"0x7000", &123, &4096],
    );
    row(Error::BadAlignment { value: 0x123, unit: SIZE_4K }, errno::EINVAL, &[&"0x123", &"0x1000"]);
    row(Error::OutsideRegion { region, window, asked }, errno::ERANGE, &[&region, &window, &asked]);
    let no_space = Error::NoSpace { region, len: 777, largest: 555, free: 666 };
    row(no_space, errno::ENOSPC, &[&region, &777, &555, &666]);
    let holder = Holder::Reservation(reservation);
    row(Error::Occupied { region, asked, holder }, errno::EBUSY, &[&region, &asked, &reservation]);
    let in_use =
        Error::RegionInUse { region, reservations: 11, bounds: 12, associations: 13, quarantined: 14 };
    row(in_use, errno::EBUSY, &[&region, &11, &12, &13, &14]);
    row(Error::BoundInUse { bound, reservations: 11 }, errno::EBUSY, &[&bound, &11]);
    row(Error::Backed { reservation, allocation }, errno::EBUSY, &[&reservation, &allocation]);
    row(Error::NotBacked(reservation), errno::EINVAL, &[&reservation]);
    row(Error::NoAddressYet(reservation), errno::EINVAL, &[&reservation]);
    let mismatch =
        Error::LengthMismatch { reservation, reserved: 777, allocation, offered: 666, offset: 0x555 };
    row(mismatch, errno::EINVAL, &[&reservation, &777, &allocation, &666, &"0x555"]);
    row(
        Error::Mapped { allocation, first: reservation, count: 17 },
        errno::EBUSY,
        &[&allocation, &reservation, &17],
    );
    let conflict = Error::Conflict { reservation, allocation, wanted, with, held: RW };
    row(conflict, errno::EBUSY, &[&reservation, &allocation, &wanted, &with, &RW]);
    let not_coherent = Error::NotCoherent { reservation, allocation, wanted };
    row(not_coherent, errno::EINVAL, &[&reservation, &allocation, &wanted]);
    row(Error::NotContiguous { reservation, allocation }, errno::EINVAL, &[&reservation, &allocation]);
    let address =
        Error::AddressMismatch { reservation, reserved: 0x7000, memory: PhysicalAddress::new(0x9000) };
    row(address, errno::EINVAL, &[&reservation, &"0x7000", &"0x9000"]);
    let (region_kind, device_kind) = (RegionKind::Cpu, RegionKind::Guest);
    let kinds = Error::KindMismatch { region, region_kind, device, device_kind };
    row(kinds, errno::EINVAL, &[&region, &"cpu", &device, &"guest"]);
    let again = Error::AlreadyAssociated { region, device, association };
    row(again, errno::EEXIST, &[&region, &device, &association]);
    let part = Part::High { split: 3 };
    let untranslated = Error::NotTranslatable { region, window, device, translates: asked, part };
    row(untranslated, errno::ERANGE, &[&region, &window, &device, &asked, &"high/3"]);
    let in_window = Error::InReservedWindow { reservation, device, window };
    row(in_window, errno::EBUSY, &[&reservation, &device, &window]);
    row(Error::Active { association, region, device }, errno::EBUSY, &[&association, &region, &device]);
    let busy = Error::DeviceBusy { device, holder: other, part, association };
    row(busy, errno::EBUSY, &[&device, &other, &part, &association]);
    row(Error::DeviceInUse { device, association }, errno::EBUSY, &[&device, &association]);
    let no_memory = Error::NoMemory { target, len: 16 << 20, free: 12 << 10, largest: 4 << 10 };
    row(no_memory, errno::ENOMEM, &[&target, &"16M", &"12K", &"4K"]);
    let blocks = Error::BadBlocks { len: 12 << 10, sizes: page_sizes };
    row(blocks, errno::EINVAL, &[&"12K", &page_sizes]);
    let memory = asked;
    row(Error::PolicyTooLarge { memory, wanted: 1 << 40 }, errno::EINVAL, &[&memory, &(1_u64 << 40)]);
    let held = Error::MemoryHeld { asked, holder: Holder::Allocation(allocation) };
    row(held, errno::EBUSY, &[&asked, &allocation]);
    row(Error::PoolInUse { pool, targets: 17, allocated: 64 << 10 }, errno::EBUSY, &[&pool, &17, &"64K"]);
    let error = hardware(HardwareErrorKind::Unresponsive);
    row(Error::Hardware { doing: "activating", error }, errno::EIO, &[&"activating", &"smmu vcodec_a"]);
    let stuck = Error::Quarantined { doing: "backing", what: Holder::Reservation(reservation), error };
    row(stuck, errno::EIO, &[&"backing", &reservation, &"smmu vcodec_a", &"quarantine"]);
    row(Error::OutOfMemory(OutOfMemory), errno::ENOMEM, &[&"memory"]);
    rows
}

fn variant(error: &Error) -> String {
    format!("{error:?}").chars().take_while(|letter| letter.is_alphanumeric()).collect()
}

#[test]
fn every_error_has_its_number_and_names_whom_it_blames() {
    for (error, number, words) in table() {
        assert_eq!(error.errno(), number, "{error:?}");
        let text = error.to_string();
        for word in words {
            assert!(text.contains(&word), "\"{text}\" does not say \"{word}\"");
        }
        assert!(!text.contains('{') && !text.contains('}') && !text.contains("  "), "\"{text}\"");
    }
}

/// The table above has a row for each variant that the source has.
#[test]
fn no_error_was_forgotten() {
    let rows: BTreeSet<_> = table().iter().map(|(error, ..)| variant(error)).collect();
    let variants = include_str!("../src/error.rs").matches("#[error(").count();
    assert_eq!(rows.len(), variants, "{rows:?}");
}

/// The table in the crate's documentation is the one that the code has.
#[test]
fn the_documented_numbers_are_the_real_ones() {
    let names = [
        (errno::EINVAL, "EINVAL"),
        (errno::EBUSY, "EBUSY"),
        (errno::EEXIST, "EEXIST"),
        (errno::ERANGE, "ERANGE"),
        (errno::ENOSPC, "ENOSPC"),
        (errno::ENOMEM, "ENOMEM"),
        (errno::EIO, "EIO"),
    ];
    let documentation = include_str!("../src/lib.rs");
    for (error, number, _) in table() {
        let name = names.iter().find(|(value, _)| *value == number).unwrap().1;
        let line = documentation.lines().find(|line| line.starts_with(&format!("//! | `{name}` |")));
        let line = line.unwrap_or_else(|| panic!("no line for {name}"));
        let variant = variant(&error);
        // The hardware's numbers depend on what it said.
        let shared = variant.starts_with("Unknown") || variant == "Hardware";
        assert!(shared || line.contains(&format!("[`Error::{variant}`]")), "{variant} is not in: {line}");
    }
}

#[test]
fn what_the_hardware_said_decides_its_number() {
    use HardwareErrorKind as Kind;
    let table = [
        (Kind::OutOfMemory, errno::ENOMEM),
        (Kind::NoFreeSlot, errno::ENOSPC),
        (Kind::NotSupported, errno::EOPNOTSUPP),
        (Kind::Unresponsive, errno::EIO),
        (Kind::HalfDone, errno::EIO),
        (Kind::Address, errno::ERANGE),
        (Kind::Attributes, errno::EINVAL),
        (Kind::Occupied, errno::EEXIST),
        (Kind::Unknown, errno::ENODEV),
    ];
    let mut messages = BTreeSet::new();
    for (kind, number) in table {
        let error = Error::Hardware { doing: "backing", error: HardwareError { kind, at: "here".into() } };
        assert_eq!(error.errno(), number, "{kind:?}");
        assert!(error.to_string().contains(kind.message()), "{error}");
        messages.insert(kind.message());
    }
    assert_eq!(messages.len(), table.len(), "each says something else");
}

#[test]
fn every_holder_says_who_it_is() {
    let mut world = World::new();
    let region = world.translated("region");
    let (reservation, allocation) = world.buffer(region, SIZE_4K);
    let bound = world.graph.create_bound(region, SIZE_4K).unwrap();
    let pool = world.fast;
    for (holder, words) in [
        (Holder::Reservation(reservation), reservation.to_string()),
        (Holder::Bound(bound), bound.to_string()),
        (Holder::Allocation(allocation), allocation.to_string()),
        (Holder::Pool(pool), pool.to_string()),
        (Holder::ReservedWindow, "reserved window".to_string()),
        (Holder::Quarantine, "quarantine".to_string()),
    ] {
        assert!(holder.to_string().contains(&words), "{holder}");
    }
}

#[test]
fn errors_are_explained_with_names_while_there_are_any() {
    let mut world = World::new();
    let (region, device) = (world.translated("vcodec frames"), world.devices.codec_a);
    let link = world.activate(region, device);
    let error = world.graph.deassociate(link, &mut world.machine).unwrap_err();
    let text = world.graph.explain(error).to_string();
    assert!(text.contains("\"vcodec frames\"") && text.contains("\"codec_a\""), "{text}");
    assert!(text.starts_with(&error.to_string()), "{text}");
    world.graph.deactivate(link, &mut world.machine);
    world.graph.deassociate(link, &mut world.machine).unwrap();
    world.graph.free_region(region).unwrap();
    let text = world.graph.explain(error).to_string();
    assert!(text.contains("(gone)"), "{text}");
    for (error, ..) in table() {
        // Identifiers of another graph: nothing is found, and nothing goes wrong.
        assert!(!vcm::Graph::new().explain(error).to_string().is_empty());
    }
}

#[test]
fn teardowns_have_numbers_too() {
    assert_eq!(Teardown::NothingThere.errno(), errno::ENOENT);
    for fine in [Teardown::Done, Teardown::Quarantined, Teardown::StillCounted] {
        assert_eq!(fine.errno(), 0);
    }
}
