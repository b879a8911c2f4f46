//! The token door: producers and consumers find each other, and the two doors exclude each other on one line.

mod support_control;

use std::rc::Rc;
use support_control::user::{DeviceFile, control, platform_device};
use support_control::{CPU, EVENTFDS, TestVm, World, guest, token, world};
use vcm_irq::host::{Handled, OpenLine};
use vcm_irq::kvm::{Connection, JoinError, Mode, RegisterError, Resample};
use vcm_irq::kvm_vfio::ControlError;
use vcm_irq::vgic::{BindError, CompletionBy, VmId};
use vcm_irq::{DeviceInterrupt, Errno, HostInterrupt, Token};

const LINE: HostInterrupt = HostInterrupt(77);
const FIRST: DeviceInterrupt = DeviceInterrupt { index: 0, subindex: 0 };

struct Setting {
    world: Rc<World>,
    vm: TestVm,
    device: DeviceFile,
    irqfd: Token,
    line: OpenLine,
}

fn setting() -> Setting {
    let world = world();
    let vm = world.vm(CompletionBy::Guest);
    let device = platform_device(&world, &[LINE.0, 78]);
    let line = device.line(FIRST).unwrap();
    Setting { world, vm, device, irqfd: token(5), line }
}

impl Setting {
    fn id(&self) -> VmId {
        self.vm.config().id
    }
    fn consume(&self, number: u32) -> Result<Connection, RegisterError> {
        let mut bypass = self.world.bypass.borrow_mut();
        bypass.register_consumer(self.irqfd, self.vm.clone(), guest(number), Resample::Producer)
    }
    fn connection(&self) -> Option<Connection> {
        self.world.bypass.borrow().connection(self.irqfd)
    }
    fn connect(&self) {
        self.device.connect(&self.world, 0, 0, &[Some(self.irqfd)]);
    }
    fn deassign(&self) {
        self.world.bypass.borrow_mut().unregister_consumer(self.irqfd, self.id());
    }
}

#[test]
fn they_are_joined_whoever_comes_first() {
    for producer_first in [true, false] {
        let s = setting();
        if producer_first {
            s.connect();
            assert_eq!(s.connection(), Some(Connection::Alone));
            assert_eq!(s.consume(40), Ok(Connection::Joined(Mode::Forwarded)));
        } else {
            assert_eq!(s.consume(40), Ok(Connection::Alone));
            s.connect();
        }
        assert_eq!(s.connection(), Some(Connection::Joined(Mode::Forwarded)));
        assert_eq!(s.world.set(LINE.0, true), [Handled::Forwarded]);
        assert_eq!(s.world.serve(s.id(), &[LINE.0]), [40]);
    }
}

#[test]
fn each_side_may_leave_and_the_line_signals_the_token_again() {
    let s = setting();
    s.consume(40).unwrap();
    s.connect();
    s.deassign();
    assert_eq!(s.world.host.trigger(s.line), Some(s.irqfd));
    assert!(!s.world.host.state(LINE).unwrap().forwarded);
    assert_eq!(s.connection(), Some(Connection::Alone));
    assert_eq!(s.world.set(LINE.0, true), [Handled::Automasked]);
    assert_eq!(*s.world.heard.borrow(), [s.irqfd]);
    assert!(!s.world.in_progress(&s.vm, 40));
    // The producer leaves when its user connects another trigger.
    s.device.connect(&s.world, 0, 0, &[None]);
    assert_eq!(s.connection(), None);
    assert_eq!(s.world.host.trigger(s.line), None);
}

#[test]
fn another_trigger_parts_them_first() {
    let s = setting();
    s.consume(40).unwrap();
    s.connect();
    s.device.connect(&s.world, 0, 0, &[Some(token(6))]);
    assert!(!s.world.host.state(LINE).unwrap().forwarded);
    assert_eq!(s.vm.forwarded_from(guest(40)), None);
    assert_eq!(s.connection(), Some(Connection::Alone));
    s.world.set(LINE.0, true);
    assert_eq!(*s.world.heard.borrow(), [token(6)]);
}

#[test]
fn one_producer_and_one_consumer_a_token() {
    let s = setting();
    s.consume(40).unwrap();
    s.connect();
    assert_eq!(s.consume(41).unwrap_err().errno(), Errno::Busy);
    let other = s.world.vm(CompletionBy::Guest);
    let mut bypass = s.world.bypass.borrow_mut();
    let taken = RegisterError::Consumer { token: s.irqfd, vm: s.id(), guest: guest(40) };
    assert_eq!(
        bypass.register_consumer(s.irqfd, other.clone(), guest(40), Resample::No),
        Err(taken),
        "even another virtual machine's"
    );
    let line = s.device.line(DeviceInterrupt { index: 1, subindex: 0 }).unwrap();
    let taken = RegisterError::Producer { token: s.irqfd, host: LINE };
    assert_eq!(bypass.register_producer(s.irqfd, line), Err(taken));
    // What is somebody else's is not taken away.
    bypass.unregister_consumer(s.irqfd, other.config().id);
    bypass.unregister_producer(s.irqfd, line);
    assert_eq!(bypass.connection(s.irqfd), Some(Connection::Joined(Mode::Forwarded)));
}

#[test]
fn what_is_no_eventfd_or_no_interrupt_is_refused_and_leaves_nothing() {
    let s = setting();
    let mut bypass = s.world.bypass.borrow_mut();
    for none in [token(EVENTFDS as u64 + 1), token(1 << 63 | 40), token(1 << 62 | 40)] {
        assert_eq!(bypass.register_producer(none, s.line), Err(RegisterError::NoEventfd(none)));
        let consumer = bypass.register_consumer(none, s.vm.clone(), guest(40), Resample::No);
        assert_eq!(consumer, Err(RegisterError::NoEventfd(none)));
        assert_eq!(bypass.connection(none), None);
    }
    for number in [0, 31, 1020, u32::MAX] {
        let consumer = bypass.register_consumer(s.irqfd, s.vm.clone(), guest(number), Resample::No);
        assert_eq!(consumer, Err(RegisterError::NoSuch(guest(number))));
    }
    assert_eq!(bypass.connection(s.irqfd), None);
}

#[test]
fn what_was_signalled_before_comes_when_the_guest_does_and_they_are_joined_when_it_is_ended() {
    let s = setting();
    s.connect();
    assert_eq!(s.world.set(LINE.0, true), [Handled::Automasked]);
    let in_flight = Connection::Ordinary(JoinError::InFlight(LINE.0));
    assert_eq!(s.consume(40), Ok(in_flight));
    assert_eq!(s.world.bypass.borrow().waiting().collect::<Vec<_>>(), [s.irqfd]);
    assert_eq!(s.world.bypass.borrow_mut().retry(s.irqfd), in_flight);
    assert_eq!(s.world.serve(s.id(), &[LINE.0]), [40], "it is not lost");
    assert_eq!(s.world.bypass.borrow_mut().retry(s.irqfd), Connection::Joined(Mode::Forwarded));
    assert_eq!(s.world.bypass.borrow().waiting().count(), 0);
    assert_eq!(s.world.set(LINE.0, true), [Handled::Forwarded]);
    assert_eq!(s.world.serve(s.id(), &[LINE.0]), [40]);
}

#[test]
fn what_cannot_be_joined_is_ordinary_with_the_reason() {
    let s = setting();
    s.consume(40).unwrap();
    s.connect();
    let mut bypass = s.world.bypass.borrow_mut();
    let second = s.device.line(DeviceInterrupt { index: 1, subindex: 0 }).unwrap();
    bypass.register_producer(token(6), second).unwrap();
    let bound = JoinError::Guest(BindError::Bound { guest: guest(40), host: LINE });
    assert_eq!(
        bypass.register_consumer(token(6), s.vm.clone(), guest(40), Resample::No),
        Ok(Connection::Ordinary(bound))
    );
    assert_eq!(bound.errno(), Errno::Busy);
}

#[test]
fn an_irqfd_that_does_not_resample_comes_once() {
    let s = setting();
    let mut bypass = s.world.bypass.borrow_mut();
    bypass.register_consumer(s.irqfd, s.vm.clone(), guest(40), Resample::No).unwrap();
    drop(bypass);
    let _ = vcm_irq::host::Trigger::signal(&*s.world, s.irqfd);
    assert_eq!(s.world.serve(s.id(), &[]), [40]);
}

#[test]
fn the_doors_exclude_each_other_on_one_line() {
    // The token door has it.
    let s = setting();
    s.consume(40).unwrap();
    s.connect();
    let mut control = control(&s.world, &s.vm);
    let held = control.forward(&s.device, FIRST, guest(40)).unwrap_err();
    assert!(matches!(held, ControlError::Held { by: Some(_), .. }), "{held}");
    assert_eq!(held.errno(), Errno::Busy);
    assert_eq!(s.device.references(), 1);
    s.deassign();
    // Its trigger leads nowhere that the control knows: its user listens.
    assert_eq!(control.forward(&s.device, FIRST, guest(40)).unwrap_err().errno(), Errno::Busy);
    s.device.connect(&s.world, 0, 0, &[None]);
    // The control has it.
    control.forward(&s.device, FIRST, guest(40)).unwrap();
    let mut bypass = s.world.bypass.borrow_mut();
    bypass.register_producer(s.irqfd, s.line).unwrap();
    drop(bypass);
    let ordinary = Connection::Ordinary(JoinError::Forwarded(LINE.0));
    assert_eq!(s.consume(41), Ok(ordinary));
    assert_eq!(s.world.bypass.borrow_mut().retry(s.irqfd), ordinary);
    assert_eq!(s.world.set(LINE.0, true), [Handled::Forwarded]);
    assert_eq!(s.world.serve(s.id(), &[LINE.0]), [40]);
    // It leaves, and the other one may have it.
    control.release();
    assert_eq!(s.world.bypass.borrow_mut().retry(s.irqfd), Connection::Joined(Mode::Forwarded));
    s.world.set(LINE.0, true);
    assert_eq!(s.world.serve(s.id(), &[LINE.0]), [41]);
}

#[test]
fn the_doors_exclude_each_other_where_nothing_can_be_forwarded() {
    let world = world();
    let vm = world.vm(CompletionBy::Host);
    let device = platform_device(&world, &[LINE.0]);
    let mut control = control(&world, &vm);
    control.forward(&device, FIRST, guest(40)).unwrap();
    let line = device.line(FIRST).unwrap();
    let mut bypass = world.bypass.borrow_mut();
    bypass.register_producer(token(5), line).unwrap();
    assert_eq!(
        bypass.register_consumer(token(5), vm.clone(), guest(40), Resample::Producer),
        Ok(Connection::Ordinary(JoinError::Forwarded(LINE.0)))
    );
    // The consumer leaves; the control's binding stays.
    bypass.unregister_consumer(token(5), vm.config().id);
    bypass.unregister_producer(token(5), line);
    drop(bypass);
    for _ in 0..3 {
        assert_eq!(world.set(LINE.0, true), [Handled::Automasked]);
        assert_eq!(world.serve(vm.config().id, &[LINE.0]), [40]);
    }
    control.release();
}

#[test]
fn a_consumer_leaves_in_flight_and_the_end_still_completes_the_line() {
    let s = setting();
    s.consume(40).unwrap();
    s.connect();
    s.world.set(LINE.0, true);
    s.world.enter(s.id(), CPU);
    assert_eq!(s.world.acknowledge(s.id(), CPU), Some(40));
    s.deassign();
    assert!(s.world.host.state(LINE).unwrap().automasked);
    s.world.enter(s.id(), CPU);
    s.world.host.controller().set(LINE, false);
    s.world.end(s.id(), CPU, 40);
    s.world.leave(s.id(), CPU);
    assert!(!s.world.host.state(LINE).unwrap().automasked);
    assert_eq!(s.world.serve(s.id(), &[]), []);
}

#[test]
fn a_virtual_machine_takes_all_its_consumers_along() {
    let s = setting();
    let other = s.world.vm(CompletionBy::Guest);
    s.consume(40).unwrap();
    s.connect();
    let mut bypass = s.world.bypass.borrow_mut();
    bypass.register_consumer(token(7), s.vm.clone(), guest(42), Resample::No).unwrap();
    bypass.register_consumer(token(8), other, guest(40), Resample::No).unwrap();
    bypass.unregister_all(s.id());
    assert_eq!(bypass.connection(s.irqfd), Some(Connection::Alone), "the producer is still there");
    assert_eq!(bypass.connection(token(7)), None);
    assert_eq!(bypass.connection(token(8)), Some(Connection::Alone));
    assert!(!s.world.host.state(LINE).unwrap().forwarded);
}
