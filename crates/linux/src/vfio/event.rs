//! Counters that the kernel adds to and that can be waited for: eventfds.

use crate::Error;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, read, write};
use std::time::{Duration, Instant};

/// An eventfd.
#[derive(Debug)]
pub(crate) struct Event(OwnedFd);

impl Event {
    pub(crate) fn new() -> Result<Self, Error> {
        let made = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        made.map(Self).map_err(|errno| Error::system("eventfd", "an interrupt", errno))
    }

    /// Another descriptor of the same.
    pub(crate) fn duplicate(&self) -> Result<Self, Error> {
        duplicate(self.0.as_fd()).map(Self)
    }

    /// How often it was signalled since this was asked last. Does not wait.
    pub(crate) fn take(&self) -> Result<u64, Error> {
        let mut bytes = [0; 8];
        match read(&self.0, &mut bytes) {
            Ok(_) => Ok(u64::from_ne_bytes(bytes)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(errno) => Err(Error::system("read", "an eventfd", errno)),
        }
    }

    /// Adds one.
    pub(crate) fn signal(&self) {
        // It fails when the count is at its end: whoever waits is awake then.
        let _ = write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Waits until it is signalled, at most so long; without a limit for `None`. Answers the count, 0 after the limit.
    pub(crate) fn wait(&self, limit: Option<Duration>) -> Result<u64, Error> {
        // What cannot be added to now is a wait without end.
        let end = limit.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            let count = self.take()?;
            if count != 0 {
                return Ok(count);
            }
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ok(0);
            }
            let timeout = left.map(|left| Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            });
            match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::system("poll", "an eventfd", errno)),
            }
        }
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Another descriptor of the same file.
pub(crate) fn duplicate(descriptor: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    rustix::io::fcntl_dupfd_cloexec(descriptor, 0)
        .map_err(|errno| Error::system("fcntl(F_DUPFD_CLOEXEC)", "an eventfd", errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_waits() {
        let event = Event::new().unwrap();
        assert_eq!(event.take().unwrap(), 0);
        assert_eq!(event.wait(Some(Duration::from_millis(5))).unwrap(), 0);
        event.signal();
        event.duplicate().unwrap().signal();
        assert_eq!(event.wait(None).unwrap(), 2);
        assert_eq!(event.take().unwrap(), 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(5));
                event.signal();
            });
            assert_eq!(event.wait(Some(Duration::MAX)).unwrap(), 1);
        });
    }
}
