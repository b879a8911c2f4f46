//! Random control calls and interrupts, against a naive model of who is registered, who has references, and what is
//! enabled.

mod support_control;

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::rc::Rc;
use support_control::user::{Control, DeviceFile, control, platform_device};
use support_control::{CPU, TestVm, World, guest, token, world};
use vcm_irq::host::Controller;
use vcm_irq::kvm::Resample;
use vcm_irq::vfio::{Action, Data, Request};
use vcm_irq::vgic::CompletionBy;
use vcm_irq::{DeviceInterrupt, Errno, HostInterrupt};

const LINES: [u32; 3] = [77, 78, 79];
const GUESTS: [u32; 3] = [40, 41, 42];

#[derive(Clone, Copy, Debug)]
enum Call {
    Forward { control: usize, line: usize, guest: usize },
    Unforward { control: usize, line: usize },
    Release { control: usize },
    Connect { line: usize, eventfd: u64 },
    Mask { line: usize },
    Unmask { line: usize },
    Consume { eventfd: u64, vm: usize, guest: usize },
    Deassign { eventfd: u64, vm: usize },
    Retry { eventfd: u64 },
    Set { line: usize, high: bool },
    Enter { vm: usize },
    Acknowledge { vm: usize },
    End { vm: usize },
    Leave { vm: usize },
}

fn call() -> impl Strategy<Value = Call> {
    let (line, one, two, eventfd) = (0..LINES.len(), 0..GUESTS.len(), 0..2usize, 1..4u64);
    prop_oneof![
        3 => (two.clone(), line.clone(), one.clone())
            .prop_map(|(control, line, guest)| Call::Forward { control, line, guest }),
        2 => (two.clone(), line.clone()).prop_map(|(control, line)| Call::Unforward { control, line }),
        1 => two.clone().prop_map(|control| Call::Release { control }),
        2 => (line.clone(), 0..4u64).prop_map(|(line, eventfd)| Call::Connect { line, eventfd }),
        1 => line.clone().prop_map(|line| Call::Mask { line }),
        2 => line.clone().prop_map(|line| Call::Unmask { line }),
        2 => (eventfd.clone(), two.clone(), one)
            .prop_map(|(eventfd, vm, guest)| Call::Consume { eventfd, vm, guest }),
        1 => (eventfd.clone(), two.clone()).prop_map(|(eventfd, vm)| Call::Deassign { eventfd, vm }),
        1 => eventfd.prop_map(|eventfd| Call::Retry { eventfd }),
        6 => (line, any::<bool>()).prop_map(|(line, high)| Call::Set { line, high }),
        3 => two.clone().prop_map(|vm| Call::Enter { vm }),
        3 => two.clone().prop_map(|vm| Call::Acknowledge { vm }),
        3 => two.clone().prop_map(|vm| Call::End { vm }),
        2 => two.prop_map(|vm| Call::Leave { vm }),
    ]
}

/// What must be so, told from the calls and their answers alone.
#[derive(Default)]
struct Model {
    /// By line: which control has it, as which guest interrupt.
    registered: BTreeMap<usize, (usize, usize)>,
    /// By line.
    triggers: BTreeMap<usize, u64>,
    /// By line.
    masked: BTreeMap<usize, bool>,
    /// By eventfd: which virtual machine, which guest interrupt.
    consumers: BTreeMap<u64, (usize, usize)>,
}

struct Setting {
    world: Rc<World>,
    vms: [TestVm; 2],
    controls: [Control; 2],
    device: DeviceFile,
    /// What each guest has acknowledged.
    acknowledged: [Vec<u32>; 2],
    model: Model,
}

fn interrupt(line: usize) -> DeviceInterrupt {
    DeviceInterrupt { index: line as u32, subindex: 0 }
}

impl Setting {
    fn new(completion: CompletionBy) -> Self {
        let world = world();
        let vms = [world.vm(completion), world.vm(CompletionBy::Guest)];
        let controls = [control(&world, &vms[0]), control(&world, &vms[1])];
        let device = platform_device(&world, &LINES);
        Self { world, vms, controls, device, acknowledged: Default::default(), model: Model::default() }
    }

    fn request(&self, line: usize, action: Action, data: Data<'_>) -> Result<(), Errno> {
        let request = Request { action, index: line as u32, start: 0, data };
        self.device.set_interrupts(&self.world.host, &*self.world, &request).map_err(|error| error.errno())
    }

    fn make(&mut self, call: Call) -> Result<(), TestCaseError> {
        let model = &mut self.model;
        match call {
            Call::Forward { control, line, guest: number } => {
                let answer =
                    self.controls[control].forward(&self.device, interrupt(line), guest(GUESTS[number]));
                let trigger = model.triggers.get(&line);
                let leads = trigger.and_then(|trigger| model.consumers.get(trigger));
                let expected: &[Option<Errno>] = match model.registered.get(&line) {
                    Some((other, _)) if *other == control => &[Some(Errno::Invalid)],
                    Some(_) => &[Some(Errno::Busy)],
                    None if trigger.is_some() && leads != Some(&(control, number)) => &[Some(Errno::Busy)],
                    None if model.registered.values().any(|of| *of == (control, number)) => {
                        // In flight at the line is found first.
                        &[Some(Errno::Busy), Some(Errno::Again)]
                    }
                    // The token door may have either, or something may be in flight.
                    None => &[None, Some(Errno::Busy), Some(Errno::Again)],
                };
                let number_of = answer.err().map(|error| error.errno());
                prop_assert!(expected.contains(&number_of), "{answer:?}, not {expected:?}");
                if answer.is_ok() {
                    model.registered.insert(line, (control, number));
                }
            }
            Call::Unforward { control, line } => {
                let answer = self.controls[control].unforward(&self.device, interrupt(line));
                let ours = model.registered.get(&line).is_some_and(|(of, _)| *of == control);
                prop_assert_eq!(answer.is_ok(), ours);
                if ours {
                    model.registered.remove(&line);
                    let line = HostInterrupt(LINES[line]);
                    prop_assert!(!self.world.host.controller().is_active(line));
                    prop_assert!(!self.world.in_list_register(line));
                }
            }
            Call::Release { control } => {
                self.controls[control].release();
                model.registered.retain(|_, (of, _)| *of != control);
            }
            Call::Connect { line, eventfd } => {
                let before = model.triggers.get(&line).copied().unwrap_or(0);
                let lent = model.registered.contains_key(&line);
                let expected = if lent && before != eventfd { Err(Errno::Busy) } else { Ok(()) };
                let trigger = vcm_irq::Token::new(eventfd);
                prop_assert_eq!(self.request(line, Action::Trigger, Data::Eventfd(&[trigger])), expected);
                if expected.is_ok() {
                    self.model.triggers.remove(&line);
                    if eventfd != 0 {
                        self.model.triggers.insert(line, eventfd);
                    }
                }
                self.world.run();
            }
            Call::Mask { line } => {
                model.masked.insert(line, true);
                prop_assert_eq!(self.request(line, Action::Mask, Data::None { count: 1 }), Ok(()));
            }
            Call::Unmask { line } => {
                model.masked.insert(line, false);
                prop_assert_eq!(self.request(line, Action::Unmask, Data::None { count: 1 }), Ok(()));
                self.world.run();
            }
            Call::Consume { eventfd, vm, guest: number } => {
                let mut bypass = self.world.bypass.borrow_mut();
                let answer = bypass.register_consumer(
                    token(eventfd),
                    self.vms[vm].clone(),
                    guest(GUESTS[number]),
                    Resample::Producer,
                );
                let used = model.consumers.contains_key(&eventfd);
                prop_assert_eq!(
                    answer.map(|_| ()).map_err(|error| error.errno()).err(),
                    used.then_some(Errno::Busy)
                );
                model.consumers.entry(eventfd).or_insert((vm, number));
            }
            Call::Deassign { eventfd, vm } => {
                let id = self.vms[vm].config().id;
                self.world.bypass.borrow_mut().unregister_consumer(token(eventfd), id);
                if model.consumers.get(&eventfd).is_some_and(|(of, _)| *of == vm) {
                    model.consumers.remove(&eventfd);
                }
            }
            Call::Retry { eventfd } => {
                self.world.bypass.borrow_mut().retry(token(eventfd));
            }
            Call::Set { line, high } => {
                self.world.set(LINES[line], high);
            }
            Call::Enter { vm } => self.world.enter(self.vms[vm].config().id, CPU),
            Call::Acknowledge { vm } => {
                let id = self.vms[vm].config().id;
                self.acknowledged[vm].extend(self.world.acknowledge(id, CPU));
            }
            Call::End { vm } => {
                let id = self.vms[vm].config().id;
                // It can end only what is in a list register.
                self.world.enter(id, CPU);
                if let Some(interrupt) = self.acknowledged[vm].pop() {
                    self.world.end(id, CPU, interrupt);
                    self.world.run();
                }
            }
            Call::Leave { vm } => self.world.leave(self.vms[vm].config().id, CPU),
        }
        self.world.run();
        Ok(())
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let model = &self.model;
        prop_assert_eq!(self.device.references(), 1 + model.registered.len());
        for (control, number) in self.controls.iter().zip(0..) {
            let registered = model.registered.values().filter(|(of, _)| *of == number).count();
            prop_assert_eq!(control.registered(), registered);
        }
        let distributor = self.world.host.controller();
        for (line, interrupt) in LINES.into_iter().map(HostInterrupt).enumerate() {
            let state = self.world.host.state(interrupt).unwrap();
            let leads = model.registered.contains_key(&line) || model.triggers.contains_key(&line);
            prop_assert_eq!(state.connected, leads);
            prop_assert_eq!(state.user_masked, model.masked.get(&line).copied().unwrap_or(false));
            let quiet = !leads || state.user_masked || state.automasked || state.guest_masked;
            prop_assert_eq!(distributor.is_enabled(interrupt), !quiet, "{}", interrupt);
            if self.world.in_list_register(interrupt) {
                prop_assert!(distributor.is_active(interrupt), "{} is in a list register", interrupt);
            }
            if !state.forwarded {
                prop_assert!(!distributor.is_active(interrupt), "{} is not handled", interrupt);
            }
            let trigger = self.device.trigger(self::interrupt(line)).map(vcm_irq::Token::number);
            prop_assert_eq!(trigger, model.triggers.get(&line).copied());
        }
        for eventfd in 1..4 {
            let consumer = self.world.eventfds.consumer(token(eventfd));
            let consumer = consumer.map(|irqfd| (usize::from(irqfd.vm.0), irqfd.guest.0));
            let expected = model.consumers.get(&eventfd).map(|&(vm, guest)| (vm, GUESTS[guest]));
            prop_assert_eq!(consumer, expected);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_model_holds(host in any::<bool>(), calls in prop::collection::vec(call(), 1..80)) {
        let mut s = Setting::new(if host { CompletionBy::Host } else { CompletionBy::Guest });
        for call in calls {
            s.make(call).map_err(|error| TestCaseError::fail(format!("{call:?}: {error}")))?;
            s.check().map_err(|error| TestCaseError::fail(format!("after {call:?}: {error}")))?;
        }
        // And at the end everything goes.
        let Setting { world, controls, device, vms, .. } = s;
        for mut control in controls {
            control.release();
        }
        prop_assert_eq!(device.references(), 1);
        drop(device);
        for vm in vms {
            world.bypass.borrow_mut().unregister_all(vm.config().id);
        }
        for interrupt in LINES.map(HostInterrupt) {
            prop_assert!(!world.host.controller().is_active(interrupt));
            prop_assert!(!world.host.controller().is_enabled(interrupt));
            prop_assert!(!world.in_list_register(interrupt));
        }
    }
}
