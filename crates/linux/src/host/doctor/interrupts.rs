//! Whether devices can be kept from raising interrupts that are not theirs.

use super::check::{Check, Section, State};
use super::iommu::add_to_line;
use crate::host::Host;
use crate::host::read::{self, Unread};

/// VFIO and iommufd refuse a device whose interrupts are not isolated, unless one of these says otherwise.
/// Source: drivers/vfio/vfio_iommu_type1.c, drivers/iommu/iommufd/device.c.
const PARAMETERS: [&str; 2] = ["vfio_iommu_type1", "iommufd"];

pub(super) fn check(host: &Host, before: &[Check]) -> Check {
    const TITLE: &str = "interrupt remapping";
    let check = |state, found: String| Check::new(Section::Iommu, "interrupt-remapping", TITLE, state, found);
    let text = match read::text(&host.path("proc/interrupts")) {
        Ok(text) => text,
        Err(Unread::Absent) => return check(State::Unknown, "/proc/interrupts is not here".into()),
        Err(Unread::Unknown(why)) => return check(State::Unknown, format!("/proc/interrupts: {why}")),
    };
    // Intel's and AMD's put a prefix before the names of the controllers behind them; an Arm ITS translates by itself.
    if let Some(chip) =
        text.split_ascii_whitespace().find(|word| word.starts_with("IR-") || word.starts_with("ITS-"))
    {
        return check(State::Ok, format!("/proc/interrupts has {chip}"));
    }
    if !before.iter().any(|check| check.name == "iommu" && check.state.works()) {
        return check(State::Missing, "there is no IOMMU that would do it".into());
    }
    let unsafe_one = PARAMETERS.into_iter().find(|module| {
        let parameter = host.path(format!("sys/module/{module}/parameters/allow_unsafe_interrupts"));
        read::maybe(&parameter).is_some_and(|value| value == "Y" || value == "1")
    });
    if let Some(module) = unsafe_one {
        return check(State::Limited, format!("none, and {module} goes on without (allow_unsafe_interrupts)"))
            .meaning("an assigned device can raise any interrupt of the machine: for guests and programs that you trust");
    }
    let off = read::maybe(&host.path("proc/cmdline")).unwrap_or_default();
    let off = off.split_ascii_whitespace().find(|word| matches!(*word, "intremap=off" | "nointremap"));
    let refused = "VFIO refuses every device with EPERM (\"Operation not permitted\")";
    if let Some(word) = off {
        return check(State::Missing, format!("the kernel's command line turns it off: {word}"))
            .meaning(refused)
            .enable(format!("take {word} off the kernel's command line and boot again"));
    }
    if super::kvm::architecture(host) == super::kvm::Architecture::X86 {
        let line = add_to_line(host, "intremap=on");
        return check(State::Missing, "no controller in /proc/interrupts is behind it".into()).meaning(refused).enable(
            format!("{line}   # QEMU: -device intel-iommu,intremap=on; or, trusting all guests: modprobe vfio_iommu_type1 allow_unsafe_interrupts=1"),
        );
    }
    check(State::Unknown, "no controller in /proc/interrupts has a name that tells".into())
}
