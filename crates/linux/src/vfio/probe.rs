//! Which ways to a device there are on this machine.

use super::name::DeviceName;
use super::sysfs::{Tree, is_vfio};
use crate::Error;
use rustix::fs::Access as FileAccess;
use std::fmt;
use std::path::Path;

/// A way to open a device.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Way {
    /// The device's own node (`/dev/vfio/devices/vfio0`), with address spaces of iommufd. Linux 6.6 and newer, where it is
    /// configured.
    Cdev,
    /// The node of its IOMMU group (`/dev/vfio/12`), with a type 1 container. Everywhere.
    Group,
    /// The node of a group that VFIO made up (`/dev/vfio/noiommu-0`), for a device without an IOMMU: it reaches all of the
    /// machine's memory.
    NoIommu,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cdev => "iommufd",
            Self::Group => "type1",
            Self::NoIommu => "no-iommu",
        })
    }
}

/// Whether a way is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// As far as can be told without opening it.
    Open,
    /// No.
    Closed,
}

/// A way, and whether it leads to the device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The way.
    pub way: Way,
    /// Whether it is open.
    pub verdict: Verdict,
    /// Why, and if not, what would help.
    pub reason: String,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Open => "yes",
            Verdict::Closed => "no",
        };
        write!(f, "{}: {verdict}, {}", self.way, self.reason)
    }
}

/// The ways to the device `name`, the best first, each with the reason why it is open or not.
///
/// # Errors
/// [`Error::Missing`] when there is no such device.
pub fn probe(name: &DeviceName) -> Result<Vec<Candidate>, Error> {
    probe_in(&Tree::default(), name)
}

pub(crate) fn probe_in(tree: &Tree, name: &DeviceName) -> Result<Vec<Candidate>, Error> {
    let device = tree.device(name)?;
    let ways: [(Way, Prober); 3] = [(Way::Cdev, cdev), (Way::Group, group), (Way::NoIommu, no_iommu)];
    let candidate =
        |(way, prober): (Way, Prober)| match bound(tree, &device).and_then(|()| prober(tree, &device)) {
            Ok(reason) => Candidate { way, verdict: Verdict::Open, reason },
            Err(reason) => Candidate { way, verdict: Verdict::Closed, reason },
        };
    Ok(ways.into_iter().map(candidate).collect())
}

type Prober = fn(&Tree, &Path) -> Result<String, String>;

fn bound(tree: &Tree, device: &Path) -> Result<(), String> {
    match tree.driver(device) {
        Some(driver) if is_vfio(&driver) => Ok(()),
        Some(driver) => Err(format!("driver {driver} has the device: bind it to vfio-pci")),
        None => Err("no driver has the device: bind it to vfio-pci".into()),
    }
}

fn accessible(node: &Path, missing: &str) -> Result<(), String> {
    if !node.exists() {
        return Err(format!("{} is missing: {missing}", node.display()));
    }
    rustix::fs::access(node, FileAccess::READ_OK | FileAccess::WRITE_OK).map_err(|_| {
        format!("{} cannot be opened for reading and writing: chown it to this user", node.display())
    })
}

fn cdev(tree: &Tree, device: &Path) -> Result<String, String> {
    if tree.group_is_made_up(device) {
        return Err("the device is behind no IOMMU".into());
    }
    accessible(
        &tree.node("iommu"),
        "modprobe iommufd; the kernel needs CONFIG_IOMMUFD, which Debian's does not have",
    )?;
    let node = tree
        .character_device(device)
        .ok_or("the device has no node of its own: the kernel needs CONFIG_VFIO_DEVICE_CDEV")?;
    let node = tree.node("vfio/devices").join(node);
    accessible(&node, "is /dev a devtmpfs?")?;
    Ok(format!("{} with /dev/iommu", node.display()))
}

fn group(tree: &Tree, device: &Path) -> Result<String, String> {
    if tree.group_is_made_up(device) {
        return Err("the device is behind no IOMMU".into());
    }
    let number = tree.group(device).ok_or(
        "the device is in no IOMMU group: switch the IOMMU on in the firmware, and by intel_iommu=on for Intel's",
    )?;
    accessible(&tree.node("vfio/vfio"), "modprobe vfio_iommu_type1; the kernel needs CONFIG_VFIO_CONTAINER")?;
    let node = tree.node("vfio").join(number.to_string());
    accessible(&node, "the kernel needs CONFIG_VFIO_GROUP")?;
    let others: Vec<_> = tree.members(number).into_iter().filter(|member| member.is_in_the_way()).collect();
    if others.is_empty() {
        Ok(format!("{} with a container", node.display()))
    } else {
        Err(in_the_way(number, &others))
    }
}

fn no_iommu(tree: &Tree, device: &Path) -> Result<String, String> {
    if !tree.group_is_made_up(device) {
        if tree.group(device).is_some() {
            return Err("the device is behind an IOMMU, which is safer".into());
        }
        return Err(super::no_iommu::HOW_TO_ENABLE.into());
    }
    let number = tree.group(device).ok_or("its group has no number")?;
    let node = tree.node(&format!("vfio/noiommu-{number}"));
    accessible(&node, "unbind the device and bind it again")?;
    Ok(format!("{}: the device reaches all of the machine's memory", node.display()))
}

/// Says who keeps a group from being used.
pub(crate) fn in_the_way(group: u32, others: &[super::sysfs::Member]) -> String {
    let names: Vec<String> = others
        .iter()
        .map(|other| format!("{} (driver {})", other.name, other.driver.as_deref().unwrap_or("none")))
        .collect();
    format!(
        "in IOMMU group {group} with it: {}; bind these to vfio-pci as well, or unbind them",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// A machine in a folder: one device in group 7, and what else a test adds.
    fn machine(driver: &str) -> (tempfile::TempDir, Tree, DeviceName) {
        let root = tempfile::tempdir().unwrap();
        let device = root.path().join("sys/bus/pci/devices/0000:00:04.0");
        fs::create_dir_all(device.join("vfio-dev/vfio3")).unwrap();
        symlink(format!("../../drivers/{driver}"), device.join("driver")).unwrap();
        let group = root.path().join("sys/kernel/iommu_groups/7");
        fs::create_dir_all(group.join("devices")).unwrap();
        symlink(&group, device.join("iommu_group")).unwrap();
        symlink(&device, group.join("devices/0000:00:04.0")).unwrap();
        let dev = root.path().join("dev");
        fs::create_dir_all(dev.join("vfio/devices")).unwrap();
        for node in ["iommu", "vfio/vfio", "vfio/7", "vfio/devices/vfio3"] {
            fs::write(dev.join(node), []).unwrap();
        }
        let tree = Tree::below(root.path());
        (root, tree, DeviceName::new("0000:00:04.0").unwrap())
    }

    fn verdicts(tree: &Tree, name: &DeviceName) -> [Verdict; 3] {
        let found = probe_in(tree, name).unwrap();
        assert_eq!(
            found.iter().map(|found| found.way).collect::<Vec<_>>(),
            [Way::Cdev, Way::Group, Way::NoIommu]
        );
        std::array::from_fn(|index| found[index].verdict)
    }

    fn reason(tree: &Tree, name: &DeviceName, way: Way) -> String {
        probe_in(tree, name).unwrap().into_iter().find(|found| found.way == way).unwrap().reason
    }

    #[test]
    fn both_ways_are_open() {
        let (_root, tree, name) = machine("vfio-pci");
        assert_eq!(verdicts(&tree, &name), [Verdict::Open, Verdict::Open, Verdict::Closed]);
        assert!(reason(&tree, &name, Way::NoIommu).contains("behind an IOMMU"));
    }

    #[test]
    fn a_kernel_without_iommufd_leaves_the_group() {
        let (root, tree, name) = machine("vfio-pci");
        fs::remove_file(root.path().join("dev/iommu")).unwrap();
        assert_eq!(verdicts(&tree, &name), [Verdict::Closed, Verdict::Open, Verdict::Closed]);
        assert!(reason(&tree, &name, Way::Cdev).contains("CONFIG_IOMMUFD"));
    }

    #[test]
    fn another_driver_is_named() {
        let (_root, tree, name) = machine("nvme");
        assert_eq!(verdicts(&tree, &name), [Verdict::Closed; 3]);
        assert!(reason(&tree, &name, Way::Group).contains("driver nvme"));
    }

    #[test]
    fn who_is_in_the_way_is_named() {
        let (root, tree, name) = machine("vfio-pci");
        for (other, driver) in
            [("0000:00:04.1", Some("ahci")), ("0000:00:04.2", None), ("0000:00:04.3", Some("pcieport"))]
        {
            let device = root.path().join("sys/kernel/iommu_groups/7/devices").join(other);
            fs::create_dir_all(&device).unwrap();
            if let Some(driver) = driver {
                symlink(format!("../../drivers/{driver}"), device.join("driver")).unwrap();
            }
        }
        assert_eq!(verdicts(&tree, &name), [Verdict::Open, Verdict::Closed, Verdict::Closed]);
        let reason = reason(&tree, &name, Way::Group);
        assert!(reason.contains("group 7 with it: 0000:00:04.1 (driver ahci);"), "{reason}");
    }

    #[test]
    fn without_a_group_the_switch_is_named() {
        let (root, tree, name) = machine("vfio-pci");
        fs::remove_file(root.path().join("sys/bus/pci/devices/0000:00:04.0/iommu_group")).unwrap();
        assert!(reason(&tree, &name, Way::Group).contains("intel_iommu=on"));
        assert!(reason(&tree, &name, Way::NoIommu).contains("enable_unsafe_noiommu_mode"));
    }

    #[test]
    fn a_group_that_vfio_made_up_is_no_iommu() {
        let (root, tree, name) = machine("vfio-pci");
        fs::write(root.path().join("sys/kernel/iommu_groups/7/name"), "vfio-noiommu\n").unwrap();
        fs::write(root.path().join("dev/vfio/noiommu-7"), []).unwrap();
        assert_eq!(verdicts(&tree, &name), [Verdict::Closed, Verdict::Closed, Verdict::Open]);
    }

    #[test]
    fn a_device_that_is_not_there() {
        let (_root, tree, _) = machine("vfio-pci");
        let text = probe_in(&tree, &DeviceName::new("0000:00:05.0").unwrap()).unwrap_err().to_string();
        assert!(text.contains("device 0000:00:05.0 is missing"), "{text}");
    }
}
