//! Interrupts of a device in software, into a guest of KVM's and back, with `/dev/kvm` of this machine.
//!
//! Without it the tests fail, unless `VCM_WITHOUT_KVM=1` says that this is meant.
#![cfg(target_arch = "x86_64")]
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses a part of kvm_support")]

mod kvm_support;

use kvm_support::{
    PATIENCE, PROGRAM, RelayThread, SoftDevice, assert_exact, level, machine, message, raise_and_wait, start,
    wait_until,
};
use std::sync::Arc;
use vcm::GuestPhysicalAddress;
use vcm_irq::Sense;
use vcm_irq::kvm_vfio::GROUP;
use vcm_linux::kvm::forwarding::{Forwarding, Way};
use vcm_linux::kvm::guest::{GuestProgram, Interrupt, Order};
use vcm_linux::kvm::vcpu::Ended;

#[test]
fn a_forwarded_level_goes_round_in_the_kernel() {
    let Some(vm) = machine() else { return };
    let device = SoftDevice::new(&[Sense::Level]);
    let guest = start(&vm, 1, &[level(0, 20, Order::QuietThenEnd)], &device);
    let forwarding = Forwarding::new(&vm, GROUP).unwrap();
    let relay = RelayThread::new(forwarding.relay());
    forwarding.forward(&device, device.name(0), 20).unwrap();
    for _ in 0..500 {
        raise_and_wait(&guest, &device, 0);
    }
    assert_exact(&guest, &device, 0, 500);
    assert_eq!(relay.passed_on(), 0, "this process was woken");
    assert_eq!(guest.stop(), [Ended::Stopped]);
}

#[test]
fn an_automasked_level_goes_round_through_this_process() {
    let Some(vm) = machine() else { return };
    let device = SoftDevice::new(&[Sense::Level]);
    let guest = start(&vm, 1, &[level(0, 5, Order::QuietThenEnd)], &device);
    let forwarding = Forwarding::new(&vm, GROUP).unwrap();
    let relay = RelayThread::new(forwarding.relay());
    forwarding.assign(&device, device.name(0), 5).unwrap();
    assert_eq!(forwarding.way(&device, device.name(0)), Some(Way::Automasked));
    for _ in 0..300 {
        raise_and_wait(&guest, &device, 0);
    }
    assert_exact(&guest, &device, 0, 300);
    // A signal and an end for each; the loop may not have counted the last one yet.
    let both = device.signalled(0) as usize * 2;
    wait_until("all went through this process", || relay.passed_on() == both);
}

#[test]
fn a_message_goes_by_its_gsi_in_both_ways() {
    let Some(vm) = machine() else { return };
    let device = SoftDevice::new(&[Sense::Edge]);
    let program = GuestProgram::new(&vm, PROGRAM, 1, &[message(0)]).unwrap();
    let gsi = vm.routing().add(program.message(0).unwrap()).unwrap();
    assert!(gsi >= 24 && !vm.routing().is_pin(gsi));
    let guest = program.start(Arc::clone(&device) as _).unwrap();
    guest.wait_ready(PATIENCE).unwrap();
    let forwarding = Forwarding::new(&vm, GROUP).unwrap();
    let relay = RelayThread::new(forwarding.relay());
    forwarding.assign(&device, device.name(0), gsi).unwrap();
    for _ in 0..100 {
        raise_and_wait(&guest, &device, 0);
    }
    wait_until("a hundred went through this process", || relay.passed_on() == 100);
    forwarding.forward(&device, device.name(0), gsi).unwrap();
    for _ in 0..300 {
        raise_and_wait(&guest, &device, 0);
    }
    assert_eq!(relay.passed_on(), 100, "this process was woken");
    assert_exact(&guest, &device, 0, 400);
}

#[test]
fn a_message_can_be_changed_and_taken_away_under_its_eventfd() {
    let Some(vm) = machine() else { return };
    let device = SoftDevice::new(&[Sense::Edge, Sense::Edge]);
    let program = GuestProgram::new(&vm, PROGRAM, 2, &[message(0), message(1)]).unwrap();
    let (first, second) = (program.message(0).unwrap(), program.message(1).unwrap());
    assert_ne!(first.address, second.address, "the vCPUs take them in turn");
    let routing = vm.routing();
    let entries = routing.len();
    let gsi = routing.add(first).unwrap();
    assert_eq!((routing.len(), routing.message(gsi)), (entries + 1, Some(first)));
    let guest = program.start(Arc::clone(&device) as _).unwrap();
    guest.wait_ready(PATIENCE).unwrap();
    let forwarding = Forwarding::new(&vm, GROUP).unwrap();
    forwarding.forward(&device, device.name(0), gsi).unwrap();
    raise_and_wait(&guest, &device, 0);
    assert_eq!((guest.counts(0).delivered, guest.counts(0).vcpu), (1, 0));

    // The guest moves it: the same GSI is another vector, on another CPU. Its handler finds its own device quiet.
    routing.change(gsi, second).unwrap();
    device.raise(0);
    wait_until("the other handler ran", || guest.counts(1).spurious == 1);
    wait_until("it is the other CPU", || guest.counts(1).vcpu == 1);
    assert_eq!(guest.counts(0).delivered, 1);

    // Back, and it comes again; then away, and nothing does.
    routing.change(gsi, first).unwrap();
    forwarding.unforward(&device, device.name(0));
    forwarding.forward(&device, device.name(0), gsi).unwrap();
    routing.remove(gsi);
    assert!(!routing.has(gsi));
    routing.remove(gsi);
    assert!(routing.change(gsi, first).is_err(), "it is no message any more");
    assert!(routing.change(11, first).is_err(), "it is a pin");
    let counted = guest.counts(0);
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(guest.counts(0), counted);
}

#[test]
fn the_table_of_gsis_has_an_end_and_says_so() {
    let Some(vm) = machine() else { return };
    let routing = vm.routing();
    let message = vcm_linux::kvm::Message { address: 0xfee0_0000, data: 0x50 };
    let limit = vm.capabilities().interrupt_routes as usize;
    // All that are left, but for a few: each is a call with the whole table.
    let mut added = Vec::new();
    while routing.len() < limit && added.len() < 300 {
        added.push(routing.add(message).unwrap());
    }
    assert!(added.is_sorted(), "the lowest that is free");
    routing.remove(added[7]);
    assert_eq!(routing.add(message).unwrap(), added[7], "numbers are used again");
}

#[test]
fn a_driver_that_ends_first_is_interrupted_once_more_and_loses_nothing() {
    let Some(vm) = machine() else { return };
    let device = SoftDevice::new(&[Sense::Level, Sense::Level]);
    let interrupts = [level(0, 9, Order::EndThenQuiet), level(1, 10, Order::Oneshot)];
    let guest = start(&vm, 1, &interrupts, &device);
    let forwarding = Forwarding::new(&vm, GROUP).unwrap();
    for (interrupt, gsi) in [(0, 9), (1, 10)] {
        forwarding.forward(&device, device.name(interrupt), gsi).unwrap();
        for _ in 0..200 {
            raise_and_wait(&guest, &device, interrupt);
        }
        // Each end before the device is quiet may bring one more, which finds nothing to do.
        assert_exact(&guest, &device, interrupt, 200);
    }
}

#[test]
fn two_cpus_take_interrupts_in_turn() {
    let Some(vm) = machine() else { return };
    let senses = [Sense::Level, Sense::Level, Sense::Edge, Sense::Edge];
    let device = SoftDevice::new(&senses);
    let interrupts =
        [level(0, 6, Order::QuietThenEnd), level(1, 18, Order::QuietThenEnd), message(2), message(3)];
    let program = GuestProgram::new(&vm, PROGRAM, 2, &interrupts).unwrap();
    let gsis = [6, 18, 2, 3].map(|gsi| match gsi {
        2 | 3 => vm.routing().add(program.message(gsi).unwrap()).unwrap(),
        pin => pin as u32,
    });
    let guest = program.start(Arc::clone(&device) as _).unwrap();
    guest.wait_ready(PATIENCE).unwrap();
    assert_eq!(guest.vcpus(), 2);
    let forwarding = Forwarding::new(&vm, GROUP).unwrap();
    for interrupt in 0..4 {
        forwarding.forward(&device, device.name(interrupt), gsis[interrupt as usize]).unwrap();
    }
    std::thread::scope(|scope| {
        for interrupt in 0..4 {
            let (guest, device) = (&guest, &device);
            scope.spawn(move || (0..150).for_each(|_| raise_and_wait(guest, device, interrupt)));
        }
    });
    for interrupt in 0..4 {
        assert_exact(&guest, &device, interrupt, 150);
        assert_eq!(guest.counts(interrupt as usize).vcpu, interrupt % 2, "interrupt {interrupt}");
    }
}

#[test]
fn what_no_guest_can_have_is_refused() {
    let Some(vm) = machine() else { return };
    let one = level(0, 11, Order::QuietThenEnd);
    let same_vector = Interrupt { vector: one.vector, ..level(1, 12, Order::QuietThenEnd) };
    let same_gsi = level(1, 11, Order::QuietThenEnd);
    let refused: [(&str, u32, &[Interrupt]); 6] = [
        ("0 vCPUs", 0, &[one]),
        ("vector 64", 1, &[one, same_vector]),
        ("GSI 11", 1, &[one, same_gsi]),
        ("vector 31", 1, &[Interrupt { vector: 31, ..one }]),
        ("GSI 24", 1, &[level(0, 24, Order::QuietThenEnd)]),
        ("oneshot", 1, &[Interrupt { order: Order::Oneshot, ..message(0) }]),
    ];
    for (why, vcpus, interrupts) in refused {
        let error = GuestProgram::new(&vm, PROGRAM, vcpus, interrupts).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    assert_eq!(vm.memory().slots_used(), 0);
    let above = GuestPhysicalAddress::new(1 << 32);
    assert!(GuestProgram::new(&vm, above, 1, &[one]).is_err());
    let program = GuestProgram::new(&vm, PROGRAM, 1, &[one]).unwrap();
    assert_eq!(vm.memory().slots_used(), 1);
    drop(program);
    assert_eq!(vm.memory().slots_used(), 0, "its memory goes with it");
}

#[test]
fn another_guest_takes_over_where_one_was_stopped_in_mid_flight() {
    let Some(vm) = machine() else { return };
    let device = SoftDevice::new(&[Sense::Level]);
    let forwarding = Forwarding::new(&vm, GROUP).unwrap();
    forwarding.forward(&device, device.name(0), 11).unwrap();
    for round in 0..30 {
        let guest = start(&vm, 1 + round % 2, &[level(0, 11, Order::QuietThenEnd)], &device);
        // What the last one left comes to this one.
        wait_until("the device is quiet", || device.is_quiet(0));
        for _ in 0..10 {
            raise_and_wait(&guest, &device, 0);
        }
        device.raise(0);
        if round % 3 == 0 {
            std::thread::sleep(std::time::Duration::from_micros(u64::from(round) * 7));
        }
    }
}
