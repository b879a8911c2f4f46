//! Un-forwarding in every combination of what the host's interrupt is, what the guest has of it, and where its vCPU is.

#[allow(dead_code, reason = "each test uses a part of the machine")]
mod explore;

use explore::rig::{Shape, eventfd, guest_number};
use explore::world::World;
use vcm_irq::Sense;
use vcm_irq::host::Handled;
use vcm_irq::kvm::Mode;

/// What the guest has of the interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Guest {
    Nothing,
    /// Nothing; a CPU has acknowledged the physical interrupt, and its handler has not begun.
    OnItsWay,
    /// Pending, and no vCPU has looked.
    Queued,
    /// Pending in a list register.
    Pending,
    /// Active in a list register.
    Active,
    /// Ended by the guest, and the list register has not been looked at since.
    Ended,
    /// Active, and its vCPU is not in the guest.
    Saved,
    /// Pending, and there is no list register for it.
    SpilledPending,
    /// Active, and there is no list register for it.
    SpilledActive,
    /// The same, and its vCPU is not in the guest.
    SpilledAndSaved,
}

use Guest::{
    Active, Ended, Nothing, OnItsWay, Pending, Queued, Saved, SpilledActive, SpilledAndSaved, SpilledPending,
};

const ALL: [Guest; 10] = [
    Nothing,
    OnItsWay,
    Queued,
    Pending,
    Active,
    Ended,
    Saved,
    SpilledPending,
    SpilledActive,
    SpilledAndSaved,
];

/// Whether the device asks at the moment of un-forwarding: a line that is high, or an edge that came since.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asks {
    Yes,
    No,
}

/// The other device, whose interrupt is the more urgent, and the one that this is about.
const OTHER: usize = 0;
const THIS: usize = 1;

fn arrange(sense: Sense, guest: Guest, asks: Asks) -> World {
    let world =
        World::new(&Shape { devices: vec![Sense::Level, sense], registers: 1, cpus: 2, ..Shape::default() });
    for device in [OTHER, THIS] {
        assert_eq!(world.join(device), Ok(Mode::Forwarded));
    }
    let take = |device| {
        world.ask(device);
        assert_eq!(world.take(device, 1), Some(Handled::Forwarded));
        world.resync(0);
    };
    let acknowledge = |device| assert_eq!(world.acknowledge(0), Some(guest_number(device)));
    match guest {
        Nothing => {}
        OnItsWay => {
            world.ask(THIS);
            world.acknowledge_physical(THIS, 1);
        }
        Queued => {
            world.rig.save(0);
            take(THIS);
        }
        Pending => take(THIS),
        SpilledPending => {
            take(OTHER);
            take(THIS);
        }
        Active | Ended | Saved | SpilledActive | SpilledAndSaved => {
            take(THIS);
            acknowledge(THIS);
        }
    }
    match guest {
        Ended => world.end(0),
        Saved => world.rig.save(0),
        SpilledActive => take(OTHER),
        SpilledAndSaved => {
            take(OTHER);
            world.rig.save(0);
        }
        _ => {}
    }
    match (asks, sense) {
        (Asks::Yes, _) => world.ask(THIS),
        // What the guest has acknowledged it will serve; what it has not is gone.
        (Asks::No, Sense::Level) => world.serve(THIS),
        (Asks::No, Sense::Edge) => {}
    }
    world
}

fn part_in(sense: Sense, guest: Guest, asks: Asks) {
    let world = arrange(sense, guest, asks);
    let running = world.on(0).is_some();
    let input = world.hardware().look(|state| state.inputs[THIS].clone());
    let host = (input.is_pending(), input.active);
    let story = format!(
        "{sense:?}, the guest: {guest:?}, the host's pending and active: {host:?}, running: {running}"
    );
    println!("{story}");
    assert_eq!(input.active, !matches!(guest, Nothing | Ended), "{story}");
    assert_eq!(input.is_pending(), asks == Asks::Yes, "{story}");

    world.part(THIS, Some(eventfd(THIS)));

    world.check();
    let state = world.line_state(THIS);
    let noticed = matches!(guest, Active | Saved | SpilledActive | SpilledAndSaved);
    let delivered = matches!(guest, Queued | Pending | SpilledPending);
    let in_flight = noticed || delivered && (asks == Asks::Yes || sense == Sense::Edge);
    assert_eq!(state.automasked, in_flight && sense == Sense::Level, "{story}");
    let seen = world.seen(THIS);
    assert_eq!((seen.active, seen.pending), (noticed, in_flight && !noticed), "{story}");

    let told = world.device(THIS, |device| device.user);
    assert_eq!(told, 0, "{story}: nobody was told yet");
    let asked = world.device(THIS, |device| device.work);
    world.settle();
    let served = world.device(THIS, |device| !device.work);
    assert!(served, "{story}: asked {asked}");
    assert!(!world.line_state(THIS).automasked, "{story}");
    world.ask(THIS);
    let handled = world.take(THIS, 0);
    let ordinary = if sense == Sense::Level { Handled::Automasked } else { Handled::Signalled };
    assert_eq!(handled, Some(ordinary), "{story}: the next one is the user's");
    assert_eq!(world.device(THIS, |device| device.user), 1, "{story}");
}

#[test]
fn every_combination() {
    let mut combinations = 0;
    for sense in [Sense::Level, Sense::Edge] {
        for guest in ALL {
            for asks in [Asks::Yes, Asks::No] {
                part_in(sense, guest, asks);
                combinations += 1;
            }
        }
    }
    assert_eq!(combinations, 40);
}

/// The same with two vCPUs, when the one that has the interrupt is not the one that it goes to now.
#[test]
fn after_the_target_has_changed() {
    for sense in [Sense::Level, Sense::Edge] {
        let shape = Shape { devices: vec![sense], cpus: 2, vcpus: 2, ..Shape::default() };
        let world = World::new(&shape);
        assert_eq!(world.join(0), Ok(Mode::Forwarded));
        world.ask(0);
        world.take(0, 1);
        world.resync(0);
        assert_eq!(world.acknowledge(0), Some(guest_number(0)));
        world.distributor(1, |vm, _| vm.set_targets(guest_number(0).0, 2));
        world.part(0, Some(eventfd(0)));
        world.check();
        world.settle();
    }
}
