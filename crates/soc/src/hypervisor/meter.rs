//! How long the host works for interrupts, for benchmarks.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Accesses by which the stop-watch measures itself.
const TRIALS: u32 = 1000;

/// A stop-watch that runs while the host's own code does, and stands still while the simulated hardware works for it.
#[derive(Debug, Default)]
pub(super) struct Meter {
    on: AtomicBool,
    /// Whether the host's code runs.
    runs: AtomicBool,
    /// Nanoseconds of the host's code, with the hardware's part.
    host: AtomicU64,
    /// Nanoseconds of the hardware's part.
    hardware: AtomicU64,
    /// How often the hardware was at work.
    accesses: AtomicU64,
    /// What the stop-watch takes for each of these, in picoseconds.
    own: AtomicU64,
}

impl Meter {
    /// Begins to measure.
    pub(super) fn start(&self) {
        self.on.store(true, Relaxed);
        self.own.store(0, Relaxed);
        self.reset();
        self.host(|| (0..TRIALS).for_each(|_| self.hardware(|| ())));
        self.own.store(self.elapsed().as_nanos() as u64 * 1000 / u64::from(TRIALS), Relaxed);
        self.reset();
    }

    fn reset(&self) {
        for sum in [&self.host, &self.hardware, &self.accesses] {
            sum.store(0, Relaxed);
        }
    }

    /// How long the host's code ran since.
    pub(super) fn elapsed(&self) -> Duration {
        let own = self.own.load(Relaxed) * self.accesses.load(Relaxed) / 1000;
        let others = self.hardware.load(Relaxed) + own;
        Duration::from_nanos(self.host.load(Relaxed).saturating_sub(others))
    }

    /// Does something that is the host's work.
    pub(super) fn host<T>(&self, work: impl FnOnce() -> T) -> T {
        if !self.on.load(Relaxed) || self.runs.swap(true, Relaxed) {
            return work();
        }
        let done = measure(&self.host, work);
        self.runs.store(false, Relaxed);
        done
    }

    /// Does something that is the hardware's, perhaps within the host's work.
    pub(super) fn hardware<T>(&self, work: impl FnOnce() -> T) -> T {
        if !self.runs.load(Relaxed) {
            return work();
        }
        self.accesses.fetch_add(1, Relaxed);
        measure(&self.hardware, work)
    }
}

fn measure<T>(sum: &AtomicU64, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    sum.fetch_add(start.elapsed().as_nanos() as u64, Relaxed);
    done
}
