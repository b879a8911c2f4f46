//! What a device's handles share, and in which order it is taken apart.
//!
//! # Locks
//! In this order: the list of windows, each window, the guests' views, the interrupts, the descriptor. The descriptor's is held for reading
//! during each call, so that it is not closed under one.

use super::call;
use super::group::Group;
use super::guest_view::GuestView;
use super::info::DeviceInfo;
use super::interrupt::Table;
use super::mapping::Window;
use super::name::DeviceName;
use super::region::Region;
use crate::Error;
use crate::iommufd::Attachment;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};
use vfio_bindings::bindings::vfio::vfio_device_detach_iommufd_pt;

/// How a device was opened, with what must stay open for it.
#[derive(Debug)]
pub(crate) enum Link {
    /// By its own node. The kernel unbinds it from the iommufd when the descriptor is closed.
    Cdev { id: u32, attached: Mutex<Option<Attached>> },
    /// By its group.
    Group(Arc<Group>),
    /// By a group that VFIO made up, in a container of its own.
    NoIommu { group: Group, _container: OwnedFd },
}

/// What a device is attached to.
#[derive(Debug)]
pub(crate) struct Attached {
    /// The number that was asked for.
    pub(super) id: u32,
    /// Keeps an IOAS as long as the device translates through it.
    pub(super) _ioas: Option<Attachment>,
}

/// A device: what its handles share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(super) name: DeviceName,
    pub(super) link: Link,
    pub(super) info: DeviceInfo,
    descriptor: RwLock<Option<OwnedFd>>,
    pub(super) regions: Mutex<BTreeMap<u32, Arc<Region>>>,
    pub(super) windows: Mutex<Vec<Weak<Window>>>,
    pub(super) guest_views: Mutex<Vec<Weak<GuestView>>>,
    pub(super) power_management: OnceLock<Option<u16>>,
    interrupts: Mutex<Table>,
    closed: AtomicBool,
}

impl Inner {
    pub(super) fn new(name: DeviceName, link: Link, descriptor: OwnedFd) -> Result<Arc<Self>, Error> {
        let info = DeviceInfo::ask(descriptor.as_fd(), &name)?;
        Ok(Arc::new(Self {
            name,
            link,
            info,
            descriptor: RwLock::new(Some(descriptor)),
            regions: Mutex::default(),
            windows: Mutex::default(),
            guest_views: Mutex::default(),
            power_management: OnceLock::new(),
            interrupts: Mutex::default(),
            closed: AtomicBool::new(false),
        }))
    }

    /// Does something with the descriptor.
    ///
    /// # Errors
    /// [`Error::Missing`] when the device was torn down; what `f` answers.
    pub(super) fn with<R>(&self, f: impl FnOnce(BorrowedFd<'_>) -> Result<R, Error>) -> Result<R, Error> {
        let descriptor = self.descriptor.read().unwrap_or_else(PoisonError::into_inner);
        match &*descriptor {
            Some(descriptor) => f(descriptor.as_fd()),
            None => Err(self.is_gone()),
        }
    }

    /// The error that every call has after the device was torn down.
    pub(super) fn is_gone(&self) -> Error {
        Error::Missing { what: format!("device {}", self.name), help: "it was closed; open it again".into() }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn interrupts(&self) -> MutexGuard<'_, Table> {
        self.interrupts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes everything of it, in order: afterwards the device raises no interrupt, makes no DMA and is mapped nowhere in
    /// this process, and the kernel has it back.
    pub(super) fn tear_down(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        // What fails here is done by the kernel when the descriptor is closed.
        self.disable_all_interrupts();
        self.stop_dma();
        // A mapping keeps the device open, whatever becomes of the descriptor.
        self.close_windows();
        self.revoke_guest_views();
        let descriptor = self.descriptor.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(descriptor);
    }

    fn stop_dma(&self) {
        if self.info.is_pci() {
            let _ = self.set_bus_master(super::config::BusMaster::Off);
        }
        if let Link::Cdev { attached, .. } = &self.link
            && let Some(former) = attached.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            let _ = self.detach();
            drop(former);
        }
    }

    #[allow(unsafe_code, reason = "an ioctl")]
    pub(super) fn detach(&self) -> Result<(), Error> {
        let argsz = size_of::<vfio_device_detach_iommufd_pt>() as u32;
        let mut detach = vfio_device_detach_iommufd_pt { argsz, ..Default::default() };
        // SAFETY: the call's structure, with its size.
        self.with(|descriptor| unsafe {
            call::DEVICE_DETACH_IOMMUFD_PT.with(descriptor, self.name.as_str(), &mut detach)
        })?;
        Ok(())
    }
}
