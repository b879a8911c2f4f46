//! What the machine itself uses a device for.

use super::disks::Disks;
use super::{Host, read};
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// A use of a device by the machine itself, which ends when the device is taken away.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(tag = "use", rename_all = "lowercase"))]
#[non_exhaustive]
pub enum Use {
    /// A file system on one of its disks is mounted.
    Mounted {
        /// The node.
        node: String,
        /// The mount point.
        at: String,
    },
    /// Memory is swapped to one of its disks.
    Swap {
        /// The node.
        node: String,
    },
    /// One of its disks is part of something that is in use or may be: a RAID, a volume group.
    Held {
        /// The node.
        node: String,
        /// What it is part of.
        by: String,
    },
    /// It is a network interface in use.
    Network {
        /// The interface.
        interface: String,
        /// What for.
        how: NetworkUse,
    },
    /// The console is on it.
    Console {
        /// Which.
        what: String,
    },
}

/// What a network interface is used for.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
pub enum NetworkUse {
    /// The way to everywhere goes through it.
    DefaultRoute,
    /// It has an address or a route.
    Address,
    /// It is part of a bridge, a bond or the like.
    PartOf(String),
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mounted { node, at } => write!(f, "{node} is mounted at {at}"),
            Self::Swap { node } => write!(f, "{node} is swap"),
            Self::Held { node, by } => write!(f, "{node} is part of {by}"),
            Self::Network { interface, how } => match how {
                NetworkUse::DefaultRoute => {
                    write!(f, "{interface} is the way to the network (default route)")
                }
                NetworkUse::Address => write!(f, "{interface} has an address"),
                NetworkUse::PartOf(other) => write!(f, "{interface} is part of {other}"),
            },
            Self::Console { what } => write!(f, "the console is on it ({what})"),
        }
    }
}

impl Use {
    /// How to end it.
    pub fn help(&self) -> String {
        match self {
            Self::Mounted { at, .. } if at == "/" => "boot from another disk".into(),
            Self::Mounted { at, .. } => format!("umount {at}"),
            Self::Swap { node } => format!("swapoff {node}"),
            Self::Held { by, .. } => {
                format!("stop {by} first (mdadm --stop, vgchange -an, cryptsetup close)")
            }
            Self::Network { interface, how: NetworkUse::PartOf(_) } => {
                format!("ip link set {interface} nomaster")
            }
            Self::Network { interface, .. } => {
                format!("ip link set {interface} down, if you are not logged in over it")
            }
            Self::Console { .. } => {
                "move the console to another device (console= on the kernel command line)".into()
            }
        }
    }
}

/// Who uses what, for all devices at once.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// Where in sysfs, and what for.
    places: Vec<(PathBuf, Use)>,
}

impl Usage {
    pub(super) fn read(host: &Host) -> Self {
        let mut places = Disks::read(host).places(host);
        places.extend(networks(host));
        places.extend(consoles(host));
        Self { places }
    }

    /// What the device in this sysfs folder, with all links resolved, is used for.
    pub(super) fn of(&self, folder: &Path) -> Vec<Use> {
        let mut uses: Vec<Use> = Vec::new();
        for (place, found) in &self.places {
            if place.starts_with(folder) && !uses.contains(found) {
                uses.push(found.clone());
            }
        }
        uses
    }
}

fn networks(host: &Host) -> Vec<(PathBuf, Use)> {
    let (mut routes, mut default) = (BTreeSet::new(), BTreeSet::new());
    // Interface, destination, ...: net/ipv4/fib_trie.c. Not with addresses that have no route; those are rare.
    let table = read::maybe(&host.path("proc/self/net/route")).unwrap_or_default();
    for line in table.lines().skip(1) {
        let mut words = line.split_ascii_whitespace();
        if let (Some(interface), Some(destination)) = (words.next(), words.next()) {
            routes.insert(interface.to_owned());
            if destination == "00000000" {
                default.insert(interface.to_owned());
            }
        }
    }
    // Address, index, prefix length, scope, flags, interface: net/ipv6/addrconf.c.
    let addresses = read::maybe(&host.path("proc/self/net/if_inet6")).unwrap_or_default();
    for line in addresses.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        // Link-local addresses come by themselves.
        if let [_, _, _, scope, _, interface] = words[..]
            && scope != "20"
        {
            routes.insert(interface.to_owned());
        }
    }
    let class = host.path("sys/class/net");
    let mut found = Vec::new();
    for interface in read::names(&class).unwrap_or_default() {
        let folder = class.join(&interface);
        let how = if default.contains(&interface) {
            NetworkUse::DefaultRoute
        } else if let Some(other) = read::link_name(&folder.join("master")) {
            NetworkUse::PartOf(other)
        } else if routes.contains(&interface) {
            NetworkUse::Address
        } else {
            continue;
        };
        if let Some(folder) = host.resolve(&folder) {
            found.push((folder, Use::Network { interface, how }));
        }
    }
    found
}

fn consoles(host: &Host) -> Vec<(PathBuf, Use)> {
    let class = host.path("sys/class/tty");
    let active = read::maybe(&class.join("console/active")).unwrap_or_default();
    let mut found = Vec::new();
    for name in active.split_ascii_whitespace().filter(|name| read::plain(name)) {
        if let Some(folder) = host.resolve(&class.join(name)) {
            found.push((folder, Use::Console { what: name.into() }));
        }
    }
    // The text console is on the display that firmware started with, when the kernel has one.
    if active.split_ascii_whitespace().any(|name| name.starts_with("tty0") || name == "tty1") {
        let devices = host.path("sys/bus/pci/devices");
        for name in read::names(&devices).unwrap_or_default() {
            let folder = devices.join(&name);
            if read::number(&folder.join("boot_vga")) == Some(1)
                && let Some(folder) = host.resolve(&folder)
            {
                found.push((
                    folder,
                    Use::Console { what: "the display that the machine started with".into() },
                ));
            }
        }
    }
    found
}
