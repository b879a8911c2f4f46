//! QEMU's machine with the driver on its IOMMU, tables and bus masters.

use std::env;
use std::ops::Range;
use vcm::{Access, Attributes, Iova, PhysicalAddress, Span};
use vcm_iommu::riscv::{Config, RiscvIommu, spec};
use vcm_iommu::{
    DomainId, FaultRecord, Invalidation, Iommu, Reach, Registers, StreamId, TableFormat, Tables, Translation,
};
use vcm_pagetable::riscv::{
    FirstStage, FirstStageConfig, FirstStageMode, SecondStage, SecondStageConfig, SecondStageMode, Svnapot,
    Svpbmt,
};
use vcm_pagetable::{Format, Gather, PageTable, Segment, TableError, TableMemory};
use vcm_qemu::{Decoding, Device, Edu, IommuMachine, IommuModel, Ram, Window};

/// The bus masters' streams: slots 2 and 3 of bus 0.
pub(crate) const STREAM: StreamId = StreamId(0x10);
pub(crate) const OTHER_STREAM: StreamId = StreamId(0x18);

/// Where tests map things.
pub(crate) const AT: u64 = 0x1234_5000;

/// Where tests map a page for bus masters to write what they have read.
pub(crate) const OUT: u64 = 0x2000_0000;

/// How far guest physical addresses are above physical ones.
pub(crate) const GUEST: u64 = 0x2_0000_0000;

pub(crate) struct Bench {
    pub(crate) machine: IommuMachine,
    pub(crate) iommu: RiscvIommu<Window, Ram>,
    pub(crate) ram: Ram,
    pub(crate) edu: Edu,
    pub(crate) other: Edu,
    /// What is mapped at [`OUT`].
    pub(crate) out: PhysicalAddress,
}

/// Runs a test on the IOMMU that is part of the machine.
pub(crate) fn on_qemu(config: Config, test: impl FnOnce(&mut Bench)) {
    on_model(IommuModel::Riscv, config, test);
}

/// Runs a test, unless `VCM_WITHOUT_QEMU_IOMMUS=1` says that it is meant to be left out.
pub(crate) fn on_model(model: IommuModel, config: Config, test: impl FnOnce(&mut Bench)) {
    if env::var("VCM_WITHOUT_QEMU_IOMMUS").is_ok_and(|value| value == "1") {
        println!("not run: VCM_WITHOUT_QEMU_IOMMUS=1");
        return;
    }
    let machine = IommuMachine::start(model, &[Device::Edu { slot: 2 }, Device::Edu { slot: 3 }]).unwrap();
    if model == IommuModel::RiscvPci {
        let function = machine.iommu_function().unwrap();
        function.set_decoding(&mut machine.ecam(), Decoding::MemoryAndBusMaster).unwrap();
    }
    let ram = machine.ram().clone();
    let iommu = RiscvIommu::probe(machine.iommu_registers().unwrap(), ram.clone(), config).unwrap();
    let (edu, other) = (machine.edu(2).unwrap(), machine.edu(3).unwrap());
    let out = ram.allocate(0x1000, 0x1000).unwrap();
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
    pub(crate) fn page(&self) -> PhysicalAddress {
        self.ram.allocate(0x1000, 0x1000).unwrap()
    }

    pub(crate) fn put(&self, at: PhysicalAddress, seed: u32) {
        self.ram.write_bytes(at, &pattern(seed)).unwrap();
    }

    pub(crate) fn holds(&self, at: PhysicalAddress, seed: u32) -> bool {
        let mut bytes = vec![0; 4096];
        self.ram.read_bytes(at, &mut bytes).unwrap();
        bytes == pattern(seed)
    }

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

    pub(crate) fn map<F: Format<Word = u64>>(
        &self,
        table: &mut PageTable<F>,
        at: u64,
        physical: PhysicalAddress,
        len: u64,
    ) {
        map_in(&mut self.ram.clone(), table, at, physical, len, Attributes::READ_WRITE);
    }

    pub(crate) fn map_read_only(
        &self,
        table: &mut PageTable<FirstStage>,
        at: u64,
        physical: PhysicalAddress,
    ) {
        let attributes = Attributes::READ_WRITE.with_access(Access::READ);
        map_in(&mut self.ram.clone(), table, at, physical, 0x1000, attributes);
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

    pub(crate) fn domain_of_first(&mut self, table: &PageTable<FirstStage>) -> DomainId {
        self.iommu.create_domain(Translation::Tables(first_tables(table))).unwrap()
    }

    /// A domain with a table of its own, in which [`AT`] leads to `physical`, and [`OUT`] where it should.
    pub(crate) fn domain_to(&mut self, physical: PhysicalAddress) -> (DomainId, PageTable<FirstStage>) {
        let mut table = self.first(3);
        self.map(&mut table, AT, physical, 0x1000);
        self.map(&mut table, OUT, self.out, 0x1000);
        (self.domain_of_first(&table), table)
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

    /// Whether a read of 4 bytes faults.
    pub(crate) fn faults_at(&mut self, at: u64) -> bool {
        self.edu.dma_to_device(Iova::new(at), 0, 4).unwrap();
        !self.faults().is_empty()
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

/// A guest's memory: RAM, at other addresses.
pub(crate) struct GuestMemory(pub(crate) Ram);

fn host(address: PhysicalAddress) -> PhysicalAddress {
    PhysicalAddress::new(address.raw() - GUEST)
}

pub(crate) fn guest(address: PhysicalAddress) -> PhysicalAddress {
    PhysicalAddress::new(address.raw() + GUEST)
}

impl TableMemory<u64> for GuestMemory {
    fn allocate(&mut self, size: u64, align: u64) -> Result<PhysicalAddress, TableError> {
        TableMemory::<u64>::allocate(&mut self.0, size, align).map(guest)
    }
    fn free(&mut self, table: PhysicalAddress, size: u64) {
        TableMemory::<u64>::free(&mut self.0, host(table), size);
    }
    fn read(&self, table: PhysicalAddress, index: usize) -> u64 {
        TableMemory::<u64>::read(&self.0, host(table), index)
    }
    fn write(&mut self, table: PhysicalAddress, index: usize, value: u64) {
        TableMemory::<u64>::write(&mut self.0, host(table), index, value);
    }
    fn publish(&mut self, table: PhysicalAddress, words: Range<usize>) {
        TableMemory::<u64>::publish(&mut self.0, host(table), words);
    }
}

pub(crate) fn read64(ram: &Ram, at: u64) -> u64 {
    let mut bytes = [0; 8];
    ram.read_bytes(PhysicalAddress::new(at), &mut bytes).unwrap();
    u64::from_le_bytes(bytes)
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
