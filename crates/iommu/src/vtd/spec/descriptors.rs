//! Descriptors of the invalidation queue, the low 128 bits. In a queue of 256-bit descriptors the rest is 0.
//!
//! Source: the specification, *Queued Invalidation Interface* and the section that is named after each descriptor.

use bitfield_struct::bitfield;

/// \[3:0\] of the first word: the type of a context-cache invalidation.
pub const CONTEXT_CACHE: u8 = 1;
/// The type of an IOTLB invalidation.
pub const IOTLB: u8 = 2;
/// The type of an invalidation of the interrupt entry cache.
pub const INTERRUPT_ENTRY_CACHE: u8 = 4;
/// The type of an invalidation wait.
pub const WAIT: u8 = 5;
/// The type of a PASID-based IOTLB invalidation. Only in queues of 256-bit descriptors.
pub const PASID_IOTLB: u8 = 6;
/// The type of a PASID-cache invalidation.
pub const PASID_CACHE: u8 = 7;

/// A context-cache invalidation. The second word is 0.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct ContextCacheDescriptor {
    /// \[3:0\] [`CONTEXT_CACHE`].
    #[bits(4)]
    pub kind: u8,
    /// \[5:4\] G: [`EVERYTHING`](super::EVERYTHING), [`OF_DOMAIN`](super::OF_DOMAIN), [`SELECTED`](super::SELECTED).
    #[bits(2)]
    pub granularity: u8,
    #[bits(10)]
    __: u16,
    /// \[31:16\] DID: the domain.
    pub did: u16,
    /// \[47:32\] SID: the requester.
    pub sid: u16,
    /// \[49:48\] FM: bits of the requester's function that do not count.
    #[bits(2)]
    pub fm: u8,
    #[bits(14)]
    __: u16,
}

/// An IOTLB invalidation: of second-stage and pass-through translations. The second word is [`InvalidateAddress`].
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct IotlbDescriptor {
    /// \[3:0\] [`IOTLB`].
    #[bits(4)]
    pub kind: u8,
    /// \[5:4\] G: [`EVERYTHING`](super::EVERYTHING), [`OF_DOMAIN`](super::OF_DOMAIN), [`SELECTED`](super::SELECTED).
    #[bits(2)]
    pub granularity: u8,
    /// \[6\] DW: wait for writes that were translated before.
    pub dw: bool,
    /// \[7\] DR: and for reads.
    pub dr: bool,
    __: u8,
    /// \[31:16\] DID: the domain.
    pub did: u16,
    __: u32,
}

/// The pages that an invalidation is about: `IVA_REG`, and the second word of both IOTLB descriptors.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct InvalidateAddress {
    /// \[5:0\] AM: 2^AM pages of 4 KiB; the address is a multiple of their size.
    #[bits(6)]
    pub am: u8,
    /// \[6\] IH: only entries of pages changed, so that cached pointers to tables may stay.
    pub ih: bool,
    #[bits(5)]
    __: u8,
    /// \[63:12\] ADDR: the first page.
    #[bits(52)]
    pub page: u64,
}

/// A PASID-based IOTLB invalidation: of first-stage translations. The second word is [`InvalidateAddress`].
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct PasidIotlbDescriptor {
    /// \[3:0\] [`PASID_IOTLB`].
    #[bits(4)]
    pub kind: u8,
    /// \[5:4\] G: [`OF_PASID`] or [`PAGES_OF_PASID`].
    #[bits(2)]
    pub granularity: u8,
    #[bits(10)]
    __: u16,
    /// \[31:16\] DID: the domain.
    pub did: u16,
    /// \[51:32\] PASID.
    #[bits(20)]
    pub pasid: u32,
    #[bits(12)]
    __: u16,
}

/// [`PasidIotlbDescriptor::granularity`]: all of a PASID.
pub const OF_PASID: u8 = 0b10;
/// [`PasidIotlbDescriptor::granularity`]: some pages of a PASID.
pub const PAGES_OF_PASID: u8 = 0b11;

/// A PASID-cache invalidation. The second word is 0.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct PasidCacheDescriptor {
    /// \[3:0\] [`PASID_CACHE`].
    #[bits(4)]
    pub kind: u8,
    /// \[5:4\] G: [`PASID_CACHE_OF_DOMAIN`] or [`PASID_CACHE_EVERYTHING`].
    #[bits(2)]
    pub granularity: u8,
    #[bits(10)]
    __: u16,
    /// \[31:16\] DID: the domain.
    pub did: u16,
    /// \[51:32\] PASID.
    #[bits(20)]
    pub pasid: u32,
    #[bits(12)]
    __: u16,
}

/// [`PasidCacheDescriptor::granularity`]: every PASID of a domain.
pub const PASID_CACHE_OF_DOMAIN: u8 = 0b00;
/// [`PasidCacheDescriptor::granularity`]: everything.
pub const PASID_CACHE_EVERYTHING: u8 = 0b11;

/// An invalidation of the interrupt entry cache. The second word is 0.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct InterruptEntryCacheDescriptor {
    /// \[3:0\] [`INTERRUPT_ENTRY_CACHE`].
    #[bits(4)]
    pub kind: u8,
    /// \[4\] G: only the entries that IIDX and IM name; else everything.
    pub selective: bool,
    #[bits(22)]
    __: u32,
    /// \[31:27\] IM: 2^IM entries.
    #[bits(5)]
    pub mask: u8,
    /// \[47:32\] IIDX: the first one, a multiple of their number.
    pub index: u16,
    __: u16,
}

/// An invalidation wait: what was queued before has completed when its status is written. The second word is the
/// address that it is written to, a multiple of 4.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct WaitDescriptor {
    /// \[3:0\] [`WAIT`].
    #[bits(4)]
    pub kind: u8,
    /// \[4\] IF: an interrupt tells of it.
    pub interrupt: bool,
    /// \[5\] SW: the status is written.
    pub status_write: bool,
    /// \[6\] FN: what is queued after it starts only when it is done.
    pub fence: bool,
    /// \[7\] PD: page requests are drained.
    pub page_request_drain: bool,
    #[bits(24)]
    __: u32,
    /// \[63:32\] The status.
    pub status: u32,
}
