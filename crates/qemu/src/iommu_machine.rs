//! Machines with an IOMMU and bus masters behind it.

mod builder;
mod device_tree;
mod model;

pub(crate) use builder::NEEDED;
pub use builder::{Device, IommuMachineBuilder};
pub use device_tree::device_tree;
pub use model::{IommuModel, IommuPlace, Layout};

use crate::bus::{Bus, WideAccess, Window};
use crate::devices::{Edu, Lsi};
use crate::error::Error;
use crate::pci::{Decoding, Ecam, Pci, PciAddress, PciFunction, PciWindow};
use crate::ram::Ram;
use std::fs::File;

/// A machine of QEMU with an IOMMU, its RAM and its PCI functions, each at its address. Its CPU is parked.
#[derive(Debug)]
pub struct IommuMachine {
    bus: Bus,
    ram: Ram,
    pci: Pci,
    layout: Layout,
    model: IommuModel,
    arguments: Vec<String>,
    program: String,
}

impl IommuMachine {
    /// Starts one with 512 MiB and the devices, at time-outs of 10 s.
    ///
    /// # Errors
    ///
    /// Those of [`IommuMachineBuilder::start`].
    pub fn start(model: IommuModel, devices: &[Device]) -> Result<Self, Error> {
        Self::builder(model).devices(devices).start()
    }

    /// Has more to say than [`Self::start`].
    pub fn builder(model: IommuModel) -> IommuMachineBuilder {
        IommuMachineBuilder::new(model)
    }

    /// The machine, to be shared.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// The RAM that nothing of the machine uses by itself.
    pub fn ram(&self) -> &Ram {
        &self.ram
    }

    /// The functions of PCI bus 0.
    pub fn pci(&self) -> &Pci {
        &self.pci
    }

    /// PCI configuration space.
    pub fn ecam(&self) -> Ecam {
        Ecam::new(self.bus.clone(), self.layout.ecam)
    }

    /// What is where.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Which IOMMU it has.
    pub fn model(&self) -> IommuModel {
        self.model
    }

    /// The function at function 0 of `slot` of bus 0.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when there is none.
    pub fn function(&self, slot: u8) -> Result<&PciFunction, Error> {
        let address = PciAddress::new(0, slot, 0);
        self.pci.at(address).ok_or_else(|| Error::argument(format!("there is no PCI function at {address}")))
    }

    /// The [`Device::Edu`] of `slot`, allowed to do DMA.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when there is none, and those of the connection.
    pub fn edu(&self, slot: u8) -> Result<Edu, Error> {
        Edu::new(&self.bus, &mut self.ecam(), self.function(slot)?)
    }

    /// The [`Device::Lsi`] of `slot`, allowed to do DMA.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when there is none, and those of the connection.
    pub fn lsi(&self, slot: u8) -> Result<Lsi, Error> {
        Lsi::new(&self.bus, &mut self.ecam(), self.function(slot)?)
    }

    /// The registers of the [`Device::Nvme`] of `slot`, for [`crate::Nvme`], and lets it do DMA.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when there is no function with registers, and those of the connection.
    pub fn nvme_registers(&self, slot: u8) -> Result<Window, Error> {
        let function = self.function(slot)?;
        let bar = function.bar(0).ok_or_else(|| function.wrong("no controller of NVMe"))?;
        function.set_decoding(&mut self.ecam(), Decoding::MemoryAndBusMaster)?;
        Ok(self.bus.window(bar.address, WideAccess::Halves))
    }

    /// The registers of the IOMMU: those in memory, or BAR 0 of the function that it is.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when it has none in one place: virtio-iommu has
    /// [several structures](PciFunction::virtio_structures).
    pub fn iommu_registers(&self) -> Result<Window, Error> {
        let none = || Error::argument(format!("{:?} has no registers in one place", self.model));
        let (start, wide) = match self.layout.iommu {
            IommuPlace::None => return Err(none()),
            IommuPlace::Registers { start, wide } => (start, wide),
            IommuPlace::Function { slot } => {
                (self.function(slot)?.bar(0).ok_or_else(none)?.address, WideAccess::Whole)
            }
        };
        Ok(self.bus.window(start, wide))
    }

    /// The function that the IOMMU is, where it is one.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when it is none.
    pub fn iommu_function(&self) -> Result<&PciFunction, Error> {
        match self.layout.iommu {
            IommuPlace::Function { slot } => self.function(slot),
            _ => Err(Error::argument(format!("{:?} is no PCI function", self.model))),
        }
    }

    /// The disk of the [`Device::Nvme`] of `slot`.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when there is none; [`Error::Io`] when the file cannot be shared.
    pub fn disk(&self, slot: u8) -> Result<File, Error> {
        self.bus.with(|machine| {
            let name = builder::disk_name(slot);
            let file =
                machine.file(&name).ok_or_else(|| Error::argument(format!("slot {slot} has no disk")))?;
            file.try_clone().map_err(Error::io("sharing a disk's file"))
        })
    }

    /// The machine's device tree, as QEMU writes it; `None` for PCs, which have none. It starts another QEMU.
    ///
    /// # Errors
    ///
    /// Those of [`device_tree()`].
    pub fn device_tree(&self) -> Result<Option<Vec<u8>>, Error> {
        if !self.model.has_device_tree() {
            return Ok(None);
        }
        device_tree(&self.program, &self.arguments).map(Some)
    }

    /// Resets the machine, gives all of [`Self::ram`] back, forgets the [`Bus::failure`], and sets PCI up again; RAM
    /// and disks keep their contents. What drivers hold is stale after it: functions, windows into PCI, memory.
    ///
    /// # Errors
    ///
    /// Those of the connections.
    pub fn reset(&mut self) -> Result<(), Error> {
        self.bus.with(|machine| machine.reset())?;
        self.ram.free_all();
        self.bus.forget_failure();
        self.set_up()
    }

    /// Finds and places the PCI functions.
    fn set_up(&mut self) -> Result<(), Error> {
        self.model.open_ecam(&self.bus, &self.layout)?;
        self.pci = Pci::scan(&mut self.ecam(), PciWindow::new(self.layout.pci_memory))?;
        Ok(())
    }
}
