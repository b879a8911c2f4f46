//! What goes wrong, where, and what to do about it.

use rustix::io::Errno;

/// Why something was not done. Unless its function says otherwise, nothing has changed then.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused a call.
    #[error("{call} of {object}: {}{}", describe(*.errno), advice(.help.as_ref()))]
    System {
        /// The call, by the name that the kernel's headers have for it: `VFIO_DEVICE_RESET`.
        call: &'static str,
        /// What it was about: a path, a device, a range.
        object: String,
        /// The kernel's answer.
        errno: Errno,
        /// What to do about it, if that is known.
        help: Option<String>,
    },
    /// This kernel, or this hardware, cannot do it.
    #[error("{what} is not supported: {why}")]
    NotSupported {
        /// What was asked.
        what: String,
        /// How it is known.
        why: String,
    },
    /// The caller asked for what cannot be.
    #[error("{what}: {why}")]
    Argument {
        /// What was asked.
        what: String,
        /// Why it cannot be.
        why: String,
    },
    /// More memory would be pinned than this process may.
    #[error(
        "{needed} bytes would be pinned, {pinned} are, and the limit is {limit}: raise it with \
         `ulimit -l {}` (root), `LimitMEMLOCK={}` in a systemd unit, or give the program CAP_IPC_LOCK",
        .pinned.saturating_add(*.needed).div_ceil(1024), .pinned.saturating_add(*.needed)
    )]
    LockedMemory {
        /// Bytes that the call would add.
        needed: u64,
        /// Bytes that are pinned already.
        pinned: u64,
        /// RLIMIT_MEMLOCK in bytes.
        limit: u64,
    },
    /// It failed half-way, and what had been done could not be undone: something may be mapped still.
    #[error("{error}, and what was done before could not be undone: {undoing}")]
    HalfDone {
        /// Why it failed.
        error: Box<Error>,
        /// Why undoing failed.
        undoing: Box<Error>,
    },
    /// Something is not there.
    #[error("{what} is missing: {help}")]
    Missing {
        /// What: a node, a device, a driver.
        what: String,
        /// What would bring it.
        help: String,
    },
    /// The kernel or a device answered what cannot be.
    #[error("{object} says what cannot be: {what}")]
    Garbage {
        /// Who.
        object: String,
        /// What it said.
        what: String,
    },
}

fn describe(errno: Errno) -> String {
    // std knows the text for the number.
    std::io::Error::from_raw_os_error(errno.raw_os_error()).to_string()
}

fn advice(help: Option<&String>) -> String {
    help.map_or_else(String::new, |help| format!(": {help}"))
}

impl Error {
    /// This error, unless undoing what had been done failed too.
    pub(crate) fn after_undoing(self, undone: Result<(), Self>) -> Self {
        match undone {
            Ok(()) => self,
            Err(undoing) => Self::HalfDone { error: Box::new(self), undoing: Box::new(undoing) },
        }
    }

    pub(crate) fn system(call: &'static str, object: impl Into<String>, errno: Errno) -> Self {
        Self::System { call, object: object.into(), errno, help: None }
    }

    pub(crate) fn argument(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Argument { what: what.into(), why: why.into() }
    }

    pub(crate) fn not_supported(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::NotSupported { what: what.into(), why: why.into() }
    }

    /// Says what to do about a refusal of the kernel's.
    #[must_use]
    pub(crate) fn with_help(self, text: impl Into<String>) -> Self {
        match self {
            Self::System { call, object, errno, help: _ } => {
                Self::System { call, object, errno, help: Some(text.into()) }
            }
            other => other,
        }
    }

    /// The error number: the kernel's own, or the one that the kernel gives in such a case.
    pub const fn errno(&self) -> Errno {
        match self {
            Self::System { errno, .. } => *errno,
            Self::NotSupported { .. } => Errno::OPNOTSUPP,
            Self::Argument { .. } => Errno::INVAL,
            Self::LockedMemory { .. } => Errno::NOMEM,
            Self::HalfDone { error, .. } => error.errno(),
            Self::Missing { .. } => Errno::NOENT,
            Self::Garbage { .. } => Errno::IO,
        }
    }
}
