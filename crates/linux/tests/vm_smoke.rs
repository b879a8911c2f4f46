//! The virtual machine is the one that the other tests in it expect.

use std::fs;
use std::path::Path;

/// Address, vendor and device of what has a group of its own.
const DEVICES: [(&str, &str, &str); 4] = [
    ("0000:00:04.0", "0x1234", "0x11e8"),
    ("0000:00:05.0", "0x1234", "0x11e8"),
    ("0000:00:06.0", "0x1b36", "0x0010"),
    ("0000:00:07.0", "0x1b36", "0x0010"),
];

fn device(address: &str) -> std::path::PathBuf {
    Path::new("/sys/bus/pci/devices").join(address)
}

fn expected(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is set in the virtual machine"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn the_kernel_and_its_cpus_are_the_expected_ones() {
    let version = read("/proc/version");
    println!("{version}");
    assert!(version.starts_with("Linux version "), "{version}");
    let built = read("/proc/sys/kernel/osrelease").ends_with("-vcmm");
    assert_eq!(built, expected("VCM_VM_KERNEL") == "built");
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap().matches("processor\t").count();
    assert_eq!(cpus.to_string(), expected("VCM_VM_CPUS"));
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn every_device_is_there_and_has_a_group_of_its_own() {
    let mut groups = Vec::new();
    for (address, vendor, kind) in DEVICES {
        assert_eq!(read(device(address).join("vendor")), vendor, "{address}");
        assert_eq!(read(device(address).join("device")), kind, "{address}");
        let group = fs::read_link(device(address).join("iommu_group")).unwrap();
        assert_eq!(
            fs::read_dir(device(address).join("iommu_group/devices")).unwrap().count(),
            1,
            "{address}"
        );
        groups.push(group);
    }
    groups.sort();
    groups.dedup();
    assert_eq!(groups.len(), DEVICES.len());
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn no_device_is_left_with_vfio() {
    let outside = std::env::var("VCM_VM_OUTSIDE").ok();
    for address in DEVICES.iter().map(|(address, ..)| *address).chain(outside.as_deref()) {
        let driver = fs::read_link(device(address).join("driver")).ok();
        assert!(!driver.is_some_and(|driver| driver.ends_with("vfio-pci")), "{address}");
        assert_eq!(read(device(address).join("driver_override")), "(null)", "{address}");
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn vfio_is_there_and_iommufd_where_the_kernel_has_it() {
    assert!(Path::new("/dev/vfio/vfio").exists());
    assert!(Path::new("/sys/bus/pci/drivers/vfio-pci").exists());
    assert_eq!(Path::new("/dev/iommu").exists(), expected("VCM_VM_IOMMUFD") == "yes");
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn kvm_is_there() {
    assert!(Path::new("/dev/kvm").exists());
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn huge_pages_of_both_sizes_are_reserved() {
    let free = |size: &str| {
        read(format!("/sys/kernel/mm/hugepages/hugepages-{size}/free_hugepages")).parse::<u64>().unwrap()
    };
    assert_eq!(free("2048kB"), 64);
    assert_eq!(free("1048576kB"), 1);
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_device_outside_of_the_iommu_is_there_where_the_kernel_bears_it() {
    let outside = std::env::var("VCM_VM_OUTSIDE").ok();
    assert_eq!(outside.is_some(), expected("VCM_VM_KERNEL") == "built");
    if let Some(address) = outside {
        assert_eq!(read(device(&address).join("device")), "0x11e8");
        assert!(!device(&address).join("iommu_group").exists());
    }
}
