//! A device's regions: its BARs and configuration space, or its ranges of registers.

use super::call;
use super::chain::{Answer, ask};
use super::device::Device;
use super::inner::Inner;
use crate::Error;
use rustix::io::{pread, pwrite};
use std::mem::offset_of;
use std::sync::{Arc, PoisonError};
use vcm::Span;
use vfio_bindings::bindings::vfio::{
    VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, VFIO_REGION_INFO_CAP_SPARSE_MMAP, VFIO_REGION_INFO_CAP_TYPE,
    VFIO_REGION_INFO_FLAG_CAPS, VFIO_REGION_INFO_FLAG_MMAP, VFIO_REGION_INFO_FLAG_READ,
    VFIO_REGION_INFO_FLAG_WRITE, vfio_region_info, vfio_region_info_cap_sparse_mmap,
    vfio_region_info_cap_type, vfio_region_sparse_mmap_area,
};

bitflags::bitflags! {
    /// What can be done with a region (`VFIO_REGION_INFO_FLAG_*`), and what is special about it.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct RegionFlags: u32 {
        /// It can be read.
        const READ = VFIO_REGION_INFO_FLAG_READ;
        /// It can be written.
        const WRITE = VFIO_REGION_INFO_FLAG_WRITE;
        /// It can be mapped, in whole or in [parts](Region::mappable).
        const MAP = VFIO_REGION_INFO_FLAG_MMAP;
        /// The MSI-X table is in it, and in what can be mapped. It is for looking at: interrupts are set up by calls.
        const MSIX_TABLE = 1 << 31;
    }
}

/// What a region is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Region {
    /// Its number.
    pub index: u32,
    /// Its size in bytes; 0 when the device has no such region.
    pub len: u64,
    /// What can be done with it.
    pub flags: RegionFlags,
    /// What can be mapped, as offsets from its start.
    pub mappable: Vec<Span>,
    /// Type and subtype, of a region that is particular to this device.
    pub kind: Option<(u32, u32)>,
    /// Where it begins for pread, pwrite and mmap of the descriptor.
    pub(super) offset: u64,
}

/// The BARs of a PCI function are regions 0 to 5.
pub const BARS: std::ops::Range<u32> = 0..6;
/// The expansion ROM of a PCI function.
pub const ROM_REGION: u32 = 6;
/// The configuration space of a PCI function.
pub const CONFIG_REGION: u32 = 7;

impl Region {
    fn parse(index: u32, answer: &Answer) -> Result<Self, Error> {
        let flags = answer.head(offset_of!(vfio_region_info, flags))?;
        let len = answer.head64(offset_of!(vfio_region_info, size))?;
        let mut region = Self {
            index,
            len,
            flags: RegionFlags::from_bits_truncate(flags).difference(RegionFlags::MSIX_TABLE),
            mappable: Vec::new(),
            kind: None,
            offset: answer.head64(offset_of!(vfio_region_info, offset))?,
        };
        if region.flags.contains(RegionFlags::MAP) {
            region.mappable.extend(Span::new(0, len));
        }
        let first = if flags & VFIO_REGION_INFO_FLAG_CAPS == 0 {
            0
        } else {
            answer.head(offset_of!(vfio_region_info, cap_offset))?
        };
        for capability in answer.capabilities(first)? {
            match u32::from(capability.id) {
                VFIO_REGION_INFO_CAP_SPARSE_MMAP => {
                    let garbage = || answer.garbage(format!("areas that are not in region {index}"));
                    let count = capability
                        .u32_at(offset_of!(vfio_region_info_cap_sparse_mmap, nr_areas))
                        .ok_or_else(garbage)?;
                    region.mappable = (0..count as usize)
                        .map(|area| {
                            let at = offset_of!(vfio_region_info_cap_sparse_mmap, areas)
                                + area * size_of::<vfio_region_sparse_mmap_area>();
                            let first =
                                capability.u64_at(at + offset_of!(vfio_region_sparse_mmap_area, offset))?;
                            let bytes =
                                capability.u64_at(at + offset_of!(vfio_region_sparse_mmap_area, size))?;
                            Span::new(first, bytes).filter(|span| span.last() < len)
                        })
                        .collect::<Option<_>>()
                        .ok_or_else(garbage)?;
                }
                VFIO_REGION_INFO_CAP_TYPE => {
                    let kind = capability.u32_at(offset_of!(vfio_region_info_cap_type, type_));
                    let subtype = capability.u32_at(offset_of!(vfio_region_info_cap_type, subtype));
                    region.kind = kind.zip(subtype);
                }
                VFIO_REGION_INFO_CAP_MSIX_MAPPABLE => region.flags |= RegionFlags::MSIX_TABLE,
                _ => {}
            }
        }
        Ok(region)
    }

    fn check(&self, what: &str, offset: u64, len: usize, needed: RegionFlags) -> Result<(), Error> {
        let wrong = |why: String| {
            Err(Error::argument(format!("{what} {len} bytes at {offset:#x} of region {}", self.index), why))
        };
        if !self.flags.contains(needed) {
            return wrong(format!("it is {:?} only", self.flags));
        }
        if offset.checked_add(len as u64).is_none_or(|end| end > self.len) {
            return wrong(format!("it has {:#x} bytes", self.len));
        }
        Ok(())
    }
}

impl Inner {
    #[allow(unsafe_code, reason = "an ioctl")]
    pub(super) fn region(&self, index: u32) -> Result<Arc<Region>, Error> {
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(region) = regions.get(&index) {
            return Ok(Arc::clone(region));
        }
        if index >= self.info.regions {
            return Err(Error::argument(
                format!("region {index} of {}", self.name),
                format!("it has {}", self.info.regions),
            ));
        }
        // After the flags comes the index.
        let head = [0, index];
        // SAFETY: its structure begins with its size, and holds no address of this process.
        let answer = self.with(|descriptor| unsafe {
            ask(call::DEVICE_GET_REGION_INFO, descriptor, self.name.as_str(), &head)
        })?;
        let region = Arc::new(Region::parse(index, &answer)?);
        regions.insert(index, Arc::clone(&region));
        Ok(region)
    }

    pub(super) fn read(&self, region: &Region, offset: u64, bytes: &mut [u8]) -> Result<(), Error> {
        region.check("reading", offset, bytes.len(), RegionFlags::READ)?;
        let len = bytes.len();
        let object = format!("{len} bytes at {offset:#x} of region {}", region.index);
        self.with(|descriptor| {
            let done = pread(descriptor, bytes, region.offset + offset)
                .map_err(|errno| Error::system("pread", format!("{}, {object}", self.name), errno))?;
            self.whole(done, len, &object)
        })
    }

    pub(super) fn write(&self, region: &Region, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        region.check("writing", offset, bytes.len(), RegionFlags::WRITE)?;
        let object = format!("{} bytes at {offset:#x} of region {}", bytes.len(), region.index);
        self.with(|descriptor| {
            let done = pwrite(descriptor, bytes, region.offset + offset)
                .map_err(|errno| Error::system("pwrite", format!("{}, {object}", self.name), errno))?;
            self.whole(done, bytes.len(), &object)
        })
    }

    fn whole(&self, done: usize, len: usize, object: &str) -> Result<(), Error> {
        if done == len {
            return Ok(());
        }
        Err(Error::Garbage {
            object: self.name.to_string(),
            what: format!("{done} bytes transferred of {object}"),
        })
    }
}

impl Device {
    /// What the region `index` is. [`BARS`], [`ROM_REGION`] and [`CONFIG_REGION`] name those of PCI functions.
    ///
    /// # Errors
    /// [`Error::Argument`] for an index that the device has not; the kernel's.
    pub fn region(&self, index: u32) -> Result<Arc<Region>, Error> {
        self.inner.region(index)
    }

    /// Reads from a region by a system call, which the kernel makes accesses of the width that fits. The configuration space
    /// is read through [`Self::config`].
    ///
    /// # Errors
    /// [`Error::Argument`] outside of the region; the kernel's: EIO when the device does not decode its memory.
    pub fn read(&self, region: u32, offset: u64, bytes: &mut [u8]) -> Result<(), Error> {
        let region = self.inner.region(region)?;
        self.inner.read(&region, offset, bytes)
    }

    /// Writes to a region by a system call.
    ///
    /// # Errors
    /// As [`Self::read`]; [`Error::Argument`] for the configuration space, which is written through [`Self::config`].
    pub fn write(&self, region: u32, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.refuse_config("writing to", region)?;
        let region = self.inner.region(region)?;
        self.inner.write(&region, offset, bytes)
    }

    pub(super) fn refuse_config(&self, what: &str, region: u32) -> Result<(), Error> {
        if self.inner.info.is_pci() && region == CONFIG_REGION {
            return Err(Error::argument(
                format!("{what} the configuration space as a region"),
                "config() does that, and knows what it means for mappings",
            ));
        }
        Ok(())
    }
}
