//! The numbers of iommufd's calls.
//!
//! Source: include/uapi/linux/iommufd.h. Every call is `_IO(';', number)`: its structure begins with its own size, so that
//! kernel and program can be of different ages.

use rustix::ioctl::{Opcode, opcode};

/// A call, with the name that the kernel's header has for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Command {
    /// `IOMMU_IOAS_MAP`, say.
    pub name: &'static str,
    /// The number that the kernel knows it by.
    pub opcode: Opcode,
}

macro_rules! commands {
    ($($name:ident = $kernel:literal, $number:expr;)*) => {
        $(
            #[doc = concat!("`", $kernel, "`.")]
            pub const $name: Command = Command {
                name: $kernel,
                opcode: opcode::none(iommufd_bindings::IOMMUFD_TYPE, $number as u8),
            };
        )*

        /// All of them.
        pub const ALL: &[Command] = &[$($name),*];
    };
}

commands! {
    DESTROY = "IOMMU_DESTROY", iommufd_bindings::IOMMUFD_CMD_DESTROY;
    IOAS_ALLOC = "IOMMU_IOAS_ALLOC", iommufd_bindings::IOMMUFD_CMD_IOAS_ALLOC;
    IOAS_ALLOW_IOVAS = "IOMMU_IOAS_ALLOW_IOVAS", iommufd_bindings::IOMMUFD_CMD_IOAS_ALLOW_IOVAS;
    IOAS_COPY = "IOMMU_IOAS_COPY", iommufd_bindings::IOMMUFD_CMD_IOAS_COPY;
    IOAS_IOVA_RANGES = "IOMMU_IOAS_IOVA_RANGES", iommufd_bindings::IOMMUFD_CMD_IOAS_IOVA_RANGES;
    IOAS_MAP = "IOMMU_IOAS_MAP", iommufd_bindings::IOMMUFD_CMD_IOAS_MAP;
    IOAS_MAP_FILE = "IOMMU_IOAS_MAP_FILE", iommufd_bindings::IOMMUFD_CMD_IOAS_MAP_FILE;
    IOAS_UNMAP = "IOMMU_IOAS_UNMAP", iommufd_bindings::IOMMUFD_CMD_IOAS_UNMAP;
    OPTION = "IOMMU_OPTION", iommufd_bindings::IOMMUFD_CMD_OPTION;
    HWPT_ALLOC = "IOMMU_HWPT_ALLOC", iommufd_bindings::IOMMUFD_CMD_HWPT_ALLOC;
    HWPT_SET_DIRTY_TRACKING = "IOMMU_HWPT_SET_DIRTY_TRACKING", iommufd_bindings::IOMMUFD_CMD_HWPT_SET_DIRTY_TRACKING;
    HWPT_GET_DIRTY_BITMAP = "IOMMU_HWPT_GET_DIRTY_BITMAP", iommufd_bindings::IOMMUFD_CMD_HWPT_GET_DIRTY_BITMAP;
    GET_HW_INFO = "IOMMU_GET_HW_INFO", iommufd_bindings::IOMMUFD_CMD_GET_HW_INFO;
    FAULT_QUEUE_ALLOC = "IOMMU_FAULT_QUEUE_ALLOC", iommufd_bindings::IOMMUFD_CMD_FAULT_QUEUE_ALLOC;
}
