//! Whether guests can be run.

use super::check::{Check, Section, State};
use super::node::node_check;
use super::vfio::bring;
use crate::host::{Host, read};

/// What kind of CPUs there are, by what `/proc/cpuinfo` has of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Architecture {
    X86,
    Arm,
    Other,
}

pub(super) fn architecture(host: &Host) -> Architecture {
    let text = read::maybe(&host.path("proc/cpuinfo")).unwrap_or_default();
    let has = |key: &str| text.lines().any(|line| line.starts_with(key));
    match () {
        () if has("vendor_id") && has("flags") => Architecture::X86,
        () if has("CPU implementer") => Architecture::Arm,
        () => Architecture::Other,
    }
}

pub(super) fn checks(host: &Host) -> Vec<Check> {
    let mut checks = vec![node(host), cpu(host)];
    if architecture(host) == Architecture::X86 {
        checks.push(nested(host));
    }
    checks
}

fn check(name: &str, title: &str, state: State, found: impl Into<String>) -> Check {
    Check::new(Section::Kvm, name, title, state, found)
}

/// The CPU's own flag for virtual machines, on x86.
fn flag(host: &Host) -> Option<&'static str> {
    let text = read::maybe(&host.path("proc/cpuinfo")).unwrap_or_default();
    let flags = text.lines().find(|line| line.starts_with("flags"))?;
    ["vmx", "svm"].into_iter().find(|wanted| flags.split_ascii_whitespace().any(|flag| flag == *wanted))
}

fn node(host: &Host) -> Check {
    node_check(host, Section::Kvm, "kvm", "dev/kvm", |missing| {
        let module = match (architecture(host), flag(host)) {
            (Architecture::X86, Some("svm")) => "kvm_amd",
            (Architecture::X86, Some(_)) => "kvm_intel",
            (Architecture::X86, None) => {
                return missing.enable(if super::iommu::is_virtual(host) {
                    "turn on nested virtualization for this machine at its host (QEMU: -cpu host)"
                } else {
                    "turn on virtualization (VT-x, SVM) in the firmware's setup, and boot again"
                });
            }
            _ => "kvm",
        };
        bring(host, module, "CONFIG_KVM", missing)
    })
}

fn cpu(host: &Host) -> Check {
    const TITLE: &str = "CPU virtualization";
    match (architecture(host), flag(host)) {
        (Architecture::X86, Some(flag)) => {
            check("cpu-virtualization", TITLE, State::Ok, format!("flag {flag} in /proc/cpuinfo"))
        }
        (Architecture::X86, None) if host.path("dev/kvm").exists() => check(
            "cpu-virtualization",
            TITLE,
            State::Limited,
            "neither vmx nor svm in /proc/cpuinfo, but KVM is there",
        )
        .meaning("KVM works without the CPU's help here: slower, and not with every guest"),
        (Architecture::X86, None) => {
            check("cpu-virtualization", TITLE, State::Missing, "neither vmx nor svm in /proc/cpuinfo")
        }
        (Architecture::Arm, _) => {
            check("cpu-virtualization", TITLE, State::Unknown, "Arm CPUs have no flag for it; /dev/kvm tells")
        }
        (Architecture::Other, _) => check(
            "cpu-virtualization",
            TITLE,
            State::Unknown,
            "/proc/cpuinfo has no flag that tells; /dev/kvm does",
        ),
    }
}

fn nested(host: &Host) -> Check {
    const TITLE: &str = "guests in guests";
    // A kernel can have both built in; the one for this CPU counts.
    let modules = if flag(host) == Some("svm") { ["kvm_amd", "kvm_intel"] } else { ["kvm_intel", "kvm_amd"] };
    let found = modules.into_iter().find_map(|module| {
        Some((module, read::maybe(&host.path(format!("sys/module/{module}/parameters/nested")))?))
    });
    match found {
        Some((module, value)) if value == "Y" || value == "1" => {
            check("nested", TITLE, State::Ok, format!("{module} has nested={value}"))
        }
        Some((module, value)) => check("nested", TITLE, State::Off, format!("{module} has nested={value}"))
            .enable(format!(
                "sudo modprobe -r {module} && sudo modprobe {module} nested=1   # with no guest running"
            )),
        None => check("nested", TITLE, State::Off, "neither kvm_intel nor kvm_amd is in the kernel"),
    }
}
