//! Address spaces: page tables in the machine's memory.

use super::machine::Machine;
use vcm::{Attributes, HardwareError, HardwareErrorKind, Label, PhysicalAddress, RegionKind, Segments, Span};
use vcm_pagetable::aarch64::{Stage2, Stage2Config};
use vcm_pagetable::arm_short::{ArmShort, Config, Remap, Split};
use vcm_pagetable::{Gather, Leaf, MapError, PageTable, Segment, UnmapError};

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
    pub(super) tables: Tables,
    /// What was unmapped, and is not known to be out of every TLB.
    pub(super) pending: Gather,
}

/// A page table of one of the machine's formats.
#[derive(Debug)]
pub(super) enum Tables {
    Short(PageTable<ArmShort>),
    Stage2(PageTable<Stage2>),
}

macro_rules! each {
    ($this:expr, $table:ident => $body:expr) => {
        match $this {
            Tables::Short($table) => $body,
            Tables::Stage2($table) => $body,
        }
    };
}

impl Tables {
    /// An empty short-descriptor table.
    pub(super) fn short(split: Split, machine: &mut Machine) -> Result<Self, HardwareError> {
        let config = Config { split, remap: REMAP, ..Config::default() };
        PageTable::new(config, machine).map(Self::Short).map_err(map_error)
    }

    /// An empty stage-2 table.
    pub(super) fn stage2(machine: &mut Machine) -> Result<Self, HardwareError> {
        let config = Stage2Config { input_bits: GUEST_BITS, output_bits: 40 };
        PageTable::new(config, machine).map(Self::Stage2).map_err(map_error)
    }

    pub(super) const fn root(&self) -> PhysicalAddress {
        each!(self, table => table.root())
    }

    pub(super) fn map(
        &mut self,
        machine: &mut Machine,
        at: u64,
        segments: Segments<'_>,
        attributes: Attributes,
    ) -> Result<(), HardwareError> {
        let segments = segments.map(|segment| Segment { physical: segment.base, len: segment.len });
        each!(self, table => table.map(machine, at, segments, attributes)).map_err(map_error)
    }

    /// Maps one page as it is in another table.
    pub(super) fn map_leaf(&mut self, machine: &mut Machine, leaf: &Leaf) -> Result<(), HardwareError> {
        let segment = std::iter::once(Segment { physical: leaf.physical, len: leaf.size });
        each!(self, table => table.map(machine, leaf.at, segment, leaf.attributes)).map_err(map_error)
    }

    /// Unmaps all that is mapped in `span`; holes are passed over. After an error the call may be repeated.
    pub(super) fn unmap(
        &mut self,
        machine: &mut Machine,
        span: Span,
        gather: &mut Gather,
    ) -> Result<(), HardwareError> {
        // Runs of pages without a hole, as far as they are in the span.
        let mut runs: Vec<Span> = Vec::new();
        self.leaves(machine, span, |leaf| {
            let Some(page) = Span::new(leaf.at, leaf.size).and_then(|page| page.intersection(span)) else {
                return;
            };
            match runs.last_mut() {
                Some(run) if run.last().checked_add(1) == Some(page.first()) => {
                    *run = Span::inclusive(run.first(), page.last()).unwrap_or(*run);
                }
                _ => runs.push(page),
            }
        });
        for run in runs {
            each!(self, table => table.unmap(machine, run, gather)).map_err(unmap_error)?;
        }
        Ok(())
    }

    pub(super) fn translate(&self, machine: &Machine, at: u64) -> Option<PhysicalAddress> {
        each!(self, table => table.translate(machine, at)).map(|found| found.physical)
    }

    pub(super) fn leaves(&self, machine: &Machine, span: Span, visit: impl FnMut(Leaf)) {
        each!(self, table => table.leaves(machine, span, visit));
    }

    pub(super) fn finish(&self, gather: Gather, machine: &mut Machine) {
        match self {
            Self::Short(_) => gather.finish::<u32>(machine),
            Self::Stage2(_) => gather.finish::<u64>(machine),
        }
    }

    pub(super) fn destroy(self, machine: &mut Machine) {
        each!(self, table => table.destroy(machine));
    }
}

const fn error(kind: HardwareErrorKind) -> HardwareError {
    HardwareError { kind, at: Label::new("page table") }
}

fn map_error(refused: MapError) -> HardwareError {
    error(match refused {
        MapError::Occupied { .. } | MapError::Foreign { .. } => HardwareErrorKind::Occupied,
        MapError::Unrepresentable { .. } => HardwareErrorKind::Attributes,
        MapError::MixedSecurity { .. } => HardwareErrorKind::MixedSecurity,
        MapError::Table(_) => HardwareErrorKind::OutOfMemory,
        MapError::Config(_) => HardwareErrorKind::NotSupported,
        _ => HardwareErrorKind::Address,
    })
}

fn unmap_error(refused: UnmapError) -> HardwareError {
    error(match refused {
        UnmapError::Table(_) => HardwareErrorKind::OutOfMemory,
        _ => HardwareErrorKind::Address,
    })
}
