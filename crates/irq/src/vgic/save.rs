//! Out of the guest: what list registers say goes back into the words.

use super::interface::{LrState, VirtualInterface};
use super::vcpu::{Slot, Vcpu};
use super::vm::{Machine, Vm};
use super::word::{
    ACTIVE, ENABLED, FORWARDED, INSISTED, Kind, LINE, LOADED, ONCE, OWED, PENDING, RESAMPLED, SAMPLED, State,
    Word,
};
use crate::host::{Controller, OpenLine};
use crate::sync::Ordering;

impl Vcpu {
    /// Takes what the guest left in the list registers, and empties them. To be called as soon as the guest
    /// was left, before anything else is done with the virtual machine's interrupts on this CPU.
    ///
    /// Interrupts that the guest ended and that the host completes ([`Vm::bind`]) are completed.
    pub fn save<M: Machine>(&mut self, vm: &Vm<M>, cpu: &mut impl VirtualInterface) {
        if !self.loaded {
            return;
        }
        let ended_outside = cpu.disable();
        self.guest = cpu.guest();
        // What is in list registers now was not ended outside, and is not looked at for that.
        for _ in 0..ended_outside {
            if !self.end_outside(vm) {
                break;
            }
        }
        let empty = if self.used > 0 { cpu.empty() } else { 0 };
        for index in 0..self.used {
            let slot = self.slots[index];
            let state = if empty & 1 << index != 0 { LrState::Empty } else { cpu.state(index) };
            cpu.clear(index);
            self.fold(vm, slot, state);
        }
        self.used = 0;
        self.loaded = false;
        if let Some(shared) = vm.vcpus.get(usize::from(self.id.0)) {
            shared.running.store(0, Ordering::SeqCst);
        }
    }

    /// Gives one list register's interrupt back to its word.
    fn fold<M: Machine>(&mut self, vm: &Vm<M>, slot: Slot, register: LrState) {
        let interrupt = slot.interrupt;
        let Some(word) = vm.word(self.id, interrupt) else { return };
        let mut register = register;
        let before = word.load();
        let sampled = before.has(FORWARDED | SAMPLED) && !before.has(INSISTED);
        if register == LrState::Pending && sampled && !withstands(vm, interrupt) {
            // The device asks no more, and the guest has not noticed that it did. The next time it asks it has to
            // be heard, so its interrupt must not stay active.
            register = LrState::Empty;
            vm.at_host(interrupt, |controller, physical| controller.deactivate(physical));
        }
        if before.has(FORWARDED | PENDING) {
            came_meanwhile(vm, word, interrupt, register);
        }
        // While it is in a list register nobody binds it to another line.
        let line = vm.line(interrupt);
        let folded = word.update(|state| Some(merge(state, slot, register)));
        let Ok((before, after)) = folded else { return };
        if register == LrState::Empty {
            vm.completed(line, before, after);
        }
        self.keep(vm, interrupt, after);
    }

    /// The guest ended an interrupt that was in no list register. It ends the one that it acknowledged last first, and
    /// that is the most urgent of those which are active. Whether there was one.
    fn end_outside<M: Machine>(&mut self, vm: &Vm<M>) -> bool {
        let urgency = |interrupt: u32| {
            let state = vm.word(self.id, interrupt)?.load();
            // It may be another vCPU's by now.
            let mine = state.destination() == Some(self.id) && state.holder().is_none();
            (state.has(ACTIVE) && mine).then_some((state.priority(), interrupt))
        };
        let Some((_, interrupt)) = self.waiting.iter().filter_map(|one| urgency(one.interrupt)).min() else {
            return false;
        };
        self.statistics.ended_outside += 1;
        vm.end_in_software(self.id, interrupt);
        true
    }

    /// Keeps an interrupt for the next load, or gives it to the vCPU whose it is now.
    fn keep<M: Machine>(&mut self, vm: &Vm<M>, interrupt: u32, state: State) {
        if state.destination() == Some(self.id) {
            if state.wants_register(Kind::of(interrupt)) {
                self.wait(interrupt);
            }
        } else {
            vm.requeue(interrupt, state);
        }
    }
}

/// A forwarded interrupt came while it was in a list register: the guest had deactivated it before, and another CPU took the
/// next one. If not, a CPU acknowledged it before the guest itself made it active, and there is one physical interrupt for
/// the two.
fn came_meanwhile<M: Machine>(vm: &Vm<M>, word: &Word, interrupt: u32, register: LrState) {
    // Forgotten before it is looked whether one is active: one that comes after this is noted anew, one that came before is
    // seen to be active.
    let before = word.clear(PENDING);
    if register == LrState::Empty {
        if vm.at_host(interrupt, |controller, physical| controller.is_active(physical)) == Some(true) {
            word.set(PENDING);
        }
    } else if !before.has(SAMPLED) {
        // An edge is the host's to remember.
        vm.at_host(interrupt, |controller, physical| controller.set_pending(physical));
    }
}

/// Whether the device still asks for what the guest has not acknowledged.
pub(super) fn withstands<M: Machine>(vm: &Vm<M>, interrupt: u32) -> bool {
    vm.at_host(interrupt, |controller, physical| controller.is_pending(physical)).unwrap_or(false)
}

/// A word with what its list register says.
fn merge(state: State, slot: Slot, register: LrState) -> State {
    let mut next = state.without(LOADED);
    if slot.latched && register != LrState::Pending {
        next = next.without(INSISTED);
    }
    if register == LrState::Active && Kind::of(slot.interrupt) == Kind::Software {
        next = next.with_source(slot.source);
    }
    if matches!(register, LrState::Active | LrState::PendingAndActive) {
        next = next.with(ACTIVE);
    }
    if matches!(register, LrState::Pending | LrState::PendingAndActive) {
        if Kind::of(slot.interrupt) == Kind::Software {
            next = next.with_cpus(next.cpus() | 1 << (slot.source & 7));
        } else if slot.latched || register == LrState::PendingAndActive {
            next = next.with(PENDING);
        }
    }
    if register == LrState::Empty { ended(next) } else { next }
}

/// What an end does to the word beside its active state.
pub(super) const fn ended(state: State) -> State {
    if !state.has(RESAMPLED) || state.has(FORWARDED) {
        return state;
    }
    // The host is told, and asks again if the device does.
    let state = state.without(LINE);
    if state.has(ONCE) {
        state.without(RESAMPLED | ONCE)
    } else if state.has(ENABLED) {
        state
    } else {
        // But not while the guest masks it: it ends the interrupt before it quiets the device, which asks until then.
        state.with(OWED)
    }
}

impl<M: Machine> Vm<M> {
    /// Ends an interrupt that is active in no list register, as its guest would have.
    pub(super) fn end_in_software(&self, vcpu: crate::VcpuId, interrupt: u32) {
        let Some(word) = self.word(vcpu, interrupt) else { return };
        let change = |state: State| {
            (state.has(ACTIVE) && state.holder().is_none()).then(|| ended(state.without(ACTIVE)))
        };
        // While it is active nobody binds it to another line. And the line is not closed before it is deactivated.
        let line = self.line(interrupt);
        let ended = self.at_host(interrupt, |controller, physical| {
            let ended = word.update(change);
            if let Ok((before, _)) = ended
                && before.has(FORWARDED)
            {
                controller.deactivate(physical);
            }
            ended
        });
        let Ok((before, after)) = ended.unwrap_or_else(|| word.update(change)) else { return };
        self.completed(line, before, after);
        self.requeue(interrupt, after);
    }

    /// Tells the host that the guest is done with an interrupt, if it waits for that: `line` is what it was
    /// bound to, and [`ended`] made `after` of `before`.
    pub(super) fn completed(&self, line: OpenLine, before: State, after: State) {
        if before.has(RESAMPLED) && !before.any(FORWARDED | OWED) && !after.has(OWED) {
            self.machine.host().complete(line);
        }
    }

    /// Tells the host what it is owed, since the guest has the interrupt enabled.
    pub(super) fn pay(&self, vcpu: crate::VcpuId, interrupt: u32) {
        let Some(word) = self.word(vcpu, interrupt) else { return };
        // While something is owed nobody binds it to another line without paying.
        let line = self.line(interrupt);
        let paid = word.update(|state| state.has(OWED).then(|| state.without(OWED)));
        if paid.is_ok() {
            self.machine.host().complete(line);
        }
    }
}
