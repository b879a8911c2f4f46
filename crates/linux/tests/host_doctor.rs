//! The doctor on made-up machines.

mod host_trees;

use host_trees::{MSI, Tree};
use vcm_linux::host::{Check, Doctor, Host, State};

fn doctor(tree: &Tree) -> Doctor {
    Host::at(tree.root()).doctor()
}

fn check(tree: &Tree, name: &str) -> Check {
    doctor(tree).check(name).unwrap_or_else(|| panic!("{name}")).clone()
}

const INTEL: &str = "vendor_id\t: GenuineIntel\nflags\t\t: fpu vme vmx pdpe1gb\n";
const GUEST: &str = "vendor_id\t: GenuineIntel\nflags\t\t: fpu vme hypervisor\n";
const ARM: &str = "processor\t: 0\nCPU implementer\t: 0x41\n";
const PLACE: &str = "pci0000:00/0000:00:06.0";

/// A machine on which everything works.
fn healthy() -> Tree {
    let tree = Tree::machine("6.12.9");
    tree.pci(PLACE, (0x144d, 0xa80a, 0x01_0802)).group(1, MSI, &[PLACE]).folder("sys/class/iommu/dmar0");
    tree.file("proc/interrupts", "  1:  0  IR-IO-APIC  1-edge  i8042\n").file("proc/cpuinfo", INTEL);
    tree.file("proc/devices", "Character devices:\n241 vfio-dev\n242 vfio\n").folder("sys/class/vfio-dev");
    tree.file("dev/iommu", "").file("dev/vfio/vfio", "").file("dev/kvm", "").file("dev/udmabuf", "");
    for module in ["vfio", "vfio_iommu_type1", "vfio_pci", "iommufd", "kvm_intel"] {
        tree.folder(&format!("sys/module/{module}"));
    }
    tree.file("sys/module/kvm_intel/parameters/nested", "Y\n");
    tree.file("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "64\n");
    tree.file("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "60\n");
    tree.file(
        "proc/self/limits",
        "Max locked memory         unlimited            unlimited            bytes\n",
    );
    tree
}

#[test]
fn on_a_good_machine_all_is_well() {
    let tree = healthy();
    let doctor = doctor(&tree);
    for ability in &doctor.abilities {
        assert_eq!(ability.state, State::Ok, "{ability:?}");
    }
    assert_eq!(doctor.abilities[0].how, "by iommufd and VFIO's device nodes");
    for name in
        ["iommu", "groups", "interrupt-remapping", "iommufd", "vfio-cdev", "vfio-type1", "vfio-pci", "kvm"]
    {
        assert_eq!(doctor.check(name).unwrap().state, State::Ok, "{name}");
    }
    assert_eq!(check(&tree, "hugepages-2M").found, "64 reserved, 60 free (120M)");
    // Names are for scripts: each means one check.
    for check in &doctor.checks {
        assert_eq!(
            doctor.checks.iter().filter(|other| other.name == check.name).count(),
            1,
            "{}",
            check.name
        );
    }
}

/// Whatever is missing, there is a way to get it, or it is said why there is none.
#[test]
fn each_missing_thing_has_its_line() {
    for (gone, name, line) in [
        ("dev/iommu", "iommufd", "sudo modprobe iommufd"),
        ("dev/vfio/vfio", "vfio-type1", "sudo modprobe vfio"),
        ("sys/bus/pci/drivers/vfio-pci", "vfio-pci", "sudo modprobe vfio-pci"),
        ("dev/kvm", "kvm", "sudo modprobe kvm_intel"),
        ("dev/udmabuf", "udmabuf", "sudo modprobe udmabuf"),
    ] {
        let tree = healthy();
        tree.file("proc/modules", "").file("lib/modules/6.12.9/modules.builtin", "");
        let modules = ["iommufd", "vfio", "vfio-pci", "kvm-intel", "udmabuf"];
        let list: String = modules.iter().map(|name| format!("kernel/{name}.ko.zst:\n")).collect();
        tree.file("lib/modules/6.12.9/modules.dep", list);
        for module in ["vfio", "vfio_pci", "iommufd", "kvm_intel"] {
            std::fs::remove_dir_all(tree.path(&format!("sys/module/{module}"))).unwrap();
        }
        let path = tree.path(gone);
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
        let found = check(&tree, name);
        assert!(!found.state.works(), "{found:?}");
        assert_eq!(found.enable.as_deref(), Some(line), "{name}");
        // This kernel comes without it.
        tree.file("lib/modules/6.12.9/modules.dep", "");
        assert!(check(&tree, name).enable.unwrap().starts_with("boot a kernel with CONFIG_"), "{name}");
    }
}

/// Distributions leave iommufd out: the older way does.
#[test]
fn a_kernel_without_iommufd_has_type1() {
    let tree = healthy();
    std::fs::remove_file(tree.path("dev/iommu")).unwrap();
    std::fs::remove_dir(tree.path("sys/module/iommufd")).unwrap();
    tree.file("boot/config-6.12.9", "CONFIG_VFIO=m\n# CONFIG_IOMMUFD is not set\n");
    tree.file("proc/devices", "Character devices:\n242 vfio\n");
    let found = check(&tree, "iommufd");
    assert_eq!(
        (found.state, found.found.as_str()),
        (State::Missing, "not there: this kernel is built without it")
    );
    assert_eq!(check(&tree, "vfio-cdev").state, State::Missing);
    let doctor = doctor(&tree);
    assert_eq!(
        (doctor.abilities[0].state, doctor.abilities[0].how.as_str()),
        (State::Ok, "by VFIO's groups and type1 containers")
    );
}

#[test]
fn why_there_is_no_iommu() {
    let bare = |cpu: &str| {
        let tree = Tree::machine("6.12.9");
        tree.file("proc/cpuinfo", cpu).folder("sys/firmware/acpi/tables");
        tree
    };
    let found = |tree: &Tree| {
        let check = check(tree, "iommu");
        assert_eq!(check.state, State::Missing, "{check:?}");
        (check.found, check.enable.unwrap())
    };
    let tree = bare(INTEL);
    let (seen, line) = found(&tree);
    assert!(seen == "no sign of one" && line.contains("firmware's setup"), "{seen} {line}");
    tree.file("sys/firmware/acpi/tables/DMAR", "");
    let (seen, line) = found(&tree);
    assert!(seen.contains("Intel VT-d (table DMAR)") && line.contains("intel_iommu=on"), "{seen} {line}");
    tree.file("usr/sbin/update-grub", "");
    assert!(found(&tree).1.starts_with("sudo sed -i 's/^GRUB_CMDLINE_LINUX=\"/&intel_iommu=on /'"));
    tree.file("proc/cmdline", "quiet intel_iommu=off\n");
    let (seen, line) = found(&tree);
    assert!(
        seen.ends_with("intel_iommu=off") && line.starts_with("take intel_iommu=off off"),
        "{seen} {line}"
    );
    assert!(found(&bare(GUEST)).1.contains("-device intel-iommu,intremap=on"));
    let arm = bare(ARM);
    arm.file("sys/class/dmi/id/sys_vendor", "QEMU\n");
    assert!(found(&arm).1.contains("iommu=smmuv3"));
}

/// Without remapping VFIO refuses every device; that has to be said before one tries.
#[test]
fn interrupts_that_are_not_isolated() {
    let tree = healthy();
    tree.file("proc/interrupts", "  1:  0  IO-APIC  1-edge  i8042\n");
    let found = check(&tree, "interrupt-remapping");
    assert_eq!(found.state, State::Missing);
    assert!(
        found.means.unwrap().contains("EPERM") && found.enable.unwrap().contains("allow_unsafe_interrupts=1")
    );
    assert_eq!(doctor(&tree).abilities[0].state, State::Missing);
    tree.file("sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "Y\n");
    let found = check(&tree, "interrupt-remapping");
    assert_eq!(found.state, State::Limited);
    assert!(found.means.unwrap().contains("trust"));
    // An Arm machine translates its messages elsewhere.
    tree.file("proc/cpuinfo", ARM).file("proc/interrupts", " 20: 0 ITS-PCI-MSI-0000:00:06.0 0 Edge nvme\n");
    assert_eq!(check(&tree, "interrupt-remapping").state, State::Ok);
}

#[test]
fn how_much_may_be_pinned() {
    let tree = healthy();
    tree.file(
        "proc/self/limits",
        "Max locked memory         8388608              8388608              bytes\n",
    );
    let found = check(&tree, "locked-memory");
    assert_eq!((found.state, found.found.as_str()), (State::Limited, "8M (RLIMIT_MEMLOCK)"));
    assert!(found.enable.unwrap().contains("memlock unlimited"));
    tree.file("proc/self/status", "CapEff:\t0000000000004000\n");
    assert_eq!(check(&tree, "locked-memory").state, State::Ok);
    // Root of a container's users only: the kernel does not count that.
    tree.file("proc/self/uid_map", "         0     100000      65536\n");
    assert_eq!(check(&tree, "locked-memory").state, State::Limited);
}

#[test]
fn the_smallest_control_group_counts() {
    let tree = healthy();
    tree.file("proc/meminfo", "MemTotal:       16384000 kB\n").file("proc/self/cgroup", "0::/a/b\n");
    assert_eq!(check(&tree, "memory-cgroup").state, State::Unknown);
    tree.file("sys/fs/cgroup/a/b/memory.max", "max\n");
    assert_eq!(check(&tree, "memory-cgroup").state, State::Ok);
    tree.file("sys/fs/cgroup/a/memory.max", "1073741824\n");
    let found = check(&tree, "memory-cgroup");
    assert_eq!(found.state, State::Limited);
    assert_eq!(found.found, "1G of the machine's 16000M (/sys/fs/cgroup/a/memory.max)");
    // The older kind, of which nobody set a limit.
    tree.file("proc/self/cgroup", "4:memory:/x\n0::/\n");
    tree.file("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "9223372036854771712\n");
    assert_eq!(check(&tree, "memory-cgroup").state, State::Ok);
}

#[test]
fn huge_pages_have_the_line_that_reserves_them() {
    let tree = healthy();
    tree.file("sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "0\n");
    tree.file("sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages", "0\n");
    let found = check(&tree, "hugepages-1G");
    assert_eq!(found.state, State::Off);
    assert!(
        found
            .enable
            .unwrap()
            .starts_with("echo 2 | sudo tee /sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages")
    );
    tree.file("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "0\n");
    let found = check(&tree, "hugepages-2M");
    assert_eq!(found.state, State::Limited);
    assert!(found.enable.unwrap().starts_with("echo 320 | "));
    // Arm has sizes of its own.
    tree.file("sys/kernel/mm/hugepages/hugepages-64kB/nr_hugepages", "1\n");
    tree.file("sys/kernel/mm/hugepages/hugepages-64kB/free_hugepages", "1\n");
    assert_eq!(check(&tree, "hugepages-64K").found, "1 reserved, 1 free (64K)");
}

/// A container without /sys, or an empty folder: nothing is known, and nothing fails.
#[test]
fn nothing_at_all_is_unknown() {
    let tree = Tree::new();
    let doctor = doctor(&tree);
    assert!(doctor.checks.len() > 20);
    for name in [
        "iommu",
        "groups",
        "interrupt-remapping",
        "vfio-pci",
        "hugepages-2M",
        "thp",
        "locked-memory",
        "map-count",
        "kernel",
    ] {
        assert_eq!(doctor.check(name).unwrap().state, State::Unknown, "{name}");
    }
    assert_eq!(doctor.abilities[0].state, State::Unknown);
    tree.file("run/systemd/container", "podman\n");
    assert!(check(&tree, "container").means.unwrap().contains("--device /dev/iommu"));
}

#[test]
fn lockdown_and_old_kernels_are_told() {
    let tree = healthy();
    tree.file("sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
    let found = check(&tree, "lockdown");
    assert_eq!((found.state, found.found.as_str()), (State::Limited, "integrity"));
    tree.file("sys/kernel/security/lockdown", "[none] integrity confidentiality\n");
    tree.file("sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", [6, 0, 0, 0, 1]);
    assert_eq!(check(&tree, "lockdown").found, "none, secure boot on");
    tree.file("proc/sys/kernel/osrelease", "5.15.0-91-generic\n");
    assert!(check(&tree, "kernel").means.unwrap().contains("6.2"));
}

#[test]
fn who_asks_is_named() {
    let tree = healthy();
    tree.file("proc/self/status", "Uid:\t1000\t1000\t1000\t1000\nGid:\t1000\t1000\nGroups:\t27 107 1000 \n");
    tree.file("etc/group", "sudo:x:27:\nkvm:x:107:me\n:\nbroken\n");
    assert_eq!(check(&tree, "user").found, "user 1000, in sudo, kvm, 1000");
}
