//! QEMU's machine with the driver on its `SMMUv3`.

pub(crate) use crate::rig::table::map_in;
pub(crate) use crate::rig::{self, Model, OTHER_STREAM, OUT, STREAM, pattern, read64, write64};
use vcm::{Iova, PhysicalAddress, Security};
use vcm_iommu::smmuv3::{Config, Smmu};
use vcm_iommu::{FaultRecord, StreamId, TableFormat, Tables};
use vcm_pagetable::aarch64::{Granule4K, Stage1, Stage1Config, Stage2, Stage2Config, TypedGranule};
use vcm_pagetable::{Format, PageTable};
use vcm_qemu::{IommuMachine, IommuModel, Ram, Window};

pub(crate) struct Smmuv3;

pub(crate) type Bench = rig::Bench<Smmuv3>;

pub(crate) const AT: u64 = Smmuv3::AT;

impl Model for Smmuv3 {
    type Driver = Smmu<Window, Ram>;
    type Table = PageTable<Stage1<Granule4K>>;

    const AT: u64 = 0x1234_0000;
    const PAGE: u64 = 0x1_0000;

    fn table(bench: &Bench) -> Self::Table {
        bench.first(39)
    }

    fn tables(table: &Self::Table) -> Tables {
        first_tables(table)
    }

    fn entry(bench: &mut Bench, stream: StreamId) -> u64 {
        bench.iommu.stream_entry(stream).unwrap().raw()
    }
}

pub(crate) fn on_qemu(config: Config, test: impl FnOnce(&mut Bench)) {
    on_qemu_with(&[], config, test);
}

/// The same with more arguments for QEMU.
pub(crate) fn on_qemu_with(arguments: &[&str], config: Config, test: impl FnOnce(&mut Bench)) {
    let builder = IommuMachine::builder(IommuModel::Smmuv3).arguments(arguments.iter().copied());
    let probe = |machine: &IommuMachine| {
        Smmu::probe(machine.iommu_registers().unwrap(), machine.ram().clone(), config).unwrap()
    };
    rig::on_machine(Smmuv3, builder, probe, test);
}

pub(crate) fn config() -> Config {
    Config { polls: 10_000, ..Config::new("qemu") }
}

impl Bench {
    /// An empty table of stage 1.
    pub(crate) fn first<G: TypedGranule>(&self, input_bits: u8) -> PageTable<Stage1<G>> {
        let config = Stage1Config { input_bits, output_bits: 44, world: Security::NonSecure };
        PageTable::new(config, &mut self.ram.clone()).unwrap()
    }

    /// An empty table of stage 2 with its root at `level`.
    pub(crate) fn second<G: TypedGranule>(&self, input_bits: u8, level: u8) -> PageTable<Stage2<G>> {
        let format = Stage2::<G>::new(Stage2Config { input_bits, output_bits: 44 }).unwrap();
        PageTable::of_format(format.with_root_level(level).unwrap(), &mut self.ram.clone()).unwrap()
    }

    /// The first fault of a read of 4 bytes.
    pub(crate) fn fault_of_read(&mut self, at: u64) -> Option<FaultRecord> {
        self.edu.dma_to_device(Iova::new(at), 0, 4).unwrap();
        self.faults().first().copied()
    }

    /// The first fault of a write of 4 bytes.
    pub(crate) fn fault_of_write(&mut self, at: u64) -> Option<FaultRecord> {
        self.edu.dma_from_device(Iova::new(at), 0, 4).unwrap();
        self.faults().first().copied()
    }
}

pub(crate) fn first_tables<G: TypedGranule>(table: &PageTable<Stage1<G>>) -> Tables {
    let Stage1Config { input_bits, output_bits, .. } = table.format().config();
    let format = TableFormat::Aarch64Stage1 { granule: G::GRANULE, input_bits, output_bits };
    Tables { format, root: table.root() }
}

pub(crate) fn second_tables<G: TypedGranule>(table: &PageTable<Stage2<G>>) -> Tables {
    let Stage2Config { input_bits, output_bits } = table.format().config();
    let start_level = table.format().root_level() as u8;
    let format = TableFormat::Aarch64Stage2 { granule: G::GRANULE, input_bits, output_bits, start_level };
    Tables { format, root: table.root() }
}

/// Where the last-level entry of `at` is in a stage-1 table of 4 KiB and 39 bits.
pub(crate) fn entry_of(bench: &Bench, root: PhysicalAddress, at: u64) -> u64 {
    let mut table = root.raw();
    for shift in [30, 21] {
        table = read64(&bench.ram, table + 8 * (at >> shift & 0x1ff)) & 0xffff_ffff_f000;
    }
    table + 8 * (at >> 12 & 0x1ff)
}
