//! What keeps a board from being built.

use crate::hardware::memory::MemoryError;
use crate::hardware::smmu::BadConfig;
use std::fmt;

/// A board that cannot be built.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BoardError {
    /// A memory that cannot be added.
    Memory(MemoryError),
    /// An SMMU that cannot be.
    Smmu(BadConfig),
    /// A memory of no size, or past the end of the address space.
    NoMemory {
        /// Its name.
        name: String,
    },
    /// An IOMMU of another kind than the MSM SMMU, which is the only one that can be simulated.
    Iommu {
        /// Its name.
        name: String,
    },
    /// A stream leads to no SMMU, or has an id above 511.
    Stream {
        /// The master.
        master: String,
    },
}

impl fmt::Display for BoardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(error) => error.fmt(f),
            Self::Smmu(bad) => bad.fmt(f),
            Self::NoMemory { name } => {
                write!(f, "memory `{name}` is empty or passes the end of the addresses")
            }
            Self::Iommu { name } => {
                write!(f, "IOMMU `{name}` is no MSM SMMU, and others cannot be simulated")
            }
            Self::Stream { master } => write!(f, "a stream of master `{master}` leads to no SMMU"),
        }
    }
}

impl std::error::Error for BoardError {}

impl From<MemoryError> for BoardError {
    fn from(error: MemoryError) -> Self {
        Self::Memory(error)
    }
}

impl From<BadConfig> for BoardError {
    fn from(bad: BadConfig) -> Self {
        Self::Smmu(bad)
    }
}
