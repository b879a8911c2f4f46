//! What an IOMMU has of its own (5.13).

/// The number of the queue for requests (5.13.2).
pub const REQUEST_QUEUE: u16 = 0;
/// The number of the queue for reports of faults (5.13.2).
pub const EVENT_QUEUE: u16 = 1;
/// How many queues there are (5.13.2).
pub const QUEUES: u16 = 2;

/// Configuration, 64 bits: the page sizes, a bit for each. The lowest one is the granule of mappings, the others are
/// hints (5.13.4, 5.13.6).
pub const CONFIG_PAGE_SIZE_MASK: u32 = 0;
/// Configuration, 64 bits: the first address that can be mapped (5.13.4).
pub const CONFIG_INPUT_START: u32 = 8;
/// Configuration, 64 bits: the last address that can be mapped (5.13.4).
pub const CONFIG_INPUT_END: u32 = 16;
/// Configuration, 32 bits: the first domain number (5.13.4).
pub const CONFIG_DOMAIN_START: u32 = 24;
/// Configuration, 32 bits: the last domain number (5.13.4).
pub const CONFIG_DOMAIN_END: u32 = 28;
/// Configuration, 32 bits: how many bytes of properties PROBE gives (5.13.4).
pub const CONFIG_PROBE_SIZE: u32 = 32;
/// Configuration, 8 bits: bit 0 lets endpoints of no domain pass untranslated. It survives a reset (5.13.4).
pub const CONFIG_BYPASS: u32 = 36;

/// Request, first byte: attach an endpoint to a domain, which begins to exist with its first endpoint (5.13.6.3).
/// Then at 4 domain, at 8 endpoint, at 12 flags, at 16 reserved (32 bits each).
pub const ATTACH: u8 = 1;
/// Request, first byte: detach an endpoint; a domain without endpoints is forgotten (5.13.6.4). Then at 4 domain, at 8
/// endpoint (32 bits each), at 12 reserved (64 bits).
pub const DETACH: u8 = 2;
/// Request, first byte: map (5.13.6.5). Then at 4 domain (32 bits), at 8 first address, at 16 last address, at 24
/// physical address (64 bits each), at 32 flags (32 bits).
pub const MAP: u8 = 3;
/// Request, first byte: unmap all mappings in a range (5.13.6.6). Then at 4 domain (32 bits), at 8 first address, at
/// 16 last address (64 bits each), at 24 reserved (32 bits).
pub const UNMAP: u8 = 4;
/// Request, first byte: tell an endpoint's properties (5.13.6.7). Then at 4 endpoint (32 bits), at 8 reserved
/// (64 bytes). The device writes the properties before the tail.
pub const PROBE: u8 = 5;

/// Bytes that the device reads of ATTACH (5.13.6.3).
pub const ATTACH_BYTES: u32 = 20;
/// Bytes that the device reads of DETACH (5.13.6.4).
pub const DETACH_BYTES: u32 = 20;
/// Bytes that the device reads of MAP (5.13.6.5).
pub const MAP_BYTES: u32 = 36;
/// Bytes that the device reads of UNMAP (5.13.6.6).
pub const UNMAP_BYTES: u32 = 28;
/// Bytes that the device reads of PROBE (5.13.6.7).
pub const PROBE_BYTES: u32 = 72;
/// Bytes of the tail, which the device writes at the end of each request: bits 7:0 the status (5.13.6).
pub const TAIL_BYTES: u32 = 4;

/// Flag of ATTACH, bit 0: the domain lets everything pass untranslated (5.13.6.3).
pub const ATTACH_BYPASS: u32 = 1;
/// Flag of MAP, bit 0: reads pass (5.13.6.5).
pub const MAP_READ: u32 = 1;
/// Flag of MAP, bit 1: writes pass. A device may let reads pass with it (5.13.6.5).
pub const MAP_WRITE: u32 = 1 << 1;
/// Flag of MAP, bit 2: these are device registers (5.13.6.5).
pub const MAP_MMIO: u32 = 1 << 2;

/// Status: done (5.13.6).
pub const STATUS_OK: u8 = 0;
/// Status: communication failed (5.13.6).
pub const STATUS_IOERR: u8 = 1;
/// Status: unsupported request (5.13.6).
pub const STATUS_UNSUPP: u8 = 2;
/// Status: internal error of the device (5.13.6).
pub const STATUS_DEVERR: u8 = 3;
/// Status: invalid parameters (5.13.6).
pub const STATUS_INVAL: u8 = 4;
/// Status: parameters out of range (5.13.6).
pub const STATUS_RANGE: u8 = 5;
/// Status: no such thing (5.13.6).
pub const STATUS_NOENT: u8 = 6;
/// Status: bad address (5.13.6).
pub const STATUS_FAULT: u8 = 7;
/// Status: not enough resources (5.13.6).
pub const STATUS_NOMEM: u8 = 8;

/// Bytes before a property's value: type (bits 11:0), reserved (15:12), length of the value in bytes (31:16)
/// (5.13.6.7).
pub const PROPERTY_HEAD_BYTES: usize = 4;
/// The bits of a property's first 16 that are its type (5.13.6.7).
pub const PROPERTY_TYPE: u16 = 0xfff;
/// Type of a property: there are no more (5.13.6.7).
pub const PROPERTY_NONE: u16 = 0;
/// Type of a property: reserved addresses. Its value is: subtype (8 bits), reserved (24), first address (64), last
/// address (64) (5.13.6.8.1).
pub const PROPERTY_RESERVED_MEMORY: u16 = 1;
/// Bytes of the value of [`PROPERTY_RESERVED_MEMORY`] (5.13.6.8.1).
pub const RESERVED_MEMORY_BYTES: usize = 20;
/// Subtype of [`PROPERTY_RESERVED_MEMORY`]: a doorbell of message-signalled interrupts. Others mean that nothing may be
/// mapped there (5.13.6.8.1).
pub const RESERVED_MEMORY_MSI: u8 = 1;

/// Bytes of a fault report (5.13.6.9): at 0 reason (8 bits), reserved (24); at 4 flags, at 8 endpoint, at 12 reserved
/// (32 bits each); at 16 address (64 bits).
pub const FAULT_BYTES: u32 = 24;
/// Reason of a fault: none of the others (5.13.6.9).
pub const FAULT_UNKNOWN: u8 = 0;
/// Reason of a fault: the endpoint is attached to no domain (5.13.6.9).
pub const FAULT_DOMAIN: u8 = 1;
/// Reason of a fault: nothing is mapped there, or not for this access (5.13.6.9).
pub const FAULT_MAPPING: u8 = 2;
/// Flag of a fault, bit 0: it was a read (5.13.6.9).
pub const FAULT_READ: u32 = 1;
/// Flag of a fault, bit 1: it was a write (5.13.6.9).
pub const FAULT_WRITE: u32 = 1 << 1;
/// Flag of a fault, bit 2: it was an instruction fetch (Linux `VIRTIO_IOMMU_FAULT_F_EXEC`; not in the specification).
pub const FAULT_EXECUTE: u32 = 1 << 2;
/// Flag of a fault, bit 8: the address is valid (5.13.6.9).
pub const FAULT_ADDRESS: u32 = 1 << 8;
