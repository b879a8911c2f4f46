//! `VFIO_DEVICE_FEATURE`: what a device can do besides, and a BAR as a dma-buf.

use super::call::{self, new_descriptor};
use super::device::Device;
use crate::Error;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::Errno;
use vcm::Span;
use vfio_bindings::bindings::vfio::{
    VFIO_DEVICE_FEATURE_BUS_MASTER, VFIO_DEVICE_FEATURE_DMA_BUF, VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
    VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, VFIO_DEVICE_FEATURE_MIGRATION,
    VFIO_DEVICE_FEATURE_PCI_VF_TOKEN, VFIO_DEVICE_FEATURE_PROBE, VFIO_DEVICE_FEATURE_SET,
    vfio_device_feature, vfio_region_dma_range,
};

/// A feature that a device may have, with the accesses that make it one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Feature {
    /// A secret that the function and its virtual functions share.
    VirtualFunctionToken,
    /// Its state can be moved to another.
    Migration,
    /// It can sleep while it is open.
    LowPower,
    /// It notes what it writes.
    DmaLogging,
    /// Bus mastering that is no bit of a configuration space.
    BusMaster,
    /// Its BARs can be exported for peers.
    DmaBuf,
}

impl Feature {
    const fn flags(self) -> u32 {
        match self {
            Self::VirtualFunctionToken => VFIO_DEVICE_FEATURE_PCI_VF_TOKEN | VFIO_DEVICE_FEATURE_SET,
            Self::Migration => VFIO_DEVICE_FEATURE_MIGRATION | VFIO_DEVICE_FEATURE_GET,
            Self::LowPower => VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY | VFIO_DEVICE_FEATURE_SET,
            Self::DmaLogging => VFIO_DEVICE_FEATURE_DMA_LOGGING_START | VFIO_DEVICE_FEATURE_SET,
            Self::BusMaster => VFIO_DEVICE_FEATURE_BUS_MASTER | VFIO_DEVICE_FEATURE_SET,
            Self::DmaBuf => VFIO_DEVICE_FEATURE_DMA_BUF | VFIO_DEVICE_FEATURE_GET,
        }
    }
}

/// `struct vfio_device_feature` with `struct vfio_device_feature_dma_buf` behind it, and one range: include/uapi/linux/vfio.h.
#[repr(C)]
struct DmaBufRequest {
    argsz: u32,
    flags: u32,
    region_index: u32,
    open_flags: u32,
    dma_buf_flags: u32,
    ranges: u32,
    range: vfio_region_dma_range,
}

/// A part of a device's memory, for other devices: what iommufd's `IOMMU_IOAS_MAP_FILE` maps.
///
/// When its device is reset, or stops decoding its memory, or is closed, the kernel takes the mappings away that were made
/// of it.
#[derive(Debug)]
pub struct ExportedBar {
    descriptor: OwnedFd,
    len: u64,
}

impl ExportedBar {
    /// Its length in bytes, at least a page.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes. It never is so.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl AsFd for ExportedBar {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl From<ExportedBar> for OwnedFd {
    fn from(bar: ExportedBar) -> Self {
        bar.descriptor
    }
}

impl Device {
    /// Whether the device, by its driver and this kernel, has the feature.
    ///
    /// # Errors
    /// [`Error::NotSupported`] says that it has not; [`Error::Missing`] when it was torn down.
    #[allow(unsafe_code, reason = "an ioctl")]
    pub fn check_feature(&self, feature: Feature) -> Result<(), Error> {
        let flags = feature.flags() | VFIO_DEVICE_FEATURE_PROBE;
        let argsz = size_of::<vfio_device_feature>() as u32;
        let mut request = vfio_device_feature { argsz, flags, ..Default::default() };
        let name = self.inner.name.as_str();
        // SAFETY: the call's structure, with its size. Probing changes nothing.
        let answer = self
            .inner
            .with(|descriptor| unsafe { call::DEVICE_FEATURE.with(descriptor, name, &mut request) });
        match answer {
            Ok(_) => Ok(()),
            Err(error) if matches!(error, Error::System { .. }) => {
                Err(Error::not_supported(format!("{feature:?} of {name}"), error.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    /// Exports a part of a BAR as a dma-buf. Whole pages.
    ///
    /// # Errors
    /// [`Error::NotSupported`] when the kernel does not export BARs (before 6.19, or without `CONFIG_VFIO_PCI_DMABUF`) or has
    /// no peer-to-peer DMA for this device; [`Error::Argument`] for a part that is not in the region.
    #[allow(unsafe_code, reason = "an ioctl that makes a descriptor")]
    pub fn export(&self, index: u32, part: Span) -> Result<ExportedBar, Error> {
        let region = self.inner.region(index)?;
        let object = format!("{part:?} of region {index} of {}", self.inner.name);
        let len = u64::try_from(part.len()).ok().filter(|_| part.last() < region.len);
        let len =
            len.ok_or_else(|| Error::argument(&object, format!("the region has {:#x} bytes", region.len)))?;
        self.check_feature(Feature::DmaBuf)?;
        let mut request = DmaBufRequest {
            argsz: size_of::<DmaBufRequest>() as u32,
            flags: Feature::DmaBuf.flags(),
            region_index: index,
            open_flags: (OFlags::RDWR | OFlags::CLOEXEC).bits(),
            dma_buf_flags: 0,
            ranges: 1,
            range: vfio_region_dma_range { offset: part.first(), length: len },
        };
        let call = call::DEVICE_FEATURE;
        // SAFETY: the call's structure, with its size and the one range that it says.
        let answer = self.inner.with(|descriptor| unsafe { call.with(descriptor, &object, &mut request) });
        let answer = answer.map_err(|error| match error.errno() {
            Errno::NOTTY | Errno::OPNOTSUPP => {
                Error::not_supported(format!("export of {object}"), error.to_string())
            }
            Errno::INVAL => error.with_help("whole pages of a BAR with memory can be exported"),
            _ => error,
        })?;
        // SAFETY: the call makes a descriptor.
        let descriptor = unsafe { new_descriptor(call, &object, answer) }?;
        Ok(ExportedBar { descriptor, len })
    }
}
