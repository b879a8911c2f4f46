//! Commands, two words of 64 bits each: "Command-Queue (CQ)".

use bitfield_struct::bitfield;

/// Bytes of a command.
pub const COMMAND_BYTES: u64 = 16;

/// Opcode of commands that invalidate cached page-table entries.
pub const IOTINVAL: u8 = 1;
/// Opcode of fences.
pub const IOFENCE: u8 = 2;
/// Opcode of commands that invalidate cached directory entries.
pub const IODIR: u8 = 3;
/// Opcode of commands to devices that cache translations.
pub const ATS: u8 = 4;

/// Function of [`IOTINVAL`]: first-stage entries.
pub const VMA: u8 = 0;
/// Function of [`IOTINVAL`]: second-stage entries.
pub const GVMA: u8 = 1;
/// Function of [`IOFENCE`]: completion of what was queued before.
pub const FENCE_C: u8 = 0;
/// Function of [`IODIR`]: device contexts.
pub const INVAL_DDT: u8 = 0;
/// Function of [`IODIR`]: process contexts.
pub const INVAL_PDT: u8 = 1;

/// First word of [`IOTINVAL`]: "IOMMU Page-Table cache invalidation commands".
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Iotinval {
    /// \[6:0\] [`IOTINVAL`].
    #[bits(7, default = IOTINVAL)]
    pub opcode: u8,
    /// \[9:7\] [`VMA`] or [`GVMA`].
    #[bits(3)]
    pub func3: u8,
    /// \[10\] The second word has an address; else all addresses.
    pub av: bool,
    #[bits(1)]
    __: u8,
    /// \[31:12\] Process soft-context id.
    #[bits(20)]
    pub pscid: u32,
    /// \[32\] Only entries tagged with `pscid`. Illegal with [`GVMA`].
    pub pscv: bool,
    /// \[33\] Only entries tagged with `gscid`. 0: [`VMA`] reaches those without second stage, [`GVMA`] those of
    /// all guests.
    pub gv: bool,
    /// \[34\] Non-leaf entries on the way to the address, too. Reserved without `capabilities.nl`.
    pub nl: bool,
    #[bits(9)]
    __: u16,
    /// \[59:44\] Guest soft-context id.
    pub gscid: u16,
    #[bits(4)]
    __: u8,
}

/// Second word of [`IOTINVAL`].
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct IotinvalAddress {
    #[bits(9)]
    __: u16,
    /// \[9\] `page` names a range: with its first 0 at bit `x`, 2^(x + 1) pages. Reserved without `capabilities.s`.
    pub s: bool,
    /// \[61:10\] Bits 63:12 of the address.
    #[bits(52)]
    pub page: u64,
    #[bits(2)]
    __: u8,
}

/// First word of [`IOFENCE`]: "IOMMU Command-queue Fence commands".
///
/// It completes when all commands before it have completed. The second word has bits 63:2 of the address in its
/// bits 61:0.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Iofence {
    /// \[6:0\] [`IOFENCE`].
    #[bits(7, default = IOFENCE)]
    pub opcode: u8,
    /// \[9:7\] [`FENCE_C`].
    #[bits(3)]
    pub func3: u8,
    /// \[10\] On completion `data` is stored at the address in the second word.
    pub av: bool,
    /// \[11\] Completion raises a wired interrupt. Reserved while `fctl.wsi` is 0.
    pub wsi: bool,
    /// \[12\] Reads that the IOMMU has processed are globally ordered first.
    pub pr: bool,
    /// \[13\] Writes that the IOMMU has processed are globally ordered first.
    pub pw: bool,
    #[bits(18)]
    __: u32,
    /// \[63:32\] What is stored.
    pub data: u32,
}

/// First word of [`IODIR`]: "IOMMU directory cache invalidation commands". The second word is 0.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Iodir {
    /// \[6:0\] [`IODIR`].
    #[bits(7, default = IODIR)]
    pub opcode: u8,
    /// \[9:7\] [`INVAL_DDT`] or [`INVAL_PDT`].
    #[bits(3)]
    pub func3: u8,
    #[bits(2)]
    __: u8,
    /// \[31:12\] Process id. Reserved for [`INVAL_DDT`].
    #[bits(20)]
    pub pid: u32,
    #[bits(1)]
    __: u8,
    /// \[33\] Only the device `did`. 0: all devices.
    pub dv: bool,
    #[bits(6)]
    __: u8,
    /// \[63:40\] Device id; not wider than `ddtp.mode` allows.
    #[bits(24)]
    pub did: u32,
}
