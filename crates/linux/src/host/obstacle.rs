//! What stands between a device and its assignment.

use super::group::is_vfio_driver;
use super::{Device, Host, ReservedKind, ReservedRegion, Use};
use std::fmt;

/// Whether a device can be given to user space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
pub enum Assignable {
    /// It has been: it is bound to VFIO, and so is all of its group that has to be.
    Ready,
    /// Nothing is in the way of binding it.
    Yes,
    /// Other devices of its group have to leave their drivers as well.
    WithGroup,
    /// It can be, but the machine uses it.
    InUse,
    /// Not on this machine as it is.
    No,
}

impl fmt::Display for Assignable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "ready",
            Self::Yes => "yes",
            Self::WithGroup => "with group",
            Self::InUse => "IN USE",
            Self::No => "no",
        })
    }
}

/// One thing in the way.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(tag = "obstacle", rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Obstacle {
    /// It is a bridge.
    Bridge,
    /// It is behind no IOMMU.
    NoGroup,
    /// Its group is one of VFIO's no-IOMMU mode.
    WithoutIommu,
    /// Firmware needs addresses of the group mapped one to one.
    Direct {
        /// Those.
        regions: Vec<ReservedRegion>,
    },
    /// Its driver does not let go of devices.
    Stuck {
        /// The driver.
        driver: String,
    },
    /// The machine uses it.
    InUse {
        /// What for.
        by: Use,
    },
    /// Another device of its group is bound to a driver of the kernel.
    Neighbour {
        /// That one.
        device: String,
        /// Its driver.
        driver: String,
    },
    /// Something about its group cannot be read.
    Unknown {
        /// What, and why.
        what: String,
    },
}

impl Obstacle {
    /// What it leaves of the device's being assignable.
    pub const fn leaves(&self) -> Assignable {
        match self {
            Self::Bridge | Self::NoGroup | Self::Direct { .. } | Self::Stuck { .. } => Assignable::No,
            Self::InUse { .. } => Assignable::InUse,
            Self::Neighbour { .. } => Assignable::WithGroup,
            Self::WithoutIommu | Self::Unknown { .. } => Assignable::Yes,
        }
    }

    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Bridge => "assign the devices behind it".into(),
            Self::NoGroup => "`vcm doctor` says how to turn the IOMMU on, if there is one".into(),
            Self::WithoutIommu => {
                "anything that the device is told to do, it does to any memory of the machine".into()
            }
            Self::Direct { .. } => {
                "only new firmware helps: the machine's maker says which devices are free of it".into()
            }
            Self::Stuck { driver } => {
                format!("blacklist {driver} (module_blacklist={driver}) and boot again")
            }
            Self::InUse { by } => by.help(),
            Self::Neighbour { device, .. } => {
                format!(
                    "vcm devices --bind {device} as well, or use a slot of the machine that has a group of its own"
                )
            }
            Self::Unknown { .. } => return None,
        })
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge => f.write_str("a bridge: VFIO takes what is behind it, not the bridge"),
            Self::NoGroup => f.write_str("no IOMMU group: no IOMMU holds the device back"),
            Self::WithoutIommu => f.write_str("in no-IOMMU mode: nothing holds the device back"),
            Self::Direct { regions } => {
                write!(f, "firmware needs {} of its group mapped one to one", list(regions))
            }
            Self::Stuck { driver } => write!(f, "{driver} does not let go of its devices"),
            Self::InUse { by } => by.fmt(f),
            Self::Neighbour { device, driver } => {
                write!(f, "{device} is in the same group and bound to {driver}")
            }
            Self::Unknown { what } => f.write_str(what),
        }
    }
}

fn list(regions: &[ReservedRegion]) -> String {
    let ranges = regions.iter().map(|region| format!("{:#x}-{:#x}", region.first, region.last));
    ranges.collect::<Vec<_>>().join(", ")
}

impl Device {
    /// Whether it can be assigned, by the worst that is in the way.
    pub fn assignable(&self) -> Assignable {
        let worst = self.obstacles.iter().map(Obstacle::leaves).max();
        match worst {
            None | Some(Assignable::Yes) if self.is_bound_to_vfio() => Assignable::Ready,
            None => Assignable::Yes,
            Some(worst) => worst,
        }
    }

    /// Whether its driver is one that gives it to user space.
    pub fn is_bound_to_vfio(&self) -> bool {
        self.driver.as_deref().is_some_and(is_vfio_driver)
    }
}

impl Host {
    pub(super) fn obstacles(&self, device: &Device) -> Vec<Obstacle> {
        let mut found = Vec::new();
        if device.bridge {
            // The rest would only distract.
            return vec![Obstacle::Bridge];
        }
        match &device.group {
            None => found.push(Obstacle::NoGroup),
            Some(group) => {
                let direct = |region: &&ReservedRegion| region.kind == ReservedKind::Direct;
                let regions: Vec<_> = group.reserved.iter().flatten().filter(direct).cloned().collect();
                if !regions.is_empty() {
                    found.push(Obstacle::Direct { regions });
                }
                if group.without_iommu {
                    found.push(Obstacle::WithoutIommu);
                }
                let others = group.members.iter().filter(|member| member.name != device.name.name());
                for member in others.filter(|member| !member.lets_go()) {
                    found.push(Obstacle::Neighbour {
                        device: member.name.clone(),
                        driver: member.driver.clone().unwrap_or_default(),
                    });
                }
                found.extend(group.problems.iter().map(|what| Obstacle::Unknown { what: what.clone() }));
            }
        }
        if let Some(driver) = &device.driver {
            let folder = self.path(format!("sys/bus/{}/drivers/{driver}", device.name.bus()));
            // drivers/base/bus.c: `suppress_bind_attrs`.
            if folder.is_dir() && !folder.join("unbind").exists() {
                found.push(Obstacle::Stuck { driver: driver.clone() });
            }
        }
        found.extend(device.uses.iter().map(|by| Obstacle::InUse { by: by.clone() }));
        found.sort_by_key(|obstacle| std::cmp::Reverse(obstacle.leaves()));
        found
    }
}
