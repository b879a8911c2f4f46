//! What a device is.

use super::call;
use super::chain::ask;
use super::name::DeviceName;
use crate::Error;
use rustix::fd::BorrowedFd;
use std::mem::offset_of;
use vfio_bindings::bindings::vfio::{
    VFIO_DEVICE_FLAGS_AMBA, VFIO_DEVICE_FLAGS_CAPS, VFIO_DEVICE_FLAGS_CDX, VFIO_DEVICE_FLAGS_PCI,
    VFIO_DEVICE_FLAGS_PLATFORM, VFIO_DEVICE_FLAGS_RESET, VFIO_DEVICE_INFO_CAP_PCI_ATOMIC_COMP,
    vfio_device_info, vfio_device_info_cap_pci_atomic_comp,
};

/// The bus that a device is on: it says what its regions and interrupts mean.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Bus {
    /// PCI: regions 0 to 5 are the BARs, 6 the ROM, 7 the configuration space; interrupts are INTx, MSI, MSI-X.
    Pci,
    /// Platform, from a device tree or ACPI: a region for each range of registers, an interrupt index for each line.
    Platform,
    /// AMBA: as platform.
    Amba,
    /// CDX.
    Cdx,
    /// Another.
    Other,
}

/// Whether the kernel can reset the device by itself, without its neighbours.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FunctionReset {
    /// By [`reset`](super::Device::reset).
    Offered,
    /// Not.
    Missing,
}

/// What `VFIO_DEVICE_GET_INFO` tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceInfo {
    /// Its bus.
    pub bus: Bus,
    /// Whether it can be reset.
    pub reset: FunctionReset,
    /// One more than the highest region index.
    pub regions: u32,
    /// One more than the highest interrupt index.
    pub interrupt_indices: u32,
    /// The widths of atomic operations that its path to memory completes: `VFIO_PCI_ATOMIC_COMP32` and so on, 0 for none.
    pub atomic_completion: u32,
}

impl DeviceInfo {
    #[allow(unsafe_code, reason = "an ioctl")]
    pub(super) fn ask(descriptor: BorrowedFd<'_>, name: &DeviceName) -> Result<Self, Error> {
        // SAFETY: its structure begins with its size, and the kernel fills in the rest.
        let answer = unsafe { ask(call::DEVICE_GET_INFO, descriptor, name.as_str(), &[]) }?;
        let flags = answer.head(offset_of!(vfio_device_info, flags))?;
        let buses = [
            (VFIO_DEVICE_FLAGS_PCI, Bus::Pci),
            (VFIO_DEVICE_FLAGS_PLATFORM, Bus::Platform),
            (VFIO_DEVICE_FLAGS_AMBA, Bus::Amba),
            (VFIO_DEVICE_FLAGS_CDX, Bus::Cdx),
        ];
        let first = if flags & VFIO_DEVICE_FLAGS_CAPS == 0 {
            0
        } else {
            answer.head(offset_of!(vfio_device_info, cap_offset))?
        };
        let capabilities = answer.capabilities(first)?;
        let atomic =
            capabilities.iter().find(|found| u32::from(found.id) == VFIO_DEVICE_INFO_CAP_PCI_ATOMIC_COMP);
        Ok(Self {
            bus: buses.iter().find(|(flag, _)| flags & flag != 0).map_or(Bus::Other, |&(_, bus)| bus),
            reset: if flags & VFIO_DEVICE_FLAGS_RESET != 0 {
                FunctionReset::Offered
            } else {
                FunctionReset::Missing
            },
            regions: answer.head(offset_of!(vfio_device_info, num_regions))?,
            interrupt_indices: answer.head(offset_of!(vfio_device_info, num_irqs))?,
            atomic_completion: atomic
                .and_then(|found| found.u32_at(offset_of!(vfio_device_info_cap_pci_atomic_comp, flags)))
                .unwrap_or(0),
        })
    }

    /// Whether it is a PCI function.
    pub fn is_pci(&self) -> bool {
        self.bus == Bus::Pci
    }
}
