//! Identification registers (Arm IHI 0070, 6.3.1 to 6.3.8).

use bitfield_struct::bitfield;

/// What is implemented: see [`Idr0`].
pub const IDR0: u32 = 0x00;
/// Sizes: see [`Idr1`].
pub const IDR1: u32 = 0x04;
/// Features of tables and invalidation: see [`Idr3`].
pub const IDR3: u32 = 0x0c;
/// Address sizes and granules: see [`Idr5`].
pub const IDR5: u32 = 0x14;
/// Who made it: see [`Iidr`].
pub const IIDR: u32 = 0x18;
/// The version of the architecture: see [`Aidr`].
pub const AIDR: u32 = 0x1c;

/// `IDR0`.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Idr0 {
    /// \[0\] Stage 2.
    pub s2p: bool,
    /// \[1\] Stage 1.
    pub s1p: bool,
    /// \[3:2\] Table formats: bit 1 of it is `AArch64` (2, and 3 together with `AArch32`).
    #[bits(2)]
    pub ttf: u8,
    /// \[4\] Accesses of the SMMU itself to tables and queues are coherent with the CPUs' caches.
    pub cohacc: bool,
    /// \[5\] Broadcast TLB maintenance.
    pub btm: bool,
    /// \[7:6\] Hardware update of access and dirty flags.
    #[bits(2)]
    pub httu: u8,
    /// \[8\] Dormant hint.
    pub dormhint: bool,
    /// \[9\] EL2 translation regimes.
    pub hyp: bool,
    /// \[10\] Address translation services of PCI Express.
    pub ats: bool,
    /// \[11\] Split-stage ATS.
    pub ns1ats: bool,
    /// \[12\] ASIDs have 16 bits; else 8.
    pub asid16: bool,
    /// \[13\] Interrupts as messages.
    pub msi: bool,
    /// \[14\] Completion of `CMD_SYNC` as an event for `WFE`.
    pub sev: bool,
    /// \[15\] Address translation operations.
    pub atos: bool,
    /// \[16\] Page requests of PCI Express.
    pub pri: bool,
    /// \[17\] Wildcards of VMIDs.
    pub vmw: bool,
    /// \[18\] VMIDs have 16 bits; else 8.
    pub vmid16: bool,
    /// \[19\] Tables of context descriptors with two levels.
    pub cd2l: bool,
    /// \[20\] Address translation operations of virtual machines.
    pub vatos: bool,
    /// \[22:21\] Endianness of tables: 0 both, 2 little, 3 big.
    #[bits(2)]
    pub ttendian: u8,
    /// \[23\] Errors of translated ATS transactions can be recorded.
    pub atsrecerr: bool,
    /// \[25:24\] See [`STALL_MODEL_BOTH`] and its fellows.
    #[bits(2)]
    pub stall_model: u8,
    /// \[26\] Terminated transactions are always aborted (`CD.A` must be 1).
    pub term_model: bool,
    /// \[28:27\] 1: stream tables with two levels.
    #[bits(2)]
    pub st_level: u8,
    #[bits(3)]
    __: u8,
}

/// [`Idr0::stall_model`]: faulting transactions stall or terminate, as configured.
pub const STALL_MODEL_BOTH: u8 = 0;
/// [`Idr0::stall_model`]: they always terminate; `CD.S` and `STE.S2S` must be 0.
pub const STALL_MODEL_TERMINATE: u8 = 1;
/// [`Idr0::stall_model`]: they always stall; `CD.S` and `STE.S2S` must be 1.
pub const STALL_MODEL_FORCED: u8 = 2;

/// `IDR1`.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Idr1 {
    /// \[5:0\] Bits of a stream id: 0 to 32.
    #[bits(6)]
    pub sidsize: u8,
    /// \[10:6\] Bits of a substream id: 0 (none) to 20.
    #[bits(5)]
    pub ssidsize: u8,
    /// \[15:11\] log2 of the most entries of the page-request queue.
    #[bits(5)]
    pub priqs: u8,
    /// \[20:16\] log2 of the most entries of the event queue.
    #[bits(5)]
    pub eventqs: u8,
    /// \[25:21\] log2 of the most entries of the command queue.
    #[bits(5)]
    pub cmdqs: u8,
    /// \[26\] Incoming permissions can be overridden.
    pub attr_perms_ovr: bool,
    /// \[27\] Incoming memory types can be overridden.
    pub attr_types_ovr: bool,
    /// \[28\] Preset bases are relative to the registers.
    pub rel: bool,
    /// \[29\] The bases of queues are fixed.
    pub queues_preset: bool,
    /// \[30\] The base of the stream table is fixed.
    pub tables_preset: bool,
    /// \[31\] Enhanced command queues.
    pub ecmdq: bool,
}

/// `IDR3`.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Idr3 {
    #[bits(2)]
    __: u8,
    /// \[2\] Hierarchical attributes can be disabled.
    pub had: bool,
    /// \[3\] Page-based hardware attributes.
    pub pbha: bool,
    /// \[4\] Execute-never of stage 2 by privilege.
    pub xnx: bool,
    /// \[5\] Page requests with substreams.
    pub pps: bool,
    #[bits(1)]
    __: u8,
    /// \[7\] Memory partitioning.
    pub mpam: bool,
    /// \[8\] Forced write-back by stage 2.
    pub fwb: bool,
    /// \[9\] Small translation tables.
    pub stt: bool,
    /// \[10\] Invalidation of ranges and by level.
    pub ril: bool,
    /// \[12:11\] How pages may change their size while in use: break-before-make level 0 to 2.
    #[bits(2)]
    pub bbml: u8,
    #[bits(19)]
    __: u32,
}

/// `IDR5`.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Idr5 {
    /// \[2:0\] Size of output addresses: an index into [`ADDRESS_SIZES`](super::ADDRESS_SIZES); 6 is 52 bits.
    #[bits(3)]
    pub oas: u8,
    #[bits(1)]
    __: u8,
    /// \[4\] The granule of 4 KiB.
    pub gran4k: bool,
    /// \[5\] The granule of 16 KiB.
    pub gran16k: bool,
    /// \[6\] The granule of 64 KiB.
    pub gran64k: bool,
    #[bits(3)]
    __: u8,
    /// \[11:10\] Size of input addresses of stage 1: 0 is 48 bits, 1 is 52.
    #[bits(2)]
    pub vax: u8,
    #[bits(4)]
    __: u8,
    /// \[31:16\] The most transactions that can be stalled.
    pub stall_max: u16,
}

/// `IIDR`.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Iidr {
    /// \[11:0\] The maker, as of JEP106.
    #[bits(12)]
    pub implementer: u16,
    /// \[15:12\] Minor revision.
    #[bits(4)]
    pub revision: u8,
    /// \[19:16\] Major revision.
    #[bits(4)]
    pub variant: u8,
    /// \[31:20\] The product.
    #[bits(12)]
    pub product: u16,
}

/// `AIDR`.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Aidr {
    /// \[3:0\] n of `SMMUv3.n`.
    #[bits(4)]
    pub minor: u8,
    /// \[7:4\] 0: `SMMUv3`.
    #[bits(4)]
    pub major: u8,
    #[bits(24)]
    __: u32,
}
