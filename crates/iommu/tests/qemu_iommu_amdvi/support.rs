//! QEMU's machine with the driver on its IOMMU.

use crate::rig::Records;
pub(crate) use crate::rig::{self, Model, OTHER_STREAM, OUT, STREAM};
use vcm_iommu::amdvi::{AmdVi, Config};
use vcm_iommu::{Reach, Registers, StreamId, TableFormat, Tables};
use vcm_pagetable::PageTable;
use vcm_pagetable::amd::{self, AmdV1, Mode, NoSnoop};
use vcm_qemu::{IommuMachine, IommuModel, Ram, Window};

pub(crate) struct Amd;

pub(crate) type Bench = rig::Bench<Amd>;

pub(crate) const AT: u64 = Amd::AT;

impl Model for Amd {
    type Driver = AmdVi<Window, Ram>;
    type Table = PageTable<AmdV1>;

    // QEMU looks at the domain only.
    const EXACT: &'static [Reach] = &[];
    const RECORDS: Records = Records::NotSeen;
    const REFUSING_ENTRY: u64 = 3;

    fn table(bench: &Bench) -> Self::Table {
        bench.table_of(3)
    }

    fn tables(table: &Self::Table) -> Tables {
        let levels = table.format().config().mode.encoding() as u8;
        Tables { format: TableFormat::AmdV1 { levels }, root: table.root() }
    }

    fn entry(bench: &mut Bench, stream: StreamId) -> u64 {
        let base = bench.machine.iommu_registers().unwrap().read64(0) & 0xf_ffff_ffff_f000;
        base + u64::from(stream.0) * 32
    }
}

pub(crate) fn on_qemu(config: Config, test: impl FnOnce(&mut Bench)) {
    let builder = IommuMachine::builder(IommuModel::AmdVi);
    rig::on_machine(Amd, builder, |machine| probe(machine, config), test);
}

pub(crate) fn probe(machine: &IommuMachine, config: Config) -> AmdVi<Window, Ram> {
    AmdVi::probe(machine.iommu_registers().unwrap(), machine.ram().clone(), config).unwrap()
}

pub(crate) fn config() -> Config {
    Config { polls: 10_000, ..Config::new("qemu") }
}

impl Bench {
    /// An empty table of 3 to 6 levels.
    pub(crate) fn table_of(&self, levels: u8) -> PageTable<AmdV1> {
        let mode = [Mode::Three, Mode::Four, Mode::Five, Mode::Six][levels as usize - 3];
        let config = amd::Config { mode, physical_bits: 48, no_snoop: NoSnoop::Honoured };
        PageTable::new(config, &mut self.ram.clone()).unwrap()
    }
}
