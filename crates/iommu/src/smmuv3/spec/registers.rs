//! Control, queue and error registers (Arm IHI 0070, 6.3.9 onwards).

use bitfield_struct::bitfield;

/// Bytes of the two pages of registers.
pub const WINDOW: u32 = 0x2_0000;

/// Control 0: see [`Cr0`].
pub const CR0: u32 = 0x20;
/// What of [`CR0`] has taken effect: the same fields.
pub const CR0ACK: u32 = 0x24;
/// Control 1: see [`Cr1`].
pub const CR1: u32 = 0x28;
/// Control 2: see [`Cr2`].
pub const CR2: u32 = 0x2c;
/// What becomes of transactions while the SMMU is disabled: see [`Gbpa`].
pub const GBPA: u32 = 0x44;
/// Interrupt control: see [`IrqCtrl`].
pub const IRQ_CTRL: u32 = 0x50;
/// What of [`IRQ_CTRL`] has taken effect.
pub const IRQ_CTRLACK: u32 = 0x54;
/// Global errors: see [`Gerror`]. An error is active while its bit differs from the one in [`GERRORN`].
pub const GERROR: u32 = 0x60;
/// Acknowledges global errors.
pub const GERRORN: u32 = 0x64;
/// 64 bits: where the message of a global error is written; 0 is none.
pub const GERROR_IRQ_CFG0: u32 = 0x68;
/// What is written.
pub const GERROR_IRQ_CFG1: u32 = 0x70;
/// With which memory attributes: see [`IrqCfg2`].
pub const GERROR_IRQ_CFG2: u32 = 0x74;
/// 64 bits: where the stream table is. See [`StrtabBase`].
pub const STRTAB_BASE: u32 = 0x80;
/// Its shape: see [`StrtabBaseCfg`].
pub const STRTAB_BASE_CFG: u32 = 0x88;
/// 64 bits: where the command queue is. See [`QueueBase`].
pub const CMDQ_BASE: u32 = 0x90;
/// Where the next command will be written. See [`CmdqCons`] for what an index is.
pub const CMDQ_PROD: u32 = 0x98;
/// Where the next command will be read: see [`CmdqCons`].
pub const CMDQ_CONS: u32 = 0x9c;
/// 64 bits: where the event queue is. See [`QueueBase`].
pub const EVENTQ_BASE: u32 = 0xa0;
/// 64 bits: where the message of an event is written; 0 is none.
pub const EVENTQ_IRQ_CFG0: u32 = 0xb0;
/// What is written.
pub const EVENTQ_IRQ_CFG1: u32 = 0xb8;
/// With which memory attributes: see [`IrqCfg2`].
pub const EVENTQ_IRQ_CFG2: u32 = 0xbc;
/// Where the next event will be written, in the second page: see [`EventqIndex`].
pub const EVENTQ_PROD: u32 = 0x1_00a8;
/// Where the next event will be read, in the second page: see [`EventqIndex`].
pub const EVENTQ_CONS: u32 = 0x1_00ac;

/// `CR0` and `CR0ACK`.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Cr0 {
    /// \[0\] Transactions are translated.
    pub smmuen: bool,
    /// \[1\] Page requests are queued.
    pub priqen: bool,
    /// \[2\] Events are recorded.
    pub eventqen: bool,
    /// \[3\] Commands are processed.
    pub cmdqen: bool,
    /// \[4\] Translated ATS transactions are checked.
    pub atschk: bool,
    #[bits(27)]
    __: u32,
}

/// `CR1`: attributes of accesses to queues and tables. To be written while both are disabled.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Cr1 {
    /// \[1:0\] Queues: inner cacheability.
    #[bits(2)]
    pub queue_ic: u8,
    /// \[3:2\] Queues: outer cacheability.
    #[bits(2)]
    pub queue_oc: u8,
    /// \[5:4\] Queues: shareability.
    #[bits(2)]
    pub queue_sh: u8,
    /// \[7:6\] Tables: inner cacheability.
    #[bits(2)]
    pub table_ic: u8,
    /// \[9:8\] Tables: outer cacheability.
    #[bits(2)]
    pub table_oc: u8,
    /// \[11:10\] Tables: shareability.
    #[bits(2)]
    pub table_sh: u8,
    #[bits(20)]
    __: u32,
}

/// `CR2`.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Cr2 {
    /// \[0\] The EL2 regime has ASIDs.
    pub e2h: bool,
    /// \[1\] Transactions of streams that the table does not have are recorded as `C_BAD_STREAMID`.
    pub recinvsid: bool,
    /// \[2\] TLB invalidations that CPUs broadcast are ignored.
    pub ptm: bool,
    #[bits(29)]
    __: u32,
}

/// `GBPA`, global bypass attributes.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Gbpa {
    /// \[19:0\] Memory attributes of what bypasses.
    #[bits(20)]
    pub attributes: u32,
    /// \[20\] Nothing bypasses: transactions are aborted.
    pub abort: bool,
    #[bits(10)]
    __: u16,
    /// \[31\] Written as 1 with a change; reads as 1 until the change has taken effect.
    pub update: bool,
}

/// `IRQ_CTRL` and `IRQ_CTRLACK`.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct IrqCtrl {
    /// \[0\] Interrupt at a global error.
    pub gerror: bool,
    /// \[1\] Interrupt at a page request.
    pub priq: bool,
    /// \[2\] Interrupt when the event queue is not empty any more.
    pub eventq: bool,
    #[bits(29)]
    __: u32,
}

/// `*_IRQ_CFG2`.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct IrqCfg2 {
    /// \[3:0\] Memory type: 1 is Device-nGnRE.
    #[bits(4)]
    pub memattr: u8,
    /// \[5:4\] Shareability.
    #[bits(2)]
    pub sh: u8,
    #[bits(26)]
    __: u32,
}

/// `GERROR` and `GERRORN`.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Gerror {
    /// \[0\] A command is in error: [`CmdqCons::err`] tells which error.
    pub cmdq_err: bool,
    #[bits(1)]
    __: u8,
    /// \[2\] The event queue could not be written; events are lost.
    pub eventq_abt_err: bool,
    /// \[3\] The page-request queue could not be written.
    pub priq_abt_err: bool,
    /// \[4\] The message of a `CMD_SYNC` could not be written.
    pub msi_cmdq_abt_err: bool,
    /// \[5\] The message of the event queue could not be written.
    pub msi_eventq_abt_err: bool,
    /// \[6\] The message of the page-request queue could not be written.
    pub msi_priq_abt_err: bool,
    /// \[7\] The message of a global error could not be written.
    pub msi_gerror_abt_err: bool,
    /// \[8\] Service failure mode: the SMMU aborts everything until it is initialised anew.
    pub sfm_err: bool,
    #[bits(23)]
    __: u32,
}

/// `STRTAB_BASE`.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct StrtabBase {
    #[bits(6)]
    __: u8,
    /// \[51:6\] The address of the table >> 6; a multiple of its size.
    #[bits(46)]
    pub address: u64,
    #[bits(10)]
    __: u16,
    /// \[62\] Reads allocate in caches.
    pub ra: bool,
    #[bits(1)]
    __: u8,
}

/// `STRTAB_BASE_CFG`.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct StrtabBaseCfg {
    /// \[5:0\] Bits of stream id that the table covers.
    #[bits(6)]
    pub log2size: u8,
    /// \[10:6\] With two levels, the low bits that index the second: 6, 8 or 10.
    #[bits(5)]
    pub split: u8,
    #[bits(5)]
    __: u8,
    /// \[17:16\] 0: linear, 1: two levels.
    #[bits(2)]
    pub fmt: u8,
    #[bits(14)]
    __: u16,
}

/// `CMDQ_BASE` and `EVENTQ_BASE`.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct QueueBase {
    /// \[4:0\] log2 of the number of entries.
    #[bits(5)]
    pub log2size: u8,
    /// \[51:5\] The address of the queue >> 5; a multiple of its size.
    #[bits(47)]
    pub address: u64,
    #[bits(10)]
    __: u16,
    /// \[62\] Reads of the command queue, writes of the event queue, allocate in caches.
    pub allocate: bool,
    #[bits(1)]
    __: u8,
}

/// `CMDQ_CONS`; `CMDQ_PROD` has the index only.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct CmdqCons {
    /// \[19:0\] The index, in the low log2size bits, and above them the wrap bit, which changes with each time around.
    #[bits(20)]
    pub rd: u32,
    #[bits(4)]
    __: u8,
    /// \[30:24\] The error at the index: one of `CERROR_*`. Only valid while [`Gerror::cmdq_err`] is active.
    #[bits(7)]
    pub err: u8,
    #[bits(1)]
    __: u8,
}

/// `EVENTQ_PROD` and `EVENTQ_CONS`.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct EventqIndex {
    /// \[19:0\] As [`CmdqCons::rd`].
    #[bits(20)]
    pub index: u32,
    #[bits(11)]
    __: u16,
    /// \[31\] `PROD.OVFLG`: changes when an event is lost for want of room. `CONS.OVACKFLG`: made equal, that is
    /// acknowledged.
    pub overflow: bool,
}
