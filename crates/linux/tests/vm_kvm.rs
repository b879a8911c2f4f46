//! A software device's interrupts into a guest of KVM's, inside the virtual machine of the VM tier: SVM that QEMU
//! emulates, the kernel's own KVM over it.
#![cfg(target_arch = "x86_64")]
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses a part of kvm_support")]

mod kvm_support;

use kvm_support::{
    PATIENCE, PROGRAM, RelayThread, SoftDevice, assert_exact, level, machine, message, raise_and_wait, start,
    switch_under_load, wait_until,
};
use rustix::io::Errno;
use std::sync::Arc;
use vcm_irq::Sense;
use vcm_irq::kvm_vfio::GROUP;
use vcm_linux::kvm::forwarding::{Forwarding, Way};
use vcm_linux::kvm::guest::{GuestProgram, Order};
use vcm_linux::kvm::{Protection, VfioFiles, Vm};
use vcm_linux::memory::MemoryFile;

/// The virtual machine has KVM: without it nothing is left out here.
fn here() -> Vm {
    machine().expect("VCM_WITHOUT_KVM is not for this tier")
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_forwarded_level_goes_round_in_the_kernel_without_one_interrupt_too_many() {
    let vm = here();
    let device = SoftDevice::new(&[Sense::Level]);
    let guest = start(&vm, 1, &[level(0, 11, Order::QuietThenEnd)], &device);
    let forwarding = Forwarding::new(&vm, GROUP).unwrap();
    let relay = RelayThread::new(forwarding.relay());
    forwarding.forward(&device, device.name(0), 11).unwrap();
    for _ in 0..100 {
        raise_and_wait(&guest, &device, 0);
    }
    assert_exact(&guest, &device, 0, 100);
    assert_eq!((device.ended_early(0), guest.counts(0).spurious), (0, 0));
    assert_eq!(relay.passed_on(), 0, "this process was woken");
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn two_vcpus_take_levels_and_messages_in_turn() {
    let vm = here();
    let device = SoftDevice::new(&[Sense::Level, Sense::Edge]);
    let program =
        GuestProgram::new(&vm, PROGRAM, 2, &[level(0, 17, Order::QuietThenEnd), message(1)]).unwrap();
    let gsi = vm.routing().add(program.message(1).unwrap()).unwrap();
    let guest = program.start(Arc::clone(&device) as _).unwrap();
    guest.wait_ready(PATIENCE).unwrap();
    let forwarding = Forwarding::new(&vm, GROUP).unwrap();
    forwarding.forward(&device, device.name(0), 17).unwrap();
    forwarding.forward(&device, device.name(1), gsi).unwrap();
    for _ in 0..50 {
        raise_and_wait(&guest, &device, 0);
        raise_and_wait(&guest, &device, 1);
    }
    for interrupt in 0..2 {
        assert_exact(&guest, &device, interrupt, 50);
        assert_eq!(guest.counts(interrupt as usize).vcpu, interrupt);
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn both_kinds_are_switched_under_load_and_none_is_lost() {
    let vm = here();
    let device = SoftDevice::new(&[Sense::Level, Sense::Edge]);
    let program =
        GuestProgram::new(&vm, PROGRAM, 1, &[level(0, 17, Order::QuietThenEnd), message(1)]).unwrap();
    let gsis = [17, vm.routing().add(program.message(1).unwrap()).unwrap()];
    let guest = program.start(Arc::clone(&device) as _).unwrap();
    guest.wait_ready(PATIENCE).unwrap();
    let forwarding = Forwarding::new(&vm, GROUP).unwrap();
    let _relay = RelayThread::new(forwarding.relay());
    for interrupt in 0..2 {
        let gsi = gsis[interrupt as usize];
        forwarding.assign(&device, device.name(interrupt), gsi).unwrap();
        let raised = switch_under_load(&forwarding, &device, &guest, interrupt, gsi, (100, 50));
        assert_exact(&guest, &device, interrupt, raised);
        assert_eq!(forwarding.way(&device, device.name(interrupt)), Some(Way::Automasked));
    }
    assert_eq!((device.ended_early(0), guest.counts(0).spurious), (0, 0));
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_driver_that_ends_first_loses_nothing() {
    let vm = here();
    let device = SoftDevice::new(&[Sense::Level, Sense::Level]);
    let interrupts = [level(0, 9, Order::EndThenQuiet), level(1, 10, Order::Oneshot)];
    let guest = start(&vm, 1, &interrupts, &device);
    let forwarding = Forwarding::new(&vm, GROUP).unwrap();
    for (interrupt, gsi) in [(0, 9), (1, 10)] {
        forwarding.forward(&device, device.name(interrupt), gsi).unwrap();
        for _ in 0..50 {
            raise_and_wait(&guest, &device, interrupt);
        }
        assert_exact(&guest, &device, interrupt, 50);
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn another_guest_takes_over_where_one_was_stopped_in_mid_flight() {
    let vm = here();
    let device = SoftDevice::new(&[Sense::Level]);
    let forwarding = Forwarding::new(&vm, GROUP).unwrap();
    forwarding.forward(&device, device.name(0), 11).unwrap();
    for _ in 0..10 {
        let guest = start(&vm, 2, &[level(0, 11, Order::QuietThenEnd)], &device);
        wait_until("what the last one left has come", || device.is_quiet(0));
        raise_and_wait(&guest, &device, 0);
        device.raise(0);
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn kvm_has_a_list_of_vfio_files_and_takes_no_others() {
    let vm = here();
    let files = VfioFiles::new(&vm).unwrap();
    let null = std::fs::File::open("/dev/null").unwrap();
    assert_eq!(files.add(&null).unwrap_err().errno(), Errno::INVAL);
    files.remove(&null);
    assert!(VfioFiles::new(&vm).is_err(), "there is one for each virtual machine");
}
