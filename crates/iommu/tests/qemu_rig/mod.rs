//! QEMU's machine with a driver on its IOMMU, tables and two bus masters; and what is tested of each driver alike.
#![allow(dead_code)] // It is a module of several tests.

pub(crate) mod guest;
mod left_out;
pub(crate) mod stale;
pub(crate) mod table;
pub(crate) mod transfers;

use table::Table;
use vcm::{Access, Attributes, Iova, PhysicalAddress, Span};
use vcm_iommu::{DomainId, FaultRecord, Invalidation, Iommu, Reach, StreamId, Tables, Translation};
use vcm_pagetable::{Gather, Segment};
use vcm_qemu::{Device, Edu, IommuMachine, IommuMachineBuilder, Ram};

/// The bus masters' streams: slots 2 and 3 of bus 0.
pub(crate) const STREAM: StreamId = StreamId(0x10);
pub(crate) const OTHER_STREAM: StreamId = StreamId(0x18);

/// Where tests map a page for bus masters to write what they have read.
pub(crate) const OUT: u64 = 0x2000_0000;

/// Whether the driver sees records of what was refused.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Records {
    Seen,
    /// QEMU does not tell the driver of them.
    NotSeen,
}

/// A driver and the model that it drives.
pub(crate) trait Model: Sized {
    type Driver: Iommu;
    type Table: Table;

    /// Where tests map things.
    const AT: u64 = 0x1234_5000;
    /// Size and alignment of a page of any granule that tests use.
    const PAGE: u64 = 0x1000;
    /// The invalidations with an address that drop nothing of the domain's other addresses.
    const EXACT: &'static [Reach] = &[Reach::Pages, Reach::Tables];
    const RECORDS: Records = Records::Seen;
    /// The first word of a configuration entry with which the hardware lets nothing pass.
    const REFUSING_ENTRY: u64 = 0;

    /// An empty table.
    fn table(bench: &Bench<Self>) -> Self::Table;

    /// How the driver is told of `table`.
    fn tables(table: &Self::Table) -> Tables;

    /// Where the hardware finds the configuration of `stream`, as the specification says. Bit 0 makes it valid.
    fn entry(bench: &mut Bench<Self>, stream: StreamId) -> u64;
}

pub(crate) struct Bench<M: Model> {
    pub(crate) model: M,
    pub(crate) machine: IommuMachine,
    pub(crate) iommu: M::Driver,
    pub(crate) ram: Ram,
    pub(crate) edu: Edu,
    pub(crate) other: Edu,
    /// What is mapped at [`OUT`].
    pub(crate) out: PhysicalAddress,
}

/// Runs a test, unless `VCM_WITHOUT_QEMU_IOMMUS=1` says that it is meant to be left out.
pub(crate) fn on_machine<M: Model>(
    model: M,
    builder: IommuMachineBuilder,
    probe: impl FnOnce(&IommuMachine) -> M::Driver,
    test: impl FnOnce(&mut Bench<M>),
) {
    if left_out::left_out() {
        return;
    }
    let devices = [Device::Edu { slot: 2 }, Device::Edu { slot: 3 }];
    let machine = builder.devices(&devices).start().unwrap_or_else(|error| {
        panic!("{error}. Install QEMU 10.0 or newer, or set VCM_WITHOUT_QEMU_IOMMUS=1 to go without")
    });
    let iommu = probe(&machine);
    let ram = machine.ram().clone();
    let (edu, other) = (machine.edu(2).unwrap(), machine.edu(3).unwrap());
    let out = ram.allocate(M::PAGE, M::PAGE).unwrap();
    let mut bench = Bench { model, machine, iommu, ram, edu, other, out };
    test(&mut bench);
    assert!(bench.machine.bus().failure().is_none(), "{:?}", bench.machine.bus().failure());
}

/// What a page holds that `seed` tells apart.
pub(crate) fn pattern(seed: u32) -> Vec<u8> {
    (0..4096_u32).map(|byte| (byte.wrapping_mul(seed).wrapping_add(byte >> 8) ^ seed) as u8).collect()
}

impl<M: Model> Bench<M> {
    pub(crate) fn page(&self) -> PhysicalAddress {
        self.ram.allocate(M::PAGE, M::PAGE).unwrap()
    }

    /// A page with `seed`'s pattern.
    pub(crate) fn filled(&self, seed: u32) -> PhysicalAddress {
        let page = self.page();
        self.put(page, seed);
        page
    }

    pub(crate) fn put(&self, at: PhysicalAddress, seed: u32) {
        self.ram.write_bytes(at, &pattern(seed)).unwrap();
    }

    pub(crate) fn holds(&self, at: PhysicalAddress, seed: u32) -> bool {
        let mut bytes = vec![0; 4096];
        self.ram.read_bytes(at, &mut bytes).unwrap();
        bytes == pattern(seed)
    }

    pub(crate) fn map_as(
        &self,
        table: &mut impl Table,
        at: u64,
        physical: PhysicalAddress,
        len: u64,
        access: Access,
    ) {
        let attributes = Attributes::READ_WRITE.with_access(access);
        table.map_in(&mut self.ram.clone(), at, Segment { physical, len }, attributes);
    }

    pub(crate) fn map(&self, table: &mut impl Table, at: u64, physical: PhysicalAddress, len: u64) {
        self.map_as(table, at, physical, len, Access::READ_WRITE);
    }

    /// Unmaps, and does not tell the IOMMU.
    pub(crate) fn unmap(&self, table: &mut impl Table, at: u64, len: u64) -> Gather {
        table.unmap_in(&mut self.ram.clone(), Span::new(at, len).unwrap())
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

    /// Tells the IOMMU what was unmapped, and frees the tables that were removed.
    pub(crate) fn invalidate_and_finish(&mut self, domain: DomainId, gather: Gather) {
        self.iommu.invalidate(domain, &(&gather).into()).unwrap();
        self.finish(gather);
    }

    pub(crate) fn domain(&mut self, tables: Tables) -> DomainId {
        self.iommu.create_domain(Translation::Tables(tables)).unwrap()
    }

    /// A domain with a table of its own, in which [`Model::AT`] leads to `physical`, and [`OUT`] where it should.
    pub(crate) fn domain_to(&mut self, physical: PhysicalAddress) -> (DomainId, M::Table) {
        let mut table = M::table(self);
        self.map(&mut table, M::AT, physical, 0x1000);
        self.map(&mut table, OUT, self.out, 0x1000);
        (self.domain(M::tables(&table)), table)
    }

    /// Whether a bus master reads `seed`'s pattern at `at`: it writes what it has read to [`OUT`].
    pub(crate) fn reads(&self, edu: &Edu, at: u64, seed: u32) -> bool {
        self.ram.write_bytes(self.out, &[0; 4096]).unwrap();
        edu.copy(Iova::new(at), Iova::new(OUT), 4096).unwrap();
        self.holds(self.out, seed)
    }

    /// Whether the first bus master does not read `seed`'s pattern at `at`, and a record tells so if records are seen.
    pub(crate) fn refuses(&mut self, at: u64, seed: u32) -> bool {
        !self.reads(&self.edu, at, seed) && (M::RECORDS == Records::NotSeen || !self.faults().is_empty())
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

pub(crate) fn read64(ram: &Ram, at: u64) -> u64 {
    let mut bytes = [0; 8];
    ram.read_bytes(PhysicalAddress::new(at), &mut bytes).unwrap();
    u64::from_le_bytes(bytes)
}

pub(crate) fn write64(ram: &Ram, at: u64, value: u64) {
    ram.write_bytes(PhysicalAddress::new(at), &value.to_le_bytes()).unwrap();
}
