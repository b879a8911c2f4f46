//! Guests that are moved in the middle of something.

mod frames_machine;

use frames_machine::World;
use vcm_irq::host::Handled;
use vcm_irq::kvm::{JoinError, Mode, join, part};
use vcm_irq::vgic::{
    BindError, CompletionBy, Config, Frame, GuestCpuInterface, Level, Model, RestoreError, Snapshot, VmId,
    Width,
};
use vcm_irq::{GuestInterrupt, HostInterrupt, Sense, Token, VcpuId};

const GUEST: u32 = 40;
const GICD: Frame = Frame::Distributor;
/// The line has another number on the other host.
const HERE: u32 = 50;
const THERE: u32 = 61;

fn world(completion: CompletionBy) -> World {
    World::new(Config { id: VmId(1), model: Model::V2, completion, vcpus: 2, interrupts: 64 }, 64, 4)
}

/// A guest that runs with the device's interrupt enabled, and goes to vCPU 1.
fn source(completion: CompletionBy, sense: Sense) -> World {
    let world = world(completion);
    let line = world.host().open(HostInterrupt(HERE), sense).unwrap();
    join(&world.vm, line, GuestInterrupt(GUEST)).unwrap();
    world.write(0, GICD, 0x000, Width::Word, 1);
    world.write(0, GICD, 0x800 + u64::from(GUEST), Width::Byte, 2);
    let edge = if sense == Sense::Edge { 2 << (GUEST % 16 * 2) } else { 0 };
    world.write(0, GICD, 0xC08, Width::Word, edge);
    world.write(0, GICD, 0x104, Width::Word, 1 << (GUEST - 32));
    world
}

fn save(world: &World) -> Snapshot {
    world.leave_all();
    let mut snapshot = world.vm.snapshot().unwrap();
    for vcpu in 0..2 {
        world.seat(vcpu).vcpu.snapshot(&mut snapshot);
    }
    snapshot
}

/// Goes on elsewhere, with the device's line as it is there. The machine here ends.
fn go_on(from: World, sense: Sense, high: bool) -> World {
    let snapshot = save(&from);
    let to = world(CompletionBy::Guest);
    to.vm.restore(&snapshot).unwrap();
    for vcpu in 0..2 {
        let mut seat = to.seat(vcpu);
        seat.vcpu.restore(&snapshot);
        seat.running = from.seat(vcpu).running.clone();
    }
    assert_eq!(save(&to), snapshot, "what was put back is what was taken");
    let line = to.host().open(HostInterrupt(THERE), sense).unwrap();
    if sense == Sense::Level {
        to.lines.drive(THERE, high);
    }
    assert_eq!(join(&to.vm, line, GuestInterrupt(GUEST)), Ok(Mode::Forwarded));
    to
}

#[test]
fn a_guest_is_moved_in_the_middle_of_a_handler() {
    let from = source(CompletionBy::Guest, Sense::Level);
    from.lines.drive(HERE, true);
    assert_eq!(from.take_interrupts(), [Handled::Forwarded]);
    assert_eq!(from.acknowledge(1), Some(GUEST));
    let to = go_on(from, Sense::Level, true);
    assert!(to.lines.get(THERE).active, "the hardware there knows");
    assert_eq!(to.take_interrupts(), [], "and does not signal it again");
    assert_eq!((to.acknowledge(0), to.acknowledge(1)), (None, None));
    to.lines.drive(THERE, false);
    assert_eq!(to.end(1), Some(GUEST));
    assert!(!to.lines.get(THERE).active, "the guest's end is the physical end there");
    assert_eq!(to.take_interrupts(), []);
    // And the next one comes.
    to.lines.drive(THERE, true);
    assert_eq!(to.take_interrupts(), [Handled::Forwarded]);
    assert_eq!(to.acknowledge(1), Some(GUEST));
}

#[test]
fn a_pending_one_arrives_once() {
    for sense in [Sense::Edge, Sense::Level] {
        let from = source(CompletionBy::Guest, sense);
        from.lines.drive(HERE, true);
        assert_eq!(from.take_interrupts(), [Handled::Forwarded]);
        from.enter(1);
        let to = go_on(from, sense, true);
        assert_eq!(to.take_interrupts(), []);
        assert_eq!(to.acknowledge(1), Some(GUEST), "{sense:?}");
        to.lines.drive(THERE, false);
        to.end(1);
        assert!(!to.lines.get(THERE).active);
        assert_eq!(to.take_interrupts(), []);
        to.leave(1);
        assert_eq!(to.acknowledge(1), None, "{sense:?}: once");
    }
}

#[test]
fn an_edge_during_the_handler_moves_too() {
    let from = source(CompletionBy::Guest, Sense::Edge);
    from.lines.drive(HERE, true);
    from.take_interrupts();
    assert_eq!(from.acknowledge(1), Some(GUEST));
    from.lines.drive(HERE, false);
    from.lines.drive(HERE, true);
    assert!(from.lines.get(HERE).latched);
    let to = go_on(from, Sense::Edge, false);
    assert_eq!(to.take_interrupts(), [], "not before the first is ended");
    to.end(1);
    assert_eq!(to.take_interrupts(), [Handled::Forwarded]);
    assert_eq!(to.acknowledge(1), Some(GUEST));
    to.end(1);
    assert_eq!((to.take_interrupts(), to.acknowledge(1)), (vec![], None));
}

#[test]
fn an_edge_that_nobody_has_taken_yet_moves_too() {
    let from = source(CompletionBy::Guest, Sense::Edge);
    from.lines.drive(HERE, true);
    let to = go_on(from, Sense::Edge, false);
    assert_eq!(to.acknowledge(1), Some(GUEST));
    assert!(to.lines.get(THERE).active);
    to.end(1);
    assert!(!to.lines.get(THERE).active);
    assert_eq!((to.take_interrupts(), to.acknowledge(1)), (vec![], None));
}

/// From a host that completes in software to one that forwards.
#[test]
fn an_automasked_one_becomes_a_forwarded_one() {
    for acknowledged in [false, true] {
        let from = source(CompletionBy::Host, Sense::Level);
        from.lines.drive(HERE, true);
        assert_eq!(from.take_interrupts(), [Handled::Automasked]);
        if acknowledged {
            assert_eq!(from.acknowledge(1), Some(GUEST));
        }
        let to = go_on(from, Sense::Level, true);
        assert!(to.lines.get(THERE).active);
        assert_eq!(to.acknowledge(1), if acknowledged { None } else { Some(GUEST) });
        to.lines.drive(THERE, false);
        to.end(1);
        assert!(!to.lines.get(THERE).active);
        to.leave(1);
        assert_eq!((to.take_interrupts(), to.acknowledge(1)), (vec![], None));
    }
}

#[test]
fn the_guest_ends_it_before_its_line_is_joined() {
    let from = source(CompletionBy::Guest, Sense::Level);
    from.lines.drive(HERE, true);
    from.take_interrupts();
    from.acknowledge(1);
    let snapshot = save(&from);
    let to = world(CompletionBy::Guest);
    to.vm.restore(&snapshot).unwrap();
    to.seat(1).running = from.seat(1).running.clone();
    assert_eq!(to.end(1), Some(GUEST));
    to.leave(1);
    let line = to.host().open(HostInterrupt(THERE), Sense::Level).unwrap();
    assert_eq!(join(&to.vm, line, GuestInterrupt(GUEST)), Ok(Mode::Forwarded));
    assert!(!to.lines.get(THERE).active);
    to.lines.drive(THERE, true);
    assert_eq!(to.take_interrupts(), [Handled::Forwarded]);
}

#[test]
fn a_restored_one_is_parted_like_any_other() {
    let from = source(CompletionBy::Guest, Sense::Level);
    from.lines.drive(HERE, true);
    from.take_interrupts();
    from.acknowledge(1);
    let snapshot = save(&from);
    let to = world(CompletionBy::Guest);
    to.vm.restore(&snapshot).unwrap();
    to.seat(1).running = from.seat(1).running.clone();
    let line = to.host().open(HostInterrupt(THERE), Sense::Level).unwrap();
    to.lines.drive(THERE, true);
    assert_eq!(join(&to.vm, line, GuestInterrupt(GUEST)), Ok(Mode::Forwarded));
    to.enter(1);
    part(&to.vm, line, GuestInterrupt(GUEST), Token::new(7));
    assert!(!to.lines.get(THERE).active);
    assert_eq!(to.take_interrupts(), [], "quiet until the guest has ended it");
    to.end(1);
    to.leave(1);
    assert_eq!(to.take_interrupts(), [Handled::Automasked]);
    assert_eq!(to.signalled(), 1);
}

#[test]
fn what_software_raised_is_no_devices() {
    let from = world(CompletionBy::Guest);
    from.vm.set_line(GuestInterrupt(GUEST), Level::High).unwrap();
    let to = world(CompletionBy::Guest);
    to.vm.restore(&save(&from)).unwrap();
    let line = to.host().open(HostInterrupt(THERE), Sense::Level).unwrap();
    let joined = join(&to.vm, line, GuestInterrupt(GUEST));
    assert_eq!(joined, Err(JoinError::Guest(BindError::InFlight(GuestInterrupt(GUEST)))));
    assert_eq!(to.read(0, GICD, 0x204, Width::Word), 1 << (GUEST - 32));
}

#[test]
fn vcpus_keep_their_interfaces() {
    let from = world(CompletionBy::Guest);
    let guest = GuestCpuInterface { control: 0x1234_5679, active_priorities: [1, 2, 3, 4, 5, 6, 7, 8] };
    from.seat(1).vcpu.set_guest(guest);
    let snapshot = save(&from);
    let to = world(CompletionBy::Guest);
    to.seat(1).vcpu.restore(&snapshot);
    to.seat(0).vcpu.restore(&snapshot);
    assert_eq!(*to.seat(1).vcpu.guest(), guest);
    assert_eq!(*to.seat(0).vcpu.guest(), GuestCpuInterface::default());
}

/// All registers that a guest can write, of both models, through a snapshot.
#[test]
fn everything_is_put_back() {
    for (model, vcpus, interrupts) in
        [(Model::V2, 1, 64), (Model::V2, 8, 1024), (Model::V3, 1, 64), (Model::V3, 18, 1024)]
    {
        let config = Config { id: VmId(1), model, completion: CompletionBy::Guest, vcpus, interrupts };
        let from = World::new(config, 64, 4);
        let mut random = 1_u64;
        for vcpu in 0..vcpus {
            for frame in [GICD, Frame::Redistributor(VcpuId(vcpu))] {
                for offset in (0..frame.size(model)).step_by(4) {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    from.vm.write(VcpuId(vcpu), frame, offset, Width::Word, random >> 33);
                }
            }
        }
        let snapshot = from.vm.snapshot().unwrap();
        let to = World::new(config, 64, 4);
        to.vm.restore(&snapshot).unwrap();
        assert_eq!(to.vm.snapshot().unwrap(), snapshot);
        for vcpu in 0..vcpus {
            for frame in [GICD, Frame::Redistributor(VcpuId(vcpu))] {
                for offset in (0..frame.size(model)).step_by(4) {
                    let read = |world: &World| world.vm.read(VcpuId(vcpu), frame, offset, Width::Word);
                    assert_eq!(read(&to), read(&from), "{model:?} {frame:?} {offset:#x}");
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let from = source(CompletionBy::Guest, Sense::Level);
    from.lines.drive(HERE, true);
    from.take_interrupts();
    from.acknowledge(1);
    let good = save(&from);
    assert_eq!(from.vm.restore(&good), Err(RestoreError::InUse { vcpu: 0, interrupt: GUEST }));
    let to = world(CompletionBy::Guest);
    let fresh = save(&to);
    let spoiled = |spoil: &dyn Fn(&mut Snapshot)| {
        let mut snapshot = good.clone();
        spoil(&mut snapshot);
        let refused = to.vm.restore(&snapshot);
        assert_eq!(save(&to), fresh);
        refused
    };
    let place = (GUEST - 32) as usize;
    let malformed = Err(RestoreError::Malformed { vcpu: 0, interrupt: GUEST });
    let private = Err(RestoreError::Malformed { vcpu: 1, interrupt: 20 });
    let software = Err(RestoreError::Malformed { vcpu: 1, interrupt: 3 });
    let shape = Err(RestoreError::Shape(to.vm.config()));
    assert_eq!(spoiled(&|s| s.version = 9), Err(RestoreError::Version(9)));
    assert_eq!(spoiled(&|s| s.architecture = 3), shape);
    assert_eq!(spoiled(&|s| s.interrupts = 96), shape);
    assert_eq!(spoiled(&|s| s.groups = 4), shape);
    assert_eq!(spoiled(&|s| s.vcpus.truncate(1)), shape);
    assert_eq!(spoiled(&|s| s.shared.truncate(31)), shape);
    assert_eq!(spoiled(&|s| s.shared[place].target = Some(2)), malformed);
    assert_eq!(spoiled(&|s| s.shared[place].owner = Some(2)), malformed);
    assert_eq!(spoiled(&|s| s.shared[place].owner = None), malformed);
    assert_eq!(spoiled(&|s| s.shared[place].cpus = 4), malformed);
    assert_eq!(spoiled(&|s| s.shared[place].line = true), malformed);
    assert_eq!(spoiled(&|s| s.vcpus[1].private[20].target = Some(0)), private);
    assert_eq!(spoiled(&|s| s.vcpus[1].private[20].in_flight = true), private);
    assert_eq!(spoiled(&|s| s.vcpus[1].private[3].pending = true), software);
    assert_eq!(spoiled(&|s| s.vcpus[1].private[3].cpus = 4), software);
    assert_eq!(to.vm.restore(&good), Ok(()));
}

#[cfg(feature = "serde")]
#[test]
fn it_goes_through_json() {
    let from = source(CompletionBy::Guest, Sense::Level);
    from.lines.drive(HERE, true);
    from.take_interrupts();
    from.acknowledge(1);
    let snapshot = save(&from);
    let text = serde_json::to_string(&snapshot).unwrap();
    assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), snapshot);
}
