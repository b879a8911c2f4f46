//! Interrupting a guest: forwarded by a host interrupt's handler, or by software.

use super::vm::{Machine, Vm};
use super::word::{
    ACTIVE, EDGE, ENABLED, FORWARDED, HELD, Kind, LINE, LOADED, OWED, PENDING, RESAMPLED, SAMPLED, State,
};
use crate::host::{Controller, Taken};
use crate::{GuestInterrupt, Sense, VcpuId};

/// The state of a line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Level {
    /// Nothing asks for attention.
    Low,
    /// Something does.
    High,
}

/// Why software cannot interrupt a guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InjectError {
    /// The guest has no such shared interrupt (EINVAL).
    #[error("the virtual machine has no shared {0}")]
    NoSuch(GuestInterrupt),
    /// The interrupt is forwarded from a host interrupt, and nobody else's (EBUSY).
    #[error("{0} is forwarded from a device, software cannot raise it")]
    Forwarded(GuestInterrupt),
}

impl<M: Machine> Vm<M> {
    /// Delivers a forwarded interrupt: for the handler of the host interrupt that it is bound to, and nobody else. The
    /// host interrupt is active, and stays so until the guest deactivates this one.
    ///
    /// Constant time, no lock, no allocation. [`Taken::No`] if the interrupt is not forwarded, or the guest
    /// has it disabled or goes nowhere with it.
    pub fn deliver(&self, interrupt: GuestInterrupt) -> Taken {
        let Some(word) = self.shared_word(interrupt) else { return Taken::No };
        let state = word.load();
        if !state.has(FORWARDED | ENABLED) || state.target().is_none() {
            return Taken::No;
        }
        let taken = word.update(|state| {
            // There is one active state behind it: what the guest made active itself, and a CPU acknowledged
            // at that moment, is the same interrupt.
            let again = !state.has(LOADED) && state.any(PENDING | ACTIVE);
            (!again).then(|| state.with(PENDING))
        });
        match taken {
            Ok((before, _)) => self.notify(interrupt.0, before),
            Err(state) if !state.has(SAMPLED) => {
                self.at_host(interrupt.0, |controller, physical| controller.set_pending(physical));
            }
            Err(_) => {}
        }
        Taken::Yes
    }

    /// Interrupts the guest in the ordinary way: raises the line of a level-sensitive interrupt, or makes an
    /// edge-sensitive one pending. For [triggers](crate::host::Trigger). [`Taken::No`] if the interrupt is forwarded.
    pub fn signal(&self, interrupt: GuestInterrupt) -> Taken {
        let Some(word) = self.shared_word(interrupt) else { return Taken::No };
        // An edge of a line that is bound is one, whatever the guest says of its input.
        let edge = |state: State| {
            state.has(RESAMPLED) && self.machine.host().sense(self.line(interrupt.0)) == Sense::Edge
        };
        let raise = |state: State| {
            let flag = if state.has(EDGE) || edge(state) { PENDING } else { LINE };
            // If the host is owed the end of the one before, it gets this one's.
            (!state.has(FORWARDED)).then(|| state.without(OWED).with(flag))
        };
        let Ok((before, _)) = word.update(raise) else { return Taken::No };
        self.notify(interrupt.0, before);
        Taken::Yes
    }

    /// Sets the line of a level-sensitive shared interrupt, for software.
    ///
    /// # Errors
    /// [`InjectError`].
    pub fn set_line(&self, interrupt: GuestInterrupt, level: Level) -> Result<(), InjectError> {
        let word = self.shared_word(interrupt).ok_or(InjectError::NoSuch(interrupt))?;
        let change = |state: State| match level {
            _ if state.has(FORWARDED) => None,
            Level::High => Some(state.with(LINE)),
            Level::Low => Some(state.without(LINE)),
        };
        match word.update(change) {
            Ok((before, _)) if level == Level::High => self.notify(interrupt.0, before),
            Ok(_) => {}
            Err(_) => return Err(InjectError::Forwarded(interrupt)),
        }
        Ok(())
    }

    /// Makes a shared interrupt pending once, for software.
    ///
    /// # Errors
    /// [`InjectError`].
    pub fn pulse(&self, interrupt: GuestInterrupt) -> Result<(), InjectError> {
        let word = self.shared_word(interrupt).ok_or(InjectError::NoSuch(interrupt))?;
        let change = |state: State| (!state.has(FORWARDED)).then(|| state.with(PENDING));
        let (before, _) = word.update(change).map_err(|_| InjectError::Forwarded(interrupt))?;
        self.notify(interrupt.0, before);
        Ok(())
    }

    /// Sets the line of an interrupt that is private to a vCPU, such as its timer's; passed over if there is none.
    pub fn set_private_line(&self, vcpu: VcpuId, interrupt: u32, level: Level) {
        if !(16..32).contains(&interrupt) {
            return;
        }
        let Some(word) = self.word(vcpu, interrupt) else { return };
        match level {
            Level::Low => {
                word.clear(LINE);
            }
            Level::High => {
                let before = word.set(LINE);
                // An edge-sensitive one latches.
                let before = if before.has(EDGE) && !before.has(LINE) { word.set(PENDING) } else { before };
                self.notify(interrupt, before);
            }
        }
    }

    /// Tells whoever has to know that something of an interrupt became pending; `before` is its state before.
    pub(super) fn notify(&self, interrupt: u32, before: State) {
        if before.has(HELD) {
            // He who holds it looks when he lets go.
            return;
        }
        if let Some(vcpu) = before.holder() {
            // It looks when it saves its list registers.
            self.machine.kick(vcpu);
        } else if before.any(ENABLED | ACTIVE)
            && let Some(vcpu) = before.destination()
        {
            self.queue(vcpu, interrupt);
        }
    }

    /// Queues an interrupt for its target if it wants a list register now.
    pub(super) fn requeue(&self, interrupt: u32, state: State) {
        if state.any(HELD) || state.holder().is_some() {
            return;
        }
        if state.wants_register(Kind::of(interrupt))
            && let Some(vcpu) = state.destination()
        {
            self.queue(vcpu, interrupt);
        }
    }
}
