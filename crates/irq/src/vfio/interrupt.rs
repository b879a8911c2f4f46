//! One interrupt of a device.

use super::request::Signals;
use crate::Token;
use crate::host::{Controller, Host, OpenLine};
use crate::sync::{AtomicU64, Ordering, relax};

/// A control lent itself the interrupt.
const LENT: u64 = 1 << 63;
/// Somebody changes the interrupt's trigger.
const CHANGING: u64 = 1 << 62;

/// The number after that of the last eventfd: above, tokens stand for something else.
pub(super) const EVENTFDS: u64 = 1 << 62;

/// One interrupt: its line, and what its user connected.
///
/// The user's trigger is kept here as well as at the line, because a line that is lent leads somewhere else meanwhile.
#[derive(Debug)]
pub(super) struct Interrupt {
    line: OpenLine,
    /// The trigger's token, 0 for none, and the flags.
    word: AtomicU64,
}

/// What an interrupt is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connected {
    /// The trigger that its user connected.
    pub(super) trigger: Option<Token>,
    /// Whether a control lent itself the interrupt.
    pub(super) lent: bool,
}

impl Interrupt {
    pub(super) fn new(line: OpenLine) -> Self {
        Self { line, word: AtomicU64::new(0) }
    }

    pub(super) const fn line(&self) -> OpenLine {
        self.line
    }

    /// What it is.
    pub(super) fn connected(&self) -> Connected {
        let word = self.word.load(Ordering::Acquire);
        Connected { trigger: Token::new(word & !(LENT | CHANGING)), lent: word & LENT != 0 }
    }

    /// Keeps others from changing it, until it is [put](Self::put) back. Several are taken in ascending order.
    pub(super) fn take(&self) -> Connected {
        while self.word.fetch_or(CHANGING, Ordering::Acquire) & CHANGING != 0 {
            relax();
        }
        self.connected()
    }

    /// Lets others change it again.
    pub(super) fn put(&self) {
        self.word.fetch_and(!CHANGING, Ordering::Release);
    }

    /// Connects another trigger, or none. It is taken. One that is lent is left as it is.
    pub(super) fn connect<C: Controller>(
        &self,
        trigger: Option<Token>,
        host: &Host<C>,
        signals: &impl Signals,
    ) {
        let before = self.connected();
        if before.trigger == trigger || before.lent {
            return;
        }
        if let Some(before) = before.trigger {
            signals.disconnecting(self.line, before);
        }
        if trigger.is_some() {
            // Signalling is set up anew: what the line was shut for is over.
            host.rearm(self.line);
        }
        // Nobody has it joined: it is not lent, and whoever listened to its trigger was told.
        let _ = host.connect(self.line, trigger);
        self.word.store(trigger.map_or(0, Token::number) | CHANGING, Ordering::Relaxed);
        if let Some(now) = trigger {
            signals.connected(self.line, now);
        }
    }

    /// Lends it, and answers what it was before.
    pub(super) fn lend(&self) -> Connected {
        let before = self.take();
        self.word.fetch_or(LENT, Ordering::Relaxed);
        self.put();
        before
    }

    /// Ends the lending.
    pub(super) fn give_back(&self) {
        self.word.fetch_and(!LENT, Ordering::Release);
    }
}
