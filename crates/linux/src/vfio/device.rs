//! An open device.

use super::call;
use super::container::Container;
use super::group::{Group, Kind};
use super::info::DeviceInfo;
use super::inner::{Attached, Inner, Link};
use super::name::DeviceName;
use super::no_iommu::NoIommuWarning;
use super::node::{interrupts_not_isolated, open_node};
use super::probe::Way;
use super::sysfs::Tree;
use crate::Error;
use crate::iommufd::{Attachment, BoundDevice, Ioas};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd};
use rustix::io::Errno;
use std::mem::offset_of;
use std::sync::{Arc, Mutex, PoisonError};
use vfio_bindings::bindings::vfio::{
    VFIO_NOIOMMU_IOMMU, vfio_device_attach_iommufd_pt, vfio_device_bind_iommufd,
};

/// The way to open a device, with what it needs.
#[derive(Clone, Copy, Debug)]
pub enum Opening<'a> {
    /// By its own node, bound to this iommufd. It makes no DMA until it is [attached](Device::attach).
    Cdev {
        /// An open `/dev/iommu`.
        iommufd: BorrowedFd<'a>,
    },
    /// By its group, which joins this container: the container's mappings are the device's.
    Group {
        /// The container.
        container: &'a Container,
    },
    /// Without an IOMMU. Whoever does this shows [`Device::warning`] to the user.
    NoIommu,
}

impl Opening<'_> {
    /// The way without what it needs.
    pub const fn way(&self) -> Way {
        match self {
            Self::Cdev { .. } => Way::Cdev,
            Self::Group { .. } => Way::Group,
            Self::NoIommu => Way::NoIommu,
        }
    }
}

/// A device that this process has open.
///
/// Interrupts and mappings that were taken from it may be used in other threads. When it is dropped or
/// [torn down](Self::tear_down) they are too: interrupts wake up with an error, mappings read as all ones, as on a bus
/// whose device was pulled.
///
/// The kernel gives a device that is opened with bus mastering off: nothing is transferred until
/// [`Config::set_bus_master`](super::Config::set_bus_master).
#[derive(Debug)]
pub struct Device {
    pub(super) inner: Arc<Inner>,
}

impl Device {
    /// Opens the device `name`.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is no such device, or when the way does not lead to it ([`probe`](super::probe) says why);
    /// the kernel's, with what to do about it. EPERM names the devices that keep a group from being used, or the switch for
    /// platforms that cannot isolate interrupts.
    pub fn open(name: &DeviceName, opening: Opening<'_>) -> Result<Self, Error> {
        let tree = Tree::default();
        let folder = tree.device(name)?;
        let missing = |what: &str| Error::Missing {
            what: format!("the {} way to {name}", opening.way()),
            help: what.to_owned(),
        };
        let group = || tree.group(&folder).ok_or_else(|| missing("the device is in no IOMMU group"));
        let (link, descriptor) = match opening {
            Opening::Cdev { iommufd } => {
                let node = tree.character_device(&folder).ok_or_else(|| {
                    missing("it has no node of its own: bind it to vfio-pci; the kernel needs CONFIG_VFIO_DEVICE_CDEV")
                })?;
                let descriptor = open_node(&tree.node("vfio/devices").join(node))?;
                let id = bind(descriptor.as_fd(), iommufd, name)?;
                (Link::Cdev { id, attached: Mutex::new(None) }, descriptor)
            }
            Opening::Group { container } => {
                if tree.is_mediated(name) {
                    // Safe code could give memory back that such a device reaches later.
                    return Err(Error::not_supported(
                        format!("{name} in a container"),
                        "a mediated device looks mappings up by this process's addresses when it uses them; open it by \
                         its own node",
                    ));
                }
                let group = container.group(group()?)?;
                let descriptor = group.device(name)?;
                (Link::Group(group), descriptor)
            }
            Opening::NoIommu => {
                if !tree.group_is_made_up(&folder) {
                    return Err(missing(super::no_iommu::HOW_TO_ENABLE));
                }
                let group = Group::open(&tree, group()?, Kind::MadeUp)?;
                let container = Container::open(&tree)?;
                group.join(container.as_fd())?;
                container.number(call::SET_IOMMU, VFIO_NOIOMMU_IOMMU as usize)?;
                let descriptor = group.device(name)?;
                (Link::NoIommu { group, _container: container.descriptor }, descriptor)
            }
        };
        Ok(Self { inner: Inner::new(name.clone(), link, descriptor)? })
    }

    /// Its name.
    pub fn name(&self) -> &DeviceName {
        &self.inner.name
    }

    /// What it is.
    pub fn info(&self) -> &DeviceInfo {
        &self.inner.info
    }

    /// The way that it was opened.
    pub fn way(&self) -> Way {
        match self.inner.link {
            Link::Cdev { .. } => Way::Cdev,
            Link::Group(_) => Way::Group,
            Link::NoIommu { .. } => Way::NoIommu,
        }
    }

    /// What the user must be told about it: that it is behind no IOMMU.
    pub fn warning(&self) -> Option<NoIommuWarning> {
        (self.way() == Way::NoIommu).then(|| NoIommuWarning { device: self.inner.name.clone() })
    }

    /// Its number in the iommufd that it is bound to: what a page table is made for.
    pub fn iommufd_id(&self) -> Option<BoundDevice> {
        match self.inner.link {
            Link::Cdev { id, .. } => Some(BoundDevice(id)),
            _ => None,
        }
    }

    /// Calls `f` with the descriptor that `KVM_DEV_VFIO_FILE` takes: the device's, or its group's when it was opened by it.
    /// (KVM keeps what it is given open. It has to be taken back before [`Self::tear_down`] closes the device in truth.)
    ///
    /// # Errors
    /// [`Error::Missing`] when it was torn down; what `f` answers.
    pub fn with_kvm_file<R>(&self, f: impl FnOnce(BorrowedFd<'_>) -> Result<R, Error>) -> Result<R, Error> {
        self.inner.with(|descriptor| match &self.inner.link {
            Link::Cdev { .. } => f(descriptor),
            Link::Group(group) => f(group.as_fd()),
            Link::NoIommu { group, .. } => f(group.as_fd()),
        })
    }

    fn attached(&self) -> Result<&Mutex<Option<Attached>>, Error> {
        match &self.inner.link {
            Link::Cdev { attached, .. } => Ok(attached),
            Link::Group(group) => Err(Error::argument(
                format!("attaching {}", self.inner.name),
                format!("it was opened by {}: its container is its address space", group.object()),
            )),
            Link::NoIommu { .. } => {
                Err(Error::argument(format!("attaching {}", self.inner.name), "it is behind no IOMMU"))
            }
        }
    }

    /// Attaches it to an IOAS or to a page table of its iommufd, by number. A device that is attached moves over at once,
    /// without a moment in which it is attached to nothing. Answers the number of the page table that it uses.
    ///
    /// # Errors
    /// [`Error::Argument`] when it was not opened by [`Opening::Cdev`]; the kernel's: ENOENT when there is no such object,
    /// EINVAL and EBUSY when it does not suit this device or its group. The former attachment then stays.
    pub fn attach(&self, page_table: u32) -> Result<u32, Error> {
        self.attach_and_keep(page_table, None)
    }

    /// Attaches it to an IOAS, which then stays until the device is attached elsewhere, detached or torn down. Else as
    /// [`Self::attach`].
    ///
    /// # Errors
    /// As [`Self::attach`].
    pub fn attach_ioas(&self, ioas: &Ioas) -> Result<u32, Error> {
        self.attach_and_keep(ioas.id(), Some(ioas.attachment()))
    }

    #[allow(unsafe_code, reason = "an ioctl")]
    fn attach_and_keep(&self, id: u32, ioas: Option<Attachment>) -> Result<u32, Error> {
        let mut attached = self.attached()?.lock().unwrap_or_else(PoisonError::into_inner);
        let argsz = size_of::<vfio_device_attach_iommufd_pt>() as u32;
        let mut attach = vfio_device_attach_iommufd_pt { argsz, pt_id: id, ..Default::default() };
        let object = format!("{} to object {id}", self.inner.name);
        // SAFETY: the call's structure, with its size. What the device reaches by it was mapped for devices.
        self.inner.with(|descriptor| unsafe {
            call::DEVICE_ATTACH_IOMMUFD_PT.with(descriptor, &object, &mut attach)
        })?;
        *attached = Some(Attached { id, _ioas: ioas });
        Ok(attach.pt_id)
    }

    /// Detaches it: its DMA is refused from now on. Nothing to do when it is not attached.
    ///
    /// # Errors
    /// [`Error::Argument`] when it was not opened by [`Opening::Cdev`]; [`Error::Missing`] when it was torn down.
    pub fn detach(&self) -> Result<(), Error> {
        let mut attached = self.attached()?.lock().unwrap_or_else(PoisonError::into_inner);
        if attached.is_some() {
            self.inner.detach()?;
            *attached = None;
        }
        Ok(())
    }

    /// What it is attached to: the number of the IOAS or page table that was asked for.
    pub fn attachment(&self) -> Option<u32> {
        match &self.inner.link {
            Link::Cdev { attached, .. } => {
                attached.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|attached| attached.id)
            }
            _ => None,
        }
    }

    /// Closes everything of it, in order, whoever still has interrupts and mappings of it: its interrupts are disabled, bus
    /// mastering is switched off, it is detached, its mappings are taken away, its descriptor is closed. What a driver's
    /// `unbind` file waits for is done then, unless KVM or another process has the device too.
    ///
    /// A second time it does nothing. Its group stays in its container.
    pub fn tear_down(&self) {
        self.inner.tear_down();
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.inner.tear_down();
    }
}

/// Binds the device to the iommufd. Answers its number there.
#[allow(unsafe_code, reason = "an ioctl")]
fn bind(device: BorrowedFd<'_>, iommufd: BorrowedFd<'_>, name: &DeviceName) -> Result<u32, Error> {
    let mut bind = vfio_device_bind_iommufd {
        // Without the token, which came later.
        argsz: offset_of!(vfio_device_bind_iommufd, token_uuid_ptr) as u32,
        iommufd: iommufd.as_raw_fd(),
        ..Default::default()
    };
    // SAFETY: the call's structure, of which the size covers the first fields. The descriptor is open meanwhile.
    unsafe { call::DEVICE_BIND_IOMMUFD.with(device, name.as_str(), &mut bind) }.map_err(
        |error| match error.errno() {
            Errno::PERM => error.with_help(interrupts_not_isolated("iommufd")),
            Errno::BUSY => error.with_help(
                "its group is open by its own node (/dev/vfio/N), here or in another process, or a \
             device of it belongs to a driver of the kernel",
            ),
            Errno::BADFD => error.with_help("that descriptor is no /dev/iommu"),
            _ => error,
        },
    )?;
    Ok(bind.out_devid)
}
