//! Devices of a real kernel: what sysfs says of them, to VFIO and back.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;
use vcm_linux::host::{Assignable, Former, Host, InUse, ReservedKind, Restored, State};
use vcm_linux::host::{Device, DeviceName};

const PATIENCE: Duration = Duration::from_secs(30);
const EDU: &str = "0000:00:04.0";
const NVME: &str = "0000:00:06.0";

fn name(address: &str) -> DeviceName {
    DeviceName::parse(address).unwrap()
}

fn device(address: &str) -> Device {
    Host::here().device(&name(address)).unwrap()
}

fn built_kernel() -> bool {
    std::env::var("VCM_VM_KERNEL").is_ok_and(|kernel| kernel == "built")
}

/// What a device went back to has to be what it had.
fn expected(former: Option<&str>) -> Restored {
    former.map_or(Restored::Nothing, |driver| Restored::Driver(driver.into()))
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn devices_are_as_qemu_made_them() {
    let edu = device(EDU);
    let identity = edu.identity.unwrap();
    assert_eq!((identity.vendor, identity.device), (0x1234, 0x11e8));
    assert_eq!((edu.bars.len(), edu.bars[0].len), (1, 1 << 20));
    assert_eq!((edu.driver.as_deref(), edu.driver_override.as_deref()), (None, None));
    assert_eq!(edu.assignable(), Assignable::Yes, "{:?}", edu.obstacles);
    let nvme = device(NVME);
    assert_eq!(nvme.identity.unwrap().class_name(), "NVMe controller");
    assert!(nvme.uses.is_empty(), "{:?}", nvme.uses);
    if built_kernel() {
        assert_eq!(nvme.driver.as_deref(), Some("nvme"));
    }
    let all = Host::here().devices().unwrap();
    for address in [EDU, "0000:00:05.0", NVME, "0000:00:07.0"] {
        assert!(all.iter().any(|device| device.name.name() == address), "{address}");
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn windows_leave_out_the_addresses_of_interrupts() {
    let edu = device(EDU);
    let group = edu.group.as_ref().unwrap();
    assert_eq!(group.members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>(), [EDU]);
    let reserved = group.reserved.as_ref().unwrap();
    let msi = reserved.iter().find(|region| region.kind == ReservedKind::Msi).unwrap();
    assert_eq!((msi.first, msi.last), (0xfee0_0000, 0xfeef_ffff));
    let bits = edu.address_bits.unwrap();
    assert!((39..=57).contains(&bits), "{bits}");
    let windows = group.windows(edu.address_bits).unwrap();
    assert!(windows.iter().all(|window| window.last < msi.first || window.first > msi.last), "{windows:?}");
    assert_eq!(windows.last().unwrap().last, (1 << bits) - 1);
    assert_eq!(windows[0].first, 0);
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn to_vfio_and_back() {
    let host = Host::here();
    for address in [EDU, NVME] {
        let before = device(address);
        let bound = host.bind_to_vfio(&name(address), InUse::Refuse, PATIENCE).unwrap();
        let taken = device(address);
        assert_eq!(taken.driver.as_deref(), Some("vfio-pci"));
        assert_eq!(taken.assignable(), Assignable::Ready, "{:?}", taken.obstacles);
        let group = taken.group.as_ref().unwrap().node();
        assert!(std::path::Path::new(&group).exists(), "{group}");
        if built_kernel() {
            let node = taken.vfio_node.as_ref().unwrap();
            assert!(std::path::Path::new(node).exists(), "{node}");
        }
        assert_eq!(host.notes().len(), 1);
        assert_eq!(bound.restore(PATIENCE).unwrap(), expected(before.driver.as_deref()));
        let after = device(address);
        assert_eq!((after.driver, after.driver_override), (before.driver, before.driver_override));
        assert_eq!(host.notes(), []);
    }
}

/// The test starts itself again; that process takes the device, and is killed.
#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn what_a_killed_process_took_is_given_back() {
    const CHILD: &str = "VCM_TEST_TAKES_A_DEVICE";
    let host = Host::here();
    if std::env::var_os(CHILD).is_some() {
        let _bound = host.bind_to_vfio(&name(NVME), InUse::Refuse, PATIENCE).unwrap();
        println!("taken");
        loop {
            std::thread::park();
        }
    }
    let before = device(NVME).driver;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["what_a_killed_process_took_is_given_back", "--exact", "--ignored", "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.ends_with("taken")));
    // SIGKILL.
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(device(NVME).driver.as_deref(), Some("vfio-pci"));
    let notes = host.notes();
    assert_eq!((notes.len(), notes[0].process), (1, Some(child.id())));
    let former = before.clone().map_or(Former::Nothing, Former::Driver);
    assert_eq!((&notes[0].device, &notes[0].former), (&name(NVME), &former));
    assert_eq!(host.restore(&name(NVME), PATIENCE).unwrap(), expected(before.as_deref()));
    assert_eq!(device(NVME).driver, before);
    assert_eq!(host.notes(), []);
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_device_that_is_open_is_not_taken_away() {
    let host = Host::here();
    let before = device(EDU).driver;
    let bound = host.bind_to_vfio(&name(EDU), InUse::Refuse, PATIENCE).unwrap();
    let open = File::options().read(true).write(true).open(device(EDU).group.unwrap().node()).unwrap();
    let error = bound.restore(PATIENCE).unwrap_err().to_string();
    let own = std::process::id();
    assert!(error.contains(&format!("(process {own}) has /dev/vfio/")), "{error}");
    assert_eq!(device(EDU).driver.as_deref(), Some("vfio-pci"));
    drop(open);
    assert_eq!(host.restore(&name(EDU), PATIENCE).unwrap(), expected(before.as_deref()));
}

/// The doctor is right about a machine that is known.
#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn the_doctor_knows_this_machine() {
    let doctor = Host::here().doctor();
    for check in &doctor.checks {
        println!("{} {} {}: {}", check.name, check.state, check.title, check.found);
    }
    let state = |name: &str| doctor.check(name).unwrap().state;
    for name in ["iommu", "groups", "interrupt-remapping", "vfio-pci", "vfio-type1", "locked-memory"] {
        assert_eq!(state(name), State::Ok, "{name}: {:?}", doctor.check(name));
    }
    let with_iommufd = std::env::var("VCM_VM_IOMMUFD").is_ok_and(|it| it == "yes");
    assert_eq!(state("iommufd") == State::Ok, with_iommufd, "{:?}", doctor.check("iommufd"));
    assert_eq!(state("vfio-cdev") == State::Ok, with_iommufd, "{:?}", doctor.check("vfio-cdev"));
    assert_eq!(doctor.abilities[0].state, State::Ok, "{:?}", doctor.abilities[0]);
    assert_eq!(state("hugepages-2M"), State::Ok);
    if built_kernel() {
        assert_eq!(state("kvm"), State::Ok);
    }
}

/// The program, as people use it.
#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn the_program_takes_and_gives_back() {
    let Some(program) = std::env::var_os("VCM_BIN") else {
        panic!("needs the program: cargo xtask vm --programs");
    };
    let before = device(NVME).driver;
    let vcm = |arguments: &[&str]| {
        let output = Command::new(&program).args(arguments).output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        println!("$ vcm {}\n{told}", arguments.join(" "));
        (output.status.code(), told)
    };
    assert_eq!(vcm(&["doctor"]).0, Some(0));
    assert_eq!(vcm(&["doctor", "--require", "iommu,vfio-type1"]).0, Some(0));
    let (code, list) = vcm(&["devices"]);
    assert_eq!(code, Some(0));
    assert!(list.contains(EDU) && list.contains(NVME), "{list}");
    assert_eq!(vcm(&["devices", NVME]).0, Some(0));
    let (code, told) = vcm(&["devices", "--bind", EDU, "--bind", NVME]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(device(NVME).assignable(), Assignable::Ready);
    assert!(vcm(&["devices"]).1.contains("vcm devices --restore 0000:00:06.0"));
    let (code, told) = vcm(&["devices", "--restore"]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(device(NVME).driver, before);
    assert!(vcm(&["devices", "--restore"]).1.starts_with("No device was taken"));
}
