//! Where reservations are: lengths, alignments, places, the last page of a space.

mod support;

use support::world::{RW, World, span};
use vcm::{
    Error, Graph, Holder, RegionKind, RegionRequest, ReservationAlignment, ReservationRequest, SIZE_1G,
    SIZE_1M, SIZE_2M, SIZE_4K, SIZE_16M, SIZE_64K, Span, errno,
};

const TRANSLATED: RegionKind = RegionKind::Translated;

/// The original always lost one alignment step, so that a reservation of the whole region never succeeded.
#[test]
fn a_reservation_as_long_as_the_region_succeeds() {
    for (first, len) in [(0, SIZE_16M), (SIZE_4K, SIZE_16M), (0x3000, SIZE_1G), (SIZE_2M, SIZE_4K)] {
        let mut world = World::new();
        let region = world.region("whole", TRANSLATED, first, len);
        let reservation = world.reserve(region, len);
        assert_eq!(world.graph.reservation(reservation).unwrap().span, Some(span(first, len)));
        world.graph.unreserve(reservation).unwrap();
        assert_eq!(world.graph.region(region).unwrap().free, u128::from(len));
    }
    let mut graph = Graph::new();
    let all = graph.create_region(&RegionRequest::new("all", TRANSLATED, Span::ALL)).unwrap();
    let reservation = graph.reserve(all, 1u128 << 64, RW).unwrap();
    assert_eq!(graph.reservation(reservation).unwrap().span, Some(Span::ALL));
}

#[test]
fn reservations_are_aligned_for_the_largest_page_that_fits() {
    let mut world = World::new();
    let region = world.region("aligned", TRANSLATED, SIZE_4K, 4 * SIZE_1G);
    let lens = [SIZE_4K, SIZE_64K, SIZE_1M, SIZE_2M, SIZE_16M, SIZE_1G];
    for (len, next) in lens.iter().zip(lens[1..].iter().copied().chain([2 * SIZE_1G])) {
        for len in [*len, next - SIZE_4K] {
            let reservation = world.reserve(region, len);
            let page = lens.iter().copied().filter(|page| *page <= len).max().unwrap();
            assert_eq!(world.at(reservation) % page, 0, "{len:#x} bytes");
            world.graph.unreserve(reservation).unwrap();
        }
    }
    // 1K and 12K are whole pages in the end.
    let odd = world.reserve(region, 0x400);
    assert_eq!(world.graph.reservation(odd).unwrap().len, u128::from(SIZE_4K));
}

#[test]
fn an_exact_alignment_is_kept_or_refused() {
    let mut world = World::new();
    let region = world.region("exact", TRANSLATED, SIZE_4K, SIZE_2M);
    let ask = |world: &mut World, value| {
        let alignment = ReservationAlignment::Exactly(value);
        world
            .graph
            .reserve_with(region, &ReservationRequest { alignment, ..ReservationRequest::new(SIZE_4K, RW) })
    };
    let first = ask(&mut world, SIZE_1M).unwrap();
    assert_eq!(world.at(first), SIZE_1M);
    let second = ask(&mut world, SIZE_1M).unwrap();
    assert_eq!(world.at(second), 2 * SIZE_1M);
    assert!(matches!(ask(&mut world, SIZE_1M), Err(Error::NoSpace { .. })));
    for value in [0, 3, 0x3000] {
        assert_eq!(ask(&mut world, value), Err(Error::BadAlignment { value, unit: SIZE_4K }));
    }
    // Below a page, a page is meant.
    assert!(ask(&mut world, 1).is_ok());
}

/// A one-to-one reservation follows its memory; an alignment that nobody can read is refused there as well.
#[test]
fn a_nonsensical_alignment_is_refused_in_every_kind_of_region() {
    let mut world = World::new();
    for kind in RegionKind::ALL {
        let region = world.region("kind", kind, 0, SIZE_1G);
        let alignment = ReservationAlignment::Exactly(3);
        let request = ReservationRequest { alignment, ..ReservationRequest::new(SIZE_4K, RW) };
        let wanted = Err(Error::BadAlignment { value: 3, unit: SIZE_4K });
        assert_eq!(world.graph.reserve_with(region, &request), wanted, "{kind}");
    }
}

#[test]
fn lengths_that_are_none_are_refused() {
    let mut world = World::new();
    let region = world.translated("lengths");
    let bad = |len: u128| Err(Error::BadLength { start: 0, len, page: SIZE_4K });
    assert_eq!(world.graph.reserve(region, 0u32, RW), bad(0));
    assert_eq!(world.graph.reserve(region, (1u128 << 64) + 1, RW), bad((1 << 64) + 1));
    assert_eq!(world.graph.reserve_at(region, 0, 0u32, RW), bad(0));
    assert_eq!(
        world.graph.create_bound(region, 0u32),
        Err(Error::BadLength { start: 0, len: 0, page: SIZE_4K })
    );
    let start = u64::MAX - 0xfff;
    let passes = world.graph.reserve_at(region, start, 2 * SIZE_4K, RW);
    assert_eq!(passes, Err(Error::BadLength { start, len: 0x2000, page: SIZE_4K }));
}

#[test]
fn the_last_page_of_a_32_bit_and_of_a_64_bit_space_can_be_mapped() {
    let mut world = World::new();
    let last32 = 0xffff_f000;
    let last64 = u64::MAX - 0xfff;
    for (last, device) in [(last32, world.devices.codec_a), (last64, world.devices.wide)] {
        let window = Span::inclusive(last - 0xf_f000, last + 0xfff).unwrap();
        let region = world.graph.create_region(&RegionRequest::new("end", TRANSLATED, window)).unwrap();
        let link = world.activate(region, device);
        let reservation = world.graph.reserve_at(region, last, SIZE_4K, RW).unwrap();
        let memory = world.allocate("end", SIZE_4K);
        world.back(reservation, memory).unwrap();
        let handle = world.graph.devices().find(|found| found.id == device).unwrap().handle;
        let byte = world.memory_at(memory).raw() + 0xfff;
        assert_eq!(world.machine.access(handle, last + 0xfff), Ok(byte));
        assert_eq!(world.graph.reservation_at(region, last + 0xfff), Some(reservation));
        assert_eq!(world.graph.physical_at(region, last + 0xfff).unwrap().raw(), byte);
        assert_eq!(world.graph.leaves(reservation, &world.machine).total(), 1);
        // What is left of the region can still be reserved.
        assert!(world.graph.reserve(region, window.len() - 0x1000, RW).is_ok());
        world.graph.deactivate(link, &mut world.machine);
    }
}

#[test]
fn a_place_that_was_asked_for_is_given_or_its_holder_named() {
    let mut world = World::new();
    let region = world.region("places", TRANSLATED, SIZE_1M, SIZE_16M);
    let reserve_at = |world: &mut World, at, len: u64| world.graph.reserve_at(region, at, len, RW);
    let first = reserve_at(&mut world, 2 * SIZE_1M, SIZE_1M).unwrap();
    assert_eq!(world.graph.device_address(first), Ok(TRANSLATED.address(2 * SIZE_1M)));
    let before = reserve_at(&mut world, 2 * SIZE_1M - SIZE_4K, 2 * SIZE_4K);
    let asked = span(2 * SIZE_1M - SIZE_4K, 2 * SIZE_4K);
    assert_eq!(before, Err(Error::Occupied { region, asked, holder: Holder::Reservation(first) }));
    let window = world.graph.region(region).unwrap().usable;
    for (at, len) in
        [(0, SIZE_4K), (SIZE_1M - SIZE_4K, 2 * SIZE_4K), (17 * SIZE_1M, SIZE_4K), (SIZE_16M, 2 * SIZE_1M)]
    {
        let error = reserve_at(&mut world, at, len).unwrap_err();
        assert_eq!(error, Error::OutsideRegion { region, window, asked: span(at, len) });
        assert_eq!(error.errno(), errno::ERANGE);
    }
    let misaligned = reserve_at(&mut world, SIZE_1M + 1, SIZE_4K);
    assert_eq!(misaligned, Err(Error::BadAlignment { value: SIZE_1M + 1, unit: SIZE_4K }));
    assert!(reserve_at(&mut world, 2 * SIZE_1M - SIZE_4K, SIZE_4K).is_ok(), "right before");
    assert!(reserve_at(&mut world, 3 * SIZE_1M, 1).is_ok(), "right behind");
}
