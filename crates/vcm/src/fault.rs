//! A transaction that an IOMMU refused, and what may be answered.

use crate::hardware::DeviceHandle;
use core::fmt;

/// What a refused transaction wanted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FaultAccess {
    /// To read data.
    Read,
    /// To write data.
    Write,
    /// To fetch an instruction.
    Execute,
}

impl fmt::Display for FaultAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Execute => "execute",
        })
    }
}

/// Why a transaction was refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FaultReason {
    /// Nothing is mapped at the address.
    Translation,
    /// Something is mapped, but not for this access.
    Permission,
    /// The entry's access flag is clear.
    AccessFlag,
    /// No active context takes the device's transactions.
    NoContext,
    /// The walk read a table from where no memory answers.
    TableWalk,
    /// The TLB holds entries that contradict each other.
    TlbConflict,
    /// The translated address is one where no memory answers.
    Bus,
    /// An address is wider than the tables, or what they lead to, can be.
    AddressSize,
    /// What the IOMMU was told of the device, or of its tables, makes no sense to it.
    Configuration,
}

impl fmt::Display for FaultReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Translation => "translation",
            Self::Permission => "permission",
            Self::AccessFlag => "access-flag",
            Self::NoContext => "no-context",
            Self::TableWalk => "table-walk",
            Self::TlbConflict => "tlb-conflict",
            Self::Bus => "bus",
            Self::AddressSize => "address-size",
            Self::Configuration => "configuration",
        })
    }
}

/// Whether the transaction waits for an answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FaultState {
    /// The transaction waits: it can be retried or terminated.
    Stalled,
    /// The transaction is over: whatever is answered, it was terminated.
    Terminated,
}

/// A refused transaction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fault {
    /// Whose transaction it was.
    pub device: DeviceHandle,
    /// Where it wanted to go: an address of the device's region, in bytes.
    pub address: u64,
    /// What it wanted.
    pub access: FaultAccess,
    /// Why it was refused.
    pub reason: FaultReason,
    /// Whether it waits.
    pub state: FaultState,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} fault: {} at {:#x}", self.reason, self.access, self.address)
    }
}

/// What a fault hook answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Answer {
    /// The cause is mended (a reservation was backed, say): try the transaction again.
    Retry,
    /// Give the transaction up; the device sees a bus error.
    Terminate,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Retry => "retry",
            Self::Terminate => "terminate",
        })
    }
}

/// How often in a row a hook may answer a retry for one address before the transaction is terminated: a hook that
/// mends nothing must not hang the machine.
pub const RETRY_LIMIT: u32 = 16;

/// Counts a device's retries, and overrules the one too many.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Retries {
    /// The address of the last retry, and how many there were in a row.
    last: Option<(u64, u32)>,
}

impl Retries {
    /// What the hardware is to be told when a hook answered `answer`. It is another answer only when this is the
    /// [`RETRY_LIMIT`]th retry at one address, or when the transaction is over anyway.
    pub fn judge(&mut self, fault: &Fault, answer: Answer) -> Answer {
        let before = match self.last.take() {
            Some((address, count)) if address == fault.address => count,
            _ => 0,
        };
        if answer == Answer::Terminate || fault.state == FaultState::Terminated || before + 1 >= RETRY_LIMIT {
            return Answer::Terminate;
        }
        self.last = Some((fault.address, before + 1));
        Answer::Retry
    }
}
