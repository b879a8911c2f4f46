//! Switching a line's mode and its trigger.

use super::controller::Controller;
use super::line::{Host, OpenLine};
use super::word::{
    AUTOMASKED, CONNECTED, EDGE, FORWARDED, GUEST_MASKED, JOINED, OPEN, SWITCHING, State, UNDELIVERED,
};
use crate::sync::{Ordering, relax};
use crate::wanted::Wanted;
use crate::{HostInterrupt, Token};

/// The right to switch a line. The line is quiet meanwhile, nobody else uses it, and what it asks for stays with the
/// controller.
#[derive(Debug)]
#[must_use = "the line stays quiet until the switch is finished"]
pub(crate) struct Switching {
    line: OpenLine,
}

impl Switching {
    pub(super) fn forget(self) {}
}

/// The line is joined with a guest interrupt (EBUSY).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0} is a guest's")]
pub struct Joined(pub HostInterrupt);

/// Why a line cannot become forwarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SwitchRefused {
    /// It is forwarded already.
    Forwarded,
    /// An interrupt is in flight in the ordinary way: wait until it is done.
    InFlight,
}

/// Whether the guest has something of the line in progress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// Nothing.
    Idle,
    /// An interrupt that it has not deactivated.
    InFlight,
}

impl<C: Controller> Host<C> {
    /// Connects the trigger of a line, or disconnects it. When this returns, no signal of the trigger before is under
    /// way. Interrupts that came while none was connected come now. Not to be called from a trigger.
    ///
    /// A closed line is passed over.
    ///
    /// # Errors
    /// [`Joined`] (EBUSY): the line is a guest interrupt's, and signals nobody else until the two are
    /// [parted](crate::kvm::part).
    pub fn connect(&self, line: OpenLine, trigger: Option<Token>) -> Result<(), Joined> {
        let Some(switching) = self.begin(line) else { return Ok(()) };
        if self.word(&switching).has(JOINED) {
            self.abandon(switching);
            return Err(Joined(line.interrupt));
        }
        self.set_token(line, trigger);
        self.end(switching, 0, 0);
        Ok(())
    }

    /// Takes the right to switch, and waits until nobody uses the line. `None` if it is closed.
    pub(crate) fn begin(&self, line: OpenLine) -> Option<Switching> {
        let found = self.line(line.interrupt)?;
        loop {
            let state = State(found.word.load(Ordering::Acquire));
            if !state.has(OPEN) || state.generation() != line.generation {
                return None;
            }
            let next = state.0 | SWITCHING;
            if !state.has(SWITCHING)
                && found
                    .word
                    .compare_exchange_weak(state.0, next, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok()
            {
                break;
            }
            relax();
        }
        self.controller.disable(line.interrupt);
        self.wait_for_pins(found);
        // One of those who were waited for may have enabled it after the call above, and then looked and disabled it
        // again: whoever aligns the hardware looks afterwards. So it is disabled here.
        Some(Switching { line })
    }

    /// Checks that a line may become forwarded; if not, gives the right back.
    pub(crate) fn may_forward(&self, switching: Switching) -> Result<Switching, SwitchRefused> {
        let state = self.word(&switching);
        let refused = if state.has(FORWARDED) {
            SwitchRefused::Forwarded
        } else if state.has(AUTOMASKED) {
            SwitchRefused::InFlight
        } else {
            return Ok(switching);
        };
        self.end(switching, 0, 0);
        Err(refused)
    }

    /// Ends the switch with nothing changed.
    pub(crate) fn abandon(&self, switching: Switching) {
        self.end(switching, 0, 0);
    }

    /// The line signals `route` from now on, in the ordinary mode.
    pub(crate) fn injected(&self, switching: Switching, route: Token) {
        self.set_token(switching.line, Some(route));
        self.end(switching, JOINED, 0);
    }

    /// The line signals `trigger` from now on, and not what [`injected`](Self::injected) said.
    pub(crate) fn not_injected(&self, switching: Switching, trigger: Option<Token>) {
        self.set_token(switching.line, trigger);
        self.end(switching, 0, JOINED);
    }

    /// The line is forwarded from now on, and signals `route`. The guest has it enabled or not.
    pub(crate) fn forwarded(&self, switching: Switching, route: Token, enabled: Wanted) {
        self.set_token(switching.line, Some(route));
        let masked = if enabled.is_yes() { 0 } else { GUEST_MASKED };
        self.end(switching, FORWARDED | JOINED | masked, GUEST_MASKED & !masked);
    }

    /// What the guest has in progress of the line is about to be in flight in the ordinary way: a
    /// level-sensitive line is automasked. The guest may end it, and that [complete](Host::complete) it,
    /// before the switch is finished.
    pub(crate) fn may_be_in_flight(&self, switching: &Switching) {
        let interrupt = switching.line.interrupt;
        if let Some(found) = self.line(interrupt)
            && !self.word(switching).has(EDGE)
        {
            self.change(found, interrupt, AUTOMASKED, 0);
        }
    }

    /// The line is not forwarded from now on, and signals `trigger`. What the guest has in progress of it is from now
    /// on in flight in the ordinary way: for a level-sensitive line, quiet until it is
    /// [completed](Host::complete).
    pub(crate) fn not_forwarded(&self, switching: Switching, trigger: Option<Token>, progress: Progress) {
        self.set_token(switching.line, trigger);
        let idle = if progress == Progress::Idle { AUTOMASKED } else { 0 };
        self.end(switching, 0, idle | FORWARDED | JOINED | GUEST_MASKED | UNDELIVERED);
    }

    fn word(&self, switching: &Switching) -> State {
        let found = self.line(switching.line.interrupt);
        State(found.map_or(0, |line| line.word.load(Ordering::Relaxed)))
    }

    fn set_token(&self, line: OpenLine, token: Option<Token>) {
        let Some(found) = self.line(line.interrupt) else { return };
        found.token.store(token.map_or(0, Token::number), Ordering::Relaxed);
        let (set, clear) = if token.is_some() { (CONNECTED, 0) } else { (0, CONNECTED) };
        self.change(found, line.interrupt, set, clear);
    }

    fn end(&self, switching: Switching, set: u64, clear: u64) {
        let interrupt = switching.line.interrupt;
        if let Some(found) = self.line(interrupt) {
            self.change(found, interrupt, set, clear | SWITCHING);
        }
    }
}
