//! Address spaces: page tables in the machine's memory.

use super::machine::Machine;
use vcm::{HardwareError, PageSizes, RegionKind, Span};
use vcm_iommu::{AnyTable, TableFormat, TableLimits};
use vcm_pagetable::aarch64::Granule;
use vcm_pagetable::arm_short::{Config, Remap, Split};
use vcm_pagetable::{Gather, PageTable};

/// What the classes of memory mean to every walker of short-descriptor tables here: shareable memory is shared with the
/// outer domain, where bus masters are.
pub(super) const REMAP: Remap = Remap::OUTER;
/// Bits of guest physical address: what a walk from level 1 translates.
pub(super) const GUEST_BITS: u8 = 39;

/// An address space.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) kind: RegionKind,
    /// The machine's number of its format.
    pub(super) format: u32,
    /// The region's addresses.
    pub(super) span: Span,
    pub(super) tables: AnyTable,
    /// What was unmapped, and is not known to be out of every TLB.
    pub(super) pending: Gather,
}

/// An empty short-descriptor table.
pub(super) fn short_table(split: Split, machine: &mut Machine) -> Result<AnyTable, HardwareError> {
    let config = Config { split, remap: REMAP, ..Config::default() };
    PageTable::new(config, machine).map(AnyTable::ArmShort).map_err(|refused| AnyTable::error(&refused))
}

/// An empty stage-2 table.
pub(super) fn stage2_table(machine: &mut Machine) -> Result<AnyTable, HardwareError> {
    let (granule, input_bits, output_bits, start_level) = (Granule::Size4K, GUEST_BITS, 40, 1);
    let format = TableFormat::Aarch64Stage2 { granule, input_bits, output_bits, start_level };
    let limits = TableLimits { page_sizes: PageSizes::AARCH64_4K, ..TableLimits::NONE };
    AnyTable::new(format, limits, machine)
}
