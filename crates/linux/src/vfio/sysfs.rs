//! What sysfs and the nodes under `/dev` tell about a device that VFIO may give.

use super::name::DeviceName;
use crate::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// The buses with VFIO drivers (drivers/vfio).
const BUSES: [&str; 6] = ["pci", "platform", "amba", "mdev", "cdx", "fsl-mc"];

/// Where sysfs and the nodes are. Elsewhere in tests only.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    sys: PathBuf,
    dev: PathBuf,
}

/// What has a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) driver: Option<String>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { sys: "/sys".into(), dev: "/dev".into() }
    }
}

fn last_component(link: &Path) -> Option<String> {
    Some(fs::read_link(link).ok()?.file_name()?.to_string_lossy().into_owned())
}

impl Tree {
    #[cfg(test)]
    pub(crate) fn below(root: &Path) -> Self {
        Self { sys: root.join("sys"), dev: root.join("dev") }
    }

    /// The device's folder.
    pub(crate) fn device(&self, name: &DeviceName) -> Result<PathBuf, Error> {
        let places = BUSES.map(|bus| self.sys.join("bus").join(bus).join("devices").join(name.as_str()));
        places.into_iter().find(|path| path.exists()).ok_or_else(|| Error::Missing {
            what: format!("device {name}"),
            help: "names are those in /sys/bus/pci/devices and /sys/bus/platform/devices".into(),
        })
    }

    /// Whether it is a mediated device: made by software, which does its DMA.
    pub(crate) fn is_mediated(&self, name: &DeviceName) -> bool {
        self.sys.join("bus/mdev/devices").join(name.as_str()).exists()
    }

    /// The driver that has it.
    pub(crate) fn driver(&self, device: &Path) -> Option<String> {
        last_component(&device.join("driver"))
    }

    /// The IOMMU group that it is in.
    pub(crate) fn group(&self, device: &Path) -> Option<u32> {
        last_component(&device.join("iommu_group"))?.parse().ok()
    }

    /// Whether its group is one that VFIO made up for a device without an IOMMU (drivers/vfio/group.c).
    pub(crate) fn group_is_made_up(&self, device: &Path) -> bool {
        fs::read_to_string(device.join("iommu_group/name")).is_ok_and(|name| name.trim() == "vfio-noiommu")
    }

    /// Its character device's name, `vfio0`.
    pub(crate) fn character_device(&self, device: &Path) -> Option<String> {
        let mut entries = fs::read_dir(device.join("vfio-dev")).ok()?.flatten();
        entries.find_map(|entry| entry.file_name().into_string().ok().filter(|name| name.starts_with("vfio")))
    }

    /// The devices of a group.
    pub(crate) fn members(&self, group: u32) -> Vec<Member> {
        let devices = self.sys.join("kernel/iommu_groups").join(group.to_string()).join("devices");
        let entries = fs::read_dir(devices).into_iter().flatten().flatten();
        let mut members: Vec<Member> = entries
            .map(|entry| Member {
                name: entry.file_name().to_string_lossy().into_owned(),
                driver: last_component(&entry.path().join("driver")),
            })
            .collect();
        members.sort_by(|a, b| a.name.cmp(&b.name));
        members
    }

    /// A node: `/dev/vfio/vfio`.
    pub(crate) fn node(&self, path: &str) -> PathBuf {
        self.dev.join(path)
    }
}

impl Member {
    /// Whether it keeps its group from being used. A driver that does its own DMA does; drivers that leave the IOMMU to
    /// others (`driver_managed_dma` in the kernel) do not.
    pub(crate) fn is_in_the_way(&self) -> bool {
        self.driver
            .as_deref()
            .is_some_and(|driver| !is_vfio(driver) && !matches!(driver, "pci-stub" | "pcieport"))
    }
}

/// Whether a driver of this name is one of VFIO's.
pub(crate) fn is_vfio(driver: &str) -> bool {
    driver.contains("vfio")
}
