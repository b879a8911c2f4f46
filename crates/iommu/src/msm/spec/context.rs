//! Context registers: one of each per context bank, at [`context_register`](super::context_register).

#[cfg(doc)]
use super::{Fsr, Fsynr0, Fsynr1, Resume};
use bitfield_struct::bitfield;

/// System control. See [`Sctlr`].
pub const SCTLR: u32 = 0x000;
/// Auxiliary control. See [`Actlr`].
pub const ACTLR: u32 = 0x004;
/// The ASID that tags the bank's TLB entries. See [`Contextidr`].
pub const CONTEXTIDR: u32 = 0x008;
/// Translation table base 0: the low half, or all addresses. See [`Ttbr`].
pub const TTBR0: u32 = 0x010;
/// Translation table base 1: the high half. See [`Ttbr`].
pub const TTBR1: u32 = 0x014;
/// Translation table base control. See [`Ttbcr`].
pub const TTBCR: u32 = 0x018;
/// The result of a translation that was asked for. See [`Par`].
pub const PAR: u32 = 0x01C;
/// Fault status, cleared by writing ones. See [`Fsr`].
pub const FSR: u32 = 0x020;
/// Writes [`FSR`] as it is, to restore a saved state or to clear it.
pub const FSRRESTORE: u32 = 0x024;
/// Fault address: the virtual address of the transaction that [`FSR`] tells of.
pub const FAR: u32 = 0x028;
/// Who issued the transaction that [`FSR`] tells of. See [`Fsynr0`].
pub const FSYNR0: u32 = 0x02C;
/// What the transaction that [`FSR`] tells of was. See [`Fsynr1`].
pub const FSYNR1: u32 = 0x030;
/// Primary region remap: memory types by class. See [`Prrr`].
pub const PRRR: u32 = 0x034;
/// Normal memory remap: cache policies by class. See [`Nmrr`].
pub const NMRR: u32 = 0x038;
/// TLB lockdown. See [`Tlblkcr`].
pub const TLBLKCR: u32 = 0x03C;
/// The TLB's answer to a translation that was asked for. See [`V2psr`].
pub const V2PSR: u32 = 0x040;
/// The last level-1 table entry walked.
pub const TLBFLPTER: u32 = 0x044;
/// The last level-2 table entry walked.
pub const TLBSLPTER: u32 = 0x048;
/// Burst fill buffer control. See [`Bfbcr`].
pub const BFBCR: u32 = 0x04C;
/// A write of any value drops the TLB entries of the bank's context.
pub const CTX_TLBIALL: u32 = 0x800;
/// A write drops the non-global TLB entries with an ASID (bits 7:0).
pub const TLBIASID: u32 = 0x804;
/// A write drops the TLB entry of an ASID and a page. See [`Tlbiva`].
pub const TLBIVA: u32 = 0x808;
/// A write drops the TLB entries of a page (bits 31:12), whatever their ASID.
pub const TLBIVAA: u32 = 0x80C;
/// Asks for a translation as a privileged read. See [`V2pxx`].
pub const V2PPR: u32 = 0x810;
/// Asks for a translation as a privileged write. See [`V2pxx`].
pub const V2PPW: u32 = 0x814;
/// Asks for a translation as a user read. See [`V2pxx`].
pub const V2PUR: u32 = 0x818;
/// Asks for a translation as a user write. See [`V2pxx`].
pub const V2PUW: u32 = 0x81C;
/// Answers a stalled transaction. See [`Resume`].
pub const RESUME: u32 = 0x820;

/// A value of [`Actlr::tlbmcfg`]: a TLB miss walks the tables (`msm_iommu.c`).
pub const TLBMCFG_WALK: u8 = 3;
/// A value of [`Actlr::v2pcfg`]: a translation that was asked for walks the tables (`msm_iommu.c`).
pub const V2PCFG_WALK: u8 = 3;
/// A value of [`Actlr::v2pcfg`]: the one with which the liveness probe of `msm_iommu_dev.c` asks for a
/// translation.
pub const V2PCFG_PROBE: u8 = 1;

/// `SCTLR`, system control. Arm ARM DDI 0406C B4.1 for the fields that it shares.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Sctlr {
    /// \[0\] MMU enable: transactions are translated. 0: they bypass, or are terminated by
    /// [`M2vcbr::bypassd`](super::M2vcbr::bypassd).
    pub m: bool,
    /// \[1\] TEX remap enable: TEX\[0\], C and B choose one of eight classes of [`PRRR`] and [`NMRR`].
    pub tre: bool,
    /// \[2\] Access flag enable: AP\[0\] of an entry is its access flag.
    pub afe: bool,
    /// \[3\] Hardware sets the access flag.
    pub haf: bool,
    /// \[4\] Tables are big-endian.
    pub be: bool,
    /// \[5\] Access flag fault disable.
    pub affd: bool,
    #[bits(26)]
    __: u32,
}

/// `ACTLR`, auxiliary control.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Actlr {
    /// \[0\] A context fault answers on the bus with an error.
    pub cfere: bool,
    /// \[1\] A context fault raises an interrupt.
    pub cfeie: bool,
    /// \[3:2\] Shareability of table walks.
    #[bits(2)]
    pub ptshcfg: u8,
    /// \[4\] Outer-shareable requests go to the slave port of the level-2 cache.
    pub rcosh: bool,
    /// \[5\] Inner-shareable requests go to the slave port of the level-2 cache.
    pub rcish: bool,
    /// \[6\] Non-shareable requests go to the slave port of the level-2 cache.
    pub rcnsh: bool,
    #[bits(1)]
    __: u8,
    /// \[9:8\] Overrides the privilege of transactions.
    #[bits(2)]
    pub privcfg: u8,
    /// \[10\] (open)
    pub dna: bool,
    /// \[11\] (open)
    pub dnlv2pa: bool,
    /// \[13:12\] What a TLB miss does; 3 walks the tables.
    #[bits(2)]
    pub tlbmcfg: u8,
    /// \[14\] 1: a transaction that faults is stalled until [`RESUME`]; 0: it is terminated.
    pub cfcfg: bool,
    /// \[15\] (open) By its name, whether a table walk in progress may fault.
    pub tipcf: bool,
    /// \[17:16\] What a TLB miss of a translation that was asked for does; 3 walks the tables.
    #[bits(2)]
    pub v2pcfg: u8,
    /// \[18\] Hit under miss enable.
    pub hume: bool,
    #[bits(1)]
    __: u8,
    /// \[20\] Table walks get the memory type `ptmemtype`.
    pub ptmtcfg: bool,
    /// \[23:21\] Memory type for table walks.
    #[bits(3)]
    pub ptmemtype: u8,
    #[bits(8)]
    __: u8,
}

/// `CONTEXTIDR`, context id. Arm ARM DDI 0406C B4.1.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Contextidr {
    /// \[7:0\] The ASID.
    pub asid: u8,
    /// \[31:8\] A process id; nothing depends on it.
    #[bits(24)]
    pub procid: u32,
}

/// `TTBR0` and `TTBR1`, translation table bases, without the address: see [`Ttbr::with_table`].
///
/// Arm ARM DDI 0406C B4.1 (the layout of the multiprocessing extensions).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Ttbr {
    /// \[0\] The upper bit of the walks' inner cache policy; with `irgnl` 01 is write-back, write-allocate.
    pub irgnh: bool,
    /// \[1\] Walks are shareable.
    pub sh: bool,
    #[bits(1)]
    __: u8,
    /// \[4:3\] The walks' outer cache policy; 1 is write-back, write-allocate.
    #[bits(2)]
    pub orgn: u8,
    /// \[5\] Shareable walks are inner shareable only.
    pub nos: bool,
    /// \[6\] The lower bit of the walks' inner cache policy.
    pub irgnl: bool,
    /// \[31:7\] Bits 31:7 of the table's physical address. The header has the field at \[31:14\], the place
    /// of a table of 16 KiB; a low table with `TTBCR.N` > 0 is smaller and uses \[31:14-N\] (Arm ARM DDI
    /// 0406C B4.1).
    #[bits(25)]
    pub address: u32,
}

impl Ttbr {
    /// The same attributes for the table at physical address `table`, below 4 GiB and a multiple of 128
    /// bytes.
    #[must_use]
    pub const fn with_table(self, table: u32) -> Self {
        self.with_address(table >> 7)
    }

    /// The table's physical address.
    pub const fn table(self) -> u32 {
        self.address() << 7
    }
}

/// `TTBCR`, translation table base control. Arm ARM DDI 0406C B4.1.
///
/// The Linux header gives `N` a shift of 3. That is a mistake: the architecture has it at \[2:0\], `PD0`
/// would share bit 4 with it, and the drivers that use a split write the whole register with the split in its
/// lowest bits.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Ttbcr {
    /// \[2:0\] 0: [`TTBR0`] serves all addresses. N > 0: it serves those whose top N bits are zero, [`TTBR1`]
    /// all others.
    #[bits(3)]
    pub n: u8,
    #[bits(1)]
    __: u8,
    /// \[4\] A TLB miss that would walk [`TTBR0`] faults instead.
    pub pd0: bool,
    /// \[5\] A TLB miss that would walk [`TTBR1`] faults instead.
    pub pd1: bool,
    #[bits(26)]
    __: u32,
}

/// `PAR`, the result of a translation that was asked for. [`Par::f`] decides which fields hold.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Par {
    /// \[0\] The translation faulted: bits 7:1, 16 and 30 are those of [`Fsr`].
    pub f: bool,
    /// \[1\] Without a fault: mapped by a supersection, and `pa` counts in 16 MiB.
    pub ss: bool,
    #[bits(2)]
    __: u8,
    /// \[6:4\] Without a fault: memory type.
    #[bits(3)]
    pub mt: u8,
    /// \[7\] Without a fault: shareable.
    pub sh: bool,
    #[bits(1)]
    __: u8,
    /// \[9\] Without a fault: non-secure.
    pub ns: bool,
    /// \[10\] Without a fault: inner shareable only.
    pub nos: bool,
    #[bits(1)]
    __: u8,
    /// \[31:12\] Without a fault: bits 31:12 of the physical address; of a supersection 31:24 only.
    #[bits(20)]
    pub pa: u32,
}

/// `PRRR`, primary region remap. Arm ARM DDI 0406C B4.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prrr(pub u32);

impl Prrr {
    /// \[2n+1:2n\] The memory type of class `n`, 0 to 7: 0 strongly ordered, 1 device, 2 normal.
    pub const fn memory_type(self, n: u8) -> u8 {
        (self.0 >> (2 * n)) as u8 & 3
    }

    /// \[16+s\] Whether device memory whose entry has S = `s` is shareable.
    pub const fn device_shareable(self, s: u8) -> bool {
        self.0 >> (16 + s) & 1 != 0
    }

    /// \[18+s\] Whether normal memory whose entry has S = `s` is shareable.
    pub const fn normal_shareable(self, s: u8) -> bool {
        self.0 >> (18 + s) & 1 != 0
    }

    /// \[24+n\] Whether shareable memory of class `n` is inner shareable only.
    pub const fn not_outer_shareable(self, n: u8) -> bool {
        self.0 >> (24 + n) & 1 != 0
    }
}

/// `NMRR`, normal memory remap. Arm ARM DDI 0406C B4.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nmrr(pub u32);

impl Nmrr {
    /// \[2n+1:2n\] The inner cache policy of class `n`, 0 to 7: 0 not cached, 1 write-back with
    /// write-allocate, 2 write-through, 3 write-back without write-allocate.
    pub const fn inner(self, n: u8) -> u8 {
        (self.0 >> (2 * n)) as u8 & 3
    }

    /// \[2n+17:2n+16\] The outer cache policy of class `n`, as for [`inner`](Self::inner).
    pub const fn outer(self, n: u8) -> u8 {
        (self.0 >> (2 * n + 16)) as u8 & 3
    }
}

/// `TLBLKCR`, TLB lockdown.
///
/// The header puts a further field `VICTIM` at bit 8 too; one of the two is a mistake. (open)
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Tlblkcr {
    /// \[0\] Lockdown enable.
    pub lke: bool,
    /// \[1\] Whether [`CTX_TLBIALL`] drops locked entries.
    pub tlbiallcfg: bool,
    /// \[2\] Whether [`TLBIASID`] drops locked entries.
    pub tlbiasidcfg: bool,
    /// \[3\] Whether [`TLBIVAA`] drops locked entries.
    pub tlbivaacfg: bool,
    #[bits(4)]
    __: u8,
    /// \[15:8\] The first entry that is not locked.
    pub floor: u8,
    #[bits(16)]
    __: u16,
}

/// `V2PSR`, the TLB's answer to a translation that was asked for.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct V2psr {
    /// \[0\] The TLB held it.
    pub hit: bool,
    #[bits(7)]
    __: u8,
    /// \[15:8\] In this entry.
    pub index: u8,
    #[bits(16)]
    __: u16,
}

/// `BFBCR`, burst fill buffer control: reading ahead in the tables.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Bfbcr {
    /// \[0\] Prefetch enable ("turn on BFB prefetch", `msm_iommu.c`).
    pub bfbdfe: bool,
    /// \[1\] (open)
    pub bfbsfe: bool,
    /// \[2\] (open)
    pub sfvs: bool,
    #[bits(1)]
    __: u8,
    /// \[7:4\] (open) First-level victim.
    #[bits(4)]
    pub flvic: u8,
    /// \[11:8\] (open) Second-level victim.
    #[bits(4)]
    pub slvic: u8,
    /// \[31:12\] (open) Stride.
    #[bits(20)]
    pub stride: u32,
}

/// `TLBIVA`, drops the TLB entry of an ASID and a page.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Tlbiva {
    /// \[7:0\] The ASID.
    pub asid: u8,
    #[bits(4)]
    __: u8,
    /// \[31:12\] Bits 31:12 of the virtual address.
    #[bits(20)]
    pub va: u32,
}

/// `V2PPR`, `V2PPW`, `V2PUR` and `V2PUW`, ask for a translation; [`PAR`] has the answer.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct V2pxx {
    /// \[7:0\] The TLB entry to use. (open) The drivers write 0.
    pub index: u8,
    #[bits(4)]
    __: u8,
    /// \[31:12\] Bits 31:12 of the virtual address.
    #[bits(20)]
    pub va: u32,
}
