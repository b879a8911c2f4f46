//! From any state on: everybody does what is his to do, and nothing else happens. Then nothing may be left over.

use super::action::Action;
use super::rig::{Place, guest_number, host_number};
use super::world::World;
use vcm_irq::host::StormLimit;
use vcm_irq::kvm::Mode;
use vcm_irq::vgic::{ListRegister, LrState, Wanted};

/// More rounds than any state needs.
const ROUNDS: usize = 60;

impl World {
    /// Lets everybody do what is his to do until nobody has anything to do, and asserts that all that was asked for was
    /// served.
    pub(crate) fn settle(&self) {
        for cpu in 0..self.shape.cpus {
            self.handle_late(cpu);
            self.check();
        }
        if self.rig.killed.get() {
            return;
        }
        for device in 0..self.shape.devices.len() {
            let state = self.rig.host.state(host_number(device)).expect("it exists");
            if state.user_masked {
                self.rig.host.unmask(self.line(device));
            }
        }
        let mut rounds = Vec::new();
        loop {
            let done = self.round();
            if done.is_empty() {
                break;
            }
            rounds.push(done);
            assert!(rounds.len() < ROUNDS, "it does not come to rest: {:?}", &rounds[ROUNDS - 5..]);
        }
        for device in 0..self.shape.devices.len() {
            let known = self.device(device, |d| d.clone());
            let input = self.hardware().look(|s| s.inputs[device].clone());
            assert!(!known.work, "device {device} asked and nobody served it: {input:?}");
            assert!(!input.is_pending(), "device {device}: {input:?}");
            assert!(!input.active, "device {device}: nobody handles it and it is active");
            let state = self.rig.host.state(host_number(device)).expect("it exists");
            assert!(!state.automasked, "device {device}: nothing is in flight and it is automasked");
            assert_eq!(state.forwarded, known.mode == Some(Mode::Forwarded));
        }
    }

    /// One round; what was done.
    fn round(&self) -> Vec<Action> {
        let mut done = Vec::new();
        let mut act = |action: Action| {
            action.apply(self);
            done.push(action);
        };
        for vcpu in 0..self.shape.vcpus as u8 {
            if self.on(usize::from(vcpu)).is_none() {
                let cpu = (0..self.shape.cpus).find(|&cpu| self.on_cpu(cpu).is_none());
                let has_to_do = self.has_to_do(usize::from(vcpu));
                if let Some(cpu) = cpu {
                    if has_to_do || self.shape.cpus >= self.shape.vcpus {
                        act(Action::Load { vcpu, cpu: cpu as u8 });
                    }
                } else if has_to_do
                    && let Some(idle) = (0..self.shape.vcpus).find(|&other| self.is_idle(other))
                {
                    // With fewer CPUs than vCPUs they take turns.
                    act(Action::Save { vcpu: idle as u8 });
                }
            }
        }
        for device in 0..self.shape.devices.len() as u8 {
            if !self.device(usize::from(device), |d| d.guest_enabled) {
                self.guest_enables(0, usize::from(device), Wanted::Yes);
            }
            let number = usize::from(device);
            let shut = self.rig.host.state(host_number(number)).is_some_and(|state| state.shut);
            if shut && self.shape.storm != StormLimit::NONE {
                act(Action::Rearm { device });
            }
            if self.is_signalled(usize::from(device)) {
                act(Action::Take { device, cpu: device % self.shape.cpus as u8 });
            }
            if self.device(usize::from(device), |d| d.user > 0) {
                act(Action::User { device });
            }
        }
        for vcpu in 0..self.shape.vcpus as u8 {
            let number = usize::from(vcpu);
            if self.on(number).is_none() {
                continue;
            }
            if self.wants_exit(number) {
                act(Action::Resync { vcpu });
            } else if self.can_acknowledge(number) {
                act(Action::Acknowledge { vcpu });
            } else if let Some(hand) = self.last(number) {
                if self.has_to_serve(number) {
                    act(Action::Serve { vcpu });
                }
                act(Action::End { vcpu });
                if self.ends_apart() {
                    act(Action::Deactivate { vcpu, interrupt: hand.interrupt });
                }
            } else if self.has_to_serve(number) {
                act(Action::Serve { vcpu });
            } else {
                self.deactivate_what_is_left(vcpu, &mut act);
            }
        }
        done
    }

    /// What the guest dropped the priority of before, or set active without acknowledging it.
    fn deactivate_what_is_left(&self, vcpu: u8, act: &mut impl FnMut(Action)) {
        let number = usize::from(vcpu);
        let dropped = self.rig.places.borrow()[number].in_hand.iter().find(|hand| hand.dropped).copied();
        if let Some(hand) = dropped {
            return act(Action::Deactivate { vcpu, interrupt: hand.interrupt });
        }
        if vcpu > 0 {
            return;
        }
        for device in 0..self.shape.devices.len() {
            let guest = guest_number(device);
            let handled = |place: &Place| place.in_hand.iter().any(|hand| hand.interrupt == guest);
            let handled = self.rig.places.borrow().iter().any(handled);
            let is = |r: &ListRegister| r.interrupt == guest && r.state != LrState::Pending;
            let active = self
                .hardware()
                .look(|state| state.cpus.iter().any(|cpu| cpu.registers.iter().flatten().any(is)));
            if active && !handled {
                act(Action::ClearActive { vcpu, device: device as u8 });
            }
        }
    }

    /// Whether a vCPU that is out of the guest has a reason to go back.
    fn has_to_do(&self, vcpu: usize) -> bool {
        let places = self.rig.places.borrow();
        let place = &places[vcpu];
        let guest = !place.in_hand.is_empty() || !place.to_serve.is_empty();
        guest || place.vcpu.has_waiting(&self.vm) || self.vm.has_queued(place.vcpu.id())
    }

    /// Whether a vCPU is in the guest for nothing.
    fn is_idle(&self, vcpu: usize) -> bool {
        let places = self.rig.places.borrow();
        let guest = !places[vcpu].in_hand.is_empty() || !places[vcpu].to_serve.is_empty();
        let told = self.wants_exit(vcpu) || self.can_acknowledge(vcpu);
        places[vcpu].on.is_some() && !guest && !told
    }

    fn has_to_serve(&self, vcpu: usize) -> bool {
        !self.rig.places.borrow()[vcpu].to_serve.is_empty()
    }
}
