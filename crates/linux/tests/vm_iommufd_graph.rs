//! The mapping graph over I/O address spaces of the kernel's: after each step graph and kernel agree.

mod vm_iommufd_support;

use vcm::{Access, AllocationRequest, DeviceHandle, Error, Part, RegionKind, RegionRequest, Teardown};
use vm_iommufd_support::machine::BASE;
use vm_iommufd_support::world::{ONE, OTHER, RW, WINDOW, World};
use vm_iommufd_support::*;

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn one_allocation_is_seen_in_several_regions_at_once() {
    let mut world = World::new(64);
    let (one, first) = world.region("one", ONE, 0);
    let (other, second) = world.region("other", OTHER, 1);
    // A second device of the first region, later.
    let third = world.graph.associate(one, world.devices[2], Part::Whole, &mut world.machine).unwrap();
    let memory = world.allocate(5).unwrap();
    let here = world.graph.reserve_at(one, ONE + 2 * PAGE, 5 * PAGE, RW).unwrap();
    let there = world.graph.reserve_at(other, OTHER + 9 * PAGE, 5 * PAGE, RW).unwrap();
    world.graph.activate(first, &mut world.machine).unwrap();
    world.back(here, memory).unwrap();
    world.back(there, memory).unwrap();
    world.judge(one, ONE, None);
    world.judge(other, OTHER, None);
    world.graph.activate(second, &mut world.machine).unwrap();
    world.graph.activate(third, &mut world.machine).unwrap();
    world.judge(one, ONE, None);
    world.judge(other, OTHER, None);
    // Bytes that go in through one are there in the other.
    world.machine.write(world.spaces[&ONE], ONE + 3 * PAGE + 7, b"hello").unwrap();
    let physical = world.pages_of(other)[&(OTHER + 10 * PAGE)];
    assert_eq!(bytes(world.machine.memory.range(physical - BASE + 7, 5).unwrap()), b"hello");
    // The hardware says the same.
    let known = world.graph.translate(world.devices[0], ONE + 3 * PAGE + 7, &mut world.machine).unwrap();
    assert_eq!(known.graph.unwrap(), known.hardware.unwrap());
    assert!(matches!(world.graph.free(memory, &mut world.machine), Err(Error::Mapped { .. })));
    assert_eq!(world.unback(here), Teardown::Done);
    world.judge(one, ONE, None);
    world.judge(other, OTHER, None);
    assert_eq!(world.unback(there), Teardown::Done);
    world.graph.free(memory, &mut world.machine).unwrap();
    for link in [first, second, third] {
        assert_eq!(world.graph.deactivate(link, &mut world.machine), Teardown::Done);
        world.graph.deassociate(link, &mut world.machine).unwrap();
    }
    assert!(world.machine.spaces().is_empty());
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn what_was_backed_before_is_there_for_a_region_that_comes_later() {
    let mut world = World::new(32);
    let request = RegionRequest::new("late", RegionKind::Translated, span(ONE, WINDOW * PAGE));
    let region = world.graph.create_region(&request).unwrap();
    let memory = world.allocate(3).unwrap();
    let reservation = world.graph.reserve_at(region, ONE + PAGE, 3 * PAGE, RW).unwrap();
    world.back(reservation, memory).unwrap();
    let link = world.graph.associate(region, world.devices[0], Part::Whole, &mut world.machine).unwrap();
    world.spaces.insert(ONE, world.machine.spaces()[0]);
    world.judge(region, ONE, None);
    world.graph.activate(link, &mut world.machine).unwrap();
    world.judge(region, ONE, None);
    assert_eq!(world.graph.deactivate(link, &mut world.machine), Teardown::Done);
    world.judge(region, ONE, None);
    assert_eq!(world.machine.space_of(DeviceHandle(0)), None);
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn scattered_memory_is_one_range_for_a_device() {
    let mut world = World::new(32);
    let (region, link) = world.region("region", ONE, 0);
    world.graph.activate(link, &mut world.machine).unwrap();
    // Every second page stays taken: what is left is scattered.
    let taken: Vec<_> = (0..32).map(|_| world.allocate(1).unwrap()).collect();
    for memory in taken.iter().step_by(2) {
        world.graph.free(*memory, &mut world.machine).unwrap();
    }
    let memory = world.allocate(16).unwrap();
    assert_eq!(world.graph.allocation(memory).unwrap().blocks.len(), 16);
    let reservation = world.graph.reserve_at(region, ONE, 16 * PAGE, RW).unwrap();
    world.back(reservation, memory).unwrap();
    assert_eq!(world.machine.mappings(world.spaces[&ONE]), 16);
    world.judge(region, ONE, None);
    assert_eq!(world.unback(reservation), Teardown::Done);
    assert_eq!(world.machine.mappings(world.spaces[&ONE]), 0);
    world.judge(region, ONE, None);
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn permissions_take_effect() {
    let mut world = World::new(8);
    let (region, link) = world.region("region", ONE, 0);
    world.graph.activate(link, &mut world.machine).unwrap();
    let memory = world.allocate(1).unwrap();
    let read = world.graph.reserve_at(region, ONE, PAGE, RW.with_access(Access::READ)).unwrap();
    let write = world.graph.reserve_at(region, ONE + PAGE, PAGE, RW).unwrap();
    world.back(read, memory).unwrap();
    world.back(write, memory).unwrap();
    let space = world.spaces[&ONE];
    world.machine.write(space, ONE, &[1]).unwrap_err();
    world.machine.write(space, ONE + PAGE, &[1]).unwrap();
    // What the kernel cannot express is refused, and nothing has changed.
    let execute =
        world.graph.reserve_at(region, ONE + 2 * PAGE, PAGE, RW.with_access(Access::all())).unwrap();
    let error = world.back(execute, memory).unwrap_err();
    assert!(matches!(error, Error::Hardware { .. }), "{error}");
    world.judge(region, ONE, None);
}

/// Any page of an area, split in the graph's own way: the kernel's areas follow.
#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn parts_of_an_allocation_are_mapped_and_unmapped_apart() {
    let mut world = World::new(64);
    let (region, link) = world.region("region", ONE, 0);
    world.graph.activate(link, &mut world.machine).unwrap();
    let request = AllocationRequest::new("large", 16 * PAGE).contiguous();
    let memory = world.graph.allocate(world.target, &request, &mut world.machine).unwrap();
    let mut reservations = Vec::new();
    for part in 0..16 {
        // The other way round.
        let at = ONE + (15 - part) * PAGE;
        let reservation = world.graph.reserve_at(region, at, PAGE, RW).unwrap();
        world.graph.back_at_offset(reservation, memory, part * PAGE, &mut world.machine).unwrap();
        reservations.push(reservation);
    }
    world.judge(region, ONE, None);
    for reservation in reservations.iter().step_by(3) {
        assert_eq!(world.unback(*reservation), Teardown::Done);
        world.judge(region, ONE, None);
    }
}

/// Backing with each step in the kernel failing: the graph hears of it, and both are as they were.
#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_backing_that_the_kernel_refuses_leaves_no_trace() {
    let mut world = World::new(64);
    let (one, first) = world.region("one", ONE, 0);
    let (other, second) = world.region("other", OTHER, 1);
    for link in [first, second] {
        world.graph.activate(link, &mut world.machine).unwrap();
    }
    let taken: Vec<_> = (0..24).map(|_| world.allocate(1).unwrap()).collect();
    for memory in taken.iter().step_by(3) {
        world.graph.free(*memory, &mut world.machine).unwrap();
    }
    let memory = world.allocate(12).unwrap();
    let stays = world.graph.reserve_at(other, OTHER, PAGE, RW).unwrap();
    world.back(stays, taken[1]).unwrap();
    let reservation = world.graph.reserve_at(one, ONE + 4 * PAGE, 12 * PAGE, RW).unwrap();
    let mut refused = 0;
    for nth in 1..1000 {
        let before = format!("{:?}", world.graph);
        let (result, failed) =
            with_failure(nth, || world.graph.back(reservation, memory, &mut world.machine));
        match result {
            Ok(()) => {
                world.judge(one, ONE, None);
                assert_eq!(world.unback(reservation), Teardown::Done);
            }
            Err(error) => {
                assert!(failed && matches!(error, Error::Hardware { .. }), "{error}");
                assert_eq!(format!("{:?}", world.graph), before, "step {nth}");
                refused += 1;
            }
        }
        world.judge(one, ONE, None);
        world.judge(other, OTHER, None);
        if !failed {
            assert!(refused > 10, "{refused} refusals");
            assert_eq!(world.graph.quarantined(), 0);
            return;
        }
    }
    panic!("there is no end to it");
}

/// Un-backing cannot fail for who calls it. What the kernel refuses is in quarantine until the reaper has it.
#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn what_the_kernel_does_not_unmap_is_in_quarantine() {
    let mut world = World::new(16);
    let (region, link) = world.region("region", ONE, 0);
    world.graph.activate(link, &mut world.machine).unwrap();
    let memory = world.allocate(4).unwrap();
    let reservation = world.graph.reserve_at(region, ONE, 4 * PAGE, RW).unwrap();
    world.back(reservation, memory).unwrap();
    let pages = world.pages_of(region);
    let (done, failed) = with_failure(1, || world.graph.unback(reservation, &mut world.machine));
    assert!(failed);
    assert_eq!(done, Teardown::Quarantined);
    assert_eq!(world.graph.quarantined(), 1);
    // The memory is not given back while the device reaches it.
    world.graph.free(memory, &mut world.machine).unwrap();
    let free: u64 = world.graph.pools().map(|pool| pool.free).sum();
    assert_eq!(free, 12 * PAGE);
    for (page, physical) in &pages {
        world.machine.agrees_at(world.spaces[&ONE], *page, Some(*physical)).unwrap();
    }
    let reaped = world.graph.reap(&mut world.machine);
    assert_eq!((reaped.ranges, reaped.allocations, reaped.remaining), (1, 1, 0));
    assert_eq!(world.graph.pools().map(|pool| pool.free).sum::<u64>(), 16 * PAGE);
    world.judge(region, ONE, None);
}
