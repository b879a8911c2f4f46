//! What is asked of a pool, what comes back, and what can go wrong.

use crate::{OutOfMemory, PageSizes, Span};

/// How a pool divides its memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    /// Blocks split, 16M into 1M into 64K into 4K, and merge again when all sixteen parts are free.
    /// Contiguous ranges come from the same memory.
    Splitting,
    /// A fixed number of blocks of each size, never split or merged.
    FixedCounts(FixedCounts),
}

/// The blocks of a pool that neither splits nor merges.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FixedCounts {
    /// Blocks of 16 MiB.
    pub of_16m: u64,
    /// Blocks of 1 MiB.
    pub of_1m: u64,
    /// Blocks of 64 KiB.
    pub of_64k: u64,
    /// Blocks of 4 KiB.
    pub of_4k: u64,
    /// Bytes for contiguous ranges, a multiple of 4 KiB: the last bytes of the memory.
    pub contiguous: u64,
}

impl FixedCounts {
    /// What all of it takes, in bytes.
    pub const fn bytes(self) -> u128 {
        let [large, section, middle, small] = [self.of_16m, self.of_1m, self.of_64k, self.of_4k];
        ((large as u128) << 24)
            + ((section as u128) << 20)
            + ((middle as u128) << 16)
            + ((small as u128) << 12)
            + self.contiguous as u128
    }
}

/// A request for memory in blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockRequest {
    /// Bytes: a positive multiple of the smallest size allowed.
    pub len: u64,
    /// The sizes allowed, of 4K, 64K, 1M and 16M. A block is a multiple of its own size in memory.
    pub sizes: PageSizes,
    /// A power of two, in bytes: *every* block starts at a multiple of it. Up to the smallest size
    /// allowed it asks for nothing.
    pub alignment: u64,
}

/// What became of a block that was given back.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freed {
    /// The block is free again.
    Yes,
    /// No block with this start and this length is allocated from the pool. Nothing was changed.
    NotOurs,
}

/// Why a pool was not made, or gave no memory. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PoolError {
    /// The pool's memory does not start and end at multiples of 4 KiB.
    #[error("the ends of the pool's memory {memory} are not multiples of 4K")]
    MisalignedMemory {
        /// The memory named.
        memory: Span,
    },
    /// The blocks of [`FixedCounts`] do not fit into the memory.
    #[error("the blocks and the contiguous range of {counts:?} do not fit into {memory}")]
    DoesNotFit {
        /// What was to fit.
        counts: FixedCounts,
        /// The memory named.
        memory: Span,
    },
    /// The length is zero or no multiple of the smallest size allowed.
    #[error("a length of {asked:#x} is not a positive multiple of {unit:#x}")]
    BadLength {
        /// The length asked for, in bytes.
        asked: u64,
        /// The smallest size allowed, in bytes.
        unit: u64,
    },
    /// A size is allowed that pools have no blocks of.
    #[error("the block sizes {sizes} are not all among 16M, 1M, 64K, 4K")]
    BadSizes {
        /// The sizes asked for.
        sizes: PageSizes,
    },
    /// The alignment asked for is no power of two.
    #[error("an alignment of {asked:#x} is not a power of two")]
    BadAlignment {
        /// The alignment asked for, in bytes.
        asked: u64,
    },
    /// The pool has too few blocks of the sizes allowed.
    #[error(
        "{asked:#x} bytes in blocks of {sizes}: {available:#x} bytes are available, {free:#x} are free in all"
    )]
    NoBlocks {
        /// The length asked for, in bytes.
        asked: u64,
        /// The sizes allowed.
        sizes: PageSizes,
        /// The bytes that blocks of these sizes would give, up to those asked for.
        available: u64,
        /// The free bytes of the pool.
        free: u64,
    },
    /// No free run is as long.
    #[error("no contiguous {asked:#x} bytes aligned to {alignment:#x}: {free:#x} bytes are free in all")]
    NoContiguous {
        /// The length asked for, in bytes.
        asked: u64,
        /// The alignment asked for, in bytes.
        alignment: u64,
        /// The free bytes from which contiguous ranges come.
        free: u64,
    },
    /// No memory for the bookkeeping.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
}
