//! The automasked way: what this process does for an interrupt.

use super::source::InterruptSource;
use super::table::{Shared, lock};
use crate::Error;
use rustix::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

/// What a call of [`Relay::dispatch`] did.
#[derive(Debug, Default)]
pub struct Relayed {
    /// How many signals and ends it passed on. Several signals of a message that came in between are one.
    pub passed_on: usize,
    /// What a device refused to unmask for. Its interrupt stays masked.
    pub failed: Vec<Error>,
}

/// The VMM's own loop for the interrupts of one control that are not forwarded. It belongs in the VMM's event loop
/// ([`AsFd`], readable when there is something to do), or in a thread of its own.
#[derive(Clone, Debug)]
pub struct Relay<S: InterruptSource> {
    shared: Arc<Shared<S>>,
}

impl<S: InterruptSource> Relay<S> {
    pub(super) const fn of(shared: Arc<Shared<S>>) -> Self {
        Self { shared }
    }

    /// Waits until there is something to do, or `timeout` is over (never, with `None`), and does what there is.
    ///
    /// # Errors
    /// The kernel's, of waiting. What a device refuses is told in the answer.
    pub fn dispatch(&self, timeout: Option<Duration>) -> Result<Relayed, Error> {
        let mut relayed = Relayed::default();
        for (number, wake) in self.shared.poll.wait(timeout)? {
            // One that was taken back meanwhile is not here any more.
            let Some(line) = self.shared.table().numbered(number) else { continue };
            let passed_on = lock(&line).relay(wake);
            match passed_on {
                Ok(passed_on) => relayed.passed_on += usize::from(passed_on),
                Err(error) => relayed.failed.push(error),
            }
        }
        Ok(relayed)
    }
}

impl<S: InterruptSource> AsFd for Relay<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.poll.as_fd()
    }
}
