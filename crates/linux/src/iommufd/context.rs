//! One opening of `/dev/iommu`: the owner of everything else here.
#![allow(unsafe_code, reason = "calls the kernel with structures")]

use super::command::{self, Command};
use crate::Error;
use crate::ioctl::with_structure;
use iommufd_bindings as uapi;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// The node of iommufd.
const NODE: &str = "/dev/iommu";

/// Against what pinned memory is counted.
///
/// A process with `CAP_IPC_LOCK` is not limited in either. Source: drivers/iommu/iommufd/pages.c.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Accounting {
    /// All processes of the user together have the limit of the process that maps. iommufd's own choice.
    #[default]
    User,
    /// Each process has its limit, together with the memory that it locked by `mlock`. What VFIO's type1 does.
    Process,
}

/// iommufd, opened: I/O address spaces, page tables and fault queues are made in it, and each device is bound to it.
///
/// It lives as long as anything that was made in it.
#[derive(Debug)]
pub struct Iommufd {
    descriptor: OwnedFd,
    maps_files: OnceLock<bool>,
    not_destroyed: AtomicU64,
}

impl Iommufd {
    /// Opens `/dev/iommu`.
    ///
    /// # Errors
    /// [`Error::Missing`] when this kernel has no iommufd, or its module is not loaded. The kernel's, EACCES as a rule.
    pub fn open() -> Result<Arc<Self>, Error> {
        Self::open_at(Path::new(NODE))
    }

    fn open_at(node: &Path) -> Result<Arc<Self>, Error> {
        let descriptor = open(node, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| match errno {
            Errno::NOENT | Errno::NXIO | Errno::NODEV => Error::Missing {
                what: node.display().to_string(),
                help: "load the module with `modprobe iommufd`; a kernel without CONFIG_IOMMUFD (Debian's, say) has \
                       only VFIO's type1 containers"
                    .into(),
            },
            Errno::ACCESS | Errno::PERM => Error::system("open", node.display().to_string(), errno)
                .with_help("run as root, or give your user the node by a udev rule"),
            errno => Error::system("open", node.display().to_string(), errno),
        })?;
        Ok(Arc::new(Self { descriptor, maps_files: OnceLock::new(), not_destroyed: AtomicU64::new(0) }))
    }

    /// Whether the kernel maps files by descriptor (`IOMMU_IOAS_MAP_FILE`, Linux 6.13): asked once.
    pub fn maps_files(&self) -> bool {
        *self.maps_files.get_or_init(|| {
            let mut request = uapi::iommu_ioas_map_file {
                size: size_of::<uapi::iommu_ioas_map_file>() as u32,
                ..Default::default()
            };
            // SAFETY: without a permission in `flags` the kernel refuses it (EINVAL) before it looks at anything else.
            let answer = unsafe { self.call(command::IOAS_MAP_FILE, &mut request) };
            answer != Err(Errno::NOTTY)
        })
    }

    /// Behaves from now on as on a kernel that does not map files by descriptor. Only before [`Iommufd::maps_files`] was asked
    /// first, which mapping does.
    pub(super) fn do_without_map_file(&self) -> bool {
        self.maps_files.set(false).is_ok()
    }

    /// Against what pinned memory is counted here.
    ///
    /// # Errors
    /// The kernel's.
    pub fn accounting(&self) -> Result<Accounting, Error> {
        let value = self.option(uapi::iommufd_option_IOMMU_OPTION_RLIMIT_MODE, 0, None, "iommufd")?;
        match value {
            0 => Ok(Accounting::User),
            1 => Ok(Accounting::Process),
            other => {
                Err(Error::Garbage { object: "iommufd".into(), what: format!("accounting mode {other}") })
            }
        }
    }

    /// Chooses against what pinned memory is counted. Only before anything was made here.
    ///
    /// # Errors
    /// The kernel's: EPERM without `CAP_SYS_RESOURCE`, EBUSY when something was made already.
    pub fn set_accounting(&self, accounting: Accounting) -> Result<(), Error> {
        let value = match accounting {
            Accounting::User => 0,
            Accounting::Process => 1,
        };
        self.option(uapi::iommufd_option_IOMMU_OPTION_RLIMIT_MODE, 0, Some(value), "iommufd")
            .map(drop)
            .map_err(|error| match error.errno() {
                Errno::PERM => error.with_help("this needs CAP_SYS_RESOURCE"),
                Errno::BUSY => error.with_help("choose before the first address space is made"),
                _ => error,
            })
    }

    /// How many objects the kernel did not give up when they were dropped, because something still used them. They go when
    /// every descriptor of this iommufd and of the devices bound to it is closed.
    pub fn not_destroyed(&self) -> u64 {
        self.not_destroyed.load(Ordering::Relaxed)
    }

    /// Reads an option, or sets it.
    pub(super) fn option(
        &self,
        option: u32,
        object: u32,
        value: Option<u64>,
        name: &str,
    ) -> Result<u64, Error> {
        let operation = match value {
            Some(_) => uapi::iommufd_option_ops_IOMMU_OPTION_OP_SET,
            None => uapi::iommufd_option_ops_IOMMU_OPTION_OP_GET,
        };
        let mut request = uapi::iommu_option {
            size: size_of::<uapi::iommu_option>() as u32,
            option_id: option,
            op: operation as u16,
            object_id: object,
            val64: value.unwrap_or(0),
            ..Default::default()
        };
        // SAFETY: the structure of the call, without addresses.
        unsafe { self.call(command::OPTION, &mut request) }
            .map_err(|errno| Error::system(command::OPTION.name, name, errno))?;
        Ok(request.val64)
    }

    /// Makes a call.
    ///
    /// # Safety
    /// `T` is the structure of `command`, its size field says so, and the addresses inside are good for what the call does.
    pub(super) unsafe fn call<T>(&self, command: Command, structure: &mut T) -> Result<i32, Errno> {
        // SAFETY: the caller's promise.
        unsafe { with_structure(&self.descriptor, command.opcode, structure) }
    }

    /// Gives an object up.
    pub(super) fn destroy(&self, id: u32) -> Result<(), Errno> {
        let mut request = uapi::iommu_destroy { size: size_of::<uapi::iommu_destroy>() as u32, id };
        // SAFETY: the structure of the call, without addresses.
        let answer = unsafe { self.call(command::DESTROY, &mut request) };
        if answer.is_err() {
            self.not_destroyed.fetch_add(1, Ordering::Relaxed);
        }
        answer.map(drop)
    }
}

impl AsFd for Iommufd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_it_is_told_how_to_get_it() {
        let error = Iommufd::open_at(Path::new("/nonexistent/iommu")).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Missing { .. }), "{error:?}");
        assert!(text.contains("modprobe iommufd") && text.contains("CONFIG_IOMMUFD"), "{text}");
    }
}
