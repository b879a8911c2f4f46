//! What the manager tells of its objects is what the graph tells after the same steps.

use vcm::pool::Policy;
use vcm::{
    AllocationRequest, Attributes, DeviceHandle, DeviceRequest, Error, Graph, MapperInfo, Part, RegionInfo,
    RegionKind, RegionRequest, ReservationInfo, SIZE_1M, SIZE_64K, Span, Teardown, Untranslated,
};
use vcm_manager::{Exclusive, Manager};

fn span(first: u64, len: u64) -> Span {
    Span::new(first, len).unwrap()
}

fn requests() -> [RegionRequest; 2] {
    let translated = RegionRequest::new("codec", RegionKind::Translated, span(0x10_0000, 64 * SIZE_1M));
    let one_to_one = RegionRequest::new("display", RegionKind::OneToOne, Span::ALL);
    [translated, one_to_one]
}

#[test]
fn the_manager_tells_what_the_graph_tells() {
    let memory = span(0x8000_0000, 16 * SIZE_1M);
    let frame = AllocationRequest::new("frame", SIZE_1M).contiguous();

    let hardware = &mut Untranslated;
    let mut graph = Graph::new();
    let pool = graph.add_pool("ddr", memory, Policy::Splitting).unwrap();
    let target = graph.add_target("main", &[pool]).unwrap();
    let [codec, display] = requests().map(|request| graph.create_region(&request).unwrap());
    let allocation = graph.allocate(target, &frame, hardware).unwrap();
    let whole = graph.reserve(codec, SIZE_1M, Attributes::READ_WRITE).unwrap();
    let part = graph.reserve(display, SIZE_64K, Attributes::READ_WRITE).unwrap();
    graph.back(whole, allocation, hardware).unwrap();
    graph.back_at_offset(part, allocation, 2 * SIZE_64K, hardware).unwrap();
    // Other memory at the same offsets, in the same region.
    let other = graph.allocate(target, &frame, hardware).unwrap();
    let beside = graph.reserve(display, SIZE_1M, Attributes::READ_WRITE).unwrap();
    graph.back(beside, other, hardware).unwrap();

    let manager = Manager::new(Exclusive::new(Untranslated));
    assert_eq!(manager.add_pool("ddr", memory, Policy::Splitting), Ok(pool));
    assert_eq!(manager.add_target("main", &[pool]), Ok(target));
    assert_eq!(requests().map(|request| manager.create_region(&request).unwrap()), [codec, display]);
    assert_eq!(manager.allocate(target, &frame), Ok(allocation));
    assert_eq!(manager.reserve(codec, SIZE_1M, Attributes::READ_WRITE), Ok(whole));
    assert_eq!(manager.reserve(display, SIZE_64K, Attributes::READ_WRITE), Ok(part));
    manager.back(whole, allocation).unwrap();
    manager.back_at_offset(part, allocation, 2 * SIZE_64K).unwrap();
    assert_eq!(manager.allocate(target, &frame), Ok(other));
    assert_eq!(manager.reserve(display, SIZE_1M, Attributes::READ_WRITE), Ok(beside));
    manager.back(beside, other).unwrap();

    let compare = |graph: &Graph| {
        assert_eq!(manager.regions(), graph.regions().collect::<Vec<RegionInfo>>());
        assert_eq!(manager.mappers(allocation), graph.mappers(allocation).collect::<Vec<MapperInfo>>());
        for region in [codec, display] {
            assert_eq!(manager.region(region), graph.region(region));
            let reservations: Vec<ReservationInfo> = graph.reservations(region).collect();
            assert_eq!(manager.reservations(region), Ok(reservations));
        }
        for id in [whole, part, beside] {
            assert_eq!(manager.reservation(id), graph.reservation(id));
            assert_eq!(manager.allocation_behind(id), graph.allocation_behind(id));
            assert_eq!(manager.device_address(id), graph.device_address(id));
        }
        // In the part, before it, after it, and where nothing is.
        let start = graph.device_address(whole).map_or(0x10_0000, vcm::RegionAddress::raw);
        for at in [2 * SIZE_64K, 3 * SIZE_64K - 1, 2 * SIZE_64K - 1, 3 * SIZE_64K, 32 * SIZE_1M] {
            let (at, direct) = (start + at, memory.first() + at);
            assert_eq!(manager.reservation_at(codec, at), graph.reservation_at(codec, at));
            assert_eq!(manager.address_in(codec, at, display), graph.address_in(codec, at, display));
            assert_eq!(manager.address_in(display, direct, codec), graph.address_in(display, direct, codec));
            assert_eq!(manager.address_in(codec, at, codec), graph.address_in(codec, at, codec));
        }
    };
    compare(&graph);
    let inside = manager.device_address(whole).unwrap().raw() + 2 * SIZE_64K;
    assert_eq!(manager.address_in(codec, inside, display), manager.device_address(part).ok());
    assert_eq!(manager.mappers(allocation).len(), 2);

    // The part is un-backed, the whole reservation goes, and a pool in use stays.
    assert_eq!(manager.unback(part), graph.unback(part, hardware));
    compare(&graph);
    assert_eq!(manager.unback(whole), Teardown::Done);
    assert_eq!(graph.unback(whole, hardware), Teardown::Done);
    manager.unreserve(whole).unwrap();
    graph.unreserve(whole).unwrap();
    compare(&graph);
    assert_eq!(manager.reservation(whole), Err(Error::UnknownReservation(whole)));
    assert_eq!(manager.remove_pool(pool), graph.remove_pool(pool));
    assert!(matches!(manager.remove_pool(pool), Err(Error::PoolInUse { .. })));
    manager.unreserve(part).unwrap();
    assert_eq!(manager.unback(beside), Teardown::Done);
    manager.unreserve(beside).unwrap();
    for region in [codec, display] {
        manager.free_region(region).unwrap();
        assert_eq!(manager.region(region), Err(Error::UnknownRegion(region)));
        assert_eq!(manager.reservation_at(region, inside), None);
    }
    assert_eq!(manager.mappers(allocation), []);
}

#[test]
fn a_pool_that_no_target_has_is_removed() {
    let manager = Manager::new(Exclusive::new(Untranslated));
    let memory = span(0x8000_0000, SIZE_1M);
    let pool = manager.add_pool("ddr", memory, Policy::Splitting).unwrap();
    assert_eq!(manager.remove_pool(pool), Ok(()));
    assert_eq!(manager.remove_pool(pool), Err(Error::UnknownPool(pool)));
    // The range is free for somebody else.
    manager.add_pool("again", memory, Policy::Splitting).unwrap();
}

/// What can be asked of an association, and what a device that is associated refuses.
#[test]
fn associations_answer_for_themselves() {
    let manager = Manager::new(Exclusive::new(Untranslated));
    let request = DeviceRequest {
        label: "dma".into(),
        handle: DeviceHandle(0),
        kind: RegionKind::OneToOne,
        reserved: &[],
    };
    let device = manager.add_device(&request).unwrap();
    let region = manager.create_prebuilt_region("dma", device, Span::new(0, SIZE_1M).unwrap()).unwrap();
    assert_eq!(manager.region(region).unwrap().kind, RegionKind::OneToOne);
    let association = manager.associate(region, device, Part::Whole).unwrap();
    assert_eq!(manager.association_part(association), Ok(Part::Whole));
    assert_eq!(manager.is_active(association), Ok(false));
    manager.activate(association).unwrap();
    assert_eq!(manager.is_active(association), Ok(true));
    assert_eq!(manager.remove_device(device), Err(Error::DeviceInUse { device, association }));
    manager.deactivate(association);
    manager.deassociate(association).unwrap();
    assert_eq!(manager.remove_device(device), Ok(()));
    assert_eq!(manager.is_active(association), Err(Error::UnknownAssociation(association)));
}
