//! Descriptor layouts. Data only.
//!
//! Source: Arm ARM DDI 0406C, B3.5.1 "Short-descriptor translation table format descriptors",
//! with TEX remap, and the access permissions of the same chapter.

use crate::layout::{descriptor, field};

field!(u32);

descriptor! {
    /// An entry of the level-1 table: bits 31:20 of the address choose it, and it covers 1 MiB.
    Level1Descriptor(u32)
}
descriptor! {
    /// An entry of a level-2 table: bits 19:12 of the address choose it, and it covers 4 KiB.
    Level2Descriptor(u32)
}

/// Fields of a level-1 entry, by its type.
pub mod level1 {
    use super::Field;

    /// \[1:0\] What the entry is. 0b11 is a section with PXN where that is implemented; never written here.
    pub const TYPE: Field = Field::new(0, 2);
    /// [`TYPE`] of an entry that translates nothing.
    pub const TYPE_FAULT: u32 = 0b00;
    /// [`TYPE`] of an entry that leads to a level-2 table.
    pub const TYPE_TABLE: u32 = 0b01;
    /// [`TYPE`] of a section or supersection.
    pub const TYPE_SECTION: u32 = 0b10;

    /// Leading to a table.
    pub mod table {
        use super::Field;

        /// \[3\] The memory of all pages of the table is non-secure. Ignored in a non-secure walk.
        pub const NS: Field = Field::new(3, 1);
        /// \[8:5\] The domain of all pages of the table.
        pub const DOMAIN: Field = Field::new(5, 4);
        /// \[31:10\] Where the level-2 table is.
        pub const BASE: Field = Field::new(10, 22);
    }

    /// A section (1 MiB) or supersection (16 MiB: 16 identical entries).
    pub mod section {
        use super::Field;

        /// \[2\] The B bit: bit 0 of the memory class.
        pub const B: Field = Field::new(2, 1);
        /// \[3\] The C bit: bit 1 of the memory class.
        pub const C: Field = Field::new(3, 1);
        /// \[4\] No instruction is fetched from it.
        pub const XN: Field = Field::new(4, 1);
        /// \[8:5\] The domain of a section; a supersection is in domain 0.
        pub const DOMAIN: Field = Field::new(5, 4);
        /// \[11:10\] AP\[1:0\].
        pub const AP: Field = Field::new(10, 2);
        /// \[12\] TEX\[0\]: bit 2 of the memory class. With TEX remap, hardware ignores TEX\[2:1\].
        pub const TEX0: Field = Field::new(12, 1);
        /// \[15\] AP\[2\].
        pub const AP2: Field = Field::new(15, 1);
        /// \[16\] S: what it means for the memory class is said by PRRR.
        pub const S: Field = Field::new(16, 1);
        /// \[17\] Not global: the translation belongs to one address space identifier.
        pub const NG: Field = Field::new(17, 1);
        /// \[18\] 1 for a supersection.
        pub const SUPER: Field = Field::new(18, 1);
        /// \[19\] The memory is non-secure. Ignored in a non-secure walk.
        pub const NS: Field = Field::new(19, 1);
        /// \[31:20\] Where the memory of a section is.
        pub const BASE: Field = Field::new(20, 12);
        /// \[31:24\] Where the memory of a supersection is. (Bits 23:20 and 8:5 are bits 39:32 of the physical
        /// address, which are zero here.)
        pub const SUPER_BASE: Field = Field::new(24, 8);
    }
}

/// Fields of a level-2 entry, by its type.
pub mod level2 {
    use super::Field;

    /// \[1:0\] What the entry is. Of a small page only bit 1 is the type; bit 0 is its XN.
    pub const TYPE: Field = Field::new(0, 2);
    /// [`TYPE`] of an entry that translates nothing.
    pub const TYPE_FAULT: u32 = 0b00;
    /// [`TYPE`] of a large page.
    pub const TYPE_LARGE: u32 = 0b01;
    /// [`TYPE`] of a small page, without its XN.
    pub const TYPE_SMALL: u32 = 0b10;

    /// \[2\] The B bit: bit 0 of the memory class.
    pub const B: Field = Field::new(2, 1);
    /// \[3\] The C bit: bit 1 of the memory class.
    pub const C: Field = Field::new(3, 1);
    /// \[5:4\] AP\[1:0\].
    pub const AP: Field = Field::new(4, 2);
    /// \[9\] AP\[2\].
    pub const AP2: Field = Field::new(9, 1);
    /// \[10\] S: what it means for the memory class is said by PRRR.
    pub const S: Field = Field::new(10, 1);
    /// \[11\] Not global.
    pub const NG: Field = Field::new(11, 1);

    /// A small page (4 KiB).
    pub mod small {
        use super::Field;

        /// \[0\] No instruction is fetched from it.
        pub const XN: Field = Field::new(0, 1);
        /// \[6\] TEX\[0\]: bit 2 of the memory class.
        pub const TEX0: Field = Field::new(6, 1);
        /// \[31:12\] Where the memory is.
        pub const BASE: Field = Field::new(12, 20);
    }

    /// A large page (64 KiB: 16 identical entries).
    pub mod large {
        use super::Field;

        /// \[12\] TEX\[0\]: bit 2 of the memory class. Not at bit 6, where a small page has it.
        pub const TEX0: Field = Field::new(12, 1);
        /// \[15\] No instruction is fetched from it.
        pub const XN: Field = Field::new(15, 1);
        /// \[31:16\] Where the memory is.
        pub const BASE: Field = Field::new(16, 16);
    }
}
