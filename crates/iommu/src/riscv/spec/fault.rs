//! Records of the fault queue, four words of 64 bits: "Fault/Event-Queue (FQ)".

use bitfield_struct::bitfield;

/// Bytes of a record. The third word is `iotval`, the address; the fourth `iotval2`, the guest physical address.
pub const FAULT_BYTES: u64 = 32;

/// First word of a record.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct FaultHeader {
    /// \[11:0\] Cause: one of the `CAUSE_` constants.
    #[bits(12)]
    pub cause: u16,
    /// \[31:12\] Process id.
    #[bits(20)]
    pub pid: u32,
    /// \[32\] There is a process id.
    pub pv: bool,
    /// \[33\] The transaction was privileged.
    pub privileged: bool,
    /// \[39:34\] What the transaction was: one of the `TTYP_` constants.
    #[bits(6)]
    pub ttyp: u8,
    /// \[63:40\] Device id.
    #[bits(24)]
    pub did: u32,
}

/// No transaction.
pub const TTYP_NONE: u8 = 0;
/// Untranslated read for execute.
pub const TTYP_EXECUTE: u8 = 1;
/// Untranslated read.
pub const TTYP_READ: u8 = 2;
/// Untranslated write or atomic operation.
pub const TTYP_WRITE: u8 = 3;
/// Translated read for execute.
pub const TTYP_TRANSLATED_EXECUTE: u8 = 5;
/// Translated read.
pub const TTYP_TRANSLATED_READ: u8 = 6;
/// Translated write or atomic operation.
pub const TTYP_TRANSLATED_WRITE: u8 = 7;
/// PCIe translation request.
pub const TTYP_ATS_REQUEST: u8 = 8;
/// PCIe message request: `iotval` has the message code.
pub const TTYP_MESSAGE_REQUEST: u8 = 9;

/// Instruction access fault: a table of the walk is where no memory may be read.
pub const CAUSE_EXECUTE_ACCESS: u16 = 1;
/// Read address misaligned.
pub const CAUSE_READ_MISALIGNED: u16 = 4;
/// Read access fault.
pub const CAUSE_READ_ACCESS: u16 = 5;
/// Write address misaligned.
pub const CAUSE_WRITE_MISALIGNED: u16 = 6;
/// Write access fault.
pub const CAUSE_WRITE_ACCESS: u16 = 7;
/// Instruction page fault.
pub const CAUSE_EXECUTE_PAGE: u16 = 12;
/// Read page fault.
pub const CAUSE_READ_PAGE: u16 = 13;
/// Write page fault.
pub const CAUSE_WRITE_PAGE: u16 = 15;
/// Instruction guest-page fault.
pub const CAUSE_EXECUTE_GUEST_PAGE: u16 = 20;
/// Read guest-page fault.
pub const CAUSE_READ_GUEST_PAGE: u16 = 21;
/// Write guest-page fault.
pub const CAUSE_WRITE_GUEST_PAGE: u16 = 23;
/// The IOMMU is off.
pub const CAUSE_ALL_DISALLOWED: u16 = 256;
/// A directory is where no memory may be read.
pub const CAUSE_DDT_LOAD: u16 = 257;
/// The device has no context.
pub const CAUSE_DDT_INVALID: u16 = 258;
/// The device's context, or an entry on the way to it, makes no sense.
pub const CAUSE_DDT_MISCONFIGURED: u16 = 259;
/// The device's context does not allow such transactions, or its id is too wide.
pub const CAUSE_TYPE_DISALLOWED: u16 = 260;
/// A table of interrupts is where no memory may be read.
pub const CAUSE_MSI_LOAD: u16 = 261;
/// The entry of an interrupt is not valid.
pub const CAUSE_MSI_INVALID: u16 = 262;
/// The entry of an interrupt makes no sense.
pub const CAUSE_MSI_MISCONFIGURED: u16 = 263;
/// A memory-resident interrupt file is where there is no memory.
pub const CAUSE_MRIF_ACCESS: u16 = 264;
/// A process directory is where no memory may be read.
pub const CAUSE_PDT_LOAD: u16 = 265;
/// The process has no context.
pub const CAUSE_PDT_INVALID: u16 = 266;
/// The process's context makes no sense.
pub const CAUSE_PDT_MISCONFIGURED: u16 = 267;
/// A directory's data is corrupt.
pub const CAUSE_DDT_CORRUPT: u16 = 268;
/// A process directory's data is corrupt.
pub const CAUSE_PDT_CORRUPT: u16 = 269;
/// An interrupt table's data is corrupt.
pub const CAUSE_MSI_CORRUPT: u16 = 270;
/// A memory-resident interrupt file's data is corrupt.
pub const CAUSE_MRIF_CORRUPT: u16 = 271;
/// An error within the IOMMU.
pub const CAUSE_INTERNAL: u16 = 272;
/// The IOMMU's own interrupt could not be written.
pub const CAUSE_MSI_WRITE: u16 = 273;
/// A page table's data is corrupt.
pub const CAUSE_TABLE_CORRUPT: u16 = 274;
