//! QEMU's PC with the driver on its VT-d.

pub(crate) use crate::rig::{self, Model, OTHER_STREAM, OUT, STREAM, pattern, read64, write64};
use vcm::{Attributes, Span};
use vcm_iommu::vtd::{Config, Mode, Vtd, spec};
use vcm_iommu::{Iommu, Registers, StreamId, TableFormat, Tables};
use vcm_pagetable::vtd::{
    FirstStage, FirstStageConfig, FirstStageLevels, LargestPage, MemoryTypes, SecondStage, SecondStageConfig,
    SecondStageLevels,
};
use vcm_pagetable::{Gather, PageTable, Segment};
use vcm_qemu::{IommuMachine, IommuModel, Ram, Window};

/// Where nothing is mapped.
pub(crate) const NOWHERE: u64 = 0x7fff_1000;

/// What the unit can do and what is made of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Variant {
    Legacy,
    /// Legacy mode on a unit that has scalable mode.
    LegacyOfScalable,
    SecondStage,
    FirstStage,
}

impl Variant {
    pub(crate) const ALL: [Self; 4] =
        [Self::Legacy, Self::LegacyOfScalable, Self::SecondStage, Self::FirstStage];

    pub(crate) fn model(self) -> IommuModel {
        match self {
            Self::Legacy => IommuModel::VtdLegacy,
            Self::LegacyOfScalable | Self::SecondStage => IommuModel::VtdScalable,
            Self::FirstStage => IommuModel::VtdScalableFirstStage,
        }
    }

    pub(crate) fn mode(self) -> Mode {
        match self {
            Self::Legacy | Self::LegacyOfScalable => Mode::Legacy,
            Self::SecondStage | Self::FirstStage => Mode::Scalable,
        }
    }

    pub(crate) fn is_first_stage(self) -> bool {
        self == Self::FirstStage
    }
}

/// A table of either stage.
pub(crate) enum Table {
    First(PageTable<FirstStage>),
    Second(PageTable<SecondStage>),
}

impl rig::table::Table for Table {
    fn map_in(&mut self, ram: &mut Ram, at: u64, segment: Segment, attributes: Attributes) {
        match self {
            Self::First(table) => table.map_in(ram, at, segment, attributes),
            Self::Second(table) => table.map_in(ram, at, segment, attributes),
        }
    }

    fn unmap_in(&mut self, ram: &mut Ram, span: Span) -> Gather {
        match self {
            Self::First(table) => table.unmap_in(ram, span),
            Self::Second(table) => table.unmap_in(ram, span),
        }
    }
}

pub(crate) type Bench = rig::Bench<Variant>;

pub(crate) const AT: u64 = Variant::AT;

impl Model for Variant {
    type Driver = Vtd<Window, Ram>;
    type Table = Table;

    /// Of the variant's stage, as deep as the hardware prefers.
    fn table(bench: &Bench) -> Table {
        let memory = &mut bench.ram.clone();
        let host_bits = bench.iommu.limits().output_bits;
        if bench.model.is_first_stage() {
            let config = FirstStageConfig {
                levels: FirstStageLevels::Four,
                host_bits,
                largest_page: LargestPage::Size1G,
                memory_types: MemoryTypes::Ignored,
            };
            Table::First(PageTable::new(config, memory).unwrap())
        } else {
            let levels = if bench.iommu.supports(TableFormat::VtdSecondStage { levels: 4 }) {
                SecondStageLevels::Four
            } else {
                SecondStageLevels::Three
            };
            Table::Second(PageTable::new(SecondStageConfig::new(levels, host_bits), memory).unwrap())
        }
    }

    fn tables(table: &Table) -> Tables {
        match table {
            Table::First(table) => {
                Tables { format: TableFormat::VtdFirstStage { levels: 4 }, root: table.root() }
            }
            Table::Second(table) => {
                let levels = (table.format().config().levels.bits() - 12) / 9;
                Tables { format: TableFormat::VtdSecondStage { levels }, root: table.root() }
            }
        }
    }

    fn entry(bench: &mut Bench, stream: StreamId) -> u64 {
        let root = bench.machine.iommu_registers().unwrap().read64(spec::RTADDR) & !0xfff;
        let table = read64(&bench.ram, root) & !0xfff;
        table + u64::from(stream.0) * if bench.model.mode() == Mode::Scalable { 32 } else { 16 }
    }
}

pub(crate) fn config(variant: Variant) -> Config {
    Config::new("dmar0").with_mode(variant.mode()).with_polls(1000)
}

/// Runs a test on a machine of `variant`.
pub(crate) fn on_qemu(variant: Variant, test: impl FnOnce(&mut Bench)) {
    let probe = |machine: &IommuMachine| {
        Vtd::probe(machine.iommu_registers().unwrap(), machine.ram().clone(), config(variant)).unwrap()
    };
    rig::on_machine(variant, IommuMachine::builder(variant.model()), probe, test);
}

pub(crate) fn on_all(test: impl Fn(&mut Bench)) {
    for variant in Variant::ALL {
        on_qemu(variant, &test);
    }
}
