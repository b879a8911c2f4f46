//! Builds what runs in the virtual machine: statically linked, because nothing else is there.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The only target: the virtual machine has an x86-64 with VT-d.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Whether the program and the examples are wanted beside the tests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Programs {
    Wanted,
    Unwanted,
}

/// What was built, by name.
#[derive(Default)]
pub(crate) struct Built {
    pub(crate) init: Option<PathBuf>,
    pub(crate) tests: Vec<(String, PathBuf)>,
    pub(crate) program: Option<PathBuf>,
    pub(crate) examples: Vec<(String, PathBuf)>,
}

/// The folder of everything that is built for virtual machines.
pub(crate) fn folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("VCM_VM_TARGET") {
        return PathBuf::from(folder);
    }
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from).join("vm")
}

/// The names of all test binaries that are for virtual machines: `crates/linux/tests/vm_*.rs`.
pub(crate) fn all_tests() -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir("crates/linux/tests")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(name) = name.strip_suffix(".rs").filter(|name| name.starts_with("vm_")) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Builds these tests, the machine's first process, and the programs if they are wanted.
pub(crate) fn build(tests: &[String], programs: Programs) -> Result<Built, String> {
    let mut command = Command::new("cargo");
    command.args(["build", "--target", TARGET, "--message-format", "json-render-diagnostics"]);
    command.args(["--package", "xtask", "--bin", "vm-init", "--package", "vcm-linux"]);
    for test in tests {
        command.args(["--test", test]);
    }
    if programs == Programs::Wanted {
        command.args(["--package", "vcm-cli", "--bin", "vcm", "--examples"]);
    }
    command.env("RUSTFLAGS", "-C target-feature=+crt-static -C strip=symbols");
    command.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_INCREMENTAL", "0");
    command.env("CARGO_TARGET_DIR", folder());
    let child = command.stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| format!("cargo could not be started: {error}"))?;
    let mut built = Built::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            artifact(&line, &mut built);
        }
    }
    match child.wait() {
        Ok(status) if status.success() => {}
        _ => return Err("what runs in the virtual machine does not compile".into()),
    }
    built.tests.sort();
    built.examples.sort();
    if built.init.is_none() || built.tests.len() != tests.len() {
        return Err("cargo did not say where it put what it built for the virtual machine".into());
    }
    Ok(built)
}

/// Takes one of cargo's messages: "compiler-artifact" with an executable is one that was built.
fn artifact(line: &str, built: &mut Built) {
    let Ok(message) = serde_json::from_str::<Value>(line) else { return };
    let Some(executable) = message["executable"].as_str() else { return };
    let path = PathBuf::from(executable);
    let name = message["target"]["name"].as_str().unwrap_or_default().to_owned();
    let kind = message["target"]["kind"][0].as_str().unwrap_or_default();
    let manifest = Path::new(message["manifest_path"].as_str().unwrap_or_default());
    match (kind, name.as_str()) {
        ("bin", "vm-init") => built.init = Some(path),
        ("bin", "vcm") => built.program = Some(path),
        ("test", _) => built.tests.push((name, path)),
        ("example", _) if manifest.ends_with("crates/linux/Cargo.toml") => built.examples.push((name, path)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_messages_are_understood() {
        let mut built = Built::default();
        let message = |kind: &str, name: &str, package: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/x/{package}/Cargo.toml",
                "target":{{"kind":["{kind}"],"name":"{name}"}},"executable":"/t/{name}"}}"#
            )
        };
        for line in [
            message("bin", "vm-init", "xtask"),
            message("bin", "vcm", "crates/vcm-cli"),
            message("test", "vm_smoke", "crates/linux"),
            message("example", "nvme", "crates/linux"),
            message("example", "other", "crates/vcm"),
            r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"vcm"},"executable":null}"#
                .into(),
            "no message".into(),
        ] {
            artifact(&line, &mut built);
        }
        assert_eq!(built.init, Some("/t/vm-init".into()));
        assert_eq!(built.program, Some("/t/vcm".into()));
        assert_eq!(built.tests, [("vm_smoke".to_owned(), "/t/vm_smoke".into())]);
        assert_eq!(built.examples, [("nvme".to_owned(), "/t/nvme".into())]);
    }
}
