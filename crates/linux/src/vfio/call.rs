//! The calls of VFIO: their numbers, and a private function for each shape of argument (include/uapi/linux/vfio.h).

use crate::Error;
use crate::ioctl;
use rustix::fd::{AsFd, FromRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, opcode};

/// `_IO(VFIO_TYPE, VFIO_BASE + number)`. All calls of VFIO are made so, whatever their argument: sizes are told in it.
const fn number(number: u8) -> Opcode {
    opcode::none(
        vfio_bindings::bindings::vfio::VFIO_TYPE,
        vfio_bindings::bindings::vfio::VFIO_BASE as u8 + number,
    )
}

/// A call by number and by name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) opcode: Opcode,
    pub(crate) name: &'static str,
}

macro_rules! calls {
    ($($name:ident = $number:literal)*) => {
        $(pub(crate) const $name: Call = Call { opcode: number($number), name: concat!("VFIO_", stringify!($name)) };)*
    };
}

calls! {
    GET_API_VERSION = 0
    CHECK_EXTENSION = 1
    SET_IOMMU = 2
    GROUP_GET_STATUS = 3
    GROUP_SET_CONTAINER = 4
    GROUP_GET_DEVICE_FD = 6
    DEVICE_GET_INFO = 7
    DEVICE_GET_REGION_INFO = 8
    DEVICE_GET_IRQ_INFO = 9
    DEVICE_SET_IRQS = 10
    DEVICE_RESET = 11
    DEVICE_GET_PCI_HOT_RESET_INFO = 12
    IOMMU_GET_INFO = 12
    DEVICE_PCI_HOT_RESET = 13
    IOMMU_MAP_DMA = 13
    IOMMU_UNMAP_DMA = 14
    DEVICE_FEATURE = 17
    IOMMU_DIRTY_PAGES = 17
    DEVICE_BIND_IOMMUFD = 18
    DEVICE_ATTACH_IOMMUFD_PT = 19
    DEVICE_DETACH_IOMMUFD_PT = 20
}

impl Call {
    /// Makes it with a structure.
    ///
    /// # Safety
    /// As [`ioctl::with_structure`].
    #[allow(unsafe_code, reason = "an ioctl is whatever its number says")]
    pub(crate) unsafe fn with<T>(
        self,
        descriptor: impl AsFd,
        object: &str,
        argument: &mut T,
    ) -> Result<i32, Error> {
        // SAFETY: the caller's promise.
        unsafe { ioctl::with_structure(descriptor, self.opcode, argument) }
            .map_err(|errno| self.failed(object, errno))
    }

    /// As [`with`](Self::with), for what is called often: what it was about is put into words only when it fails.
    ///
    /// # Safety
    /// As [`ioctl::with_structure`].
    #[allow(unsafe_code, reason = "an ioctl is whatever its number says")]
    pub(crate) unsafe fn with_named<T>(
        self,
        descriptor: impl AsFd,
        object: impl Fn() -> String,
        argument: &mut T,
    ) -> Result<i32, Error> {
        // SAFETY: the caller's promise.
        unsafe { ioctl::with_structure(descriptor, self.opcode, argument) }
            .map_err(|errno| self.failed(&object(), errno))
    }

    /// Makes it with a number.
    ///
    /// # Safety
    /// As [`ioctl::with_number`].
    #[allow(unsafe_code, reason = "an ioctl is whatever its number says")]
    pub(crate) unsafe fn with_number(
        self,
        descriptor: impl AsFd,
        object: &str,
        argument: usize,
    ) -> Result<i32, Error> {
        // SAFETY: the caller's promise.
        unsafe { ioctl::with_number(descriptor, self.opcode, argument) }
            .map_err(|errno| self.failed(object, errno))
    }

    pub(crate) fn failed(self, object: &str, errno: Errno) -> Error {
        Error::system(self.name, object, errno)
    }
}

/// The descriptor that a call has answered with.
///
/// # Safety
/// `answer` is the answer of a call that makes a descriptor, and nobody else has it.
#[allow(unsafe_code, reason = "the kernel gives descriptors as numbers")]
pub(crate) unsafe fn new_descriptor(call: Call, object: &str, answer: i32) -> Result<OwnedFd, Error> {
    if answer < 0 {
        return Err(Error::Garbage {
            object: object.into(),
            what: format!("{} answered {answer}", call.name),
        });
    }
    // SAFETY: the caller's promise, and it is not negative.
    Ok(unsafe { OwnedFd::from_raw_fd(answer) })
}
