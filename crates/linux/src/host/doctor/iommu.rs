//! Whether there is an IOMMU, and whether it is on.

use super::check::{Check, Section, State};
use crate::host::Host;
use crate::host::read::{self, Unread};

/// Firmware's tables that tell of an IOMMU, and what it is. Source: ACPI specification, table 5.6.
const TABLES: [(&str, &str); 4] =
    [("DMAR", "Intel VT-d"), ("IVRS", "AMD-Vi"), ("IORT", "an Arm SMMU"), ("VIOT", "virtio-iommu")];

/// Words on the kernel's command line that turn IOMMUs off.
/// Source: Documentation/admin-guide/kernel-parameters.txt.
const OFF: [&str; 3] = ["iommu=off", "intel_iommu=off", "amd_iommu=off"];

pub(super) fn checks(host: &Host) -> Vec<Check> {
    vec![presence(host), groups(host)]
}

fn check(name: &str, title: &str, state: State, found: impl Into<String>) -> Check {
    Check::new(Section::Iommu, name, title, state, found)
}

fn presence(host: &Host) -> Check {
    const TITLE: &str = "IOMMU";
    if !host.path("sys/kernel").is_dir() {
        return check("iommu", TITLE, State::Unknown, "/sys is not here").enable("mount -t sysfs sysfs /sys");
    }
    let mut units = read::names(&host.path("sys/class/iommu")).unwrap_or_default();
    // Kernels for tests have one that is made up: drivers/iommu/iommufd/selftest.c.
    units.retain(|unit| !unit.starts_with("iommufd_selftest"));
    if !units.is_empty() {
        let shown = units.iter().take(4).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if units.len() > 4 { format!(" and {} more", units.len() - 4) } else { String::new() };
        return check("iommu", TITLE, State::Ok, format!("{shown}{more}"));
    }
    if real_groups(host).is_ok_and(|groups| !groups.is_empty()) {
        return check("iommu", TITLE, State::Ok, "there are IOMMU groups");
    }
    let missing = |found: String| {
        check("iommu", TITLE, State::Missing, found)
            .meaning("nothing would hold an assigned device back from other memory")
    };
    let line = read::maybe(&host.path("proc/cmdline")).unwrap_or_default();
    if let Some(word) = line.split_ascii_whitespace().find(|word| OFF.contains(word)) {
        return missing(format!("the kernel's command line turns it off: {word}")).enable(format!(
            "take {word} off the kernel's command line ({}) and boot again",
            where_line(host)
        ));
    }
    let tables = read::names(&host.path("sys/firmware/acpi/tables"));
    let known = |name: &String| TABLES.into_iter().find(|(table, _)| table == name);
    match tables.as_ref().ok().and_then(|tables| tables.iter().find_map(known)) {
        Some(("DMAR", what)) => {
            missing(format!("firmware has {what} (table DMAR), the kernel does not use it"))
                .enable(add_to_line(host, "intel_iommu=on"))
        }
        Some((table, what)) => missing(format!(
            "firmware has {what} (table {table}), the kernel does not use it"
        ))
        .enable(format!("the kernel's log says why: sudo dmesg | grep -i -e iommu -e smmu -e {table}")),
        None if is_virtual(host) => {
            missing("this virtual machine has none".into()).enable(virtual_iommu(host))
        }
        None => match tables {
            Err(Unread::Unknown(why)) => check(
                "iommu",
                TITLE,
                State::Unknown,
                format!("no sign of one, and firmware's tables cannot be seen: {why}"),
            ),
            _ => missing("no sign of one".into())
                .enable("turn on VT-d, AMD-Vi or SMMU in the firmware's setup, and boot again"),
        },
    }
}

/// The numbers of the groups that an IOMMU made, and not VFIO for want of one.
fn real_groups(host: &Host) -> Result<Vec<String>, Unread> {
    let folder = host.path("sys/kernel/iommu_groups");
    let mut groups = read::names(&folder)?;
    groups.retain(|group| {
        read::maybe(&folder.join(group).join("name")).is_none_or(|name| name != "vfio-noiommu")
    });
    Ok(groups)
}

fn groups(host: &Host) -> Check {
    const TITLE: &str = "IOMMU groups";
    let groups = match real_groups(host) {
        Ok(groups) => groups,
        Err(Unread::Absent) if host.path("sys/kernel").is_dir() => Vec::new(),
        Err(Unread::Absent) => return check("groups", TITLE, State::Unknown, "/sys is not here"),
        Err(Unread::Unknown(why)) => {
            return check("groups", TITLE, State::Unknown, format!("/sys/kernel/iommu_groups: {why}"));
        }
    };
    if groups.is_empty() {
        return check("groups", TITLE, State::Missing, "none")
            .meaning("there are some as soon as an IOMMU is on");
    }
    let folder = host.path("sys/kernel/iommu_groups");
    let (mut alone, mut devices) = (0, 0);
    for group in &groups {
        let members = read::names(&folder.join(group).join("devices")).unwrap_or_default().len();
        devices += members;
        alone += usize::from(members == 1);
    }
    let found = format!("{} with {devices} devices, {alone} of them alone in theirs", groups.len());
    check("groups", TITLE, State::Ok, found)
        .meaning("devices of one group are assigned together; `vcm devices` shows them")
}

pub(super) fn is_virtual(host: &Host) -> bool {
    let flags = read::maybe(&host.path("proc/cpuinfo")).unwrap_or_default();
    let flag = flags.lines().find(|line| line.starts_with("flags"));
    let maker = read::maybe(&host.path("sys/class/dmi/id/sys_vendor")).unwrap_or_default();
    flag.is_some_and(|flags| flags.split_ascii_whitespace().any(|flag| flag == "hypervisor"))
        || ["QEMU", "Amazon EC2", "Google", "VMware, Inc.", "innotek GmbH", "Xen"].contains(&maker.as_str())
}

/// What to ask the machine's owner for.
fn virtual_iommu(host: &Host) -> String {
    if super::kvm::architecture(host) == super::kvm::Architecture::Arm {
        return "give it one where it is run: QEMU's -machine virt,iommu=smmuv3".into();
    }
    "give it one where it is run: QEMU's -machine q35,kernel-irqchip=split -device intel-iommu,intremap=on,caching-mode=on"
        .into()
}

/// How a word comes onto the kernel's command line here.
pub(super) fn add_to_line(host: &Host, word: &str) -> String {
    if host.path("usr/sbin/grubby").exists() || host.path("sbin/grubby").exists() {
        return format!("sudo grubby --update-kernel=ALL --args={word} && sudo reboot");
    }
    if host.path("usr/sbin/update-grub").exists() {
        return format!(
            "sudo sed -i 's/^GRUB_CMDLINE_LINUX=\"/&{word} /' /etc/default/grub && sudo update-grub && sudo reboot"
        );
    }
    format!("put {word} on the kernel's command line and boot again")
}

fn where_line(host: &Host) -> &'static str {
    if host.path("etc/default/grub").exists() {
        "/etc/default/grub"
    } else {
        "your boot loader's configuration"
    }
}
