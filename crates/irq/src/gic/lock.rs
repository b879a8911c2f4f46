//! The lock around a register word that several interrupts share and that has no byte access.

use crate::sync::{AtomicU32, Ordering};

/// A spin lock around a few register accesses.
pub(super) struct Lock(AtomicU32);

impl Lock {
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Calls `work` while no other CPU is in here.
    pub(super) fn hold<T>(&self, work: impl FnOnce() -> T) -> T {
        while self.0.compare_exchange_weak(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            core::hint::spin_loop();
        }
        let result = work();
        self.0.store(0, Ordering::Release);
        result
    }
}
