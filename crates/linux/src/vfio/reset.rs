//! Bringing a device back to its beginnings.

use super::call;
use super::chain::ask;
use super::device::Device;
use super::info::FunctionReset;
use super::inner::Link;
use super::name::PciAddress;
use crate::Error;
use rustix::fd::AsRawFd;
use rustix::io::Errno;
use std::mem::offset_of;
use vfio_bindings::bindings::vfio::{
    VFIO_PCI_DEVID_NOT_OWNED, VFIO_PCI_HOT_RESET_FLAG_DEV_ID, vfio_pci_dependent_device,
    vfio_pci_hot_reset_info,
};

/// A device that a hot reset resets too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Affected {
    /// Its address.
    pub address: PciAddress,
    /// Whose it is.
    pub owner: AffectedOwner,
}

/// Whose a device is that a hot reset would reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AffectedOwner {
    /// It is bound to the same iommufd, or in a group with one that is.
    Ours,
    /// It is not, and keeps the reset from being made.
    Others,
    /// It is in this group, which has to be open.
    Group(u32),
}

impl Device {
    /// Resets the device, and nothing else (`VFIO_DEVICE_RESET`). Its interrupts stay as they are set, its registers are as
    /// after power-on; accesses through mappings wait meanwhile.
    ///
    /// # Errors
    /// [`Error::NotSupported`] when it cannot be reset by itself, with the devices that a hot reset would reset; the kernel's:
    /// EAGAIN when another has the device locked just now.
    #[allow(unsafe_code, reason = "an ioctl")]
    pub fn reset(&self) -> Result<(), Error> {
        let inner = &self.inner;
        if inner.info.reset == FunctionReset::Missing {
            let others = match self.hot_reset_affects() {
                Ok(affected) => {
                    let names: Vec<_> =
                        affected.iter().map(|affected| affected.address.to_string()).collect();
                    format!("a hot reset would reset {}", names.join(", "))
                }
                Err(error) => error.to_string(),
            };
            return Err(Error::not_supported(
                format!("a reset of {}", inner.name),
                format!("it has no reset of its own; {others}"),
            ));
        }
        inner.with_windows_stopped(|| {
            // SAFETY: it takes nothing. Nobody relies on the device's registers but the caller.
            inner.with(|descriptor| unsafe {
                call::DEVICE_RESET.with_number(descriptor, inner.name.as_str(), 0)
            })
        })?;
        Ok(())
    }

    /// The devices that a hot reset of this one resets, itself among them.
    ///
    /// # Errors
    /// [`Error::NotSupported`] when there is no slot or bus that can be reset; the kernel's.
    #[allow(unsafe_code, reason = "an ioctl")]
    pub fn hot_reset_affects(&self) -> Result<Vec<Affected>, Error> {
        let inner = &self.inner;
        let call = call::DEVICE_GET_PCI_HOT_RESET_INFO;
        // SAFETY: its structure begins with its size, and the kernel fills in the rest.
        let answer = inner
            .with(|descriptor| unsafe { ask(call, descriptor, inner.name.as_str(), &[]) })
            .map_err(|error| match error.errno() {
                Errno::NODEV => Error::not_supported(
                    format!("a hot reset of {}", inner.name),
                    "no slot or bus of it can be reset",
                ),
                Errno::NOTTY => {
                    Error::not_supported(format!("a hot reset of {}", inner.name), "it is no PCI function")
                }
                _ => error,
            })?;
        let by_device =
            answer.head(offset_of!(vfio_pci_hot_reset_info, flags))? & VFIO_PCI_HOT_RESET_FLAG_DEV_ID != 0;
        let count = answer.head(offset_of!(vfio_pci_hot_reset_info, count))?;
        (0..count as usize)
            .map(|index| {
                let at = offset_of!(vfio_pci_hot_reset_info, devices)
                    + index * size_of::<vfio_pci_dependent_device>();
                let whose = answer.head(at)?;
                // Segment in bits 15:0, bus in 23:16, device in 31:27, function in 26:24, as bytes in this order.
                let [low, high, bus, devfn] =
                    answer.head(at + offset_of!(vfio_pci_dependent_device, segment))?.to_ne_bytes();
                let address = PciAddress {
                    domain: u16::from_ne_bytes([low, high]).into(),
                    bus,
                    device: devfn >> 3,
                    function: devfn & 7,
                };
                let owner = if !by_device {
                    AffectedOwner::Group(whose)
                } else if whose == VFIO_PCI_DEVID_NOT_OWNED as u32 {
                    AffectedOwner::Others
                } else {
                    AffectedOwner::Ours
                };
                Ok(Affected { address, owner })
            })
            .collect()
    }

    /// Resets the device with all that [`Self::hot_reset_affects`] names.
    ///
    /// `with` are other open devices whose groups have to be shown to the kernel, when this one was opened by its group.
    ///
    /// # Errors
    /// The kernel's: EINVAL and EPERM when a device is affected that is not shown to be this process's.
    #[allow(unsafe_code, reason = "an ioctl")]
    pub fn hot_reset(&self, with: &[&Device]) -> Result<(), Error> {
        const MOST: usize = 64;
        let inner = &self.inner;
        let mut groups = Vec::new();
        for device in std::iter::once(&self).chain(with) {
            if let Link::Group(group) = &device.inner.link
                && !groups.contains(&std::os::fd::AsFd::as_fd(&**group).as_raw_fd())
            {
                groups.push(std::os::fd::AsFd::as_fd(&**group).as_raw_fd());
            }
        }
        if groups.len() > MOST {
            return Err(Error::argument(
                format!("a hot reset of {}", inner.name),
                format!("more than {MOST} groups"),
            ));
        }
        // Size, flags, count, and the descriptors: struct vfio_pci_hot_reset.
        let mut words = [0_u32; 3 + MOST];
        words[0] = size_of_val(&words) as u32;
        words[2] = groups.len() as u32;
        words[3..].iter_mut().zip(&groups).for_each(|(word, &group)| *word = group as u32);
        inner.with_windows_stopped(|| {
            // SAFETY: the call's structure, with its size and as many descriptors as it says, which are open meanwhile.
            inner.with(|descriptor| unsafe {
                call::DEVICE_PCI_HOT_RESET.with(descriptor, inner.name.as_str(), &mut words)
            })
        })?;
        Ok(())
    }
}
