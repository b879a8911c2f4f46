//! Joining, parting, closing, killing and shutting lines, one story after the other.

#[allow(dead_code, reason = "each test uses a part of the machine")]
mod explore;

use explore::action::Action;
use explore::rig::{SOFTWARE, Shape, eventfd, guest_number, host_number};
use explore::search::replay;
use explore::world::{World, delivered, forwarded};
use vcm_irq::Sense;
use vcm_irq::host::{Handled, ShutReason, StormLimit};
use vcm_irq::kvm::{Fallback, JoinError, Mode, join, part};
use vcm_irq::vgic::{BindError, Completion, CompletionBy, VirtualInterface};

#[test]
fn without_an_active_state_the_host_completes() {
    let world = World::new(&Shape { devices: vec![Sense::Edge], ..Shape::default() });
    world.hardware().act(|state| state.inputs[0].has_active_state = false);
    assert_eq!(world.join(0), Ok(Mode::Automasked(Fallback::NoActiveState)));
    world.ask(0);
    assert_eq!(world.take(0, 0), Some(Handled::Signalled));
    assert_eq!(world.acknowledge(0), Some(guest_number(0)));
    assert_eq!(world.registers(0)[0].completion, Completion::Maintenance);
    world.end(0);
    assert!(world.wants_exit(0));
    world.settle();
}

#[test]
fn completed_by_the_host_a_level_is_masked_until_the_guest_ends_it() {
    let shape = Shape { completion: CompletionBy::Host, ..Shape::default() };
    let world = World::new(&shape);
    world.join(0).expect("nothing is in flight");
    world.ask(0);
    assert_eq!(world.take(0, 0), Some(Handled::Automasked));
    assert!(world.line_state(0).automasked && !world.is_active(0));
    world.acknowledge(0);
    world.end(0);
    assert!(world.line_state(0).automasked && world.wants_exit(0), "the host hears of it at the exit");
    world.resync(0);
    assert!(!world.line_state(0).automasked && world.is_signalled(0), "the device still asks");
    world.settle();
}

#[test]
fn a_storm_is_shut_until_somebody_rearms() {
    for sense in [Sense::Level, Sense::Edge] {
        let storm = StormLimit { interrupts: 2, period: 1000 };
        let world = forwarded(&[sense], Shape { storm, ..Shape::default() });
        for _ in 0..2 {
            world.ask(0);
            delivered(&world, 0);
            world.end(0);
        }
        world.ask(0);
        assert_eq!(world.take(0, 0), Some(Handled::Shut(ShutReason::Storm)));
        assert!(world.line_state(0).shut && !world.is_active(0) && !world.is_signalled(0));
        assert_eq!(world.rig.host.statistics(host_number(0)).map(|s| s.storms), Some(1));
        world.rig.host.rearm(world.line(0));
        assert!(world.is_signalled(0), "what it asked for meanwhile is not lost");
        delivered(&world, 0);
    }
}

#[test]
fn what_cannot_be_delivered_is_shut_until_the_guest_can_take_it() {
    for sense in [Sense::Level, Sense::Edge] {
        let world = forwarded(&[sense], Shape::default());
        world.distributor(0, |vm, _| vm.set_targets(guest_number(0).0, 0));
        world.ask(0);
        assert_eq!(world.take(0, 0), Some(Handled::Shut(ShutReason::Undeliverable)));
        assert!(!world.is_active(0) && !world.is_signalled(0));
        assert_eq!(world.rig.host.statistics(host_number(0)).map(|s| s.undeliverable), Some(1));
        world.distributor(0, |vm, _| vm.set_targets(guest_number(0).0, 1));
        delivered(&world, 0);
    }
}

#[test]
fn what_is_in_flight_is_not_joined() {
    let world = World::new(&Shape::default());
    world.ask(0);
    assert_eq!(world.take(0, 0), Some(Handled::Automasked));
    assert_eq!(world.join(0), Err(JoinError::InFlight(host_number(0).0)));
    world.user(0);
    assert_eq!(world.join(0), Ok(Mode::Forwarded));
    assert_eq!(world.join(0), Err(JoinError::Forwarded(host_number(0).0)));
    // And after it was parted in flight, not until the guest has ended it; whoever has the line by then.
    world.ask(0);
    world.take(0, 0);
    world.reopen(0);
    let in_flight = JoinError::Guest(BindError::InFlight(guest_number(0)));
    assert_eq!(world.join(0), Err(in_flight));
    world.settle();
    assert_eq!(world.join(0), Ok(Mode::Forwarded));
}

#[test]
fn a_parted_level_in_flight_cannot_be_wiped_away_by_the_guest() {
    let world = forwarded(&[Sense::Level], Shape::default());
    world.ask(0);
    world.take(0, 0);
    world.part(0, Some(eventfd(0)));
    world.rig.load(0, 0);
    world.distributor(0, |vm, by| vm.clear_pending(by, guest_number(0).0));
    assert!(world.line_state(0).automasked && world.can_acknowledge(0), "it is still in flight");
    world.settle();
    assert!(!world.line_state(0).automasked);
}

/// A vCPU that leaves the guest may have to say that a line is completed while that very line is joined to
/// another of its interrupts: it must not wait for that, since the joining waits for it.
#[test]
fn a_completion_does_not_wait_for_who_waits_for_the_vcpu() {
    let world = forwarded(&[Sense::Level], Shape::default());
    world.ask(0);
    world.take(0, 0);
    world.part(0, Some(eventfd(0)));
    world.rig.host.unmask(world.line(0));
    world.vm.pulse(SOFTWARE).expect("nobody forwards it");
    world.rig.load(0, 0);
    assert_eq!(world.acknowledge(0), Some(SOFTWARE));
    world.end(0);
    assert_eq!(world.acknowledge(0), Some(guest_number(0)));
    world.end(0);
    // Both are ended, and the host does not know; the second one is asked for while the first one is completed.
    assert_eq!(join(&world.vm, world.line(0), SOFTWARE), Ok(Mode::Forwarded));
    assert!(world.on(0).is_none() && !world.line_state(0).automasked);
    part(&world.vm, world.line(0), SOFTWARE, Some(eventfd(0)));
    world.check();
}

#[test]
fn two_that_are_not_joined_are_left_as_they_are() {
    let world = forwarded(&[Sense::Level, Sense::Level], Shape::default());
    part(&world.vm, world.line(0), guest_number(1), None);
    part(&world.vm, world.line(1), guest_number(0), None);
    world.check();
    world.ask(0);
    delivered(&world, 0);
}

#[test]
fn who_has_closed_a_line_cannot_touch_the_next_owners() {
    let world = forwarded(&[Sense::Level], Shape::default());
    let stale = world.line(0);
    world.reopen(0);
    let host = &world.rig.host;
    host.mask(stale);
    host.connect(stale, None).unwrap();
    host.close(stale);
    part(&world.vm, stale, guest_number(0), None);
    assert_eq!(join(&world.vm, stale, guest_number(0)), Err(JoinError::Closed(host_number(0).0)));
    world.check();
    let state = world.line_state(0);
    assert!(state.open && state.connected && !state.user_masked);
    world.ask(0);
    world.settle();
}

#[test]
fn killed_with_everything_in_flight() {
    for sense in [Sense::Level, Sense::Edge] {
        let shape = Shape { devices: vec![sense; 3], registers: 1, cpus: 2, vcpus: 2, ..Shape::default() };
        let joined = [0, 1, 2].map(|device| Action::Join { device });
        let world = replay(&shape, &joined, &[]);
        for device in [2, 1, 0] {
            world.ask(device);
            delivered(&world, device);
            world.ask(device);
        }
        world.kill();
        world.check();
        assert!((0..3).all(|device| !world.is_active(device)));
        for device in 0..3 {
            world.serve(device);
            world.ask(device);
            assert_eq!(world.take(device, 1), None, "what a device does late reaches nobody");
        }
        assert!(world.hardware().virtual_cpu(0).empty() == 1 && world.registers(1).is_empty());
    }
}
