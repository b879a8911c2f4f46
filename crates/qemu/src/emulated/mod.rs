//! QEMU's machines as a [`Platform`](vcm_platform::Platform): the mapping graph on IOMMUs that others built.

mod device;
mod driver;
mod hardware;
mod master;
mod model;
mod processor;
mod running;
mod space;
mod watched;

pub use watched::Invalidations;

use crate::devices::Lsi;
use crate::error::Error;
use crate::iommu_machine::{Device as PciDevice, IommuMachine, IommuModel};
use crate::ram::Ram;
use device::{Device, Unit};
use master::{Master, OWN_PAGES, Path};
use space::Space;
use std::collections::BTreeMap;
use std::fmt;
use vcm::{DeviceHandle, HardwareError, PhysicalAddress, RegionKind, Span};
use vcm_iommu::{AddressSpace, Iommu, IommuError, ProbeError, StreamId, Translation};
use vcm_platform::topology::TopologyError;
use vcm_platform::{DeviceDescription, MemoryDescription, PlatformError, Transfers};
use watched::Watched;

/// Bus masters behind the IOMMU: `lsi1` and so on.
const MASTERS: u8 = 6;
/// Their first slot.
const FIRST_SLOT: u8 = 2;
/// The slot of the one that the IOMMU lets pass untranslated: `lsi-direct`.
const DIRECT_SLOT: u8 = FIRST_SLOT + MASTERS;
/// What is kept of the RAM for page tables, queues and the masters' own pages.
const TABLES: u64 = 64 << 20;
/// The masters find their own pages before this address. Above it, on PCs, are interrupts.
const OWN_ADDRESSES_END: u64 = 0xfdff_ffff;
/// The CPU's addresses that are lent.
const CPU_SPAN: (u64, u64) = (0x4000_0000, 0xbfff_ffff);

fn cpu_span() -> Span {
    Span::inclusive(CPU_SPAN.0, CPU_SPAN.1).unwrap_or(Span::ALL)
}

/// Why a machine is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum EmulatedError {
    /// QEMU, or its connection.
    #[error(transparent)]
    Qemu(#[from] Error),
    /// The driver does not get along with the IOMMU.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The driver refuses what a machine begins with.
    #[error(transparent)]
    Iommu(#[from] IommuError),
    /// The device tree that QEMU makes is not understood.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// The machine has not what it has to have.
    #[error("the machine lacks {0}")]
    Lacks(&'static str),
    /// What a region's space would be made of cannot be had.
    #[error("{0}")]
    Hardware(HardwareError),
    /// Too little memory.
    #[error("the machine's memory is too small")]
    Memory,
}

/// One of QEMU's machines, driven by the real drivers: an implementation of [`vcm::Hardware`] and of
/// [`vcm_platform::Platform`]. Its devices are
/// - `lsi1` to `lsi6`, QEMU's LSI53C895A as bus masters behind the IOMMU: SCSI controllers whose processor copies memory;
/// - `lsi-direct`, another one that the IOMMU lets pass untranslated;
/// - `cpu`, `guest0` and `dsp`: processors that this process plays, since QEMU's own are parked. They walk page tables
///   in the machine's memory in software.
///
/// A transaction that is refused is over for the hardware, but not for the transfer: as a device's driver would, the
/// machine waits for the answer and makes the transaction again when told to.
///
/// # What it says that the hardware did not
/// Bytes travel as the IOMMU lets them, and there is no fault that it did not record. But of what it recorded
/// - the transaction is told to be stalled, since the transfer is;
/// - whether nothing is mapped or not for this access is what the tables say: [`AddressSpace::reason`];
/// - virtio-iommu's faults are told with the access that the master made;
/// - a master that is attached to nothing is refused its program; told is what it was to reach.
///
/// And QEMU 10.0 deviates, so that
/// - AMD-Vi records nothing: what it refuses counts as done, though reads gave zeros and writes are lost, and a master that
///   is attached to nothing ends its transfer with an error;
/// - VT-d and RISC-V record nothing where a cached translation lacks the permission: caches are emptied then, and the
///   access is made again;
/// - memory that is not there reads as zeros, and nobody is told.
pub struct Emulated {
    name: String,
    machine: IommuMachine,
    iommu: Watched,
    /// Room for page tables.
    ram: Ram,
    devices: Vec<Device>,
    descriptions: Vec<DeviceDescription>,
    memories: Vec<MemoryDescription>,
    spaces: BTreeMap<u32, Space>,
    /// Spaces that could not be destroyed when they had to be.
    remains: Vec<AddressSpace>,
    next_space: u32,
    transfers: Transfers,
}

impl fmt::Debug for Emulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulated")
            .field("name", &self.name)
            .field("machine", &self.machine)
            .finish_non_exhaustive()
    }
}

impl Emulated {
    /// The slots of PCI bus 0 that [`start_with`](Self::start_with) can fill.
    pub const FREE_SLOTS: std::ops::RangeInclusive<u8> = 20..=30;

    /// Starts QEMU and puts every master under the rule of the IOMMU's driver: nothing passes that is not mapped.
    ///
    /// # Errors
    /// [`EmulatedError`].
    pub fn start(name: &str, model: IommuModel) -> Result<Self, EmulatedError> {
        Self::start_with(name, model, &[])
    }

    /// As [`start`](Self::start), with more devices behind the IOMMU, in slots from [`FREE_SLOTS`](Self::FREE_SLOTS):
    /// `slot20` and so on. They make no transfers; a driver programs them through [`machine`](Self::machine).
    /// What the IOMMU refuses them is told when it is looked at: with the next transfer of a master, as an event, or by
    /// the driver of [`iommu`](Self::iommu).
    ///
    /// # Errors
    /// [`EmulatedError`].
    pub fn start_with(name: &str, model: IommuModel, more: &[PciDevice]) -> Result<Self, EmulatedError> {
        let slots: Vec<PciDevice> = (FIRST_SLOT..=DIRECT_SLOT).map(|slot| PciDevice::Lsi { slot }).collect();
        let machine = IommuMachine::builder(model).devices(&slots).devices(more).start()?;
        let all = machine.ram().span();
        let first = all.last().checked_sub(TABLES - 1).filter(|first| *first > all.first());
        let first = first.ok_or(EmulatedError::Memory)?;
        let (tables, pool) = (Span::inclusive(first, all.last()), Span::inclusive(all.first(), first - 1));
        let (Some(tables), Some(pool)) = (tables, pool) else { return Err(EmulatedError::Memory) };
        let ram = machine.ram().part(tables).map_err(|_| EmulatedError::Memory)?;
        // The pool is lent by whoever has the mapping graph: nobody else is to allocate from it.
        machine.ram().part(pool).map_err(|_| EmulatedError::Memory)?;
        let driven = driver::drive(&machine, &ram, machine.function(FIRST_SLOT)?)?;
        let mut emulated = Self {
            name: name.to_owned(),
            iommu: Watched {
                driver: driven.iommu,
                asking: machine.model().asking(),
                invalidations: Invalidations::Made,
            },
            ram,
            devices: Vec::new(),
            descriptions: Vec::new(),
            memories: vec![MemoryDescription { name: "ram".to_owned(), span: pool }],
            spaces: BTreeMap::new(),
            remains: Vec::new(),
            next_space: 1,
            transfers: Transfers::new(),
            machine,
        };
        let format =
            AddressSpace::format(&emulated.iommu, space::TRANSLATED).map_err(EmulatedError::Hardware)?;
        for slot in FIRST_SLOT..=DIRECT_SLOT {
            let engine = emulated.machine.lsi(slot)?;
            let stream = driven.streams.of(engine.function())?;
            let path = if slot == DIRECT_SLOT { Path::Direct } else { Path::Translated };
            let above = u64::from(slot - FIRST_SLOT + 1) * OWN_PAGES;
            // It has 32 bits of address.
            let last = format.addresses.last().min(OWN_ADDRESSES_END);
            let own_address = (last - (OWN_PAGES - 1)) & !(OWN_PAGES - 1);
            let own_address = own_address.checked_sub(above).ok_or(EmulatedError::Memory)?;
            emulated.add_master(engine, stream, path, own_address, &driven.reserved)?;
        }
        for device in more {
            let slot = device.slot();
            let stream = driven.streams.of(emulated.machine.function(slot)?)?;
            let unit = Device::new(RegionKind::Translated, Unit::Controller(stream));
            let label = Some(emulated.iommu.label().to_string());
            let reserved = emulated.descriptions.first().map(|first| first.reserved.clone());
            emulated.add(&format!("slot{slot}"), unit, label, reserved.unwrap_or_default());
        }
        for (name, kind) in
            [("cpu", RegionKind::Cpu), ("guest0", RegionKind::Guest), ("dsp", RegionKind::Remote)]
        {
            emulated.add(name, Device::new(kind, Unit::Played), None, Vec::new());
        }
        Ok(emulated)
    }

    fn add(&mut self, name: &str, device: Device, iommu: Option<String>, reserved: Vec<Span>) {
        let handle = DeviceHandle(self.devices.len() as u32);
        let (name, kind) = (name.to_owned(), device.kind);
        self.descriptions.push(DeviceDescription { handle, name, kind, iommu, reserved });
        self.devices.push(device);
    }

    fn add_master(
        &mut self,
        engine: Lsi,
        stream: StreamId,
        path: Path,
        own_address: u64,
        reserved: &[Span],
    ) -> Result<(), EmulatedError> {
        let own_pages = self.ram.allocate(OWN_PAGES, OWN_PAGES).map_err(|_| EmulatedError::Memory)?;
        let label = self.iommu.label();
        let (name, kind) = match path {
            Path::Translated => (
                format!("lsi{}", engine.function().address.device() - FIRST_SLOT + 1),
                RegionKind::Translated,
            ),
            Path::Direct => {
                let domain = self.iommu.create_domain(Translation::Identity)?;
                self.iommu.attach(stream, domain)?;
                ("lsi-direct".to_owned(), RegionKind::OneToOne)
            }
        };
        let mut reserved = reserved.to_vec();
        if path == Path::Translated {
            // All masters' own pages, since all may share a space.
            let first = own_address & !(OWN_PAGES * 64 - 1);
            reserved.extend(Span::new(first, OWN_PAGES * 64));
        }
        let records = self.machine.model().records();
        let master = Master::new(engine, stream, path, records, own_pages, own_address);
        // One that passes untranslated is behind nothing, as far as the graph is concerned.
        let iommu = (path == Path::Translated).then(|| label.to_string());
        self.add(&name, Device::new(kind, Unit::Master(master)), iommu, reserved);
        Ok(())
    }

    /// The machine underneath, for tests that look at what happened or that stand in the way.
    pub const fn machine(&self) -> &IommuMachine {
        &self.machine
    }

    /// The IOMMU and its driver, for tests.
    pub fn iommu(&mut self) -> &mut dyn Iommu {
        &mut self.iommu
    }

    /// Whether cached translations are invalidated from now on. To leave it out shows that the IOMMU caches.
    pub const fn set_invalidations(&mut self, invalidations: Invalidations) {
        self.iommu.invalidations = invalidations;
    }

    /// Reads the machine's memory as it is.
    ///
    /// # Errors
    /// There is no memory.
    pub fn read_memory(&self, address: PhysicalAddress, bytes: &mut [u8]) -> Result<(), Error> {
        self.ram.read_bytes(address, bytes)
    }

    /// What register windows and memory could not tell.
    fn complaint(&self) -> Result<(), PlatformError> {
        match self.machine.bus().failure() {
            None => Ok(()),
            Some(error) => {
                Err(PlatformError { what: "the connection to QEMU".to_owned(), why: error.to_string() })
            }
        }
    }
}
