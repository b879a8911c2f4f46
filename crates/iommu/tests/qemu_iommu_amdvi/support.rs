//! QEMU's machine with the driver on its IOMMU, tables and bus masters.

use std::env;
use vcm::{Access, Attributes, Iova, PhysicalAddress, Span};
use vcm_iommu::amdvi::{AmdVi, Config};
use vcm_iommu::{DomainId, Invalidation, Iommu, Reach, StreamId, TableFormat, Tables, Translation};
use vcm_pagetable::amd::{self, AmdV1, Mode, NoSnoop};
use vcm_pagetable::{Gather, PageTable, Segment};
use vcm_qemu::{Device, Edu, IommuMachine, IommuModel, Ram, Window};

/// The bus masters' streams: slots 2 and 3 of bus 0.
pub(crate) const STREAM: StreamId = StreamId(0x10);
pub(crate) const OTHER_STREAM: StreamId = StreamId(0x18);

/// Where tests map things.
pub(crate) const AT: u64 = 0x1234_5000;

/// Where tests map a page for bus masters to write what they have read.
pub(crate) const OUT: u64 = 0x2000_0000;

pub(crate) struct Bench {
    pub(crate) machine: IommuMachine,
    pub(crate) iommu: AmdVi<Window, Ram>,
    pub(crate) ram: Ram,
    pub(crate) edu: Edu,
    pub(crate) other: Edu,
    /// What is mapped at [`OUT`].
    pub(crate) out: PhysicalAddress,
}

/// Runs a test, unless `VCM_WITHOUT_QEMU_IOMMUS=1` says that it is meant to be left out.
pub(crate) fn on_qemu(config: Config, test: impl FnOnce(&mut Bench)) {
    if env::var("VCM_WITHOUT_QEMU_IOMMUS").is_ok_and(|value| value == "1") {
        println!("not run: VCM_WITHOUT_QEMU_IOMMUS=1");
        return;
    }
    let devices = [Device::Edu { slot: 2 }, Device::Edu { slot: 3 }];
    let machine = IommuMachine::start(IommuModel::AmdVi, &devices).unwrap();
    let ram = machine.ram().clone();
    let iommu = AmdVi::probe(machine.iommu_registers().unwrap(), ram.clone(), config).unwrap();
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

    /// An empty table of 3 to 6 levels.
    pub(crate) fn table(&self, levels: u8) -> PageTable<AmdV1> {
        let mode = [Mode::Three, Mode::Four, Mode::Five, Mode::Six][levels as usize - 3];
        let config = amd::Config { mode, physical_bits: 48, no_snoop: NoSnoop::Honoured };
        PageTable::new(config, &mut self.ram.clone()).unwrap()
    }

    pub(crate) fn map(
        &self,
        table: &mut PageTable<AmdV1>,
        at: u64,
        physical: PhysicalAddress,
        len: u64,
        access: Access,
    ) {
        let attributes = Attributes::READ_WRITE.with_access(access);
        table.map(&mut self.ram.clone(), at, [Segment { physical, len }].into_iter(), attributes).unwrap();
    }

    /// Unmaps, and does not tell the IOMMU.
    pub(crate) fn unmap(&self, table: &mut PageTable<AmdV1>, at: u64, len: u64) -> Gather {
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

    pub(crate) fn domain_of(&mut self, table: &PageTable<AmdV1>) -> DomainId {
        let levels = table.format().config().mode.encoding() as u8;
        let tables = Tables { format: TableFormat::AmdV1 { levels }, root: table.root() };
        self.iommu.create_domain(Translation::Tables(tables)).unwrap()
    }

    /// A domain with a table of its own, in which [`AT`] leads to `physical`, and [`OUT`] where it should.
    pub(crate) fn domain_to(&mut self, physical: PhysicalAddress) -> (DomainId, PageTable<AmdV1>) {
        let mut table = self.table(3);
        self.map(&mut table, AT, physical, 0x1000, Access::READ_WRITE);
        self.map(&mut table, OUT, self.out, 0x1000, Access::READ_WRITE);
        (self.domain_of(&table), table)
    }

    /// Whether a bus master reads `seed`'s pattern at `at`: it writes what it has read to [`OUT`].
    pub(crate) fn reads(&self, edu: &Edu, at: u64, seed: u32) -> bool {
        self.ram.write_bytes(self.out, &[0; 4096]).unwrap();
        edu.copy(Iova::new(at), Iova::new(OUT), 4096).unwrap();
        self.holds(self.out, seed)
    }
}
