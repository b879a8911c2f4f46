//! Commands, two words of 64 bits each: section 2.4. Reserved bits are 0.

use bitfield_struct::bitfield;

/// Bytes of a command.
pub const COMMAND_BYTES: u64 = 16;

/// Completes when all commands before it have completed: [`CompletionWait`].
pub const COMPLETION_WAIT: u8 = 1;
/// Drops a device's entry of the device table: [`OfDevice`].
pub const INVALIDATE_DEVTAB_ENTRY: u8 = 2;
/// Drops translations of a domain: [`InvalidatePages`] and [`PagesAddress`].
pub const INVALIDATE_IOMMU_PAGES: u8 = 3;
/// Drops what a device has cached of translations.
pub const INVALIDATE_IOTLB_PAGES: u8 = 4;
/// Drops a device's table of interrupts: [`OfDevice`].
pub const INVALIDATE_INTERRUPT_TABLE: u8 = 5;
/// Fetches translations before they are needed.
pub const PREFETCH_IOMMU_PAGES: u8 = 6;
/// Answers a page request.
pub const COMPLETE_PPR_REQUEST: u8 = 7;
/// Drops everything, where [`Features::ia_sup`](super::Features::ia_sup) is set: [`OfDevice`] with 0.
pub const INVALIDATE_IOMMU_ALL: u8 = 8;

/// First word of [`COMPLETION_WAIT`]: section 2.4.1. The second is what is stored.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct CompletionWait {
    /// \[0\] The second word is stored at `address` on completion.
    pub s: bool,
    /// \[1\] Completion interrupts.
    pub i: bool,
    /// \[2\] Commands after it are held back until it has completed.
    pub f: bool,
    /// \[51:3\] Bits 51:3 of the address, a multiple of 8.
    #[bits(49)]
    pub address: u64,
    __: u8,
    /// \[63:60\] [`COMPLETION_WAIT`].
    #[bits(4, default = COMPLETION_WAIT)]
    pub opcode: u8,
}

/// First word of a command that concerns a device: sections 2.4.2, 2.4.5 and 2.4.8. The second is 0.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct OfDevice {
    /// \[15:0\] Device id.
    pub device: u16,
    #[bits(44)]
    __: u64,
    /// \[63:60\] [`INVALIDATE_DEVTAB_ENTRY`], [`INVALIDATE_INTERRUPT_TABLE`] or [`INVALIDATE_IOMMU_ALL`].
    #[bits(4)]
    pub opcode: u8,
}

/// First word of [`INVALIDATE_IOMMU_PAGES`]: section 2.4.3.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct InvalidatePages {
    /// \[19:0\] Process id, for guest translations.
    #[bits(20)]
    pub pasid: u32,
    #[bits(12)]
    __: u16,
    /// \[47:32\] Domain id.
    pub domain: u16,
    #[bits(12)]
    __: u16,
    /// \[63:60\] [`INVALIDATE_IOMMU_PAGES`].
    #[bits(4, default = INVALIDATE_IOMMU_PAGES)]
    pub opcode: u8,
}

/// Second word of [`INVALIDATE_IOMMU_PAGES`].
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct PagesAddress {
    /// \[64\] `page` names a range: with its first 0 at bit `x`, 2^(x + 1) pages.
    pub s: bool,
    /// \[65\] Entries that lead to tables go as well.
    pub pde: bool,
    /// \[66\] Guest translations.
    pub gn: bool,
    #[bits(9)]
    __: u16,
    /// \[127:76\] Bits 63:12 of the address.
    #[bits(52)]
    pub page: u64,
}
