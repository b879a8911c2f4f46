//! The stream table: descriptors of the first level (Arm IHI 0070, 5.1) and stream table entries (5.2).

use bitfield_struct::bitfield;

/// Bytes of a stream table entry.
pub const STE_BYTES: u64 = 64;
/// Its 64-bit words; those after the fourth are zero here.
pub const STE_WORDS: usize = 8;
/// Bytes of a descriptor of the first level.
pub const L1STD_BYTES: u64 = 8;

/// [`Ste0::config`]: transactions are aborted, and no event is recorded.
pub const CONFIG_ABORT: u8 = 0;
/// [`Ste0::config`]: transactions are not translated.
pub const CONFIG_BYPASS: u8 = 4;
/// [`Ste0::config`]: stage 1.
pub const CONFIG_STAGE1: u8 = 5;
/// [`Ste0::config`]: stage 2.
pub const CONFIG_STAGE2: u8 = 6;
/// [`Ste0::config`]: stage 1, and then stage 2.
pub const CONFIG_NESTED: u8 = 7;
/// [`Ste1::shcfg`]: the shareability that comes with the transaction.
pub const SHCFG_INCOMING: u8 = 1;

/// A descriptor of the first level of a stream table.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct L1Std {
    /// \[4:0\] 0: no table. n: a table of 2^(n - 1) entries.
    #[bits(5)]
    pub span: u8,
    #[bits(1)]
    __: u8,
    /// \[51:6\] The address of the table >> 6; a multiple of its size.
    #[bits(46)]
    pub table: u64,
    #[bits(12)]
    __: u16,
}

/// The first word of a stream table entry.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Ste0 {
    /// \[0\] The entry is valid. Transactions of a stream whose entry is not are aborted and recorded as `C_BAD_STE`.
    pub v: bool,
    /// \[3:1\] What becomes of transactions: one of `CONFIG_*`.
    #[bits(3)]
    pub config: u8,
    /// \[5:4\] The shape of the table of context descriptors; 0 is linear.
    #[bits(2)]
    pub s1fmt: u8,
    /// \[51:6\] The address of the table of context descriptors >> 6; an intermediate physical one with stage 2.
    #[bits(46)]
    pub s1_context_ptr: u64,
    #[bits(7)]
    __: u8,
    /// \[63:59\] log2 of the number of context descriptors; 0: one, and no substreams.
    #[bits(5)]
    pub s1cdmax: u8,
}

/// The second word of a stream table entry.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Ste1 {
    /// \[1:0\] Transactions without substream, where there are substreams.
    #[bits(2)]
    pub s1dss: u8,
    /// \[3:2\] Inner cacheability of reads of context descriptors.
    #[bits(2)]
    pub s1cir: u8,
    /// \[5:4\] Outer cacheability of reads of context descriptors.
    #[bits(2)]
    pub s1cor: u8,
    /// \[7:6\] Shareability of reads of context descriptors.
    #[bits(2)]
    pub s1csh: u8,
    #[bits(19)]
    __: u32,
    /// \[27\] Stage 1 may not stall. Must be 0 where the SMMU offers no choice.
    pub s1stalld: bool,
    /// \[29:28\] ATS requests; 0: refused.
    #[bits(2)]
    pub eats: u8,
    /// \[31:30\] The translation regime; 0: non-secure EL1.
    #[bits(2)]
    pub strw: u8,
    /// \[43:32\] Overrides of memory type and allocation hints; 0: none.
    #[bits(12)]
    pub overrides: u16,
    /// \[45:44\] The shareability of transactions.
    #[bits(2)]
    pub shcfg: u8,
    /// \[51:46\] Overrides of security, privilege and instruction attributes; 0: none.
    #[bits(6)]
    pub permissions: u8,
    #[bits(12)]
    __: u16,
}

/// The third word of a stream table entry.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Ste2 {
    /// \[15:0\] The VMID. It tags what stage 1 alone translates, too, wherever stage 2 is implemented.
    pub s2vmid: u16,
    #[bits(16)]
    __: u16,
    /// \[37:32\] 64 less the bits of input address.
    #[bits(6)]
    pub s2t0sz: u8,
    /// \[39:38\] Where the walk starts: with 4 KiB, level 2 less this; with 16 and 64 KiB, level 3 less this.
    #[bits(2)]
    pub s2sl0: u8,
    /// \[41:40\] Inner cacheability of walks.
    #[bits(2)]
    pub s2ir0: u8,
    /// \[43:42\] Outer cacheability of walks.
    #[bits(2)]
    pub s2or0: u8,
    /// \[45:44\] Shareability of walks.
    #[bits(2)]
    pub s2sh0: u8,
    /// \[47:46\] The granule.
    #[bits(2)]
    pub s2tg: u8,
    /// \[50:48\] The size of output addresses.
    #[bits(3)]
    pub s2ps: u8,
    /// \[51\] `AArch64` tables.
    pub s2aa64: bool,
    /// \[52\] Big-endian tables.
    pub s2endi: bool,
    /// \[53\] The access flag is not looked at.
    pub s2affd: bool,
    /// \[54\] Walks of stage 1 into device memory fault.
    pub s2ptw: bool,
    /// \[55\] The hardware updates dirty flags.
    pub s2hd: bool,
    /// \[56\] The hardware updates access flags.
    pub s2ha: bool,
    /// \[57\] Faulting transactions stall.
    pub s2s: bool,
    /// \[58\] Faults are recorded.
    pub s2r: bool,
    #[bits(5)]
    __: u8,
}

/// The fourth word of a stream table entry.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Ste3 {
    #[bits(4)]
    __: u8,
    /// \[51:4\] The address of the root table of stage 2 >> 4.
    #[bits(48)]
    pub s2ttb: u64,
    #[bits(12)]
    __: u16,
}
