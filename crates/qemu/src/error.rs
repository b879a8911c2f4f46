//! What goes wrong between this crate and QEMU.

use crate::version::Version;
use std::io;
use std::time::Duration;

/// What failed, what was asked, and what QEMU said about it.
///
/// After [`Error::TimedOut`], [`Error::Closed`], [`Error::Malformed`] and [`Error::Io`] on a connection, that
/// connection is dead: replies could no longer be told apart. Everything asked of it later is [`Error::Dead`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The refusal.
        source: io::Error,
    },
    /// The program is not there, or does not run.
    #[error("{program} {needed} or newer is needed, but it does not run: {why}")]
    Missing {
        /// The program's name.
        program: String,
        /// The oldest version that is good.
        needed: Version,
        /// How running it ended.
        why: String,
    },
    /// The program is older than it may be.
    #[error("{program} {needed} or newer is needed, but this one is {found}")]
    TooOld {
        /// The program's name.
        program: String,
        /// The oldest version that is good.
        needed: Version,
        /// The version that is there.
        found: Version,
    },
    /// QEMU ended before it connected.
    #[error("QEMU ended before it connected ({status}); command: {command}; stderr: {stderr:?}")]
    Start {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// The end of what it printed to stderr.
        stderr: String,
    },
    /// Nothing came in time.
    #[error("no reply to {asked:?} within {waited:?}; QEMU's stderr: {stderr:?}")]
    TimedOut {
        /// What was asked.
        asked: String,
        /// How long was waited.
        waited: Duration,
        /// The end of what QEMU printed to stderr.
        stderr: String,
    },
    /// QEMU closed the connection, most likely because it died.
    #[error("QEMU closed the connection at {asked:?}; its stderr: {stderr:?}")]
    Closed {
        /// What was asked.
        asked: String,
        /// The end of what QEMU printed to stderr.
        stderr: String,
    },
    /// QEMU said what the protocol does not allow.
    #[error("reply {reply:?} to {asked:?}: {why}")]
    Malformed {
        /// What was asked.
        asked: String,
        /// The start of the reply.
        reply: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// QEMU understood and refused. The connection lives on.
    #[error("QEMU refuses {asked:?}: {answer}")]
    Refused {
        /// What was asked.
        asked: String,
        /// The reason that QEMU gave.
        answer: String,
    },
    /// The caller's argument is bad. Nothing was sent, the connection lives on.
    #[error("{what}")]
    Argument {
        /// Which, and what it may be.
        what: String,
    },
    /// An earlier error ended this connection.
    #[error("the connection to QEMU is dead since: {cause}")]
    Dead {
        /// The earlier error.
        cause: String,
    },
}

impl Error {
    pub(crate) fn argument(what: impl Into<String>) -> Self {
        Self::Argument { what: what.into() }
    }

    /// For `map_err`: an error of the operating system, with what was being done.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// In the middle of a transfer.
impl From<Error> for vcm_platform::job::Stop {
    fn from(error: Error) -> Self {
        Self::broken(error)
    }
}

/// The start of a text that may be long, for error messages.
pub(crate) fn shortened(text: &[u8]) -> String {
    const SHOWN: usize = 160;
    let mut shown = String::from_utf8_lossy(&text[..text.len().min(SHOWN)]).into_owned();
    if text.len() > SHOWN {
        shown.push_str(&format!("... ({} bytes)", text.len()));
    }
    shown
}
