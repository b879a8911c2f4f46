//! Opening KVM, what it can do, and what it is told of devices, with `/dev/kvm` of this machine.
//!
//! Without it the tests fail, unless `VCM_WITHOUT_KVM=1` says that this is meant.
#![cfg(target_arch = "x86_64")]
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses a part of kvm_support")]

mod kvm_support;

use kvm_support::{kvm, machine, wait_until};
use rustix::io::Errno;
use std::path::Path;
use std::sync::Arc;
use vcm::GuestPhysicalAddress;
use vcm_linux::Error;
use vcm_linux::kvm::vcpu::{EmptyBus, Ended, Start, Vcpu};
use vcm_linux::kvm::{InterruptController, Kvm, Protection, VfioFiles};
use vcm_linux::memory::MemoryFile;

#[test]
fn what_is_missing_or_something_else_is_said() {
    let error = Kvm::open_at(Path::new("/dev/no-kvm-here")).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    assert!(error.to_string().contains("/dev/no-kvm-here is missing: switch virtualization on"), "{error}");
    let error = Kvm::open_at(Path::new("/dev/null")).unwrap_err();
    assert!(error.to_string().contains("/dev/null: is no node of KVM's"), "{error}");
}

#[test]
fn a_node_that_may_not_be_opened_names_the_group() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let node = folder.path().join("kvm");
    std::fs::write(&node, "").unwrap();
    std::fs::set_permissions(&node, std::fs::Permissions::from_mode(0o000)).unwrap();
    let error = Kvm::open_at(&node).unwrap_err();
    if rustix::process::geteuid().is_root() {
        // Root may open it, and then it is no node.
        assert!(error.to_string().contains("is no node of KVM's"), "{error}");
    } else {
        assert_eq!(error.errno(), Errno::ACCESS);
        assert!(error.to_string().contains("usermod -aG kvm"), "{error}");
    }
}

#[test]
fn the_capabilities_are_those_that_every_kernel_of_today_has() {
    let Some(kvm) = kvm() else { return };
    let capabilities = kvm.capabilities();
    assert!(capabilities.memory_slots >= 500, "{capabilities:?}");
    assert!(capabilities.interrupt_routes >= 1024, "{capabilities:?}");
    assert!(
        capabilities.irqfd && capabilities.resample && capabilities.interrupt_controller,
        "{capabilities:?}"
    );
    assert!(
        capabilities.read_only_memory && capabilities.devices && capabilities.vcpus >= 1,
        "{capabilities:?}"
    );
}

#[test]
fn kvm_is_told_of_vfio_files_and_of_nothing_else() {
    let Some(vm) = machine() else { return };
    let files = match VfioFiles::new(&vm) {
        Ok(files) => files,
        Err(Error::NotSupported { why, .. }) => {
            assert!(why.contains("CONFIG_KVM_VFIO"), "{why}");
            println!("NOT HERE: this kernel has no KVM_DEV_TYPE_VFIO, and the error says so");
            return;
        }
        Err(other) => panic!("{other}"),
    };
    let null = std::fs::File::open("/dev/null").unwrap();
    let error = files.add(&null).unwrap_err();
    assert_eq!(error.errno(), Errno::INVAL, "{error}");
    assert!(error.to_string().contains("is it a VFIO file"), "{error}");
    files.remove(&null);
    assert!(VfioFiles::new(&vm).is_err(), "there is one for each virtual machine");
}

#[test]
fn a_vcpu_without_interrupt_controller_halts_and_can_begin_anew() {
    let Some(kvm) = kvm() else { return };
    let vm = kvm.create(InterruptController::None).unwrap();
    let file = MemoryFile::new("code", 4096).unwrap();
    // hlt
    file.write(0, &[0xf4]).unwrap();
    let page = file.range(0, 4096).unwrap();
    vm.memory().map_pieces(GuestPhysicalAddress::new(0x1000), &[page], Protection::ReadWrite).unwrap();
    let start =
        Start { instruction: 0x1000, stack: 0x2000, descriptors: 0x1800, interrupts: 0x1900, argument: 0 };
    for _ in 0..3 {
        let vcpu = Vcpu::new(&vm, 0).unwrap();
        assert_eq!(Vcpu::new(&vm, 0).unwrap_err().errno(), Errno::EXIST, "somebody has it");
        vcpu.prepare(start).unwrap();
        let running = vcpu.run(Arc::new(EmptyBus)).unwrap();
        wait_until("it has halted", || running.ended().is_some());
        assert_eq!(running.stop(), Ended::Halted);
    }
}

#[test]
fn a_vcpu_that_cannot_go_on_says_so() {
    let Some(vm) = machine() else { return };
    let file = MemoryFile::new("code", 4096).unwrap();
    // ud2, and there is no handler for that, nor for that.
    file.write(0, &[0x0f, 0x0b]).unwrap();
    let page = file.range(0, 4096).unwrap();
    vm.memory().map_pieces(GuestPhysicalAddress::new(0x1000), &[page], Protection::ReadWrite).unwrap();
    let vcpu = Vcpu::new(&vm, 0).unwrap();
    let start =
        Start { instruction: 0x1000, stack: 0x2000, descriptors: 0x1800, interrupts: 0x1900, argument: 0 };
    vcpu.prepare(start).unwrap();
    let running = vcpu.run(Arc::new(EmptyBus)).unwrap();
    wait_until("it has failed", || running.ended().is_some());
    assert!(matches!(running.stop(), Ended::Failed(_)));
}
