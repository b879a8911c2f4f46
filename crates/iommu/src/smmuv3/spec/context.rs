//! Context descriptors (Arm IHI 0070, 5.4).

use bitfield_struct::bitfield;

/// Bytes of a context descriptor.
pub const CD_BYTES: u64 = 64;
/// Its 64-bit words. The third (the second table's root) and those after the fourth are zero here.
pub const CD_WORDS: usize = 8;
/// The word that holds MAIR: what the eight memory types of a table are.
pub const CD_MAIR: usize = 3;

/// The first word of a context descriptor.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Cd0 {
    /// \[5:0\] 64 less the bits of input address: 16 to 39.
    #[bits(6)]
    pub t0sz: u8,
    /// \[7:6\] The granule.
    #[bits(2)]
    pub tg0: u8,
    /// \[9:8\] Inner cacheability of walks.
    #[bits(2)]
    pub ir0: u8,
    /// \[11:10\] Outer cacheability of walks.
    #[bits(2)]
    pub or0: u8,
    /// \[13:12\] Shareability of walks.
    #[bits(2)]
    pub sh0: u8,
    /// \[14\] No walks in the first table.
    pub epd0: bool,
    /// \[15\] Big-endian tables.
    pub endi: bool,
    #[bits(14)]
    __: u16,
    /// \[30\] No walks in the second table, that of the highest addresses.
    pub epd1: bool,
    /// \[31\] The descriptor is valid.
    pub v: bool,
    /// \[34:32\] The size of output addresses; 5 (48 bits) at most here.
    #[bits(3)]
    pub ips: u8,
    /// \[35\] The access flag is not looked at.
    pub affd: bool,
    /// \[36\] Writable is not executable.
    pub wxn: bool,
    /// \[37\] Writable by users is not executable by supervisors.
    pub uwxn: bool,
    /// \[39:38\] The top byte of addresses is ignored.
    #[bits(2)]
    pub tbi: u8,
    /// \[40\] Supervisors do not reach users' pages.
    pub pan: bool,
    /// \[41\] `AArch64` tables.
    pub aa64: bool,
    /// \[42\] The hardware updates dirty flags.
    pub hd: bool,
    /// \[43\] The hardware updates access flags.
    pub ha: bool,
    /// \[44\] Faulting transactions stall.
    pub s: bool,
    /// \[45\] Faults are recorded.
    pub r: bool,
    /// \[46\] A transaction that is terminated is aborted.
    pub a: bool,
    /// \[47\] The ASID is not one of the CPUs': their broadcast invalidations do not concern it.
    pub aset: bool,
    /// \[63:48\] The ASID.
    pub asid: u16,
}

/// The second word of a context descriptor.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Cd1 {
    /// \[0\] Walks begin non-secure, for a secure stream.
    pub nscfg0: bool,
    /// \[1\] Attributes of tables are ignored.
    pub had0: bool,
    #[bits(2)]
    __: u8,
    /// \[51:4\] The address of the root table >> 4; an intermediate physical one with stage 2.
    #[bits(48)]
    pub ttb0: u64,
    #[bits(12)]
    __: u16,
}
