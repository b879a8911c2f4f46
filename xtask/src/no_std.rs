//! Checks that the `no_std` crates, and all that they depend on, need nothing of std.
//!
//! `#![no_std]` alone does not say so: a dependency may pull std in, and nobody notices on a machine that has
//! it. Here they are checked against a sysroot that has core and alloc only.

use std::path::{Path, PathBuf};
use std::process::Command;

const CRATES: [&str; 4] = ["vcm", "vcm-pagetable", "vcm-iommu", "vcm-irq"];

/// Checks them; the error tells what went wrong.
pub(crate) fn check() -> Result<(), String> {
    let target = host().ok_or("rustc -vV does not name its host")?;
    let target_directory =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let root = std::env::current_dir().map_err(|error| format!("no current directory: {error}"))?;
    let sysroot = root.join(target_directory).join("core-only");
    link_sysroot(&sysroot, &target)
        .map_err(|error| format!("cannot make a sysroot in {}: {error}", sysroot.display()))?;
    let mut command = Command::new("cargo");
    command.args(["check", "--quiet", "--target", &target]);
    for name in CRATES {
        command.args(["--package", name]);
    }
    command.env("RUSTFLAGS", format!("--sysroot {}", sysroot.display()));
    // Another target directory: other flags would rebuild everything in the usual one.
    command.env("CARGO_TARGET_DIR", sysroot.join("target"));
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!("{} need std, or do not compile", CRATES.join(", "))),
        Err(error) => Err(format!("cargo could not be started: {error}")),
    }
}

/// The target that rustc compiles for when it is not told.
fn host() -> Option<String> {
    let output = Command::new("rustc").arg("-vV").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned)
}

fn link_sysroot(sysroot: &Path, target: &str) -> std::io::Result<()> {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output()?;
    let stock = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let libraries = Path::new("lib/rustlib").join(target).join("lib");
    let folder = sysroot.join(&libraries);
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    for entry in std::fs::read_dir(stock.join(&libraries))? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        let wanted =
            ["libcore-", "liballoc-", "libcompiler_builtins-"].iter().any(|start| text.starts_with(start));
        if wanted && (text.ends_with(".rlib") || text.ends_with(".rmeta")) {
            std::os::unix::fs::symlink(entry.path(), folder.join(&name))?;
        }
    }
    Ok(())
}
