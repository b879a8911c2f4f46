//! Which processes hold a device that VFIO has.

use super::{Device, Host, read};
use std::fmt;

/// A process that has a device open, or its group.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Holder {
    /// Its number.
    pub process: u32,
    /// What its program is called.
    pub program: String,
    /// What it has open.
    pub what: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, program, what } = self;
        write!(f, "{program} (process {process}) has {what} open")
    }
}

impl Host {
    /// The processes that have the device open, among those whose descriptors this process may see: its user's, or all of them for
    /// root.
    pub fn holders(&self, device: &Device) -> Vec<Holder> {
        let mut nodes: Vec<String> = device.vfio_node.iter().cloned().collect();
        nodes.extend(device.group.as_ref().map(super::Group::node));
        // What the kernel says of a descriptor: Documentation/filesystems/proc.rst, "VFIO Device files".
        let folder = self.resolve(&self.path(device.name.folder()));
        let folder = folder.map(|folder| format!("vfio-device-syspath: {}", self.shown(&folder)));
        let mut holders = Vec::new();
        for process in read::names(&self.path("proc")).unwrap_or_default() {
            let Ok(number) = process.parse::<u32>() else { continue };
            let place = self.path(format!("proc/{process}"));
            let held =
                read::names(&place.join("fd")).unwrap_or_default().into_iter().find_map(|descriptor| {
                    let target = std::fs::read_link(place.join("fd").join(&descriptor)).ok()?;
                    let target = target.to_str()?;
                    if nodes.iter().any(|node| node == target) {
                        return Some(target.to_owned());
                    }
                    // Every descriptor of VFIO's is called so; only the text beside it says of which device.
                    if !target.contains("vfio-device") {
                        return None;
                    }
                    let text = read::maybe(&place.join("fdinfo").join(&descriptor))?;
                    text.lines().any(|line| Some(line) == folder.as_deref()).then(|| device.name.to_string())
                });
            if let Some(what) = held {
                let program = read::maybe(&place.join("comm")).unwrap_or_else(|| "a program".into());
                holders.push(Holder { process: number, program, what });
            }
        }
        holders
    }
}
