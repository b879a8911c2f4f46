//! What can go wrong with any IOMMU, and who is to blame.

use crate::{DomainId, StreamId, TableFormat};
use core::fmt;
use vcm::{HardwareError, HardwareErrorKind, Label, OutOfMemory};

/// What an IOMMU, or its driver, may be unable to do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Feature {
    /// Translation by tables of this format.
    Format(TableFormat),
    /// Two tables one after the other.
    Nested,
    /// Device addresses that are physical addresses.
    Identity,
    /// Mappings without tables, by request.
    Requests,
    /// Telling where an address leads.
    Translate,
    /// Transactions that wait for an answer to their fault.
    Stalls,
    /// Process address spaces of a device.
    Substreams,
    /// Translating message-signalled interrupts.
    InterruptRemapping,
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(format) => format.fmt(f),
            Self::Nested => f.write_str("nested translation"),
            Self::Identity => f.write_str("pass-through"),
            Self::Requests => f.write_str("mapping by request"),
            Self::Translate => f.write_str("asking where an address leads"),
            Self::Stalls => f.write_str("stalled transactions"),
            Self::Substreams => f.write_str("substreams"),
            Self::InterruptRemapping => f.write_str("interrupt remapping"),
        }
    }
}

/// The IOMMU did not answer as it must: it is off, hung, gone or out of its mind. What was under way is not known to
/// have completed, and what it concerns is quarantined.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("iommu {label}: {what}")]
pub struct Unresponsive {
    /// The IOMMU's name.
    pub label: Label,
    /// What was waited for, or found: "CMD_SYNC did not complete".
    pub what: &'static str,
}

/// Why an IOMMU cannot be driven.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProbeError {
    /// No such IOMMU answers in the window.
    #[error("iommu {label}: nothing answers, {register} reads {found:#x}")]
    Absent {
        /// The IOMMU's name.
        label: Label,
        /// The register that gave it away.
        register: &'static str,
        /// What it read.
        found: u64,
    },
    /// It is one that the driver does not know to drive.
    #[error("iommu {label}: {what} ({register} reads {found:#x})")]
    Unknown {
        /// The IOMMU's name.
        label: Label,
        /// What is missing or strange.
        what: &'static str,
        /// The register that says so.
        register: &'static str,
        /// What it read.
        found: u64,
    },
    /// It stopped answering during initialisation.
    #[error(transparent)]
    Unresponsive(#[from] Unresponsive),
    /// No memory for queues and tables, or for the driver's bookkeeping.
    #[error("out of memory for queues and tables")]
    OutOfMemory,
}

impl From<OutOfMemory> for ProbeError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// Why a request was refused. Nothing changed, unless it is [`Unresponsive`](Self::Unresponsive).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IommuError {
    /// The IOMMU cannot do it at all, or the driver does not.
    #[error("{0} is not supported")]
    NotSupported(Feature),
    /// There is no such domain any more.
    #[error("{0} does not exist")]
    UnknownDomain(DomainId),
    /// The IOMMU has no such stream.
    #[error("{stream} asked for, the last one is {last}")]
    StreamOutOfRange {
        /// What was asked for.
        stream: StreamId,
        /// The last one that there is.
        last: StreamId,
    },
    /// The stream is attached to no domain.
    #[error("{0} is not attached")]
    NotAttached(StreamId),
    /// A stream is attached to the domain still.
    #[error("{domain} is in use by {stream}")]
    InUse {
        /// The domain.
        domain: DomainId,
        /// One of those attached.
        stream: StreamId,
    },
    /// Every number that tags a domain's cached translations (ASID, VMID, domain id) is taken.
    #[error("all {0} domain numbers are taken")]
    NoFreeSlot(u32),
    /// The IOMMU cannot walk a table there.
    #[error("a root at {root:#x}: it must be a multiple of {align:#x} and below {limit:#x}")]
    Root {
        /// Where it is.
        root: u64,
        /// What it must be a multiple of.
        align: u64,
        /// What it must be below.
        limit: u64,
    },
    /// The address or length is not one that can be mapped.
    #[error("{len:#x} bytes at {at:#x} cannot be mapped")]
    Address {
        /// The first address.
        at: u64,
        /// How many bytes.
        len: u64,
    },
    /// The attributes have no expression here; they are refused, never dropped.
    #[error("attributes that this IOMMU cannot express")]
    Attributes,
    /// Something is mapped there already.
    #[error("something is mapped at {0:#x} already")]
    Occupied(u64),
    /// Asked where an address leads, the IOMMU says: nowhere.
    #[error("nothing is mapped at {0:#x}")]
    NotMapped(u64),
    /// The transaction does not wait, or not any more.
    #[error("{0} has no such stalled transaction")]
    NotStalled(StreamId),
    /// The IOMMU does not answer.
    #[error(transparent)]
    Unresponsive(#[from] Unresponsive),
    /// No memory for tables of devices, or for the driver's bookkeeping.
    #[error("out of memory for the tables of devices")]
    OutOfMemory,
}

impl IommuError {
    /// The error as the mapping graph knows it.
    pub const fn kind(&self) -> HardwareErrorKind {
        match self {
            Self::NotSupported(_) => HardwareErrorKind::NotSupported,
            Self::UnknownDomain(_)
            | Self::StreamOutOfRange { .. }
            | Self::NotAttached(_)
            | Self::NotStalled(_) => HardwareErrorKind::Unknown,
            Self::InUse { .. } | Self::Occupied(_) => HardwareErrorKind::Occupied,
            Self::NoFreeSlot(_) => HardwareErrorKind::NoFreeSlot,
            Self::Root { .. } | Self::Address { .. } | Self::NotMapped(_) => HardwareErrorKind::Address,
            Self::Attributes => HardwareErrorKind::Attributes,
            Self::Unresponsive(_) => HardwareErrorKind::Unresponsive,
            Self::OutOfMemory => HardwareErrorKind::OutOfMemory,
        }
    }

    /// The error as the mapping graph knows it, of the IOMMU `at`.
    pub const fn of(&self, at: Label) -> HardwareError {
        HardwareError { kind: self.kind(), at }
    }
}

impl From<OutOfMemory> for IommuError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}
