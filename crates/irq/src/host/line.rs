//! The table of lines, and what an owner does with his.

use super::controller::Controller;
use super::statistics::{Counters, LineStatistics};
use super::storm::{Rate, StormLimit};
use super::word::{
    AUTOMASKED, CLOSING, CONNECTED, EDGE, FORWARDED, GUEST_MASKED, OPEN, PIN, STORMED, SWITCHING, State,
    UNDELIVERED, USER_MASKED,
};
use crate::storage::{OutOfMemory, table};
use crate::sync::{AtomicU64, Ordering, relax};
use crate::wanted::Wanted;
use crate::{FIRST_SPI, HostInterrupt, Sense, Token};
use alloc::vec::Vec;

/// A line that somebody opened. One that was closed since names nothing: every call with it is passed over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct OpenLine {
    pub(super) interrupt: HostInterrupt,
    pub(super) generation: u32,
}

impl OpenLine {
    /// The interrupt.
    pub const fn interrupt(self) -> HostInterrupt {
        self.interrupt
    }

    pub(crate) const fn pack(self) -> u64 {
        (self.generation as u64) << 32 | self.interrupt.0 as u64
    }

    pub(crate) const fn unpack(packed: u64) -> Self {
        Self { interrupt: HostInterrupt(packed as u32), generation: (packed >> 32) as u32 }
    }
}

/// Why a line cannot be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    /// The controller has no such interrupt, or it is private to a CPU (EINVAL).
    #[error("{interrupt} is no shared interrupt of this controller, which has {count}")]
    NoSuch {
        /// What was asked for.
        interrupt: HostInterrupt,
        /// How many it has.
        count: u32,
    },
    /// Somebody has it open (EBUSY).
    #[error("{0} is open already")]
    Open(HostInterrupt),
}

/// What a line is doing; a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LineState {
    /// Somebody has it open.
    pub open: bool,
    /// A trigger is connected, or it is forwarded.
    pub connected: bool,
    /// Its guest completes its interrupts.
    pub forwarded: bool,
    /// The user masked it.
    pub user_masked: bool,
    /// An interrupt is in flight in the ordinary way.
    pub automasked: bool,
    /// The guest disabled it.
    pub guest_masked: bool,
    /// It stormed, or could not be delivered to its guest.
    pub shut: bool,
}

/// One line. In a cache line of its own: neighbours may be different CPUs'.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Line {
    pub(super) word: AtomicU64,
    /// The trigger's token; 0 is none.
    pub(super) token: AtomicU64,
    pub(super) rate: Rate,
    pub(super) counters: Counters,
}

/// The host's interrupts: a line for each number of the controller, and the controller.
///
/// What changes a line waits for handlers that use it, and for whoever switches it; so none of it is to be
/// called from a [trigger](super::Trigger), or by somebody who interrupted one of them on the same CPU. The
/// exceptions are [`handle`](Self::handle) and [`complete`](Self::complete), which wait for nobody.
///
/// Shared by all CPUs. Memory is allocated when it is made, and never after.
#[derive(Debug)]
pub struct Host<C> {
    lines: Vec<Line>,
    pub(super) controller: C,
    pub(super) limit: StormLimit,
}

impl<C: Controller> Host<C> {
    /// The host's interrupts, all closed. What the hardware has enabled is left as it is.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new(controller: C, limit: StormLimit) -> Result<Self, OutOfMemory> {
        let make = |_| Line {
            word: AtomicU64::new(0),
            token: AtomicU64::new(0),
            rate: Rate::new(),
            counters: Counters::new(),
        };
        let lines = table(controller.interrupts() as usize, make)?;
        Ok(Self { lines, controller, limit })
    }

    /// The hardware.
    pub const fn controller(&self) -> &C {
        &self.controller
    }

    /// Opens a line: from now on its interrupts are this owner's. It is quiet until a trigger is connected.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&self, interrupt: HostInterrupt, sense: Sense) -> Result<OpenLine, OpenError> {
        let no_such = OpenError::NoSuch { interrupt, count: self.lines.len() as u32 };
        let line = self.line(interrupt).filter(|_| interrupt.0 >= FIRST_SPI).ok_or(no_such)?;
        let edge = if sense == Sense::Edge { EDGE } else { 0 };
        let mut state = State(line.word.load(Ordering::Acquire));
        loop {
            if state.has(OPEN) {
                return Err(OpenError::Open(interrupt));
            }
            let opened = state.0 | OPEN | SWITCHING | edge;
            match line.word.compare_exchange_weak(state.0, opened, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(now) => state = State(now),
            }
        }
        line.rate.reset();
        line.counters.reset();
        // What somebody left behind before is not this owner's; nor is an edge that a late handler gives back.
        self.controller.disable(interrupt);
        self.wait_for_pins(line);
        self.controller.set_sense(interrupt, sense);
        self.controller.clear_pending(interrupt);
        if state.generation() == 0 {
            // Nobody had it open: if it is active, nobody's handler is going to end that.
            self.controller.deactivate(interrupt);
        }
        self.change(line, interrupt, 0, SWITCHING);
        Ok(OpenLine { interrupt, generation: state.generation() })
    }

    /// Closes a line. When this returns, its interrupt is disabled, not active and not pending by a latch,
    /// and nothing that was begun for it goes on. Not to be called from its own trigger.
    ///
    /// An interrupt that a CPU has acknowledged, and whose handler has not come to [`Host::handle`] yet,
    /// stays active until it does. Its handler tells nobody, unless somebody has opened the line again by
    /// then.
    ///
    /// Cannot fail. A line that is joined with a guest interrupt is to be [parted](crate::kvm::part) before:
    /// else the guest's list registers may name the interrupt until it is.
    pub fn close(&self, line: OpenLine) {
        let Some(switching) = self.begin(line) else { return };
        let Some(found) = self.line(line.interrupt) else { return };
        found.token.store(0, Ordering::Relaxed);
        // Handlers that come from now on do not give an edge back, and nobody reaches the hardware by this line's name.
        found.word.fetch_or(CLOSING, Ordering::SeqCst);
        self.wait_for_pins(found);
        self.controller.disable(line.interrupt);
        self.controller.clear_pending(line.interrupt);
        let mut state = State(found.word.load(Ordering::Relaxed));
        if state.has(FORWARDED) {
            // It may be active because the guest had it. Else only its handler's CPU ends what it acknowledged: ended
            // here, another CPU could acknowledge the next one before that, and two would handle one.
            self.controller.deactivate(line.interrupt);
        }
        // A handler that comes now finds the line quiet and leaves; its pin stays its own.
        while let Err(now) =
            found.word.compare_exchange_weak(state.0, state.closed(), Ordering::AcqRel, Ordering::Relaxed)
        {
            state = State(now);
        }
        // The line is nobody's: there is nothing left to end.
        switching.forget();
    }

    /// Masks the line for the user. What it asks for meanwhile comes when it is unmasked.
    pub fn mask(&self, line: OpenLine) {
        self.with(line, |found| self.change(found, line.interrupt, USER_MASKED, 0));
    }

    /// Unmasks the line for the user. An interrupt that is in flight is done with.
    pub fn unmask(&self, line: OpenLine) {
        self.with(line, |found| self.change(found, line.interrupt, 0, USER_MASKED | AUTOMASKED));
    }

    /// Says that what was in flight is done with, because the guest ended it. If the device still asks, its interrupt
    /// comes again. Waits for nobody: a vCPU calls it while it leaves the guest, for which others wait.
    pub fn complete(&self, line: OpenLine) {
        let Some(found) = self.line(line.interrupt) else { return };
        let mut state = State(found.word.load(Ordering::Acquire));
        loop {
            if !state.has(OPEN) || state.generation() != line.generation {
                return;
            }
            let pin = if state.has(SWITCHING) { 0 } else { PIN };
            let next = (state.0 & !AUTOMASKED) + pin;
            match found.word.compare_exchange_weak(state.0, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(now) => state = State(now),
            }
        }
        // He who switches it brings the hardware in line when he has done so.
        if !state.has(SWITCHING) {
            self.align(found, line.interrupt);
            found.word.fetch_sub(PIN, Ordering::Release);
        }
    }

    /// Opens a shut line again.
    pub fn rearm(&self, line: OpenLine) {
        self.with(line, |found| {
            found.rate.reset();
            self.change(found, line.interrupt, 0, STORMED | UNDELIVERED);
        });
    }

    /// What the guest's interrupt controller says of the line. Heeded while the line is forwarded on `route`; else the
    /// guest's own controller keeps the interrupt back.
    ///
    /// Not to be called by somebody who holds the guest's interrupt: he who switches the line waits for it.
    pub(crate) fn guest_enables(&self, line: OpenLine, route: Token, enabled: Wanted) {
        let (set, clear) = if enabled.is_yes() { (0, GUEST_MASKED | UNDELIVERED) } else { (GUEST_MASKED, 0) };
        self.with(line, |found| {
            let forwarded = State(found.word.load(Ordering::Relaxed)).has(FORWARDED);
            if forwarded && found.token.load(Ordering::Relaxed) == route.number() {
                self.change(found, line.interrupt, set, clear);
            }
        });
    }

    /// Does something at the hardware with an interrupt, as long as the line is open. Short, and waits for
    /// nobody: the line may be in the middle of a switch. `None` if the line was closed.
    pub(crate) fn at_hardware<R>(
        &self,
        line: OpenLine,
        act: impl FnOnce(&C, HostInterrupt) -> R,
    ) -> Option<R> {
        let found = self.line(line.interrupt)?;
        // While this is pinned the line is not closed.
        let state = State(found.word.fetch_add(PIN, Ordering::SeqCst));
        let mine = state.has(OPEN) && !state.has(CLOSING) && state.generation() == line.generation;
        let done = mine.then(|| act(&self.controller, line.interrupt));
        found.word.fetch_sub(PIN, Ordering::Release);
        done
    }

    /// Whether a line is still open.
    pub(crate) fn is_open(&self, line: OpenLine) -> bool {
        let word = self.line(line.interrupt).map_or(0, |found| found.word.load(Ordering::SeqCst));
        State(word).has(OPEN) && State(word).generation() == line.generation
    }

    /// Waits until nobody uses a line.
    pub(super) fn wait_for_pins(&self, line: &Line) {
        while State(line.word.load(Ordering::SeqCst)).pins() > 0 {
            relax();
        }
    }

    /// What the line reacts to.
    pub(crate) fn sense(&self, line: OpenLine) -> Sense {
        let word = self.line(line.interrupt).map_or(0, |found| found.word.load(Ordering::Relaxed));
        if State(word).has(EDGE) { Sense::Edge } else { Sense::Level }
    }

    /// What the line is doing.
    pub fn state(&self, interrupt: HostInterrupt) -> Option<LineState> {
        let state = State(self.line(interrupt)?.word.load(Ordering::Acquire));
        Some(LineState {
            open: state.has(OPEN),
            connected: state.has(CONNECTED),
            forwarded: state.has(FORWARDED),
            user_masked: state.has(USER_MASKED),
            automasked: state.has(AUTOMASKED),
            guest_masked: state.has(GUEST_MASKED),
            shut: state.has(STORMED) || state.has(UNDELIVERED),
        })
    }

    /// The trigger that is connected, if the line is still open.
    pub fn trigger(&self, line: OpenLine) -> Option<Token> {
        let found = self.line(line.interrupt)?;
        let state = State(found.word.load(Ordering::Acquire));
        if !state.has(OPEN) || state.generation() != line.generation {
            return None;
        }
        Token::new(found.token.load(Ordering::Acquire))
    }

    /// What it counted.
    pub fn statistics(&self, interrupt: HostInterrupt) -> Option<LineStatistics> {
        Some(self.line(interrupt)?.counters.read())
    }

    pub(super) fn line(&self, interrupt: HostInterrupt) -> Option<&Line> {
        self.lines.get(interrupt.0 as usize)
    }

    /// Does something with a line that cannot be switched or closed meanwhile. Short.
    fn with(&self, line: OpenLine, act: impl FnOnce(&Line)) {
        let Some(found) = self.line(line.interrupt) else { return };
        loop {
            let state = State(found.word.load(Ordering::Acquire));
            if !state.has(OPEN) || state.generation() != line.generation {
                return;
            }
            if state.has(SWITCHING) {
                relax();
                continue;
            }
            let pinned =
                found.word.compare_exchange_weak(state.0, state.0 + PIN, Ordering::AcqRel, Ordering::Relaxed);
            if pinned.is_ok() {
                break;
            }
        }
        act(found);
        found.word.fetch_sub(PIN, Ordering::Release);
    }

    /// Changes flags, and brings the hardware in line.
    pub(super) fn change(&self, line: &Line, interrupt: HostInterrupt, set: u64, clear: u64) {
        let mut state = State(line.word.load(Ordering::Relaxed));
        loop {
            let next = (state.0 | set) & !clear;
            match line.word.compare_exchange_weak(state.0, next, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => state = State(now),
            }
        }
        self.align(line, interrupt);
    }

    /// Makes the hardware signal the interrupt or not, as the word says; as often as somebody changed the word
    /// meanwhile.
    pub(super) fn align(&self, line: &Line, interrupt: HostInterrupt) {
        let mut wanted = State(line.word.load(Ordering::SeqCst)).signals();
        loop {
            if wanted {
                self.controller.enable(interrupt);
            } else {
                self.controller.disable(interrupt);
            }
            let now = State(line.word.load(Ordering::SeqCst)).signals();
            if now == wanted {
                return;
            }
            wanted = now;
        }
    }
}
