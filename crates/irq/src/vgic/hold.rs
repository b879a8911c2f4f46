//! Changing an interrupt that others use: holding it, so that no vCPU has it in a list register meanwhile.
//!
//! He who holds an interrupt may wait for a vCPU to leave the guest, and for nothing else: not for another
//! interrupt, nor for a host line. A vCPU that has left the guest has its list registers saved before it
//! holds anything, and saving waits for nobody: a host line is [completed](crate::host::Host::complete) even
//! while somebody switches it. So nobody waits in a circle.

use super::vm::{Machine, Vm};
use super::word::{HELD, State, Word};
use crate::VcpuId;

/// An interrupt that is held. Its state is in its word, and no list register has it.
#[must_use = "an interrupt that is held is not delivered"]
pub(super) struct Held<'a> {
    interrupt: u32,
    word: &'a Word,
}

impl<M: Machine> Vm<M> {
    /// Holds an interrupt, as `vcpu` sees it. `None` if there is none.
    pub(super) fn hold(&self, vcpu: VcpuId, interrupt: u32) -> Option<Held<'_>> {
        let word = self.word(vcpu, interrupt)?;
        while word.set(HELD).has(HELD) {
            self.relax();
        }
        if let Some(holder) = word.load().holder() {
            self.machine.kick(holder);
            while word.load().holder().is_some() {
                self.machine.wait_for(holder);
            }
        }
        Some(Held { interrupt, word })
    }

    /// Changes the state of an interrupt that is held; gives the states before and after.
    pub(super) fn change(&self, held: &Held<'_>, next: impl Fn(State) -> State) -> (State, State) {
        match held.word.update(|state| Some(next(state))) {
            Ok(states) => states,
            Err(state) => (state, state),
        }
    }

    /// Lets an interrupt go, and queues it if it wants a list register.
    pub(super) fn release(&self, held: Held<'_>) {
        let before = held.word.clear(HELD);
        self.requeue(held.interrupt, before.without(HELD));
    }
}
