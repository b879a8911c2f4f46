//! What goes wrong with a controller.

use std::time::Duration;
use vcm::{Iova, PhysicalAddress};

/// A status that is not success (4.6.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NvmeRejected {
    /// What the command was to do.
    pub command: &'static str,
    /// Its first block, for reads and writes.
    pub block: u64,
    /// SCT: 0 generic, 1 of the command, 2 media and data integrity.
    pub code_type: u8,
    /// SC.
    pub code: u8,
}

/// Why a controller or one of its queues did not do what was asked.
///
/// After [`Self::TimedOut`], [`Self::Garbage`] and [`Self::Fatal`] a queue cannot be trusted, and commands may still be
/// under way: everything is refused with [`Self::Stopped`]. What was given to it must not be reused before
/// [`Nvme::delete_queue`](super::Nvme::delete_queue), [`Nvme::restart`](super::Nvme::restart) or
/// [`Nvme::stop`](super::Nvme::stop) answered without error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NvmeError {
    /// The controller refused a command. It works on.
    #[error(
        "{} at block {}: status type {}, code {:#04x}", .0.command, .0.block, .0.code_type, .0.code
    )]
    Rejected(NvmeRejected),
    /// It did not answer.
    #[error("no answer within {waited:?} while {what}")]
    TimedOut {
        /// What was being done.
        what: &'static str,
        /// How long was waited.
        waited: Duration,
    },
    /// It completed what was not asked, or told what cannot be.
    #[error("it says what cannot be: {what}")]
    Garbage {
        /// What it said.
        what: String,
    },
    /// It reports a fatal error (CSTS.CFS), or answers with all ones.
    #[error("a fatal error: CSTS is {status:#x}")]
    Fatal {
        /// Its status register.
        status: u32,
    },
    /// It was stopped, or an earlier error made it useless.
    #[error("it is stopped")]
    Stopped,
    /// It has no room for another command now.
    #[error("its queue is full")]
    Full,
    /// All queues that the controller gives us are in use.
    #[error("all {queues} queues are in use")]
    NoQueue {
        /// How many it gave.
        queues: u16,
    },
    /// The queue is another controller's.
    #[error("the queue is another controller's")]
    Foreign,
    /// It cannot do what this driver needs, or a configuration cannot be.
    #[error("it needs {what}")]
    NotSupported {
        /// What.
        what: String,
    },
    /// A page that was given to it is not a page.
    #[error("the page at {device}, {memory} in memory, is not at a multiple of {page_len:#x}")]
    Page {
        /// Where the device has it.
        device: Iova,
        /// Where it is.
        memory: PhysicalAddress,
        /// The size of a page in bytes.
        page_len: u64,
    },
    /// The caller has no page for it.
    #[error("there is no memory for its queues")]
    NoMemory,
    /// The caller's blocks or memory cannot be.
    #[error("{len:#x} bytes from block {block} on with memory at {memory}: {why}")]
    Range {
        /// The first block.
        block: u64,
        /// The length in bytes.
        len: u64,
        /// Where the data is.
        memory: Iova,
        /// What is wrong.
        why: &'static str,
    },
}
