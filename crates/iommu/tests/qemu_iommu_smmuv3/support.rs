//! QEMU's machine with the driver on its `SMMUv3`, tables and bus masters.

use std::env;
use vcm::{Attributes, Iova, PhysicalAddress, Security, Span};
use vcm_iommu::smmuv3::{Config, Smmu};
use vcm_iommu::{
    DomainId, FaultRecord, Invalidation, Iommu, Reach, StreamId, TableFormat, Tables, Translation,
};
use vcm_pagetable::aarch64::{Granule4K, Stage1, Stage1Config, Stage2, Stage2Config, TypedGranule};
use vcm_pagetable::{Format, Gather, PageTable, Segment, TableMemory};
use vcm_qemu::{Device, Edu, IommuMachine, IommuModel, Ram, Window};

/// The bus masters' streams: slots 2 and 3 of bus 0.
pub(crate) const STREAM: StreamId = StreamId(0x10);
pub(crate) const OTHER_STREAM: StreamId = StreamId(0x18);

/// Where tests map things.
pub(crate) const AT: u64 = 0x1234_0000;

/// Where tests map a page for bus masters to write what they have read.
pub(crate) const OUT: u64 = 0x2000_0000;

pub(crate) struct Bench {
    pub(crate) machine: IommuMachine,
    pub(crate) iommu: Smmu<Window, Ram>,
    pub(crate) ram: Ram,
    pub(crate) edu: Edu,
    pub(crate) other: Edu,
    /// What is mapped at [`OUT`].
    pub(crate) out: PhysicalAddress,
}

/// Runs a test, unless `VCM_WITHOUT_QEMU_IOMMUS=1` says that it is meant to be left out.
pub(crate) fn on_qemu(config: Config, test: impl FnOnce(&mut Bench)) {
    on_qemu_with(&[], config, test);
}

/// The same with more arguments for QEMU.
pub(crate) fn on_qemu_with(arguments: &[&str], config: Config, test: impl FnOnce(&mut Bench)) {
    if env::var("VCM_WITHOUT_QEMU_IOMMUS").is_ok_and(|value| value == "1") {
        println!("not run: VCM_WITHOUT_QEMU_IOMMUS=1");
        return;
    }
    let devices = [Device::Edu { slot: 2 }, Device::Edu { slot: 3 }];
    let builder = IommuMachine::builder(IommuModel::Smmuv3).devices(&devices);
    let machine = builder.arguments(arguments.iter().copied()).start().unwrap();
    let ram = machine.ram().clone();
    let iommu = Smmu::probe(machine.iommu_registers().unwrap(), ram.clone(), config).unwrap();
    let (edu, other) = (machine.edu(2).unwrap(), machine.edu(3).unwrap());
    let out = ram.allocate(0x1_0000, 0x1_0000).unwrap();
    let mut bench = Bench { machine, iommu, ram, edu, other, out };
    test(&mut bench);
    assert!(bench.machine.bus().failure().is_none(), "{:?}", bench.machine.bus().failure());
}

pub(crate) fn config() -> Config {
    Config { polls: 10_000, ..Config::new("qemu") }
}

pub(crate) fn pattern(seed: u32) -> Vec<u8> {
    (0..4096_u32).map(|byte| (byte.wrapping_mul(seed).wrapping_add(byte >> 8) ^ seed) as u8).collect()
}

impl Bench {
    /// A page of any granule.
    pub(crate) fn page(&self) -> PhysicalAddress {
        self.ram.allocate(0x1_0000, 0x1_0000).unwrap()
    }

    pub(crate) fn put(&self, at: PhysicalAddress, seed: u32) {
        self.ram.write_bytes(at, &pattern(seed)).unwrap();
    }

    pub(crate) fn holds(&self, at: PhysicalAddress, seed: u32) -> bool {
        let mut bytes = vec![0; 4096];
        self.ram.read_bytes(at, &mut bytes).unwrap();
        bytes == pattern(seed)
    }

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

    pub(crate) fn map<F: Format<Word = u64>>(
        &self,
        table: &mut PageTable<F>,
        at: u64,
        physical: PhysicalAddress,
        len: u64,
    ) {
        map_in(&mut self.ram.clone(), table, at, physical, len, Attributes::READ_WRITE);
    }

    /// Unmaps, and does not tell the IOMMU.
    pub(crate) fn unmap<F: Format<Word = u64>>(&self, table: &mut PageTable<F>, at: u64, len: u64) -> Gather {
        let mut gather = Gather::new();
        table.unmap(&mut self.ram.clone(), Span::new(at, len).unwrap(), &mut gather).unwrap();
        gather
    }

    pub(crate) fn invalidate_page(&mut self, domain: DomainId, at: u64, reach: Reach) {
        let spans = [Span::new(at, 0x1000).unwrap()];
        let page = Invalidation::Addresses { spans: &spans, granule: 0x1000, reach };
        self.iommu.invalidate(domain, &page).unwrap();
    }

    /// Frees the tables that were removed.
    pub(crate) fn finish(&self, gather: Gather) {
        gather.finish::<u64>(&mut self.ram.clone());
    }

    /// A domain with a stage-1 table of its own, in which [`AT`] leads to `physical`, and [`OUT`] where it should.
    pub(crate) fn domain_to(
        &mut self,
        physical: PhysicalAddress,
    ) -> (DomainId, PageTable<Stage1<Granule4K>>) {
        let mut table = self.first(39);
        self.map(&mut table, AT, physical, 0x1000);
        self.map(&mut table, OUT, self.out, 0x1000);
        (self.domain(first_tables(&table)), table)
    }

    pub(crate) fn domain(&mut self, tables: Tables) -> DomainId {
        self.iommu.create_domain(Translation::Tables(tables)).unwrap()
    }

    /// Whether a bus master reads `seed`'s pattern at `at`: it writes what it has read to [`OUT`].
    pub(crate) fn reads(&self, edu: &Edu, at: u64, seed: u32) -> bool {
        self.ram.write_bytes(self.out, &[0; 4096]).unwrap();
        edu.copy(Iova::new(at), Iova::new(OUT), 4096).unwrap();
        self.holds(self.out, seed)
    }

    pub(crate) fn faults(&mut self) -> Vec<FaultRecord> {
        let mut all = vec![];
        while let Some(fault) = self.iommu.next_fault().unwrap() {
            all.push(fault);
        }
        all
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

pub(crate) fn map_in<F: Format<Word = u64>>(
    memory: &mut impl TableMemory<u64>,
    table: &mut PageTable<F>,
    at: u64,
    physical: PhysicalAddress,
    len: u64,
    attributes: Attributes,
) {
    table.map(memory, at, [Segment { physical, len }].into_iter(), attributes).unwrap();
}

pub(crate) fn read64(ram: &Ram, at: u64) -> u64 {
    let mut bytes = [0; 8];
    ram.read_bytes(PhysicalAddress::new(at), &mut bytes).unwrap();
    u64::from_le_bytes(bytes)
}

pub(crate) fn write64(ram: &Ram, at: u64, value: u64) {
    ram.write_bytes(PhysicalAddress::new(at), &value.to_le_bytes()).unwrap();
}

/// Where the last-level entry of `at` is in a stage-1 table of 4 KiB and 39 bits.
pub(crate) fn entry_of(bench: &Bench, root: PhysicalAddress, at: u64) -> u64 {
    let mut table = root.raw();
    for shift in [30, 21] {
        table = read64(&bench.ram, table + 8 * (at >> shift & 0x1ff)) & 0xffff_ffff_f000;
    }
    table + 8 * (at >> 12 & 0x1ff)
}
