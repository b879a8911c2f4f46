//! The attribute door: forwarding a device's interrupts, and taking them back.

mod support_control;

use std::rc::Rc;
use support_control::user::{Control, DeviceFile, control, message_device, platform_device};
use support_control::{CPU, TestVm, World, guest, token, world};
use vcm_irq::host::Handled;
use vcm_irq::kvm::{Fallback, Mode, Resample, Route};
use vcm_irq::kvm_vfio::ControlError;
use vcm_irq::vfio::{Action, Data, Request};
use vcm_irq::vgic::{CompletionBy, VmId};
use vcm_irq::{DeviceInterrupt, Errno, HostInterrupt};

const LINE: HostInterrupt = HostInterrupt(77);
const FIRST: DeviceInterrupt = DeviceInterrupt { index: 0, subindex: 0 };

struct Setting {
    world: Rc<World>,
    vm: TestVm,
    device: DeviceFile,
    control: Control,
}

fn setting(completion: CompletionBy) -> Setting {
    let world = world();
    let vm = world.vm(completion);
    let device = platform_device(&world, &[LINE.0, 78]);
    let control = control(&world, &vm);
    Setting { world, vm, device, control }
}

impl Setting {
    fn id(&self) -> VmId {
        self.vm.config().id
    }

    fn forward(&mut self) -> Result<Mode, ControlError> {
        self.control.forward(&self.device, FIRST, guest(40))
    }

    fn unforward(&mut self) {
        self.control.unforward(&self.device, FIRST).unwrap();
    }

    fn physical_is_active(&self) -> bool {
        vcm_irq::host::Controller::is_active(self.world.host.controller(), LINE)
    }
}

#[test]
fn a_forwarded_interrupt_is_completed_by_the_guest_alone() {
    let mut s = setting(CompletionBy::Guest);
    assert_eq!(s.forward(), Ok(Mode::Forwarded));
    assert_eq!(s.world.set(LINE.0, true), [Handled::Forwarded]);
    assert_eq!(s.world.serve(s.id(), &[LINE.0]), [40]);
    assert!(!s.physical_is_active());
    let statistics = s.world.host.statistics(LINE).unwrap();
    assert_eq!((statistics.forwarded, statistics.signalled), (1, 0));
}

#[test]
fn a_machine_that_cannot_forward_says_so_and_it_works_all_the_same() {
    let mut s = setting(CompletionBy::Host);
    assert_eq!(s.forward(), Ok(Mode::Automasked(Fallback::Configured)));
    assert_eq!(s.control.mode(&s.device, FIRST), Some(Mode::Automasked(Fallback::Configured)));
    for _ in 0..3 {
        assert_eq!(s.world.set(LINE.0, true), [Handled::Automasked]);
        assert_eq!(s.world.serve(s.id(), &[LINE.0]), [40]);
    }
    s.unforward();
    assert_eq!(s.world.set(LINE.0, true), []);
}

#[test]
fn an_interrupt_without_an_active_state_is_automasked() {
    let mut s = setting(CompletionBy::Guest);
    let messages = message_device(&s.world, [support_control::NO_ACTIVE_STATE]);
    assert_eq!(s.control.forward(&messages, FIRST, guest(41)), Ok(Mode::Automasked(Fallback::NoActiveState)));
    s.control.release();
}

#[test]
fn the_reference_is_held_exactly_while_registered() {
    let mut s = setting(CompletionBy::Guest);
    assert_eq!(s.device.references(), 1);
    s.forward().unwrap();
    assert_eq!(s.device.references(), 2);
    assert_eq!(s.forward().unwrap_err().errno(), Errno::Invalid, "a duplicate");
    assert_eq!(s.device.references(), 2);
    let second = DeviceInterrupt { index: 1, subindex: 0 };
    s.control.forward(&s.device, second, guest(41)).unwrap();
    assert_eq!((s.device.references(), s.control.registered()), (3, 2));
    s.unforward();
    assert_eq!(s.device.references(), 2);
    assert_eq!(s.control.unforward(&s.device, FIRST), Err(ControlError::NotForwarded { interrupt: FIRST }));
    s.control.release();
    assert_eq!((s.device.references(), s.control.registered()), (1, 0));
}

#[test]
fn a_refused_forward_takes_no_reference_and_lends_nothing() {
    let mut s = setting(CompletionBy::Guest);
    assert_eq!(
        s.control.forward(&s.device, FIRST, guest(1020)).unwrap_err().errno(),
        Errno::Invalid,
        "no such interrupt in the guest"
    );
    assert_eq!(s.device.references(), 1);
    // Its trigger can be changed, and it can be forwarded.
    s.device.connect(&s.world, 0, 0, &[Some(token(5))]);
    s.device.connect(&s.world, 0, 0, &[None]);
    assert_eq!(s.forward(), Ok(Mode::Forwarded));
}

#[test]
fn the_trigger_from_before_is_connected_again() {
    let mut s = setting(CompletionBy::Guest);
    let irqfd = token(5);
    let mut bypass = s.world.bypass.borrow_mut();
    bypass.register_consumer(irqfd, s.vm.clone(), guest(40), Resample::Producer).unwrap();
    drop(bypass);
    // Connected so that the token door does not join the two first.
    let request =
        Request { action: Action::Trigger, index: 0, start: 0, data: Data::Eventfd(&[Some(irqfd)]) };
    s.device.set_interrupts(&s.world.host, &Plain(&s.world), &request).unwrap();
    let line = s.device.line(FIRST).unwrap();
    assert_eq!(s.forward(), Ok(Mode::Forwarded));
    assert_eq!(
        s.world.host.trigger(line).map(Route::of),
        Some(Route::Forwarded { vm: s.id(), guest: guest(40) })
    );
    s.unforward();
    assert_eq!(s.world.host.trigger(line), Some(irqfd));
    for _ in 0..3 {
        assert_eq!(s.world.set(LINE.0, true), [Handled::Automasked]);
        assert_eq!(s.world.serve(s.id(), &[LINE.0]), [40], "and what it stands for still completes the line");
    }
}

/// The machine without the token door.
struct Plain<'a>(&'a World);

impl vcm_irq::host::Trigger for Plain<'_> {
    fn signal(&self, token: vcm_irq::Token) -> vcm_irq::host::Taken {
        self.0.signal(token)
    }
}

impl vcm_irq::vfio::Signals for Plain<'_> {}

#[test]
fn while_it_is_forwarded_its_user_may_mask_and_unmask() {
    let mut s = setting(CompletionBy::Guest);
    s.forward().unwrap();
    let act = |action| {
        let request = Request { action, index: 0, start: 0, data: Data::None { count: 1 } };
        s.device.set_interrupts(&s.world.host, &*s.world, &request)
    };
    act(Action::Mask).unwrap();
    assert_eq!(s.world.set(LINE.0, true), []);
    act(Action::Unmask).unwrap();
    assert_eq!(s.world.run(), [Handled::Forwarded]);
    assert_eq!(
        act(Action::Trigger).unwrap_err().errno(),
        Errno::Busy,
        "a test of a trigger that leads nowhere"
    );
}

#[test]
fn taken_back_in_every_state_of_the_guest() {
    #[derive(Clone, Copy, PartialEq, Debug)]
    enum State {
        Idle,
        Queued,
        Loaded,
        Active,
        SavedActive,
        Ended,
    }
    for completion in [CompletionBy::Guest, CompletionBy::Host] {
        for state in
            [State::Idle, State::Queued, State::Loaded, State::Active, State::SavedActive, State::Ended]
        {
            for high in [true, false] {
                let mut s = setting(completion);
                s.forward().unwrap();
                let id = s.id();
                let step = |at: State| state as u32 >= at as u32;
                if step(State::Queued) {
                    s.world.set(LINE.0, true);
                }
                if step(State::Loaded) {
                    s.world.enter(id, CPU);
                }
                if step(State::Active) {
                    assert_eq!(s.world.acknowledge(id, CPU), Some(40));
                }
                if state == State::SavedActive {
                    s.world.leave(id, CPU);
                }
                if state == State::Ended {
                    s.world.end(id, CPU, 40);
                }
                s.world.host.controller().set(LINE, high);
                s.unforward();
                let what = format!("{completion:?} {state:?} high: {high}");
                assert!(!s.physical_is_active(), "{what}");
                assert!(!s.world.in_list_register(LINE), "{what}");
                assert!(!s.world.host.controller().is_enabled(LINE), "{what}: no trigger is connected");
                // What the guest has in progress it can end, and then the line is as if nothing had been.
                s.world.enter(id, CPU);
                s.world.end(id, CPU, 40);
                s.world.leave(id, CPU);
                s.world.serve(id, &[LINE.0]);
                s.world.host.controller().set(LINE, false);
                assert!(!s.world.in_progress(&s.vm, 40), "{what}");
                assert!(!s.world.host.state(LINE).unwrap().automasked, "{what}");
                assert!(s.forward().is_ok(), "{what}");
                s.world.set(LINE.0, true);
                assert_eq!(s.world.serve(id, &[LINE.0]), [40], "{what}");
            }
        }
    }
}

#[test]
fn a_control_that_is_dropped_unreleased_keeps_the_device_open() {
    let mut s = setting(CompletionBy::Guest);
    s.forward().unwrap();
    drop(s.control);
    assert_eq!(s.device.references(), 2);
    drop(s.device);
    assert!(s.world.host.state(LINE).unwrap().open, "its interrupt is the guest's, nobody else may get it");
}

#[test]
fn a_thousand_interrupts() {
    let world = world();
    let vm = world.vm(CompletionBy::Guest);
    let device = message_device(&world, 40..1020);
    let mut control = control(&world, &vm);
    for subindex in 0..980 {
        let interrupt = DeviceInterrupt { index: 0, subindex };
        assert_eq!(control.forward(&device, interrupt, guest(1019 - subindex)), Ok(Mode::Forwarded));
    }
    assert_eq!((control.registered(), device.references()), (980, 981));
    control.release();
    assert_eq!((control.registered(), device.references()), (0, 1));
}
