//! Which kernel modules to load, and in which order: read from the modules themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Finds modules by name in a tree of them.
pub(crate) struct Tree {
    files: BTreeMap<String, PathBuf>,
    /// Names of those that are part of the kernel itself.
    builtin: BTreeSet<String>,
}

/// What of the wanted modules there is.
#[derive(PartialEq, Eq, Debug, Default)]
pub(crate) struct Found {
    /// Names in the order to load them.
    pub(crate) ordered: Vec<String>,
    /// Wanted or needed, and neither a file nor built in.
    pub(crate) missing: Vec<String>,
}

impl Tree {
    /// Looks through `lib/modules/VERSION`.
    pub(crate) fn of(folder: &Path) -> Result<Self, String> {
        let builtin = std::fs::read_to_string(folder.join("modules.builtin")).unwrap_or_default();
        let mut tree =
            Self { files: BTreeMap::new(), builtin: builtin.lines().filter_map(name_of).collect() };
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
            for entry in std::fs::read_dir(&folder).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                if entry.file_type().map_err(failed)?.is_dir() {
                    folders.push(entry.path());
                } else if let Some(name) = name_of(&entry.file_name().to_string_lossy()) {
                    tree.files.insert(name, entry.path());
                }
            }
        }
        Ok(tree)
    }

    /// The content of a module, decompressed.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        let path = self.files.get(name).ok_or_else(|| format!("there is no module {name}"))?;
        let program = match path.extension().and_then(|extension| extension.to_str()) {
            Some("xz") => "xz",
            Some("zst") => "zstd",
            Some("gz") => "gzip",
            _ => return std::fs::read(path).map_err(|error| format!("{}: {error}", path.display())),
        };
        let output = Command::new(program).arg("-dc").arg(path).output();
        match output {
            Ok(output) if output.status.success() => Ok(output.stdout),
            Ok(output) => Err(format!("{program} -dc {}: {}", path.display(), output.status)),
            Err(error) => Err(format!("{program} cannot be started: {error}")),
        }
    }

    /// The wanted modules and all that they need.
    pub(crate) fn find(&self, wanted: &[&str]) -> Result<Found, String> {
        let needs = |name: &str| self.read(name).map(|content| needs(&content));
        order(wanted, |name| self.files.contains_key(name), |name| self.builtin.contains(name), needs)
    }
}

/// A module's name is its file's, where `-` and `_` are the same.
fn name_of(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let (name, rest) = file.split_once(".ko")?;
    ["", ".xz", ".zst", ".gz"].contains(&rest).then(|| name.replace('-', "_"))
}

/// What a module needs: "depends=" in its section .modinfo, a text with a zero at its end.
fn needs(content: &[u8]) -> Vec<String> {
    const WORD: &[u8] = b"\0depends=";
    let Some(at) = content.windows(WORD.len()).position(|window| window == WORD) else { return Vec::new() };
    let rest = &content[at + WORD.len()..];
    let text = rest.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    text.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

/// Every module after those that it needs.
fn order(
    wanted: &[&str],
    is_file: impl Fn(&str) -> bool,
    is_builtin: impl Fn(&str) -> bool,
    needs: impl Fn(&str) -> Result<Vec<String>, String>,
) -> Result<Found, String> {
    let mut found = Found::default();
    let mut seen = BTreeSet::new();
    // A module stands here twice: once to look at what it needs, once more, below that, to take it.
    let mut open: Vec<(String, bool)> =
        wanted.iter().rev().map(|name| (name.replace('-', "_"), false)).collect();
    while let Some((name, ready)) = open.pop() {
        if ready {
            found.ordered.push(name);
        } else if seen.insert(name.clone()) {
            if is_file(&name) {
                let needed = needs(&name)?;
                open.push((name, true));
                open.extend(needed.into_iter().rev().map(|name| (name, false)));
            } else if !is_builtin(&name) {
                found.missing.push(name);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_needs_comes_before_it_and_only_once() {
        let graph = BTreeMap::from([
            ("vfio_pci", vec!["vfio_pci_core", "vfio"]),
            ("vfio_pci_core", vec!["vfio", "irqbypass", "virqfd"]),
            ("vfio_iommu_type1", vec!["vfio"]),
            ("vfio", vec![]),
            ("irqbypass", vec![]),
            ("kvm_amd", vec!["kvm", "ccp"]),
            ("kvm", vec!["irqbypass"]),
        ]);
        let needs = |name: &str| Ok(graph[name].iter().map(|&name| name.to_owned()).collect());
        let is_builtin = |name: &str| name == "ccp";
        let wanted = ["vfio-pci", "vfio_iommu_type1", "kvm-amd", "iommufd"];
        let found = order(&wanted, |name| graph.contains_key(name), is_builtin, needs).unwrap();
        let expected =
            ["vfio", "irqbypass", "vfio_pci_core", "vfio_pci", "vfio_iommu_type1", "kvm", "kvm_amd"];
        assert_eq!(found.ordered, expected);
        assert_eq!(found.missing, ["virqfd", "iommufd"]);
    }

    #[test]
    fn modules_that_need_each_other_are_no_endless_loop() {
        let needs = |name: &str| Ok(vec![if name == "a" { "b".to_owned() } else { "a".to_owned() }]);
        assert_eq!(order(&["a"], |_| true, |_| false, needs).unwrap().ordered, ["b", "a"]);
    }

    #[test]
    fn the_section_of_a_module_is_understood() {
        let content = b"\x7fELF..\0license=GPL\0depends=vfio-pci-core,vfio\0name=vfio_pci\0";
        assert_eq!(needs(content), ["vfio_pci_core", "vfio"]);
        assert_eq!(needs(b"\0license=GPL\0depends=\0name=vfio\0"), Vec::<String>::new());
        assert_eq!(needs(b"no module"), Vec::<String>::new());
    }

    #[test]
    fn names_come_from_files_of_every_kind() {
        assert_eq!(name_of("kernel/drivers/vfio/pci/vfio-pci.ko.xz").as_deref(), Some("vfio_pci"));
        assert_eq!(name_of("nvme.ko").as_deref(), Some("nvme"));
        assert_eq!(name_of("nvme.ko.zst").as_deref(), Some("nvme"));
        assert_eq!(name_of("modules.dep"), None);
        assert_eq!(name_of("a.ko.orig"), None);
    }
}
