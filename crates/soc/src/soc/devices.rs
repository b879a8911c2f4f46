//! The machine's devices: what stands behind each name.

use super::space::{GUEST_BITS, REMAP};
use crate::hardware::TypeModel;
use crate::hardware::short_descriptor::{ByteOrder, PermissionModel, Regime};
use crate::hardware::stage2::Stage2;
use crate::hardware::{MasterId, Mmu, ProcessorId};
use vcm::{FaultReason, PageSizes, Part, PhysicalAddress, RegionKind, SpaceHandle, Span};
use vcm_iommu::msm::{ContextId, TableRoots};
use vcm_pagetable::arm_short::Split;

/// A device.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) kind: RegionKind,
    /// The bus master that moves its bytes.
    pub(super) master: MasterId,
    pub(super) unit: Unit,
    /// What it translates through.
    pub(super) attached: Vec<(Part, SpaceHandle)>,
    /// The contexts that are held for the transfer under way.
    pub(super) held: Vec<(usize, ContextId)>,
    /// The last fault of the transfer under way that was told: where, and why.
    pub(super) reported: Option<(u64, FaultReason)>,
    /// How many bytes were done when progress was last reported.
    pub(super) progress: u64,
}

/// What translates for a device.
#[derive(Debug)]
pub(super) enum Unit {
    /// A context of each SMMU in its way: the driver's index and the driver's name for it.
    Contexts(Vec<(usize, ContextId)>),
    /// Nothing.
    Direct,
    /// Its own MMU.
    Processor(ProcessorId),
}

impl Device {
    pub(super) const fn new(kind: RegionKind, master: MasterId, unit: Unit) -> Self {
        Self { kind, master, unit, attached: Vec::new(), held: Vec::new(), reported: None, progress: 0 }
    }

    pub(super) fn contexts(&self) -> &[(usize, ContextId)] {
        match &self.unit {
            Unit::Contexts(contexts) => contexts,
            Unit::Direct | Unit::Processor(_) => &[],
        }
    }
}

/// The roots of a context with these tables; `None` when there are none.
pub(super) fn roots(parts: impl Iterator<Item = (Part, PhysicalAddress)>) -> Option<TableRoots> {
    let mut roots = None;
    for (part, table) in parts {
        let known = roots.get_or_insert_with(TableRoots::default);
        match part {
            Part::Whole => known.low = Some(table),
            Part::Low { split } => (known.low, known.split) = (Some(table), split),
            Part::High { split } => (known.high, known.split) = (Some(table), split),
        }
    }
    roots
}

/// The numbers of the machine's formats.
pub(super) const SHORT: u32 = 1;
const SHORT_LOW: u32 = 0x10;
const SHORT_HIGH: u32 = 0x20;
/// AArch64 stage 2.
pub(super) const STAGE2: u32 = 2;
/// No translation.
const PHYSICAL: u32 = 3;

/// The number of the format in which a device of `kind` translates `part` of its addresses.
pub(super) fn format_of(kind: RegionKind, part: Part) -> Option<u32> {
    match (kind, part) {
        (RegionKind::Translated, Part::Low { split: split @ 1..=7 }) => Some(SHORT_LOW + u32::from(split)),
        (RegionKind::Translated, Part::High { split: split @ 1..=7 }) => Some(SHORT_HIGH + u32::from(split)),
        (RegionKind::Translated | RegionKind::Cpu | RegionKind::Remote, Part::Whole) => Some(SHORT),
        (RegionKind::Guest, Part::Whole) => Some(STAGE2),
        (RegionKind::OneToOne, Part::Whole) => Some(PHYSICAL),
        _ => None,
    }
}

/// The part of the addresses that a short-descriptor table of the format `id` translates.
pub(super) const fn split_of(id: u32) -> Option<Split> {
    match id {
        SHORT => Some(Split::Whole),
        0x11..=0x17 => Some(Split::Low { n: (id - SHORT_LOW) as u8 }),
        0x21..=0x27 => Some(Split::High { n: (id - SHORT_HIGH) as u8 }),
        _ => None,
    }
}

/// A format's name, page sizes and addresses.
pub(super) fn describe(id: u32) -> (&'static str, PageSizes, Span) {
    let upto = |bits: u32| Span::inclusive(0, (1 << bits) - 1).unwrap_or(Span::ALL);
    match split_of(id) {
        Some(Split::Whole) => ("ARMv7 short descriptor", PageSizes::ARM_SHORT, upto(32)),
        Some(Split::Low { n }) => {
            ("ARMv7 short descriptor, low", PageSizes::ARM_SHORT, upto(32 - u32::from(n)))
        }
        Some(Split::High { n }) => {
            let high = Span::inclusive(1 << (32 - n), u64::from(u32::MAX));
            ("ARMv7 short descriptor, high", PageSizes::ARM_SHORT, high.unwrap_or(Span::ALL))
        }
        None if id == STAGE2 => ("AArch64 stage 2", PageSizes::AARCH64_4K, upto(u32::from(GUEST_BITS))),
        None => ("physical addresses", PageSizes::ARM_SHORT, Span::ALL),
    }
}

/// How a processor with a short-descriptor table at `root` translates.
pub(super) const fn short_mmu(root: PhysicalAddress) -> Mmu {
    Mmu::Short(Regime {
        ttbr0: root.raw() as u32,
        ttbr1: 0,
        ttbcr: 0,
        permissions: PermissionModel::Full,
        types: TypeModel::Remapped { prrr: REMAP.prrr, nmrr: REMAP.nmrr },
        order: ByteOrder::Little,
    })
}

/// How a guest with a stage-2 table at `root` translates: VMID 1, T0SZ for its bits, a walk from level 1.
pub(super) const fn guest_mmu(root: PhysicalAddress) -> Mmu {
    Mmu::Stage2(Stage2 { vttbr: 1 << 48 | root.raw(), vtcr: (64 - GUEST_BITS as u64) | 1 << 6 })
}
