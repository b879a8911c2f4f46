//! Which eventfds wake this process.

use crate::Error;
use crate::kvm::eventfd::borrow;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::time::Duration;
use vmm_sys_util::eventfd::EventFd;

/// What an eventfd of a line is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wake {
    Device,
    Ended,
}

#[derive(Debug)]
pub(super) struct Poll {
    epoll: OwnedFd,
}

fn data(line: u64, wake: Wake) -> EventData {
    EventData::new_u64(line << 1 | u64::from(wake == Wake::Ended))
}

impl Poll {
    pub(super) fn new() -> Result<Self, Error> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)
            .map_err(|errno| Error::system("epoll_create1", "interrupts", errno))?;
        Ok(Self { epoll })
    }

    /// Lets an eventfd wake this process.
    pub(super) fn add(&self, eventfd: &EventFd, line: u64, wake: Wake) -> Result<(), Error> {
        epoll::add(&self.epoll, borrow(eventfd), data(line, wake), EventFlags::IN)
            .map_err(|errno| Error::system("epoll_ctl", "an interrupt's eventfd", errno))
    }

    /// Lets it wake nobody, and keeps its place, so that it can be let again without memory.
    pub(super) fn silence(&self, eventfd: &EventFd, line: u64, wake: Wake) {
        // It was added.
        let _ = epoll::modify(&self.epoll, borrow(eventfd), data(line, wake), EventFlags::empty());
    }

    /// Lets it wake this process again, at once if it was signalled meanwhile.
    pub(super) fn listen(&self, eventfd: &EventFd, line: u64, wake: Wake) {
        // It was added.
        let _ = epoll::modify(&self.epoll, borrow(eventfd), data(line, wake), EventFlags::IN);
    }

    pub(super) fn remove(&self, eventfd: &EventFd) {
        let _ = epoll::delete(&self.epoll, borrow(eventfd));
    }

    /// Waits. What is to be looked at; nothing when the time is over.
    pub(super) fn wait(&self, timeout: Option<Duration>) -> Result<Vec<(u64, Wake)>, Error> {
        let timeout = timeout.and_then(|time| Timespec::try_from(time).ok());
        let mut events = [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 32];
        let count = match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
            Ok(count) => count,
            Err(Errno::INTR) => 0,
            Err(errno) => return Err(Error::system("epoll_wait", "interrupts", errno)),
        };
        let wake = |number: u64| if number & 1 == 1 { Wake::Ended } else { Wake::Device };
        Ok(events[..count].iter().map(|event| (event.data.u64() >> 1, wake(event.data.u64()))).collect())
    }
}

impl AsFd for Poll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
