//! Windows of addresses that a device must never be given, and the bounds and reservations that they meet.

mod support;

use support::machine;
use support::world::{RW, World, span};
use vcm::{DeviceRequest, Error, Holder, Part, RegionKind, SIZE_1M, SIZE_4K, SIZE_16M, SIZE_64K, errno};

#[test]
fn addresses_that_a_device_must_not_have_are_never_handed_out() {
    let mut world = World::new();
    let windows = [span(0x10_0800, 0x1000), span(0x20_0000, SIZE_64K), span(0x8000_0000, SIZE_1M)];
    let device = world.device_with_windows("windows", machine::CODEC_A, &windows);
    let other = world.device_with_windows("more", machine::CODEC_B, &[span(0x20_8000, SIZE_64K)]);
    let region = world.region("windows", RegionKind::Translated, 0, 0x40_0000);
    let link = world.associate(region, device);
    // The first touches two pages; the last is not in the region at all.
    let free = world.graph.region(region).unwrap().free;
    assert_eq!(free, u128::from(0x40_0000 - 2 * SIZE_4K - SIZE_64K));
    for at in [0x10_0000, 0x10_1000, 0x20_0000, 0x20_f000] {
        let error = world.graph.reserve_at(region, at, SIZE_4K, RW).unwrap_err();
        let holder = Holder::ReservedWindow;
        assert_eq!(error, Error::Occupied { region, asked: span(at, SIZE_4K), holder });
    }
    // The union over all devices.
    world.associate(region, other);
    let free = world.graph.region(region).unwrap().free;
    assert_eq!(free, u128::from(0x40_0000 - 2 * SIZE_4K - SIZE_64K - SIZE_64K / 2));
    world.graph.deassociate(link, &mut world.machine).unwrap();
    assert_eq!(world.graph.region(region).unwrap().free, free, "they stay out for the region's life");
    let mut reserved = Vec::new();
    while let Ok(reservation) = world.graph.reserve(region, SIZE_4K, RW) {
        let at = world.at(reservation);
        assert!(!(0x10_0000..0x10_2000).contains(&at) && !(0x20_0000..0x21_8000).contains(&at), "{at:#x}");
        reserved.push(reservation);
    }
    assert_eq!(reserved.len() as u128, free / u128::from(SIZE_4K));
}

/// "No gap" alone does not tell why a region that nobody reserved from has none.
#[test]
fn a_region_without_a_gap_says_what_its_devices_keep_out() {
    let mut world = World::new();
    let device = world.device_with_windows("windows", machine::CODEC_A, &[span(0, 0x40_0000)]);
    let region = world.region("windows", RegionKind::Translated, 0, 0x40_0000);
    let error = world.graph.reserve(region, SIZE_4K, RW).map(drop);
    assert_eq!(error, Ok(()), "there is room before");
    let region = world.region("all kept out", RegionKind::Translated, 0, 0x40_0000);
    world.associate(region, device);
    let error = world.graph.reserve(region, SIZE_4K, RW).unwrap_err();
    let text = world.graph.explain(error).to_string();
    assert!(text.contains("4194304 bytes of it are reserved windows of its devices"), "{text}");
}

#[test]
fn a_reservation_in_the_way_of_a_window_is_named() {
    let mut world = World::new();
    let region = world.translated("in the way");
    let window = span(0x10_0000, SIZE_64K);
    let device = world.device_with_windows("windows", machine::CODEC_A, &[span(0x8_0000, SIZE_4K), window]);
    let reservation = world.graph.reserve_at(region, 0x10_f000, SIZE_64K, RW).unwrap();
    let error = world.graph.associate(region, device, Part::Whole, &mut world.machine).unwrap_err();
    assert_eq!(error, Error::InReservedWindow { reservation, device, window });
    assert_eq!(error.errno(), errno::EBUSY);
    // Not even the first window is kept out now.
    assert!(world.graph.reserve_at(region, 0x8_0000, SIZE_4K, RW).is_ok());
    assert_eq!(world.graph.region(region).unwrap().associations, 0);
}

#[test]
fn a_window_inside_a_bound_is_kept_out_of_the_bound() {
    let mut world = World::new();
    let region = world.region("bound", RegionKind::Translated, 0, SIZE_16M);
    let bound = world.graph.create_bound(region, SIZE_1M).unwrap();
    let place = world.graph.bound_span(bound).unwrap();
    // Half in the bound, half behind it.
    let window = span(place.last() + 1 - SIZE_64K, 2 * SIZE_64K);
    let device = world.device_with_windows("windows", machine::CODEC_A, &[window]);
    world.associate(region, device);
    let free = world.graph.region(region).unwrap().free;
    assert_eq!(free, u128::from(SIZE_16M - 2 * SIZE_64K));
    for at in [window.first(), window.last() + 1 - SIZE_4K] {
        let error = world.graph.reserve_at(region, at, SIZE_4K, RW).unwrap_err();
        assert!(matches!(error, Error::Occupied { holder: Holder::ReservedWindow, .. }), "{error}");
    }
}

/// A bound that is freed gives its addresses back to the region, but not those that a device must not have.
#[test]
fn a_window_outlives_the_bound_that_it_lies_in() {
    let mut world = World::new();
    let region = world.region("bound", RegionKind::Translated, 0, SIZE_16M);
    let bound = world.graph.create_bound(region, SIZE_1M).unwrap();
    let place = world.graph.bound_span(bound).unwrap();
    let window = span(place.first() + SIZE_64K, SIZE_64K);
    let device = world.device_with_windows("windows", machine::CODEC_A, &[window]);
    world.associate(region, device);
    world.graph.free_bound(bound).unwrap();
    let handed_out = world.graph.reserve_at(region, window.first(), SIZE_4K, RW);
    let holder = Holder::ReservedWindow;
    assert_eq!(handed_out, Err(Error::Occupied { region, asked: span(window.first(), SIZE_4K), holder }));
    assert_eq!(world.graph.region(region).unwrap().free, u128::from(SIZE_16M - SIZE_64K));
}

#[test]
fn one_to_one_memory_in_a_window_is_refused() {
    let mut world = World::new();
    let memory = world.contiguous("memory", SIZE_64K);
    let at = world.memory_at(memory).raw();
    let request = DeviceRequest {
        label: "camera".into(),
        handle: machine::CAMERA,
        kind: RegionKind::OneToOne,
        reserved: &[span(at + SIZE_4K, SIZE_4K)],
    };
    let device = world.graph.add_device(&request).unwrap();
    let region = world.region("one-to-one", RegionKind::OneToOne, 0, u64::MAX);
    world.associate(region, device);
    let reservation = world.reserve(region, SIZE_64K);
    let error = world.back(reservation, memory).unwrap_err();
    let asked = span(at, SIZE_64K);
    assert_eq!(error, Error::Occupied { region, asked, holder: Holder::ReservedWindow });
}
