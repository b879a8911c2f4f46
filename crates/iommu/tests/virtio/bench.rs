//! A driver and its device, shared with the test.

use crate::fake::{Device, Trick};
use crate::memory::Memory;
use crate::windows::{Part, Window};
use std::cell::{RefCell, RefMut};
use std::rc::Rc;
use vcm_iommu::virtio::{Config, MmioTransport, PciTransport, PciWindows, VirtioIommu};
use vcm_iommu::{DomainId, Iommu, StreamId, Translation};

/// The device, as the driver and the test share it.
#[derive(Clone, Debug)]
pub(crate) struct Fake {
    device: Rc<RefCell<Device>>,
    pub(crate) memory: Memory,
}

/// First, last, physical, flags.
pub(crate) type Mappings = Vec<(u64, u64, u64, u32)>;

pub(crate) type Driver = VirtioIommu<PciTransport<Window>, Memory>;

impl Fake {
    pub(crate) fn new() -> Self {
        let memory = Memory::new();
        Self { device: Rc::new(RefCell::new(Device::new(memory.clone()))), memory }
    }

    pub(crate) fn device(&self) -> RefMut<'_, Device> {
        self.device.borrow_mut()
    }

    fn window(&self, part: Part) -> Window {
        Window::new(self.device.clone(), part)
    }

    pub(crate) fn pci(&self) -> PciTransport<Window> {
        PciTransport::new(PciWindows {
            common: self.window(Part::Common),
            notify: self.window(Part::Notify),
            notify_len: 0x1000,
            notify_multiplier: 4,
            interrupt: self.window(Part::Interrupt),
            device: self.window(Part::Config),
        })
    }

    pub(crate) fn mmio(&self) -> MmioTransport<Window> {
        MmioTransport::new(self.window(Part::Mmio))
    }

    pub(crate) fn config() -> Config {
        Config::new("fake").with_patience(20)
    }

    pub(crate) fn driver(&self) -> Driver {
        self.driver_with(Self::config())
    }

    pub(crate) fn driver_with(&self, config: Config) -> Driver {
        VirtioIommu::probe(self.pci(), self.memory.clone(), config).unwrap()
    }

    /// Plays these tricks with the next requests.
    pub(crate) fn play(&self, tricks: impl IntoIterator<Item = Trick>) {
        self.device().tricks.extend(tricks);
    }

    /// What is mapped in the domain that the endpoint is attached to.
    pub(crate) fn mapped(&self, endpoint: u32) -> Option<Mappings> {
        let device = self.device();
        let number = device.iommu.attached.get(&endpoint)?;
        let mappings = device.iommu.domains[number].mappings.iter();
        Some(mappings.map(|(first, &(last, physical, flags))| (*first, last, physical, flags)).collect())
    }

    /// The kinds of the requests since the last call.
    pub(crate) fn log(&self) -> Vec<u8> {
        std::mem::take(&mut self.device().log)
    }
}

pub(crate) const STREAM: StreamId = StreamId(8);
pub(crate) const OTHER: StreamId = StreamId(16);

pub(crate) fn requests(driver: &mut Driver) -> DomainId {
    driver.create_domain(Translation::Requests).unwrap()
}
