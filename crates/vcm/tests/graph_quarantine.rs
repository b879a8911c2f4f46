//! Teardown cannot fail: what the hardware does not finish waits, is counted and shown, and is not reused.

mod support;

use support::machine::{self, Failure, Trouble};
use support::world::{RW, World};
use vcm::{
    AssociationState, Error, HardwareErrorKind, Holder, Part, Reaped, ReservationState, SIZE_4K, SIZE_64K,
    Teardown, errno,
};

const REFUSED: Failure = Failure::Refused(HardwareErrorKind::Unresponsive);

#[test]
fn memory_that_a_device_may_still_reach_is_not_given_back() {
    for failure in [REFUSED, Failure::HalfDone, Failure::WrongReceipt, Failure::ShortReceipt] {
        let mut world = World::new();
        let before = world.free();
        let region = world.translated("stuck");
        world.activate(region, world.devices.codec_a);
        let (reservation, allocation) = world.buffer(region, SIZE_64K);
        let at = world.at(reservation) + SIZE_64K - SIZE_4K;
        let to = world.machine.access(machine::CODEC_A, at).unwrap();
        world.machine.fail_at(1, failure, Trouble::Lasting);

        assert_eq!(world.graph.unback(reservation, &mut world.machine), Teardown::Quarantined, "{failure:?}");
        assert_eq!(Teardown::Quarantined.errno(), 0);
        assert_eq!(world.graph.quarantined(), 1);
        assert_eq!(world.graph.region(region).unwrap().quarantined, 1);
        let state = world.graph.reservation(reservation).unwrap().state;
        assert_eq!(state, ReservationState::Quarantined { allocation, offset: 0 });
        assert!(world.graph.mappers(allocation).all(|mapper| mapper.quarantined));
        assert!(world.graph.view().to_string().contains("in quarantine"), "{}", world.graph.view());
        // The TLB still leads there, the oracle is quiet because the memory is kept.
        assert_eq!(world.machine.access(machine::CODEC_A, at), Ok(to));
        assert_eq!(world.graph.physical_at(region, at), None);

        // The owner walks away from all of it.
        world.graph.free(allocation, &mut world.machine).unwrap();
        world.graph.unreserve(reservation).unwrap();
        assert_eq!(world.free(), before - SIZE_64K);
        assert_eq!(world.machine.access(machine::CODEC_A, at), Ok(to));
        let asked = vcm::Span::new(at, SIZE_4K).unwrap();
        let taken = world.graph.reserve_at(region, at, SIZE_4K, RW);
        assert_eq!(taken, Err(Error::Occupied { region, asked, holder: Holder::Quarantine }));
        assert!(world.graph.allocations().all(|found| found.waits_for_reaper));

        let still = world.graph.reap(&mut world.machine);
        assert_eq!(still, Reaped { ranges: 0, associations: 0, allocations: 0, remaining: 1 }, "{failure:?}");
        world.machine.repair();
        let reaped = world.graph.reap(&mut world.machine);
        assert_eq!(reaped, Reaped { ranges: 1, associations: 0, allocations: 1, remaining: 0 });
        assert_eq!(world.free(), before);
        assert!(world.machine.access(machine::CODEC_A, at).is_err());
        assert!(world.graph.reserve_at(region, at, SIZE_4K, RW).is_ok());
        assert_eq!(world.graph.allocations().count(), 0);
    }
}

#[test]
fn a_reservation_in_quarantine_is_neither_backed_nor_changed() {
    let mut world = World::new();
    let region = world.translated("stuck");
    world.associate(region, world.devices.codec_a);
    let (reservation, allocation) = world.buffer(region, SIZE_4K);
    let other = world.allocate("other", SIZE_4K);
    world.machine.break_down();
    world.graph.unback(reservation, &mut world.machine);
    let backed = Err(Error::Backed { reservation, allocation });
    assert_eq!(world.back(reservation, other), backed);
    assert_eq!(world.graph.set_reservation_attributes(reservation, RW), backed);
    assert_eq!(world.graph.allocation_behind(reservation), Ok(allocation));
    // Trying again is a retry, too.
    assert_eq!(world.graph.unback(reservation, &mut world.machine), Teardown::Quarantined);
    world.machine.repair();
    assert_eq!(world.graph.unback(reservation, &mut world.machine), Teardown::Done);
    assert_eq!(world.graph.quarantined(), 0);
    assert_eq!(world.back(reservation, other), Ok(()));
}

#[test]
fn an_allocation_that_was_given_up_goes_with_its_last_mapper() {
    let mut world = World::new();
    let before = world.free();
    let region = world.translated("stuck");
    world.activate(region, world.devices.codec_a);
    let (reservation, memory) = world.buffer(region, SIZE_64K);
    world.machine.break_down();
    world.graph.unback(reservation, &mut world.machine);
    world.graph.free(memory, &mut world.machine).unwrap();
    assert_eq!(world.graph.free(memory, &mut world.machine), Err(Error::UnknownAllocation(memory)));
    assert_eq!(world.graph.allocation(memory), Err(Error::UnknownAllocation(memory)));
    assert_eq!(world.back(reservation, memory), Err(Error::UnknownAllocation(memory)));
    world.machine.repair();
    // The owner of the reservation retries, without a reaper.
    assert_eq!(world.graph.unback(reservation, &mut world.machine), Teardown::Done);
    assert_eq!(world.free(), before);
}

#[test]
fn one_space_of_two_that_is_stuck_is_enough() {
    let mut world = World::new();
    let region = world.translated("two spaces");
    world.activate(region, world.devices.codec_a);
    world.activate(region, world.devices.gpu);
    let (reservation, memory) = world.buffer(region, SIZE_64K);
    let at = world.at(reservation);
    for device in [machine::CODEC_A, machine::GPU] {
        world.machine.access(device, at).unwrap();
    }
    world.machine.fail_at(2, Failure::HalfDone, Trouble::Passing);
    assert_eq!(world.graph.unback(reservation, &mut world.machine), Teardown::Quarantined);
    assert!(world.machine.access(machine::CODEC_A, at).is_err());
    assert!(world.machine.access(machine::GPU, at).is_ok(), "the second TLB was not invalidated");
    world.graph.free(memory, &mut world.machine).unwrap();
    let reaped = world.graph.reap(&mut world.machine);
    assert_eq!(reaped, Reaped { ranges: 1, associations: 0, allocations: 1, remaining: 0 });
    assert!(world.machine.access(machine::GPU, at).is_err());
}

#[test]
fn a_device_that_does_not_stop_stays_held() {
    for failure in [REFUSED, Failure::HalfDone, Failure::WrongReceipt, Failure::ShortReceipt] {
        let mut world = World::new();
        let device = world.devices.codec_a;
        let (first, second) = (world.translated("first"), world.translated("second"));
        let link = world.activate(first, device);
        let (reservation, _) = world.buffer(first, SIZE_4K);
        let at = world.at(reservation);
        world.machine.access(machine::CODEC_A, at).unwrap();
        world.machine.fail_at(1, failure, Trouble::Lasting);
        assert_eq!(world.graph.deactivate(link, &mut world.machine), Teardown::Quarantined, "{failure:?}");
        assert_eq!(world.graph.deactivate(link, &mut world.machine), Teardown::Quarantined);
        assert_eq!((world.graph.is_active(link), world.graph.quarantined()), (Ok(false), 1));
        assert_eq!(world.graph.associations().next().unwrap().state, AssociationState::Quarantined);

        let other = world.associate(second, device);
        let busy = Err(Error::DeviceBusy { device, holder: first, part: Part::Whole, association: link });
        assert_eq!(world.graph.activate(other, &mut world.machine), busy);
        assert_eq!(world.graph.activate(link, &mut world.machine), busy);
        let part = Part::Low { split: 1 };
        let changed = world.graph.set_association_part(link, part, &mut world.machine);
        assert!(matches!(changed, Err(Error::Active { .. })), "{changed:?}");

        // Given up, it still counts, and still has its table.
        world.graph.deassociate(link, &mut world.machine).unwrap();
        assert_eq!(world.graph.association_part(link), Err(Error::UnknownAssociation(link)));
        assert_eq!(world.graph.deassociate(link, &mut world.machine), Err(Error::UnknownAssociation(link)));
        assert_eq!(world.graph.remove_device(device), Err(Error::DeviceInUse { device, association: link }));
        assert_eq!(world.machine.spaces.len(), 2);
        assert!(world.machine.access(machine::CODEC_A, at).is_ok());

        assert_eq!(world.graph.reap(&mut world.machine).remaining, 1);
        world.machine.repair();
        let reaped = world.graph.reap(&mut world.machine);
        assert_eq!(
            reaped,
            Reaped { ranges: 0, associations: 1, allocations: 0, remaining: 0 },
            "{failure:?}"
        );
        assert_eq!((world.machine.spaces.len(), world.machine.attached.len()), (1, 0));
        assert!(world.machine.access(machine::CODEC_A, at).is_err());
        world.graph.activate(other, &mut world.machine).unwrap();
        assert_eq!(world.graph.region(first).unwrap().associations, 0);
    }
}

#[test]
fn an_association_that_was_kept_is_inactive_after_the_reaper() {
    let mut world = World::new();
    let region = world.translated("kept");
    let link = world.activate(region, world.devices.codec_a);
    world.machine.break_down();
    world.graph.deactivate(link, &mut world.machine);
    world.machine.repair();
    assert_eq!(world.graph.reap(&mut world.machine).associations, 1);
    assert_eq!(world.graph.is_active(link), Ok(false));
    world.graph.activate(link, &mut world.machine).unwrap();
}

/// The address is reserved and the memory is there, but the second table refuses after the first was written,
/// and the first does not let go any more.
#[test]
fn a_backing_that_can_neither_be_done_nor_undone_is_in_quarantine() {
    let mut world = World::new();
    let before = world.free();
    let region = world.translated("half");
    world.activate(region, world.devices.codec_a);
    world.activate(region, world.devices.gpu);
    let reservation = world.reserve(region, SIZE_64K);
    let allocation = world.allocate("memory", SIZE_64K);
    world.machine.fail_at(2, Failure::Refused(HardwareErrorKind::OutOfMemory), Trouble::Lasting);
    let error = world.back(reservation, allocation).unwrap_err();
    assert!(
        matches!(error, Error::Quarantined { what: Holder::Reservation(id), .. } if id == reservation),
        "{error}"
    );
    assert_eq!(error.errno(), errno::EIO);
    let at = world.at(reservation);
    let reached = world.machine.access(machine::CODEC_A, at).unwrap();
    assert_eq!(reached, world.memory_at(allocation).raw(), "the first table was written");
    let state = world.graph.reservation(reservation).unwrap().state;
    assert_eq!(state, ReservationState::Quarantined { allocation, offset: 0 });
    world.graph.free(allocation, &mut world.machine).unwrap();
    world.machine.repair();
    assert_eq!(world.graph.reap(&mut world.machine).remaining, 0);
    assert_eq!(world.free(), before);
    assert_eq!(world.graph.allocation_behind(reservation), Err(Error::NotBacked(reservation)));
}

#[test]
fn a_backing_that_is_refused_changes_nothing() {
    for nth in [1, 2] {
        for failure in [Failure::Refused(HardwareErrorKind::OutOfMemory), Failure::HalfDone] {
            let mut world = World::new();
            let region = world.translated("refused");
            world.activate(region, world.devices.codec_a);
            world.activate(region, world.devices.gpu);
            let reservation = world.reserve(region, SIZE_64K);
            let memory = world.allocate("memory", SIZE_64K);
            let before = (support::dump::dump(&world.graph), world.machine.dump());
            world.machine.fail_at(nth, failure, Trouble::Passing);
            let error = world.back(reservation, memory).unwrap_err();
            assert!(matches!(error, Error::Hardware { doing: "backing", .. }), "{error}");
            assert_eq!(
                (support::dump::dump(&world.graph), world.machine.dump()),
                before,
                "{nth} {failure:?}"
            );
            world.back(reservation, memory).unwrap();
        }
    }
}

/// An association made while a range is in quarantine gets a table without it, and the reaper still works.
#[test]
fn a_table_made_during_a_quarantine_does_not_have_the_range() {
    let mut world = World::new();
    let region = world.translated("during");
    world.activate(region, world.devices.codec_a);
    let (stuck, memory) = world.buffer(region, SIZE_64K);
    let at = world.at(stuck);
    world.machine.access(machine::CODEC_A, at).unwrap();
    world.machine.break_down();
    world.graph.unback(stuck, &mut world.machine);
    world.activate(region, world.devices.gpu);
    assert!(world.machine.access(machine::GPU, at).is_err());
    let clone = world.graph.clone_region(region, "clone").unwrap();
    let info = world.graph.reservation(stuck.in_clone(clone)).unwrap();
    assert_eq!(info.state, ReservationState::Unbacked, "a clone is mapped nowhere");
    world.machine.repair();
    world.graph.free(memory, &mut world.machine).unwrap();
    assert_eq!(world.graph.reap(&mut world.machine).remaining, 0);
    assert!(world.machine.taken.is_empty());
}

/// With the device stopped and its table gone, nothing can reach the range, whatever unmapping said before.
#[test]
fn a_range_is_free_when_its_last_table_went() {
    let mut world = World::new();
    let region = world.translated("table");
    let link = world.activate(region, world.devices.codec_a);
    let (stuck, memory) = world.buffer(region, SIZE_64K);
    let at = world.at(stuck);
    world.machine.access(machine::CODEC_A, at).unwrap();
    world.machine.fail_at(1, Failure::WrongReceipt, Trouble::Passing);
    assert_eq!(world.graph.unback(stuck, &mut world.machine), Teardown::Quarantined);
    assert_eq!(world.graph.deactivate(link, &mut world.machine), Teardown::Done);
    world.graph.deassociate(link, &mut world.machine).unwrap();
    world.graph.free(memory, &mut world.machine).unwrap();
    world.graph.unreserve(stuck).unwrap();
    // The graph learns of it from the reaper; until then the region is not freed under the range.
    let early = world.graph.free_region(region).unwrap_err();
    let quarantined = 1;
    assert_eq!(
        early,
        Error::RegionInUse { region, reservations: 0, bounds: 0, associations: 0, quarantined }
    );
    assert_eq!(world.graph.reap(&mut world.machine).remaining, 0);
    assert!(world.machine.taken.is_empty());
    world.graph.free_region(region).unwrap();
}

#[test]
fn a_clone_of_a_region_with_an_abandoned_range_does_not_have_it() {
    let mut world = World::new();
    let region = world.translated("original");
    world.activate(region, world.devices.codec_a);
    let bound = world.graph.create_bound(region, SIZE_64K).unwrap();
    let inside = vcm::ReservationRequest::new(SIZE_4K, RW);
    let stuck = world.graph.reserve_from_bound(bound, &inside).unwrap();
    let memory = world.allocate("memory", SIZE_4K);
    world.back(stuck, memory).unwrap();
    world.machine.break_down();
    world.graph.unback(stuck, &mut world.machine);
    world.graph.unreserve(stuck).unwrap();
    let busy = world.graph.free_bound(bound);
    assert_eq!(busy, Err(Error::BoundInUse { bound, reservations: 1 }), "its addresses are still in use");
    let clone = world.graph.clone_region(region, "clone").unwrap();
    assert_eq!(world.graph.reservations(clone).count(), 0);
    world.graph.free_bound(bound.in_clone(clone)).unwrap();
    world.graph.free_region(clone).unwrap();
    world.machine.repair();
    world.graph.reap(&mut world.machine);
    world.graph.free_bound(bound).unwrap();
}

/// The hardware attaches, says that it is not sure, and does not let go: the device may translate from then on.
#[test]
fn an_activation_that_can_neither_be_done_nor_undone_is_in_quarantine() {
    let mut world = World::new();
    let region = world.translated("half");
    let link = world.associate(region, world.devices.codec_a);
    world.machine.fail_at(1, Failure::HalfDone, Trouble::Lasting);
    let error = world.graph.activate(link, &mut world.machine).unwrap_err();
    assert_eq!(error.errno(), errno::EIO, "{error}");
    assert_eq!(world.graph.quarantined(), 1);
    assert!(world.graph.deassociate(link, &mut world.machine).is_ok());
    assert!(world.graph.free_region(region).is_err());
    world.machine.repair();
    assert_eq!(world.graph.reap(&mut world.machine).remaining, 0);
    assert!(world.machine.spaces.is_empty() && world.machine.attached.is_empty());
    world.graph.free_region(region).unwrap();
}
