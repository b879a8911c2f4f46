//! Devices in user space: VFIO.
//!
//! [`probe`] says which ways there are to a device that is bound to a VFIO driver, [`Device::open`] takes one:
//!
//! | way | address space | kernel |
//! |---|---|---|
//! | [`Opening::Cdev`] | an IOAS or page table of an iommufd, by number | 6.6 and newer with `CONFIG_IOMMUFD` and `CONFIG_VFIO_DEVICE_CDEV` |
//! | [`Opening::Group`] | a [`Container`] | all with `CONFIG_VFIO_GROUP` |
//! | [`Opening::NoIommu`] | none: physical addresses, all of memory in reach | `CONFIG_VFIO_NOIOMMU`, and a switch |
//!
//! Then [`Device::config`], [`Device::map`], [`Device::interrupt`] and the rest are the same, on PCI and on other buses.
//!
//! ```no_run
//! use vcm_iommu::Registers;
//! use vcm_linux::vfio::{BusMaster, Container, Device, DeviceInterrupt, DeviceName, INTX, Opening};
//!
//! # fn main() -> Result<(), vcm_linux::Error> {
//! let container = Container::new()?;
//! let device = Device::open(&DeviceName::new("0000:00:04.0")?, Opening::Group { container: &container })?;
//! device.config()?.set_bus_master(BusMaster::On)?;
//! let mut registers = device.map(0)?;
//! let interrupt = device.interrupt(DeviceInterrupt { index: INTX, subindex: 0 })?;
//! registers.write(0x60, 1);
//! interrupt.wait(None)?;
//! registers.write(0x64, 1);
//! interrupt.unmask()?;
//! # Ok(())
//! # }
//! ```

mod barrier;
mod call;
mod chain;
mod config;
mod container;
mod device;
mod dirty;
mod event;
mod feature;
mod group;
mod guest_view;
mod info;
mod inner;
mod interrupt;
mod mapping;
mod name;
mod no_iommu;
mod node;
mod probe;
mod region;
mod removal;
mod reset;
mod sysfs;

pub use config::{
    BusMaster, CAPABILITIES, CAPABILITY_EXPRESS, CAPABILITY_MSI, CAPABILITY_MSIX, CAPABILITY_POWER, COMMAND,
    COMMAND_INTX_DISABLE, COMMAND_MASTER, COMMAND_MEMORY, Config, MemoryDecoding, PciCapability, STATUS,
    VENDOR,
};
pub use container::Container;
pub use device::{Device, Opening};
pub use dirty::DirtyTracking;
pub use feature::{ExportedBar, Feature};
pub use info::{Bus, DeviceInfo, FunctionReset};
pub use interrupt::{
    DeviceInterrupt, ERROR, INTX, Interrupt, InterruptFlags, InterruptInfo, MSI, MSIX, REQUEST,
};
pub use mapping::{BarMapping, Decoding};
pub use name::{DeviceName, PciAddress};
pub use no_iommu::NoIommuWarning;
pub use probe::{Candidate, Verdict, Way, probe};
pub use region::{BARS, CONFIG_REGION, ROM_REGION, Region, RegionFlags};
pub use removal::Removal;
pub use reset::{Affected, AffectedOwner};
