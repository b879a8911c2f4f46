//! What is asked for, what comes back, and what can go wrong.

use core::fmt;

use crate::{OutOfMemory, Span};

/// A request for a free range, wherever one is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// Bytes: one granule to 2^64, a multiple of the granule.
    pub len: u128,
    /// What the first address must be, or should be, a multiple of.
    pub alignment: Alignment,
    /// The part of the window to look in; the window covers it.
    pub within: Span,
}

/// The alignment of a range's first address, in bytes, a power of two. Below the granule, the granule
/// is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Alignment {
    /// Exactly this, or no range at all.
    Exactly(u64),
    /// This if a free gap allows it, else the largest smaller one that does: a range as long as the
    /// longest free gap always finds a place.
    Preferring(u64),
}

impl Alignment {
    /// The alignment named, in bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Exactly(bytes) | Self::Preferring(bytes) => bytes,
        }
    }
}

/// The key of a range: its slot and the slot's generation, so that the key of a range that was removed
/// never finds the one that took its slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RangeKey(
    /// The slot in the upper half. One number, because two that are written one by one are slow to read as
    /// one, and every copy of a key does that.
    u64,
);

impl RangeKey {
    #[inline]
    pub(super) const fn new(slot: u32, generation: u32) -> Self {
        Self((slot as u64) << 32 | generation as u64)
    }

    /// The slot's number: small, dense, and reused with another generation.
    #[inline]
    pub const fn slot(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// How often the slot was taken before.
    #[inline]
    pub const fn generation(self) -> u32 {
        self.0 as u32
    }
}

/// As `3` for a slot's first range, `3.1` for the second, and so on.
impl fmt::Display for RangeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.generation() {
            0 => write!(f, "{}", self.slot()),
            generation => write!(f, "{}.{generation}", self.slot()),
        }
    }
}

impl fmt::Debug for RangeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{self}")
    }
}

/// Why a range was not placed. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RangeError {
    /// No gap takes the range.
    #[error(
        "no gap for {asked:#x} bytes aligned to {alignment:#x} in {within}: the longest there has {largest:#x} bytes, {free:#x} are free in all"
    )]
    NoSpace {
        /// The length asked for, in bytes.
        asked: u128,
        /// The alignment that could not be met, in bytes.
        alignment: u64,
        /// Where a gap was looked for.
        within: Span,
        /// The longest gap there, in bytes.
        largest: u128,
        /// The free bytes of the whole window.
        free: u128,
    },
    /// Another range is there already.
    #[error("{asked} is occupied: {by} is range {key}")]
    Occupied {
        /// The span asked for.
        asked: Span,
        /// The first range, by address, that is in the way.
        by: Span,
        /// Its key.
        key: RangeKey,
    },
    /// The span asked for is not inside the window.
    #[error("{asked} is not inside the window {window}")]
    OutOfWindow {
        /// The span asked for.
        asked: Span,
        /// The window.
        window: Span,
    },
    /// The ends of the span asked for are not multiples of the granule.
    #[error("the ends of {asked} are not multiples of {granule:#x}")]
    Misaligned {
        /// The span asked for.
        asked: Span,
        /// The granule, in bytes.
        granule: u64,
    },
    /// The length asked for is zero, longer than 2^64 or no multiple of the granule.
    #[error("a length of {asked:#x} is not between one and 2^64 bytes in multiples of {granule:#x}")]
    BadLength {
        /// The length asked for, in bytes.
        asked: u128,
        /// The granule, in bytes.
        granule: u64,
    },
    /// The alignment asked for is no power of two.
    #[error("an alignment of {asked:#x} is not a power of two")]
    BadAlignment {
        /// The alignment asked for, in bytes.
        asked: u64,
    },
    /// No memory for the bookkeeping.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
}
