//! Every operation with its n-th allocation failing: it says so, and nothing was changed. Teardown allocates
//! nothing at all.

mod support;

use support::allocator::{FailingAllocator, Shortage, exempt, with_shortage};
use support::dump::dump;
use support::machine;
use support::world::{RW, World, span};
use vcm::pool::{FixedCounts, Policy};
use vcm::{
    AllocationId, AllocationRequest, AssociationId, BoundId, DeviceId, DeviceRequest, Error, Part,
    PhysicalAddress, RegionId, RegionKind, RegionRequest, ReservationAlignment, ReservationId,
    ReservationRequest, SIZE_1M, SIZE_4K, SIZE_16M, SIZE_64K, Teardown,
};

#[global_allocator]
static ALLOCATOR: FailingAllocator = FailingAllocator;

/// A graph in which there is something of everything, and the identifiers that the operations need.
struct Populated {
    world: World,
    region: RegionId,
    /// With two spaces, and a bound.
    busy: RegionId,
    bound: BoundId,
    direct: RegionId,
    unbacked: ReservationId,
    backed: ReservationId,
    floating: ReservationId,
    memory: AllocationId,
    free_memory: AllocationId,
    piece: AllocationId,
    inactive: AssociationId,
    active: AssociationId,
    windowed: DeviceId,
    /// A device without associations.
    late: DeviceId,
}

/// `extra` more objects of each kind move the points at which tables grow.
fn populate(extra: u64) -> Populated {
    let mut world = World::new();
    let region = world.translated("region");
    let busy = world.translated("busy");
    let direct = world.region("one-to-one", RegionKind::OneToOne, 0, u64::MAX);
    for count in 0..extra {
        let other = world.translated("extra");
        // Apart, so that every reservation is a range of its own.
        world.graph.reserve_at(busy, 0x2000_0000 + count * 2 * SIZE_4K, SIZE_4K, RW).unwrap();
        world.graph.reserve_at(region, 0x2000_0000 + count * 2 * SIZE_4K, SIZE_4K, RW).unwrap();
        world.graph.create_bound(busy, SIZE_4K).unwrap();
        let memory = world.allocate("extra", SIZE_64K);
        let reservation = world.reserve(other, SIZE_64K);
        world.back(reservation, memory).unwrap();
        world.associate(other, world.devices.codec_b);
        world.device_with_windows("extra", machine::GPU, &[]);
        world.reserve(direct, SIZE_4K);
    }
    let bound = world.graph.create_bound(busy, SIZE_1M).unwrap();
    let active = world.activate(busy, world.devices.codec_a);
    let (backed, memory) = world.buffer(busy, SIZE_1M + SIZE_64K);
    world.associate(busy, world.devices.gpu);
    let inactive = world.associate(region, world.devices.codec_a);
    let late = world.device_with_windows("late", machine::CODEC_B, &[]);
    if extra >= 5 {
        // Four tables, so that the next one makes their list grow.
        world.associate(region, world.devices.gpu);
        world.associate(region, world.devices.wide);
        let low = Part::Low { split: 2 };
        world.graph.associate(region, world.devices.codec_b, low, &mut world.machine).unwrap();
    }
    let unbacked = world.reserve(busy, SIZE_64K);
    for _ in 0..extra {
        // More mappers of the same memory.
        let mapper = world.reserve(region, SIZE_64K);
        world.graph.back_at_offset(mapper, memory, 0, &mut world.machine).unwrap();
    }
    let free_memory = world.allocate("free", SIZE_64K);
    let floating = world.reserve(direct, SIZE_64K);
    let piece = world.contiguous("piece", SIZE_64K);
    let inside = world.graph.bound_span(bound).unwrap().first() + 0x3000;
    let windows = [span(inside, 0x4000), span(0x3000_0000, SIZE_1M), span(0x3800_0800, SIZE_4K)];
    let windowed = world.device_with_windows("windowed", machine::CODEC_B, &windows);
    Populated {
        world,
        region,
        busy,
        bound,
        direct,
        unbacked,
        backed,
        floating,
        memory,
        free_memory,
        piece,
        inactive,
        active,
        windowed,
        late,
    }
}

/// Runs `operation` in a fresh graph with its n-th allocation failing, for n = 1, 2, ... until it succeeds.
fn survives(name: &str, operation: impl Fn(&mut Populated) -> Result<(), Error>) {
    let mut most = 0;
    for extra in 0..=9 {
        for shortage in [Shortage::Once, Shortage::Lasting] {
            for nth in 1.. {
                assert!(nth < 200, "{name}: never succeeds");
                let mut graph = populate(extra);
                let before = (dump(&graph.world.graph), graph.world.machine.dump());
                let free = graph.world.free();
                let (result, refused) = with_shortage(nth, shortage, || operation(&mut graph));
                let what = format!("{name}, extra {extra}, allocation {nth} {shortage:?}");
                if refused == 0 {
                    assert_eq!(result, Ok(()), "{what}: without a shortage");
                    break;
                }
                most = most.max(nth);
                assert_eq!(result, Err(Error::OutOfMemory(vcm::OutOfMemory)), "{what}");
                let after = (dump(&graph.world.graph), graph.world.machine.dump());
                assert!(before.0 == after.0, "{what}: changed\n{}\nto\n{}", before.0, after.0);
                assert!(before.1 == after.1, "{what}: changed\n{}\nto\n{}", before.1, after.1);
                assert_eq!(free, graph.world.free(), "{what}: memory was lost");
                // The same once more, with memory.
                assert_eq!(operation(&mut graph), Ok(()), "{what}: the second time");
            }
        }
    }
    assert!(most > 0, "{name}: no allocation was ever refused, so nothing was tested");
}

#[test]
fn making_pools_targets_and_devices() {
    survives("add_pool", |all| {
        all.world.graph.add_pool("new", span(0x1_0000_0000, SIZE_16M), Policy::Splitting).map(|_| ())
    });
    survives("add_pool of fixed counts", |all| {
        let counts =
            FixedCounts { of_1m: 2, of_64k: 3, of_4k: 5, contiguous: SIZE_64K, ..FixedCounts::default() };
        let memory = span(0x1_0000_0000, SIZE_16M);
        all.world.graph.add_pool("new", memory, Policy::FixedCounts(counts)).map(|_| ())
    });
    survives("add_target", |all| {
        let pools = [all.world.main, all.world.fast];
        all.world.graph.add_target("new", &pools).map(|_| ())
    });
    survives("add_device", |all| {
        let request = DeviceRequest {
            label: "new".into(),
            handle: machine::CODEC_A,
            kind: RegionKind::Translated,
            reserved: &[span(0x1000, SIZE_4K), span(0x7000, SIZE_64K)],
        };
        all.world.graph.add_device(&request).map(|_| ())
    });
}

#[test]
fn making_regions_bounds_and_reservations() {
    survives("create_region", |all| {
        let request = RegionRequest::new("new", RegionKind::Translated, span(0x400, SIZE_16M));
        all.world.graph.create_region(&request).map(|_| ())
    });
    survives("create_prebuilt_region", |all| {
        let cpu = all.world.devices.cpu;
        all.world.graph.create_prebuilt_region("new", cpu, span(0, SIZE_16M)).map(|_| ())
    });
    survives("clone_region", |all| all.world.graph.clone_region(all.busy, "clone").map(|_| ()));
    survives("clone_region of a region with mappers", |all| {
        all.world.graph.clone_region(all.region, "clone").map(|_| ())
    });
    survives("create_bound", |all| all.world.graph.create_bound(all.busy, SIZE_64K).map(|_| ()));
    survives("reserve", |all| all.world.graph.reserve(all.busy, SIZE_64K, RW).map(|_| ()));
    survives("reserve one-to-one", |all| all.world.graph.reserve(all.direct, SIZE_64K, RW).map(|_| ()));
    survives("reserve_with", |all| {
        let alignment = ReservationAlignment::Exactly(SIZE_16M);
        let request = ReservationRequest { alignment, ..ReservationRequest::new(SIZE_4K, RW) };
        all.world.graph.reserve_with(all.region, &request).map(|_| ())
    });
    survives("reserve_from_bound", |all| {
        let request = ReservationRequest::new(SIZE_4K, RW);
        all.world.graph.reserve_from_bound(all.bound, &request).map(|_| ())
    });
    survives("reserve_at", |all| all.world.graph.reserve_at(all.busy, 0x3200_0000, SIZE_4K, RW).map(|_| ()));
    survives("reserve_at in a bound", |all| {
        let at = all.world.graph.bound_span(all.bound)?.first() + SIZE_4K;
        all.world.graph.reserve_at(all.busy, at, SIZE_4K, RW).map(|_| ())
    });
}

#[test]
fn allocating() {
    let allocate = |all: &mut Populated, request: &AllocationRequest| {
        let World { graph, machine, target, .. } = &mut all.world;
        graph.allocate(*target, request, machine).map(|_| ())
    };
    survives("allocate", |all| allocate(all, &AllocationRequest::new("new", SIZE_1M + 3 * SIZE_4K)));
    survives("allocate from two pools", |all| {
        allocate(all, &AllocationRequest::new("new", SIZE_16M + SIZE_1M))
    });
    survives("allocate aligned", |all| {
        allocate(
            all,
            &AllocationRequest { alignment: SIZE_64K, ..AllocationRequest::new("new", 5 * SIZE_4K) },
        )
    });
    survives("allocate contiguous", |all| {
        allocate(all, &AllocationRequest::new("new", SIZE_1M).contiguous())
    });
    survives("wrap_physical", |all| {
        let base = PhysicalAddress::new(0x1000);
        all.world.graph.wrap_physical("new", base, SIZE_64K).map(|_| ())
    });
}

#[test]
fn associating_and_backing() {
    survives("associate", |all| {
        let World { graph, machine, .. } = &mut all.world;
        graph.associate(all.region, all.late, Part::Low { split: 1 }, machine).map(|_| ())
    });
    survives("associate with windows", |all| {
        let World { graph, machine, .. } = &mut all.world;
        graph.associate(all.busy, all.windowed, Part::Whole, machine).map(|_| ())
    });
    survives("set_association_part", |all| {
        let World { graph, machine, .. } = &mut all.world;
        graph.set_association_part(all.inactive, Part::Low { split: 1 }, machine)
    });
    survives("back", |all| {
        let World { graph, machine, .. } = &mut all.world;
        graph.back(all.unbacked, all.free_memory, machine)
    });
    survives("back_at_offset beside other mappers", |all| {
        let World { graph, machine, .. } = &mut all.world;
        graph.back_at_offset(all.unbacked, all.memory, SIZE_1M, machine)
    });
    survives("back one-to-one", |all| {
        let World { graph, machine, .. } = &mut all.world;
        graph.back(all.floating, all.piece, machine)
    });
}

/// Even a machine without a byte to spare takes everything down.
#[test]
fn teardown_allocates_nothing() {
    for extra in 0..=9 {
        let mut all = populate(extra);
        let World { graph, machine, devices, fast, main, target, .. } = &mut all.world;
        let regions: Vec<_> = graph.regions().map(|region| region.id).collect();
        let reservations: Vec<_> =
            regions.iter().flat_map(|id| graph.reservations(*id)).map(|r| r.id).collect();
        let links: Vec<_> = graph.associations().map(|link| link.id).collect();
        let bounds: Vec<_> = regions.iter().flat_map(|id| graph.bounds(*id)).map(|(id, _)| id).collect();
        let memories: Vec<_> = graph.allocations().map(|found| found.id).collect();
        let all_devices: Vec<_> = graph.devices().map(|device| device.id).collect();
        assert!(graph.is_active(all.active).unwrap() && graph.allocation_behind(all.backed).is_ok());
        // Changes that need no memory, either.
        let ((), refused) = with_shortage(1, Shortage::Lasting, || {
            graph.set_reservation_attributes(all.unbacked, RW).unwrap();
            assert_eq!(graph.deactivate(all.active, machine), Teardown::Done);
            graph.activate(all.active, machine).unwrap();
            // Half of it through the quarantine.
            machine.break_down();
            for reservation in &reservations {
                graph.unback(*reservation, machine);
                graph.unreserve(*reservation).unwrap();
            }
            for link in &links {
                graph.deactivate(*link, machine);
                let _ = graph.deassociate(*link, machine);
            }
            for memory in &memories {
                graph.free(*memory, machine).unwrap();
            }
            assert!(graph.quarantined() > 0);
            machine.repair();
            assert_eq!(graph.reap(machine).remaining, 0);
            for bound in &bounds {
                graph.free_bound(*bound).unwrap();
            }
            for region in &regions {
                graph.free_region(*region).unwrap();
            }
            for device in &all_devices {
                graph.remove_device(*device).unwrap();
            }
            graph.remove_target(*target).unwrap();
            for pool in [*fast, *main] {
                graph.remove_pool(pool).unwrap();
            }
        });
        assert_eq!(refused, 0, "extra {extra}: teardown asked for memory");
        assert!(graph.pools().count() == 0 && machine.spaces.is_empty() && machine.taken.is_empty());
        let _ = devices;
    }
}

/// Nor does looking: it must work when there is nothing left.
#[test]
fn looking_allocates_nothing() {
    let mut all = populate(3);
    let World { graph, machine, devices, .. } = &mut all.world;
    let at = graph.device_address(all.backed).unwrap().raw();
    let (_, refused) = with_shortage(1, Shortage::Lasting, || {
        let to = graph.physical_at(all.busy, at).unwrap();
        assert!(graph.who_maps(to).count() > 0);
        assert!(graph.mappers(all.memory).count() > 0);
        assert!(graph.allocation_at(to).is_some());
        assert!(graph.address_in(all.busy, at, all.region).is_some());
        assert_eq!(graph.reservation_at(all.busy, at), Some(all.backed));
        assert!(graph.regions().count() + graph.allocations().count() + graph.pools().count() > 0);
        assert!(exempt(|| graph.translate(devices.codec_a, at, machine)).is_ok());
        assert!(graph.free_region(all.busy).is_err());
        let error = graph.free(all.memory, machine).unwrap_err();
        let mut sink = Sink(0);
        core::fmt::write(&mut sink, format_args!("{}{}{:?}", graph.view(), graph.explain(error), error))
            .unwrap();
        assert!(sink.0 > 0);
    });
    assert_eq!(refused, 0, "looking asked for memory");
}

/// Counts the bytes that are written to it.
struct Sink(usize);

impl core::fmt::Write for Sink {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

/// The allocator of this test is the one that is in use: otherwise nothing above would mean anything.
#[test]
fn the_failing_allocator_fails() {
    let (reserved, refused) = with_shortage(2, Shortage::Once, || {
        let mut lists = [const { vcm::List::<u64>::new() }; 3];
        let mut results = [true; 3];
        for (list, result) in lists.iter_mut().zip(&mut results) {
            *result = list.reserve(8).is_ok();
        }
        results
    });
    assert_eq!((reserved, refused), ([true, false, true], 1));
}
