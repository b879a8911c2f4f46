//! Descriptor layouts. Data only.
//!
//! Source: Intel Virtualization Technology for Directed I/O, Architecture Specification, order number D51397, revision
//! 5.10: 9.7 "First-Stage Paging Entries" (tables 34 to 40) and 9.8 "Second-Stage Paging Entries" (tables 41 to 47).

use crate::layout::{descriptor, field};

field!(u64);

descriptor! {
    /// An entry of a PML5 table: bits 56:48 of the address choose it, and it covers 256 TiB. Never a page.
    Pml5Entry(u64)
}
descriptor! {
    /// An entry of a PML4 table: bits 47:39 of the address choose it, and it covers 512 GiB. Never a page.
    Pml4Entry(u64)
}
descriptor! {
    /// An entry of a page-directory-pointer table: bits 38:30 of the address choose it, and it covers 1 GiB.
    PageDirectoryPointerEntry(u64)
}
descriptor! {
    /// An entry of a page directory: bits 29:21 of the address choose it, and it covers 2 MiB.
    PageDirectoryEntry(u64)
}
descriptor! {
    /// An entry of a page table: bits 20:12 of the address choose it, and it covers 4 KiB.
    PageTableEntry(u64)
}

/// \[51:12\] Where the page, or the next table, is. Bits from the host address width on are reserved, and the low bits
/// of a large page's address as well (but for the first stage's PAT): zero.
pub const ADDRESS: Field = Field::new(12, 40);
/// \[7\] PS: 1 for a page of 1 GiB or 2 MiB, 0 for a table. Reserved in PML5 and PML4 entries; not a size in the
/// entry of a 4 KiB page.
pub const PAGE_SIZE: Field = Field::new(7, 1);

/// Fields of first-stage entries: those of 64-bit paging on Intel 64 processors.
///
/// Bits 63:52 are ignored, with the processors' execute-disable bit among them: this revision of the architecture knows
/// no requests for execution. Bits 11 and 9 are ignored; bit 10 (extended accessed) as well while EAFE is 0.
pub mod first_stage {
    use super::Field;

    /// \[0\] P: the entry is used. Reads pass.
    pub const PRESENT: Field = Field::new(0, 1);
    /// \[1\] R/W: writes pass. Requests of supervisors heed it only where WPE is set in the PASID-table entry.
    pub const WRITE: Field = Field::new(1, 1);
    /// \[2\] U/S: requests with user privilege pass as well.
    pub const USER: Field = Field::new(2, 1);
    /// \[3\] PWT, of pages: bit 0 of the index into the page attribute table (3.11.1).
    pub const PWT: Field = Field::new(3, 1);
    /// \[4\] PCD, of pages: bit 1 of that index.
    pub const PCD: Field = Field::new(4, 1);
    /// \[5\] A: used for a translation. Hardware sets it where it is clear.
    pub const ACCESSED: Field = Field::new(5, 1);
    /// \[6\] D, of pages: written to. Hardware sets it where it is clear.
    pub const DIRTY: Field = Field::new(6, 1);
    /// \[7\] PAT, of a 4 KiB page: bit 2 of the index into the page attribute table. Zero here.
    pub const PAT: Field = Field::new(7, 1);
    /// \[12\] PAT, of a larger page. Zero here.
    pub const LARGE_PAT: Field = Field::new(12, 1);
    /// \[8\] G, of pages: ignored. Zero here.
    pub const GLOBAL: Field = Field::new(8, 1);
}

/// Fields of second-stage entries.
///
/// Bits 63, 60:52, 10 and 2 are ignored, and of entries that lead to tables 9 and 6:2 as well. Bit 62 is reserved and
/// bit 61 ignored while second-stage I/O read and write bits are not enabled (SSIRWE: revision 5.20, 11.4.5).
pub mod second_stage {
    use super::Field;

    /// \[0\] R: reads pass. An entry with R and W clear is not used.
    pub const READ: Field = Field::new(0, 1);
    /// \[1\] W: writes pass.
    pub const WRITE: Field = Field::new(1, 1);
    /// \[5:3\] EMT, of pages: the memory type, where EMTE is set in the PASID-table entry. Zero here.
    pub const MEMORY_TYPE: Field = Field::new(3, 3);
    /// \[6\] IPAT, of pages: the first stage's memory type does not count, where EMTE is set. Zero here.
    pub const IGNORE_PAT: Field = Field::new(6, 1);
    /// \[8\] A: used for a translation. Hardware sets it where it is clear and SSADE is set in the PASID-table entry;
    /// ignored otherwise.
    pub const ACCESSED: Field = Field::new(8, 1);
    /// \[9\] D, of pages: written to. As A.
    pub const DIRTY: Field = Field::new(9, 1);
    /// \[11\] SNP, of pages: accesses snoop the processors' caches, whatever the request says. Reserved in entries that
    /// lead to tables, and everywhere where snoop control (SC) is not reported.
    pub const SNOOP: Field = Field::new(11, 1);
}
