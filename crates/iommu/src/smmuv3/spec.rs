//! The registers, structures, commands and events of the Arm `SMMUv3`: offsets and fields, no behaviour.
//!
//! Source: Arm IHI 0070 (System Memory Management Unit architecture version 3), whose chapters are named beside each
//! group: 4 commands, 5 data structures, 6 registers, 7 events and errors. Cross-checked with Linux
//! `drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.h` and QEMU `hw/arm/smmuv3-internal.h`. Only what the non-secure
//! programming interface needs is here. Fields whose bits are counted from the start of a structure in the
//! specification are counted from the start of their 64-bit word here.

mod command;
mod context;
mod event;
mod identification;
mod registers;
mod stream;

pub use command::*;
pub use context::*;
pub use event::*;
pub use identification::*;
pub use registers::*;
pub use stream::*;

/// The encodings of address sizes in `IDR5.OAS`, `STE.S2PS` and `CD.IPS`, by code: bits of physical address
/// (Arm IHI 0070, 6.3.6). Code 6 (52 bits) is not used here: its tables are of another format.
pub const ADDRESS_SIZES: [u8; 6] = [32, 36, 40, 42, 44, 48];

/// Shareability, as in `CR1`, `STE` and `CD`: none.
pub const NON_SHAREABLE: u8 = 0;
/// Shareability: outer.
pub const OUTER_SHAREABLE: u8 = 2;
/// Shareability: inner.
pub const INNER_SHAREABLE: u8 = 3;
/// Cacheability of walks and fetches in `STE` and `CD` (as of `TCR_EL1.IRGN0`): not cached.
pub const WALK_NOT_CACHED: u8 = 0;
/// Cacheability of walks and fetches in `STE` and `CD`: write-back, allocating on reads and writes.
pub const WALK_WRITE_BACK: u8 = 1;
/// Cacheability in `CR1`: not cached.
pub const TABLE_NOT_CACHED: u8 = 0;
/// Cacheability in `CR1`: write-back.
pub const TABLE_WRITE_BACK: u8 = 1;

/// The granule in `CD.TG0` and `STE.S2TG`: 4 KiB.
pub const GRANULE_4K: u8 = 0;
/// The granule in `CD.TG0` and `STE.S2TG`: 64 KiB.
pub const GRANULE_64K: u8 = 1;
/// The granule in `CD.TG0` and `STE.S2TG`: 16 KiB.
pub const GRANULE_16K: u8 = 2;
