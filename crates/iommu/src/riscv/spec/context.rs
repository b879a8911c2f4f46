//! Device directories and device contexts: "Device-Directory-Table (DDT)".

use bitfield_struct::bitfield;

/// Bytes of a device context where `capabilities.msi_flat` is 0: `tc`, `iohgatp`, `ta`, `fsc`.
pub const BASE_CONTEXT_BYTES: u64 = 32;
/// Bytes of a device context where `capabilities.msi_flat` is 1: those, then `msiptp`, `msi_addr_mask`,
/// `msi_addr_pattern` and a reserved word.
pub const EXTENDED_CONTEXT_BYTES: u64 = 64;

/// Bits of a device id that choose within a directory's middle page: `DDI[1]`.
pub const MIDDLE_INDEX_BITS: u32 = 9;
/// Bits of the widest device id.
pub const DEVICE_ID_BITS: u32 = 24;

/// Offset of `tc` in a device context: [`Tc`].
pub const TC: u64 = 0;
/// Offset of `iohgatp` in a device context: [`Iohgatp`].
pub const IOHGATP: u64 = 8;
/// Offset of `ta` in a device context: [`Ta`].
pub const TA: u64 = 16;
/// Offset of `fsc` in a device context: [`Iosatp`].
pub const FSC: u64 = 24;
/// Offset of `msiptp` in an extended device context: bits 63:60 are 0 (`Off`) where interrupts are not translated.
pub const MSIPTP: u64 = 32;
/// Offset of `msi_addr_mask` in an extended device context.
pub const MSI_ADDR_MASK: u64 = 40;
/// Offset of `msi_addr_pattern` in an extended device context.
pub const MSI_ADDR_PATTERN: u64 = 48;

/// An entry that leads to the next page of a directory: "Non-leaf DDT entry".
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct DirectoryEntry {
    /// \[0\] Valid. What is not valid is never cached.
    pub v: bool,
    #[bits(9)]
    __: u16,
    /// \[53:10\] Page number.
    #[bits(44)]
    pub ppn: u64,
    #[bits(10)]
    __: u16,
}

/// `tc`: "Translation control".
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Tc {
    /// \[0\] Valid. What is not valid is never cached.
    pub v: bool,
    /// \[1\] The device may cache translations.
    pub en_ats: bool,
    /// \[2\] The device may request pages.
    pub en_pri: bool,
    /// \[3\] It is given guest physical addresses.
    pub t2gpa: bool,
    /// \[4\] Faults of translation are not recorded.
    pub dtf: bool,
    /// \[5\] `fsc` is a process directory.
    pub pdtv: bool,
    /// \[6\] Answers to page requests carry a process id.
    pub prpr: bool,
    /// \[7\] Hardware updates accessed and dirty in the second stage. 0: a leaf without them faults.
    pub gade: bool,
    /// \[8\] Hardware updates accessed and dirty in the first stage. 0: a leaf without them faults.
    pub sade: bool,
    /// \[9\] Transactions without process id are of process 0.
    pub dpe: bool,
    /// \[10\] First-stage tables are big-endian.
    pub sbe: bool,
    /// \[11\] The first stage is Sv32.
    pub sxl: bool,
    #[bits(52)]
    __: u64,
}

/// `iohgatp`, the second stage: "IO hypervisor guest address translation and protection".
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Iohgatp {
    /// \[43:0\] Page number of the root table, a multiple of 4: the root has 16 KiB.
    #[bits(44)]
    pub ppn: u64,
    /// \[59:44\] Guest soft-context id.
    pub gscid: u16,
    /// \[63:60\] [`BARE`], or [`translation_mode`] for Sv39x4, Sv48x4 and Sv57x4 while `fctl.gxl` is 0.
    #[bits(4)]
    pub mode: u8,
}

/// `ta`: "Translation attributes".
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Ta {
    #[bits(12)]
    __: u16,
    /// \[31:12\] Process soft-context id.
    #[bits(20)]
    pub pscid: u32,
    #[bits(32)]
    __: u32,
}

/// `iosatp`, the first stage, in `fsc` while `tc.pdtv` is 0: "First-Stage context".
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Iosatp {
    /// \[43:0\] Page number of the root table: of the guest's memory where there is a second stage.
    #[bits(44)]
    pub ppn: u64,
    #[bits(16)]
    __: u16,
    /// \[63:60\] [`BARE`], or [`translation_mode`] for Sv39, Sv48 and Sv57 while `tc.sxl` is 0.
    #[bits(4)]
    pub mode: u8,
}

/// `mode` of a stage that does not translate.
pub const BARE: u8 = 0;

/// `mode` of a stage with `levels` levels: 8 is Sv39 (3 levels), 9 Sv48, 10 Sv57.
pub const fn translation_mode(levels: u8) -> u8 {
    levels + 5
}
