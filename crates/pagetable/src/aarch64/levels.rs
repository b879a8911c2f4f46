//! The four levels, for all granules and both stages.

use super::granule::{Granule, TypedGranule};
use super::spec::{self, ADDRESS, CONTIGUOUS, TYPE, TYPE_BLOCK, TYPE_PAGE, TYPE_TABLE};
use super::{Aarch64Bits, sizes};
use crate::format::{Entry, Format, GroupEntries, Inherited, LeafSize, Level, Table};
use core::fmt;
use core::marker::PhantomData;
use vcm::PhysicalAddress;

/// Stage 1 or stage 2, with a granule: what differs between the stages is the encoding of attributes, and how long a
/// root may be.
pub trait Stage: Format<Word = u64, Bits = Aarch64Bits> + fmt::Debug {
    /// The granule.
    type Granule: TypedGranule;

    /// The bits of an entry that hold attributes.
    const ATTRIBUTES: u64;

    /// log2 of the number of tables that a table is long: more than 0 for a root only.
    fn tables_log2(inherited: Self::Inherited) -> u32;
}

const fn granule<S: Stage>() -> Granule {
    S::Granule::GRANULE
}

macro_rules! level {
    (
        $(#[$doc:meta])* $level:ident, $descriptor:ident, child $child:ident, number $number:literal, leaf $leaf:expr
    ) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $level<S>(PhantomData<S>);

        impl<S: Stage> $level<S> {
            /// log2 of the entries of a contiguous group.
            const GROUP: u32 = sizes::group_log2(granule::<S>(), $number);
        }

        impl<S: Stage> Level for $level<S> {
            type Format = S;
            type Word = u64;
            type Child = $child<S>;
            type Descriptor = spec::$descriptor;

            const DEPTH: u32 = $number - sizes::top(granule::<S>());
            const LAST: bool = $number == 3;
            const SHIFT: u32 = sizes::shift(granule::<S>(), $number);
            const ENTRIES: usize = 1 << sizes::stride(granule::<S>());
            const LEAF: bool = sizes::has_pages(granule::<S>(), $number);
            const GROUPS: u32 = if Self::LEAF { 1 << Self::GROUP } else { 0 };
            const GROUP_ENTRIES: GroupEntries = GroupEntries::Successive;
            const LEAF_TEST: (u64, u64) = (TYPE.mask() | CONTIGUOUS.mask(), $leaf);

            #[inline]
            fn entries(inherited: Inherited<Self>) -> usize {
                Self::ENTRIES << S::tables_log2(inherited)
            }

            #[inline]
            fn group_test(_: u32) -> (u64, u64) {
                (TYPE.mask() | CONTIGUOUS.mask(), CONTIGUOUS.of(1) | $leaf)
            }

            #[inline]
            fn leaf(physical: u64, bits: Aarch64Bits) -> Self::Descriptor {
                spec::$descriptor(physical | bits.0 | $leaf)
            }

            #[inline]
            fn group(physical: u64, bits: Aarch64Bits, _: u32) -> Self::Descriptor {
                spec::$descriptor(physical | bits.0 | CONTIGUOUS.of(1) | $leaf)
            }

            #[inline]
            fn table(table: PhysicalAddress, _: Aarch64Bits) -> Self::Descriptor {
                spec::$descriptor(table.raw() | TYPE_TABLE)
            }

            #[inline]
            fn entry(spec::$descriptor(word): Self::Descriptor) -> Entry<Self> {
                let address = word & ADDRESS.mask() & !(granule::<S>().bytes() - 1);
                // Tables first: a walk meets more of them than of pages.
                if !Self::LAST && TYPE.get(word) == TYPE_TABLE {
                    Entry::Table(Table::new(PhysicalAddress::new(address), Default::default()))
                } else if !Self::LEAF || TYPE.get(word) != $leaf {
                    Entry::Free
                } else if CONTIGUOUS.get(word) == 1 {
                    Entry::Leaf { physical: address, size: LeafSize::Group { log2: Self::GROUP } }
                } else {
                    Entry::Leaf { physical: address, size: LeafSize::Single }
                }
            }

            #[inline]
            fn bits(spec::$descriptor(word): Self::Descriptor, _: Inherited<Self>) -> Aarch64Bits {
                Aarch64Bits(word & S::ATTRIBUTES)
            }
        }
    };
}

level! {
    /// Level 0: tables only.
    Level0, Level0Descriptor, child Level1, number 0, leaf TYPE_BLOCK
}
level! {
    /// Level 1: tables and, with the 4K granule, blocks.
    Level1, Level1Descriptor, child Level2, number 1, leaf TYPE_BLOCK
}
level! {
    /// Level 2: tables and blocks.
    Level2, Level2Descriptor, child Level3, number 2, leaf TYPE_BLOCK
}
level! {
    /// Level 3: pages.
    Level3, Level3Descriptor, child Level3, number 3, leaf TYPE_PAGE
}
