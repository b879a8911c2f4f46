//! The two levels: entries from encoded attributes, and back.

use super::spec::{Level1Descriptor, Level2Descriptor, level1, level2};
use super::{ArmShort, ArmShortBits, World, security};
use crate::format::{Entry, LeafSize, Level, Table};
use vcm::{PhysicalAddress, Security};

/// Level 1: sections, supersections, and entries that lead to level-2 tables.
#[derive(Debug)]
pub enum Level1 {}

impl Level for Level1 {
    type Format = ArmShort;
    type Word = u32;
    type Child = Level2;
    type Descriptor = Level1Descriptor;

    const DEPTH: u32 = 0;
    const LAST: bool = false;
    const SHIFT: u32 = 20;
    const ENTRIES: usize = 4096;
    const LEAF: bool = true;
    const GROUPS: u32 = 1 << 4;
    const LEAF_TEST: (u32, u32) = (level1::TYPE.mask() | level1::section::SUPER.mask(), level1::TYPE_SECTION);

    #[inline]
    fn group_test(_: u32) -> (u32, u32) {
        (Self::LEAF_TEST.0, level1::TYPE_SECTION | level1::section::SUPER.of(1))
    }

    #[inline]
    fn leaf(physical: u64, bits: ArmShortBits) -> Level1Descriptor {
        Level1Descriptor(physical as u32 | bits.0 | level1::TYPE_SECTION)
    }

    #[inline]
    fn group(physical: u64, bits: ArmShortBits, _: u32) -> Level1Descriptor {
        Level1Descriptor(physical as u32 | bits.0 | level1::section::SUPER.of(1) | level1::TYPE_SECTION)
    }

    #[inline]
    fn table(table: PhysicalAddress, bits: ArmShortBits) -> Level1Descriptor {
        let ns = level1::table::NS.of(level1::section::NS.get(bits.0));
        Level1Descriptor(table.raw() as u32 | ns | level1::TYPE_TABLE)
    }

    #[inline]
    fn entry(Level1Descriptor(word): Level1Descriptor) -> Entry<Self> {
        use level1::{section, table};
        match level1::TYPE.get(word) {
            level1::TYPE_TABLE => Entry::Table(Table::new(
                PhysicalAddress::new(u64::from(word & table::BASE.mask())),
                World(security(table::NS.get(word))),
            )),
            level1::TYPE_SECTION if section::SUPER.get(word) == 1 => Entry::Leaf {
                physical: u64::from(word & section::SUPER_BASE.mask()),
                size: LeafSize::Group { log2: 4 },
            },
            level1::TYPE_SECTION => {
                Entry::Leaf { physical: u64::from(word & section::BASE.mask()), size: LeafSize::Single }
            }
            _ => Entry::Free,
        }
    }

    #[inline]
    fn bits(Level1Descriptor(word): Level1Descriptor, _: World) -> ArmShortBits {
        use level1::section::{AP, AP2, B, C, NG, NS, S, TEX0, XN};
        const BITS: u32 = AP.mask()
            | AP2.mask()
            | B.mask()
            | C.mask()
            | NG.mask()
            | NS.mask()
            | S.mask()
            | TEX0.mask()
            | XN.mask();
        ArmShortBits(word & BITS)
    }
}

/// Level 2: small and large pages.
#[derive(Debug)]
pub enum Level2 {}

/// From a section's to a page's layout: AP, AP2, S and nG, and a small page's TEX0, are all six bits lower.
const PAGE_SHIFT: u32 = level1::section::AP.shift - level2::AP.shift;
/// The fields that are at the same place in sections and pages.
const SAME: u32 = level2::B.mask() | level2::C.mask();
/// The fields of both kinds of page that are [`PAGE_SHIFT`] lower than in a section.
const LOWER: u32 = level2::AP.mask() | level2::AP2.mask() | level2::S.mask() | level2::NG.mask();

impl Level for Level2 {
    type Format = ArmShort;
    type Word = u32;
    type Child = Self;
    type Descriptor = Level2Descriptor;

    const DEPTH: u32 = 1;
    const LAST: bool = true;
    const SHIFT: u32 = 12;
    const ENTRIES: usize = 256;
    const LEAF: bool = true;
    const GROUPS: u32 = 1 << 4;
    const LEAF_TEST: (u32, u32) = (level2::TYPE_SMALL, level2::TYPE_SMALL);

    #[inline]
    fn group_test(_: u32) -> (u32, u32) {
        (level2::TYPE.mask(), level2::TYPE_LARGE)
    }

    #[inline]
    fn leaf(physical: u64, ArmShortBits(bits): ArmShortBits) -> Level2Descriptor {
        use level1::section;
        use level2::small;
        Level2Descriptor(
            physical as u32
                | bits & SAME
                | bits >> PAGE_SHIFT & (LOWER | small::TEX0.mask())
                | small::XN.of(section::XN.get(bits))
                | level2::TYPE_SMALL,
        )
    }

    #[inline]
    fn group(physical: u64, ArmShortBits(bits): ArmShortBits, _: u32) -> Level2Descriptor {
        use level1::section;
        use level2::large;
        Level2Descriptor(
            physical as u32
                | bits & (SAME | large::TEX0.mask())
                | bits >> PAGE_SHIFT & LOWER
                | large::XN.of(section::XN.get(bits))
                | level2::TYPE_LARGE,
        )
    }

    /// There is no level 3; the engine does not ask.
    fn table(_: PhysicalAddress, _: ArmShortBits) -> Level2Descriptor {
        Level2Descriptor(level2::TYPE_FAULT)
    }

    #[inline]
    fn entry(Level2Descriptor(word): Level2Descriptor) -> Entry<Self> {
        match level2::TYPE.get(word) {
            level2::TYPE_FAULT => Entry::Free,
            level2::TYPE_LARGE => Entry::Leaf {
                physical: u64::from(word & level2::large::BASE.mask()),
                size: LeafSize::Group { log2: 4 },
            },
            _ => {
                Entry::Leaf { physical: u64::from(word & level2::small::BASE.mask()), size: LeafSize::Single }
            }
        }
    }

    #[inline]
    fn bits(Level2Descriptor(word): Level2Descriptor, World(security): World) -> ArmShortBits {
        use level1::section;
        use level2::{large, small};
        let (tex0, xn) = match level2::TYPE.get(word) {
            level2::TYPE_LARGE => (large::TEX0.get(word), large::XN.get(word)),
            _ => (small::TEX0.get(word), small::XN.get(word)),
        };
        ArmShortBits(
            word & SAME
                | (word & LOWER) << PAGE_SHIFT
                | section::TEX0.of(tex0)
                | section::XN.of(xn)
                | section::NS.of(u32::from(security == Security::NonSecure)),
        )
    }
}
