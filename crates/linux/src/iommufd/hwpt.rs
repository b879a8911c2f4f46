//! Hardware page tables: what an address space looks like to one IOMMU.
#![allow(unsafe_code, reason = "calls the kernel with structures")]

use super::fault::FaultQueue;
use super::object::{BoundDevice, Object};
use super::{Attachment, DirtyBitmap, Ioas, command};
use crate::Error;
use iommufd_bindings as uapi;
use rustix::io::Errno;
use std::sync::Arc;

/// Whether the IOMMU notes what devices write to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum DirtyTracking {
    /// It does not.
    #[default]
    Off,
    /// It does.
    On,
}

/// What becomes of the notes when they are read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Notes {
    /// They are taken: the next reading tells what was written since.
    #[default]
    Taken,
    /// They stay. For a last look before unmapping: it saves an invalidation.
    Left,
}

/// What a page table is to be able to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct HwptRequest<'q> {
    /// `On`: dirty tracking can be switched on, and only devices whose IOMMU can do it are attached.
    pub dirty_tracking: DirtyTracking,
    /// Where the page faults of its devices go. Without it they end in an error for the device.
    pub faults: Option<&'q FaultQueue>,
}

/// A hardware page table (HWPT): all that is mapped in an IOAS, in the format of one IOMMU. It follows the IOAS.
///
/// The kernel makes one by itself for a device that is attached to an IOAS. This one is for who wants more than that: dirty
/// tracking, or faults. It is attached like an IOAS, by its number. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Hwpt {
    table: Arc<Table>,
}

/// What clones of a page table share.
#[derive(Debug)]
pub(super) struct Table {
    // Dropped in this order: the table, then what it refers to.
    object: Object,
    attachment: Attachment,
    _faults: Option<FaultQueue>,
}

impl Hwpt {
    /// Makes a page table of `ioas` for the IOMMU of `device`. All that is mapped is pinned by that.
    ///
    /// # Errors
    /// [`Error::NotSupported`] when the IOMMU cannot do what is asked; [`Error::LockedMemory`]; the kernel's.
    pub fn new(ioas: &Ioas, device: BoundDevice, wanted: &HwptRequest<'_>) -> Result<Self, Error> {
        let mut flags = 0;
        if wanted.dirty_tracking == DirtyTracking::On {
            flags |= uapi::iommufd_hwpt_alloc_flags_IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
        }
        if wanted.faults.is_some() {
            flags |= uapi::iommufd_hwpt_alloc_flags_IOMMU_HWPT_FAULT_ID_VALID;
        }
        let mut request = uapi::iommu_hwpt_alloc {
            size: size_of::<uapi::iommu_hwpt_alloc>() as u32,
            flags,
            dev_id: device.0,
            pt_id: ioas.id(),
            fault_id: wanted.faults.map_or(0, FaultQueue::id),
            ..Default::default()
        };
        // SAFETY: the structure of the call, without addresses.
        unsafe { ioas.iommufd().call(command::HWPT_ALLOC, &mut request) }.map_err(|errno| match errno {
            Errno::OPNOTSUPP | Errno::NOTTY => Error::not_supported(
                describe(wanted, device),
                format!(
                    "its IOMMU, or this kernel's driver of it, cannot do it ({} of {device})",
                    command::HWPT_ALLOC.name
                ),
            ),
            Errno::NOMEM => ioas.explain_attaching(ioas.failed(command::HWPT_ALLOC.name, None, errno)),
            errno => {
                Error::system(command::HWPT_ALLOC.name, format!("IOAS {} for {device}", ioas.id()), errno)
            }
        })?;
        let object = Object::new(ioas.iommufd().clone(), request.out_hwpt_id);
        let table = Table { object, attachment: ioas.attachment(), _faults: wanted.faults.cloned() };
        Ok(Self { table: Arc::new(table) })
    }

    /// Its number in iommufd: what `VFIO_DEVICE_ATTACH_IOMMUFD_PT` takes.
    pub fn id(&self) -> u32 {
        self.table.object.id()
    }

    /// The address space that it follows.
    pub fn ioas(&self) -> &Ioas {
        self.table.attachment.ioas()
    }

    /// Notes that a device translates through it from now on, and keeps it until that is dropped. Who attaches a device keeps
    /// this until it is detached.
    pub fn attachment(&self) -> Attachment {
        self.ioas().attachment_by(Some(Arc::clone(&self.table)))
    }

    /// Switches dirty tracking. Switching it on forgets what was noted before.
    ///
    /// # Errors
    /// [`Error::NotSupported`] when the table was not made for it; the kernel's.
    pub fn set_dirty_tracking(&self, dirty_tracking: DirtyTracking) -> Result<(), Error> {
        let flags = match dirty_tracking {
            DirtyTracking::On => uapi::iommufd_hwpt_set_dirty_tracking_flags_IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
            DirtyTracking::Off => 0,
        };
        let mut request = uapi::iommu_hwpt_set_dirty_tracking {
            size: size_of::<uapi::iommu_hwpt_set_dirty_tracking>() as u32,
            flags,
            hwpt_id: self.id(),
            ..Default::default()
        };
        // SAFETY: the structure of the call, without addresses.
        let answer = unsafe { self.ioas().iommufd().call(command::HWPT_SET_DIRTY_TRACKING, &mut request) };
        answer.map(drop).map_err(|errno| self.no_tracking(command::HWPT_SET_DIRTY_TRACKING.name, errno))
    }

    /// Adds to `bitmap` what devices wrote to since the notes were taken last.
    ///
    /// # Errors
    /// [`Error::Argument`] when not all of the bitmap's span is mapped: the kernel stops at the first hole without a word, and
    /// what is dirty behind it would be lost. [`Error::NotSupported`], the kernel's.
    pub fn read_dirty(&self, bitmap: &mut DirtyBitmap, notes: Notes) -> Result<(), Error> {
        let span = bitmap.span();
        let mapped = self.ioas().mapped();
        if let Some(hole) = mapped.first_hole(span) {
            return Err(Error::argument(
                format!("what is dirty at {span} of IOAS {}", self.ioas().id()),
                format!("nothing is mapped at {hole:#x}, and nothing behind it would be told"),
            ));
        }
        let length = u64::try_from(span.len()).map_err(|_| {
            Error::argument("what is dirty in a whole address space", "no mapping is so long")
        })?;
        let flags = match notes {
            Notes::Taken => 0,
            Notes::Left => uapi::iommufd_hwpt_get_dirty_bitmap_flags_IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR,
        };
        let mut request = uapi::iommu_hwpt_get_dirty_bitmap {
            size: size_of::<uapi::iommu_hwpt_get_dirty_bitmap>() as u32,
            hwpt_id: self.id(),
            flags,
            iova: span.first(),
            length,
            page_size: bitmap.page(),
            data: bitmap.words_mut().as_mut_ptr().expose_provenance() as u64,
            ..Default::default()
        };
        // SAFETY: the kernel sets one bit for each page of the span, for all of which the bitmap has room: it was made so, and
        // `span` and `page` are its own.
        let answer = unsafe { self.ioas().iommufd().call(command::HWPT_GET_DIRTY_BITMAP, &mut request) };
        answer.map(drop).map_err(|errno| self.no_tracking(command::HWPT_GET_DIRTY_BITMAP.name, errno))
    }

    fn no_tracking(&self, call: &'static str, errno: Errno) -> Error {
        match errno {
            Errno::OPNOTSUPP | Errno::NOTTY => Error::not_supported(
                "dirty tracking",
                format!("page table {} was not made for it, or its IOMMU cannot do it", self.id()),
            ),
            errno => {
                Error::system(call, format!("page table {} of IOAS {}", self.id(), self.ioas().id()), errno)
            }
        }
    }
}

fn describe(wanted: &HwptRequest<'_>, device: BoundDevice) -> String {
    let mut text = format!("a page table for {device}");
    if wanted.dirty_tracking == DirtyTracking::On {
        text += " with dirty tracking";
    }
    if wanted.faults.is_some() {
        text += " with page faults";
    }
    text
}
