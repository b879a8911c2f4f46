//! What the driver counts.

/// What the driver did since it was probed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Banks programmed for a context.
    pub seatings: u64,
    /// Of those, the ones that displaced another context: context switches.
    pub context_switches: u64,
    /// TLB invalidations by page.
    pub page_invalidations: u64,
    /// TLB invalidations of all of a context's entries.
    pub context_invalidations: u64,
    /// Faults reported.
    pub faults: u64,
    /// Faults that named no cause, or no transaction of a seated context.
    pub stray_faults: u64,
    /// Stalled transactions retried.
    pub retried: u64,
    /// Stalled transactions terminated, those at teardown included.
    pub terminated: u64,
    /// Times that the device did not answer.
    pub unresponsive: u64,
}
