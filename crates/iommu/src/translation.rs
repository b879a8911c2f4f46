//! How a domain translates.

use core::fmt;
use vcm::{PageSizes, PhysicalAddress, Span};
use vcm_pagetable::aarch64::Granule;

/// How a domain translates.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Translation {
    /// Device addresses are physical addresses.
    Identity,
    /// By what the driver is told with [`Iommu::map`](crate::Iommu::map) and [`Iommu::unmap`](crate::Iommu::unmap):
    /// the IOMMU has no tables that a driver may write.
    Requests,
    /// By a page table.
    Tables(Tables),
    /// By two page tables, one after the other: device addresses to guest physical ones, and those to physical ones.
    /// The first's tables are themselves at guest physical addresses.
    Nested {
        /// A guest's table. Its root is a guest physical address.
        first: Tables,
        /// The table of who owns the guest.
        second: Tables,
    },
}

/// A page table, for hardware to walk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tables {
    /// What it is made of.
    pub format: TableFormat,
    /// Where its root is.
    pub root: PhysicalAddress,
}

/// What the hardware must know of a page table beside its root.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum TableFormat {
    /// [`arm_short`](vcm_pagetable::arm_short), all addresses in one table, with the outer-shareable
    /// [`Remap::OUTER`](vcm_pagetable::arm_short::Remap::OUTER).
    ArmShort,
    /// Stage 1 of [`aarch64`](vcm_pagetable::aarch64), with the memory types of
    /// [`MAIR`](vcm_pagetable::aarch64::MAIR).
    Aarch64Stage1 {
        /// The granule.
        granule: Granule,
        /// Bits of input address: 64 - T0SZ.
        input_bits: u8,
        /// Bits of output address.
        output_bits: u8,
    },
    /// Stage 2 of [`aarch64`](vcm_pagetable::aarch64).
    Aarch64Stage2 {
        /// The granule.
        granule: Granule,
        /// Bits of input address: 64 - T0SZ.
        input_bits: u8,
        /// Bits of output address.
        output_bits: u8,
        /// The level at which the root is, 0 to 3. Concatenated tables make it one more than the input bits alone say.
        start_level: u8,
    },
    /// Intel's first-stage tables.
    VtdFirstStage {
        /// 4 or 5: 48 or 57 bits of input address.
        levels: u8,
    },
    /// Intel's second-stage tables.
    VtdSecondStage {
        /// 3 to 5: 39, 48 or 57 bits of input address.
        levels: u8,
    },
    /// AMD's own tables, version 1.
    AmdV1 {
        /// 3 to 6: 39, 48, 57 or 64 bits of input address.
        levels: u8,
    },
    /// RISC-V's Sv39, Sv48 or Sv57.
    RiscvFirstStage {
        /// 3 to 5.
        levels: u8,
    },
    /// RISC-V's Sv39x4, Sv48x4 or Sv57x4.
    RiscvSecondStage {
        /// 3 to 5: 41, 50 or 59 bits of input address.
        levels: u8,
    },
}

impl fmt::Display for TableFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ArmShort => f.write_str("ARMv7 short descriptor"),
            Self::Aarch64Stage1 { granule, input_bits, .. } => {
                write!(f, "AArch64 stage 1, {granule} granule, {input_bits} bits")
            }
            Self::Aarch64Stage2 { granule, input_bits, .. } => {
                write!(f, "AArch64 stage 2, {granule} granule, {input_bits} bits")
            }
            Self::VtdFirstStage { levels } => write!(f, "VT-d first stage, {levels} levels"),
            Self::VtdSecondStage { levels } => write!(f, "VT-d second stage, {levels} levels"),
            Self::AmdV1 { levels } => write!(f, "AMD v1, {levels} levels"),
            Self::RiscvFirstStage { levels } => write!(f, "RISC-V Sv{}", riscv_bits(*levels)),
            Self::RiscvSecondStage { levels } => write!(f, "RISC-V Sv{}x4", riscv_bits(*levels)),
        }
    }
}

/// The number in the name of a RISC-V format: bits of input address of the first stage.
fn riscv_bits(levels: u8) -> u32 {
    9 * u32::from(levels) + 12
}

/// How an IOMMU would have its domains translate, were it asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// By [`Translation::Requests`].
    Requests {
        /// The page sizes that mappings must be made of.
        page_sizes: PageSizes,
        /// The addresses that can be mapped.
        input: Span,
    },
    /// By [`Translation::Tables`] of this format.
    Tables(TableFormat),
}

/// What of a format an IOMMU takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableLimits {
    /// Bits of input address, where they are fewer than the levels of the tables translate.
    pub input_bits: u8,
    /// Bits of output address, where the format does not say.
    pub output_bits: u8,
    /// The page sizes that it understands; those that the format does not have are of no account.
    ///
    /// With 64 KiB among them, tables of 4 KiB pages have groups of entries that are one larger page, where the
    /// format has them: `AArch64`'s contiguous pages, Svnapot.
    pub page_sizes: PageSizes,
}

impl TableLimits {
    /// All that formats have, and 48 bits of output address.
    pub const NONE: Self = Self {
        input_bits: 64,
        output_bits: 48,
        page_sizes: match PageSizes::from_mask(!0xfff) {
            Some(sizes) => sizes,
            None => PageSizes::AARCH64_4K,
        },
    };
}
