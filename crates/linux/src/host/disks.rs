//! Which disks the machine is using: mounted, swapped to, or part of something else.

use super::usage::Use;
use super::{Host, read};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Every block device that is in use.
#[derive(Debug, Default)]
pub(super) struct Disks {
    /// Where mounts come from: device numbers (`259:2`) and names of nodes, with where they are mounted.
    mounts: BTreeMap<String, BTreeSet<String>>,
    swaps: BTreeSet<String>,
}

impl Disks {
    pub(super) fn read(host: &Host) -> Self {
        let mut disks = Self::default();
        // Process 1 sees what this one may not, when this one has a mount namespace of its own.
        for table in ["proc/1/mountinfo", "proc/self/mountinfo"] {
            let text = read::maybe(&host.path(table)).unwrap_or_default();
            for (number, place, source) in text.lines().filter_map(mount) {
                for key in [number, source] {
                    disks.mounts.entry(key.into()).or_default().insert(unescape(place));
                }
            }
        }
        let swaps = read::maybe(&host.path("proc/swaps")).unwrap_or_default();
        // The first line says what the columns are.
        let files = swaps.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().next());
        disks.swaps = files.map(unescape).collect();
        disks
    }

    /// What the block device `name` is used for, by itself and by whatever is made of it.
    fn uses(&self, host: &Host, name: &str) -> Vec<Use> {
        let mut uses = Vec::new();
        let mut seen = BTreeSet::new();
        let mut next = vec![name.to_owned()];
        while let Some(block) = next.pop() {
            if !seen.insert(block.clone()) {
                continue;
            }
            let folder = host.path(format!("sys/class/block/{block}"));
            let mut nodes = vec![format!("/dev/{block}")];
            nodes.extend(read::maybe(&folder.join("dm/name")).map(|name| format!("/dev/mapper/{name}")));
            let keys = nodes.iter().cloned().chain(read::maybe(&folder.join("dev")));
            let places: BTreeSet<&String> = keys.filter_map(|key| self.mounts.get(&key)).flatten().collect();
            let node = nodes.pop().unwrap_or_default();
            for place in places {
                uses.push(Use::Mounted { node: node.clone(), at: place.clone() });
            }
            if self.swaps.contains(&node) || self.swaps.contains(&format!("/dev/{block}")) {
                uses.push(Use::Swap { node });
            }
            next.extend(read::names(&folder.join("holders")).unwrap_or_default());
        }
        seen.remove(name);
        if uses.is_empty()
            && let Some(holder) = seen.pop_first()
        {
            uses.push(Use::Held { node: format!("/dev/{name}"), by: format!("/dev/{holder}") });
        }
        uses
    }

    /// Every block device that hangs off a device, with the sysfs folder that it hangs in.
    pub(super) fn places(&self, host: &Host) -> Vec<(PathBuf, Use)> {
        let class = host.path("sys/class/block");
        let mut found = Vec::new();
        for name in read::names(&class).unwrap_or_default() {
            let uses = self.uses(host, &name);
            if uses.is_empty() {
                continue;
            }
            let Some(folder) = host.resolve(&class.join(&name)) else { continue };
            let mut folders = vec![folder.clone()];
            // A disk with several ways to it hangs in its subsystem, which names its controllers: nvme-subsys0/nvme0.
            for ancestor in folder.ancestors().skip(1).take(2) {
                let subsystem =
                    ancestor.file_name().is_some_and(|it| it.as_encoded_bytes().starts_with(b"nvme-subsys"));
                if subsystem {
                    let links = read::names(ancestor).unwrap_or_default();
                    let controllers = links.iter().filter(|link| link.starts_with("nvme"));
                    folders.extend(controllers.filter_map(|link| host.resolve(&ancestor.join(link))));
                }
            }
            for folder in folders {
                found.extend(uses.iter().map(|found| (folder.clone(), found.clone())));
            }
        }
        found
    }
}

/// Device number, mount point and source of a line of `mountinfo`. Source: Documentation/filesystems/proc.rst, 3.5.
fn mount(line: &str) -> Option<(&str, &str, &str)> {
    let (front, back) = line.split_once(" - ")?;
    let mut front = front.split(' ');
    let (number, place) = (front.nth(2)?, front.nth(1)?);
    Some((number, place, back.split(' ').nth(1)?))
}

/// White space and backslashes are written as three octal digits there.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let letter = after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match letter.filter(u8::is_ascii) {
            Some(letter) => {
                out.push(letter.into());
                rest = &after[3..];
            }
            None => {
                out.push('\\');
                rest = after;
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read() {
        let line = "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        assert_eq!(mount(line), Some(("98:0", "/mnt\\0402", "/dev/root")));
        assert_eq!((mount(""), mount("36 35 - ext3"), mount("a - b")), (None, None, None));
        assert_eq!(unescape("/mnt\\0402\\134x\\9\\"), "/mnt 2\\x\\9\\");
    }
}
