//! What can go wrong, and who is to blame.

use crate::Leaf;
use vcm::{Access, Attributes, Bytes, PhysicalAddress, Span};

/// Why there is no memory for a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The memory for tables is used up.
    #[error("no memory for a page table of {}", Bytes(*.size))]
    OutOfMemory {
        /// The size asked for, in bytes.
        size: u64,
    },
    /// The table memory gave a table that the format's descriptors cannot point to. It was given back.
    #[error("the page table at {table} is beyond {limit:#x} or not aligned: no descriptor can point to it")]
    Unreachable {
        /// Where the table was.
        table: PhysicalAddress,
        /// The last address that a descriptor reaches.
        limit: u64,
    },
}

/// What about attributes a format cannot express.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unrepresentable {
    /// No access at all: that is an unmapped page.
    #[error("a mapping that permits nothing")]
    NoAccess,
    /// Writes without reads.
    #[error("write access without read access")]
    WriteOnly,
    /// Instruction fetches without reads.
    #[error("execute access without read access")]
    ExecuteOnly,
    /// Instruction fetches, in a format without a permission for them.
    #[error("execute access")]
    Execute,
    /// The format has no such memory type or cache policy.
    #[error("this memory type or cache policy")]
    MemoryType,
    /// The memory type is expressible, but not with this shareability.
    #[error("this shareability for this memory type")]
    Shareability,
    /// The format does not tell users from supervisors.
    #[error("access for supervisors only")]
    Supervisor,
    /// The table is walked in a world that cannot address the secure world.
    #[error("secure memory")]
    Secure,
}

impl Unrepresentable {
    /// What is wrong with an access that has no reads in it.
    #[cold]
    pub(crate) fn without_read(access: Access) -> Self {
        if access.contains(Access::EXECUTE) {
            Self::ExecuteOnly
        } else if access.contains(Access::WRITE) {
            Self::WriteOnly
        } else {
            Self::NoAccess
        }
    }
}

/// A configuration that the architecture does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The split of the address space between two tables.
    #[error("an address space cannot be split by N = {n}: 1 to 7")]
    Split {
        /// The value asked for.
        n: u8,
    },
    /// The size of the address space that the table translates.
    #[error("{bits} bits of input address: {least} to {most} can be translated")]
    InputBits {
        /// The value asked for.
        bits: u8,
        /// The least possible.
        least: u8,
        /// The most possible.
        most: u8,
    },
    /// The level that the root is of.
    #[error("a root at level {level} for {bits} bits of input address")]
    RootLevel {
        /// The level asked for.
        level: u8,
        /// Bits of input address.
        bits: u8,
    },
    /// The size of the physical address space.
    #[error("{bits} bits of physical address: {least} to {most} can be expressed")]
    OutputBits {
        /// The value asked for.
        bits: u8,
        /// The least possible.
        least: u8,
        /// The most possible.
        most: u8,
    },
}

/// Why nothing was mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// There is no segment, or one of no bytes.
    #[error("nothing to map at {at:#x}")]
    Empty {
        /// The device address.
        at: u64,
    },
    /// An address or a length is not a multiple of the smallest page.
    #[error("{at:#x} -> {physical}, {len:#x} bytes: not in pages of {}", Bytes(*.unit))]
    Misaligned {
        /// The device address of the segment.
        at: u64,
        /// Its physical address.
        physical: PhysicalAddress,
        /// Its length in bytes.
        len: u64,
        /// The smallest page, in bytes.
        unit: u64,
    },
    /// The table does not translate all of these addresses.
    #[error("{len:#x} bytes at {at:#x} are not all within {input}")]
    OutOfRange {
        /// The first device address asked for.
        at: u64,
        /// How many bytes.
        len: u64,
        /// What the table translates.
        input: Span,
    },
    /// Physical memory that no descriptor can point to.
    #[error("{len:#x} bytes at physical {physical} pass {limit:#x}, the last address expressible")]
    PhysicalOutOfRange {
        /// The physical address of the segment.
        physical: PhysicalAddress,
        /// Its length in bytes.
        len: u64,
        /// The last physical address that a descriptor reaches.
        limit: u64,
    },
    /// Something is mapped there already.
    #[error("{at:#x} is mapped already, by the page {by}")]
    Occupied {
        /// The first device address that is taken.
        at: u64,
        /// The page that takes it.
        by: Leaf,
    },
    /// There is an entry in the range, or an empty table, that this crate did not write.
    #[error("the page table was written by somebody else, somewhere from {at:#x} on")]
    Foreign {
        /// The first device address asked for.
        at: u64,
    },
    /// The format has no encoding for the attributes.
    #[error("the format cannot express {what} (asked for: {attributes})")]
    Unrepresentable {
        /// What was asked for.
        attributes: Attributes,
        /// The part without an encoding.
        what: Unrepresentable,
    },
    /// Pages of the other world share the second-level table, and the format has one security bit per table.
    #[error("pages of the other world (secure or not) are mapped beside {at:#x}, in the same level-2 table")]
    MixedSecurity {
        /// The first device address of the table's range.
        at: u64,
    },
    /// No memory for a table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The table cannot be made as configured.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Why nothing was unmapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnmapError {
    /// An end of the span is not a multiple of the smallest page.
    #[error("{span} is not in pages of {}", Bytes(*.unit))]
    Misaligned {
        /// What was asked for.
        span: Span,
        /// The smallest page, in bytes.
        unit: u64,
    },
    /// The table does not translate all of these addresses.
    #[error("{span} is not all within {input}")]
    OutOfRange {
        /// What was asked for.
        span: Span,
        /// What the table translates.
        input: Span,
    },
    /// There is a hole in the span.
    #[error("{at:#x} is not mapped")]
    NotMapped {
        /// The first device address that is not mapped.
        at: u64,
    },
    /// A larger page had to be split, and there was no memory for the table of its parts.
    #[error(transparent)]
    Table(#[from] TableError),
}

/// Why no attribute was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtectError {
    /// The span is refused for the reasons that unmapping it would be.
    #[error(transparent)]
    Span(#[from] UnmapError),
    /// The format has no encoding for the attributes.
    #[error("the format cannot express {what} (asked for: {attributes})")]
    Unrepresentable {
        /// What was asked for.
        attributes: Attributes,
        /// The part without an encoding.
        what: Unrepresentable,
    },
    /// Pages of the other world share the second-level table, and the format has one security bit per table.
    #[error("{at:#x} cannot change worlds: the format has one security bit for its whole level-2 table")]
    MixedSecurity {
        /// The first device address of the table's range.
        at: u64,
    },
}
