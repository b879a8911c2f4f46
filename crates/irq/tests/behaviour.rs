//! How interrupts are forwarded, one story after the other.
//!
//! The rules are those of the architecture for list registers with a physical interrupt (Arm IHI 0048B.b 3.2, 5.2, 5.3;
//! Arm IHI 0069H 4.8 and chapter 6).

#[allow(dead_code, reason = "each test uses a part of the machine")]
mod explore;

use explore::rig::{Shape, guest_number, host_number};
use explore::world::{delivered, forwarded};
use vcm_irq::Sense;
use vcm_irq::host::Handled;
use vcm_irq::vgic::{Completion, EndMode, LrState, Wanted};

#[test]
fn the_guest_completes_the_physical_interrupt() {
    let world = forwarded(&[Sense::Level], Shape::default());
    world.ask(0);
    delivered(&world, 0);
    let register = world.registers(0)[0];
    assert_eq!((register.interrupt, register.state), (guest_number(0), LrState::Active));
    assert_eq!(register.completion, Completion::Physical(host_number(0)), "another number than the guest's");
    assert_ne!(guest_number(0).0, host_number(0).0);
    world.serve(0);
    world.end(0);
    assert!(!world.is_active(0) && !world.wants_exit(0), "and nobody left the guest for it");
    world.check();
}

#[test]
fn a_level_that_stays_high_comes_again() {
    let world = forwarded(&[Sense::Level], Shape::default());
    world.ask(0);
    delivered(&world, 0);
    assert!(!world.is_signalled(0), "active keeps it back");
    world.end(0);
    assert!(world.is_signalled(0), "the line is sampled again");
    delivered(&world, 0);
    world.serve(0);
    world.end(0);
    assert!(!world.is_signalled(0) && !world.is_active(0));
}

#[test]
fn an_edge_during_the_handler_comes_again() {
    let world = forwarded(&[Sense::Edge], Shape::default());
    world.ask(0);
    delivered(&world, 0);
    world.ask(0);
    assert!(!world.is_signalled(0), "pending and active: not yet");
    world.end(0);
    delivered(&world, 0);
    world.end(0);
    assert!(!world.is_signalled(0), "two edges, two interrupts");
}

#[test]
fn a_driver_that_ends_before_it_serves_gets_no_extra_interrupt() {
    let world = forwarded(&[Sense::Level], Shape::default());
    world.ask(0);
    delivered(&world, 0);
    world.guest_enables(0, 0, Wanted::No);
    world.end(0);
    assert!(!world.is_signalled(0), "the line is high, and masked where it enters");
    world.check();
    world.serve(0);
    world.guest_enables(0, 0, Wanted::Yes);
    assert!(!world.is_signalled(0) && !world.can_acknowledge(0));
    world.check();
}

/// A guest that masks and polls: a line that fell meanwhile is no interrupt when it unmasks, as with a real controller.
#[test]
fn what_was_served_while_it_was_masked_does_not_come() {
    let world = forwarded(&[Sense::Level], Shape::default());
    world.ask(0);
    world.take(0, 0);
    world.guest_enables(0, 0, Wanted::No);
    assert!(world.is_active(0) && world.seen(0).pending, "it came before");
    world.serve(0);
    world.guest_enables(0, 0, Wanted::Yes);
    assert!(!world.can_acknowledge(0) && !world.is_active(0));
    world.ask(0);
    delivered(&world, 0);
    world.check();
}

/// The same, and the device still asks.
#[test]
fn what_was_not_served_while_it_was_masked_comes() {
    let world = forwarded(&[Sense::Level], Shape::default());
    world.ask(0);
    world.take(0, 0);
    world.guest_enables(0, 0, Wanted::No);
    world.guest_enables(0, 0, Wanted::Yes);
    world.resync(0);
    assert!(world.can_acknowledge(0));
    world.check();
}

/// The guest makes pending what it handles just now: an exit in the handler, and one before it takes the next, lose nothing.
#[test]
fn what_the_guest_makes_pending_in_its_handler_comes_after_it() {
    let world = forwarded(&[Sense::Level], Shape::default());
    world.ask(0);
    delivered(&world, 0);
    world.serve(0);
    world.distributor(0, |vm, by| vm.set_pending(by, guest_number(0).0));
    world.resync(0);
    world.end(0);
    world.take(0, 0);
    world.resync(0);
    assert!(world.can_acknowledge(0), "though the line is low");
}

#[test]
fn what_the_guest_disables_is_disabled_at_the_host() {
    let world = forwarded(&[Sense::Edge], Shape::default());
    world.guest_enables(0, 0, Wanted::No);
    world.check();
    world.ask(0);
    assert!(!world.is_signalled(0), "it is the controller's to remember");
    assert!(world.seen(0).pending, "and the guest sees that");
    world.guest_enables(0, 0, Wanted::Yes);
    delivered(&world, 0);
}

#[test]
fn another_vcpu_deactivates() {
    for sense in [Sense::Level, Sense::Edge] {
        let shape = Shape { cpus: 2, vcpus: 2, ends: EndMode::Apart, ..Shape::default() };
        let world = forwarded(&[sense], shape);
        world.ask(0);
        delivered(&world, 0);
        world.serve(0);
        world.end(0);
        assert!(world.is_active(0), "only its priority is dropped");
        world.deactivate(1, guest_number(0));
        assert!(!world.is_active(0));
        assert!(world.on(0).is_none(), "the vCPU that had it in a list register left the guest");
        world.settle();
    }
}

#[test]
fn a_vcpu_moves_with_an_interrupt_in_flight() {
    let world = forwarded(&[Sense::Level], Shape { cpus: 2, ..Shape::default() });
    world.ask(0);
    delivered(&world, 0);
    world.rig.save(0);
    assert!(world.is_active(0) && world.registers(0).is_empty(), "the host's stays active");
    world.rig.load(0, 1);
    let register = world.registers(1)[0];
    assert_eq!(register.state, LrState::Active);
    assert_eq!(register.completion, Completion::Physical(host_number(0)));
    world.serve(0);
    world.end(0);
    assert!(!world.is_active(0), "whichever CPU it was acknowledged on");
}

#[test]
fn an_interrupt_moves_to_another_vcpu() {
    let world = forwarded(&[Sense::Level], Shape { cpus: 2, vcpus: 2, ..Shape::default() });
    world.ask(0);
    world.take(0, 0);
    // Pending in the first one's list register: it goes at once.
    world.distributor(1, |vm, _| vm.set_targets(guest_number(0).0, 2));
    world.resync(1);
    assert_eq!(world.acknowledge(1), Some(guest_number(0)));
    // Active: it stays where it was acknowledged until it is ended.
    world.distributor(1, |vm, _| vm.set_targets(guest_number(0).0, 1));
    world.end(1);
    world.resync(1);
    world.rig.load(0, 0);
    delivered(&world, 0);
}

#[test]
fn the_guest_writes_pending_states() {
    let world = forwarded(&[Sense::Edge], Shape::default());
    let guest = guest_number(0).0;
    world.distributor(0, |vm, by| vm.set_pending(by, guest));
    assert!(world.is_signalled(0), "it is the host's that is pending");
    assert_eq!(world.take(0, 0), Some(Handled::Forwarded));
    world.distributor(0, |vm, by| vm.clear_pending(by, guest));
    assert!(!world.is_active(0) && !world.is_signalled(0) && !world.can_acknowledge(0));
    // While it is active, the host's is pending and active.
    world.ask(0);
    delivered(&world, 0);
    world.distributor(0, |vm, by| vm.set_pending(by, guest));
    assert!(world.hardware().look(|state| state.inputs[0].latch && state.inputs[0].active));
    world.distributor(0, |vm, by| vm.clear_pending(by, guest));
    assert!(world.is_active(0) && world.hardware().look(|state| !state.inputs[0].latch));
    world.end(0);
    world.settle();
}

#[test]
fn a_level_cannot_be_wiped_away() {
    let world = forwarded(&[Sense::Level], Shape::default());
    world.ask(0);
    world.take(0, 0);
    world.distributor(0, |vm, by| vm.clear_pending(by, guest_number(0).0));
    assert!(!world.is_active(0) && !world.can_acknowledge(0));
    assert!(world.is_signalled(0), "its line is high, so it comes again");
    delivered(&world, 0);
}

#[test]
fn the_guest_writes_active_states() {
    let world = forwarded(&[Sense::Edge], Shape::default());
    let guest = guest_number(0).0;
    world.distributor(0, |vm, by| vm.set_active(by, guest));
    assert!(world.is_active(0) && world.seen(0).active);
    world.rig.load(0, 0);
    world.ask(0);
    assert!(!world.is_signalled(0), "an active one is not signalled");
    world.distributor(0, |vm, by| vm.clear_active(by, guest));
    assert!(world.is_signalled(0));
    // Pending in the guest and made active: the host keeps what is pending.
    assert_eq!(world.take(0, 0), Some(Handled::Forwarded));
    world.distributor(0, |vm, by| vm.set_active(by, guest));
    assert!(world.hardware().look(|state| state.inputs[0].latch && state.inputs[0].active));
}

#[test]
fn a_level_that_is_gone_when_the_guest_is_left_is_withdrawn() {
    let world = forwarded(&[Sense::Level], Shape::default());
    world.ask(0);
    world.take(0, 0);
    world.serve(0);
    world.resync(0);
    assert!(!world.is_active(0) && !world.can_acknowledge(0));
    world.ask(0);
    assert!(world.is_signalled(0), "or the next time it asks would never be heard");
    delivered(&world, 0);
}
