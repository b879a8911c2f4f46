//! The modern PCI transport (4.1). A function's vendor-specific capabilities tell where its structures are (4.1.4).

/// `cfg_type` of the capability for the common configuration (4.1.4).
pub const CAPABILITY_COMMON: u8 = 1;
/// `cfg_type` of the capability for notifications (4.1.4).
pub const CAPABILITY_NOTIFY: u8 = 2;
/// `cfg_type` of the capability for the interrupt status (4.1.4).
pub const CAPABILITY_INTERRUPT: u8 = 3;
/// `cfg_type` of the capability for the device's own configuration (4.1.4).
pub const CAPABILITY_DEVICE: u8 = 4;

/// Offset in a capability of `cfg_type`, 8 bits (4.1.4).
pub const CAPABILITY_TYPE: u32 = 3;
/// Offset in a capability of the number of the base address register, 8 bits (4.1.4).
pub const CAPABILITY_BAR: u32 = 4;
/// Offset in a capability of where the structure begins in that register's window, in bytes, 32 bits (4.1.4).
pub const CAPABILITY_OFFSET: u32 = 8;
/// Offset in a capability of the structure's length in bytes, 32 bits (4.1.4).
pub const CAPABILITY_LENGTH: u32 = 12;
/// Offset in the notification capability of what `queue_notify_off` is multiplied by, 32 bits (4.1.4.4).
pub const CAPABILITY_NOTIFY_MULTIPLIER: u32 = 16;

/// Common configuration, 32 bits: which 32 features `DEVICE_FEATURE` shows (4.1.4.3).
pub const DEVICE_FEATURE_SELECT: u32 = 0;
/// Common configuration, 32 bits, read-only: what the device offers (4.1.4.3).
pub const DEVICE_FEATURE: u32 = 4;
/// Common configuration, 32 bits: which 32 features `DRIVER_FEATURE` holds (4.1.4.3).
pub const DRIVER_FEATURE_SELECT: u32 = 8;
/// Common configuration, 32 bits: what the driver accepts (4.1.4.3).
pub const DRIVER_FEATURE: u32 = 12;
/// Common configuration, 16 bits, read-only: how many queues there are (4.1.4.3).
pub const NUM_QUEUES: u32 = 18;
/// Common configuration, 8 bits: the device status (4.1.4.3).
pub const DEVICE_STATUS: u32 = 20;
/// Common configuration, 8 bits, read-only: changes with the device's configuration (4.1.4.3).
pub const CONFIG_GENERATION: u32 = 21;
/// Common configuration, 16 bits: which queue the following fields are of (4.1.4.3).
pub const QUEUE_SELECT: u32 = 22;
/// Common configuration, 16 bits: the queue's size; after a reset, the largest. 0: there is no such queue (4.1.4.3).
pub const QUEUE_SIZE: u32 = 24;
/// Common configuration, 16 bits: 1 enables the queue (4.1.4.3).
pub const QUEUE_ENABLE: u32 = 28;
/// Common configuration, 16 bits, read-only: where the queue's notifications go, in multiples of the capability's
/// multiplier (4.1.4.3).
pub const QUEUE_NOTIFY_OFF: u32 = 30;
/// Common configuration, 64 bits in two halves: the address of the descriptors (4.1.4.3).
pub const QUEUE_DESC: u32 = 32;
/// Common configuration, 64 bits in two halves: the address of the available ring (4.1.4.3).
pub const QUEUE_DRIVER: u32 = 40;
/// Common configuration, 64 bits in two halves: the address of the used ring (4.1.4.3).
pub const QUEUE_DEVICE: u32 = 48;

/// Interrupt status, 8 bits: bit 0 for queues, bit 1 for the configuration. Reading clears it (4.1.4.5).
pub const INTERRUPT_STATUS: u32 = 0;
