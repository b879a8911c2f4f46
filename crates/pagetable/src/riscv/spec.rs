//! Descriptor layouts. Data only.
//!
//! Source: The RISC-V Instruction Set Manual, Volume II: Privileged Architecture: "Sv39", "Sv48" and "Sv57"
//! (page-based virtual-memory systems), "Svnapot", "Svpbmt", and "Guest Physical Address Translation" of the hypervisor
//! extension. The RISC-V IOMMU Architecture Specification uses the same formats.

use crate::layout::{descriptor, field};

field!(u64);

descriptor! {
    /// An entry of level 4 (the root of Sv57): bits 56:48 of the address choose it, and it covers 256 TiB.
    Level4Entry(u64)
}
descriptor! {
    /// An entry of level 3: bits 47:39 of the address choose it, and it covers 512 GiB.
    Level3Entry(u64)
}
descriptor! {
    /// An entry of level 2: bits 38:30 of the address choose it, and it covers 1 GiB.
    Level2Entry(u64)
}
descriptor! {
    /// An entry of level 1: bits 29:21 of the address choose it, and it covers 2 MiB.
    Level1Entry(u64)
}
descriptor! {
    /// An entry of level 0: bits 20:12 of the address choose it, and it covers 4 KiB.
    Level0Entry(u64)
}

/// \[0\] V: the entry is used.
pub const VALID: Field = Field::new(0, 1);
/// \[1\] R: reads pass. An entry with R, W and X clear leads to a table. W without R is reserved.
pub const READ: Field = Field::new(1, 1);
/// \[2\] W: writes pass.
pub const WRITE: Field = Field::new(2, 1);
/// \[3\] X: instruction fetches pass.
pub const EXECUTE: Field = Field::new(3, 1);
/// \[4\] U: for users. Of the second stage every page must have it: all accesses are checked as a user's. Reserved in
/// entries that lead to tables.
pub const USER: Field = Field::new(4, 1);
/// \[5\] G: in all address spaces. Reserved for the second stage. Zero here.
pub const GLOBAL: Field = Field::new(5, 1);
/// \[6\] A: used for a translation. Clear, an access faults, or hardware sets it. Reserved in entries that lead to
/// tables.
pub const ACCESSED: Field = Field::new(6, 1);
/// \[7\] D: written to. Clear, a write faults, or hardware sets it. Reserved in entries that lead to tables.
pub const DIRTY: Field = Field::new(7, 1);
/// \[9:8\] RSW: for software. Zero here.
pub const SOFTWARE: Field = Field::new(8, 2);
/// \[53:10\] PPN: bits 55:12 of where the page, or the next table, is. (Bits 60:54 are reserved.)
pub const PPN: Field = Field::new(10, 44);
/// \[13:10\] PPN\[3:0\] where N is set: [`NAPOT_64K`].
pub const NAPOT_SIZE: Field = Field::new(10, 4);
/// [`NAPOT_SIZE`] of a page of 64 KiB, the only size there is.
pub const NAPOT_64K: u64 = 0b1000;
/// \[62:61\] PBMT, of pages: the memory type. Reserved without Svpbmt.
pub const PBMT: Field = Field::new(61, 2);
/// [`PBMT`] of memory that is what its physical address makes it.
pub const PBMT_PMA: u64 = 0;
/// [`PBMT`] of main memory that is not cached, weakly ordered.
pub const PBMT_NC: u64 = 1;
/// [`PBMT`] of I/O: not cached, not idempotent, strongly ordered.
pub const PBMT_IO: u64 = 2;
/// \[63\] N, at level 0: one of 16 entries of a page of 64 KiB. Reserved without Svnapot, and at other levels.
pub const NAPOT: Field = Field::new(63, 1);
