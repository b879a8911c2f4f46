//! Installing Debian's and Ubuntu's packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Debian releases whose own QEMU is too old for some tiers, and where they get a newer one.
const BACKPORTED: [(&str, &str); 1] = [("bookworm", "bookworm-backports")];

/// Where Debian keeps the keys that its archive is signed with.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where packages come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Release {
    /// The machine's own release.
    Own,
    /// Its backports, where it is one whose own are too old; else the same as its own.
    Newer,
}

/// Installs packages, never at the price of something that is installed already. Backports are added for this call
/// only: the machine's list of sources stays as it is.
pub(crate) fn install(packages: &[&str], release: Release) -> Result<(), String> {
    let backports = if release == Release::Newer { backports() } else { None };
    let mut options = Vec::new();
    if let Some((_, list)) = &backports {
        options.push("-o".to_owned());
        options.push(format!("Dir::Etc::sourcelist={}", list.display()));
    }
    let mut update = options.clone();
    update.extend(["update", "-qq"].map(String::from));
    let mut words = options;
    words.extend(["install", "-y", "-qq", "--no-install-recommends", "--no-remove"].map(String::from));
    if let Some((suite, _)) = &backports {
        words.extend(["-t".to_owned(), (*suite).to_owned()]);
    }
    words.extend(packages.iter().map(|&package| package.to_owned()));
    let done = apt_get(&update).and_then(|()| apt_get(&words));
    if let Some((_, list)) = backports {
        // The list has done its work; a leftover does no harm.
        let _ = fs::remove_file(list);
    }
    done
}

/// The suite of backports that this machine wants, and a list of sources that has it: the machine's own mirror.
fn backports() -> Option<(&'static str, PathBuf)> {
    let release = fs::read_to_string("/etc/os-release").ok()?;
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    let (_, suite) = BACKPORTED.iter().find(|(known, _)| *known == codename)?;
    let targets = Command::new("apt-get")
        .args(["indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"])
        .output()
        .ok()?;
    let targets = String::from_utf8(targets.stdout).ok()?;
    let mirror = targets.lines().find_map(|line| line.strip_prefix(&format!("{codename} main ")))?;
    let keys = if Path::new(KEYS).exists() { format!("[signed-by={KEYS}] ") } else { String::new() };
    // The option that names this list hides the machine's own.
    let mut list = fs::read_to_string("/etc/apt/sources.list").unwrap_or_default();
    list.push_str(&format!("\ndeb {keys}{mirror} {suite} main\n"));
    let path = std::env::temp_dir().join(format!("vcm-sources-{}.list", std::process::id()));
    fs::write(&path, list).ok()?;
    Some((suite, path))
}

fn apt_get(words: &[String]) -> Result<(), String> {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.starts_with(b"0\n"));
    let mut command = Command::new(if is_root { "apt-get" } else { "sudo" });
    if !is_root {
        command.arg("apt-get");
    }
    command.args(words).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("apt-get {} failed ({status})", words.join(" "))),
        Err(error) => Err(format!("apt-get could not be started: {error}")),
    }
}
