//! IOMMU groups: the devices that an IOMMU cannot tell apart, and the addresses that they must not use.

use super::{Bus, DeviceName, Host, read};
use std::fmt;

/// What a reserved range of device addresses is for.
/// Source: Documentation/ABI/testing/sysfs-kernel-iommu_groups.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
pub enum ReservedKind {
    /// Firmware needs it mapped one to one, always: such a device is not assigned.
    Direct,
    /// Firmware wants it mapped one to one while the host's driver has the device: no obstacle.
    DirectRelaxable,
    /// Does not reach memory.
    Reserved,
    /// Writes there are interrupts.
    Msi,
    /// A kind that this library does not know.
    Other(String),
}

impl fmt::Display for ReservedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::DirectRelaxable => "direct-relaxable",
            Self::Reserved => "reserved",
            Self::Msi => "msi",
            Self::Other(word) => word,
        })
    }
}

/// Device addresses that are not for mappings.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ReservedRegion {
    /// The first address (IOVA, bytes).
    pub first: u64,
    /// The last address; not below the first.
    pub last: u64,
    /// Why.
    pub kind: ReservedKind,
}

impl ReservedRegion {
    /// Reads a line of `reserved_regions`: first, last, kind.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let mut address = || {
            let word = words.next()?;
            u64::from_str_radix(word.strip_prefix("0x").unwrap_or(word), 16).ok()
        };
        let (first, last) = (address()?, address()?);
        let kind = match words.next()? {
            "direct" => ReservedKind::Direct,
            "direct-relaxable" => ReservedKind::DirectRelaxable,
            "reserved" => ReservedKind::Reserved,
            "msi" => ReservedKind::Msi,
            other => ReservedKind::Other(other.into()),
        };
        (first <= last).then_some(Self { first, last, kind })
    }
}

impl fmt::Display for ReservedRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}-{:#x} {}", self.first, self.last, self.kind)
    }
}

/// Device addresses that mappings may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Window {
    /// The first address (IOVA, bytes).
    pub first: u64,
    /// The last address; not below the first.
    pub last: u64,
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}-{:#x}", self.first, self.last)
    }
}

/// What the reserved regions of one group, or of several that share an address space, leave of the addresses up to `last`.
/// VFIO and iommufd do not count the relaxable ones: drivers/vfio/vfio_iommu_type1.c, drivers/iommu/iommufd/io_pagetable.c.
pub fn windows<'r>(reserved: impl IntoIterator<Item = &'r ReservedRegion>, last: u64) -> Vec<Window> {
    let counted = |region: &&ReservedRegion| region.kind != ReservedKind::DirectRelaxable;
    let mut taken: Vec<_> = reserved.into_iter().filter(counted).map(|it| (it.first, it.last)).collect();
    taken.sort_unstable();
    let mut free = Vec::new();
    // None: nothing is left above.
    let mut next = Some(0);
    for (first, end) in taken {
        let Some(start) = next else { break };
        if first > last {
            break;
        }
        if first > start {
            free.push(Window { first: start, last: first - 1 });
        }
        next = end.checked_add(1).map(|after| after.max(start));
    }
    free.extend(next.filter(|start| *start <= last).map(|first| Window { first, last }));
    free
}

/// A device of a group.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Member {
    /// What it is called. Groups can hold devices of buses other than [`Bus`] has.
    pub name: String,
    /// Its driver.
    pub driver: Option<String>,
    /// Whether it is a PCI bridge.
    pub bridge: bool,
}

impl Member {
    /// Whether its driver leaves the group to user space: it does no DMA of its own, or is of VFIO.
    /// Source: drivers that set `driver_managed_dma`: pcieport, pci-stub, all of VFIO's.
    pub fn lets_go(&self) -> bool {
        self.driver.as_deref().is_none_or(|driver| {
            is_vfio_driver(driver) || matches!(driver, "pci-stub" | "pcieport") || self.bridge
        })
    }
}

/// Whether it gives devices to user space: vfio-pci, vfio-platform, and those for one make of device.
pub(super) fn is_vfio_driver(driver: &str) -> bool {
    driver.split(['-', '_']).any(|word| word == "vfio")
}

/// An IOMMU group.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Group {
    /// The kernel's number for it.
    pub number: u32,
    /// The kind of domain that the kernel's own drivers get: `DMA`, `DMA-FQ`, `identity`.
    pub domain: Option<String>,
    /// Whether there is no IOMMU behind it: VFIO made it up, for its no-IOMMU mode.
    pub without_iommu: bool,
    /// Every device of it, in order.
    pub members: Vec<Member>,
    /// What no mapping may use, over all members; none when that cannot be read.
    pub reserved: Option<Vec<ReservedRegion>>,
    /// What is not known, and why.
    pub problems: Vec<String>,
}

impl Group {
    /// What a mapping may use, with addresses of `bits` bits; none when that is not known.
    pub fn windows(&self, bits: Option<u32>) -> Option<Vec<Window>> {
        let last = match bits {
            Some(bits @ 0..64) => (1 << bits) - 1,
            _ => u64::MAX,
        };
        Some(windows(self.reserved.as_ref()?, last))
    }

    /// VFIO's node for it, when it has one.
    pub fn node(&self) -> String {
        let number = self.number;
        if self.without_iommu { format!("/dev/vfio/noiommu-{number}") } else { format!("/dev/vfio/{number}") }
    }
}

impl Host {
    /// The group that a device is in.
    pub(super) fn group_of(&self, device: &DeviceName) -> Option<Group> {
        let name = read::link_name(&self.path(device.folder()).join("iommu_group"))?;
        self.group(name.parse().ok()?)
    }

    /// The group with this number.
    pub fn group(&self, number: u32) -> Option<Group> {
        let folder = self.path(format!("sys/kernel/iommu_groups/{number}"));
        if !folder.is_dir() {
            return None;
        }
        let mut problems = Vec::new();
        let members = match read::names(&folder.join("devices")) {
            Ok(names) => names,
            Err(why) => {
                problems.push(format!("its devices cannot be listed: {why}"));
                Vec::new()
            }
        };
        let members = members.into_iter().map(|name| {
            let device = folder.join("devices").join(&name);
            let driver = read::link_name(&device.join("driver"));
            let pci = DeviceName::new(Bus::Pci, &name).is_ok();
            Member { driver, bridge: pci && super::identity::is_bridge(&device), name }
        });
        let members = members.collect();
        let path = folder.join("reserved_regions");
        let reserved = match read::text(&path) {
            Ok(text) => {
                let read: Option<Vec<_>> = text.lines().map(ReservedRegion::parse).collect();
                if read.is_none() {
                    problems.push(format!("{} is not understood", self.shown(&path)));
                }
                read
            }
            Err(why) => {
                problems.push(format!("{}: {}", self.shown(&path), why));
                None
            }
        };
        Some(Group {
            number,
            domain: read::maybe(&folder.join("type")),
            // drivers/vfio/group.c names them so.
            without_iommu: read::maybe(&folder.join("name")).is_some_and(|name| name == "vfio-noiommu"),
            members,
            reserved,
            problems,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(first: u64, last: u64, kind: ReservedKind) -> ReservedRegion {
        ReservedRegion { first, last, kind }
    }

    #[test]
    fn windows_are_what_is_left() {
        let msi = region(0xfee0_0000, 0xfeef_ffff, ReservedKind::Msi);
        let found = windows([&msi], (1 << 39) - 1);
        let expected =
            [Window { first: 0, last: 0xfedf_ffff }, Window { first: 0xfef0_0000, last: 0x7f_ffff_ffff }];
        assert_eq!(found, expected);
        assert_eq!(windows([], u64::MAX), [Window { first: 0, last: u64::MAX }]);
    }

    #[test]
    fn overlaps_ends_and_what_is_relaxable() {
        let all = [
            region(0x2000, 0x5fff, ReservedKind::Reserved),
            region(0x0, 0xfff, ReservedKind::Reserved),
            region(0x3000, 0x3fff, ReservedKind::Msi),
            region(0x8000, 0x8fff, ReservedKind::DirectRelaxable),
            region(u64::MAX - 0xfff, u64::MAX, ReservedKind::Other("new".into())),
        ];
        let found = windows(&all, u64::MAX);
        let expected =
            [Window { first: 0x1000, last: 0x1fff }, Window { first: 0x6000, last: u64::MAX - 0x1000 }];
        assert_eq!(found, expected);
        assert_eq!(windows(&all, 0xfff), []);
        assert_eq!(windows(&all, 0x17ff), [Window { first: 0x1000, last: 0x17ff }]);
        assert_eq!(windows([&region(0, u64::MAX, ReservedKind::Reserved)], u64::MAX), []);
    }

    #[test]
    fn a_line_that_makes_no_sense_is_not_guessed_at() {
        for line in
            ["", "0x1000", "0x2000 0x1000 msi", "0x1000 0x2000", "x y z", "0x10000000000000000 0x0 msi"]
        {
            assert_eq!(ReservedRegion::parse(line), None, "{line}");
        }
        let parsed = ReservedRegion::parse("0x00000000fee00000 0x00000000feefffff msi").unwrap();
        assert_eq!(parsed.to_string(), "0xfee00000-0xfeefffff msi");
    }

    #[test]
    fn vfio_drivers_have_it_as_a_word_of_their_name() {
        for driver in ["vfio-pci", "mlx5_vfio_pci", "xe-vfio-pci", "vfio-platform"] {
            assert!(is_vfio_driver(driver), "{driver}");
        }
        assert!(!is_vfio_driver("nvme") && !is_vfio_driver("vfiox"));
    }
}
