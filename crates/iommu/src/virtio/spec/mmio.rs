//! The MMIO transport (4.2.2). Registers have 32 bits; the device's own configuration follows them.

/// Read-only: 0x74726976, "virt" (4.2.2).
pub const MAGIC_VALUE: u32 = 0x000;
/// What [`MAGIC_VALUE`] reads.
pub const MAGIC: u32 = 0x7472_6976;
/// Read-only: 2 (4.2.2); 1 is the legacy interface (4.2.4).
pub const VERSION: u32 = 0x004;
/// The version of the interface described here.
pub const VERSION_2: u32 = 2;
/// Read-only: which kind of device; 0 for none (4.2.2).
pub const DEVICE_ID: u32 = 0x008;
/// Read-only: what the device offers (4.2.2).
pub const DEVICE_FEATURES: u32 = 0x010;
/// Write-only: which 32 features [`DEVICE_FEATURES`] shows (4.2.2).
pub const DEVICE_FEATURES_SELECT: u32 = 0x014;
/// Write-only: what the driver accepts (4.2.2).
pub const DRIVER_FEATURES: u32 = 0x020;
/// Write-only: which 32 features [`DRIVER_FEATURES`] takes (4.2.2).
pub const DRIVER_FEATURES_SELECT: u32 = 0x024;
/// Write-only: which queue the other queue registers are of (4.2.2).
pub const QUEUE_SELECT: u32 = 0x030;
/// Read-only: the largest size of the queue, 0 when there is none (4.2.2).
pub const QUEUE_SIZE_MAX: u32 = 0x034;
/// Write-only: the queue's size (4.2.2).
pub const QUEUE_SIZE: u32 = 0x038;
/// 1: the queue is in use (4.2.2).
pub const QUEUE_READY: u32 = 0x044;
/// Write-only: the number of a queue with something new in it (4.2.2).
pub const QUEUE_NOTIFY: u32 = 0x050;
/// Read-only: bit 0 for queues, bit 1 for the configuration (4.2.2).
pub const INTERRUPT_STATUS: u32 = 0x060;
/// Write-only: the bits of [`INTERRUPT_STATUS`] that were dealt with (4.2.2).
pub const INTERRUPT_ACKNOWLEDGE: u32 = 0x064;
/// Bits 7:0: the device status (4.2.2).
pub const STATUS: u32 = 0x070;
/// Write-only, 64 bits in two halves: the address of the descriptors (4.2.2).
pub const QUEUE_DESC: u32 = 0x080;
/// Write-only, 64 bits in two halves: the address of the available ring (4.2.2).
pub const QUEUE_DRIVER: u32 = 0x090;
/// Write-only, 64 bits in two halves: the address of the used ring (4.2.2).
pub const QUEUE_DEVICE: u32 = 0x0a0;
/// Read-only: changes with the device's configuration (4.2.2).
pub const CONFIG_GENERATION: u32 = 0x0fc;
/// Where the device's configuration begins; accessed by the width of its fields (4.2.2).
pub const CONFIG: u32 = 0x100;
