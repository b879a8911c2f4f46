//! The split virtqueue (2.7): a table of descriptors, a ring of what is available to the device, and one of what it
//! has used.

/// Bytes of a descriptor (2.7.5): address (64 bits), length (32), flags (16), next (16).
pub const DESCRIPTOR_BYTES: u64 = 16;
/// Offset of a descriptor's length in bytes, 32 bits (2.7.5).
pub const DESCRIPTOR_LEN: u64 = 8;
/// Offset of a descriptor's flags (bits 15:0) and of the number of the next one (bits 31:16) (2.7.5).
pub const DESCRIPTOR_FLAGS_NEXT: u64 = 12;
/// What a descriptor's address must be a multiple of (2.7): the table's alignment.
pub const DESCRIPTOR_ALIGN: u64 = 16;
/// Flag of a descriptor, bit 0: it goes on in `next` (2.7.5).
pub const DESCRIPTOR_NEXT: u16 = 1;
/// Flag of a descriptor, bit 1: the device writes it; otherwise it reads (2.7.5).
pub const DESCRIPTOR_WRITE: u16 = 1 << 1;

/// Offset in both rings of flags (bits 15:0) and index (bits 31:16) (2.7.6, 2.7.8). The index is where the next entry
/// will go, modulo the queue's size; it starts at 0 and wraps after 65535.
pub const RING_FLAGS_INDEX: u64 = 0;
/// Offset in both rings of the first entry (2.7.6, 2.7.8).
pub const RING_ENTRIES: u64 = 4;
/// Bytes of an entry of the available ring: the number of a chain's first descriptor (2.7.6).
pub const AVAILABLE_ENTRY_BYTES: u64 = 2;
/// Flag of the available ring, bit 0: no interrupt is wanted (2.7.6).
pub const AVAILABLE_NO_INTERRUPT: u16 = 1;
/// Bytes of an entry of the used ring: the number of a chain's first descriptor (32 bits), and how many bytes were
/// written to it (32 bits) (2.7.8).
pub const USED_ENTRY_BYTES: u64 = 8;
/// Bytes of either ring beside its entries: flags, index, and the field of a feature that is not used here (2.7).
pub const RING_EXTRA_BYTES: u64 = 6;
/// The largest queue (2.7).
pub const QUEUE_SIZE_MAX: u16 = 1 << 15;
