//! The kernel, what it forbids, and who asks.

use super::check::{Check, Section, State};
use super::limits::status;
use super::memory::chosen;
use super::vfio::old;
use crate::host::Host;
use crate::host::read::{self, Unread};

pub(super) fn checks(host: &Host) -> Vec<Check> {
    let mut checks = vec![kernel(host), lockdown(host), user(host)];
    checks.extend(container(host));
    checks
}

fn check(name: &str, title: &str, state: State, found: impl Into<String>) -> Check {
    Check::new(Section::System, name, title, state, found)
}

fn kernel(host: &Host) -> Check {
    match host.kernel_release() {
        None => check("kernel", "kernel", State::Unknown, "/proc/sys/kernel/osrelease cannot be read"),
        Some(release) if old(host, 6, 2) => check("kernel", "kernel", State::Limited, release)
            .meaning("iommufd came with 6.2, VFIO's device nodes with 6.6: groups and type1 containers only"),
        Some(release) if old(host, 6, 6) => check("kernel", "kernel", State::Limited, release)
            .meaning("VFIO's device nodes came with 6.6: groups only"),
        Some(release) => check("kernel", "kernel", State::Ok, release),
    }
}

fn lockdown(host: &Host) -> Check {
    const TITLE: &str = "lockdown";
    let boot = match secure_boot(host) {
        Some(true) => ", secure boot on",
        Some(false) => ", secure boot off",
        None => "",
    };
    let text = match read::text(&host.path("sys/kernel/security/lockdown")) {
        Ok(text) => text,
        Err(Unread::Absent) => {
            let found = format!("not in this kernel, or securityfs is not mounted{boot}");
            return check("lockdown", TITLE, State::Ok, found);
        }
        Err(Unread::Unknown(why)) => return check("lockdown", TITLE, State::Unknown, why),
    };
    match chosen(&text) {
        Some("none") => check("lockdown", TITLE, State::Ok, format!("none{boot}")),
        Some(level) => check("lockdown", TITLE, State::Limited, format!("{level}{boot}")).meaning(
            "modules have to be signed, and /dev/mem and PCI resource files are closed; VFIO and KVM work",
        ),
        None => check("lockdown", TITLE, State::Unknown, "/sys/kernel/security/lockdown makes no sense"),
    }
}

/// Source: UEFI specification, 3.3, `SecureBoot`; the kernel puts four bytes of attributes before it.
fn secure_boot(host: &Host) -> Option<bool> {
    let name = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
    read::bytes(&host.path(name), 16).ok()?.get(4).map(|value| *value == 1)
}

fn user(host: &Host) -> Check {
    const TITLE: &str = "user";
    let first = |key| status(host, key)?.split_ascii_whitespace().nth(1)?.parse::<u32>().ok();
    let (Some(user), Some(group)) = (first("Uid"), first("Gid")) else {
        return check("user", TITLE, State::Unknown, "/proc/self/status does not say");
    };
    let mut groups: Vec<u32> = status(host, "Groups")
        .unwrap_or_default()
        .split_ascii_whitespace()
        .filter_map(|it| it.parse().ok())
        .collect();
    if !groups.contains(&group) {
        groups.insert(0, group);
    }
    let names = groups.iter().map(|group| host.group_name(*group).unwrap_or_else(|| group.to_string()));
    let who = if user == 0 { "root".into() } else { format!("user {user}") };
    let found = format!("{who}, in {}", names.collect::<Vec<_>>().join(", "));
    match user {
        0 => check("user", TITLE, State::Ok, found),
        _ => check("user", TITLE, State::Limited, found)
            .meaning("binding devices to VFIO needs root; using them then does not"),
    }
}

/// Only where there is one.
fn container(host: &Host) -> Option<Check> {
    let signs = [("run/.containerenv", "podman"), (".dockerenv", "docker")];
    let sign = signs.into_iter().find(|(file, _)| host.path(file).exists()).map(|(_, name)| name.to_owned());
    let name = sign.or_else(|| read::maybe(&host.path("run/systemd/container")))?;
    let check = check("container", "container", State::Limited, name);
    Some(check.meaning("nodes and limits are the container's: --device /dev/kvm --device /dev/iommu --device /dev/vfio --ulimit memlock=-1"))
}
