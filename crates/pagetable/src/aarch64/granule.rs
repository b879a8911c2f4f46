//! The size of `AArch64`'s smallest page and of its tables.

use super::levels::{Level0, Level1, Stage};
use crate::format::Level;
use core::fmt;

/// The granule of a table: the size of its smallest pages, and of all its tables but the root.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Granule {
    /// 4 KiB.
    Size4K,
    /// 16 KiB.
    Size16K,
    /// 64 KiB.
    Size64K,
}

impl Granule {
    /// The granule in bytes.
    pub const fn bytes(self) -> u64 {
        1 << self.shift()
    }

    /// log2 of the granule in bytes.
    pub const fn shift(self) -> u32 {
        match self {
            Self::Size4K => 12,
            Self::Size16K => 14,
            Self::Size64K => 16,
        }
    }
}

impl fmt::Display for Granule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}K", self.bytes() >> 10)
    }
}

/// A granule as a type, which a format is compiled for.
pub trait TypedGranule: Copy + fmt::Debug + 'static {
    /// The same as a value.
    const GRANULE: Granule;
    /// The highest level that a table may start at. (With 64K, level 0 would be for more than 48 bits.)
    type Top<S: Stage<Granule = Self>>: Level<Format = S, Word = u64>;
}

macro_rules! granule {
    ($(#[$doc:meta])* $typed:ident, $granule:ident, $top:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $typed {}

        impl TypedGranule for $typed {
            const GRANULE: Granule = Granule::$granule;
            type Top<S: Stage<Granule = Self>> = $top<S>;
        }
    };
}

granule! {
    /// 4 KiB.
    Granule4K, Size4K, Level0
}
granule! {
    /// 16 KiB.
    Granule16K, Size16K, Level0
}
granule! {
    /// 64 KiB.
    Granule64K, Size64K, Level1
}
