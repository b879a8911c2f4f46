//! IOMMU groups: what the IOMMU cannot tell apart, and what is therefore opened together.

use super::call::{self, new_descriptor};
use super::name::DeviceName;
use super::node::open_node;
use super::probe::in_the_way;
use super::sysfs::Tree;
use crate::Error;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use vfio_bindings::bindings::vfio::{VFIO_GROUP_FLAGS_VIABLE, vfio_group_status};

/// An open group. The kernel opens each only once.
#[derive(Debug)]
pub(crate) struct Group {
    number: u32,
    object: String,
    descriptor: OwnedFd,
}

/// Whether a group has an IOMMU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Real,
    /// Made up by VFIO: `/dev/vfio/noiommu-0`.
    MadeUp,
}

impl Group {
    /// Opens it, and checks that all its devices can be given to user space.
    pub(crate) fn open(tree: &Tree, number: u32, kind: Kind) -> Result<Self, Error> {
        let prefix = match kind {
            Kind::Real => "",
            Kind::MadeUp => "noiommu-",
        };
        let path = tree.node(&format!("vfio/{prefix}{number}"));
        let descriptor = open_node(&path)?;
        let group = Self { number, object: path.display().to_string(), descriptor };
        if !group.is_viable()? {
            let others: Vec<_> =
                tree.members(number).into_iter().filter(|member| member.is_in_the_way()).collect();
            let why = if others.is_empty() {
                "its devices do DMA for a driver of the kernel, or for another program".to_owned()
            } else {
                in_the_way(number, &others)
            };
            return Err(call::GROUP_GET_STATUS
                .failed(&group.object, Errno::PERM)
                .with_help(format!("not viable: {why}")));
        }
        Ok(group)
    }

    pub(crate) const fn number(&self) -> u32 {
        self.number
    }

    /// How messages call it.
    pub(crate) fn object(&self) -> &str {
        &self.object
    }

    #[allow(unsafe_code, reason = "an ioctl")]
    fn is_viable(&self) -> Result<bool, Error> {
        let mut status = vfio_group_status { argsz: size_of::<vfio_group_status>() as u32, flags: 0 };
        // SAFETY: the call's structure, with its size.
        unsafe { call::GROUP_GET_STATUS.with(&self.descriptor, &self.object, &mut status) }?;
        Ok(status.flags & VFIO_GROUP_FLAGS_VIABLE != 0)
    }

    /// Whether the kernel still knows it: it forgets a group with the last of its devices, whoever has it open.
    pub(crate) fn is_alive(&self) -> bool {
        self.is_viable().is_ok()
    }

    /// Lets it join the container.
    #[allow(unsafe_code, reason = "an ioctl")]
    pub(crate) fn join(&self, container: BorrowedFd<'_>) -> Result<(), Error> {
        let mut number = container.as_raw_fd();
        // SAFETY: the call reads one int, a descriptor, which is open meanwhile.
        unsafe { call::GROUP_SET_CONTAINER.with(&self.descriptor, &self.object, &mut number) }?;
        Ok(())
    }

    /// Opens a device of it. It must have joined a container.
    #[allow(unsafe_code, reason = "an ioctl")]
    pub(crate) fn device(&self, name: &DeviceName) -> Result<OwnedFd, Error> {
        let mut text = [0_u8; 256];
        text.iter_mut().zip(name.as_str().bytes()).for_each(|(to, from)| *to = from);
        let call = call::GROUP_GET_DEVICE_FD;
        let object = format!("{name} in {}", self.object);
        // SAFETY: the call reads a text up to its NUL. A name has at most 255 bytes.
        let answer =
            unsafe { call.with(&self.descriptor, &object, &mut text) }.map_err(|error| {
                match error.errno() {
                    Errno::NODEV => error.with_help("bind the device to vfio-pci"),
                    _ => error,
                }
            })?;
        // SAFETY: the call makes a descriptor.
        unsafe { new_descriptor(call, &object, answer) }
    }
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
