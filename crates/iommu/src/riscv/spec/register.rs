//! Memory-mapped registers: "Memory-mapped register interface".

use bitfield_struct::bitfield;

/// `capabilities`, 64 bits, read-only: [`Capabilities`].
pub const CAPABILITIES: u32 = 0x000;
/// `fctl`, 32 bits: [`Fctl`]. Written only while the IOMMU is off and so are its queues.
pub const FCTL: u32 = 0x008;
/// `ddtp`, 64 bits: [`Ddtp`].
pub const DDTP: u32 = 0x010;
/// `cqb`, command-queue base, 64 bits: [`QueueBase`].
pub const CQB: u32 = 0x018;
/// `cqh`, command-queue head, 32 bits, read-only: the index that the IOMMU fetches next.
pub const CQH: u32 = 0x020;
/// `cqt`, command-queue tail, 32 bits: the index that software writes next.
pub const CQT: u32 = 0x024;
/// `fqb`, fault-queue base, 64 bits: [`QueueBase`].
pub const FQB: u32 = 0x028;
/// `fqh`, fault-queue head, 32 bits: the index that software reads next.
pub const FQH: u32 = 0x030;
/// `fqt`, fault-queue tail, 32 bits, read-only: the index that the IOMMU writes next.
pub const FQT: u32 = 0x034;
/// `cqcsr`, 32 bits: [`CommandCsr`].
pub const CQCSR: u32 = 0x048;
/// `fqcsr`, 32 bits: [`FaultCsr`].
pub const FQCSR: u32 = 0x04c;
/// `pqcsr`, control of the page-request queue, 32 bits; there when [`Capabilities::ats`] is set. Bits 0, 16 and 17
/// are as in [`FaultCsr`].
pub const PQCSR: u32 = 0x050;
/// `ipsr`, pending interrupts, 32 bits: [`Ipsr`].
pub const IPSR: u32 = 0x054;
/// `tr_req_iova`, 64 bits: bits 63:12 are the page to translate.
pub const TR_REQ_IOVA: u32 = 0x258;
/// `tr_req_ctl`, 64 bits: [`TrReqCtl`].
pub const TR_REQ_CTL: u32 = 0x260;
/// `tr_response`, 64 bits, read-only: [`TrResponse`].
pub const TR_RESPONSE: u32 = 0x268;
/// `icvec`, 64 bits: four bits for each cause of interrupts, the vector that it raises.
pub const ICVEC: u32 = 0x2f8;
/// `msi_addr_0`, 64 bits: bits 55:2 are where vector 0's message goes.
pub const MSI_ADDR_0: u32 = 0x300;
/// `msi_data_0`, 32 bits: what vector 0's message says.
pub const MSI_DATA_0: u32 = 0x308;
/// `msi_vec_ctl_0`, 32 bits: bit 0 masks vector 0.
pub const MSI_VEC_CTL_0: u32 = 0x30c;

/// Bytes of the register window.
pub const WINDOW: u32 = 0x1000;

/// `capabilities`: "IOMMU capabilities".
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Capabilities {
    /// \[7:0\] Version of the specification: 0x10 is 1.0.
    pub version: u8,
    /// \[8\] Sv32.
    pub sv32: bool,
    /// \[9\] Sv39.
    pub sv39: bool,
    /// \[10\] Sv48.
    pub sv48: bool,
    /// \[11\] Sv57.
    pub sv57: bool,
    #[bits(2)]
    __: u8,
    /// \[14\] Bits 60:59 of page-table entries are software's.
    pub svrsw60t59b: bool,
    /// \[15\] Memory types in page-table entries.
    pub svpbmt: bool,
    /// \[16\] Sv32x4.
    pub sv32x4: bool,
    /// \[17\] Sv39x4.
    pub sv39x4: bool,
    /// \[18\] Sv48x4.
    pub sv48x4: bool,
    /// \[19\] Sv57x4.
    pub sv57x4: bool,
    #[bits(1)]
    __: u8,
    /// \[21\] Atomic updates of memory-resident interrupt files.
    pub amo_mrif: bool,
    /// \[22\] Message-signalled interrupts are translated. Device contexts have 64 bytes, else 32.
    pub msi_flat: bool,
    /// \[23\] Message-signalled interrupts may go to memory-resident interrupt files.
    pub msi_mrif: bool,
    /// \[24\] The accessed and dirty bits can be updated by hardware.
    pub amo_hwad: bool,
    /// \[25\] PCIe address translation services.
    pub ats: bool,
    /// \[26\] Guest physical addresses in answers to translation requests.
    pub t2gpa: bool,
    /// \[27\] Both byte orders.
    pub end: bool,
    /// \[29:28\] How it interrupts: 0 messages, 1 wires, 2 either.
    #[bits(2)]
    pub igs: u8,
    /// \[30\] Performance counters.
    pub hpm: bool,
    /// \[31\] The translation-request registers are there.
    pub dbg: bool,
    /// \[37:32\] Bits of a physical address.
    #[bits(6)]
    pub pas: u8,
    /// \[38\] One-level process directories.
    pub pd8: bool,
    /// \[39\] Two-level process directories.
    pub pd17: bool,
    /// \[40\] Three-level process directories.
    pub pd20: bool,
    /// \[41\] Quality-of-service identifiers.
    pub qosid: bool,
    /// \[42\] Invalidations by address may reach non-leaf entries ("Non-leaf PTE Invalidation Extension").
    pub nl: bool,
    /// \[43\] Invalidations by address may cover ranges ("Address Range Invalidation Extension").
    pub s: bool,
    #[bits(12)]
    __: u16,
    /// \[63:56\] For the implementer.
    pub custom: u8,
}

/// `capabilities.igs`: messages only.
pub const IGS_MSI: u8 = 0;
/// `capabilities.igs`: wires only.
pub const IGS_WSI: u8 = 1;
/// `capabilities.igs`: messages or wires, as `fctl.wsi` says.
pub const IGS_BOTH: u8 = 2;

/// `fctl`: "Features-control register".
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Fctl {
    /// \[0\] Queues and directories are big-endian.
    pub be: bool,
    /// \[1\] Interrupts go by wire, not by message.
    pub wsi: bool,
    /// \[2\] Guest physical addresses are translated by Sv32x4, not by the formats of 64 bits.
    pub gxl: bool,
    #[bits(29)]
    __: u32,
}

/// `ddtp`: "Device-directory-table pointer".
///
/// A mode with levels may be written only when the mode is `Off` or `Bare`; the page number must not change with
/// the write of `Off`. A mode that the IOMMU does not have is not kept.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Ddtp {
    /// \[3:0\] [`MODE_OFF`], [`MODE_BARE`], or one more than the number of levels.
    #[bits(4)]
    pub mode: u8,
    /// \[4\] An earlier write is still being carried out: nothing may be written.
    pub busy: bool,
    #[bits(5)]
    __: u8,
    /// \[53:10\] Page number of the root directory.
    #[bits(44)]
    pub ppn: u64,
    #[bits(10)]
    __: u16,
}

/// `ddtp.mode`: every transaction is refused.
pub const MODE_OFF: u8 = 0;
/// `ddtp.mode`: every transaction passes.
pub const MODE_BARE: u8 = 1;
/// `ddtp.mode`: a directory of one level.
pub const MODE_1LVL: u8 = 2;
/// `ddtp.mode`: a directory of two levels.
pub const MODE_2LVL: u8 = 3;
/// `ddtp.mode`: a directory of three levels.
pub const MODE_3LVL: u8 = 4;

/// `cqb` and `fqb`: "Command-queue base", "Fault queue base".
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct QueueBase {
    /// \[4:0\] The number of entries, as its logarithm to base 2 minus 1.
    #[bits(5)]
    pub log2_minus_1: u8,
    #[bits(5)]
    __: u8,
    /// \[53:10\] Page number of the queue, which is aligned to its size and to 4 KiB.
    #[bits(44)]
    pub ppn: u64,
    #[bits(10)]
    __: u16,
}

/// `cqcsr`: "Command-queue CSR". The fields from `cqmf` to `fence_w_ip` are cleared by writing 1.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct CommandCsr {
    /// \[0\] Enables the queue. From 0 to 1 it clears `cqh` and the fields that are cleared by writing 1.
    pub cqen: bool,
    /// \[1\] Enables interrupts.
    pub cie: bool,
    #[bits(6)]
    __: u8,
    /// \[8\] A fetch or a command's own access met a memory fault. The queue waits until this is cleared.
    pub cqmf: bool,
    /// \[9\] A command timed out; `cqh` is at the fence that noticed. The queue waits until this is cleared.
    pub cmd_to: bool,
    /// \[10\] The command at `cqh` is illegal or unsupported. The queue waits until this is cleared.
    pub cmd_ill: bool,
    /// \[11\] A fence with `wsi` has completed.
    pub fence_w_ip: bool,
    #[bits(4)]
    __: u8,
    /// \[16\] The queue is on. 0: no access to its memory is on the way any more.
    pub cqon: bool,
    /// \[17\] An earlier write is still being carried out: nothing may be written.
    pub busy: bool,
    #[bits(14)]
    __: u16,
}

/// `fqcsr`: "Fault queue CSR". `fqmf` and `fqof` are cleared by writing 1.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct FaultCsr {
    /// \[0\] Enables the queue. From 0 to 1 it clears `fqt`, `fqmf` and `fqof`.
    pub fqen: bool,
    /// \[1\] Enables interrupts.
    pub fie: bool,
    #[bits(6)]
    __: u8,
    /// \[8\] A record could not be written. Records are dropped until this is cleared.
    pub fqmf: bool,
    /// \[9\] A record found the queue full. Records are dropped until this is cleared.
    pub fqof: bool,
    #[bits(6)]
    __: u8,
    /// \[16\] The queue is on. 0: no write to its memory is on the way any more.
    pub fqon: bool,
    /// \[17\] An earlier write is still being carried out: nothing may be written.
    pub busy: bool,
    #[bits(14)]
    __: u16,
}

/// `ipsr`: "Interrupt pending status register". A field is cleared by writing it as 1, and becomes 1 again while
/// its cause lasts.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Ipsr {
    /// \[0\] Command queue.
    pub cip: bool,
    /// \[1\] Fault queue.
    pub fip: bool,
    /// \[2\] Performance counters.
    pub pmip: bool,
    /// \[3\] Page-request queue.
    pub pip: bool,
    #[bits(28)]
    __: u32,
}

/// `tr_req_ctl`: "Translation-request control". The high half is written first.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct TrReqCtl {
    /// \[0\] Written as 1, it starts a translation; it reads as 1 until that is done.
    pub go_busy: bool,
    /// \[1\] Privileged.
    pub privileged: bool,
    /// \[2\] To execute; `nw` must be set too.
    pub exe: bool,
    /// \[3\] To read. 0: to read and write.
    pub nw: bool,
    __: u8,
    /// \[31:12\] Process id.
    #[bits(20)]
    pub pid: u32,
    /// \[32\] There is a process id.
    pub pv: bool,
    #[bits(7)]
    __: u8,
    /// \[63:40\] Device id.
    #[bits(24)]
    pub did: u32,
}

/// `tr_response`: "Translation-response".
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct TrResponse {
    /// \[0\] It would fault; that is recorded in the fault queue, too.
    pub fault: bool,
    #[bits(6)]
    __: u8,
    /// \[8:7\] Memory type.
    #[bits(2)]
    pub pbmt: u8,
    /// \[9\] The page is larger than 4 KiB. With the first 0 of `ppn` at bit `x`, it has 2^(x + 1) * 4 KiB.
    pub s: bool,
    /// \[53:10\] Page number.
    #[bits(44)]
    pub ppn: u64,
    #[bits(10)]
    __: u16,
}
