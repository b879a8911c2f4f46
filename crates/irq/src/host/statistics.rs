//! What a line has counted since it was opened.

// Nothing depends on their order: loom does not have to explore it.
use core::sync::atomic::{AtomicU32, Ordering};

/// What a line has counted since it was opened. Counts wrap at 2^32.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LineStatistics {
    /// Interrupts that were handed to the guest with their completion.
    pub forwarded: u32,
    /// Interrupts that were signalled in the ordinary way.
    pub signalled: u32,
    /// Interrupts that came although the line was quiet. They are taken back, and come again when it is not.
    pub spurious: u32,
    /// How often the line was shut because it asked too often.
    pub storms: u32,
    /// How often the line was shut because nobody could take its interrupt.
    pub undeliverable: u32,
}

/// Where a line counts.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) forwarded: AtomicU32,
    pub(super) signalled: AtomicU32,
    pub(super) spurious: AtomicU32,
    pub(super) storms: AtomicU32,
    pub(super) undeliverable: AtomicU32,
}

impl Counters {
    pub(super) fn new() -> Self {
        let zero = || AtomicU32::new(0);
        Self { forwarded: zero(), signalled: zero(), spurious: zero(), storms: zero(), undeliverable: zero() }
    }

    /// Counts one more. Only the CPU that took the interrupt counts it, and the interrupt is active meanwhile.
    #[inline]
    pub(super) fn count(counter: &AtomicU32) {
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Takes one back, in the same circumstances.
    pub(super) fn uncount(counter: &AtomicU32) {
        counter.store(counter.load(Ordering::Relaxed).wrapping_sub(1), Ordering::Relaxed);
    }

    pub(super) fn reset(&self) {
        for counter in [&self.forwarded, &self.signalled, &self.spurious, &self.storms, &self.undeliverable] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn read(&self) -> LineStatistics {
        LineStatistics {
            forwarded: self.forwarded.load(Ordering::Relaxed),
            signalled: self.signalled.load(Ordering::Relaxed),
            spurious: self.spurious.load(Ordering::Relaxed),
            storms: self.storms.load(Ordering::Relaxed),
            undeliverable: self.undeliverable.load(Ordering::Relaxed),
        }
    }
}
