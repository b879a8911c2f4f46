//! A transaction that an IOMMU refused, as its driver reports it.

use crate::StreamId;
use core::fmt;
use vcm::{DeviceHandle, Fault, FaultAccess, FaultReason, FaultState};

/// A transaction that an IOMMU refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FaultRecord {
    /// Whose transaction it was.
    pub stream: StreamId,
    /// The process address space that it named (PASID, substream, process id), if any.
    pub substream: Option<u32>,
    /// The address that it carried, in bytes. 0 where the hardware does not tell.
    pub address: u64,
    /// What it wanted.
    pub access: FaultAccess,
    /// Why it was refused.
    pub reason: FaultReason,
    /// Whether it waits for an answer.
    pub state: FaultState,
    /// What the hardware calls it: `F_TRANSLATION`.
    pub name: &'static str,
    /// The hardware's number for [`name`](Self::name).
    pub code: u32,
    /// Names a transaction that waits, for [`Iommu::answer`](crate::Iommu::answer).
    pub stall: Option<Stall>,
}

/// Names a transaction that waits for an answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Stall {
    /// Whose it is.
    pub stream: StreamId,
    /// The hardware's tag for it.
    pub tag: u16,
}

impl FaultRecord {
    /// The fault as the mapping graph knows it, of the device `device`.
    pub const fn of_device(&self, device: DeviceHandle) -> Fault {
        Fault { device, address: self.address, access: self.access, reason: self.reason, state: self.state }
    }
}

impl fmt::Display for FaultRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} fault ({}): {} of {}", self.reason, self.name, self.access, self.stream)?;
        if let Some(substream) = self.substream {
            write!(f, ", substream {substream:#x}")?;
        }
        write!(f, " at {:#x}", self.address)?;
        f.write_str(match self.state {
            FaultState::Stalled => ", stalled",
            FaultState::Terminated => ", terminated",
        })
    }
}
