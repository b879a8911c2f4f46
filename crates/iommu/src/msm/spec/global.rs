//! Global registers: one of each per SMMU, in the last page of its window.

#[cfg(doc)]
use super::{Esr, Esynr0, Esynr1};
use bitfield_struct::bitfield;

/// The page of the global registers.
pub const GLOBAL: u32 = 0xF_F000;

/// `M2VCBR_n`: which context bank takes the transactions of master `master`. See [`M2vcbr`].
pub const fn m2vcbr(master: u16) -> u32 {
    GLOBAL + 4 * master as u32
}
/// `CBACR_n`: access to context bank `bank` and its interrupt. See [`Cbacr`].
pub const fn cbacr(bank: u8) -> u32 {
    0xF_F800 + 4 * bank as u32
}
/// TLB read select: which entry `TLBTR0` to `TLBTR2` show. See [`Tlbrsw`].
pub const TLBRSW: u32 = 0xF_FE00;
/// The selected TLB entry: permissions and memory type. See [`Tlbtr0`].
pub const TLBTR0: u32 = 0xF_FE80;
/// The selected TLB entry: VMID and physical address. See [`Tlbtr1`].
pub const TLBTR1: u32 = 0xF_FE84;
/// The selected TLB entry: ASID and virtual address. See [`Tlbtr2`].
pub const TLBTR2: u32 = 0xF_FE88;
/// Test bus control. See [`Testbuscr`].
pub const TESTBUSCR: u32 = 0xF_FE8C;
/// A write of any value drops every TLB entry of the SMMU.
pub const GLOBAL_TLBIALL: u32 = 0xF_FF00;
/// A write drops the TLB entries of a VMID (bits 4:0).
pub const TLBIVMID: u32 = 0xF_FF04;
/// Control. See [`Cr`].
pub const CR: u32 = 0xF_FF80;
/// The address of the transaction that [`ESR`] tells of.
pub const EAR: u32 = 0xF_FF84;
/// Global fault status. See [`Esr`].
pub const ESR: u32 = 0xF_FF88;
/// Writes [`ESR`] as it is, to restore a saved state or to clear it.
pub const ESRRESTORE: u32 = 0xF_FF8C;
/// Who issued the transaction that [`ESR`] tells of. See [`Esynr0`].
pub const ESYNR0: u32 = 0xF_FF90;
/// What the transaction that [`ESR`] tells of was. See [`Esynr1`].
pub const ESYNR1: u32 = 0xF_FF94;
/// Revision. See [`Rev`].
pub const REV: u32 = 0xF_FFF4;
/// Identification. See [`Idr`].
pub const IDR: u32 = 0xF_FFF8;
/// Access control of the register protection unit, one bit per requester.
pub const RPU_ACR: u32 = 0xF_FFFC;

/// A value of [`M2vcbr::cbndx`] that names no bank of any SMMU: 255 is where the global page lies.
pub const NO_BANK: u8 = 0xFF;

/// A value of [`M2vcbr::nscfg`]: transactions are made non-secure whatever the master says (`msm_iommu.c`).
pub const NSCFG_FORCE_NON_SECURE: u8 = 3;

/// `M2VCBR_n`, master id to virtual machine and context bank.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct M2vcbr {
    /// \[4:0\] The VMID that tags the master's TLB entries.
    #[bits(5)]
    pub vmid: u8,
    #[bits(3)]
    __: u8,
    /// \[15:8\] The context bank that translates the master's transactions.
    pub cbndx: u8,
    /// \[16\] Bypass disable. (open) Inferred from its name and from [`Esr::bypass`]: a transaction that
    /// finds no enabled bank (no bank `cbndx`, or its `SCTLR.M` = 0) passes untranslated when this is 0; when
    /// this is 1 it is terminated, and [`ESR`], [`EAR`], [`ESYNR0`] and [`ESYNR1`] tell of it.
    pub bypassd: bool,
    /// \[17\] Redirect bypassing transactions to outer-shareable memory.
    pub bprcosh: bool,
    /// \[18\] Redirect bypassing transactions to inner-shareable memory.
    pub bprcish: bool,
    /// \[19\] Redirect bypassing transactions to non-shareable memory.
    pub bprcnsh: bool,
    /// \[21:20\] Shareability that bypassing transactions get.
    #[bits(2)]
    pub bpshcfg: u8,
    /// \[23:22\] Security that the master's transactions get; 3 forces non-secure.
    #[bits(2)]
    pub nscfg: u8,
    /// \[24\] Bypassing transactions get the memory type `bpmemtype`.
    pub bpmtcfg: bool,
    /// \[27:25\] Memory type for bypassing transactions.
    #[bits(3)]
    pub bpmemtype: u8,
    #[bits(4)]
    __: u8,
}

/// `CBACR_n`, context bank access control.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Cbacr {
    /// \[4:0\] The VMID that may read and write the bank's registers.
    #[bits(5)]
    pub rwvmid: u8,
    #[bits(3)]
    __: u8,
    /// \[8\] Restrict access to `rwvmid`.
    pub rwe: bool,
    /// \[9\] Restrict access to the bank's global registers as well.
    pub rwge: bool,
    #[bits(6)]
    __: u8,
    /// \[20:16\] The VMID that tags the bank's TLB entries.
    #[bits(5)]
    pub cbvmid: u8,
    #[bits(3)]
    __: u8,
    /// \[31:24\] Which of the SMMU's interrupt lines the bank's faults raise.
    pub irptndx: u8,
}

/// `TLBRSW`, TLB read select.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Tlbrsw {
    /// \[7:0\] The entry.
    pub index: u8,
    /// \[9:8\] TLB or burst fill buffer. (open) which value is which.
    #[bits(2)]
    pub tlbbfbs: u8,
    #[bits(22)]
    __: u32,
}

/// `TLBTR0`, the selected TLB entry's permissions and memory type.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Tlbtr0 {
    /// \[0\] Privileged reads pass.
    pub pr: bool,
    /// \[1\] Privileged writes pass.
    pub pw: bool,
    /// \[2\] User reads pass.
    pub ur: bool,
    /// \[3\] User writes pass.
    pub uw: bool,
    /// \[4\] Instruction fetches do not pass.
    pub xn: bool,
    #[bits(1)]
    __: u8,
    /// \[6\] Non-secure by the descriptor.
    pub nsdesc: bool,
    /// \[7\] Inner shareable.
    pub ish: bool,
    /// \[8\] Shareable.
    pub sh: bool,
    /// \[11:9\] Memory type.
    #[bits(3)]
    pub mt: u8,
    #[bits(4)]
    __: u8,
    /// \[18:16\] (open) Page size as read from the descriptor.
    #[bits(3)]
    pub dpsizr: u8,
    #[bits(1)]
    __: u8,
    /// \[22:20\] (open) Page size as cached.
    #[bits(3)]
    pub dpsizc: u8,
    #[bits(9)]
    __: u16,
}

/// `TLBTR1`, the selected TLB entry's VMID and physical page.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Tlbtr1 {
    /// \[4:0\] The VMID.
    #[bits(5)]
    pub vmid: u8,
    #[bits(7)]
    __: u8,
    /// \[31:12\] Bits 31:12 of the physical address.
    #[bits(20)]
    pub pa: u32,
}

/// `TLBTR2`, the selected TLB entry's ASID and virtual page.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Tlbtr2 {
    /// \[7:0\] The ASID.
    pub asid: u8,
    /// \[8\] The entry is valid.
    pub v: bool,
    /// \[9\] Of a non-secure transaction.
    pub nstid: bool,
    /// \[10\] (open) By its name, the VMID does not matter.
    pub nv: bool,
    #[bits(1)]
    __: u8,
    /// \[31:12\] Bits 31:12 of the virtual address.
    #[bits(20)]
    pub va: u32,
}

/// `TESTBUSCR`, test bus control.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Testbuscr {
    /// \[0\] Test bus enable.
    pub tbe: bool,
    /// \[1\] SPDM bus enable.
    pub spdmbe: bool,
    #[bits(6)]
    __: u8,
    /// \[9:8\] Selects a word group.
    #[bits(2)]
    pub wgsel: u8,
    #[bits(2)]
    __: u8,
    /// \[13:12\] Selects the low half.
    #[bits(2)]
    pub tblsel: u8,
    /// \[15:14\] Selects the high half.
    #[bits(2)]
    pub tbhsel: u8,
    /// \[19:16\] Selects SPDM event 0.
    #[bits(4)]
    pub spdm0sel: u8,
    /// \[23:20\] Selects SPDM event 1.
    #[bits(4)]
    pub spdm1sel: u8,
    /// \[27:24\] Selects SPDM event 2.
    #[bits(4)]
    pub spdm2sel: u8,
    /// \[31:28\] Selects SPDM event 3.
    #[bits(4)]
    pub spdm3sel: u8,
}

/// `CR`, control.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Cr {
    /// \[0\] Register protection unit enable.
    pub rpue: bool,
    /// \[1\] Its errors answer on the bus.
    pub rpuere: bool,
    /// \[2\] Errors that [`ESR`] records raise the global interrupt. (open) The name speaks of the register
    /// protection unit; no other enable for the faults of [`ESR`] is known.
    pub rpueie: bool,
    /// \[3\] Decode errors answer on the bus.
    pub dcdee: bool,
    /// \[4\] Client port disable: transactions pass by the SMMU. (open) So in its successor, Arm IHI 0062
    /// `SMMU_sCR0.CLIENTPD`.
    pub clientpd: bool,
    /// \[5\] Stall disable: no context stalls on a fault.
    pub stalld: bool,
    /// \[6\] Lets [`TLBLKCR`](super::TLBLKCR) be written.
    pub tlblkcrwe: bool,
    /// \[7\] (open) Whether [`GLOBAL_TLBIALL`] drops locked entries.
    pub tlbiallcfg: bool,
    /// \[8\] (open) Whether [`TLBIVMID`] drops locked entries.
    pub tlbivmidcfg: bool,
    /// \[9\] Hit under miss enable.
    pub hume: bool,
    #[bits(22)]
    __: u32,
}

/// `REV`, revision.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Rev {
    /// \[3:0\] Minor.
    #[bits(4)]
    pub minor: u8,
    /// \[7:4\] Major.
    #[bits(4)]
    pub major: u8,
    #[bits(24)]
    __: u32,
}

/// `IDR`, identification. 0 is what a window reads where no SMMU answers (`msm_iommu_dev.c`).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Idr {
    /// \[8:0\] Entries of the `M2VCBR` table, less one.
    #[bits(9)]
    pub nm2vcbmt: u16,
    /// \[9\] Walks tables in hardware.
    pub htw: bool,
    /// \[10\] Serves hits under a miss.
    pub hum: bool,
    #[bits(1)]
    __: u8,
    /// \[15:12\] TLB size. (open) its encoding.
    #[bits(4)]
    pub tlbsize: u8,
    /// \[23:16\] Context banks, less one.
    pub ncb: u8,
    /// \[31:24\] Interrupt lines.
    pub nirpt: u8,
}

impl Idr {
    /// The number of context banks, 1 to 256.
    pub const fn banks(self) -> u32 {
        self.ncb() as u32 + 1
    }

    /// The number of master ids, 1 to 512.
    pub const fn masters(self) -> u16 {
        self.nm2vcbmt() + 1
    }
}
