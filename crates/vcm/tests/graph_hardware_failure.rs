//! Every operation with its n-th hardware call failing: nothing was changed, or what could not be undone is in
//! quarantine, and the reaper brings all of it back.

mod support;

use support::dump::dump;
use support::machine::{self, Failure, Trouble};
use support::world::{RW, World};
use vcm::{
    AllocationId, AssociationId, Error, HardwareErrorKind, Part, RegionId, RegionKind, ReservationId,
    SIZE_1M, SIZE_4K, SIZE_64K, Span,
};

/// What the operations work on.
struct Populated {
    world: World,
    /// With two tables, and backed reservations.
    busy: RegionId,
    fresh: RegionId,
    unbacked: ReservationId,
    backed: ReservationId,
    memory: AllocationId,
    free_memory: AllocationId,
    inactive: AssociationId,
    active: AssociationId,
    /// The free bytes of the pools before anything was allocated.
    pools: u64,
}

fn populate() -> Populated {
    let mut world = World::new();
    let pools = world.free();
    let (busy, fresh) = (world.translated("busy"), world.translated("fresh"));
    let active = world.activate(busy, world.devices.codec_a);
    world.activate(busy, world.devices.gpu);
    let (backed, memory) = world.buffer(busy, SIZE_1M + SIZE_64K);
    let inactive = world.associate(busy, world.devices.codec_b);
    for len in [SIZE_64K, SIZE_4K, 3 * SIZE_4K] {
        world.buffer(fresh, len);
    }
    let unbacked = world.reserve(busy, SIZE_64K);
    let free_memory = world.allocate("free", SIZE_64K);
    // The TLBs are warm.
    let at = world.at(backed);
    for device in [machine::CODEC_A, machine::GPU] {
        for page in 0..8 {
            world.machine.access(device, at + page * SIZE_4K).unwrap();
        }
    }
    Populated { world, busy, fresh, unbacked, backed, memory, free_memory, inactive, active, pools }
}

/// Takes down all that there is, whatever state it is in, and checks that every byte came back.
fn take_down(all: &mut Populated, what: &str) {
    let World { graph, machine, .. } = &mut all.world;
    let regions: Vec<_> = graph.regions().map(|region| region.id).collect();
    for region in &regions {
        let reservations: Vec<_> = graph.reservations(*region).map(|found| found.id).collect();
        for reservation in reservations {
            graph.unback(reservation, machine);
            let _ = graph.unreserve(reservation);
        }
    }
    let links: Vec<_> = graph.associations().map(|link| link.id).collect();
    for link in links {
        graph.deactivate(link, machine);
        let _ = graph.deassociate(link, machine);
    }
    let memories: Vec<_> = graph.allocations().map(|found| found.id).collect();
    for memory in memories {
        let _ = graph.free(memory, machine);
    }
    machine.repair();
    let reaped = graph.reap(machine);
    assert_eq!(reaped.remaining, 0, "{what}: {reaped:?}");
    for region in regions {
        assert_eq!(graph.free_region(region), Ok(()), "{what}");
    }
    assert_eq!(graph.pools().map(|pool| pool.free).sum::<u64>(), all.pools, "{what}: memory was lost");
    assert_eq!(graph.allocations().count(), 0, "{what}");
    assert!(machine.spaces.is_empty() && machine.attached.is_empty(), "{what}: {}", machine.dump());
    assert!(machine.taken.is_empty() && machine.tlb_len() == 0, "{what}");
}

const FAILURES: [Failure; 6] = [
    Failure::Refused(HardwareErrorKind::OutOfMemory),
    Failure::Refused(HardwareErrorKind::NoFreeSlot),
    Failure::Refused(HardwareErrorKind::Unresponsive),
    Failure::HalfDone,
    Failure::WrongReceipt,
    Failure::ShortReceipt,
];

/// Calls `each` for every way in which a hardware call of `operation` can fail, with the graph before and after.
fn fail_everywhere<R>(
    name: &str,
    operation: impl Fn(&mut Populated) -> R,
    mut each: impl FnMut(&str, &mut Populated, &(String, String), R),
) {
    let mut failed = 0;
    for failure in FAILURES {
        for trouble in [Trouble::Passing, Trouble::Lasting] {
            for nth in 1.. {
                let mut all = populate();
                let before = (dump(&all.world.graph), all.world.machine.dump());
                all.world.machine.fail_at(nth, failure, trouble);
                let result = operation(&mut all);
                if all.world.machine.failures() == 0 {
                    break;
                }
                failed += 1;
                let what = format!("{name}, call {nth} {failure:?} {trouble:?}");
                each(&what, &mut all, &before, result);
                take_down(&mut all, &what);
            }
        }
    }
    assert!(failed > 0, "{name}: no hardware call was ever made");
}

/// A set-up: refused as a whole, or in quarantine until the reaper.
fn set_up(name: &str, operation: impl Fn(&mut Populated) -> Result<(), Error>) {
    fail_everywhere(name, operation, |what, all, before, result| {
        let error = result.expect_err(what);
        assert!(matches!(error, Error::Hardware { .. } | Error::Quarantined { .. }), "{what}: {error}");
        let quarantined = all.world.graph.quarantined();
        let said = usize::from(matches!(error, Error::Quarantined { .. }));
        assert_eq!(quarantined, said, "{what}: {error}");
        if quarantined > 0 {
            all.world.machine.repair();
            let reaped = all.world.graph.reap(&mut all.world.machine);
            assert_eq!((reaped.ranges + reaped.associations, reaped.remaining), (1, 0), "{what}");
        }
        let after = (dump(&all.world.graph), all.world.machine.dump());
        assert!(before.0 == after.0, "{what}: changed\n{}\nto\n{}", before.0, after.0);
        assert!(before.1 == after.1, "{what}: changed\n{}\nto\n{}", before.1, after.1);
    });
}

/// A teardown: done, or in quarantine until the reaper. The same in the end.
fn tear_down(name: &str, operation: impl Fn(&mut Populated)) {
    let mut wanted = populate();
    operation(&mut wanted);
    let wanted = (dump(&wanted.world.graph), wanted.world.machine.dump());
    fail_everywhere(name, operation, |what, all, _, ()| {
        assert!(all.world.graph.quarantined() > 0, "{what}: nothing is in quarantine");
        all.world.machine.repair();
        let reaped = all.world.graph.reap(&mut all.world.machine);
        assert_eq!(reaped.remaining, 0, "{what}");
        let after = (dump(&all.world.graph), all.world.machine.dump());
        assert!(wanted.0 == after.0, "{what}: wanted\n{}\ngot\n{}", wanted.0, after.0);
        assert!(wanted.1 == after.1, "{what}: wanted\n{}\ngot\n{}", wanted.1, after.1);
    });
}

#[test]
fn associating() {
    set_up("associate, a new table", |all| {
        let World { graph, machine, devices, .. } = &mut all.world;
        graph.associate(all.fresh, devices.codec_b, Part::Whole, machine).map(|_| ())
    });
    set_up("associate, a shared table", |all| {
        let World { graph, machine, .. } = &mut all.world;
        let device = graph.add_device(&vcm::DeviceRequest {
            label: "third".into(),
            handle: machine::CODEC_B,
            kind: RegionKind::Translated,
            reserved: &[],
        })?;
        let linked = graph.associate(all.busy, device, Part::Whole, machine).map(|_| ());
        if linked.is_err() {
            graph.remove_device(device)?;
        }
        linked
    });
    set_up("associate, with windows to keep out", |all| {
        let World { graph, machine, .. } = &mut all.world;
        let device = graph.add_device(&vcm::DeviceRequest {
            label: "windows".into(),
            handle: machine::CODEC_B,
            kind: RegionKind::Translated,
            reserved: &[Span::inclusive(0x3000_0000, 0x3000_ffff).expect("64K")],
        })?;
        let linked = graph.associate(all.fresh, device, Part::Whole, machine).map(|_| ());
        if linked.is_err() {
            graph.remove_device(device)?;
        }
        linked
    });
    set_up("set_association_part", |all| {
        let World { graph, machine, .. } = &mut all.world;
        graph.set_association_part(all.inactive, Part::Low { split: 2 }, machine)
    });
}

#[test]
fn activating() {
    set_up("activate", |all| {
        let World { graph, machine, .. } = &mut all.world;
        graph.activate(all.inactive, machine)
    });
}

#[test]
fn backing() {
    set_up("back", |all| {
        let World { graph, machine, .. } = &mut all.world;
        graph.back(all.unbacked, all.free_memory, machine)
    });
    set_up("back_at_offset", |all| {
        let World { graph, machine, .. } = &mut all.world;
        graph.back_at_offset(all.unbacked, all.memory, SIZE_1M, machine)
    });
}

#[test]
fn unbacking_and_freeing() {
    tear_down("unback", |all| {
        let World { graph, machine, .. } = &mut all.world;
        graph.unback(all.backed, machine);
    });
    tear_down("unback and give everything up", |all| {
        let World { graph, machine, .. } = &mut all.world;
        graph.unback(all.backed, machine);
        graph.free(all.memory, machine).unwrap();
        graph.unreserve(all.backed).unwrap();
    });
}

#[test]
fn deactivating() {
    tear_down("deactivate", |all| {
        let World { graph, machine, .. } = &mut all.world;
        graph.deactivate(all.active, machine);
    });
    tear_down("deactivate and deassociate", |all| {
        let World { graph, machine, .. } = &mut all.world;
        graph.deactivate(all.active, machine);
        graph.deassociate(all.active, machine).unwrap();
    });
}

/// The whole life of a buffer, with each of its hardware calls failing in each way: no memory is lost, and the
/// oracle is quiet while the devices go on using what they have in their TLBs.
#[test]
fn the_life_of_a_buffer() {
    fail_everywhere(
        "life",
        |all| {
            let World { graph, machine, devices, target, .. } = &mut all.world;
            let mut live = || -> Result<(), Error> {
                let link = graph.associate(all.fresh, devices.codec_b, Part::Whole, machine)?;
                graph.activate(link, machine)?;
                let reservation = graph.reserve(all.fresh, SIZE_64K, RW)?;
                let request = vcm::AllocationRequest::new("life", SIZE_64K);
                let memory = graph.allocate(*target, &request, machine)?;
                let backed = graph.back(reservation, memory, machine);
                let at = graph.device_address(reservation)?.raw();
                let _ = machine.access(machine::CODEC_B, at);
                graph.unback(reservation, machine);
                graph.free(memory, machine)?;
                let _ = machine.access(machine::CODEC_B, at);
                // The next owner of the same memory, were it free.
                let next = graph.allocate(*target, &request, machine)?;
                let _ = machine.access(machine::CODEC_B, at);
                graph.deactivate(link, machine);
                graph.free(next, machine)?;
                let _ = machine.access(machine::CODEC_B, at);
                backed
            };
            let _ = live();
        },
        |what, all, _, ()| {
            let at = all.world.at(all.backed);
            assert!(
                all.world.machine.access(machine::CODEC_A, at).is_ok(),
                "{what}: another buffer suffered"
            );
        },
    );
}
