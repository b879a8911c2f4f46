//! Where the registers of an MSM SMMU are, and which of their bits exist.
//!
//! From Linux `arch/arm/mach-msm/include/mach/msm_iommu_hw-8xxx.h` and `drivers/iommu/msm_iommu_hw-8xxx.h`.
//! These constants are the model's own; the driver has others, so that a slip in either is noticed.

/// Bytes of one context bank, and of the page of global registers.
pub const PAGE: u32 = 0x1000;

/// Registers in the page of global registers, by offset from its start.
pub mod global {
    /// `M2VCBR` of master id 0, one word for each: which context bank takes its transactions.
    pub const M2VCBR: u32 = 0x000;
    /// `CBACR` of context 0, one word for each: who may use the bank, and its VMID.
    pub const CBACR: u32 = 0x800;
    /// Which TLB entry `TLBTR0` to `TLBTR2` show.
    pub const TLBRSW: u32 = 0xe00;
    /// A TLB entry's rights and attributes.
    pub const TLBTR0: u32 = 0xe80;
    /// A TLB entry's VMID and physical address.
    pub const TLBTR1: u32 = 0xe84;
    /// A TLB entry's ASID and virtual address.
    pub const TLBTR2: u32 = 0xe88;
    /// Test bus control.
    pub const TESTBUSCR: u32 = 0xe8c;
    /// A write drops every TLB entry.
    pub const GLOBAL_TLBIALL: u32 = 0xf00;
    /// A write drops the TLB entries of a VMID.
    pub const TLBIVMID: u32 = 0xf04;
    /// Control.
    pub const CR: u32 = 0xf80;
    /// The address of the first transaction that no context took.
    pub const EAR: u32 = 0xf84;
    /// What went wrong with transactions that no context took; write one to clear.
    pub const ESR: u32 = 0xf88;
    /// Writes `ESR` as it is.
    pub const ESRRESTORE: u32 = 0xf8c;
    /// Who made the transaction of `EAR`.
    pub const ESYNR0: u32 = 0xf90;
    /// What the transaction of `EAR` was.
    pub const ESYNR1: u32 = 0xf94;
    /// Revision.
    pub const REV: u32 = 0xff4;
    /// What the hardware consists of.
    pub const IDR: u32 = 0xff8;
    /// Access control of the resource protection unit.
    pub const RPU_ACR: u32 = 0xffc;
}

/// Registers in a context bank, by offset from its start.
pub mod context {
    /// System control.
    pub const SCTLR: u32 = 0x000;
    /// Auxiliary control.
    pub const ACTLR: u32 = 0x004;
    /// The address space's number.
    pub const CONTEXTIDR: u32 = 0x008;
    /// Table base of the low addresses.
    pub const TTBR0: u32 = 0x010;
    /// Table base of the high addresses.
    pub const TTBR1: u32 = 0x014;
    /// Where the split is.
    pub const TTBCR: u32 = 0x018;
    /// The result of a translation asked for.
    pub const PAR: u32 = 0x01c;
    /// Faults; write one to clear.
    pub const FSR: u32 = 0x020;
    /// Writes `FSR` as it is.
    pub const FSRRESTORE: u32 = 0x024;
    /// The address that faulted.
    pub const FAR: u32 = 0x028;
    /// Who made the transaction that faulted.
    pub const FSYNR0: u32 = 0x02c;
    /// What the transaction that faulted was.
    pub const FSYNR1: u32 = 0x030;
    /// Primary region remap.
    pub const PRRR: u32 = 0x034;
    /// Normal memory remap.
    pub const NMRR: u32 = 0x038;
    /// TLB lockdown.
    pub const TLBLKCR: u32 = 0x03c;
    /// Whether the last translation asked for hit the TLB, and where.
    pub const V2PSR: u32 = 0x040;
    /// The last first-level entry that was walked.
    pub const TLBFLPTER: u32 = 0x044;
    /// The last second-level entry that was walked.
    pub const TLBSLPTER: u32 = 0x048;
    /// Block fetch buffer control.
    pub const BFBCR: u32 = 0x04c;
    /// A write drops the TLB entries of the bank's VMID.
    pub const CTX_TLBIALL: u32 = 0x800;
    /// A write drops the TLB entries of an ASID.
    pub const TLBIASID: u32 = 0x804;
    /// A write drops the TLB entries of an address and an ASID.
    pub const TLBIVA: u32 = 0x808;
    /// A write drops the TLB entries of an address.
    pub const TLBIVAA: u32 = 0x80c;
    /// Translate as a privileged read.
    pub const V2PPR: u32 = 0x810;
    /// Translate as a privileged write.
    pub const V2PPW: u32 = 0x814;
    /// Translate as a user's read.
    pub const V2PUR: u32 = 0x818;
    /// Translate as a user's write.
    pub const V2PUW: u32 = 0x81c;
    /// Lets a stalled transaction go on: 0 retries it, 1 terminates it.
    pub const RESUME: u32 = 0x820;
}

/// What can be done with a register that merely keeps bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Its offset.
    pub offset: u32,
    /// The bits that exist; others read as zero.
    pub mask: u32,
}

const fn kept(offset: u32, mask: u32) -> Kept {
    Kept { offset, mask }
}

/// Fault syndrome 1: AMEMTYPE, ASHARED, AINNERSHARED, APRIV, APROTNS, AINST, AWRITE, ABURST, ALEN, ASIZE, ALOCK, AFULL.
const FSYNR1_MASK: u32 = 0x0137_f5ff;

/// The context registers that keep what is written to them.
pub const CONTEXT_KEPT: [Kept; 16] = [
    kept(context::SCTLR, 0x0000_003f),
    kept(context::ACTLR, 0x00f7_ff7f),
    kept(context::CONTEXTIDR, 0xffff_ffff),
    // Bits 13:7 are address bits of TTBR0 when TTBCR.N makes its table shorter (Arm ARM DDI 0406C B4.1.154).
    kept(context::TTBR0, 0xffff_fffb),
    kept(context::TTBR1, 0xffff_c07b),
    kept(context::TTBCR, 0x0000_0037),
    kept(context::PAR, 0xffff_ffff),
    kept(context::FAR, 0xffff_ffff),
    kept(context::FSYNR0, 0xff00_ffff),
    kept(context::FSYNR1, FSYNR1_MASK),
    kept(context::PRRR, 0xff0f_ffff),
    kept(context::NMRR, 0xffff_ffff),
    kept(context::TLBLKCR, 0x0000_ff0f),
    kept(context::TLBFLPTER, 0xffff_ffff),
    kept(context::TLBSLPTER, 0xffff_ffff),
    kept(context::BFBCR, 0xffff_fff7),
];

/// The global registers that keep what is written to them.
pub const GLOBAL_KEPT: [Kept; 7] = [
    kept(global::TLBRSW, 0x0000_03ff),
    kept(global::TESTBUSCR, 0xffff_ffff),
    kept(global::CR, 0x0000_03ff),
    kept(global::EAR, 0xffff_ffff),
    kept(global::ESYNR0, 0xff1f_ffff),
    // As FSYNR1 with AOOO, AC and DCD, and one bit of ASIZE.
    kept(global::ESYNR1, 0xc171_f5ff),
    kept(global::RPU_ACR, 0xffff_ffff),
];

/// `M2VCBR`: VMID, CBNDX, BYPASSD and the attributes of what bypasses.
pub const M2VCBR_MASK: u32 = 0x0fff_ff1f;
/// `M2VCBR.VMID`.
pub const M2VCBR_VMID: u32 = 0x1f;
/// The lowest bit of `M2VCBR.CBNDX`, eight bits.
pub const M2VCBR_CBNDX: u32 = 8;
/// `M2VCBR.BYPASSD`: transactions that no context takes are refused.
pub const M2VCBR_BYPASSD: u32 = 1 << 16;

/// `CBACR`: RWVMID, RWE, RWGE, CBVMID, IRPTNDX.
pub const CBACR_MASK: u32 = 0xff1f_031f;
/// The lowest bit of `CBACR.CBVMID`, five bits.
pub const CBACR_CBVMID: u32 = 16;
/// The lowest bit of `CBACR.IRPTNDX`, eight bits: which line the context's faults raise.
pub const CBACR_IRPTNDX: u32 = 24;

/// `CR.RPUEIE`: transactions that no context took raise the global interrupt.
pub const CR_RPUEIE: u32 = 1 << 2;
/// `CR.CLIENTPD`: every transaction passes untranslated.
pub const CR_CLIENTPD: u32 = 1 << 4;
/// `CR.STALLD`: no transaction is stalled.
pub const CR_STALLD: u32 = 1 << 5;

/// `ESR.BYPASS`: a transaction was refused because no context took it.
pub const ESR_BYPASS: u32 = 1 << 1;
/// `ESR.MULTI` and `FSR.MULTI`: there was another one before the first was cleared.
pub const MULTI: u32 = 1 << 31;
/// The bits of `ESR`: CFG, BYPASS, MULTI.
pub const ESR_MASK: u32 = 1 | ESR_BYPASS | MULTI;

/// `SCTLR.M`: the context translates.
pub const SCTLR_M: u32 = 1;
/// `SCTLR.TRE`: memory types are remapped.
pub const SCTLR_TRE: u32 = 1 << 1;
/// `SCTLR.AFE`: AP\[0\] is the access flag.
pub const SCTLR_AFE: u32 = 1 << 2;
/// `SCTLR.HAF`: the hardware sets the access flag.
pub const SCTLR_HAF: u32 = 1 << 3;
/// `SCTLR.BE`: tables are big-endian.
pub const SCTLR_BE: u32 = 1 << 4;
/// `SCTLR.AFFD`: a clear access flag is no fault.
pub const SCTLR_AFFD: u32 = 1 << 5;

/// `ACTLR.CFEIE`: a fault raises the context's interrupt.
pub const ACTLR_CFEIE: u32 = 1 << 1;
/// The lowest bit of `ACTLR.PRIVCFG`, two bits.
pub const ACTLR_PRIVCFG: u32 = 8;
/// The lowest bit of `ACTLR.TLBMCFG`, two bits: 3 walks the tables on a miss.
pub const ACTLR_TLBMCFG: u32 = 12;
/// `ACTLR.CFCFG`: a transaction that faults is stalled.
pub const ACTLR_CFCFG: u32 = 1 << 14;
/// The lowest bit of `ACTLR.V2PCFG`, two bits: 3 walks the tables for translations asked for.
pub const ACTLR_V2PCFG: u32 = 16;

/// `FSR.TF`, `PAR.TF`: nothing is mapped.
pub const TF: u32 = 1 << 1;
/// `FSR.AFF`, `PAR.AFF`: the access flag is clear.
pub const AFF: u32 = 1 << 2;
/// `FSR.APF`, `PAR.APF`: not permitted.
pub const APF: u32 = 1 << 3;
/// `FSR.TLBMF`, `PAR.TLBMF`: a TLB miss where misses are not walked.
pub const TLBMF: u32 = 1 << 4;
/// `FSR.HTWDEEF`, `PAR.HTWDEEF`: no memory answered the walk (a decode error).
pub const HTWDEEF: u32 = 1 << 5;
/// `FSR.HTWSEEF`, `PAR.HTWSEEF`: a memory answered the walk with an error.
pub const HTWSEEF: u32 = 1 << 6;
/// `FSR.MHF`, `PAR.MHF`: several TLB entries matched.
pub const MHF: u32 = 1 << 7;
/// `FSR.SL`, `PAR.SL`: at the second level.
pub const SL: u32 = 1 << 16;
/// `FSR.SS`, `PAR.SS` of a fault: the transaction is stalled.
pub const SS: u32 = 1 << 30;
/// The bits of `FSR` that say what the fault was.
pub const FAULTS: u32 = TF | AFF | APF | TLBMF | HTWDEEF | HTWSEEF | MHF;
/// The bits of `FSR`.
pub const FSR_MASK: u32 = FAULTS | SL | SS | MULTI;

/// `PAR.F`: the translation asked for failed.
pub const PAR_F: u32 = 1;
/// `PAR.SS` of a success: the leaf is a supersection.
pub const PAR_SUPERSECTION: u32 = 1 << 1;
/// The lowest bit of `PAR.MT`, three bits.
pub const PAR_MT: u32 = 4;
/// `PAR.SH`: shareable.
pub const PAR_SH: u32 = 1 << 7;
/// `PAR.NS`: non-secure.
pub const PAR_NS: u32 = 1 << 9;
/// `PAR.NOS`: not outer shareable.
pub const PAR_NOS: u32 = 1 << 10;
