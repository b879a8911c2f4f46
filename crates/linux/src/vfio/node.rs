//! Opening the nodes under `/dev`.

use crate::Error;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use std::path::Path;

/// Opens a node for reading and writing, and says what to do when that fails.
pub(crate) fn open_node(path: &Path) -> Result<OwnedFd, Error> {
    open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| {
        let failed = Error::system("open", path.display().to_string(), errno);
        match errno {
            Errno::NOENT => failed.with_help("is the module loaded, and the device bound to vfio-pci?"),
            Errno::ACCESS => failed.with_help("chown the node to this user, or run as root"),
            Errno::PERM => failed.with_help("a device without an IOMMU needs CAP_SYS_RAWIO"),
            Errno::BUSY => failed.with_help(
                "another process has it open; a group can be open once, and not while one of its devices is open by \
                 its own node",
            ),
            Errno::NODEV => failed.with_help("the device is just being taken away"),
            _ => failed,
        }
    })
}

/// What to do about EPERM where interrupts cannot be isolated: `module` has the parameter (drivers/iommu/iommufd/device.c
/// and drivers/vfio/vfio_iommu_type1.c).
pub(crate) fn interrupts_not_isolated(module: &str) -> String {
    format!(
        "this platform does not keep a device from raising other devices' interrupts (no interrupt remapping): switch it on \
         in the firmware, or, where the device and its driver are trusted: \
         echo 1 > /sys/module/{module}/parameters/allow_unsafe_interrupts"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_interrupt_remapping_is_told_with_its_switch() {
        let error = Error::system("VFIO_SET_IOMMU", "/dev/vfio/7", Errno::PERM)
            .with_help(interrupts_not_isolated("vfio_iommu_type1"));
        let text = error.to_string();
        assert!(text.contains("no interrupt remapping"), "{text}");
        assert!(text.contains("/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts"), "{text}");
        assert_eq!(error.errno(), Errno::PERM);
    }

    #[test]
    fn a_node_that_is_not_there() {
        let error = open_node(Path::new("/dev/vfio/there-is-no-such-node")).unwrap_err();
        assert_eq!(error.errno(), Errno::NOENT);
        assert!(error.to_string().contains("is the module loaded"), "{error}");
    }
}
