//! Events, two words of 64 bits each: section 2.5.

use bitfield_struct::bitfield;

/// Bytes of an event.
pub const EVENT_BYTES: u64 = 16;

/// First word of an event; not every event has every field. The second is an address.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Event {
    /// \[15:0\] Device id.
    pub device: u16,
    /// \[19:16\] Bits 19:16 of the process id, with `gn`.
    #[bits(4)]
    pub pasid_high: u8,
    #[bits(12)]
    __: u16,
    /// \[47:32\] Domain id; bits 15:0 of the process id, with `gn`.
    pub domain_or_pasid: u16,
    /// \[48\] The address is a guest's.
    pub gn: bool,
    /// \[49\] An execution was asked for, or refused.
    pub nx: bool,
    /// \[50\] A user's request.
    pub us: bool,
    /// \[51\] An interrupt, not an access to memory.
    pub i: bool,
    /// \[52\] The page was present.
    pub pr: bool,
    /// \[53\] A write. Counts while `pr` is set and `tr` and `i` are not.
    pub rw: bool,
    /// \[54\] Permission was missing. Counts while `pr` is set.
    pub pe: bool,
    /// \[55\] A reserved bit was set, or a level made no sense.
    pub rz: bool,
    /// \[56\] A device asked for a translation.
    pub tr: bool,
    #[bits(3)]
    __: u8,
    /// \[63:60\] What happened: one of the `EVENT_` constants. 0 while the IOMMU has not written it yet.
    #[bits(4)]
    pub code: u8,
}

/// The device's table entry makes no sense: section 2.5.2.
pub const EVENT_ILLEGAL_DEV_TABLE_ENTRY: u8 = 1;
/// A transaction was refused: section 2.5.3.
pub const EVENT_IO_PAGE_FAULT: u8 = 2;
/// The device table is where no memory answers; the address is physical: section 2.5.4.
pub const EVENT_DEV_TAB_HARDWARE_ERROR: u8 = 3;
/// A page table is where no memory answers; the address is physical: section 2.5.5.
pub const EVENT_PAGE_TAB_HARDWARE_ERROR: u8 = 4;
/// The command at the address makes no sense, and fetching has stopped: section 2.5.6.
pub const EVENT_ILLEGAL_COMMAND_ERROR: u8 = 5;
/// A command could not be fetched, or what it accesses could not be accessed; fetching has stopped: section 2.5.7.
pub const EVENT_COMMAND_HARDWARE_ERROR: u8 = 6;
/// A device did not say that it had invalidated its translations: section 2.5.8.
pub const EVENT_IOTLB_INV_TIMEOUT: u8 = 7;
/// A device made a request that it may not make: section 2.5.9.
pub const EVENT_INVALID_DEVICE_REQUEST: u8 = 8;
/// A page request makes no sense: section 2.5.10.
pub const EVENT_INVALID_PPR_REQUEST: u8 = 9;
/// A performance counter has become zero: section 2.5.11.
pub const EVENT_EVENT_COUNTER_ZERO: u8 = 10;
/// The owner of a page, as the reverse map has it, does not allow the access.
pub const EVENT_RMP_PAGE_FAULT: u8 = 13;
/// The reverse map is where no memory answers.
pub const EVENT_RMP_HARDWARE_ERROR: u8 = 14;
