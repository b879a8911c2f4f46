//! What can go wrong, and who is to blame.

use super::{ContextId, MasterId, RootsError};
use core::fmt;
use vcm::{FaultReason, HardwareErrorKind, Label, OutOfMemory};

/// The device did not answer as it must: it is off, hung or gone. What was under way is not known to have
/// completed, and what it concerns is quarantined.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("smmu {label}: {register} (offset {offset:#x}) reads {found:#x}, not {expected:#x}")]
pub struct Unresponsive {
    /// The SMMU's name.
    pub label: Label,
    /// The register that gave it away.
    pub register: &'static str,
    /// Its offset in the window, in bytes.
    pub offset: u32,
    /// What it would read, were the device alive.
    pub expected: u32,
    /// What it read.
    pub found: u32,
}

/// Why an SMMU cannot be driven.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProbeError {
    /// No SMMU answers in the window: its identification reads all zeros or all ones.
    #[error("smmu {label}: nothing answers, IDR reads {idr:#x}")]
    Absent {
        /// The SMMU's name.
        label: Label,
        /// What the identification register read.
        idr: u32,
    },
    /// It claims more banks than fit into its window.
    #[error("smmu {label}: IDR claims {banks} context banks, the window has room for 255")]
    TooManyBanks {
        /// The SMMU's name.
        label: Label,
        /// What it claims.
        banks: u32,
    },
    /// It stopped answering during initialisation.
    #[error(transparent)]
    Unresponsive(#[from] Unresponsive),
    /// No memory for the driver's bookkeeping.
    #[error("out of memory for the driver's bookkeeping")]
    OutOfMemory,
}

impl From<OutOfMemory> for ProbeError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// Why a request was refused. Nothing changed, unless it is [`Unresponsive`](Self::Unresponsive).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SmmuError {
    /// There is no such context any more.
    #[error("{0} does not exist")]
    UnknownContext(ContextId),
    /// A context needs a master at least.
    #[error("a context without masters")]
    NoMasters,
    /// The SMMU has no such master.
    #[error("{master} asked for, the SMMU has {masters}")]
    MasterOutOfRange {
        /// What was asked for.
        master: MasterId,
        /// How many there are.
        masters: u16,
    },
    /// The master belongs to another context.
    #[error("{master} belongs to {owner}")]
    MasterOwned {
        /// What was asked for.
        master: MasterId,
        /// Who has it.
        owner: ContextId,
    },
    /// The master is named twice.
    #[error("{0} is named twice")]
    MasterRepeated(MasterId),
    /// The context is not active.
    #[error("{0} is not active")]
    NotActive(ContextId),
    /// The context is active already; its tables are changed with `set_roots`.
    #[error("{0} is active already")]
    AlreadyActive(ContextId),
    /// The context was destroyed, and waits for the device to let go of it.
    #[error("{0} is being destroyed")]
    Destroyed(ContextId),
    /// The hardware cannot take the tables.
    #[error("table roots: {0}")]
    Roots(#[from] RootsError),
    /// Every bank is taken, and none of those who sit there is idle.
    #[error("no free context bank: {0}")]
    NoFreeSlot(Holders),
    /// The context has no stalled transaction.
    #[error("{0} has no stalled transaction")]
    NotStalled(ContextId),
    /// The device does not answer.
    #[error(transparent)]
    Unresponsive(#[from] Unresponsive),
    /// No memory for the driver's bookkeeping.
    #[error("out of memory for the driver's bookkeeping")]
    OutOfMemory,
}

impl From<OutOfMemory> for SmmuError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

impl SmmuError {
    /// The kind that the mapping graph knows it by.
    pub const fn kind(&self) -> HardwareErrorKind {
        match self {
            Self::UnknownContext(_)
            | Self::MasterOutOfRange { .. }
            | Self::NotActive(_)
            | Self::NotStalled(_)
            | Self::Destroyed(_) => HardwareErrorKind::Unknown,
            Self::NoMasters | Self::MasterRepeated(_) => HardwareErrorKind::NotSupported,
            Self::MasterOwned { .. } | Self::AlreadyActive(_) => HardwareErrorKind::Occupied,
            Self::Roots(_) => HardwareErrorKind::Address,
            Self::NoFreeSlot(_) => HardwareErrorKind::NoFreeSlot,
            Self::Unresponsive(_) => HardwareErrorKind::Unresponsive,
            Self::OutOfMemory => HardwareErrorKind::OutOfMemory,
        }
    }
}

/// Why a context does not give up its bank.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Busy {
    /// It is held: transactions are expected.
    Held,
    /// A transaction of it is stalled, or a fault of it was not looked at yet.
    Faulted,
    /// The bank is quarantined: the device did not answer.
    Quarantined,
}

/// A context that does not give up its bank.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Holder {
    /// The bank.
    pub bank: u8,
    /// Who sits there.
    pub context: ContextId,
    /// Why it stays.
    pub busy: Busy,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.busy {
            Busy::Held => "held by",
            Busy::Faulted => "kept by a fault of",
            Busy::Quarantined => "quarantined with",
        };
        write!(f, "bank {} {why} {}", self.bank, self.context)
    }
}

/// The contexts that do not give up their banks: the first four by name, as many as these SMMUs have banks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Holders {
    named: [Option<Holder>; 4],
    count: usize,
}

impl Holders {
    pub(super) fn add(&mut self, holder: Holder) {
        if let Some(place) = self.named.get_mut(self.count) {
            *place = Some(holder);
        }
        self.count += 1;
    }

    /// Those that are named, in the order of banks.
    pub fn iter(&self) -> impl Iterator<Item = Holder> + '_ {
        self.named.iter().flatten().copied()
    }

    /// How many there are, the unnamed included.
    pub const fn count(&self) -> usize {
        self.count
    }
}

/// As `bank 0 held by context 2, bank 1 held by context 3`.
impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, holder) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            holder.fmt(f)?;
        }
        match self.count.saturating_sub(self.named.len()) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Why the hardware did not translate an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TranslateFault {
    /// A transaction there would fault.
    #[error("{0} fault")]
    Fault(FaultReason),
    /// The address has more than 32 bits.
    #[error("the address has more than 32 bits")]
    Beyond32Bits,
    /// The SMMU could not be asked.
    #[error(transparent)]
    Smmu(#[from] SmmuError),
}
