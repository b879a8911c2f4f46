//! QEMU's PC with the driver on its VT-d, tables and bus masters.

use vcm::{Access, Attributes, Iova, PhysicalAddress, Span};
use vcm_iommu::vtd::{Config, Mode, Vtd};
use vcm_iommu::{
    DomainId, FaultRecord, Invalidation, Iommu, Reach, StreamId, TableFormat, Tables, Translation,
};
use vcm_pagetable::vtd::{
    FirstStage, FirstStageConfig, FirstStageLevels, LargestPage, MemoryTypes, SecondStage, SecondStageConfig,
    SecondStageLevels,
};
use vcm_pagetable::{Gather, PageTable, Segment};
use vcm_qemu::{Device, Edu, IommuMachine, IommuModel, Ram, Window};

/// The bus masters' streams: slots 2 and 3 of bus 0.
pub(crate) const STREAM: StreamId = StreamId(0x10);
pub(crate) const OTHER_STREAM: StreamId = StreamId(0x18);

/// Where tests map things.
pub(crate) const AT: u64 = 0x1234_5000;
/// Where tests map a page for bus masters to write what they have read.
pub(crate) const OUT: u64 = 0x2000_0000;
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

pub(crate) struct Bench {
    pub(crate) variant: Variant,
    pub(crate) machine: IommuMachine,
    pub(crate) vtd: Vtd<Window, Ram>,
    pub(crate) ram: Ram,
    pub(crate) edu: Edu,
    pub(crate) other: Edu,
    /// What is mapped at [`OUT`].
    pub(crate) out: PhysicalAddress,
}

/// Whether to go without these machines.
pub(crate) fn without_qemu_iommus() -> bool {
    let without = std::env::var_os("VCM_WITHOUT_QEMU_IOMMUS").is_some();
    if without {
        println!("SKIPPED TIER: qemu-iommu: VCM_WITHOUT_QEMU_IOMMUS is set");
    }
    without
}

pub(crate) fn config(variant: Variant) -> Config {
    Config::new("dmar0").with_mode(variant.mode()).with_polls(1000)
}

/// Runs a test on a machine of `variant`, unless it is meant to be left out.
pub(crate) fn on_qemu(variant: Variant, test: impl FnOnce(&mut Bench)) {
    if without_qemu_iommus() {
        return;
    }
    let devices = [Device::Edu { slot: 2 }, Device::Edu { slot: 3 }];
    let machine = IommuMachine::start(variant.model(), &devices).unwrap_or_else(|error| {
        panic!(
            "{variant:?}: {error}. Install QEMU 10.0 or newer, or set VCM_WITHOUT_QEMU_IOMMUS to go without"
        )
    });
    let ram = machine.ram().clone();
    let vtd = Vtd::probe(machine.iommu_registers().unwrap(), ram.clone(), config(variant)).unwrap();
    let (edu, other) = (machine.edu(2).unwrap(), machine.edu(3).unwrap());
    let out = ram.allocate(0x1000, 0x1000).unwrap();
    let mut bench = Bench { variant, machine, vtd, ram, edu, other, out };
    test(&mut bench);
    assert!(bench.machine.bus().failure().is_none(), "{:?}", bench.machine.bus().failure());
}

pub(crate) fn on_all(test: impl Fn(&mut Bench)) {
    for variant in Variant::ALL {
        on_qemu(variant, &test);
    }
}

pub(crate) fn pattern(seed: u32) -> Vec<u8> {
    (0..4096_u32).map(|byte| (byte.wrapping_mul(seed).wrapping_add(byte >> 8) ^ seed) as u8).collect()
}

impl Bench {
    pub(crate) fn page(&self, seed: u32) -> PhysicalAddress {
        let page = self.ram.allocate(0x1000, 0x1000).unwrap();
        self.ram.write_bytes(page, &pattern(seed)).unwrap();
        page
    }

    pub(crate) fn holds(&self, at: PhysicalAddress, seed: u32) -> bool {
        let mut bytes = vec![0; 4096];
        self.ram.read_bytes(at, &mut bytes).unwrap();
        bytes == pattern(seed)
    }

    /// An empty table of the variant's stage, as deep as the hardware prefers.
    pub(crate) fn table(&self) -> Table {
        let memory = &mut self.ram.clone();
        let host_bits = self.vtd.limits().output_bits;
        if self.variant.is_first_stage() {
            let config = FirstStageConfig {
                levels: FirstStageLevels::Four,
                host_bits,
                largest_page: LargestPage::Size1G,
                memory_types: MemoryTypes::Ignored,
            };
            Table::First(PageTable::new(config, memory).unwrap())
        } else {
            let levels = if self.vtd.supports(TableFormat::VtdSecondStage { levels: 4 }) {
                SecondStageLevels::Four
            } else {
                SecondStageLevels::Three
            };
            Table::Second(PageTable::new(SecondStageConfig::new(levels, host_bits), memory).unwrap())
        }
    }

    pub(crate) fn map_as(
        &self,
        table: &mut Table,
        at: u64,
        physical: PhysicalAddress,
        len: u64,
        access: Access,
    ) {
        let memory = &mut self.ram.clone();
        let (segments, attributes) =
            ([Segment { physical, len }].into_iter(), Attributes::READ_WRITE.with_access(access));
        match table {
            Table::First(table) => table.map(memory, at, segments, attributes).unwrap(),
            Table::Second(table) => table.map(memory, at, segments, attributes).unwrap(),
        }
    }

    pub(crate) fn map(&self, table: &mut Table, at: u64, physical: PhysicalAddress, len: u64) {
        self.map_as(table, at, physical, len, Access::READ_WRITE);
    }

    /// Unmaps, and does not tell the IOMMU.
    pub(crate) fn unmap(&self, table: &mut Table, at: u64, len: u64) -> Gather {
        let mut gather = Gather::new();
        let (memory, span) = (&mut self.ram.clone(), Span::new(at, len).unwrap());
        match table {
            Table::First(table) => table.unmap(memory, span, &mut gather).unwrap(),
            Table::Second(table) => table.unmap(memory, span, &mut gather).unwrap(),
        }
        gather
    }

    /// Tells it, and frees the tables that were removed.
    pub(crate) fn finish(&mut self, domain: DomainId, gather: Gather) {
        self.vtd.invalidate(domain, &(&gather).into()).unwrap();
        gather.finish::<u64>(&mut self.ram.clone());
    }

    pub(crate) fn invalidate_page(&mut self, domain: DomainId, at: u64, reach: Reach) {
        let spans = [Span::new(at, 0x1000).unwrap()];
        let page = Invalidation::Addresses { spans: &spans, granule: 0x1000, reach };
        self.vtd.invalidate(domain, &page).unwrap();
    }

    pub(crate) fn domain(&mut self, table: &Table) -> DomainId {
        let tables = match table {
            Table::First(table) => {
                Tables { format: TableFormat::VtdFirstStage { levels: 4 }, root: table.root() }
            }
            Table::Second(table) => {
                let levels = (table.format().config().levels.bits() - 12) / 9;
                Tables { format: TableFormat::VtdSecondStage { levels }, root: table.root() }
            }
        };
        self.vtd.create_domain(Translation::Tables(tables)).unwrap()
    }

    /// A domain with a table of its own, in which [`AT`] leads to `physical`, and [`OUT`] where it should.
    pub(crate) fn domain_to(&mut self, physical: PhysicalAddress) -> (DomainId, Table) {
        let mut table = self.table();
        self.map(&mut table, AT, physical, 0x1000);
        self.map(&mut table, OUT, self.out, 0x1000);
        (self.domain(&table), table)
    }

    /// Whether a bus master reads `seed`'s pattern at `at`: it writes what it has read to [`OUT`].
    pub(crate) fn reads(&self, edu: &Edu, at: u64, seed: u32) -> bool {
        self.ram.write_bytes(self.out, &[0; 4096]).unwrap();
        edu.copy(Iova::new(at), Iova::new(OUT), 4096).unwrap();
        self.holds(self.out, seed)
    }

    pub(crate) fn faults(&mut self) -> Vec<FaultRecord> {
        let mut all = vec![];
        while let Some(fault) = self.vtd.next_fault().unwrap() {
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

pub(crate) fn read64(ram: &Ram, at: u64) -> u64 {
    let mut bytes = [0; 8];
    ram.read_bytes(PhysicalAddress::new(at), &mut bytes).unwrap();
    u64::from_le_bytes(bytes)
}

pub(crate) fn write64(ram: &Ram, at: u64, value: u64) {
    ram.write_bytes(PhysicalAddress::new(at), &value.to_le_bytes()).unwrap();
}
