//! The registers of the Qualcomm MSM SMMU: offsets and fields, no behaviour.
//!
//! There is no public manual. Unless a line names another source, offsets and fields are those of Linux
//! `drivers/iommu/msm_iommu_hw-8xxx.h` (formerly `arch/arm/mach-msm/include/mach/iommu_hw-8xxx.h`), and what
//! a field does is read from the comments and the use in Linux `drivers/iommu/msm_iommu.c`. "(open)" marks
//! what is stated nowhere and inferred here, with the reason.
//!
//! An SMMU is a window of 1 MiB in pages of 4 KiB: context bank `c` is page `c`, and the last page holds the
//! global registers. So there can be 255 banks at most.

mod context;
mod fault;
mod global;

pub use context::*;
pub use fault::*;
pub use global::*;

/// Bytes of an SMMU's register window.
pub const WINDOW: u32 = 0x10_0000;

/// Bytes of a context bank's page.
pub const BANK_STRIDE: u32 = 0x1000;

/// The most banks that fit below the global page.
pub const MAX_BANKS: u32 = GLOBAL / BANK_STRIDE;

/// The offset of `register` (one of the context registers) of context bank `bank`.
pub const fn context_register(bank: u8, register: u32) -> u32 {
    bank as u32 * BANK_STRIDE + register
}
