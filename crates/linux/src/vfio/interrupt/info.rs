//! What interrupts a device has.

use super::super::call;
use super::super::chain::ask;
use super::super::device::Device;
use super::super::inner::Inner;
use crate::Error;
use std::mem::offset_of;
use vcm_irq::DeviceInterrupt;
use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_INFO_AUTOMASKED, VFIO_IRQ_INFO_EVENTFD, VFIO_IRQ_INFO_MASKABLE, VFIO_IRQ_INFO_NORESIZE,
    VFIO_PCI_ERR_IRQ_INDEX, VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX,
    VFIO_PCI_REQ_IRQ_INDEX, vfio_irq_info,
};

/// The index of a PCI function's wire.
pub const INTX: u32 = VFIO_PCI_INTX_IRQ_INDEX;
/// The index of a PCI function's messages.
pub const MSI: u32 = VFIO_PCI_MSI_IRQ_INDEX;
/// The index of a PCI function's messages by a table.
pub const MSIX: u32 = VFIO_PCI_MSIX_IRQ_INDEX;
/// The index by which the kernel tells of a PCI Express error that cannot be corrected.
pub const ERROR: u32 = VFIO_PCI_ERR_IRQ_INDEX;
/// The index by which the kernel asks for a PCI function back.
pub const REQUEST: u32 = VFIO_PCI_REQ_IRQ_INDEX;

bitflags::bitflags! {
    /// How the interrupts of an index behave (`VFIO_IRQ_INFO_*`).
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct InterruptFlags: u32 {
        /// They signal eventfds.
        const EVENTFD = VFIO_IRQ_INFO_EVENTFD;
        /// They can be masked and unmasked.
        const MASKABLE = VFIO_IRQ_INFO_MASKABLE;
        /// They are masked when they are signalled: levels.
        const AUTOMASKED = VFIO_IRQ_INFO_AUTOMASKED;
        /// They are enabled as a set: a higher number than those that are enabled needs all of them to be disabled first.
        const NORESIZE = VFIO_IRQ_INFO_NORESIZE;
    }
}

/// The interrupts of an index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct InterruptInfo {
    /// How many there are.
    pub count: u32,
    /// How they behave.
    pub flags: InterruptFlags,
}

impl Inner {
    #[allow(unsafe_code, reason = "an ioctl")]
    pub(in super::super) fn interrupt_info(&self, index: u32) -> Result<InterruptInfo, Error> {
        if index >= self.info.interrupt_indices {
            return Err(Error::argument(
                format!("interrupt index {index} of {}", self.name),
                format!("it has {}", self.info.interrupt_indices),
            ));
        }
        let call = call::DEVICE_GET_IRQ_INFO;
        let head = [0, index];
        // SAFETY: its structure begins with its size, and holds no address.
        let answer = self.with(|descriptor| unsafe { ask(call, descriptor, self.name.as_str(), &head) })?;
        Ok(InterruptInfo {
            count: answer.head(offset_of!(vfio_irq_info, count))?,
            flags: InterruptFlags::from_bits_truncate(answer.head(offset_of!(vfio_irq_info, flags))?),
        })
    }

    /// What `at` is, if the device has it.
    pub(in super::super) fn checked(&self, at: DeviceInterrupt) -> Result<InterruptInfo, Error> {
        let info = self.interrupt_info(at.index)?;
        if at.subindex >= info.count {
            return Err(Error::argument(
                format!("interrupt {} of index {} of {}", at.subindex, at.index, self.name),
                format!("it has {}", info.count),
            ));
        }
        Ok(info)
    }
}

impl Device {
    /// The interrupts of an index: [`INTX`], [`MSI`], [`MSIX`], [`ERROR`], [`REQUEST`] of PCI functions.
    ///
    /// # Errors
    /// [`Error::Argument`] for an index that the device has not; the kernel's: EINVAL for [`ERROR`] without PCI Express.
    pub fn interrupt_info(&self, index: u32) -> Result<InterruptInfo, Error> {
        self.inner.interrupt_info(index)
    }
}
