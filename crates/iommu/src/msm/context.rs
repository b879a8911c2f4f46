//! A virtual context, and the seat that it has in a bank.

use super::{ContextId, MasterId, TableRoots};
use vcm::List;

/// A virtual context.
#[derive(Debug)]
pub(super) struct Context {
    /// The masters whose transactions it takes.
    pub(super) masters: List<MasterId>,
    /// Its tables, while it is active.
    pub(super) active: Option<TableRoots>,
    /// The bank in which it sits, or which it could not leave.
    pub(super) bank: Option<u8>,
    /// How often it is held.
    pub(super) holds: u32,
    /// Whether a transaction of it is stalled and was reported.
    pub(super) stalled: bool,
    /// The clock when it was last used: the smallest is the oldest idle.
    pub(super) used_at: u64,
    /// Destroyed by its owner, but its bank is not left yet.
    pub(super) doomed: bool,
}

impl Context {
    pub(super) const fn new(masters: List<MasterId>) -> Self {
        Self { masters, active: None, bank: None, holds: 0, stalled: false, used_at: 0, doomed: false }
    }
}

/// Who sits in a bank, and with what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Seat {
    pub(super) context: ContextId,
    /// The address-space id that tags the TLB entries.
    pub(super) asid: u8,
    /// The tables that the bank is programmed with.
    pub(super) roots: TableRoots,
}

/// A hardware context bank.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bank {
    /// Reset, disabled, nothing in the TLB.
    Free,
    /// It translates for a context.
    Taken(Seat),
    /// In an unknown state: programming or leaving it was not seen to complete. Neither the bank nor the ASID
    /// goes to anybody until leaving it completes.
    Quarantined(Seat),
}

impl Bank {
    /// Who sits or sat in it.
    pub(super) const fn seat(&self) -> Option<&Seat> {
        match self {
            Self::Free => None,
            Self::Taken(seat) | Self::Quarantined(seat) => Some(seat),
        }
    }
}
