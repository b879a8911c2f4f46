//! Whether devices can be given to user space.

use super::check::{Check, Section, State};
use super::node::{Node, node_check};
use crate::host::{Host, Module, read};

pub(super) fn checks(host: &Host) -> Vec<Check> {
    vec![iommufd(host), cdev(host), type1(host), driver(host), without_iommu(host)]
}

fn check(name: &str, title: &str, state: State, found: impl Into<String>) -> Check {
    Check::new(Section::Vfio, name, title, state, found)
}

/// What brings a module, as far as can be seen.
pub(super) fn bring(host: &Host, module: &str, option: &str, missing: Check) -> Check {
    let other_kernel = |missing: Check, why: &str| {
        Check { found: format!("{}: this kernel {why}", missing.found), ..missing }
            .enable(format!("boot a kernel with {option}"))
    };
    match (host.module(module), host.kernel_option(option)) {
        (_, Some('n')) => other_kernel(missing, "is built without it"),
        (Module::Absent, _) => other_kernel(missing, "comes without it"),
        // /proc/modules is there exactly when modules can be loaded.
        (Module::Loadable | Module::NotLoaded(_), _)
            if host.path("proc").is_dir() && !host.path("proc/modules").exists() =>
        {
            other_kernel(missing, "loads no modules")
        }
        (Module::Loadable, _) => missing.enable(format!("sudo modprobe {module}")),
        (Module::NotLoaded(why), _) => {
            missing.enable(format!("sudo modprobe {module}   # if this kernel comes with it: {why}"))
        }
        (Module::Here, _) => missing,
    }
}

fn iommufd(host: &Host) -> Check {
    node_check(host, Section::Vfio, "iommufd", "dev/iommu", |missing| {
        bring(host, "iommufd", "CONFIG_IOMMUFD", missing).meaning("VFIO's type1 containers do as well")
    })
}

fn cdev(host: &Host) -> Check {
    const TITLE: &str = "VFIO device nodes";
    let check = |state, found: String| check("vfio-cdev", TITLE, state, found);
    let nodes = read::names(&host.path("dev/vfio/devices")).unwrap_or_default();
    if let Some(first) = nodes.first() {
        let denied =
            nodes.iter().find_map(|node| match host.may_open_node(&format!("dev/vfio/devices/{node}")) {
                Node::Denied { enable } => Some((node, enable)),
                _ => None,
            });
        return match denied {
            Some((node, enable)) => {
                check(State::Missing, format!("/dev/vfio/devices/{node} is there, but not for this user"))
                    .enable(enable)
            }
            None => check(
                State::Ok,
                format!("{} in /dev/vfio/devices: {first}{}", nodes.len(), more(nodes.len())),
            ),
        };
    }
    // drivers/vfio/device_cdev.c: reserved when VFIO begins, before there is a node.
    let numbers = read::maybe(&host.path("proc/devices")).unwrap_or_default();
    let vfio = host.path("sys/class/vfio-dev").is_dir() || host.path("sys/class/vfio").is_dir();
    match (numbers.lines().any(|line| line.ends_with(" vfio-dev")), vfio) {
        (true, _) => check(State::Ok, "none yet: one appears when a device is bound to vfio-pci".into()),
        (false, true) if !numbers.is_empty() => {
            check(State::Missing, "this kernel has VFIO's groups only".into()).enable(
                "boot a kernel with CONFIG_VFIO_DEVICE_CDEV, 6.6 or newer; groups and type1 do as well",
            )
        }
        (false, true) => check(State::Unknown, "/proc/devices cannot be read".into()),
        (false, false) => bring(
            host,
            "vfio",
            "CONFIG_VFIO_DEVICE_CDEV",
            check(State::Missing, "VFIO is not in the kernel".into()),
        ),
    }
}

fn more(count: usize) -> &'static str {
    if count > 1 { ", ..." } else { "" }
}

/// Whether the kernel is older than `major`.`minor`.
pub(super) fn old(host: &Host, major: u32, minor: u32) -> bool {
    let release = host.kernel_release().unwrap_or_default();
    let mut numbers =
        release.split(|letter: char| !letter.is_ascii_digit()).map(|number| number.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(first), Some(second)) => (first, second) < (major, minor),
        _ => false,
    }
}

fn type1(host: &Host) -> Check {
    let container = node_check(host, Section::Vfio, "vfio-type1", "dev/vfio/vfio", |missing| {
        bring(host, "vfio", "CONFIG_VFIO", missing)
    });
    let container = Check {
        title: "VFIO groups, type1".into(),
        found: format!("/dev/vfio/vfio: {}", container.found),
        ..container
    };
    if !container.state.works() {
        return container;
    }
    let module = "vfio_iommu_type1";
    if let Module::Absent = host.module(module) {
        return bring(host, module, "CONFIG_VFIO_IOMMU_TYPE1", Check { state: State::Missing, ..container });
    }
    let nodes = read::names(&host.path("dev/vfio")).unwrap_or_default();
    let groups: Vec<_> = nodes.iter().filter(|node| node.parse::<u32>().is_ok()).collect();
    for group in &groups {
        if let Node::Denied { enable } = host.may_open_node(&format!("dev/vfio/{group}")) {
            let found = format!("/dev/vfio/{group} is there, but not for this user");
            return Check { state: State::Missing, found, ..container }.enable(enable);
        }
    }
    let limit = read::number(&host.path("sys/module/vfio_iommu_type1/parameters/dma_entry_limit"));
    let limit = limit.map_or_else(String::new, |limit| format!(", {limit} mappings in each container"));
    Check { found: format!("{}; {} groups in /dev/vfio{limit}", container.found, groups.len()), ..container }
}

fn driver(host: &Host) -> Check {
    let name = "vfio-pci";
    if host.path("sys/bus/pci/drivers/vfio-pci").is_dir() {
        return check(name, "driver vfio-pci", State::Ok, "in the kernel");
    }
    if !host.path("sys/bus").is_dir() {
        return check(name, "driver vfio-pci", State::Unknown, "/sys is not here");
    }
    if !host.path("sys/bus/pci").is_dir() {
        let found = "this machine has no PCI";
        return check(name, "driver vfio-pci", State::Missing, found)
            .meaning("vfio-platform takes platform devices");
    }
    let missing = check(name, "driver vfio-pci", State::Missing, "not loaded");
    bring(host, name, "CONFIG_VFIO_PCI", missing)
}

fn without_iommu(host: &Host) -> Check {
    const TITLE: &str = "VFIO without IOMMU";
    if host.allows_no_iommu() {
        return check("vfio-noiommu", TITLE, State::Limited, "on (enable_unsafe_noiommu_mode)")
            .meaning("a device without an IOMMU reaches all memory of the machine: for tests only")
            .enable(
                "to turn it off: echo N | sudo tee /sys/module/vfio/parameters/enable_unsafe_noiommu_mode",
            );
    }
    let off = check("vfio-noiommu", TITLE, State::Off, "off, as it should be where an IOMMU is");
    let parameter = "sys/module/vfio/parameters/enable_unsafe_noiommu_mode";
    if host.path(parameter).exists() {
        return off.enable(format!("for tests on a machine without one: echo Y | sudo tee /{parameter}"));
    }
    if host.module("vfio") == Module::Here {
        return Check { found: "not in this kernel (CONFIG_VFIO_NOIOMMU)".into(), ..off };
    }
    off.enable("for tests on a machine without one: sudo modprobe vfio enable_unsafe_noiommu_mode=1")
}
