//! How often a line may ask.

// Nothing depends on its order: loom does not have to explore it.
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The most interrupts of one line in a period. A line that has more is shut: it is disabled and deactivated,
/// and its storm counted, until somebody [rearms](super::Host::rearm) it. So one guest's device does not
/// starve another guest. It is each line's own: a guest with many devices may have as many as all of them
/// together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StormLimit {
    /// How many are allowed in a period; the next one is too many.
    pub interrupts: u32,
    /// How long a period is, in ticks of the clock whose time [`Host::handle`](super::Host::handle) is told.
    pub period: u32,
}

impl StormLimit {
    /// No limit.
    pub const NONE: Self = Self { interrupts: u32::MAX, period: 0 };
}

impl Default for StormLimit {
    /// 100,000 a second, of a clock that counts microseconds: more than a fast network card asks for, and less than
    /// what keeps a CPU from everything else.
    fn default() -> Self {
        Self { interrupts: 100_000, period: 1_000_000 }
    }
}

/// The count of one line: when its period began, and how many there were since.
#[derive(Debug)]
pub(super) struct Rate {
    start: AtomicU64,
    count: AtomicU32,
}

impl Rate {
    pub(super) fn new() -> Self {
        Self { start: AtomicU64::new(0), count: AtomicU32::new(0) }
    }

    pub(super) fn reset(&self) {
        self.start.store(0, Ordering::Relaxed);
        self.count.store(0, Ordering::Relaxed);
    }

    /// Counts one at `now`, and says whether it is one too many.
    ///
    /// Only the CPU that acknowledged an interrupt counts it, and the interrupt is active meanwhile: nobody else does.
    #[inline]
    pub(super) fn exceeds(&self, limit: StormLimit, now: u64) -> bool {
        let start = self.start.load(Ordering::Relaxed);
        let count = if now.wrapping_sub(start) < u64::from(limit.period) {
            self.count.load(Ordering::Relaxed).saturating_add(1)
        } else {
            self.start.store(now, Ordering::Relaxed);
            1
        };
        self.count.store(count, Ordering::Relaxed);
        count > limit.interrupts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_too_many_in_a_period() {
        let limit = StormLimit { interrupts: 2, period: 100 };
        let rate = Rate::new();
        assert!(!rate.exceeds(limit, 1000));
        assert!(!rate.exceeds(limit, 1001));
        assert!(rate.exceeds(limit, 1099));
        assert!(!rate.exceeds(limit, 1100), "a new period");
    }

    #[test]
    fn the_clock_wraps() {
        let limit = StormLimit { interrupts: 1, period: 100 };
        let rate = Rate::new();
        assert!(!rate.exceeds(limit, u64::MAX));
        assert!(rate.exceeds(limit, 50));
        assert!(!rate.exceeds(limit, 150));
    }
}
