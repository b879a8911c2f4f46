//! Regions, bounds and attributes: what the interface of 2010 promised, and what its code did instead.

mod support;

use support::world::{RW, World, span};
use vcm::{
    Access, Attributes, Error, Graph, Part, RegionAddress, RegionKind, RegionRequest, ReservationRequest,
    ReservationState, SIZE_1G, SIZE_1M, SIZE_2M, SIZE_4K, SIZE_16M, SIZE_64K, Span, errno,
};

const TRANSLATED: RegionKind = RegionKind::Translated;

/// The original checked nothing when a region was made.
#[test]
fn a_region_without_a_whole_page_is_refused() {
    let mut graph = Graph::new();
    for window in [span(0, 1), span(0, SIZE_4K - 1), span(0x400, SIZE_4K), span(u64::MAX, 1)] {
        let error = graph.create_region(&RegionRequest::new("small", TRANSLATED, window)).unwrap_err();
        let wanted = Error::BadLength { start: window.first(), len: window.len(), page: SIZE_4K };
        assert_eq!(error, wanted, "{window}");
        assert_eq!(error.errno(), errno::EINVAL);
    }
    assert_eq!(graph.regions().count(), 0);
    assert!(graph.create_region(&RegionRequest::new("page", TRANSLATED, span(0, SIZE_4K))).is_ok());
}

/// The document's example: `vcm_create(SZ_1K, SZ_16M)`.
#[test]
fn a_region_at_1k_hands_out_the_whole_pages_inside() {
    let mut world = World::new();
    let region = world.region("1K", TRANSLATED, 0x400, SIZE_16M);
    let info = world.graph.region(region).unwrap();
    assert_eq!(info.window, span(0x400, SIZE_16M));
    assert_eq!(info.usable, Span::inclusive(0x1000, 0xff_ffff).unwrap());
    let all = info.usable.len();
    assert_eq!(info.free, all);
    let reservation = world.graph.reserve(region, all, RW).unwrap();
    assert_eq!(world.at(reservation), 0x1000);
    assert!(matches!(world.graph.reserve(region, 1u32, RW), Err(Error::NoSpace { free: 0, largest: 0, .. })));
}

#[test]
fn getters_say_what_was_asked_for() {
    let mut world = World::new();
    let region = world.region("vcodec", TRANSLATED, 0x10_0000, SIZE_16M);
    let reservation = world.reserve(region, SIZE_64K);
    world.associate(region, world.devices.codec_a);
    let info = world.graph.region(region).unwrap();
    assert_eq!((info.label.as_str(), info.kind, info.page), ("vcodec", TRANSLATED, SIZE_4K));
    assert_eq!((info.window.first(), info.window.len()), (0x10_0000, u128::from(SIZE_16M)));
    assert_eq!((info.reservations, info.associations, info.quarantined), (1, 1, 0));
    assert_eq!(info.free, u128::from(SIZE_16M - SIZE_64K));
    assert_eq!(reservation.region(), region);
    assert_eq!(world.graph.regions().collect::<Vec<_>>(), [info]);
}

/// The original answered `EINVAL` to everything that hung on the region.
#[test]
fn freeing_a_region_names_whatever_hangs_on_it() {
    let mut world = World::new();
    let busy = |world: &mut World, region| {
        let error = world.graph.free_region(region).unwrap_err();
        assert_eq!(error.errno(), errno::EBUSY);
        match error {
            Error::RegionInUse { reservations, bounds, associations, quarantined, .. } => {
                (reservations, bounds, associations, quarantined)
            }
            other => panic!("{other}"),
        }
    };
    let region = world.translated("busy");
    let reservation = world.reserve(region, SIZE_4K);
    assert_eq!(busy(&mut world, region), (1, 0, 0, 0));
    world.graph.unreserve(reservation).unwrap();

    let bound = world.graph.create_bound(region, SIZE_1M).unwrap();
    assert_eq!(busy(&mut world, region), (0, 1, 0, 0));
    world.graph.free_bound(bound).unwrap();

    let link = world.associate(region, world.devices.codec_a);
    assert_eq!(busy(&mut world, region), (0, 0, 1, 0), "an inactive association counts");
    world.graph.activate(link, &mut world.machine).unwrap();
    assert_eq!(busy(&mut world, region), (0, 0, 1, 0));

    let (reservation, memory) = world.buffer(region, SIZE_4K);
    world.machine.break_down();
    world.graph.unback(reservation, &mut world.machine);
    world.graph.unreserve(reservation).unwrap();
    world.graph.deactivate(link, &mut world.machine);
    world.graph.deassociate(link, &mut world.machine).unwrap();
    assert_eq!(busy(&mut world, region), (0, 0, 1, 1), "given up, but the hardware has not let go");

    world.machine.repair();
    assert_eq!(world.graph.reap(&mut world.machine).remaining, 0);
    world.graph.free_region(region).unwrap();
    world.graph.free(memory, &mut world.machine).unwrap();
    assert_eq!(world.graph.free_region(region), Err(Error::UnknownRegion(region)));
    assert!(world.machine.spaces.is_empty());
}

/// The original's clone was a stub.
#[test]
fn a_clone_is_deep_and_goes_its_own_way() {
    let mut world = World::new();
    let region = world.translated("original");
    let bound = world.graph.create_bound(region, SIZE_1M).unwrap();
    let inside = world.graph.reserve_from_bound(bound, &ReservationRequest::new(SIZE_4K, RW)).unwrap();
    let (backed, memory) = world.buffer(region, SIZE_64K);
    let unbacked = world.reserve(region, SIZE_4K);
    world.activate(region, world.devices.codec_a);

    let clone = world.graph.clone_region(region, "clone").unwrap();
    let [inside2, backed2, unbacked2] = [inside, backed, unbacked].map(|id| id.in_clone(clone));
    let info = world.graph.region(clone).unwrap();
    assert_eq!((info.label.as_str(), info.associations, info.reservations), ("clone", 0, 3));
    for (old, new) in [(inside, inside2), (backed, backed2), (unbacked, unbacked2)] {
        assert_eq!(world.at(old), world.at(new));
    }
    assert_eq!(world.graph.bound_span(bound.in_clone(clone)), world.graph.bound_span(bound));
    // The memory knows of its second mapper.
    let mappers: Vec<_> = world.graph.mappers(memory).map(|mapper| mapper.reservation).collect();
    assert_eq!(mappers, [backed, backed2]);

    // Changes stay where they are made.
    world.graph.unback(backed, &mut world.machine);
    assert_eq!(world.graph.allocation_behind(backed2), Ok(memory));
    world.graph.unreserve(unbacked2).unwrap();
    assert!(world.graph.reservation(unbacked).is_ok());
    world.graph.unreserve(inside).unwrap();
    assert!(world.graph.reservation(inside2).is_ok());
    world.graph.free_bound(bound).unwrap();
    assert!(world.graph.bound_span(bound.in_clone(clone)).is_ok());
    let read_only = RW.with_access(Access::READ);
    assert_eq!(world.graph.set_reservation_attributes(unbacked, read_only), Ok(()));

    // The clone is mapped when it is associated.
    world.activate(clone, world.devices.gpu);
    let (at, to) = (world.at(backed2), world.memory_at(memory).raw());
    assert_eq!(world.machine.access(support::machine::GPU, at), Ok(to));
    let held = world.graph.free(memory, &mut world.machine);
    assert_eq!(held, Err(Error::Mapped { allocation: memory, first: backed2, count: 1 }));
}

#[test]
fn bounds_hand_out_their_addresses_and_nobody_elses() {
    let mut world = World::new();
    let region = world.region("bounds", TRANSLATED, 0, SIZE_16M);
    let bound = world.graph.create_bound(region, 2 * SIZE_1M - 1).unwrap();
    let place = world.graph.bound_span(bound).unwrap();
    assert_eq!(place.len(), u128::from(2 * SIZE_1M));
    assert_eq!(world.graph.bounds(region).collect::<Vec<_>>(), [(bound, place)]);
    // All the rest of the region, and not a byte of the bound.
    let rest = world.graph.region(region).unwrap().free - place.len();
    let outside = world.graph.reserve(region, rest, RW).unwrap();
    assert!(!world.graph.reservation(outside).unwrap().span.unwrap().overlaps(place));
    assert!(matches!(world.graph.reserve(region, SIZE_4K, RW), Err(Error::NoSpace { .. })));

    let ask = |len: u64| ReservationRequest::new(len, RW);
    let one = world.graph.reserve_from_bound(bound, &ask(SIZE_1M)).unwrap();
    let info = world.graph.reservation(one).unwrap();
    assert_eq!(info.bound, Some(bound));
    assert!(place.covers(info.span.unwrap()));
    let two = world.graph.reserve_at(region, place.first() + SIZE_1M, SIZE_1M, RW).unwrap();
    assert_eq!(
        world.graph.reservation(two).unwrap().bound,
        Some(bound),
        "an address in a bound is of the bound"
    );
    let full = world.graph.reserve_from_bound(bound, &ask(SIZE_4K)).unwrap_err();
    assert_eq!(full, Error::NoSpace { region, len: 0x1000, largest: 0, free: 0 });

    let busy = world.graph.free_bound(bound);
    assert_eq!(busy, Err(Error::BoundInUse { bound, reservations: 2 }));
    world.graph.unreserve(one).unwrap();
    assert_eq!(world.graph.free_bound(bound), Err(Error::BoundInUse { bound, reservations: 1 }));
    let asked = span(place.first(), SIZE_4K + place.len() as u64);
    let across = world.graph.reserve_at(region, asked.first(), asked.len(), RW);
    assert!(matches!(across, Err(Error::Occupied { .. } | Error::OutsideRegion { .. })), "{across:?}");
    world.graph.unreserve(two).unwrap();
    world.graph.free_bound(bound).unwrap();
    assert_eq!(world.graph.bound_span(bound), Err(Error::UnknownBound(bound)));
    assert_eq!(world.graph.free_bound(bound), Err(Error::UnknownBound(bound)));
    let late = world.graph.reserve_from_bound(bound, &ask(SIZE_4K));
    assert_eq!(late, Err(Error::UnknownBound(bound)));
    assert!(world.graph.reserve(region, place.len(), RW).is_ok(), "its addresses are the region's again");
}

#[test]
fn a_reservation_in_a_bound_is_mapped_like_any_other() {
    let mut world = World::new();
    let region = world.translated("bound");
    let bound = world.graph.create_bound(region, SIZE_1M).unwrap();
    let inside = world.graph.reserve_from_bound(bound, &ReservationRequest::new(SIZE_64K, RW)).unwrap();
    let memory = world.allocate("inside", SIZE_64K);
    world.activate(region, world.devices.codec_a);
    world.back(inside, memory).unwrap();
    let at = world.at(inside);
    assert_eq!(world.graph.reservation_at(region, at + 5), Some(inside));
    let arrived = world.machine.access(support::machine::CODEC_A, at + 5);
    assert_eq!(arrived, Ok(world.memory_at(memory).raw() + 5));
}

/// The original gave up backed reservations without a word.
#[test]
fn a_backed_reservation_is_not_given_up() {
    let mut world = World::new();
    let region = world.translated("backed");
    let (reservation, allocation) = world.buffer(region, SIZE_4K);
    let error = world.graph.unreserve(reservation).unwrap_err();
    assert_eq!(error, Error::Backed { reservation, allocation });
    assert_eq!(error.errno(), errno::EBUSY);
    assert_eq!(world.graph.unback(reservation, &mut world.machine), vcm::Teardown::Done);
    world.graph.unreserve(reservation).unwrap();
    assert_eq!(world.graph.unreserve(reservation), Err(Error::UnknownReservation(reservation)));
}

/// Stubs in the original, which ignored all attributes but the cache policy.
#[test]
fn attributes_can_be_set_while_nothing_is_mapped_with_them() {
    let mut world = World::new();
    let region = world.translated("attributes");
    world.associate(region, world.devices.codec_a);
    let reservation = world.reserve(region, SIZE_4K);
    let wanted = Attributes {
        access: Access::READ.union(Access::EXECUTE),
        privilege: vcm::Privilege::Supervisor,
        security: vcm::Security::Secure,
        ..RW
    };
    world.graph.set_reservation_attributes(reservation, wanted).unwrap();
    assert_eq!(world.graph.reservation_attributes(reservation), Ok(wanted));
    let allocation = world.allocate("memory", SIZE_4K);
    world.back(reservation, allocation).unwrap();
    let in_the_table = world.machine.spaces.values().next().unwrap().pages[&world.at(reservation)].1;
    assert_eq!(in_the_table, wanted, "every attribute reaches the hardware");
    let late = world.graph.set_reservation_attributes(reservation, RW);
    assert_eq!(late, Err(Error::Backed { reservation, allocation }));
    assert_eq!(world.graph.reservation_attributes(reservation), Ok(wanted));
    world.graph.unback(reservation, &mut world.machine);
    assert_eq!(world.graph.set_reservation_attributes(reservation, RW), Ok(()));
}

#[test]
fn reservations_can_be_looked_through() {
    let mut world = World::new();
    let region = world.translated("list");
    let unbacked = world.reserve(region, SIZE_1M);
    let (backed, allocation) = world.buffer(region, SIZE_4K);
    let all: Vec<_> = world.graph.reservations(region).collect();
    assert_eq!(all.len(), 2);
    assert_eq!((all[0].id, all[0].state), (unbacked, ReservationState::Unbacked));
    assert_eq!((all[1].id, all[1].state), (backed, ReservationState::Backed { allocation, offset: 0 }));
    assert_eq!(world.graph.reservation(backed), Ok(all[1]));
    assert_eq!(world.graph.reservation_at(region, world.at(unbacked) + SIZE_1M - 1), Some(unbacked));
    assert_eq!(world.graph.reservation_at(region, 0x3fff_ffff), None);
    assert_eq!(world.graph.allocation_behind(unbacked), Err(Error::NotBacked(unbacked)));
    assert_eq!(world.graph.allocation_behind(backed), Ok(allocation));
}

/// The original answered 0 for one-to-one regions.
#[test]
fn the_address_of_a_reservation_is_of_its_regions_kind() {
    let mut world = World::new();
    for kind in RegionKind::ALL {
        let region = world.region("kind", kind, 0, 0xffff_ffff);
        let reservation = world.reserve(region, SIZE_64K);
        let memory = world.contiguous("memory", SIZE_64K);
        if kind == RegionKind::OneToOne {
            let none = world.graph.device_address(reservation);
            assert_eq!(none, Err(Error::NoAddressYet(reservation)));
            assert_eq!(none.unwrap_err().errno(), errno::EINVAL);
        }
        world.back(reservation, memory).unwrap();
        let address = world.graph.device_address(reservation).unwrap();
        let fits = match address {
            RegionAddress::Iova(_) => kind == RegionKind::Translated,
            RegionAddress::Physical(at) => {
                assert_eq!(at, world.memory_at(memory), "the device emits physical addresses");
                kind == RegionKind::OneToOne
            }
            RegionAddress::Cpu(_) => kind == RegionKind::Cpu,
            RegionAddress::Guest(_) => kind == RegionKind::Guest,
            RegionAddress::Remote(_) => kind == RegionKind::Remote,
        };
        assert!(fits, "{kind}: {address:?}");
    }
}

/// In the original the prebuilt region of a user process always failed later.
#[test]
fn a_prebuilt_region_is_of_its_devices_kind() {
    let mut world = World::new();
    let window = span(0x7f00_0000_0000, SIZE_1G);
    let region = world.graph.create_prebuilt_region("process", world.devices.cpu, window).unwrap();
    assert_eq!(world.graph.region(region).unwrap().kind, RegionKind::Cpu);
    let (reservation, memory) = world.buffer(region, SIZE_2M);
    world.activate(region, world.devices.cpu);
    let (at, to) = (world.at(reservation), world.memory_at(memory).raw());
    assert_eq!(world.machine.access(support::machine::CPU, at), Ok(to));
    let gone = world.devices.dsp;
    world.graph.remove_device(gone).unwrap();
    let error = world.graph.create_prebuilt_region("remote", gone, window).unwrap_err();
    assert_eq!(error, Error::UnknownDevice(gone));
}

#[test]
fn an_identifier_that_outlived_its_object_finds_nothing() {
    let mut world = World::new();
    let region = world.translated("first");
    let reservation = world.reserve(region, SIZE_4K);
    world.graph.unreserve(reservation).unwrap();
    let next = world.reserve(region, SIZE_4K);
    assert_ne!(reservation, next);
    assert_eq!(world.graph.device_address(reservation), Err(Error::UnknownReservation(reservation)));
    world.graph.unreserve(next).unwrap();
    world.graph.free_region(region).unwrap();
    let again = world.translated("second");
    assert_ne!(region, again);
    assert_eq!(world.graph.reserve(region, SIZE_4K, RW), Err(Error::UnknownRegion(region)));
    let late = world.graph.associate(region, world.devices.cpu, Part::Whole, &mut world.machine);
    assert_eq!(late, Err(Error::UnknownRegion(region)));
    assert_eq!(world.graph.reservations(region).count(), 0);
}
