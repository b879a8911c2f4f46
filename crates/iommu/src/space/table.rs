//! A page table of a format that is known at run time only.

use super::formats::{
    amd_v1, arm_short, riscv_first_stage, riscv_second_stage, stage1, stage2, vtd_first_stage,
    vtd_second_stage,
};
use super::{AnyTableMemory, of_tables};
use crate::{TableFormat, TableLimits};
use vcm::{Attributes, HardwareError, HardwareErrorKind, Label, PageSizes, PhysicalAddress, Segments, Span};
use vcm_pagetable::aarch64::{Granule, Granule4K, Granule16K, Granule64K, Stage1, Stage2};
use vcm_pagetable::amd::AmdV1;
use vcm_pagetable::arm_short::ArmShort;
use vcm_pagetable::{
    Format, Gather, Leaf, MapError, PageTable, Segment, Translation, UnmapError, Unrepresentable, riscv, vtd,
};

/// How many runs of pages are unmapped after one look at a table: a look is a walk of the whole span.
const RUNS: usize = 16;

/// A page table of any format.
#[derive(Debug)]
#[must_use = "dropping a page table leaks its tables: see `destroy`"]
pub enum AnyTable {
    /// `ARMv7`'s short descriptors.
    ArmShort(PageTable<ArmShort>),
    /// `AArch64` stage 1, 4 KiB granule.
    Stage1Granule4K(PageTable<Stage1<Granule4K>>),
    /// `AArch64` stage 1, 16 KiB granule.
    Stage1Granule16K(PageTable<Stage1<Granule16K>>),
    /// `AArch64` stage 1, 64 KiB granule.
    Stage1Granule64K(PageTable<Stage1<Granule64K>>),
    /// `AArch64` stage 2, 4 KiB granule.
    Stage2Granule4K(PageTable<Stage2<Granule4K>>),
    /// `AArch64` stage 2, 16 KiB granule.
    Stage2Granule16K(PageTable<Stage2<Granule16K>>),
    /// `AArch64` stage 2, 64 KiB granule.
    Stage2Granule64K(PageTable<Stage2<Granule64K>>),
    /// VT-d's first stage.
    VtdFirstStage(PageTable<vtd::FirstStage>),
    /// VT-d's second stage.
    VtdSecondStage(PageTable<vtd::SecondStage>),
    /// AMD's own tables.
    AmdV1(PageTable<AmdV1>),
    /// RISC-V's first stage.
    RiscvFirstStage(PageTable<riscv::FirstStage>),
    /// RISC-V's second stage.
    RiscvSecondStage(PageTable<riscv::SecondStage>),
}

/// Does the same with a table of whichever format.
macro_rules! each {
    ($this:expr, $table:ident => $body:expr) => {
        match $this {
            AnyTable::ArmShort($table) => $body,
            AnyTable::Stage1Granule4K($table) => $body,
            AnyTable::Stage1Granule16K($table) => $body,
            AnyTable::Stage1Granule64K($table) => $body,
            AnyTable::Stage2Granule4K($table) => $body,
            AnyTable::Stage2Granule16K($table) => $body,
            AnyTable::Stage2Granule64K($table) => $body,
            AnyTable::VtdFirstStage($table) => $body,
            AnyTable::VtdSecondStage($table) => $body,
            AnyTable::AmdV1($table) => $body,
            AnyTable::RiscvFirstStage($table) => $body,
            AnyTable::RiscvSecondStage($table) => $body,
        }
    };
}

/// Does the same with whichever format: `$made` is the format, `$wrap` makes a table of it one of any format.
macro_rules! choose {
    ($format:expr, $limits:expr, ($made:ident, $wrap:ident) => $body:expr) => {{
        let limits: TableLimits = $limits;
        macro_rules! with {
            ($variant:ident, $new:expr) => {{
                let ($made, $wrap) = ($new.map_err(|refused| map_error(refused.into()))?, AnyTable::$variant);
                $body
            }};
        }
        match $format {
            TableFormat::ArmShort => with!(ArmShort, arm_short()),
            TableFormat::Aarch64Stage1 { granule, input_bits, output_bits } => match granule {
                Granule::Size4K => with!(Stage1Granule4K, stage1(input_bits, output_bits, limits)),
                Granule::Size16K => with!(Stage1Granule16K, stage1(input_bits, output_bits, limits)),
                Granule::Size64K => with!(Stage1Granule64K, stage1(input_bits, output_bits, limits)),
            },
            TableFormat::Aarch64Stage2 { granule, input_bits, output_bits, start_level } => match granule {
                Granule::Size4K => {
                    with!(Stage2Granule4K, stage2(input_bits, output_bits, start_level, limits))
                }
                Granule::Size16K => {
                    with!(Stage2Granule16K, stage2(input_bits, output_bits, start_level, limits))
                }
                Granule::Size64K => {
                    with!(Stage2Granule64K, stage2(input_bits, output_bits, start_level, limits))
                }
            },
            TableFormat::VtdFirstStage { levels } => with!(VtdFirstStage, vtd_first_stage(levels, limits)),
            TableFormat::VtdSecondStage { levels } => with!(VtdSecondStage, vtd_second_stage(levels, limits)),
            TableFormat::AmdV1 { levels } => with!(AmdV1, amd_v1(levels, limits)),
            TableFormat::RiscvFirstStage { levels } => {
                with!(RiscvFirstStage, riscv_first_stage(levels, limits))
            }
            TableFormat::RiscvSecondStage { levels } => {
                with!(RiscvSecondStage, riscv_second_stage(levels, limits))
            }
        }
    }};
}

impl AnyTable {
    /// An empty table of `format`, within `limits`.
    ///
    /// # Errors
    /// `NotSupported` for a size of addresses or a number of levels that the format has not; `OutOfMemory`.
    pub fn new(
        format: TableFormat,
        limits: TableLimits,
        memory: &mut impl AnyTableMemory,
    ) -> Result<Self, HardwareError> {
        choose!(format, limits, (made, wrap) => {
            PageTable::of_format(made, memory).map(wrap).map_err(map_error)
        })
    }

    /// The page sizes and the addresses of a table of `format`, within `limits`.
    ///
    /// # Errors
    /// `NotSupported` for a size of addresses or a number of levels that the format has not.
    pub fn describe(format: TableFormat, limits: TableLimits) -> Result<(PageSizes, Span), HardwareError> {
        choose!(format, limits, (made, wrap) => {
            Ok(sizes_and_input(wrap, made))
        })
    }

    /// What a refusal of a page table is to the mapping graph.
    pub const fn error(refused: &MapError) -> HardwareError {
        of_tables(match refused {
            MapError::Occupied { .. } | MapError::Foreign { .. } => HardwareErrorKind::Occupied,
            MapError::Unrepresentable { what, .. } => {
                return HardwareError { kind: HardwareErrorKind::Attributes, at: blamed(*what) };
            }
            MapError::MixedSecurity { .. } => HardwareErrorKind::MixedSecurity,
            MapError::Table(_) => HardwareErrorKind::OutOfMemory,
            MapError::Config(_) => HardwareErrorKind::NotSupported,
            _ => HardwareErrorKind::Address,
        })
    }

    /// What people call tables of `format`.
    pub const fn name(format: TableFormat) -> &'static str {
        match format {
            TableFormat::ArmShort => "ARMv7 short descriptor",
            TableFormat::Aarch64Stage1 { granule: Granule::Size4K, .. } => "AArch64 stage 1, 4K granule",
            TableFormat::Aarch64Stage1 { granule: Granule::Size16K, .. } => "AArch64 stage 1, 16K granule",
            TableFormat::Aarch64Stage1 { granule: Granule::Size64K, .. } => "AArch64 stage 1, 64K granule",
            TableFormat::Aarch64Stage2 { granule: Granule::Size4K, .. } => "AArch64 stage 2, 4K granule",
            TableFormat::Aarch64Stage2 { granule: Granule::Size16K, .. } => "AArch64 stage 2, 16K granule",
            TableFormat::Aarch64Stage2 { granule: Granule::Size64K, .. } => "AArch64 stage 2, 64K granule",
            TableFormat::VtdFirstStage { .. } => "VT-d first stage",
            TableFormat::VtdSecondStage { .. } => "VT-d second stage",
            TableFormat::AmdV1 { .. } => "AMD-Vi v1",
            TableFormat::RiscvFirstStage { .. } => "RISC-V first stage",
            TableFormat::RiscvSecondStage { .. } => "RISC-V second stage",
        }
    }

    /// Where its root is.
    pub const fn root(&self) -> PhysicalAddress {
        each!(self, table => table.root())
    }

    /// Maps `segments`, one after the other, from `at` on, whole or not at all.
    ///
    /// # Errors
    /// What [`PageTable::map`] refuses; nothing is mapped.
    pub fn map(
        &mut self,
        memory: &mut impl AnyTableMemory,
        at: u64,
        segments: Segments<'_>,
        attributes: Attributes,
    ) -> Result<(), HardwareError> {
        let segments = segments.map(|segment| Segment { physical: segment.base, len: segment.len });
        each!(self, table => table.map(memory, at, segments, attributes)).map_err(map_error)
    }

    /// Unmaps all that is mapped in `span`, whole pages; holes are passed over.
    ///
    /// # Errors
    /// `OutOfMemory` for a table, where a large page is split; `Address`. The call may be repeated.
    pub fn unmap(
        &mut self,
        memory: &mut impl AnyTableMemory,
        span: Span,
        gather: &mut Gather,
    ) -> Result<(), HardwareError> {
        let mut left = Some(span);
        while let Some(span) = left {
            let (runs, found) = self.runs(memory, span);
            for run in runs.iter().take(found.min(RUNS)).flatten() {
                each!(self, table => table.unmap(memory, *run, gather)).map_err(unmap_error)?;
            }
            let last = if found > RUNS { runs[RUNS - 1] } else { None };
            left = last.and_then(|run| Span::inclusive(run.last().checked_add(1)?, span.last()));
        }
        Ok(())
    }

    /// The first runs of pages in `span` without a hole, and how many runs there are.
    fn runs(&self, memory: &impl AnyTableMemory, span: Span) -> ([Option<Span>; RUNS], usize) {
        let mut runs = [None; RUNS];
        let mut found = 0;
        // The end of the last run, which may be one that is only counted.
        let mut end = None;
        self.leaves(memory, span, |leaf| {
            let page = Span::new(leaf.at, leaf.size).and_then(|page| page.intersection(span));
            let Some(page) = page else { return };
            if end != Some(page.first()) {
                found += 1;
            }
            end = page.last().checked_add(1);
            if let Some(run) = runs.get_mut(found - 1) {
                *run = Span::inclusive(run.unwrap_or(page).first(), page.last());
            }
        });
        (runs, found)
    }

    /// Where `at` leads, if anywhere.
    pub fn translate(&self, memory: &impl AnyTableMemory, at: u64) -> Option<Translation> {
        each!(self, table => table.translate(memory, at))
    }

    /// Calls `visit` with every page that has a byte in `span`, in ascending order.
    pub fn leaves(&self, memory: &impl AnyTableMemory, span: Span, visit: impl FnMut(Leaf)) {
        each!(self, table => table.leaves(memory, span, visit));
    }

    /// Frees the tables that unmapping removed. To be called when the invalidation has completed, and not before.
    pub fn finish(&self, gather: Gather, memory: &mut impl AnyTableMemory) {
        match self {
            Self::ArmShort(_) => gather.finish::<u32>(memory),
            _ => gather.finish::<u64>(memory),
        }
    }

    /// Frees all tables. To be called when no hardware walks them any more.
    pub fn destroy(self, memory: &mut impl AnyTableMemory) {
        each!(self, table => table.destroy(memory));
    }
}

/// Of a format that `wrap` makes tables of.
fn sizes_and_input<F: Format>(wrap: fn(PageTable<F>) -> AnyTable, format: F) -> (PageSizes, Span) {
    let _ = wrap;
    (format.page_sizes(), format.input())
}

/// The page table, and which attribute it has no encoding for.
const fn blamed(what: Unrepresentable) -> Label {
    Label::new(match what {
        Unrepresentable::NoAccess => "page table (no access)",
        Unrepresentable::WriteOnly => "page table (write-only access)",
        Unrepresentable::ExecuteOnly => "page table (execute-only access)",
        Unrepresentable::Execute => "page table (execute access)",
        Unrepresentable::MemoryType => "page table (cache policy)",
        Unrepresentable::Shareability => "page table (shareability)",
        Unrepresentable::Supervisor => "page table (supervisor only)",
        Unrepresentable::Secure => "page table (secure memory)",
        _ => "page table",
    })
}

fn map_error(refused: MapError) -> HardwareError {
    AnyTable::error(&refused)
}

fn unmap_error(refused: UnmapError) -> HardwareError {
    of_tables(match refused {
        UnmapError::Table(_) => HardwareErrorKind::OutOfMemory,
        _ => HardwareErrorKind::Address,
    })
}
