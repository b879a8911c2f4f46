//! Devices without an IOMMU.

use super::name::DeviceName;
use std::fmt;

/// What opens this way, where there is no other.
pub(crate) const HOW_TO_ENABLE: &str = "the device is in no IOMMU group; if the machine has no IOMMU, and the device and its \
     driver are trusted with all of its memory: echo 1 > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode, and bind \
     the device again";

/// What whoever opened a device without an IOMMU must be told. A program prints it.
///
/// Addresses that such a device is given are physical ones, and nothing checks them: one wrong address, and it writes into
/// another program or into the kernel. The kernel marks itself as tainted.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "the user has to be told"]
pub struct NoIommuWarning {
    pub(crate) device: DeviceName,
}

impl NoIommuWarning {
    /// The device.
    pub const fn device(&self) -> &DeviceName {
        &self.device
    }
}

impl fmt::Display for NoIommuWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "WARNING: {} is behind no IOMMU. It reads and writes all of the machine's memory: one wrong address damages other \
             programs or the kernel. The kernel is tainted from now on.",
            self.device
        )
    }
}
