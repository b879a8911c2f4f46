//! Commands: 16 bytes each (Arm IHI 0070, chapter 4), and what can be wrong with them (7.1).

use bitfield_struct::bitfield;

/// Bytes of a command.
pub const COMMAND_BYTES: u64 = 16;

/// Invalidates the configuration of a stream (4.3.1).
pub const CMD_CFGI_STE: u8 = 0x03;
/// Invalidates the configuration of 2^(range + 1) streams; of all, with [`CFGI_ALL_RANGE`] (4.3.2).
pub const CMD_CFGI_STE_RANGE: u8 = 0x04;
/// Invalidates a context descriptor of a stream (4.3.3).
pub const CMD_CFGI_CD: u8 = 0x05;
/// Invalidates all context descriptors of a stream (4.3.4).
pub const CMD_CFGI_CD_ALL: u8 = 0x06;
/// Invalidates stage 1 of a VMID (4.4.2). Like all of `TLBI_NH_*`, an error where there is no stage 1.
pub const CMD_TLBI_NH_ALL: u8 = 0x10;
/// Invalidates an ASID of a VMID.
pub const CMD_TLBI_NH_ASID: u8 = 0x11;
/// Invalidates an address of an ASID of a VMID.
pub const CMD_TLBI_NH_VA: u8 = 0x12;
/// Invalidates an address of all ASIDs of a VMID.
pub const CMD_TLBI_NH_VAA: u8 = 0x13;
/// Invalidates both stages of a VMID (4.4.3). An error where there is no stage 2.
pub const CMD_TLBI_S12_VMALL: u8 = 0x28;
/// Invalidates an intermediate physical address of stage 2 of a VMID; what was cached of both stages together
/// remains.
pub const CMD_TLBI_S2_IPA: u8 = 0x2a;
/// Invalidates everything of the non-secure EL1 regime.
pub const CMD_TLBI_NSNH_ALL: u8 = 0x30;
/// Answers a stalled transaction (4.6.1).
pub const CMD_RESUME: u8 = 0x44;
/// Terminates all stalled transactions of a stream (4.6.2).
pub const CMD_STALL_TERM: u8 = 0x45;
/// Is consumed when everything before it has completed (4.7.3).
pub const CMD_SYNC: u8 = 0x46;

/// [`CfgiEnd::range`] of all streams.
pub const CFGI_ALL_RANGE: u8 = 31;
/// The most units that a ranged invalidation covers, before scaling.
pub const TLBI_UNITS: u64 = 32;
/// The greatest [`TlbiStart::scale`].
pub const TLBI_SCALE_MAX: u8 = 31;
/// [`TlbiEnd::tg`]: no range.
pub const TLBI_TG_NONE: u8 = 0;
/// [`TlbiEnd::tg`]: units of 4 KiB.
pub const TLBI_TG_4K: u8 = 1;
/// [`TlbiEnd::tg`]: units of 16 KiB.
pub const TLBI_TG_16K: u8 = 2;
/// [`TlbiEnd::tg`]: units of 64 KiB.
pub const TLBI_TG_64K: u8 = 3;

/// [`CmdqCons::err`](super::CmdqCons::err): no error.
pub const CERROR_NONE: u8 = 0;
/// The command is illegal: unknown, or with fields that make no sense, or not implemented.
pub const CERROR_ILL: u8 = 1;
/// The command could not be read.
pub const CERROR_ABT: u8 = 2;
/// A `CMD_SYNC` met an ATS invalidation that timed out.
pub const CERROR_ATC_INV_SYNC: u8 = 3;

/// The first word of `CMD_CFGI_*`, `CMD_RESUME` and `CMD_STALL_TERM`.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct StreamStart {
    /// \[7:0\] The command.
    pub opcode: u8,
    #[bits(4)]
    __: u8,
    /// \[12\] `CMD_RESUME`: retry the transaction.
    pub retry: bool,
    /// \[13\] `CMD_RESUME`: if it is not retried, abort it; else it reads as zero and writes nothing.
    pub abort: bool,
    #[bits(18)]
    __: u32,
    /// \[63:32\] The stream.
    pub stream: u32,
}

/// The second word of `CMD_CFGI_STE*`.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct CfgiEnd {
    /// \[4:0\] `CMD_CFGI_STE`: in bit 0, that entries of the first level are not concerned.
    /// `CMD_CFGI_STE_RANGE`: log2 of the number of streams, less 1.
    #[bits(5)]
    pub range: u8,
    #[bits(59)]
    __: u64,
}

/// The second word of `CMD_RESUME`.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct ResumeEnd {
    /// \[15:0\] Which of the stream's transactions: as in the event.
    pub stag: u16,
    #[bits(48)]
    __: u64,
}

/// The first word of `CMD_TLBI_*`.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct TlbiStart {
    /// \[7:0\] The command.
    pub opcode: u8,
    #[bits(4)]
    __: u8,
    /// \[16:12\] In a range, the number of units, less 1.
    #[bits(5)]
    pub num: u8,
    #[bits(3)]
    __: u8,
    /// \[24:20\] In a range, log2 of the size of a unit, in granules.
    #[bits(5)]
    pub scale: u8,
    #[bits(7)]
    __: u8,
    /// \[47:32\] The VMID.
    pub vmid: u16,
    /// \[63:48\] The ASID.
    pub asid: u16,
}

/// The second word of `CMD_TLBI_*`.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct TlbiEnd {
    /// \[0\] Entries of the last level only.
    pub leaf: bool,
    #[bits(7)]
    __: u8,
    /// \[9:8\] In a range, the level of what is invalidated; 0 is any. `TG` != 0 with `NUM` = `SCALE` = `TTL` = 0 is
    /// reserved.
    #[bits(2)]
    pub ttl: u8,
    /// \[11:10\] In a range, the granule: one of `TLBI_TG_*`.
    #[bits(2)]
    pub tg: u8,
    /// \[63:12\] The address >> 12. In a range, a multiple of the granule.
    #[bits(52)]
    pub page: u64,
}

/// The first word of `CMD_SYNC`.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct SyncStart {
    /// \[7:0\] The command.
    pub opcode: u8,
    #[bits(4)]
    __: u8,
    /// \[13:12\] How completion is signalled, beside `CMDQ_CONS`: 0 not at all, 1 by interrupt, 2 by event.
    #[bits(2)]
    pub cs: u8,
    #[bits(50)]
    __: u64,
}
