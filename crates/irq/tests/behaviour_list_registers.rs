//! More interrupts than list registers, one story after the other.
//!
//! What the hardware tells of list registers that become free, and of ends of interrupts that are in none:
//! Arm IHI 0048B.b 5.2 and 5.3.

#[allow(dead_code, reason = "each test uses a part of the machine")]
mod explore;

use explore::rig::{SOFTWARE, Shape, device_of, guest_number, priority};
use explore::world::{World, delivered, forwarded};
use vcm_irq::host::Handled;
use vcm_irq::kvm::{Fallback, Mode};
use vcm_irq::vgic::{Attention, CompletionBy, LrState, Wanted};
use vcm_irq::{Sense, VcpuId};

#[test]
fn an_active_interrupt_outside_is_ended_by_count() {
    let world = forwarded(&[Sense::Level, Sense::Level], Shape { registers: 1, ..Shape::default() });
    world.ask(1);
    delivered(&world, 1);
    world.ask(0);
    assert_eq!(world.take(0, 0), Some(Handled::Forwarded));
    let register = world.registers(0)[0];
    assert_eq!(
        (register.interrupt, register.state),
        (guest_number(0), LrState::Pending),
        "pending goes first"
    );
    assert!(world.is_active(1), "the host's stays active outside");
    assert_eq!(world.acknowledge(0), Some(guest_number(0)), "it preempts the other");
    world.serve(0);
    world.end(0);
    assert!(!world.wants_exit(0), "nothing pending waits outside");
    world.serve(1);
    world.end(0);
    assert!(world.is_active(1) && world.wants_exit(0), "the hardware only counted it");
    world.resync(0);
    assert!(!world.is_active(1), "software deactivated it");
    assert_eq!(world.rig.places.borrow()[0].vcpu.statistics().ended_outside, 1);
}

#[test]
fn an_end_outside_is_not_another_vcpus() {
    let shape = Shape { registers: 1, cpus: 2, vcpus: 2, ..Shape::default() };
    let world = forwarded(&[Sense::Level, Sense::Level, Sense::Level], shape);
    // The first vCPU has interrupt 2 active outside, and 1 waits; that one moves to the second vCPU, which takes it.
    world.ask(2);
    delivered(&world, 2);
    world.ask(0);
    world.take(0, 0);
    world.ask(1);
    world.take(1, 0);
    world.distributor(1, |vm, _| vm.set_targets(guest_number(1).0, 2));
    world.resync(1);
    assert_eq!(world.acknowledge(1), Some(guest_number(1)));
    world.rig.save(1);
    // The first one is not loaded again between; it ends what it has.
    assert_eq!(world.acknowledge(0), Some(guest_number(0)));
    world.serve(0);
    world.end(0);
    world.serve(2);
    world.end(0);
    world.resync(0);
    assert!(!world.is_active(2), "what it ended");
    assert!(world.is_active(1), "the other vCPU still handles this one, and it is more urgent");
}

#[test]
fn the_order_in_which_list_registers_are_given() {
    let world = forwarded(&[Sense::Level; 4], Shape { registers: 1, ..Shape::default() });
    // Equal priorities: the forwarded one first.
    world.vm.set_priority(VcpuId(0), SOFTWARE.0, priority(3));
    world.rig.save(0);
    world.vm.pulse(SOFTWARE).expect("nobody forwards it");
    world.ask(3);
    world.take(3, 0);
    world.rig.load(0, 0);
    assert_eq!(world.registers(0)[0].interrupt, guest_number(3));
    // The more urgent first.
    world.ask(1);
    world.take(1, 0);
    assert_eq!(world.registers(0)[0].interrupt, guest_number(1));
    assert_eq!(world.acknowledge(0), Some(guest_number(1)));
    // Pending before active, whatever its priority; but it has to wait until the active one is ended.
    world.resync(0);
    assert_eq!(world.registers(0)[0].interrupt, guest_number(3));
    assert!(!world.can_acknowledge(0));
    world.settle();
}

/// A level that is injected by software stays high while it is handled. It needs no list register before one
/// that the guest can take: the guest would leave for that at once, and for ever.
#[test]
fn an_active_level_does_not_keep_a_pending_one_out() {
    let shape = Shape { registers: 1, completion: CompletionBy::Host, ..Shape::default() };
    let world = World::new(&Shape { devices: vec![Sense::Level; 2], ..shape });
    for device in [0, 1] {
        assert_eq!(world.join(device), Ok(Mode::Automasked(Fallback::Configured)));
        world.ask(device);
        assert_eq!(world.take(device, 0), Some(Handled::Automasked));
    }
    assert_eq!(world.acknowledge(0), Some(guest_number(0)));
    assert!(world.wants_exit(0), "none is pending any more, and one waits");
    world.resync(0);
    assert_eq!(world.registers(0)[0].interrupt, guest_number(1));
    assert!(!world.wants_exit(0));
    world.settle();
}

#[test]
fn all_shared_interrupts_on_four_list_registers() {
    const ALL: usize = 988;
    let world = forwarded(&[Sense::Level; ALL], Shape { registers: 4, ..Shape::default() });
    world.rig.save(0);
    for device in 0..ALL {
        world.ask(device);
        assert_eq!(world.take(device, 0), Some(Handled::Forwarded));
    }
    world.rig.load(0, 0);
    let (mut served, mut last) = (0, 0);
    let mut exits = 0;
    while let Some(interrupt) = world.acknowledge(0) {
        let device = device_of(interrupt);
        assert!(priority(device) >= last, "the more urgent first");
        last = priority(device);
        world.serve(device);
        world.end(0);
        served += 1;
        if world.wants_exit(0) {
            world.resync(0);
            exits += 1;
        }
    }
    assert_eq!(served, ALL);
    assert!((0..ALL).all(|device| !world.is_active(device) && !world.is_signalled(device)));
    assert!(exits <= ALL / 3 + 1, "three list registers are refilled at a time: {exits}");
}

#[test]
fn what_another_vcpu_has_asks_for_no_attention() {
    let shape = Shape { registers: 1, cpus: 2, vcpus: 2, ..Shape::default() };
    let world = forwarded(&[Sense::Level, Sense::Level], shape);
    for device in [0, 1] {
        world.ask(device);
        assert_eq!(world.take(device, 0), Some(Handled::Forwarded));
    }
    world.distributor(1, |vm, _| vm.set_targets(guest_number(1).0, 2));
    world.resync(1);
    assert_eq!(world.acknowledge(1), Some(guest_number(1)));
    world.rig.save(1);
    world.resync(0);
    let attention = world.hardware().look(|state| state.cpus[0].attention);
    // What another vCPU has may be deactivated here.
    let wanted = Attention { deactivation: Wanted::Yes, ..Attention::default() };
    assert_eq!(attention, wanted, "nothing of the first vCPU's waits outside");
}
