//! What the guest does to its interrupt controller. Each acts on one interrupt, as `by`, the vCPU that does
//! it, sees it; one that does not exist is passed over.
//!
//! `by` is out of the guest and saved when one of these is called.

use super::interface::Group;
use super::save::withstands;
use super::vm::{Machine, Model, Vm};
use super::word::{
    ACTIVE, EDGE, ENABLED, FORWARDED, GROUP_1, INSISTED, Kind, LINE, OWED, PENDING, SAMPLED, State,
};
use crate::host::Controller;
use crate::route::Route;
use crate::sync::Ordering;
use crate::wanted::Wanted;
use crate::{FIRST_SPI, GuestInterrupt, Sense, Token, VcpuId};

/// What the guest can see of one of its interrupts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InterruptState {
    /// Whether it is enabled.
    pub enabled: bool,
    /// Whether it is pending.
    pub pending: bool,
    /// Whether it is active.
    pub active: bool,
    /// Its priority, 0 the most urgent.
    pub priority: u8,
    /// Its group.
    pub group: Group,
    /// What it reacts to.
    pub sense: Sense,
    /// Of a shared interrupt of a `GICv2`, its targets; of a software-generated one, who sent it.
    pub cpus: u8,
    /// The vCPU that it goes to.
    pub target: Option<VcpuId>,
}

impl<M: Machine> Vm<M> {
    /// Looks at an interrupt. A vCPU that has it in a list register leaves the guest for that, since the register is
    /// the truth.
    pub fn interrupt(&self, by: VcpuId, interrupt: u32) -> Option<InterruptState> {
        let mut state = self.word(by, interrupt)?.load();
        if state.holder().is_some() {
            let held = self.hold(by, interrupt)?;
            (state, _) = self.change(&held, |state| state);
            self.release(held);
        }
        let kind = Kind::of(interrupt);
        let at_host = || state.has(FORWARDED) && withstands(self, interrupt);
        // What came and is not acknowledged follows the device's line, unless the guest itself said so.
        let followed = state.has(FORWARDED | SAMPLED) && !state.has(INSISTED);
        Some(InterruptState {
            enabled: state.has(ENABLED),
            pending: !followed && state.is_pending(kind) || at_host(),
            active: state.has(ACTIVE),
            priority: state.priority(),
            group: state.group(),
            sense: if state.has(EDGE) || kind == Kind::Software { Sense::Edge } else { Sense::Level },
            cpus: state.cpus(),
            target: state.target(),
        })
    }

    /// Enables an interrupt. For a forwarded one the host line is enabled too.
    pub fn enable(&self, by: VcpuId, interrupt: u32) {
        let Some(word) = self.word(by, interrupt) else { return };
        let disabled = word.load();
        if disabled.has(FORWARDED | SAMPLED | PENDING) && !disabled.any(ENABLED | ACTIVE) {
            self.withdraw(by, interrupt);
        }
        let before = word.set(ENABLED);
        if before.has(OWED) {
            self.pay(by, interrupt);
        }
        if let Some(vcpu) = before.holder()
            && before.is_pending(Kind::of(interrupt))
        {
            // What is in its list register is active, and it does not know that the next one can be taken.
            self.machine.kick(vcpu);
        }
        self.requeue(interrupt, before.with(ENABLED));
        self.tell_line(by, interrupt);
    }

    /// Takes back a forwarded interrupt that came before the guest disabled it, if its device has been
    /// quieted since: with a real controller the guest would not see it either.
    fn withdraw(&self, by: VcpuId, interrupt: u32) {
        let Some(held) = self.hold(by, interrupt) else { return };
        if !withstands(self, interrupt) {
            let (before, _) = self.change(&held, |state| {
                let gone =
                    state.has(FORWARDED | SAMPLED | PENDING) && !state.any(ENABLED | ACTIVE | INSISTED);
                if gone { state.without(PENDING) } else { state }
            });
            if before.has(FORWARDED | SAMPLED | PENDING) && !before.any(ENABLED | ACTIVE | INSISTED) {
                self.at_host(interrupt, |controller, physical| controller.deactivate(physical));
            }
        }
        self.release(held);
    }

    /// Disables an interrupt. For a forwarded one the host line is disabled too, so that a device whose
    /// interrupt is ended before it is content does not interrupt again. When this returns, no vCPU takes it
    /// any more.
    pub fn disable(&self, by: VcpuId, interrupt: u32) {
        // Software-generated interrupts can be disabled as others can.
        self.changed(by, interrupt, |state| state.without(ENABLED));
        self.tell_line(by, interrupt);
    }

    /// Makes an interrupt pending. For a forwarded one: makes the host's pending, which then comes.
    pub fn set_pending(&self, by: VcpuId, interrupt: u32) {
        let Some(held) = self.hold(by, interrupt) else { return };
        let (before, _) = self.change(&held, |state| match Kind::of(interrupt) {
            _ if state.has(FORWARDED) => state.with(INSISTED),
            // GICD_SPENDSGIR is what sets these on GICv2; GICv3 keeps no senders.
            Kind::Software if self.config.model == Model::V3 => state.with_cpus(1),
            Kind::Software => state,
            Kind::Line => state.with(PENDING),
        });
        if before.has(FORWARDED) {
            self.at_host(interrupt, |controller, physical| controller.set_pending(physical));
        }
        self.release(held);
    }

    /// Ends an interrupt's pending state, unless its line is high. For a forwarded one the host's ends.
    pub fn clear_pending(&self, by: VcpuId, interrupt: u32) {
        let Some(held) = self.hold(by, interrupt) else { return };
        let over = |state: State| state.has(PENDING) && !state.any(ACTIVE | LINE);
        let line = self.line(interrupt);
        let (before, after) = self.change(&held, |state| match Kind::of(interrupt) {
            Kind::Software if self.config.model == Model::V3 => state.with_cpus(0),
            Kind::Software => state,
            // The host waits for its end, which does not come any more.
            Kind::Line if over(state) => super::save::ended(state.without(PENDING | INSISTED)),
            Kind::Line => state.without(PENDING | INSISTED),
        });
        if before.has(FORWARDED) {
            self.at_host(interrupt, |controller, physical| {
                controller.clear_pending(physical);
                if before.has(PENDING) && !before.has(ACTIVE) {
                    // It was active for the guest to take. If its line is high it comes again.
                    controller.deactivate(physical);
                }
            });
        }
        self.release(held);
        if over(before) {
            self.completed(line, before, after);
        }
    }

    /// Makes an interrupt active.
    pub fn set_active(&self, by: VcpuId, interrupt: u32) {
        let Some(held) = self.hold(by, interrupt) else { return };
        let (before, _) = self.change(&held, |state| {
            if state.has(ACTIVE) {
                return state;
            }
            let state = state.with(ACTIVE).owned_by(by);
            // Pending and active at once is the host's to remember.
            if state.has(FORWARDED) { state.without(PENDING) } else { state }
        });
        if before.has(FORWARDED) && !before.has(ACTIVE) {
            self.at_host(interrupt, |controller, physical| {
                controller.set_active(physical);
                if before.has(PENDING) {
                    controller.set_pending(physical);
                }
            });
        }
        self.release(held);
    }

    /// Ends an interrupt's active state. For a forwarded one the host's ends.
    pub fn clear_active(&self, by: VcpuId, interrupt: u32) {
        let Some(held) = self.hold(by, interrupt) else { return };
        let line = self.line(interrupt);
        let (before, after) = self.change(&held, |state| {
            if state.has(ACTIVE) { super::save::ended(state.without(ACTIVE)) } else { state }
        });
        if before.has(FORWARDED | ACTIVE) {
            self.at_host(interrupt, |controller, physical| controller.deactivate(physical));
        }
        self.release(held);
        if before.has(ACTIVE) {
            // Not while it is held: a switch of the line may wait for it.
            self.completed(line, before, after);
        }
    }

    /// The guest's write to its deactivation register, trapped because the hardware could not do it: the
    /// interrupt may be in no list register, or in another vCPU's.
    pub fn deactivate(&self, by: VcpuId, interrupt: u32) {
        self.clear_active(by, interrupt);
    }

    /// Sets an interrupt's priority, from its next delivery on.
    pub fn set_priority(&self, by: VcpuId, interrupt: u32, priority: u8) {
        if let Some(word) = self.word(by, interrupt) {
            let _ = word.update(|state| Some(state.with_priority(priority)));
        }
    }

    /// Sets an interrupt's group.
    pub fn set_group(&self, by: VcpuId, interrupt: u32, group: Group) {
        self.changed(by, interrupt, |state| match group {
            Group::Zero => state.without(GROUP_1),
            Group::One => state.with(GROUP_1),
        });
    }

    /// Sets what a peripheral interrupt reacts to. What a forwarded one's host line reacts to is its device's matter.
    pub fn set_sense(&self, by: VcpuId, interrupt: u32, sense: Sense) {
        if Kind::of(interrupt) == Kind::Line {
            self.changed(by, interrupt, |state| match sense {
                Sense::Level => state.without(EDGE),
                Sense::Edge => state.with(EDGE),
            });
        }
    }

    /// Sets the targets of a `GICv2` guest's shared interrupt, a bit for each vCPU. It goes to the first of them.
    pub fn set_targets(&self, interrupt: u32, targets: u8) {
        let existing = (0..self.config.vcpus.min(8)).fold(0, |mask: u8, vcpu| mask | 1 << vcpu);
        let targets = targets & existing;
        let first = (targets != 0).then(|| VcpuId(targets.trailing_zeros() as u16));
        self.retarget(interrupt, |state| state.with_cpus(targets).with_target(first));
    }

    /// Sets the vCPU that a shared interrupt of a `GICv3` guest goes to, or none.
    pub fn set_target(&self, interrupt: u32, target: Option<VcpuId>) {
        let target = target.filter(|vcpu| vcpu.0 < self.config.vcpus);
        self.retarget(interrupt, |state| state.with_target(target));
    }

    /// Sends a software-generated interrupt, 0 to 15, from one vCPU to another.
    pub fn send(&self, from: VcpuId, to: VcpuId, interrupt: u32) {
        if interrupt >= 16 {
            return;
        }
        let Some(word) = self.word(to, interrupt) else { return };
        let source = if self.config.model == Model::V2 { 1 << (from.0 & 7) } else { 1 };
        if let Ok((before, _)) = word.update(|state| Some(state.with_cpus(state.cpus() | source))) {
            self.notify(interrupt, before);
        }
    }

    /// Takes back what the senders in `sources` sent to `by` and it has not acknowledged (`GICD_CPENDSGIR`).
    pub fn take_back(&self, by: VcpuId, interrupt: u32, sources: u8) {
        if interrupt < 16 {
            self.changed(by, interrupt, |state| state.with_cpus(state.cpus() & !sources));
        }
    }

    /// The groups that the guest's distributor passes on.
    pub fn groups(&self) -> [Wanted; 2] {
        let groups = self.groups.load(Ordering::Acquire);
        [Wanted::when(groups & 1 != 0), Wanted::when(groups & 2 != 0)]
    }

    /// Sets the groups that the guest's distributor passes on.
    pub fn set_groups(&self, zero: Wanted, one: Wanted) {
        let groups = u32::from(zero.is_yes()) | u32::from(one.is_yes()) << 1;
        if self.groups.swap(groups, Ordering::AcqRel) != groups {
            for vcpu in 0..self.config.vcpus {
                self.machine.kick(VcpuId(vcpu));
            }
        }
    }

    /// The token by which a line's handler finds this virtual machine's interrupt.
    pub(crate) fn route(&self, interrupt: u32) -> Option<Token> {
        Route::Forwarded { vm: self.config.id, guest: GuestInterrupt(interrupt) }.token()
    }

    fn retarget(&self, interrupt: u32, next: impl Fn(State) -> State) {
        if interrupt >= FIRST_SPI {
            self.changed(VcpuId(0), interrupt, next);
            self.tell_line(VcpuId(0), interrupt);
        }
    }

    fn changed(&self, by: VcpuId, interrupt: u32, next: impl Fn(State) -> State) {
        let Some(held) = self.hold(by, interrupt) else { return };
        self.change(&held, next);
        self.release(held);
    }

    /// Makes the host line of a forwarded interrupt as the guest has its own, as often as the guest changes its mind
    /// meanwhile.
    fn tell_line(&self, by: VcpuId, interrupt: u32) {
        let (Some(word), Some(route)) = (self.word(by, interrupt), self.route(interrupt)) else { return };
        let mut state = word.load();
        while state.has(FORWARDED) {
            let enabled = Wanted::when(state.has(ENABLED));
            self.machine.host().guest_enables(self.line(interrupt), route, enabled);
            let now = word.load();
            if now.has(ENABLED) == state.has(ENABLED) {
                return;
            }
            state = now;
        }
    }
}
