//! Made-up machines: folders with what sysfs, procfs and /dev would have in them.
#![allow(dead_code, reason = "no test uses all of it")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A machine's file system. Paths have no slash at their start.
pub(crate) struct Tree {
    folder: TempDir,
}

impl Tree {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// One with the buses, and a kernel of this release.
    pub(crate) fn machine(release: &str) -> Self {
        let tree = Self::new();
        for folder in
            ["sys/bus/pci/devices", "sys/bus/platform/devices", "sys/kernel/iommu_groups", "proc/self"]
        {
            tree.folder(folder);
        }
        tree.file("proc/sys/kernel/osrelease", format!("{release}\n"));
        tree.file("sys/bus/pci/drivers_probe", "");
        tree.driver("vfio-pci");
        tree
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    pub(crate) fn folder(&self, path: &str) -> &Self {
        fs::create_dir_all(self.path(path)).unwrap();
        self
    }

    pub(crate) fn file(&self, path: &str, bytes: impl AsRef<[u8]>) -> &Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        self
    }

    /// A relative link from `path` to `target`, both from the root.
    pub(crate) fn link(&self, path: &str, target: &str) -> &Self {
        let link = self.path(path);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&link);
        symlink("../".repeat(path.matches('/').count()) + target, link).unwrap();
        self
    }

    /// A PCI driver.
    pub(crate) fn driver(&self, name: &str) -> &Self {
        for file in ["bind", "unbind", "new_id"] {
            self.file(&format!("sys/bus/pci/drivers/{name}/{file}"), "");
        }
        self
    }

    /// A PCI function. `place` is its folder below `sys/devices`, whose last part is its address; the class tells a bridge.
    pub(crate) fn pci(&self, place: &str, ids: (u16, u16, u32)) -> &Self {
        let (vendor, device, class) = ids;
        let address = place.rsplit('/').next().unwrap();
        let folder = format!("sys/devices/{place}");
        self.file(&format!("{folder}/vendor"), format!("{vendor:#06x}\n"));
        self.file(&format!("{folder}/device"), format!("{device:#06x}\n"));
        self.file(&format!("{folder}/class"), format!("{class:#08x}\n"));
        self.file(&format!("{folder}/revision"), "0x01\n");
        self.file(&format!("{folder}/driver_override"), "(null)\n");
        self.file(&format!("{folder}/numa_node"), "-1\n");
        let mut config = [0; 64];
        config[0x0e] = 0x80 | u8::from(class >> 8 == 0x604);
        self.file(&format!("{folder}/config"), config);
        self.link(&format!("sys/bus/pci/devices/{address}"), &folder)
    }

    /// Binds a PCI function to a driver.
    pub(crate) fn bound(&self, place: &str, driver: &str) -> &Self {
        self.driver(driver);
        self.link(&format!("sys/devices/{place}/driver"), &format!("sys/bus/pci/drivers/{driver}"))
    }

    /// Puts devices, by their folders below `sys/devices`, into an IOMMU group.
    pub(crate) fn group(&self, number: u32, reserved: &str, places: &[&str]) -> &Self {
        let group = format!("sys/kernel/iommu_groups/{number}");
        self.file(&format!("{group}/reserved_regions"), reserved);
        self.file(&format!("{group}/type"), "DMA-FQ\n");
        for place in places {
            let name = place.rsplit('/').next().unwrap();
            self.link(&format!("{group}/devices/{name}"), &format!("sys/devices/{place}"));
            self.link(&format!("sys/devices/{place}/iommu_group"), &group);
        }
        self
    }

    /// A disk at this place below `sys/devices`, and its only partition, which is mounted there.
    pub(crate) fn mounted_disk(&self, place: &str, disk: &str, mount: &str) -> &Self {
        let (folder, part) = (format!("sys/devices/{place}/{disk}"), format!("{disk}p1"));
        self.file(&format!("{folder}/dev"), "259:0\n").folder(&format!("{folder}/holders"));
        self.file(&format!("{folder}/{part}/dev"), "259:1\n").folder(&format!("{folder}/{part}/holders"));
        self.link(&format!("sys/class/block/{disk}"), &folder);
        self.link(&format!("sys/class/block/{part}"), &format!("{folder}/{part}"));
        self.file(
            "proc/self/mountinfo",
            format!("22 1 259:1 / {mount} rw,relatime shared:1 - ext4 /dev/{part} rw\n"),
        )
    }
}

/// What an x86 IOMMU reserves.
pub(crate) const MSI: &str = "0x00000000fee00000 0x00000000feefffff msi\n";
