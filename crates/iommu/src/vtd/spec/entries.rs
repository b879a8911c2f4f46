//! Tables that say how a requester translates.

use bitfield_struct::bitfield;

/// A root entry (one of two in scalable mode), the low 64 bits of 128 for each bus.
///
/// In legacy mode the high 64 bits are reserved. In scalable mode the low half leads to the table of device and
/// function numbers 0x00 to 0x7f, the high half to that of 0x80 to 0xff.
///
/// Source: the specification, *Root Entry* and *Scalable-Mode Root Entry*.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct RootEntry {
    /// \[0\] P: it is present.
    pub present: bool,
    #[bits(11)]
    __: u16,
    /// \[63:12\] CTP: the context table's address / 4096.
    #[bits(52)]
    pub page: u64,
}

/// Bytes of a root entry.
pub const ROOT_ENTRY_BYTES: u64 = 16;
/// Bytes of a context entry in legacy mode; a table has 256.
pub const CONTEXT_ENTRY_BYTES: u64 = 16;
/// Bytes of a context entry in scalable mode; a table has 128.
pub const SCALABLE_CONTEXT_ENTRY_BYTES: u64 = 32;

/// A context entry of legacy mode, low 64 bits of 128.
///
/// Source: the specification, *Context Entry*.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct ContextLow {
    /// \[0\] P: it is present.
    pub present: bool,
    /// \[1\] FPD: faults are not recorded.
    pub fpd: bool,
    /// \[3:2\] TT: [`TT_SECOND_STAGE`], [`TT_PASS_THROUGH`].
    #[bits(2)]
    pub tt: u8,
    #[bits(8)]
    __: u8,
    /// \[63:12\] SSPTPTR: the address of the second-stage table / 4096.
    #[bits(52)]
    pub page: u64,
}

/// [`ContextLow::tt`]: untranslated requests by the second stage, all others are refused.
pub const TT_SECOND_STAGE: u8 = 0b00;
/// [`ContextLow::tt`]: untranslated requests pass as they are, all others are refused.
pub const TT_PASS_THROUGH: u8 = 0b10;

/// A context entry of legacy mode, high 64 bits.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct ContextHigh {
    /// \[2:0\] AW: the levels of the second-stage table, less two. With pass-through: of the deepest that the hardware
    /// walks.
    #[bits(3)]
    pub aw: u8,
    #[bits(5)]
    __: u8,
    /// \[23:8\] DID: the domain id that tags cached translations.
    pub did: u16,
    #[bits(40)]
    __: u64,
}

/// A context entry of scalable mode, the first 64 bits of 256. All others are 0: `RID_PASID`, the PASID of requests that
/// carry none, is 0.
///
/// Source: the specification, *Scalable-Mode Context-Entry*.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct ScalableContext {
    /// \[0\] P: it is present.
    pub present: bool,
    /// \[1\] FPD: faults are not recorded.
    pub fpd: bool,
    /// \[2\] DTE: translation requests of devices are answered.
    pub dte: bool,
    /// \[3\] PASIDE: requests with PASID are translated; else refused.
    pub paside: bool,
    /// \[4\] PRE: page requests are taken.
    pub pre: bool,
    #[bits(4)]
    __: u8,
    /// \[11:9\] PDTS: the PASID directory has 2^(PDTS + 7) entries.
    #[bits(3)]
    pub pdts: u8,
    /// \[63:12\] PASIDDIRPTR: the PASID directory's address / 4096.
    #[bits(52)]
    pub page: u64,
}

/// The PASID that requests without one are translated with: what a context entry whose `RID_PASID` is 0 says.
pub const RID_PASID: u32 = 0;

/// An entry of a PASID directory: it leads to a table of 64 PASIDs.
///
/// Source: the specification, *Scalable-Mode PASID Directory Entry*.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct PasidDirectoryEntry {
    /// \[0\] P: it is present.
    pub present: bool,
    /// \[1\] FPD: faults are not recorded.
    pub fpd: bool,
    #[bits(10)]
    __: u16,
    /// \[63:12\] SMPTBLPTR: the PASID table's address / 4096.
    #[bits(52)]
    pub page: u64,
}

/// An entry of a PASID table, bits 63:0 of 512.
///
/// Source: the specification, *Scalable-Mode PASID Table Entry*.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct PasidLow {
    /// \[0\] P: it is present.
    pub present: bool,
    /// \[1\] FPD: faults are not recorded.
    pub fpd: bool,
    /// \[4:2\] AW: as [`ContextHigh::aw`]. The specification has it ignored with first-stage tables; QEMU derives the
    /// canonical addresses from it, so it always says as many levels as the table has.
    #[bits(3)]
    pub aw: u8,
    #[bits(1)]
    __: u8,
    /// \[8:6\] PGTT: [`PGTT_FIRST_STAGE`], [`PGTT_SECOND_STAGE`], [`PGTT_PASS_THROUGH`].
    #[bits(3)]
    pub pgtt: u8,
    /// \[9\] SSADE: hardware sets accessed and dirty flags of the second stage.
    pub ssade: bool,
    #[bits(2)]
    __: u8,
    /// \[63:12\] SSPTPTR: the address of the second-stage table / 4096.
    #[bits(52)]
    pub page: u64,
}

/// [`PasidLow::pgtt`]: first stage only.
pub const PGTT_FIRST_STAGE: u8 = 0b001;
/// [`PasidLow::pgtt`]: second stage only.
pub const PGTT_SECOND_STAGE: u8 = 0b010;
/// [`PasidLow::pgtt`]: pass-through.
pub const PGTT_PASS_THROUGH: u8 = 0b100;

/// An entry of a PASID table, bits 127:64.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct PasidMiddle {
    /// \[79:64\] DID: the domain id that tags cached translations.
    pub did: u16,
    #[bits(7)]
    __: u8,
    /// \[87\] PWSNP: walks look into the CPU's caches. Reserved where
    /// [`ExtendedCapability::smpwcs`](super::ExtendedCapability::smpwcs) is clear.
    pub pwsnp: bool,
    /// \[88\] PGSNP: and so do the requests. Reserved without snoop control.
    pub pgsnp: bool,
    #[bits(39)]
    __: u64,
}

/// An entry of a PASID table, bits 191:128. The rest is 0.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct PasidHigh {
    /// \[128\] SRE: requests with supervisor privilege are served.
    pub sre: bool,
    #[bits(1)]
    __: u8,
    /// \[131:130\] FSPM: the levels of the first-stage table, less four.
    #[bits(2)]
    pub fspm: u8,
    /// \[132\] WPE: supervisors heed read-only pages. Reserved where
    /// [`ExtendedCapability::srs`](super::ExtendedCapability::srs) is clear.
    pub wpe: bool,
    #[bits(2)]
    __: u8,
    /// \[135\] EAFE: extended accessed flags.
    pub eafe: bool,
    #[bits(4)]
    __: u8,
    /// \[191:140\] FSPTPTR: the address of the first-stage table / 4096.
    #[bits(52)]
    pub page: u64,
}
