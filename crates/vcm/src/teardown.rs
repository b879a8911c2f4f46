//! What becomes of a teardown: it cannot fail, but the hardware may not be done with it.

/// The outcome of an operation that takes down: un-backing, deactivating.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Teardown {
    /// It is done: no transaction reaches the memory through what was taken down.
    Done,
    /// The hardware has not finished. What was taken down is in quarantine: counted, shown, not reused, until
    /// [`Graph::reap`](crate::Graph::reap) succeeds.
    Quarantined,
    /// Other activations of the same association remain: nothing was to be done yet.
    StillCounted,
    /// There was nothing to take down: it was not there, or was taken down before.
    NothingThere,
}

impl Teardown {
    /// The error number that a C interface answers: `ENOENT` when there was nothing to take down, else 0.
    pub const fn errno(self) -> i32 {
        match self {
            Self::NothingThere => crate::errno::ENOENT,
            Self::Done | Self::Quarantined | Self::StillCounted => 0,
        }
    }
}

/// What a run of the reaper brought back, and what is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reaped {
    /// Ranges whose unmapping is complete now.
    pub ranges: usize,
    /// Associations whose deactivation is complete now.
    pub associations: usize,
    /// Allocations whose memory went back to its pools.
    pub allocations: usize,
    /// Ranges and associations that are still in quarantine.
    pub remaining: usize,
}
