//! The tools that tests need beside Rust, and how they get here.

use crate::apt::{self, Release};
use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use std::process::{Command, ExitCode};

/// A tool that some tier needs.
pub(crate) struct Tool {
    /// The program, or another file by its whole path.
    pub(crate) program: &'static str,
    /// Debian's and Ubuntu's package that has it.
    package: &'static str,
    /// The oldest version that will do, where not every version does: the major number that `--version` prints.
    least: Option<u32>,
    /// What it is for, to say when it is missing.
    purpose: &'static str,
    /// The tier that cannot run without it.
    pub(crate) tier: &'static str,
    /// The variable that tells the tests to leave it out.
    pub(crate) without: &'static str,
}

/// All of them.
pub(crate) const TOOLS: [Tool; 17] = [
    Tool {
        program: "qemu-system-arm",
        package: "qemu-system-arm",
        least: None,
        purpose: "judges page tables by QEMU's Arm CPU",
        tier: "qemu-arm",
        without: "VCM_WITHOUT_QEMU",
    },
    Tool {
        program: "qemu-system-aarch64",
        package: "qemu-system-arm",
        least: None,
        purpose: "judges interrupt forwarding by QEMU's GIC",
        tier: "qemu-arm",
        without: "VCM_WITHOUT_QEMU",
    },
    Tool {
        program: "dtc",
        package: "device-tree-compiler",
        least: None,
        purpose: "checks the committed .dtb files against their sources",
        tier: "dtc",
        without: "VCM_WITHOUT_DTC",
    },
    Tool { program: "qemu-system-aarch64", package: "qemu-system-arm", ..QEMU_IOMMU },
    Tool { program: "qemu-system-x86_64", package: "qemu-system-x86", ..QEMU_IOMMU },
    Tool { program: "qemu-system-riscv64", package: "qemu-system-riscv", ..QEMU_IOMMU },
    Tool {
        program: "qemu-system-x86_64",
        package: "qemu-system-x86",
        least: Some(10),
        purpose: "is the machine in which VFIO, iommufd and KVM are tested",
        tier: "linux-vm",
        without: "VCM_WITHOUT_VM",
    },
    Tool { program: "make", package: "make", ..KERNEL },
    Tool { program: "gcc", package: "gcc", ..KERNEL },
    Tool { program: "flex", package: "flex", ..KERNEL },
    Tool { program: "bison", package: "bison", ..KERNEL },
    Tool { program: "bc", package: "bc", ..KERNEL },
    Tool { program: "lz4", package: "lz4", ..KERNEL },
    Tool { program: "/usr/include/libelf.h", package: "libelf-dev", ..KERNEL },
    Tool { program: "xz", package: "xz-utils", ..KERNEL },
    Tool { program: "zstd", package: "zstd", ..KERNEL },
    Tool { program: "bzip2", package: "bzip2", ..KERNEL },
];

/// What building a kernel, and unpacking another, needs.
const KERNEL: Tool = Tool {
    program: "",
    package: "",
    least: None,
    purpose: "makes the kernel of the machine in which VFIO, iommufd and KVM are tested",
    tier: "kernel",
    without: "VCM_WITHOUT_VM",
};

/// What the machines with IOMMUs have in common. QEMU 10.0 is the first with the RISC-V IOMMU as a platform device.
const QEMU_IOMMU: Tool = Tool {
    program: "",
    package: "",
    least: Some(10),
    purpose: "has the IOMMUs that our drivers are judged by",
    tier: "qemu-iommu",
    without: "VCM_WITHOUT_QEMU_IOMMUS",
};

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

/// Installs what is missing or too old, as far as that is wanted and possible, and says what there is.
pub(crate) fn prepare(consent: Consent) -> Vec<(&'static Tool, Presence)> {
    prepare_some(consent, |_| true)
}

/// The same for some of the tools.
pub(crate) fn prepare_some(
    consent: Consent,
    which: impl Fn(&Tool) -> bool,
) -> Vec<(&'static Tool, Presence)> {
    // The virtual machines' kernels are built for x86-64, by a compiler that makes nothing else.
    let here = |tool: &Tool| tool.tier != KERNEL.tier || std::env::consts::ARCH == "x86_64";
    let tools = || TOOLS.iter().filter(|tool| which(tool) && here(tool));
    let wanted = |tool: &&Tool| std::env::var_os(tool.without).is_none() && lack(tool).is_some();
    let missing: Vec<&Tool> = tools().filter(wanted).collect();
    let refusal = if missing.is_empty() { None } else { install(&missing, consent).err() };
    tools()
        .map(|tool| {
            let presence = if std::env::var_os(tool.without).is_some() {
                Presence::Missing(format!("{} is set", tool.without))
            } else if let Some(lack) = lack(tool) {
                let why = refusal.clone().unwrap_or_else(|| "the package does not have it".into());
                Presence::Missing(format!("{lack}: {why} (apt-get install {})", tool.package))
            } else {
                Presence::Present
            };
            (tool, presence)
        })
        .collect()
}

/// Installs what is missing, and says of each tool whether it is there.
pub(crate) fn run(consent: Consent) -> ExitCode {
    let mut all = ExitCode::SUCCESS;
    for (tool, presence) in prepare(consent) {
        match presence {
            Presence::Present => println!("{} ({}): there", tool.program, tool.tier),
            Presence::Missing(why) => {
                println!("{} ({}): {why}", tool.program, tool.tier);
                all = ExitCode::FAILURE;
            }
        }
    }
    all
}

/// What is wrong with a tool, if anything.
fn lack(tool: &Tool) -> Option<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // A whole path, joined to a folder, stays what it is.
    if !std::env::split_paths(&path).any(|folder| folder.join(tool.program).is_file()) {
        return Some(format!("{} is missing", tool.program));
    }
    let least = tool.least?;
    let printed = Command::new(tool.program).arg("--version").output().ok();
    let printed = printed.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    let version = printed.split_once(" version ").map_or("", |(_, rest)| rest);
    let version = version.split_whitespace().next().unwrap_or("");
    match version.split('.').next().and_then(|major| major.parse::<u32>().ok()) {
        Some(major) if major >= least => None,
        Some(_) => Some(format!("{} is version {version}, and {least}.0 is needed", tool.program)),
        None => Some(format!("{} does not tell its version", tool.program)),
    }
}

fn install(missing: &[&Tool], consent: Consent) -> Result<(), String> {
    let packages = packages(missing);
    for tool in missing {
        println!("{}: it {}", lack(tool).unwrap_or_else(|| tool.program.into()), tool.purpose);
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        return Err("this is no Debian or Ubuntu, install it by hand".into());
    }
    match consent {
        Consent::Refused => return Err("--no-install".into()),
        Consent::Given => {}
        Consent::Ask => ask(&packages)?,
    }
    let newer = |package: &&str| missing.iter().any(|tool| tool.package == *package && tool.least.is_some());
    let (newer, own): (Vec<&str>, Vec<&str>) = packages.into_iter().partition(newer);
    install_from(&newer, Release::Newer).and(install_from(&own, Release::Own))
}

/// One by one where they cannot be had together: Ubuntu has some under other names.
fn install_from(packages: &[&str], release: Release) -> Result<(), String> {
    if packages.is_empty() {
        return Ok(());
    }
    apt::install(packages, release).or_else(|error| {
        let had = packages.iter().filter(|package| apt::install(&[package], release).is_ok()).count();
        if had == packages.len() { Ok(()) } else { Err(error) }
    })
}

/// The packages of tools, each once.
fn packages(tools: &[&Tool]) -> Vec<&'static str> {
    let mut packages: Vec<&str> = tools.iter().map(|tool| tool.package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
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
