//! The tools that tests need beside Rust, and how they get here.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// A tool that some tier needs.
pub(crate) struct Tool {
    /// The program.
    pub(crate) program: &'static str,
    /// Debian's and Ubuntu's package that has it.
    package: &'static str,
    /// What it is for, to say when it is missing.
    purpose: &'static str,
    /// The tier that cannot run without it.
    pub(crate) tier: &'static str,
    /// The variable that tells the tests to leave it out.
    pub(crate) without: &'static str,
}

/// All of them.
pub(crate) const TOOLS: [Tool; 3] = [
    Tool {
        program: "qemu-system-arm",
        package: "qemu-system-arm",
        purpose: "judges page tables by QEMU's Arm CPU",
        tier: "qemu-arm",
        without: "VCM_WITHOUT_QEMU",
    },
    Tool {
        program: "qemu-system-aarch64",
        package: "qemu-system-arm",
        purpose: "judges interrupt forwarding by QEMU's GIC",
        tier: "qemu-arm",
        without: "VCM_WITHOUT_QEMU",
    },
    Tool {
        program: "dtc",
        package: "device-tree-compiler",
        purpose: "checks the committed .dtb files against their sources",
        tier: "dtc",
        without: "VCM_WITHOUT_DTC",
    },
];

/// Whether missing tools may be installed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Consent {
    /// Ask on the terminal; without one, do not.
    Ask,
    /// Given beforehand.
    Given,
    /// Refused beforehand.
    Refused,
}

impl Consent {
    pub(crate) fn from_options(options: &[&str]) -> Result<Self, String> {
        match options {
            [] if std::env::var("CI").is_ok_and(|value| value == "true" || value == "1") => Ok(Self::Given),
            [] => Ok(Self::Ask),
            ["--yes" | "-y"] => Ok(Self::Given),
            ["--no-install"] => Ok(Self::Refused),
            other => Err(format!("unknown options: {}", other.join(" "))),
        }
    }
}

/// Whether a tool can be used.
pub(crate) enum Presence {
    Present,
    /// It cannot, and why.
    Missing(String),
}

/// Installs what is missing, as far as that is wanted and possible, and says what there is.
pub(crate) fn prepare(consent: Consent) -> Vec<(&'static Tool, Presence)> {
    let wanted = |tool: &&Tool| std::env::var_os(tool.without).is_none() && !is_present(tool);
    let missing: Vec<&Tool> = TOOLS.iter().filter(wanted).collect();
    let refusal = if missing.is_empty() { None } else { install(&missing, consent).err() };
    TOOLS
        .iter()
        .map(|tool| {
            let presence = if std::env::var_os(tool.without).is_some() {
                Presence::Missing(format!("{} is set", tool.without))
            } else if is_present(tool) {
                Presence::Present
            } else {
                let why = refusal.clone().unwrap_or_else(|| "the package does not have it".into());
                Presence::Missing(format!(
                    "{} is missing: {why} (apt-get install {})",
                    tool.program, tool.package
                ))
            };
            (tool, presence)
        })
        .collect()
}

fn is_present(tool: &Tool) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(tool.program).is_file())
}

fn install(missing: &[&Tool], consent: Consent) -> Result<(), String> {
    let mut packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    packages.dedup();
    for tool in missing {
        println!("{} is missing: it {}", tool.program, tool.purpose);
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        return Err("this is no Debian or Ubuntu, install it by hand".into());
    }
    match consent {
        Consent::Refused => return Err("--no-install".into()),
        Consent::Given => {}
        Consent::Ask => ask(&packages)?,
    }
    apt_get(&["update", "-qq"])?;
    // Never at the price of something that is installed already.
    let mut words = vec!["install", "-y", "-qq", "--no-install-recommends", "--no-remove"];
    words.extend(packages);
    apt_get(&words)
}

fn ask(packages: &[&str]) -> Result<(), String> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Err("nobody to ask whether to install it; --yes installs".into());
    }
    print!("Install {} with apt-get? [y/N] ", packages.join(" "));
    let mut answer = String::new();
    let read = std::io::stdout().flush().and_then(|()| input.lock().read_line(&mut answer));
    match read {
        Ok(_) if matches!(answer.trim(), "y" | "Y" | "yes") => Ok(()),
        _ => Err("not installed, as you said".into()),
    }
}

fn apt_get(words: &[&str]) -> Result<(), String> {
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
