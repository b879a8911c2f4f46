//! Contiguous pages.

/// Whether neighbouring entries that translate contiguous memory are marked as contiguous, so that a translation cache
/// may hold them as one page: 64K, 32M and 16G with the 4K granule, 2M and 1G with 16K, 2M and 16G with 64K.
///
/// It is a hint to the hardware. What does not heed it (QEMU's models, some implementations) gains nothing, and its
/// tables are somewhat dearer to change: unmapping or protecting a part of such a page rewrites all entries of it.
///
/// Source: Arm ARM DDI 0487, D8.3, "The Contiguous bit".
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Contiguous {
    /// They are.
    #[default]
    Used,
    /// They are not: all pages are of one entry.
    NotUsed,
}
