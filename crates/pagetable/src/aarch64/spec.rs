//! Descriptor layouts. Data only.
//!
//! Source: Arm ARM DDI 0487, D8.3 "Translation table descriptor formats" (VMSAv8-64, 48-bit output addresses); memory
//! types from the same chapter.

use crate::layout::{descriptor, field};

field!(u64);

descriptor! {
    /// An entry of a level-0 table, which 64K does not have: bits 47:39 of the address choose it with 4K, and it covers
    /// 512 GiB; bit 47 with 16K, and it covers 128 TiB. Never a block.
    Level0Descriptor(u64)
}
descriptor! {
    /// An entry of a level-1 table: bits 38:30 of the address choose it with 4K, and it covers 1 GiB; bits 46:36 with
    /// 16K, and it covers 64 GiB; bits 47:42 with 64K, and it covers 4 TiB. A block with 4K only.
    Level1Descriptor(u64)
}
descriptor! {
    /// An entry of a level-2 table: bits 29:21 of the address choose it with 4K, and it covers 2 MiB; bits 35:25 with
    /// 16K, and it covers 32 MiB; bits 41:29 with 64K, and it covers 512 MiB.
    Level2Descriptor(u64)
}
descriptor! {
    /// An entry of a level-3 table: bits 20:12 of the address choose it with 4K, bits 24:14 with 16K, bits 28:16 with
    /// 64K. It covers one page of the granule.
    Level3Descriptor(u64)
}

/// \[1:0\] What the entry is. Bit 0 clear: it translates nothing.
pub const TYPE: Field = Field::new(0, 2);
/// [`TYPE`] of a block, at level 2 and, with 4K, level 1.
pub const TYPE_BLOCK: u64 = 0b01;
/// [`TYPE`] of an entry that leads to a table, at levels 0 to 2.
pub const TYPE_TABLE: u64 = 0b11;
/// [`TYPE`] of a page, at level 3.
pub const TYPE_PAGE: u64 = 0b11;

/// \[47:12\] Where the page, or the next table, is. The low bits of a block's address are zero, as are bits 13:12 with
/// 16K and 15:12 with 64K.
pub const ADDRESS: Field = Field::new(12, 36);
/// \[9:8\] Shareability of normal memory: 0b00 none, 0b10 outer, 0b11 inner. Device memory is always outer shareable.
pub const SH: Field = Field::new(8, 2);
/// \[10\] The access flag. Clear, every access faults.
pub const AF: Field = Field::new(10, 1);
/// \[52\] The entry of a block or page is one of an aligned group of neighbours that all have this bit, the same
/// attributes, and contiguous output addresses from a multiple of the group's size on.
pub const CONTIGUOUS: Field = Field::new(52, 1);

/// Fields of stage-1 blocks and pages.
pub mod stage1 {
    use super::Field;

    /// \[4:2\] Which byte of MAIR describes the memory.
    pub const ATTR_INDEX: Field = Field::new(2, 3);
    /// \[5\] The memory is non-secure. RES0 in a non-secure regime.
    pub const NS: Field = Field::new(5, 1);
    /// \[6\] AP\[1\]: unprivileged accesses pass as well.
    pub const AP_USER: Field = Field::new(6, 1);
    /// \[7\] AP\[2\]: writes do not pass.
    pub const AP_READ_ONLY: Field = Field::new(7, 1);
    /// \[11\] Not global: the translation belongs to one address space identifier.
    pub const NG: Field = Field::new(11, 1);
    /// \[53\] No privileged instruction fetches.
    pub const PXN: Field = Field::new(53, 1);
    /// \[54\] No unprivileged instruction fetches.
    pub const UXN: Field = Field::new(54, 1);
}

/// Fields of stage-2 blocks and pages.
pub mod stage2 {
    use super::Field;

    /// \[5:2\] The memory type (without `FEAT_S2FWB`).
    pub const MEM_ATTR: Field = Field::new(2, 4);
    /// \[6\] S2AP\[0\]: reads pass.
    pub const READ: Field = Field::new(6, 1);
    /// \[7\] S2AP\[1\]: writes pass.
    pub const WRITE: Field = Field::new(7, 1);
    /// \[54\] No instruction fetches. (XN\[1\]; bit 53 is zero with and without `FEAT_XNX`.)
    pub const XN: Field = Field::new(54, 1);
}
