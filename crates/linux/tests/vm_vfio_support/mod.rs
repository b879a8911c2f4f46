//! What the tests of VFIO share: devices bound to vfio-pci, address spaces by either way, and small drivers.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

pub mod edu;
pub mod nvme;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vcm::{Access, Iova, Span};
use vcm_linux::dma::DmaSpace;
use vcm_linux::iommufd::{Ioas, Iommufd};
use vcm_linux::memory::MemoryFile;
use vcm_linux::vfio::{BusMaster, Container, Device, DeviceName, Opening, Way};

pub const EDU: [&str; 2] = ["0000:00:04.0", "0000:00:05.0"];
pub const NVME: [&str; 2] = ["0000:00:06.0", "0000:00:07.0"];

pub fn name(text: &str) -> DeviceName {
    DeviceName::new(text).unwrap()
}

pub fn folder(device: &str) -> PathBuf {
    Path::new("/sys/bus/pci/devices").join(device)
}

/// Binds a device to vfio-pci.
pub fn bind(device: &str) {
    let folder = folder(device);
    fs::write(folder.join("driver_override"), "vfio-pci").unwrap();
    if folder.join("driver").exists() {
        if fs::read_link(folder.join("driver")).unwrap().ends_with("vfio-pci") {
            return;
        }
        fs::write(folder.join("driver/unbind"), device).unwrap();
    }
    fs::write("/sys/bus/pci/drivers_probe", device).unwrap();
    let driver = fs::read_link(folder.join("driver")).expect("vfio-pci takes it");
    assert!(driver.ends_with("vfio-pci"), "{}", driver.display());
}

pub fn has_iommufd() -> bool {
    match std::env::var("VCM_VM_IOMMUFD").as_deref() {
        Ok("yes") => true,
        Ok("no") => false,
        other => panic!("VCM_VM_IOMMUFD is {other:?}"),
    }
}

/// The ways that this kernel has. On both kernels the group's is one.
pub fn ways() -> Vec<Way> {
    if has_iommufd() { vec![Way::Cdev, Way::Group] } else { vec![Way::Group] }
}

/// An address space, by either way.
pub enum Space {
    Ioas(Arc<Iommufd>, Ioas),
    Container(Container),
}

impl Space {
    pub fn new(way: Way) -> Self {
        match way {
            Way::Cdev => {
                let iommufd = Iommufd::open().unwrap();
                let ioas = Ioas::new(&iommufd).unwrap();
                Self::Ioas(iommufd, ioas)
            }
            Way::Group => Self::Container(Container::new().unwrap()),
            Way::NoIommu => panic!("no space"),
        }
    }

    /// Opens a device that translates through this space, and lets it do DMA.
    pub fn open(&self, device: &str) -> Device {
        bind(device);
        let device = match self {
            Self::Ioas(iommufd, ioas) => {
                let device = Device::open(
                    &name(device),
                    Opening::Cdev { iommufd: std::os::fd::AsFd::as_fd(&**iommufd) },
                )
                .unwrap();
                device.attach_ioas(ioas).unwrap();
                device
            }
            Self::Container(container) => Device::open(&name(device), Opening::Group { container }).unwrap(),
        };
        device.config().unwrap().set_bus_master(BusMaster::On).unwrap();
        device
    }

    pub fn dma(&mut self) -> &mut dyn DmaSpace {
        match self {
            Self::Ioas(_, ioas) => ioas,
            Self::Container(container) => container,
        }
    }

    pub fn map(&mut self, at: u64, memory: &MemoryFile) {
        let range = memory.range(0, memory.len()).unwrap();
        self.dma().map(Iova::new(at), range, Access::READ_WRITE).unwrap();
    }

    pub fn unmap(&mut self, at: u64, len: u64) {
        self.dma().unmap(Span::new(at, len).unwrap()).unwrap();
    }
}

/// Bytes that differ from place to place and from seed to seed.
pub fn pattern(seed: u8, len: usize) -> Vec<u8> {
    (0..len)
        .map(|index| (index as u8).wrapping_mul(7).wrapping_add((index >> 8) as u8).wrapping_add(seed))
        .collect()
}

pub fn bytes(memory: &MemoryFile, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    memory.read(offset, &mut bytes).unwrap();
    bytes
}
