//! QEMU's machine with the driver on its IOMMU.

pub(crate) use crate::rig::guest::{GuestMemory, guest};
pub(crate) use crate::rig::table::map_in;
pub(crate) use crate::rig::{self, Model, OTHER_STREAM, OUT, STREAM, read64};
use vcm_iommu::riscv::{Config, RiscvIommu, spec};
use vcm_iommu::{Reach, Registers, StreamId, TableFormat, Tables};
use vcm_pagetable::PageTable;
use vcm_pagetable::riscv::{
    FirstStage, FirstStageConfig, FirstStageMode, SecondStage, SecondStageConfig, SecondStageMode, Svnapot,
    Svpbmt,
};
use vcm_qemu::{Decoding, IommuMachine, IommuModel, Ram, Window};

pub(crate) struct Riscv;

pub(crate) type Bench = rig::Bench<Riscv>;

pub(crate) const AT: u64 = Riscv::AT;

impl Model for Riscv {
    type Driver = RiscvIommu<Window, Ram>;
    type Table = PageTable<FirstStage>;

    // Without the extension for tables above the last level, those go with everything else of the domain.
    const EXACT: &'static [Reach] = &[Reach::Pages];

    fn table(bench: &Bench) -> Self::Table {
        bench.first(3)
    }

    fn tables(table: &Self::Table) -> Tables {
        first_tables(table)
    }

    fn entry(bench: &mut Bench, stream: StreamId) -> u64 {
        context_of(bench, stream.0.into())
    }
}

/// Runs a test on the IOMMU that is part of the machine.
pub(crate) fn on_qemu(config: Config, test: impl FnOnce(&mut Bench)) {
    on_model(IommuModel::Riscv, config, test);
}

pub(crate) fn on_model(model: IommuModel, config: Config, test: impl FnOnce(&mut Bench)) {
    let prepare = |machine: &IommuMachine| {
        if model == IommuModel::RiscvPci {
            let function = machine.iommu_function().unwrap();
            function.set_decoding(&mut machine.ecam(), Decoding::MemoryAndBusMaster).unwrap();
        }
        probe(machine, config)
    };
    rig::on_machine(Riscv, IommuMachine::builder(model), prepare, test);
}

pub(crate) fn probe(machine: &IommuMachine, config: Config) -> RiscvIommu<Window, Ram> {
    RiscvIommu::probe(machine.iommu_registers().unwrap(), machine.ram().clone(), config).unwrap()
}

pub(crate) fn config() -> Config {
    Config { polls: 10_000, ..Config::new("qemu") }
}

impl Bench {
    /// A first-stage table of 3 to 5 levels, empty.
    pub(crate) fn first(&self, levels: u8) -> PageTable<FirstStage> {
        PageTable::new(first_config(levels), &mut self.ram.clone()).unwrap()
    }

    /// A second-stage table of 3 to 5 levels, empty.
    pub(crate) fn second(&self, levels: u8) -> PageTable<SecondStage> {
        let mode =
            [SecondStageMode::Sv39x4, SecondStageMode::Sv48x4, SecondStageMode::Sv57x4][levels as usize - 3];
        let config =
            SecondStageConfig { mode, physical_bits: 56, svnapot: Svnapot::Absent, svpbmt: Svpbmt::Absent };
        PageTable::new(config, &mut self.ram.clone()).unwrap()
    }
}

pub(crate) fn first_config(levels: u8) -> FirstStageConfig {
    let mode = [FirstStageMode::Sv39, FirstStageMode::Sv48, FirstStageMode::Sv57][levels as usize - 3];
    FirstStageConfig { mode, physical_bits: 56, svnapot: Svnapot::Absent, svpbmt: Svpbmt::Absent }
}

pub(crate) fn first_tables(table: &PageTable<FirstStage>) -> Tables {
    let levels = table.format().config().mode.levels() as u8;
    Tables { format: TableFormat::RiscvFirstStage { levels }, root: table.root() }
}

pub(crate) fn second_tables(table: &PageTable<SecondStage>) -> Tables {
    let levels = table.format().config().mode.levels() as u8;
    Tables { format: TableFormat::RiscvSecondStage { levels }, root: table.root() }
}

/// Where the hardware finds a device's context, walked by the specification with extended contexts of 64 bytes.
pub(crate) fn context_of(bench: &mut Bench, device: u64) -> u64 {
    let ddtp = bench.machine.iommu_registers().unwrap().read64(spec::DDTP);
    let mut page = ddtp >> 10 << 12;
    for level in (1..(ddtp & 0xf) - 1).rev() {
        let entry = read64(&bench.ram, page + (device >> (9 * level - 3) & 0x1ff) * 8);
        assert_eq!(entry & 1, 1, "device {device:#x} has no directory");
        page = entry >> 10 << 12;
    }
    page + (device & 0x3f) * 64
}
