//! The AArch64 (VMSAv8-64) format with the 4 KiB granule: 4K, 2M and 1G pages, stage 1 and stage 2.
//!
//! A table of 31 to 39 bits of input address starts at level 1, one of 40 to 48 bits at level 0.
//! Source: Arm ARM DDI 0487, D8.2 and D8.3.

pub mod spec;
mod stage1;
mod stage2;

pub use stage1::{MAIR, Stage1, Stage1Config, memory_type_of_mair};
pub use stage2::{Stage2, Stage2Config};

use crate::ConfigError;
use crate::format::{Entry, Format, LeafSize, Level, Table};
use core::fmt;
use core::marker::PhantomData;
use spec::{ADDRESS, SH, TYPE, TYPE_BLOCK, TYPE_PAGE, TYPE_TABLE};
use vcm::{PhysicalAddress, Shareability, Span};

/// Encoded attributes: an entry without type and address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Aarch64Bits(u64);

/// The two address sizes of a table, in bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Sizes {
    input: u8,
    output: u8,
}

impl Sizes {
    const LEAST: u8 = 31;
    const MOST: u8 = 48;
    const LEAST_OUTPUT: u8 = 32;

    fn new(input: u8, output: u8) -> Result<Self, ConfigError> {
        let (least, most) = (Self::LEAST, Self::MOST);
        if !(least..=most).contains(&input) {
            return Err(ConfigError::InputBits { bits: input, least, most });
        }
        let least = Self::LEAST_OUTPUT;
        if !(least..=most).contains(&output) {
            return Err(ConfigError::OutputBits { bits: output, least, most });
        }
        Ok(Self { input, output })
    }

    #[inline]
    const fn start(self) -> u32 {
        if self.input > 39 { 0 } else { 1 }
    }

    #[inline]
    fn span(self) -> Span {
        Span::inclusive(0, (1 << self.input) - 1).unwrap_or(Span::ALL)
    }

    #[inline]
    const fn limit(self) -> u64 {
        (1 << self.output) - 1
    }
}

const fn encode_shareability(shareability: Shareability) -> u64 {
    SH.of(match shareability {
        Shareability::NonShareable => 0b00,
        Shareability::Outer => 0b10,
        Shareability::Inner => 0b11,
    })
}

const fn decode_shareability(word: u64) -> Shareability {
    match SH.get(word) {
        0b11 => Shareability::Inner,
        0b10 => Shareability::Outer,
        _ => Shareability::NonShareable,
    }
}

/// Stage 1 or stage 2: what differs between them is the encoding of attributes, not the shape.
pub trait Stage:
    Format<Word = u64, Bits = Aarch64Bits, Inherited = (), Top = Level0<Self>> + fmt::Debug
{
    /// The bits of an entry that hold attributes.
    const ATTRIBUTES: u64;
}

macro_rules! level {
    (
        $(#[$doc:meta])* $level:ident, $descriptor:ident, child $child:ident, depth $depth:literal,
        shift $shift:literal, leaf $leaf:expr
    ) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $level<S>(PhantomData<S>);

        impl<S: Stage> Level for $level<S> {
            type Format = S;
            type Word = u64;
            type Child = $child<S>;
            type Descriptor = spec::$descriptor;

            const DEPTH: u32 = $depth;
            const LAST: bool = $depth == 3;
            const SHIFT: u32 = $shift;
            const ENTRIES: usize = 512;
            const LEAF: bool = has_leaf($leaf);
            const GROUP: usize = 1;
            const LEAF_TEST: (u64, u64) = (TYPE.mask(), leaf_type($leaf));
            const GROUP_TEST: (u64, u64) = Self::LEAF_TEST;

            #[inline]
            fn leaf(physical: u64, bits: Aarch64Bits) -> Self::Descriptor {
                spec::$descriptor(physical | bits.0 | leaf_type($leaf))
            }

            /// No level has groups; the engine does not ask.
            fn group(physical: u64, bits: Aarch64Bits) -> Self::Descriptor {
                Self::leaf(physical, bits)
            }

            #[inline]
            fn table(table: PhysicalAddress, _: Aarch64Bits) -> Self::Descriptor {
                spec::$descriptor(table.raw() | TYPE_TABLE)
            }

            #[inline]
            fn entry(spec::$descriptor(word): Self::Descriptor) -> Entry<Self> {
                let leaf: Option<u64> = $leaf;
                let address = word & ADDRESS.mask();
                // Tables first: a walk meets more of them than of pages.
                if !Self::LAST && TYPE.get(word) == TYPE_TABLE {
                    Entry::Table(Table::new(PhysicalAddress::new(address), ()))
                } else if Some(TYPE.get(word)) == leaf {
                    Entry::Leaf { physical: address, size: LeafSize::Single }
                } else {
                    Entry::Free
                }
            }

            #[inline]
            fn bits(spec::$descriptor(word): Self::Descriptor, (): ()) -> Aarch64Bits {
                Aarch64Bits(word & S::ATTRIBUTES)
            }
        }
    };
}

const fn has_leaf(leaf: Option<u64>) -> bool {
    leaf.is_some()
}

const fn leaf_type(leaf: Option<u64>) -> u64 {
    match leaf {
        Some(leaf) => leaf,
        None => 0,
    }
}

level! {
    /// Level 0: tables only.
    Level0, Level0Descriptor, child Level1, depth 0, shift 39, leaf None
}
level! {
    /// Level 1: tables and blocks of 1 GiB.
    Level1, Level1Descriptor, child Level2, depth 1, shift 30, leaf Some(TYPE_BLOCK)
}
level! {
    /// Level 2: tables and blocks of 2 MiB.
    Level2, Level2Descriptor, child Level3, depth 2, shift 21, leaf Some(TYPE_BLOCK)
}
level! {
    /// Level 3: pages of 4 KiB.
    Level3, Level3Descriptor, child Level3, depth 3, shift 12, leaf Some(TYPE_PAGE)
}
