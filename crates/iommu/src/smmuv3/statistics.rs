//! What the driver counts.

/// What the driver did, and met, since it was probed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Commands written, completions included.
    pub commands: u64,
    /// `CMD_SYNC`s that were seen to complete.
    pub completions: u64,
    /// Commands that the hardware refused (`CERROR_ILL`), and that were replaced.
    pub refused_commands: u64,
    /// Times that the hardware could not read a command (`CERROR_ABT`), or reported another error of the queue.
    pub command_aborts: u64,
    /// Invalidations of all that a domain has cached, for want of a quicker way.
    pub whole_invalidations: u64,
    /// Events reported as faults.
    pub faults: u64,
    /// Of those, the ones of a kind that the driver does not know.
    pub unknown_events: u64,
    /// Events that are hints, and no faults.
    pub hints: u64,
    /// Times that the event queue was full when an event came.
    pub event_overflows: u64,
    /// Times that the event queue could not be written.
    pub event_aborts: u64,
    /// Global errors of other kinds: messages that could not be written.
    pub other_errors: u64,
    /// Stalled transactions that were terminated because there was no room to remember them.
    pub stalls_given_up: u64,
    /// Times that the hardware did not answer, or made no sense.
    pub unresponsive: u64,
}
