//! Registers: offsets in bytes and fields.
//!
//! Source: the specification, chapter *Register Descriptions*, the section that is named after each register.

use bitfield_struct::bitfield;

/// `VER_REG`, 32 bits: the version. \[7:4\] major, \[3:0\] minor.
pub const VER: u32 = 0x00;
/// `CAP_REG`, 64 bits: [`Capability`].
pub const CAP: u32 = 0x08;
/// `ECAP_REG`, 64 bits: [`ExtendedCapability`].
pub const ECAP: u32 = 0x10;
/// `GCMD_REG`, 32 bits: [`Global`] as commands. Write only.
pub const GCMD: u32 = 0x18;
/// `GSTS_REG`, 32 bits: [`Global`] as status.
pub const GSTS: u32 = 0x1c;
/// `RTADDR_REG`, 64 bits: [`RootAddress`].
pub const RTADDR: u32 = 0x20;
/// `CCMD_REG`, 64 bits: [`ContextCommand`].
pub const CCMD: u32 = 0x28;
/// `FSTS_REG`, 32 bits: [`FaultStatus`](super::FaultStatus).
pub const FSTS: u32 = 0x34;
/// `FECTL_REG`, 32 bits: [`FECTL_MASK`].
pub const FECTL: u32 = 0x38;
/// `FEDATA_REG`, 32 bits: the data that a fault's interrupt message writes.
pub const FEDATA: u32 = 0x3c;
/// `FEADDR_REG`, 32 bits: the low half of the address that it writes to.
pub const FEADDR: u32 = 0x40;
/// `FEUADDR_REG`, 32 bits: the high half.
pub const FEUADDR: u32 = 0x44;
/// `IQH_REG`, 64 bits: the offset of the descriptor that is fetched next, in bytes from the queue's start. \[18:4\].
pub const IQH: u32 = 0x80;
/// `IQT_REG`, 64 bits: the offset of the descriptor that software writes next, as [`IQH`].
pub const IQT: u32 = 0x88;
/// `IQA_REG`, 64 bits: [`QueueAddress`].
pub const IQA: u32 = 0x90;
/// `IRTA_REG`, 64 bits: [`InterruptTableAddress`](super::InterruptTableAddress).
pub const IRTA: u32 = 0xb8;

/// `IVA_REG` is at [`ExtendedCapability::iotlb_offset`], 64 bits: [`InvalidateAddress`](super::InvalidateAddress).
pub const IVA_FROM_IRO: u32 = 0;
/// `IOTLB_REG` is 8 bytes further, 64 bits: [`IotlbCommand`].
pub const IOTLB_FROM_IRO: u32 = 8;

/// `FECTL_REG` \[31\] IM: no interrupt message is sent for faults. Set after reset.
pub const FECTL_MASK: u32 = 1 << 31;

/// `CAP_REG`, what the hardware can do.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Capability {
    /// \[2:0\] ND: there are 2^(4 + 2 ND) domain ids.
    #[bits(3)]
    pub nd: u8,
    /// \[3\] AFL: advanced fault logging (a log in memory).
    pub afl: bool,
    /// \[4\] RWBF: tables that were written become visible only after a write-buffer flush.
    pub rwbf: bool,
    /// \[5\] PLMR: a protected low memory region.
    pub plmr: bool,
    /// \[6\] PHMR: a protected high memory region.
    pub phmr: bool,
    /// \[7\] CM, caching mode: entries that are not present may be cached, so that making one present takes an
    /// invalidation, too.
    pub cm: bool,
    /// \[12:8\] SAGAW: second-stage tables that are walked. Bit 1: 3 levels, bit 2: 4, bit 3: 5.
    #[bits(5)]
    pub sagaw: u8,
    #[bits(3)]
    __: u8,
    /// \[21:16\] MGAW: the bits of a device's address that are translated, less one.
    #[bits(6)]
    pub mgaw: u8,
    /// \[22\] ZLR: reads of length zero pass pages that may only be written.
    pub zlr: bool,
    #[bits(1)]
    __: u8,
    /// \[33:24\] FRO: the fault recording registers are at 16 times this.
    #[bits(10)]
    pub fro: u16,
    /// \[37:34\] SSLPS (SLLPS): large pages of the second stage. Bit 0: 2 MiB, bit 1: 1 GiB.
    #[bits(4)]
    pub sslps: u8,
    #[bits(1)]
    __: u8,
    /// \[39\] PSI: page-selective invalidation of second-stage translations.
    pub psi: bool,
    /// \[47:40\] NFR: the number of fault recording registers, less one.
    pub nfr: u8,
    /// \[53:48\] MAMV: a page-selective invalidation reaches 2^MAMV pages at most.
    #[bits(6)]
    pub mamv: u8,
    /// \[54\] DWD: invalidation can wait for writes that were translated before.
    pub dwd: bool,
    /// \[55\] DRD: and for reads.
    pub drd: bool,
    /// \[56\] FS1GP: the first stage has 1 GiB pages.
    pub fs1gp: bool,
    #[bits(2)]
    __: u8,
    /// \[59\] PI: posted interrupts.
    pub pi: bool,
    /// \[60\] FS5LP: the first stage has five levels.
    pub fs5lp: bool,
    /// \[61\] ECMDS: enhanced commands.
    pub ecmds: bool,
    /// \[62\] ESIRTPS: setting the interrupt table's pointer empties the interrupt entry cache.
    pub esirtps: bool,
    /// \[63\] ESRTPS: setting the root table's pointer empties all caches of translation.
    pub esrtps: bool,
}

/// [`Capability::sslps`]: pages of 2 MiB.
pub const SSLPS_2M: u8 = 0b01;
/// [`Capability::sslps`]: pages of 1 GiB.
pub const SSLPS_1G: u8 = 0b10;

/// `ECAP_REG`, what else it can do.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct ExtendedCapability {
    /// \[0\] C: walks of root, context and second-stage tables look into the CPU's caches.
    pub c: bool,
    /// \[1\] QI: there is an invalidation queue.
    pub qi: bool,
    /// \[2\] DT: translation caches in devices.
    pub dt: bool,
    /// \[3\] IR: interrupt remapping.
    pub ir: bool,
    /// \[4\] EIM: interrupt destinations of 32 bits (x2APIC).
    pub eim: bool,
    #[bits(1)]
    __: u8,
    /// \[6\] PT: pass-through.
    pub pt: bool,
    /// \[7\] SC: snoop control in second-stage entries.
    pub sc: bool,
    /// \[17:8\] IRO: `IVA_REG` is at 16 times this.
    #[bits(10)]
    pub iro: u16,
    #[bits(2)]
    __: u8,
    /// \[23:20\] MHMV: an invalidation of the interrupt entry cache reaches 2^MHMV entries at most.
    #[bits(4)]
    pub mhmv: u8,
    #[bits(1)]
    __: u8,
    /// \[25\] MTS: memory types in tables.
    pub mts: bool,
    /// \[26\] NEST: nested translation.
    pub nest: bool,
    #[bits(2)]
    __: u8,
    /// \[29\] PRS: page requests.
    pub prs: bool,
    /// \[30\] ERS: execute requests.
    pub ers: bool,
    /// \[31\] SRS: supervisor requests.
    pub srs: bool,
    #[bits(1)]
    __: u8,
    /// \[33\] NWFS: the no-write flag.
    pub nwfs: bool,
    /// \[34\] EAFS: extended accessed flags.
    pub eafs: bool,
    /// \[39:35\] PSS: PASIDs have this many bits, and one.
    #[bits(5)]
    pub pss: u8,
    /// \[40\] PASID: requests with PASID.
    pub pasid: bool,
    /// \[41\] DIT: invalidation of device TLBs is throttled.
    pub dit: bool,
    /// \[42\] PDS: page-request drain.
    pub pds: bool,
    /// \[43\] SMTS: scalable mode.
    pub smts: bool,
    /// \[44\] VCS: virtual commands.
    pub vcs: bool,
    /// \[45\] SSADS: accessed and dirty flags of the second stage.
    pub ssads: bool,
    /// \[46\] SSTS (SLTS): the second stage in scalable mode.
    pub ssts: bool,
    /// \[47\] FSTS (FLTS): the first stage in scalable mode.
    pub fsts: bool,
    /// \[48\] SMPWCS: scalable-mode walks look into the CPU's caches where the PASID-table entry says so.
    pub smpwcs: bool,
    /// \[49\] RPS: `RID_PASID` in context entries; where clear, it is 0.
    pub rps: bool,
    #[bits(14)]
    __: u16,
}

impl ExtendedCapability {
    /// Where `IVA_REG` is, in bytes.
    pub const fn iotlb_offset(self) -> u32 {
        self.iro() as u32 * 16
    }
}

impl Capability {
    /// Where the fault recording register `index` is, in bytes.
    pub const fn fault_record_offset(self, index: u32) -> u32 {
        self.fro() as u32 * 16 + index * 16
    }

    /// How many fault recording registers there are.
    pub const fn fault_records(self) -> u32 {
        self.nfr() as u32 + 1
    }

    /// How many domain ids there are.
    pub const fn domain_ids(self) -> u32 {
        let bits = 4 + 2 * self.nd() as u32;
        // Domain ids have 16 bits; ND = 7 is reserved.
        1 << if bits < 16 { bits } else { 16 }
    }
}

/// `GCMD_REG` and `GSTS_REG`: the same bits command and tell. A command must repeat the present state of all others but
/// the [`ONE_SHOT`] ones, and only one may change at a time.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Global {
    #[bits(23)]
    __: u32,
    /// \[23\] CFI: interrupts in compatibility format pass.
    pub cfi: bool,
    /// \[24\] SIRTP: take the interrupt remapping table's address over. Status: it was.
    pub sirtp: bool,
    /// \[25\] IRE: interrupt remapping.
    pub ire: bool,
    /// \[26\] QIE: the invalidation queue.
    pub qie: bool,
    /// \[27\] WBF: flush the write buffer. Status: it is under way.
    pub wbf: bool,
    /// \[28\] EAFL: advanced fault logging.
    pub eafl: bool,
    /// \[29\] SFL: take the fault log's address over.
    pub sfl: bool,
    /// \[30\] SRTP: take the root table's address over. Status: it was.
    pub srtp: bool,
    /// \[31\] TE: translation. Where off, every request passes untranslated.
    pub te: bool,
}

/// The commands of [`Global`] that are not states: SIRTP, WBF, SFL and SRTP.
pub const ONE_SHOT: Global = Global::new().with_sirtp(true).with_wbf(true).with_sfl(true).with_srtp(true);

/// `RTADDR_REG`, where the root table is.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct RootAddress {
    #[bits(10)]
    __: u16,
    /// \[11:10\] TTM: what root entries look like. [`TTM_LEGACY`], [`TTM_SCALABLE`].
    #[bits(2)]
    pub ttm: u8,
    /// \[63:12\] RTA: the table's address / 4096.
    #[bits(52)]
    pub page: u64,
}

/// [`RootAddress::ttm`]: legacy mode.
pub const TTM_LEGACY: u8 = 0b00;
/// [`RootAddress::ttm`]: scalable mode.
pub const TTM_SCALABLE: u8 = 0b01;

/// `CCMD_REG`, invalidation of the context cache without the queue.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct ContextCommand {
    /// \[15:0\] DID: the domain.
    pub did: u16,
    /// \[31:16\] SID: the requester.
    pub sid: u16,
    /// \[33:32\] FM: bits of the requester's function that do not count.
    #[bits(2)]
    pub fm: u8,
    #[bits(25)]
    __: u32,
    /// \[60:59\] CAIG: how much was invalidated, as CIRG; 0 where the command was wrong.
    #[bits(2)]
    pub caig: u8,
    /// \[62:61\] CIRG: how much: [`EVERYTHING`], [`OF_DOMAIN`], [`SELECTED`] (of a requester).
    #[bits(2)]
    pub cirg: u8,
    /// \[63\] ICC: do it. Hardware clears it when done.
    pub icc: bool,
}

/// `IOTLB_REG`, invalidation of the IOTLB without the queue.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct IotlbCommand {
    __: u32,
    /// \[47:32\] DID: the domain.
    pub did: u16,
    /// \[48\] DW: wait for writes that were translated before.
    pub dw: bool,
    /// \[49\] DR: and for reads.
    pub dr: bool,
    #[bits(7)]
    __: u8,
    /// \[58:57\] IAIG: how much was invalidated, as IIRG; 0 where the command was wrong.
    #[bits(2)]
    pub iaig: u8,
    #[bits(1)]
    __: u8,
    /// \[61:60\] IIRG: how much: [`EVERYTHING`], [`OF_DOMAIN`], [`SELECTED`] (the pages in `IVA_REG`).
    #[bits(2)]
    pub iirg: u8,
    #[bits(1)]
    __: u8,
    /// \[63\] IVT: do it. Hardware clears it when done.
    pub ivt: bool,
}

/// A granularity of invalidation: everything.
pub const EVERYTHING: u8 = 0b01;
/// A granularity of invalidation: what belongs to a domain.
pub const OF_DOMAIN: u8 = 0b10;
/// A granularity of invalidation: of a domain, what belongs to a requester (context cache) or to some pages (IOTLB).
pub const SELECTED: u8 = 0b11;

/// `IQA_REG`, where the invalidation queue is.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct QueueAddress {
    /// \[2:0\] QS: it has 2^QS pages of 4 KiB.
    #[bits(3)]
    pub qs: u8,
    #[bits(8)]
    __: u8,
    /// \[11\] DW: descriptors have 256 bits, not 128. Reserved where there is no scalable mode.
    pub dw: bool,
    /// \[63:12\] IQA: its address / 4096.
    #[bits(52)]
    pub page: u64,
}
