//! Forwarding and taking back while the interrupt is alive, and what the control refuses, with `/dev/kvm` of this
//! machine.
//!
//! Without it the tests fail, unless `VCM_WITHOUT_KVM=1` says that this is meant.
#![cfg(target_arch = "x86_64")]
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses a part of kvm_support")]

mod kvm_support;

use kvm_support::{
    PATIENCE, PROGRAM, RelayThread, SoftDevice, assert_exact, level, machine, message, raise_and_wait, start,
    switch_under_load, wait_until,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use vcm_irq::kvm::Mode;
use vcm_irq::kvm_vfio::{
    Attribute, Control, ControlError, DescriptorError, Descriptors, Done, Fault, GROUP, UserMemory,
};
use vcm_irq::{DeviceInterrupt, Sense};
use vcm_linux::kvm::forwarding::{Forwarding, InterruptSource, Way};
use vcm_linux::kvm::guest::{GuestProgram, Interrupt, Order};
use vcm_linux::kvm::{Ending, InterruptController, Message};
use vmm_sys_util::eventfd::EventFd;

#[test]
fn a_level_is_switched_thousands_of_times_under_load_and_none_is_lost() {
    let Some(vm) = machine() else { return };
    let device = SoftDevice::new(&[Sense::Level]);
    let guest = start(&vm, 1, &[level(0, 19, Order::QuietThenEnd)], &device);
    let forwarding = Forwarding::new(&vm, GROUP).unwrap();
    let _relay = RelayThread::new(forwarding.relay());
    forwarding.assign(&device, device.name(0), 19).unwrap();
    let raised = switch_under_load(&forwarding, &device, &guest, 0, 19, (3000, 500));
    assert_exact(&guest, &device, 0, raised);
}

#[test]
fn a_message_is_switched_thousands_of_times_under_load_and_none_is_lost() {
    let Some(vm) = machine() else { return };
    let device = SoftDevice::new(&[Sense::Edge]);
    let program = GuestProgram::new(&vm, PROGRAM, 1, &[message(0)]).unwrap();
    let gsi = vm.routing().add(program.message(0).unwrap()).unwrap();
    let guest = program.start(Arc::clone(&device) as _).unwrap();
    guest.wait_ready(PATIENCE).unwrap();
    let forwarding = Forwarding::new(&vm, GROUP).unwrap();
    let _relay = RelayThread::new(forwarding.relay());
    forwarding.assign(&device, device.name(0), gsi).unwrap();
    let raised = switch_under_load(&forwarding, &device, &guest, 0, gsi, (2000, 500));
    assert_exact(&guest, &device, 0, raised);
}

#[test]
fn two_interrupts_on_two_cpus_are_switched_at_the_same_time() {
    let Some(vm) = machine() else { return };
    let device = SoftDevice::new(&[Sense::Level, Sense::Level]);
    let interrupts = [level(0, 16, Order::QuietThenEnd), level(1, 17, Order::QuietThenEnd)];
    let guest = start(&vm, 2, &interrupts, &device);
    let forwarding = Forwarding::new(&vm, GROUP).unwrap();
    let _relay = RelayThread::new(forwarding.relay());
    for (interrupt, gsi) in [(0, 16), (1, 17)] {
        forwarding.assign(&device, device.name(interrupt), gsi).unwrap();
    }
    let raised = std::thread::scope(|scope| {
        let (forwarding, device, guest) = (&forwarding, &device, &guest);
        let both = [(0, 16), (1, 17)].map(|(interrupt, gsi)| {
            scope.spawn(move || switch_under_load(forwarding, device, guest, interrupt, gsi, (1000, 200)))
        });
        both.map(|one| one.join().unwrap())
    });
    for interrupt in 0..2 {
        assert_exact(&guest, &device, interrupt, raised[interrupt as usize]);
    }
}

#[test]
fn nothing_comes_after_taking_back_has_returned() {
    let Some(vm) = machine() else { return };
    let device = SoftDevice::new(&[Sense::Level, Sense::Level]);
    // The lowest priority: its handler runs when all that was in the guest's local APIC before is through.
    let last = Interrupt { vector: 0x30, status: None, acknowledgement: None, ..message(2) };
    let interrupts = [level(0, 16, Order::QuietThenEnd), level(1, 17, Order::QuietThenEnd), last];
    let program = GuestProgram::new(&vm, PROGRAM, 1, &interrupts).unwrap();
    let gsi = vm.routing().add(program.message(2).unwrap()).unwrap();
    let trigger = EventFd::new(0).unwrap();
    vm.assign(&trigger, gsi, Ending::Unseen).unwrap();
    let guest = program.start(Arc::clone(&device) as _).unwrap();
    guest.wait_ready(PATIENCE).unwrap();
    let settled = || {
        let before = guest.counts(2).delivered;
        trigger.write(1).unwrap();
        wait_until("the last handler has run", || {
            guest.counts(2).delivered > before && !guest.counts(2).in_service
        });
        [guest.counts(0), guest.counts(1)]
    };
    let forwarding = Forwarding::new(&vm, GROUP).unwrap();
    let _relay = RelayThread::new(forwarding.relay());
    let (forwarded, assigned) = (device.name(0), device.name(1));
    for round in 0..300 {
        forwarding.forward(&device, forwarded, 16).unwrap();
        forwarding.assign(&device, assigned, 17).unwrap();
        device.raise(0);
        device.raise(1);
        std::thread::sleep(Duration::from_micros(round % 10 * 10));
        // In whatever state they are now.
        forwarding.unforward(&device, forwarded);
        forwarding.unassign(&device, assigned);
        assert!(!device.is_connected(0) && !device.is_connected(1), "the device still signals somebody");
        assert_eq!(forwarding.way(&device, forwarded), None);
        // What was in the guest's local APIC before is the guest's.
        let before = settled();
        for interrupt in 0..2 {
            if device.is_quiet(interrupt) {
                device.raise(interrupt);
            }
        }
        assert_eq!(settled(), before);
        device.quiet(0);
        device.quiet(1);
    }
    // Nothing is held either: another machine takes them.
    let other = machine().unwrap();
    let elsewhere = Forwarding::new(&other, GROUP).unwrap();
    elsewhere.forward(&device, forwarded, 16).unwrap();
}

#[test]
fn what_was_signalled_before_is_not_lost_by_forwarding() {
    let Some(vm) = machine() else { return };
    let device = SoftDevice::new(&[Sense::Level]);
    let guest = start(&vm, 1, &[level(0, 16, Order::QuietThenEnd)], &device);
    let forwarding = Forwarding::new(&vm, GROUP).unwrap();
    // Nobody relays: what the device signals waits.
    forwarding.assign(&device, device.name(0), 16).unwrap();
    device.raise(0);
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(guest.counts(0).delivered, 0);
    forwarding.forward(&device, device.name(0), 16).unwrap();
    wait_until("it came", || device.is_quiet(0));
    raise_and_wait(&guest, &device, 0);
    // Back without a relay: the device signals, and it is kept.
    wait_until("it is ended", || !device.is_masked(0));
    forwarding.unforward(&device, device.name(0));
    device.raise(0);
    let relay = forwarding.relay();
    wait_until("it came by the relay", || {
        relay.dispatch(Some(Duration::from_millis(1))).unwrap();
        device.is_quiet(0) && !device.is_masked(0)
    });
    assert_exact(&guest, &device, 0, 3);
}

#[test]
fn forwarding_that_the_device_refuses_changes_nothing() {
    let Some(vm) = machine() else { return };
    let device = SoftDevice::new(&[Sense::Level]);
    let guest = start(&vm, 1, &[level(0, 16, Order::QuietThenEnd)], &device);
    let forwarding = Forwarding::new(&vm, GROUP).unwrap();
    let relay = RelayThread::new(forwarding.relay());
    device.refuses.store(true, Ordering::Relaxed);
    let error = forwarding.forward(&device, device.name(0), 16).unwrap_err();
    assert_eq!(error.errno(), Errno::NODEV, "{error}");
    assert!(!device.is_connected(0) && forwarding.way(&device, device.name(0)).is_none());

    forwarding.assign(&device, device.name(0), 16).unwrap();
    for _ in 0..50 {
        assert!(forwarding.forward(&device, device.name(0), 16).is_err());
        raise_and_wait(&guest, &device, 0);
    }
    assert_eq!(forwarding.way(&device, device.name(0)), Some(Way::Automasked));
    assert_exact(&guest, &device, 0, 50);
    assert!(relay.passed_on() > 0);
}

#[test]
fn what_is_wrong_has_its_number() {
    let Some(vm) = machine() else { return };
    let device = SoftDevice::new(&[Sense::Level, Sense::Edge, Sense::Level]);
    let forwarding = Forwarding::new(&vm, GROUP).unwrap();
    let refused = |interrupt, gsi| forwarding.forward(&device, interrupt, gsi).unwrap_err();
    let (first, edge, third) = (device.name(0), device.name(1), device.name(2));
    let message = vm.routing().add(Message { address: 0xfee0_0000, data: 0x50 }).unwrap();

    let none = DeviceInterrupt { index: 7, subindex: 0 };
    assert_eq!(refused(none, 16).errno(), Errno::INVAL);
    assert_eq!(refused(first, 4000).errno(), Errno::INVAL);
    assert_eq!(refused(first, message).errno(), Errno::INVAL, "a level is no message");

    forwarding.assign(&device, first, 16).unwrap();
    let error = forwarding.assign(&device, first, 16).unwrap_err();
    assert_eq!((error.errno(), error.to_string().contains("GSI 16")), (Errno::INVAL, true), "{error}");
    assert_eq!(refused(first, 17).errno(), Errno::BUSY, "it is assigned to another one");
    forwarding.forward(&device, first, 16).unwrap();
    assert_eq!(refused(first, 16).errno(), Errno::INVAL, "it is forwarded already");
    assert_eq!(refused(third, 16).errno(), Errno::BUSY, "the GSI is another's");
    forwarding.forward(&device, edge, message).unwrap();

    let other = machine().unwrap();
    let elsewhere = Forwarding::new(&other, GROUP).unwrap();
    let error = elsewhere.forward(&device, first, 16).unwrap_err();
    assert_eq!(error.errno(), Errno::BUSY, "another control has it");
    elsewhere.unforward(&device, first);
    assert_eq!(forwarding.way(&device, first), Some(Way::Forwarded), "it is not that one's");
    drop(forwarding);
    elsewhere.forward(&device, first, 16).unwrap();
}

#[test]
fn an_eventfd_is_for_one_interrupt() {
    let Some(vm) = machine() else { return };
    let trigger = EventFd::new(0).unwrap();
    vm.assign(&trigger, 16, Ending::Unseen).unwrap();
    let error = vm.assign(&trigger, 17, Ending::Unseen).unwrap_err();
    assert_eq!(error.errno(), Errno::BUSY, "{error}");
    assert!(error.to_string().contains("one eventfd is for one interrupt"), "{error}");
    vm.deassign(&trigger, 16);
    vm.deassign(&trigger, 16);
    let ended = EventFd::new(0).unwrap();
    vm.assign(&trigger, 17, Ending::Resample(&ended)).unwrap();
    assert_eq!(vm.assign(&EventFd::new(0).unwrap(), 99, Ending::Unseen).unwrap_err().errno(), Errno::INVAL);
    let quiet = kvm_support::kvm().unwrap().create(InterruptController::None).unwrap();
    assert_eq!(quiet.assign(&trigger, 16, Ending::Unseen).unwrap_err().errno(), Errno::INVAL);
}

/// The memory of a user whose arguments begin at address 4096.
struct Arguments(Vec<u8>);

impl UserMemory for Arguments {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        let fault = Fault { address };
        let start = usize::try_from(address).ok().and_then(|at| at.checked_sub(4096)).ok_or(fault)?;
        into.copy_from_slice(self.0.get(start..start + into.len()).ok_or(fault)?);
        Ok(())
    }
}

fn arguments(descriptor: i32, interrupt: DeviceInterrupt, gsi: u32) -> Arguments {
    let words = [descriptor as u32, interrupt.index, interrupt.subindex, gsi];
    Arguments(words.iter().flat_map(|word| word.to_ne_bytes()).collect())
}

struct Files(HashMap<i32, Arc<SoftDevice>>);

impl Descriptors for Files {
    type Device = Arc<SoftDevice>;

    fn device(&self, descriptor: i32) -> Result<&Arc<SoftDevice>, DescriptorError> {
        match descriptor {
            0..=2 => Err(DescriptorError::NotVfio),
            _ => self.0.get(&descriptor).ok_or(DescriptorError::NoSuch),
        }
    }
}

#[test]
fn the_control_interface_runs_over_kvm() {
    let Some(vm) = machine() else { return };
    let device = SoftDevice::new(&[Sense::Level]);
    let guest = start(&vm, 1, &[level(0, 16, Order::QuietThenEnd)], &device);
    let files = Files(HashMap::from([(9, Arc::clone(&device))]));
    let mut control = Forwarding::new(&vm, GROUP).unwrap();
    let mut ask = |attribute: u64, argument: &Arguments, address: u64| {
        control.set_attribute(GROUP, attribute, address, argument, &files)
    };
    let mut call = |attribute, argument: &Arguments| {
        ask(attribute, argument, 4096).map_err(|error| error.errno().name())
    };
    let (forward, unforward) = (Attribute::FORWARD_IRQ, Attribute::UNFORWARD_IRQ);
    let good = arguments(9, device.name(0), 16);
    let none = DeviceInterrupt { index: 3, subindex: 3 };

    assert_eq!(call(3, &good), Err("ENXIO"));
    assert_eq!(call(forward, &Arguments(vec![0; 15])), Err("EFAULT"));
    assert_eq!(call(forward, &arguments(44, device.name(0), 16)), Err("EBADF"));
    assert_eq!(call(forward, &arguments(1, device.name(0), 16)), Err("EINVAL"));
    assert_eq!(call(forward, &arguments(9, device.name(0), 5000)), Err("EINVAL"));
    assert_eq!(call(forward, &arguments(9, device.name(0), 900)), Err("EINVAL"));
    assert_eq!(call(forward, &arguments(9, none, 16)), Err("EINVAL"));
    assert_eq!(call(unforward, &arguments(9, none, 16)), Err("EINVAL"));
    assert_eq!(call(unforward, &good), Err("EINVAL"));

    assert_eq!(call(forward, &good), Ok(Done::Forwarded(Mode::Forwarded)));
    assert_eq!(call(forward, &good), Err("EINVAL"));
    raise_and_wait(&guest, &device, 0);
    assert_eq!(call(unforward, &good), Ok(Done::Unforwarded));
    assert_eq!(call(unforward, &good), Err("EINVAL"));
    assert!(!device.is_connected(0));

    let other = machine().unwrap();
    let elsewhere = Forwarding::new(&other, GROUP).unwrap();
    elsewhere.forward(&device, device.name(0), 16).unwrap();
    let error = ask(forward, &good, 4096).unwrap_err();
    assert_eq!(error.errno().name(), "EBUSY");
    assert!(matches!(error, ControlError::Engine { gsi: 16, .. }), "{error}");
    drop(elsewhere);

    assert_eq!(ask(forward, &good, 4096), Ok(Done::Forwarded(Mode::Forwarded)));
    control.release();
    assert!(!device.is_connected(0));
}

#[test]
fn a_reference_is_held_exactly_while_an_interrupt_is_led_somewhere() {
    let Some(vm) = machine() else { return };
    let device = SoftDevice::new(&[Sense::Level]);
    let held = || Arc::strong_count(&device);
    let forwarding = Forwarding::new(&vm, GROUP).unwrap();
    let none = held();
    forwarding.forward(&device, device.name(0), 16).unwrap();
    assert_eq!(held(), none + 1);
    forwarding.unforward(&device, device.name(0));
    assert_eq!(held(), none);
    forwarding.assign(&device, device.name(0), 16).unwrap();
    forwarding.forward(&device, device.name(0), 16).unwrap();
    forwarding.unforward(&device, device.name(0));
    assert_eq!(held(), none + 1, "it is assigned still");
    drop(forwarding);
    assert_eq!(held(), none);
}

#[test]
fn everything_can_be_dropped_in_mid_flight_in_any_order() {
    if kvm_support::kvm().is_none() {
        return;
    }
    let device = SoftDevice::new(&[Sense::Level, Sense::Level]);
    for order in 0..12 {
        let vm = machine().unwrap();
        let interrupts = [level(0, 16, Order::QuietThenEnd), level(1, 17, Order::EndThenQuiet)];
        let guest = start(&vm, 1 + order % 2, &interrupts, &device);
        let forwarding = Forwarding::new(&vm, GROUP).unwrap();
        let relay = RelayThread::new(forwarding.relay());
        forwarding.forward(&device, device.name(0), 16).unwrap();
        forwarding.assign(&device, device.name(1), 17).unwrap();
        let (over, raised) = (AtomicBool::new(false), AtomicU32::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    for interrupt in 0..2 {
                        if device.is_quiet(interrupt) {
                            device.raise(interrupt);
                            raised.fetch_add(1, Ordering::Release);
                        }
                    }
                }
            });
            wait_until("interrupts come", || raised.load(Ordering::Acquire) > 20);
            match order / 2 {
                0 => drop((guest, forwarding, vm, relay)),
                1 => drop((forwarding, guest, relay, vm)),
                2 => drop((vm, relay, forwarding, guest)),
                3 => drop((relay, vm, guest, forwarding)),
                4 => drop((guest, vm, relay, forwarding)),
                _ => drop((vm, forwarding, relay, guest)),
            }
            over.store(true, Ordering::Release);
        });
        for interrupt in 0..2 {
            assert!(!device.is_connected(interrupt), "order {order}");
            device.quiet(interrupt);
        }
    }
    assert!(device.lend(device.name(0)) && device.lend(device.name(1)), "nobody holds them");
}
