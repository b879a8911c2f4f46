//! Layers as types: bus driver, vfio, kvm-vfio, kvm, arch. What a layer must not know, its source does not import, and
//! its types do not carry. That types cannot be mixed up is shown by the examples in
//! `src/kvm_vfio/layers.rs`, which must not compile.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Names that a layer's source must not contain, whether imported or written out; comments are not source.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "host",
        &[
            "vfio",
            "kvm_vfio",
            "kvm",
            "gic",
            "DeviceInterrupt",
            "GuestInterrupt",
            "Device",
            "Vm",
            "VmId",
            "Vcpu",
        ],
    ),
    ("vgic", &["vfio", "kvm_vfio", "kvm", "DeviceInterrupt", "Device", "subindex"]),
    ("kvm", &["vfio", "kvm_vfio", "gic", "DeviceInterrupt", "Device", "subindex", "descriptor"]),
    ("vfio", &["kvm", "kvm_vfio", "vgic", "gic", "route", "GuestInterrupt", "VcpuId", "Vm", "VmId", "Route"]),
    ("kvm_vfio", &["gic"]),
];

/// Modules of the crate that a module may import from, beside those at the bottom, which are nobody's.
const ALLOWED: &[(&str, &[&str])] = &[
    ("host", &[]),
    ("vgic", &["host", "route"]),
    ("kvm", &["host", "vgic", "route"]),
    ("vfio", &["host"]),
    ("kvm_vfio", &["host", "vfio", "kvm", "vgic", "route"]),
    ("gic", &["host", "vgic"]),
];

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push(path);
        }
    }
    assert!(!all.is_empty(), "{}", folder.display());
    all
}

fn sources(module: &str) -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(module);
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path, source(&text))
    };
    files(&folder).into_iter().map(read).collect()
}

/// The text without comments, strings, and tests.
fn source(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let mut kept = String::new();
    for line in text.lines() {
        let code = line.split("//").next().unwrap_or_default();
        // What is between quotes is said, not used.
        kept.extend(code.split('"').step_by(2));
        kept.push('\n');
    }
    kept
}

fn words(source: &str) -> BTreeSet<&str> {
    source.split(|c: char| !c.is_alphanumeric() && c != '_').collect()
}

/// What comes after `crate::` in a source, first segment only.
fn imports(source: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (place, found) in source.match_indices("crate::") {
        if source[..place].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &source[place + found.len()..];
        match rest.strip_prefix('{') {
            Some(group) => {
                let group = group.split("};").next().unwrap_or_default();
                let names = group.split(',').filter_map(|one| one.trim().split("::").next());
                all.extend(names.map(str::to_owned));
            }
            None => {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                all.insert(rest[..end].to_owned());
            }
        }
    }
    all
}

#[test]
fn the_reader_of_imports_reads() {
    let text =
        "use crate::host::Line;\nuse crate::{Token, vfio::Device};\nlet x = crate::kvm::join; // crate::no\n";
    let found = imports(&source(text));
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["Token", "host", "kvm", "vfio"]);
    assert!(!words(&source("f(\"Device\"); // Device")).contains("Device"));
}

#[test]
fn no_layer_names_what_it_must_not_know() {
    for (module, forbidden) in FORBIDDEN {
        for (path, source) in sources(module) {
            let words = words(&source);
            for name in *forbidden {
                assert!(!words.contains(name), "{} names {name}", path.display());
            }
        }
    }
}

#[test]
fn dependencies_point_down() {
    let modules: BTreeSet<&str> = ALLOWED.iter().map(|(module, _)| *module).chain(["route"]).collect();
    for (module, allowed) in ALLOWED {
        for (path, source) in sources(module) {
            for import in imports(&source) {
                let fine = import == *module || allowed.contains(&import.as_str());
                assert!(fine || !modules.contains(import.as_str()), "{} imports {import}", path.display());
            }
        }
    }
}

#[test]
fn every_module_is_looked_at() {
    let known: BTreeSet<&str> = ALLOWED.iter().map(|(module, _)| *module).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            let name = entry.file_name().into_string().unwrap();
            assert!(known.contains(name.as_str()), "{name} has no place among the layers");
        }
    }
}
