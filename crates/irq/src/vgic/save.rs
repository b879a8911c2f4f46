//! Out of the guest: what list registers say goes back into the words.

use super::interface::{LrState, VirtualInterface};
use super::vcpu::{Slot, Vcpu};
use super::vm::{Machine, Vm};
use super::word::{ACTIVE, FORWARDED, Kind, LINE, LOADED, ONCE, PENDING, RESAMPLED, SAMPLED, State};
use crate::host::Controller;
use crate::sync::Ordering;

impl Vcpu {
    /// Takes what the guest left in the list registers, and empties them. To be called as soon as the guest was left, before
    /// anything else is done with the virtual machine's interrupts on this CPU.
    ///
    /// Interrupts that the guest ended and that the host completes ([`Vm::bind`]) are completed.
    pub fn save<M: Machine>(&mut self, vm: &Vm<M>, cpu: &mut impl VirtualInterface) {
        if !self.loaded {
            return;
        }
        let ended_outside = cpu.disable();
        self.guest = cpu.guest();
        // What is in list registers now was not ended outside, and is not looked at for that.
        for _ in 0..ended_outside.min(u32::from(u8::MAX)) {
            self.end_outside(vm);
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
        if register == LrState::Pending && before.has(FORWARDED | SAMPLED) && !withstands(vm, interrupt) {
            // The device asks no more, and the guest has not noticed that it did. The next time it asks it has to
            // be heard, so its interrupt must not stay active.
            register = LrState::Empty;
            vm.machine.host().controller().deactivate(vm.physical(interrupt));
        }
        let folded = word.update(|state| Some(merge(state, slot, register)));
        let Ok((before, after)) = folded else { return };
        if register == LrState::Empty {
            vm.completed(interrupt, before);
        }
        self.keep(vm, interrupt, after);
    }

    /// The guest ended an interrupt that was in no list register. It ends the one that it acknowledged last first, and
    /// that is the most urgent of those which are active.
    fn end_outside<M: Machine>(&mut self, vm: &Vm<M>) {
        let urgency = |interrupt: u32| {
            let state = vm.word(self.id, interrupt)?.load();
            // It may be another vCPU's by now.
            let mine = state.destination() == Some(self.id) && state.holder().is_none();
            (state.has(ACTIVE) && mine).then_some((state.priority(), interrupt))
        };
        let Some((_, interrupt)) = self.waiting.iter().filter_map(|&interrupt| urgency(interrupt)).min()
        else {
            return;
        };
        self.statistics.ended_outside += 1;
        vm.end_in_software(self.id, interrupt);
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

/// Whether the device still asks for what the guest has not acknowledged.
pub(super) fn withstands<M: Machine>(vm: &Vm<M>, interrupt: u32) -> bool {
    vm.machine.host().controller().is_pending(vm.physical(interrupt))
}

/// A word with what its list register says.
fn merge(state: State, slot: Slot, register: LrState) -> State {
    let mut next = state.without(LOADED);
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
    if state.has(ONCE) { state.without(RESAMPLED | ONCE) } else { state }
}

impl<M: Machine> Vm<M> {
    /// Ends an interrupt that is active in no list register, as its guest would have.
    pub(super) fn end_in_software(&self, vcpu: crate::VcpuId, interrupt: u32) {
        let Some(word) = self.word(vcpu, interrupt) else { return };
        let change = |state: State| {
            (state.has(ACTIVE) && state.holder().is_none()).then(|| ended(state.without(ACTIVE)))
        };
        let Ok((before, after)) = word.update(change) else { return };
        if before.has(FORWARDED) {
            self.machine.host().controller().deactivate(self.physical(interrupt));
        }
        self.completed(interrupt, before);
        self.requeue(interrupt, after);
    }

    /// Tells the host that the guest is done with an interrupt; `before` is its state before that.
    pub(super) fn completed(&self, interrupt: u32, before: State) {
        if before.has(RESAMPLED) && !before.has(FORWARDED) {
            self.machine.host().complete(self.line(interrupt));
        }
    }
}
