//! Descriptor layouts. Data only.
//!
//! Source: AMD I/O Virtualization Technology (IOMMU) Specification, 48882, 2.2.3 "I/O Page Tables for Host
//! Translations": the tables "Page Table Level Parameters", "Example Page Size Encodings", and the fields of page
//! directory entries (PDE) and page translation entries (PTE) with PR = 1.

use crate::layout::{descriptor, field};

field!(u64);

descriptor! {
    /// An entry of a level-6 table: bits 63:57 of the address choose it, and it covers 128 PiB. Never a page here.
    Level6Entry(u64)
}
descriptor! {
    /// An entry of a level-5 table: bits 56:48 of the address choose it, and it covers 256 TiB. Never a page here.
    Level5Entry(u64)
}
descriptor! {
    /// An entry of a level-4 table: bits 47:39 of the address choose it, and it covers 512 GiB. Never a page here.
    Level4Entry(u64)
}
descriptor! {
    /// An entry of a level-3 table: bits 38:30 of the address choose it, and it covers 1 GiB.
    Level3Entry(u64)
}
descriptor! {
    /// An entry of a level-2 table: bits 29:21 of the address choose it, and it covers 2 MiB.
    Level2Entry(u64)
}
descriptor! {
    /// An entry of a level-1 table: bits 20:12 of the address choose it, and it covers 4 KiB.
    Level1Entry(u64)
}

/// \[0\] PR: the entry is used.
pub const PRESENT: Field = Field::new(0, 1);
/// \[6\] D, of pages: written to, where the device table entry enables it (HAD). Zero here.
pub const DIRTY: Field = Field::new(6, 1);
/// \[11:9\] Next level: of an entry that leads to a table, that table's level.
pub const NEXT_LEVEL: Field = Field::new(9, 3);
/// [`NEXT_LEVEL`] of a page of the size that one entry covers.
pub const NEXT_LEVEL_PAGE: u64 = 0;
/// [`NEXT_LEVEL`] of one of a group of entries that are a page of another size. The size is in the address: of a page
/// of 2^n bytes bit n - 1 is clear, and all from 12 to n - 2 are set; the page is aligned to its size, so that none
/// of them is needed.
pub const NEXT_LEVEL_SIZED_PAGE: u64 = 7;
/// \[51:12\] Where the page, or the next table, is. (Bits 58:52 are reserved.)
pub const ADDRESS: Field = Field::new(12, 40);
/// \[59\] U, of pages: of use to devices that translate themselves (ATS). Zero here.
pub const UNTRANSLATED: Field = Field::new(59, 1);
/// \[60\] FC, of pages: accesses are coherent, whatever the request says. Reserved in entries that lead to tables.
pub const FORCE_COHERENT: Field = Field::new(60, 1);
/// \[61\] IR: reads pass, if they do by the entries above and the device table entry.
pub const READ: Field = Field::new(61, 1);
/// \[62\] IW: writes pass, likewise.
pub const WRITE: Field = Field::new(62, 1);
