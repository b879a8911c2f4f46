//! What a user may ask for.

use crate::Token;
use crate::host::{OpenLine, Trigger};

/// What is to be done with interrupts (`VFIO_IRQ_SET_ACTION_*`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// Connects their triggers; without triggers, signals those which are connected, to test them.
    Trigger,
    /// Masks them.
    Mask,
    /// Unmasks them. What is in flight is done with.
    Unmask,
}

/// With which of the interrupts (`VFIO_IRQ_SET_DATA_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Data<'a> {
    /// With all `count`. Triggering none disables the index.
    None {
        /// How many.
        count: u32,
    },
    /// With those that are true.
    Bool(&'a [bool]),
    /// Each with its trigger; `None` (-1 in Linux) disables it.
    Eventfd(&'a [Option<Token>]),
}

impl Data<'_> {
    /// About how many interrupts it is.
    pub const fn count(&self) -> usize {
        match self {
            Self::None { count } => *count as usize,
            Self::Bool(which) => which.len(),
            Self::Eventfd(triggers) => triggers.len(),
        }
    }
}

/// A request about the interrupts of an index (`struct vfio_irq_set`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request<'a> {
    /// What is to be done.
    pub action: Action,
    /// The index.
    pub index: u32,
    /// The first interrupt in it.
    pub start: u32,
    /// With which.
    pub data: Data<'a>,
}

/// Where a device's triggers lead, and who wants to know of them.
///
/// The two calls are for who joins a line with the consumer of its trigger
/// ([`kvm::Bypass`](crate::kvm::Bypass)): Linux does the same with its interrupt bypass manager. They are not
/// made from an interrupt handler, and must not change the device's interrupts.
pub trait Signals: Trigger {
    /// `token` was connected to `line`.
    fn connected(&self, line: OpenLine, token: Token) {
        let _ = (line, token);
    }

    /// `token` is about to be disconnected. When this returns, nobody but the device uses the line.
    fn disconnecting(&self, line: OpenLine, token: Token) {
        let _ = (line, token);
    }
}
