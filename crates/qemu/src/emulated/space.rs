//! The address spaces of a machine's regions.

use super::processor::Processor;
use crate::ram::Ram;
use vcm::{
    Attributes, HardwareError, HardwareErrorKind, Label, LeafCount, PhysicalAddress, Privilege, RegionKind,
    Segments, Span,
};
use vcm_iommu::{AddressSpace, AnyTable, Iommu, TableFormat};
use vcm_pagetable::Gather;
use vcm_pagetable::aarch64::Granule;
use vcm_platform::job::Mover;

/// The numbers of a machine's formats: what its IOMMU has, what processors have that this process plays, what a
/// guest has, and none.
pub(super) const TRANSLATED: u32 = 1;
pub(super) const PROCESSOR: u32 = 2;
pub(super) const GUEST: u32 = 3;
pub(super) const PHYSICAL: u32 = 4;

/// Stage 1 of the processors that this process plays.
pub(super) const PROCESSOR_TABLES: TableFormat =
    TableFormat::Aarch64Stage1 { granule: Granule::Size4K, input_bits: 39, output_bits: 48 };
/// Stage 2 of the guest that this process plays.
pub(super) const GUEST_TABLES: TableFormat =
    TableFormat::Aarch64Stage2 { granule: Granule::Size4K, input_bits: 39, output_bits: 48, start_level: 1 };

/// An address space.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) kind: RegionKind,
    /// The region's addresses.
    pub(super) span: Span,
    pub(super) tables: Tables,
}

/// Who walks a space's tables.
#[derive(Debug)]
pub(super) enum Tables {
    /// The machine's IOMMU.
    Iommu(AddressSpace),
    /// This process, for a processor that it plays.
    Played(AnyTable),
}

impl Space {
    pub(super) fn map(
        &mut self,
        iommu: &mut dyn Iommu,
        ram: &mut Ram,
        at: u64,
        segments: Segments<'_>,
        attributes: Attributes,
    ) -> Result<(), HardwareError> {
        let len = segments.clone().fold(0_u64, |len, segment| len.saturating_add(segment.len));
        if Span::new(at, len).is_none_or(|span| !self.span.covers(span)) {
            let at = Label::new("outside the space");
            return Err(HardwareError { kind: HardwareErrorKind::Address, at });
        }
        match &mut self.tables {
            Tables::Iommu(space) => space.map(iommu, ram, at, segments, attributes),
            Tables::Played(table) => table.map(ram, at, segments, attributes),
        }
    }

    pub(super) fn unmap(
        &mut self,
        iommu: &mut dyn Iommu,
        ram: &mut Ram,
        span: Span,
    ) -> Result<(), HardwareError> {
        let Some(span) = span.intersection(self.span) else { return Ok(()) };
        match &mut self.tables {
            Tables::Iommu(space) => space.unmap(iommu, ram, span),
            Tables::Played(table) => {
                let mut gather = Gather::new();
                let unmapped = table.unmap(ram, span, &mut gather);
                // There is no TLB.
                table.finish(gather, ram);
                unmapped
            }
        }
    }

    pub(super) fn walk(&self, ram: &Ram, address: u64) -> Option<PhysicalAddress> {
        match &self.tables {
            Tables::Iommu(space) => space.walk(ram, address),
            Tables::Played(table) => table.translate(ram, address).map(|found| found.physical),
        }
    }

    pub(super) fn leaves(&self, ram: &Ram, span: Span) -> LeafCount {
        match &self.tables {
            Tables::Iommu(space) => space.leaves(ram, span),
            Tables::Played(table) => {
                let mut count = LeafCount::default();
                table.leaves(ram, span, |leaf| count.add(leaf.size));
                count
            }
        }
    }

    pub(super) const fn root(&self) -> Option<PhysicalAddress> {
        match &self.tables {
            Tables::Iommu(space) => space.root(),
            Tables::Played(table) => Some(table.root()),
        }
    }
}

/// What a processor that is attached to `spaces` does its accesses with.
pub(super) fn processor<'m>(
    spaces: impl Iterator<Item = &'m Space>,
    ram: &'m Ram,
    privilege: Privilege,
) -> impl Mover + 'm {
    let tables = spaces.filter_map(|space| match &space.tables {
        Tables::Played(table) => Some(table),
        Tables::Iommu(_) => None,
    });
    Processor { tables: tables.collect(), ram, privilege }
}
