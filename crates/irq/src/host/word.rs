//! The state of a host interrupt, in one word that every CPU reads and changes without a lock.
//!
//! Whether the hardware signals the interrupt is a function of this word and nothing else ([`State::signals`]). There
//! is no depth that could be counted wrong: each reason to keep the interrupt quiet is a bit of its own.

/// Bits that are flags.
pub(super) const OPEN: u64 = 1;
/// A trigger is connected, so that interrupts lead somewhere.
pub(super) const CONNECTED: u64 = 1 << 1;
/// The guest completes interrupts, not the host.
pub(super) const FORWARDED: u64 = 1 << 2;
/// The user masked it.
pub(super) const USER_MASKED: u64 = 1 << 3;
/// It is in flight: delivered, and quiet until the guest or the user is done with it.
pub(super) const AUTOMASKED: u64 = 1 << 4;
/// The guest disabled it at its interrupt controller.
pub(super) const GUEST_MASKED: u64 = 1 << 5;
/// It stormed; only its owner opens it again.
pub(super) const STORMED: u64 = 1 << 6;
/// Somebody switches its mode or its trigger, and nobody else does.
pub(super) const SWITCHING: u64 = 1 << 7;
/// Its input reacts to edges.
pub(super) const EDGE: u64 = 1 << 8;
/// It is forwarded, and its guest could not be interrupted; that ends when the guest changes what kept it from that.
pub(super) const UNDELIVERED: u64 = 1 << 9;

/// It is joined with a guest interrupt, forwarded or not: its trigger is the join's.
pub(super) const JOINED: u64 = 1 << 10;
/// It is being closed: what comes now is nobody's.
pub(super) const CLOSING: u64 = 1 << 11;

const QUIET: u64 = USER_MASKED | AUTOMASKED | GUEST_MASKED | STORMED | SWITCHING | UNDELIVERED;

/// One of those who use the line at this moment, and for whom a switch has to wait.
pub(super) const PIN: u64 = 1 << 16;
const PINS: u64 = 0xffff << 16;
const GENERATION: u32 = 32;

/// A value of the word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct State(pub(super) u64);

impl State {
    /// Whether all of these flags are set.
    pub(super) const fn has(self, flags: u64) -> bool {
        self.0 & flags == flags
    }

    /// Whether the hardware is to signal the interrupt.
    pub(super) const fn signals(self) -> bool {
        self.has(OPEN | CONNECTED) && self.0 & QUIET == 0
    }

    /// How many use the line at this moment.
    pub(super) const fn pins(self) -> u64 {
        (self.0 & PINS) >> 16
    }

    /// How often the line was opened, which tells one owner's from the next one's.
    pub(super) const fn generation(self) -> u32 {
        (self.0 >> GENERATION) as u32
    }

    /// A closed line's word, of the generation after this one, with the pins of this one.
    pub(super) const fn closed(self) -> u64 {
        (self.generation().wrapping_add(1) as u64) << GENERATION | self.0 & PINS
    }
}
