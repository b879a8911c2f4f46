//! The handler: one for every mode of a line.

use super::controller::{Acknowledged, Controller, CpuInterface};
use super::line::Host;
use super::statistics::Counters;
use super::word::{AUTOMASKED, CLOSING, EDGE, FORWARDED, OPEN, PIN, STORMED, State, UNDELIVERED};
use crate::sync::Ordering;
use crate::{HostInterrupt, Token};

/// Whom a line's interrupts go to: what an eventfd does in Linux.
pub trait Trigger {
    /// Passes an interrupt on to whoever consumes `token`. Short, and without waiting: this is called with the
    /// interrupt acknowledged.
    fn signal(&self, token: Token) -> Taken;
}

/// Whether somebody took an interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// Somebody did.
    Yes,
    /// Nobody consumes the token, or the guest cannot be interrupted by it now.
    No,
}

/// What became of an interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handled {
    /// It is the guest's, and stays active until the guest deactivates it.
    Forwarded,
    /// It was signalled; the line is quiet until the guest or the user is done with it.
    Automasked,
    /// It was signalled, and may come again at once: its line reacts to edges.
    Signalled,
    /// The line is closed or quiet, so nobody was told. If it is open, the interrupt comes again when it is not quiet
    /// any more.
    Spurious,
    /// The line is shut from now on.
    Shut(ShutReason),
}

/// Why a line is shut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShutReason {
    /// It asked more often than the limit.
    Storm,
    /// It is forwarded and nobody could take the interrupt.
    Undeliverable,
}

impl<C: Controller> Host<C> {
    /// Handles an interrupt that this CPU acknowledged. `now` is the time, in ticks of the clock that the
    /// [storm limit](super::StormLimit) is about; it may wrap.
    ///
    /// Takes the same time however many lines are open, allocates nothing and takes no lock. An interrupt
    /// that nobody opened is disabled: the host's own are not to be given to this.
    pub fn handle(
        &self,
        acknowledged: Acknowledged,
        cpu: &mut impl CpuInterface,
        trigger: &impl Trigger,
        now: u64,
    ) -> Handled {
        let interrupt = acknowledged.interrupt();
        let Some(line) = self.line(interrupt) else {
            // Nobody can have it open; if it stayed enabled it would be back at once.
            self.controller.disable(interrupt);
            return finish(acknowledged, cpu, Handled::Spurious);
        };
        // From here on a switch of the line waits for this handler.
        let state = State(line.word.fetch_add(PIN, Ordering::Acquire));
        let handled = if !state.has(OPEN) {
            self.controller.disable(interrupt);
            finish(acknowledged, cpu, Handled::Spurious)
        } else if !state.signals() {
            // It was on its way when the line became quiet. Or somebody, perhaps this very CPU below this
            // handler, is about to make the hardware what the word says, and has not come to it: a level
            // would be back at once.
            Counters::count(&line.counters.spurious);
            self.align(line, interrupt);
            finish(acknowledged, cpu, Handled::Spurious)
        } else if line.rate.exceeds(self.limit, now) {
            Counters::count(&line.counters.storms);
            self.change(line, interrupt, STORMED, 0);
            finish(acknowledged, cpu, Handled::Shut(ShutReason::Storm))
        } else {
            let token = Token::new(line.token.load(Ordering::Relaxed));
            let signal = || token.map_or(Taken::No, |token| trigger.signal(token));
            if state.has(FORWARDED) {
                // The guest may be done with it before this returns, on another CPU: the priority has to be dropped
                // before. It stays active, so that it does not come again.
                cpu.drop_priority(&acknowledged);
                Counters::count(&line.counters.forwarded);
                let mut taken = signal();
                if taken == Taken::No {
                    self.change(line, interrupt, UNDELIVERED, 0);
                    // The guest may have changed what kept it from taking it, and told the line before the line knew:
                    // one of the two sees what the other did.
                    taken = signal();
                }
                if taken == Taken::Yes {
                    if State(line.word.load(Ordering::SeqCst)).has(UNDELIVERED) {
                        self.change(line, interrupt, 0, UNDELIVERED);
                    }
                    Handled::Forwarded
                } else {
                    Counters::count(&line.counters.undeliverable);
                    Counters::uncount(&line.counters.forwarded);
                    self.keep_edge(state, interrupt);
                    cpu.deactivate(acknowledged);
                    Handled::Shut(ShutReason::Undeliverable)
                }
            } else {
                Counters::count(&line.counters.signalled);
                let handled = if state.has(EDGE) {
                    Handled::Signalled
                } else {
                    self.change(line, interrupt, AUTOMASKED, 0);
                    Handled::Automasked
                };
                let handled = finish(acknowledged, cpu, handled);
                let _ = signal();
                handled
            }
        };
        if handled == Handled::Spurious || handled == Handled::Shut(ShutReason::Storm) {
            self.keep_edge(state, interrupt);
        }
        line.word.fetch_sub(PIN, Ordering::Release);
        handled
    }

    /// An edge that nobody was told of is not lost: the controller keeps it until the line is enabled again.
    fn keep_edge(&self, state: State, interrupt: HostInterrupt) {
        if state.has(OPEN | EDGE) && !state.has(CLOSING) {
            self.controller.set_pending(interrupt);
        }
    }
}

/// Ends an interrupt for good.
fn finish(acknowledged: Acknowledged, cpu: &mut impl CpuInterface, handled: Handled) -> Handled {
    cpu.drop_priority(&acknowledged);
    cpu.deactivate(acknowledged);
    handled
}
