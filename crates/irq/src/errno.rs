//! The numbers that a control interface answers with.

use core::fmt;

/// An error number of Linux (`include/uapi/asm-generic/errno-base.h`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(i32)]
pub enum Errno {
    /// ENXIO: there is no such attribute.
    NoSuchAttribute = 6,
    /// EBADF: there is no such descriptor.
    BadDescriptor = 9,
    /// EAGAIN: something is in flight; wait for it, and try again.
    Again = 11,
    /// ENOMEM.
    OutOfMemory = 12,
    /// EFAULT: the user's memory cannot be read.
    Fault = 14,
    /// EBUSY: it is somebody else's.
    Busy = 16,
    /// EINVAL: it makes no sense.
    Invalid = 22,
    /// ENOTTY: this cannot be done with such a thing.
    Unsupported = 25,
}

impl Errno {
    /// The number, which the interfaces give back negated.
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// Its name in Linux.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoSuchAttribute => "ENXIO",
            Self::BadDescriptor => "EBADF",
            Self::Again => "EAGAIN",
            Self::OutOfMemory => "ENOMEM",
            Self::Fault => "EFAULT",
            Self::Busy => "EBUSY",
            Self::Invalid => "EINVAL",
            Self::Unsupported => "ENOTTY",
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
