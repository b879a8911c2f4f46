//! Binding a guest interrupt to a host line: forwarded, or completed by the host.

use super::inject::Level;
use super::save::withstands;
use super::vm::{Machine, Vm};
use super::word::{
    ACTIVE, EDGE, ENABLED, FORWARDED, INSISTED, LINE, LOADED, ONCE, OWED, PENDING, RESAMPLED, RESTORED,
    SAMPLED, State,
};
use crate::host::{Controller, OpenLine, Progress};
use crate::wanted::Wanted;
use crate::{GuestInterrupt, HostInterrupt, Sense, VcpuId};

/// Why a guest interrupt cannot be bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BindError {
    /// The guest has no such shared interrupt (EINVAL).
    #[error("the virtual machine has no shared {0}")]
    NoSuch(GuestInterrupt),
    /// It is bound to another line (EBUSY).
    #[error("{guest} belongs to {host}")]
    Bound {
        /// The guest interrupt.
        guest: GuestInterrupt,
        /// Whose it is.
        host: HostInterrupt,
    },
    /// The guest has one in progress that came another way (EAGAIN): wait until it has ended it.
    #[error("{0} is in progress in the guest")]
    InFlight(GuestInterrupt),
}

impl<M: Machine> Vm<M> {
    /// Binds a guest interrupt to a line that stays in the ordinary mode: when the guest has ended the
    /// interrupt, its line is lowered and the host line [completed](crate::host::Host::complete). This is
    /// what an irqfd with a resampler does in Linux.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(&self, line: OpenLine, guest: GuestInterrupt) -> Result<(), BindError> {
        let held = self.hold_shared(guest)?;
        let (before, _) = self.change(&held, |state| state);
        let other = self.line(guest.0) != line;
        let in_flight = before.any(PENDING | ACTIVE | LINE | OWED);
        let refused = if !before.any(FORWARDED | RESAMPLED) || !other {
            None
        } else if !before.has(ONCE) {
            Some(BindError::Bound { guest, host: self.physical(guest.0) })
        } else {
            // The other line waits for the end of what is in progress, and is gone then.
            in_flight.then_some(BindError::InFlight(guest))
        };
        if refused.is_none() {
            self.set_line_of(guest, line);
            self.change(&held, |state| state.with(RESAMPLED).without(ONCE | RESTORED));
        }
        self.release(held);
        refused.map_or(Ok(()), Err)
    }

    /// Ends what [`bind`](Self::bind) began. A forwarded interrupt stays forwarded. What the guest has in progress ends
    /// without the host being told.
    pub fn unbind(&self, guest: GuestInterrupt) {
        let Ok(held) = self.hold_shared(guest) else { return };
        self.change(&held, |state| {
            let state = state.without(RESAMPLED | ONCE | OWED);
            if state.has(FORWARDED) { state } else { state.without(LINE) }
        });
        self.release(held);
    }

    /// The same, but the host is told of the end of what the guest has in progress, once. Passed over if the interrupt
    /// is not bound to `line`.
    pub(crate) fn loosen(&self, line: OpenLine, guest: GuestInterrupt) {
        let Ok(held) = self.hold_shared(guest) else { return };
        let mine = self.line(guest.0) == line;
        let (before, _) = self.change(&held, |state| match state.any(PENDING | ACTIVE | LINE) {
            _ if !mine || !state.has(RESAMPLED) => state,
            true => state.without(OWED).with(ONCE),
            // What is owed is paid now: the guest's mask is not the line's any more.
            false => state.without(RESAMPLED | OWED),
        });
        self.release(held);
        if mine && before.has(RESAMPLED | OWED) && !before.any(PENDING | ACTIVE | LINE) {
            self.machine.host().complete(line);
        }
    }

    /// Gives up what a guest interrupt has to do with a line that was closed.
    pub(crate) fn forget(&self, line: OpenLine, guest: GuestInterrupt) {
        if self.shared_word(guest).is_some() && self.line(guest.0) == line {
            self.unforward(guest);
            self.unbind(guest);
        }
    }

    /// Ends everything that lines wait for: to be called when the virtual machine is no more, with its vCPUs
    /// out of the guest for good and its joins [parted](crate::kvm::part). What was in progress will not be
    /// ended by anybody.
    pub fn shut_down(&self) {
        for guest in (crate::FIRST_SPI..self.end()).map(GuestInterrupt) {
            let Ok(held) = self.hold_shared(guest) else { continue };
            let line = self.line(guest.0);
            let (before, _) = self.change(&held, |state| match state.has(FORWARDED) {
                true => state,
                false => state.without(RESAMPLED | ONCE | OWED | LINE | PENDING | ACTIVE),
            });
            self.release(held);
            if before.has(RESAMPLED) && !before.has(FORWARDED) {
                self.machine.host().complete(line);
            }
        }
    }

    /// The line that a guest interrupt is forwarded from.
    pub fn forwarded_from(&self, guest: GuestInterrupt) -> Option<HostInterrupt> {
        self.shared_word(guest)?.load().has(FORWARDED).then(|| self.physical(guest.0))
    }

    /// Makes a guest interrupt the forwarded form of a line's. The line is quiet meanwhile. Whether the guest
    /// has it enabled.
    pub(crate) fn forward(
        &self,
        line: OpenLine,
        sense: Sense,
        guest: GuestInterrupt,
    ) -> Result<Wanted, BindError> {
        let held = self.hold_shared(guest)?;
        let (before, _) = self.change(&held, |state| state);
        // A binding that ends with what is in progress is no obstacle when that has ended.
        let bound = before.any(FORWARDED | RESAMPLED) && !before.has(ONCE) && self.line(guest.0) != line;
        let refused = if bound || before.has(FORWARDED) {
            Some(BindError::Bound { guest, host: self.physical(guest.0) })
        } else if before.any(LINE | OWED) || before.any(ACTIVE | PENDING) && !before.has(RESTORED) {
            Some(BindError::InFlight(guest))
        } else {
            None
        };
        if let Some(refused) = refused {
            self.release(held);
            return Err(refused);
        }
        self.set_line_of(guest, line);
        let sampled = if sense == Sense::Level { SAMPLED } else { 0 };
        let (before, after) = self.change(&held, |state| {
            let ended = if state.has(ONCE) { RESAMPLED | ONCE } else { 0 };
            let state = state.with(FORWARDED | sampled).without(RESTORED | LINE | ended);
            // Pending and active at once is the host's to remember.
            if state.has(PENDING | ACTIVE) { state.without(PENDING) } else { state }
        });
        if after.any(PENDING | ACTIVE) {
            // It was in flight when the guest was saved, somewhere else perhaps: here the hardware has to know.
            self.at_host(guest.0, |controller, physical| {
                controller.set_active(physical);
                if before.has(PENDING | ACTIVE) && sense == Sense::Edge {
                    controller.set_pending(physical);
                }
            });
        }
        self.release(held);
        Ok(Wanted::when(after.has(ENABLED)))
    }

    /// Takes a guest interrupt back from the line that it is forwarded from. The line is quiet meanwhile.
    /// When this returns, no list register names the host interrupt, and it is not active on the guest's
    /// behalf. What the guest has in progress goes on, and its end is reported to the host, perhaps before
    /// this returns.
    pub(crate) fn unforward(&self, guest: GuestInterrupt) -> Progress {
        let Ok(held) = self.hold_shared(guest) else { return Progress::Idle };
        let line = if withstands(self, guest.0) { Level::High } else { Level::Low };
        // The guest may end it at any moment, where it is in no list register: what is decided has to be what is there.
        let (before, _) = self.change(&held, |state| match in_flight(state, line) {
            _ if !state.has(FORWARDED) => state,
            Progress::Idle => state.without(FORWARDED | SAMPLED | PENDING | INSISTED),
            Progress::InFlight => ordinary(state),
        });
        if before.has(FORWARDED) && before.any(PENDING | ACTIVE) {
            // If the guest has nothing of it, but a CPU has acknowledged it and not handled it yet, its
            // handler ends it.
            self.at_host(guest.0, |controller, physical| controller.deactivate(physical));
        }
        self.release(held);
        in_flight(before, line)
    }

    fn hold_shared(&self, guest: GuestInterrupt) -> Result<super::hold::Held<'_>, BindError> {
        // Private interrupts have no line that could be bound.
        self.shared_word(guest).and_then(|_| self.hold(VcpuId(0), guest.0)).ok_or(BindError::NoSuch(guest))
    }
}

/// A state without what ties it to this host, to be kept: what a device has in flight is restored as such,
/// and its line is not kept, since its device is asked again.
pub(super) const fn detached(state: State) -> State {
    let kept = state.without(FORWARDED | SAMPLED | RESAMPLED | ONCE | OWED | INSISTED | LOADED);
    if !state.any(FORWARDED | RESAMPLED) || !state.any(PENDING | ACTIVE | LINE) {
        return kept;
    }
    let asked = state.has(LINE) && !state.has(ACTIVE);
    kept.without(LINE).with(if asked { RESTORED | PENDING } else { RESTORED })
}

/// Whether the guest has something of a forwarded interrupt in progress, with the host's line as it is.
const fn in_flight(state: State, line: Level) -> Progress {
    // The guest has not noticed that the device asked, and it asks no more.
    let gone = state.has(SAMPLED) && !state.any(ACTIVE | INSISTED) && matches!(line, Level::Low);
    if state.has(FORWARDED) && state.any(PENDING | ACTIVE) && !gone {
        Progress::InFlight
    } else {
        Progress::Idle
    }
}

/// A forwarded interrupt in progress as one that came the ordinary way.
const fn ordinary(state: State) -> State {
    let next = state.without(FORWARDED | SAMPLED | INSISTED);
    if !state.has(SAMPLED) {
        return next;
    }
    // The device asks: the guest cannot wipe that away, as it could a latch, while the host line waits for its end.
    let next = if next.has(PENDING) && !next.has(EDGE) { next.without(PENDING).with(LINE) } else { next };
    if next.has(RESAMPLED) { next } else { next.with(RESAMPLED | ONCE) }
}
