//! I/O address spaces.
#![allow(unsafe_code, reason = "calls the kernel with structures")]

use super::hwpt::Table;
use super::mapped::Mapped;
use super::object::Object;
use super::{Iommufd, command};
use crate::Error;
use iommufd_bindings as uapi;
use rustix::io::Errno;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use vcm::Span;

/// Whether the kernel joins neighbouring pages into larger ones of the IOMMU's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum LargePages {
    /// It does.
    #[default]
    Joined,
    /// Every page of the kernel's is mapped by itself: for measurements, and for fine dirty tracking.
    Apart,
}

/// An I/O address space (IOAS): what devices that are attached to it see. Clones are the same one.
///
/// It is given up when nobody holds it any more: neither a clone, nor an [`Attachment`], nor a page table
/// ([`Hwpt`](super::Hwpt)). Everything that is mapped goes with it.
#[derive(Clone, Debug)]
pub struct Ioas {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    object: Object,
    mapped: RwLock<Mapped>,
    attachments: AtomicUsize,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.object.destroy().is_err() {
            self.mapped.get_mut().unwrap_or_else(PoisonError::into_inner).keep_for_ever();
        }
    }
}

/// Something translates through an address space: a device that is attached, a page table. As long as there is one, mapping
/// pins memory, and the space stays.
#[derive(Debug)]
pub struct Attachment {
    // Dropped in this order.
    _table: Option<Arc<Table>>,
    ioas: Ioas,
}

impl Attachment {
    /// The space.
    pub const fn ioas(&self) -> &Ioas {
        &self.ioas
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.ioas.inner.attachments.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Ioas {
    /// Makes an empty one.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(iommufd: &Arc<Iommufd>) -> Result<Self, Error> {
        let mut request =
            uapi::iommu_ioas_alloc { size: size_of::<uapi::iommu_ioas_alloc>() as u32, ..Default::default() };
        // SAFETY: the structure of the call, without addresses.
        unsafe { iommufd.call(command::IOAS_ALLOC, &mut request) }
            .map_err(|errno| Error::system(command::IOAS_ALLOC.name, "iommufd", errno))?;
        let object = Object::new(Arc::clone(iommufd), request.out_ioas_id);
        let inner = Inner { object, mapped: RwLock::default(), attachments: AtomicUsize::new(0) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Its number in iommufd: what `VFIO_DEVICE_ATTACH_IOMMUFD_PT` takes.
    pub fn id(&self) -> u32 {
        self.inner.object.id()
    }

    /// The iommufd that it was made in.
    pub fn iommufd(&self) -> &Arc<Iommufd> {
        self.inner.object.iommufd()
    }

    /// Notes that something translates through it from now on. Who attaches a device keeps this until it is detached.
    pub fn attachment(&self) -> Attachment {
        self.attachment_by(None)
    }

    pub(super) fn attachment_by(&self, table: Option<Arc<Table>>) -> Attachment {
        self.inner.attachments.fetch_add(1, Ordering::Relaxed);
        Attachment { _table: table, ioas: self.clone() }
    }

    /// Whether mapping pins memory: something is attached.
    pub fn is_attached(&self) -> bool {
        self.inner.attachments.load(Ordering::Relaxed) > 0
    }

    /// The number of mappings.
    pub fn mappings(&self) -> usize {
        self.mapped().len()
    }

    /// The addresses that can be mapped, in order, and what address and length of a mapping are multiples of, in bytes.
    ///
    /// They are all addresses, and 1, until something is attached; then what the device and its IOMMU leave.
    ///
    /// # Errors
    /// The kernel's.
    pub fn iova_ranges(&self) -> Result<(Vec<Span>, u64), Error> {
        let mut ranges = vec![uapi::iommu_iova_range::default(); 16];
        // The number can grow between two calls, as devices come; that it does so for ever is not to be expected.
        for _ in 0..8 {
            let mut request = uapi::iommu_ioas_iova_ranges {
                size: size_of::<uapi::iommu_ioas_iova_ranges>() as u32,
                ioas_id: self.id(),
                num_iovas: ranges.len() as u32,
                allowed_iovas: ranges.as_mut_ptr().expose_provenance() as u64,
                ..Default::default()
            };
            // SAFETY: the kernel writes at most as many ranges as it is told that there is room for.
            let answer = unsafe { self.iommufd().call(command::IOAS_IOVA_RANGES, &mut request) };
            match answer {
                Ok(_) => {
                    ranges.truncate(request.num_iovas as usize);
                    return self.spans(&ranges, request.out_iova_alignment);
                }
                Err(Errno::MSGSIZE) if request.num_iovas as usize > ranges.len() => {
                    ranges.resize(request.num_iovas as usize + 8, uapi::iommu_iova_range::default());
                }
                Err(errno) => return Err(self.failed(command::IOAS_IOVA_RANGES.name, None, errno)),
            }
        }
        Err(self.failed(command::IOAS_IOVA_RANGES.name, None, Errno::MSGSIZE))
    }

    fn spans(&self, ranges: &[uapi::iommu_iova_range], alignment: u64) -> Result<(Vec<Span>, u64), Error> {
        let garbage = |what| Error::Garbage { object: self.name_for_people(), what };
        if !alignment.is_power_of_two() {
            return Err(garbage(format!("addresses are multiples of {alignment:#x}")));
        }
        let span = |range: &uapi::iommu_iova_range| {
            Span::inclusive(range.start, range.last)
                .ok_or_else(|| garbage(format!("usable from {:#x} to {:#x}", range.start, range.last)))
        };
        Ok((ranges.iter().map(span).collect::<Result<_, _>>()?, alignment))
    }

    /// Promises that the addresses `spans` stay usable: a device that would take one of them away cannot be attached any more.
    /// Replaces the promise before; none is an empty list. Each has two bytes at least.
    ///
    /// # Errors
    /// The kernel's: EADDRINUSE when some are not usable now. Then the promise before holds.
    pub fn allow(&self, spans: &[Span]) -> Result<(), Error> {
        let ranges: Vec<_> = spans
            .iter()
            .map(|span| uapi::iommu_iova_range { start: span.first(), last: span.last() })
            .collect();
        let mut request = uapi::iommu_ioas_allow_iovas {
            size: size_of::<uapi::iommu_ioas_allow_iovas>() as u32,
            ioas_id: self.id(),
            num_iovas: ranges.len() as u32,
            allowed_iovas: ranges.as_ptr().expose_provenance() as u64,
            ..Default::default()
        };
        // SAFETY: the kernel reads the ranges, which live until the call returns.
        let answer = unsafe { self.iommufd().call(command::IOAS_ALLOW_IOVAS, &mut request) };
        answer.map(drop).map_err(|errno| {
            let error = self.failed(command::IOAS_ALLOW_IOVAS.name, None, errno);
            match errno {
                Errno::ADDRINUSE => {
                    error.with_help("a device that is attached cannot use all of these addresses")
                }
                _ => error,
            }
        })
    }

    /// Whether neighbouring pages are joined.
    ///
    /// # Errors
    /// The kernel's.
    pub fn large_pages(&self) -> Result<LargePages, Error> {
        let option = uapi::iommufd_option_IOMMU_OPTION_HUGE_PAGES;
        let name = self.name_for_people();
        match self.iommufd().option(option, self.id(), None, &name)? {
            0 => Ok(LargePages::Apart),
            _ => Ok(LargePages::Joined),
        }
    }

    /// Chooses whether neighbouring pages are joined.
    ///
    /// # Errors
    /// The kernel's: EADDRINUSE when mappings are not multiples of its page; EBUSY when something is attached and mapped.
    pub fn set_large_pages(&self, large_pages: LargePages) -> Result<(), Error> {
        let option = uapi::iommufd_option_IOMMU_OPTION_HUGE_PAGES;
        let value = match large_pages {
            LargePages::Apart => 0,
            LargePages::Joined => 1,
        };
        self.iommufd().option(option, self.id(), Some(value), &self.name_for_people()).map(drop)
    }

    pub(super) fn mapped(&self) -> RwLockReadGuard<'_, Mapped> {
        self.inner.mapped.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn mapped_mut(&self) -> RwLockWriteGuard<'_, Mapped> {
        self.inner.mapped.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is the same one.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    pub(super) fn name_for_people(&self) -> String {
        format!("IOAS {}", self.id())
    }

    pub(super) fn failed(&self, call: &'static str, span: Option<Span>, errno: Errno) -> Error {
        let object = match span {
            Some(span) => format!("IOAS {} at {span}", self.id()),
            None => self.name_for_people(),
        };
        Error::system(call, object, errno)
    }
}
