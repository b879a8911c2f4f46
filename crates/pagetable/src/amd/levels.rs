//! The six levels: entries from encoded attributes, and back.

use super::spec::{ADDRESS, NEXT_LEVEL, NEXT_LEVEL_PAGE, NEXT_LEVEL_SIZED_PAGE, PRESENT, READ, WRITE};
use super::{ATTRIBUTES, AmdBits, AmdV1, spec};
use crate::format::{Entry, LeafSize, Level, Table};
use vcm::PhysicalAddress;

/// Groups of 2 to 256 entries. 512 entries are one of the level above.
const GROUPS: u32 = 0x1fe;

/// The bits of an address that say how large a page of 2^`bits` bytes is, and those of them that are set.
const fn size_code(bits: u32) -> (u64, u64) {
    let mask = (1 << bits) - (1 << 12);
    (mask, mask >> 1 & mask)
}

/// log2 of the size in bytes that `address` says.
const fn coded_size(address: u64) -> u32 {
    (address | 0xfff).trailing_ones() + 1
}

macro_rules! level {
    (
        $(#[$doc:meta])* $level:ident, $descriptor:ident, child $child:ident, number $number:literal, leaf $leaf:literal
    ) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $level {}

        impl Level for $level {
            type Format = AmdV1;
            type Word = u64;
            type Child = $child;
            type Descriptor = spec::$descriptor;

            const DEPTH: u32 = 6 - $number;
            const LAST: bool = $number == 1;
            const SHIFT: u32 = 12 + 9 * ($number - 1);
            const ENTRIES: usize = 512;
            const LEAF: bool = $leaf;
            const GROUPS: u32 = if $leaf { GROUPS } else { 0 };
            const LEAF_TEST: (u64, u64) =
                (PRESENT.mask() | NEXT_LEVEL.mask(), PRESENT.of(1) | NEXT_LEVEL.of(NEXT_LEVEL_PAGE));

            #[inline]
            fn group_test(log2: u32) -> (u64, u64) {
                let (mask, value) = size_code(Self::SHIFT + log2);
                let page = PRESENT.of(1) | NEXT_LEVEL.of(NEXT_LEVEL_SIZED_PAGE);
                (PRESENT.mask() | NEXT_LEVEL.mask() | mask, page | value)
            }

            #[inline]
            fn leaf(physical: u64, bits: AmdBits) -> Self::Descriptor {
                spec::$descriptor(physical | bits.0 | NEXT_LEVEL.of(NEXT_LEVEL_PAGE))
            }

            #[inline]
            fn group(physical: u64, bits: AmdBits, log2: u32) -> Self::Descriptor {
                let (_, size) = size_code(Self::SHIFT + log2);
                spec::$descriptor(physical | size | bits.0 | NEXT_LEVEL.of(NEXT_LEVEL_SIZED_PAGE))
            }

            /// It permits everything, so that the page decides.
            #[inline]
            fn table(table: PhysicalAddress, _: AmdBits) -> Self::Descriptor {
                let next = NEXT_LEVEL.of($number - 1);
                spec::$descriptor(table.raw() | PRESENT.of(1) | next | READ.of(1) | WRITE.of(1))
            }

            /// A size that does not belong to the level, or a table of another than the next level, is not one of ours.
            #[inline]
            fn entry(spec::$descriptor(word): Self::Descriptor) -> Entry<Self> {
                let address = word & ADDRESS.mask();
                if PRESENT.get(word) == 0 {
                    return Entry::Free;
                }
                match NEXT_LEVEL.get(word) {
                    next if !Self::LAST && next == $number - 1 => {
                        Entry::Table(Table::new(PhysicalAddress::new(address), ()))
                    }
                    NEXT_LEVEL_PAGE if Self::LEAF => {
                        Entry::Leaf { physical: address, size: LeafSize::Single }
                    }
                    NEXT_LEVEL_SIZED_PAGE if Self::LEAF => {
                        let bits = coded_size(address);
                        match bits.checked_sub(Self::SHIFT) {
                            Some(log2 @ 1..=8) => Entry::Leaf {
                                physical: address & !((1 << bits) - 1),
                                size: LeafSize::Group { log2 },
                            },
                            _ => Entry::Free,
                        }
                    }
                    _ => Entry::Free,
                }
            }

            #[inline]
            fn bits(spec::$descriptor(word): Self::Descriptor, (): ()) -> AmdBits {
                AmdBits(word & ATTRIBUTES)
            }
        }
    };
}

level! {
    /// Level 6: tables only. Its first 64 entries are used.
    Level6, Level6Entry, child Level5, number 6, leaf false
}
level! {
    /// Level 5: tables only.
    Level5, Level5Entry, child Level4, number 5, leaf false
}
level! {
    /// Level 4: tables only.
    Level4, Level4Entry, child Level3, number 4, leaf false
}
level! {
    /// Level 3: tables and pages from 1 GiB to 256 GiB.
    Level3, Level3Entry, child Level2, number 3, leaf true
}
level! {
    /// Level 2: tables and pages from 2 MiB to 512 MiB.
    Level2, Level2Entry, child Level1, number 2, leaf true
}
level! {
    /// Level 1: pages from 4 KiB to 1 MiB.
    Level1, Level1Entry, child Level1, number 1, leaf true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Table "Example Page Size Encodings": the low bits of the address for each size.
    #[test]
    fn sizes_are_coded_as_in_the_specification() {
        for (bits, code) in [
            (13, 0x0000_0000_u64),
            (14, 0x0000_1000),
            (15, 0x0000_3000),
            (16, 0x0000_7000),
            (20, 0x0007_f000),
            (21, 0x000f_f000),
            (22, 0x001f_f000),
            (32, 0x7fff_f000),
        ] {
            assert_eq!(size_code(bits).1, code, "2^{bits} bytes");
            assert_eq!(coded_size(code), bits);
            assert_eq!(coded_size(code | 0xabcd << bits), bits);
        }
    }
}
