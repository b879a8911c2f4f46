//! Devices, as sysfs shows them.

use super::identity::{Identity, Names, is_bridge};
use super::usage::{Usage, Use};
use super::{Bus, DeviceName, Group, Host, Obstacle, read};
use crate::Error;
use std::collections::BTreeSet;
use std::path::Path;

/// A device that VFIO might take, or might have taken.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Device {
    /// Its bus and name.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub name: DeviceName,
    /// The numbers of a PCI function.
    pub identity: Option<Identity>,
    /// What it is, in words.
    pub about: String,
    /// Whether it is a PCI bridge.
    pub bridge: bool,
    /// The driver that it is bound to.
    pub driver: Option<String>,
    /// The only driver that may bind to it, where that is set.
    pub driver_override: Option<String>,
    /// Its IOMMU group.
    pub group: Option<Group>,
    /// How many bits of an address its IOMMU translates, at most. None when that is not known.
    pub address_bits: Option<u32>,
    /// VFIO's own node for it: `/dev/vfio/devices/vfio0`.
    pub vfio_node: Option<String>,
    /// The NUMA node that it is near to.
    pub numa_node: Option<u32>,
    /// A PCI function's base address registers that are in use.
    pub bars: Vec<Bar>,
    /// What the machine uses it for.
    pub uses: Vec<Use>,
    /// What stands between it and its assignment, the worst first.
    pub obstacles: Vec<Obstacle>,
}

/// A base address register of a PCI function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Bar {
    /// Its number, from 0.
    pub index: u8,
    /// Its length in bytes.
    pub len: u64,
    /// What it leads to.
    pub kind: BarKind,
    /// Whether reading ahead does no harm.
    pub prefetchable: bool,
}

/// What a base address register leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum BarKind {
    /// I/O ports.
    Port,
    /// Memory below 4 GiB.
    Memory32,
    /// Memory anywhere.
    Memory64,
}

impl Host {
    /// Every PCI and platform device, in order of bus and name.
    ///
    /// # Errors
    /// [`Error::Missing`] where there is no sysfs.
    pub fn devices(&self) -> Result<Vec<Device>, Error> {
        if !self.path("sys/bus").is_dir() {
            return Err(Error::Missing {
                what: "/sys/bus".into(),
                help: "mount -t sysfs sysfs /sys, or give the container the host's /sys".into(),
            });
        }
        let usage = Usage::read(self);
        let mut devices = Vec::new();
        for bus in Bus::ALL {
            let folder = self.path(format!("sys/bus/{bus}/devices"));
            let names = read::names(&folder).unwrap_or_default();
            let names = names.iter().filter_map(|name| DeviceName::new(bus, name).ok());
            devices.extend(names.filter_map(|name| self.look_at(name, &usage)));
        }
        self.name(&mut devices);
        Ok(devices)
    }

    /// One device.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is none with this name.
    pub fn device(&self, name: &DeviceName) -> Result<Device, Error> {
        let device = self.look_at(name.clone(), &Usage::read(self)).ok_or_else(|| Error::Missing {
            what: format!("{} device {name}", name.bus()),
            help: format!("`ls /sys/bus/{}/devices` shows those that there are", name.bus()),
        })?;
        let mut devices = [device];
        self.name(&mut devices);
        let [device] = devices;
        Ok(device)
    }

    fn look_at(&self, name: DeviceName, usage: &Usage) -> Option<Device> {
        let folder = self.path(name.folder());
        if !folder.is_dir() {
            return None;
        }
        let pci = name.bus() == Bus::Pci;
        let identity = Identity::read(&folder).filter(|_| pci);
        let bridge = pci && is_bridge(&folder);
        let driver = read::link_name(&folder.join("driver"));
        let group = self.group_of(&name);
        // A bridge's folder has in it all that is behind the bridge.
        let uses =
            if bridge { Vec::new() } else { self.resolve(&folder).map_or_else(Vec::new, |it| usage.of(&it)) };
        let mut device = Device {
            about: identity.map_or_else(|| described(&folder), |identity| identity.class_name().into()),
            bars: if pci { bars(&folder) } else { Vec::new() },
            // The kernel prints nothing's name so.
            driver_override: read::maybe(&folder.join("driver_override")).filter(|name| name != "(null)"),
            address_bits: address_bits(&folder),
            vfio_node: vfio_node(&folder),
            // -1: unknown.
            numa_node: read::maybe(&folder.join("numa_node")).and_then(|node| node.parse().ok()),
            name,
            identity,
            bridge,
            driver,
            group,
            uses,
            obstacles: Vec::new(),
        };
        device.obstacles = self.obstacles(&device);
        Some(device)
    }

    /// Adds makers' names.
    fn name(&self, devices: &mut [Device]) {
        let numbers = |device: &Device| device.identity.map(|identity| (identity.vendor, identity.device));
        let wanted: BTreeSet<_> = devices.iter().filter_map(numbers).collect();
        if wanted.is_empty() {
            return;
        }
        let names = Names::look_up(self, &wanted);
        for device in devices {
            if let Some(name) = device.identity.and_then(|identity| names.of(&identity)) {
                device.about = format!("{}: {name}", device.about);
            }
        }
    }
}

/// What firmware says a platform device is.
fn described(folder: &Path) -> String {
    // Several names, each with a zero after it, the most exact first.
    if let Ok(names) = read::bytes(&folder.join("of_node/compatible"), 256) {
        let first = names.split(|byte| *byte == 0).next().unwrap_or_default();
        return String::from_utf8_lossy(first).into_owned();
    }
    let modalias = read::maybe(&folder.join("modalias")).unwrap_or_default();
    match modalias.split_once(':') {
        Some(("acpi", hardware)) => format!("ACPI {}", hardware.trim_matches(':')),
        _ => "platform device".into(),
    }
}

/// The width of VT-d's addresses, in bits 21 to 16 of its capability register less one. Other IOMMUs do not show theirs in sysfs.
/// Source: drivers/iommu/intel/iommu.h, `cap_mgaw`; Documentation/ABI/testing/sysfs-class-iommu-intel-iommu.
fn address_bits(folder: &Path) -> Option<u32> {
    let text = read::maybe(&folder.join("iommu/intel-iommu/cap"))?;
    let capabilities = u64::from_str_radix(text.strip_prefix("0x").unwrap_or(&text), 16).ok()?;
    Some((capabilities >> 16 & 0x3f) as u32 + 1)
}

/// Source: Documentation/ABI/testing/sysfs-devices-vfio-dev.
fn vfio_node(folder: &Path) -> Option<String> {
    let names = read::names(&folder.join("vfio-dev")).ok()?;
    names.iter().find(|name| name.starts_with("vfio")).map(|name| format!("/dev/vfio/devices/{name}"))
}

/// Lines of first address, last address and flags (include/linux/ioport.h), of which the first six are the registers.
fn bars(folder: &Path) -> Vec<Bar> {
    const PORT: u64 = 0x100;
    const MEMORY: u64 = 0x200;
    const PREFETCH: u64 = 0x2000;
    const WIDE: u64 = 0x10_0000;
    let text = read::maybe(&folder.join("resource")).unwrap_or_default();
    let line = |(index, line): (u8, &str)| {
        let mut numbers = line.split_ascii_whitespace().map(read::parse);
        let (first, last, flags) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let kind = match flags {
            flags if flags & PORT != 0 => BarKind::Port,
            flags if flags & MEMORY == 0 => return None,
            flags if flags & WIDE != 0 => BarKind::Memory64,
            _ => BarKind::Memory32,
        };
        let len = last.checked_sub(first)?.checked_add(1)?;
        Some(Bar { index, len, kind, prefetchable: flags & PREFETCH != 0 })
    };
    (0..6).zip(text.lines()).filter_map(line).collect()
}
