//! What a PCI device says it is.

use super::{Host, read};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A PCI function's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Identity {
    /// Who made it.
    pub vendor: u16,
    /// The maker's number for it.
    pub device: u16,
    /// Base class, subclass and programming interface, of 8 bits each.
    pub class: u32,
    /// The maker's revision.
    pub revision: u8,
}

impl Identity {
    pub(super) fn read(folder: &Path) -> Option<Self> {
        let number = |name: &str| read::number(&folder.join(name));
        Some(Self {
            vendor: number("vendor")?.try_into().ok()?,
            device: number("device")?.try_into().ok()?,
            class: number("class")?.try_into().ok().filter(|class| *class < 1 << 24)?,
            revision: number("revision").and_then(|number| number.try_into().ok()).unwrap_or(0),
        })
    }

    /// What it is called: by its class, and where that says nothing, by the kind of virtio device.
    pub fn class_name(&self) -> &'static str {
        match (class_name(self.class), self.vendor, self.device) {
            ("device", 0x1af4, 0x1000..=0x107f) => virtio_name(self.device),
            (name, ..) => name,
        }
    }
}

/// Whether the PCI function in this sysfs folder is a bridge: its configuration header is not an ordinary one, which VFIO
/// refuses (drivers/vfio/pci/vfio_pci_core.c). Where the header cannot be read, the class tells.
pub(super) fn is_bridge(folder: &Path) -> bool {
    // Offset 0x0e, whose highest bit says that there are more functions.
    const HEADER_TYPE: usize = 0x0e;
    match read::bytes(&folder.join("config"), 64) {
        Ok(config) if config.len() > HEADER_TYPE => config[HEADER_TYPE] & 0x7f != 0,
        _ => read::number(&folder.join("class"))
            .is_some_and(|class| matches!(class >> 8, 0x604 | 0x607 | 0x609)),
    }
}

/// Source: virtio specification 1.3, 4.1.2 (device numbers are 0x1040 and the type) and 5 (types).
const fn virtio_name(device: u16) -> &'static str {
    match device {
        0x1002 | 0x1045 => "virtio memory balloon",
        0x1003 | 0x1043 => "virtio console",
        0x1005 | 0x1044 => "virtio random numbers",
        0x1009 | 0x1049 => "virtio 9P",
        0x1052 => "virtio input",
        0x1053 => "virtio socket",
        0x1057 => "virtio IOMMU",
        0x1058 => "virtio memory",
        0x105a => "virtio file system",
        0x105b => "virtio persistent memory",
        _ => "virtio device",
    }
}

/// The name of a PCI class code. Source: PCI Code and ID Assignment Specification, section 1.
fn class_name(class: u32) -> &'static str {
    match (class >> 16 & 0xff, class >> 8 & 0xff, class & 0xff) {
        (0x01, 0x00, _) => "SCSI controller",
        (0x01, 0x01, _) => "IDE controller",
        (0x01, 0x04, _) => "RAID controller",
        (0x01, 0x06, _) => "SATA controller",
        (0x01, 0x07, _) => "SAS controller",
        (0x01, 0x08, _) => "NVMe controller",
        (0x01, ..) => "storage controller",
        (0x02, 0x00, _) => "Ethernet controller",
        (0x02, 0x07, _) => "InfiniBand controller",
        (0x02, ..) => "network controller",
        (0x03, 0x00, _) => "VGA controller",
        (0x03, 0x02, _) => "3D controller",
        (0x03, ..) => "display controller",
        (0x04, 0x01 | 0x03, _) => "audio device",
        (0x04, ..) => "multimedia controller",
        (0x05, ..) => "memory controller",
        (0x06, 0x00, _) => "host bridge",
        (0x06, 0x01, _) => "ISA bridge",
        (0x06, 0x04, _) => "PCI bridge",
        (0x06, ..) => "bridge",
        (0x07, 0x00, _) => "serial port",
        (0x07, ..) => "communication controller",
        (0x08, 0x06, _) => "IOMMU",
        (0x08, ..) => "system peripheral",
        (0x09, ..) => "input controller",
        (0x0c, 0x03, 0x30) => "USB 3 controller",
        (0x0c, 0x03, _) => "USB controller",
        (0x0c, 0x05, _) => "SMBus",
        (0x0c, ..) => "serial bus controller",
        (0x0d, ..) => "wireless controller",
        (0x10, ..) => "encryption controller",
        (0x11, ..) => "signal processing controller",
        (0x12, ..) => "processing accelerator",
        (0x13, ..) => "non-essential instrumentation",
        _ => "device",
    }
}

/// The names of makers and devices, for those that are asked for.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: BTreeMap<(u16, Option<u16>), String>,
}

impl Names {
    /// Looks them up in the list that distributions install. Without one there are no names.
    /// Source of its form: its own header, <https://pci-ids.ucw.cz>.
    pub(super) fn look_up(host: &Host, wanted: &BTreeSet<(u16, u16)>) -> Self {
        let places = ["usr/share/hwdata/pci.ids", "usr/share/misc/pci.ids", "var/lib/pciutils/pci.ids"];
        let Some(list) = places.iter().find_map(|place| read::maybe(&host.path(place))) else {
            return Self::default();
        };
        let mut names = BTreeMap::new();
        let mut maker = None;
        for line in list.lines() {
            let entry = line.trim_start_matches('\t');
            let number = |entry: &str| u16::from_str_radix(entry.get(..4)?, 16).ok();
            let name = || entry.get(4..).map(|name| name.trim().to_owned());
            match line.len() - entry.len() {
                // Classes follow the makers: `C 01  Mass storage controller`.
                0 if line.starts_with("C ") => break,
                0 if line.starts_with('#') => {}
                0 => {
                    let known = |number: &u16| wanted.iter().any(|(vendor, _)| vendor == number);
                    maker = number(entry).filter(known);
                    if let (Some(maker), Some(name)) = (maker, name()) {
                        names.insert((maker, None), name);
                    }
                }
                1 => {
                    if let (Some(maker), Some(device)) = (maker, number(entry))
                        && wanted.contains(&(maker, device))
                        && let Some(name) = name()
                    {
                        names.insert((maker, Some(device)), name);
                    }
                }
                _ => {}
            }
        }
        Self { names }
    }

    /// Maker and device in words, as far as they are known.
    pub(super) fn of(&self, identity: &Identity) -> Option<String> {
        let maker = self.names.get(&(identity.vendor, None))?;
        let device = self.names.get(&(identity.vendor, Some(identity.device)));
        Some(device.map_or_else(|| maker.clone(), |device| format!("{maker} {device}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_names() {
        for (class, name) in [
            (0x010802, "NVMe controller"),
            (0x0c0330, "USB 3 controller"),
            (0x060400, "PCI bridge"),
            (0xff0000, "device"),
        ] {
            assert_eq!(class_name(class), name);
        }
    }

    #[test]
    fn names_come_from_the_list() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("usr/share/misc/pci.ids");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let list = "# list\n1234  Technical Corp.\n\t11e8  Edu\n\t\t1234 11e8  Board\n8086  Intel\nü\n\t11e8  Other\nC 01  Storage\n\t08  x\n";
        std::fs::write(file, list).unwrap();
        let names =
            Names::look_up(&Host::at(folder.path()), &BTreeSet::from([(0x1234, 0x11e8), (0x8086, 1)]));
        let identity = |vendor, device| Identity { vendor, device, class: 0, revision: 0 };
        assert_eq!(names.of(&identity(0x1234, 0x11e8)).unwrap(), "Technical Corp. Edu");
        assert_eq!(names.of(&identity(0x8086, 1)).unwrap(), "Intel");
        assert_eq!(names.of(&identity(1, 1)), None);
    }
}
