//! The device table: section 2.2.2.

use bitfield_struct::bitfield;

/// Bytes of an entry. The third word is of interrupts, which pass unchanged while its bit 0 (IV) is 0; the fourth is 0.
pub const DEVICE_ENTRY_BYTES: u64 = 32;

/// First word of an entry.
///
/// With `v` 0 all requests pass, untranslated. With `v` and `tv` set and `mode` 0 addresses are not translated, but
/// `ir` and `iw` count: with both 0 every request is refused.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct DeviceEntry0 {
    /// \[0\] Valid: bits 127:1 count.
    pub v: bool,
    /// \[1\] The rest of this word counts.
    pub tv: bool,
    #[bits(5)]
    __: u8,
    /// \[8:7\] Hardware updates accessed and dirty bits.
    #[bits(2)]
    pub had: u8,
    /// \[11:9\] The number of levels; 0 does not translate.
    #[bits(3)]
    pub mode: u8,
    /// \[51:12\] Page number of the root table.
    #[bits(40)]
    pub root: u64,
    /// \[60:52\] Page requests and guest translations.
    #[bits(9)]
    pub guest: u16,
    /// \[61\] Reads are allowed.
    pub ir: bool,
    /// \[62\] Writes are allowed.
    pub iw: bool,
    #[bits(1)]
    __: u8,
}

/// Second word of an entry.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct DeviceEntry1 {
    /// \[79:64\] Domain id: what tags cached translations.
    pub domain: u16,
    #[bits(16)]
    __: u16,
    /// \[96\] The device may cache translations.
    pub i: bool,
    /// \[97\] Only the device's first page fault is logged.
    pub se: bool,
    /// \[98\] No page fault of the device is logged.
    pub sa: bool,
    #[bits(29)]
    __: u32,
}
