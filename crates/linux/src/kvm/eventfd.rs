//! Eventfds, as this module uses them: never blocking.
#![allow(unsafe_code, reason = "an EventFd of vmm-sys-util does not lend its descriptor by a safe function")]

use crate::Error;
use rustix::event::EventfdFlags;
use rustix::fd::BorrowedFd;
use std::os::fd::AsRawFd;
use vmm_sys_util::eventfd::EventFd;

pub(super) fn eventfd() -> Result<EventFd, Error> {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    EventFd::new(flags.bits() as i32).map_err(|error| {
        let errno = rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::NOMEM);
        Error::system("eventfd", "this process", errno).with_help("more descriptors: `ulimit -n`")
    })
}

/// Its descriptor.
pub(crate) fn borrow(eventfd: &EventFd) -> BorrowedFd<'_> {
    // SAFETY: it is open as long as the EventFd, which is borrowed as long.
    unsafe { BorrowedFd::borrow_raw(eventfd.as_raw_fd()) }
}

/// Whether it was signalled since the last time.
pub(super) fn take(eventfd: &EventFd) -> bool {
    eventfd.read().is_ok_and(|count| count > 0)
}

/// Signals it. That fails only when 2^64 - 2 signals wait, and then it is signalled.
pub(super) fn signal(eventfd: &EventFd) {
    let _ = eventfd.write(1);
}
