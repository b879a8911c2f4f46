//! What several CPUs do at the same time, in every order that the memory model allows.
//!
//! `RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test -p vcm-irq --release --test loom`
//!
//! Each model is explored with at most three preemptions, unless `LOOM_MAX_PREEMPTIONS` says otherwise. Every
//! access to the controller is one atomic step, as a register access is.
#![cfg(loom)]

#[path = "loom/machine.rs"]
mod machine;

use loom::sync::atomic::Ordering::SeqCst;
use loom::thread;
use machine::{
    ACTIVE, ENABLED, GUEST, HIGH, HOST, LATCH, OTHER, VCPU, Virtual, explore, rig, token, virtual_machine,
};
use vcm_irq::kvm::{join, part};
use vcm_irq::vgic::Vcpu;
use vcm_irq::{Sense, VcpuId};

#[test]
fn the_handler_and_masks() {
    explore(|| {
        let (rig, line) = rig(Sense::Level);
        rig.hardware().change(HIGH, 0);
        let (first, second) = (rig.clone(), rig.clone());
        let handler = thread::spawn(move || first.take(None));
        let user = thread::spawn(move || second.host.mask(line));
        rig.host.complete(line);
        handler.join().expect("no panic");
        user.join().expect("no panic");
        assert!(rig.check().user_masked);
        assert!(!rig.hardware().has(ACTIVE));
    });
}

#[test]
fn mask_unmask_and_complete() {
    explore(|| {
        let (rig, line) = rig(Sense::Level);
        let (first, second) = (rig.clone(), rig.clone());
        let masks = thread::spawn(move || first.host.mask(line));
        let unmasks = thread::spawn(move || second.host.unmask(line));
        rig.host.complete(line);
        masks.join().expect("no panic");
        unmasks.join().expect("no panic");
        rig.check();
    });
}

#[test]
fn no_signal_after_the_trigger_was_taken_away() {
    for sense in [Sense::Level, Sense::Edge] {
        explore(move || {
            let (rig, line) = rig(sense);
            rig.hardware().change(LATCH, 0);
            let other = rig.clone();
            let handler = thread::spawn(move || other.take(None));
            rig.host.connect(line, token(2)).unwrap();
            rig.ended.store(true, SeqCst);
            handler.join().expect("no panic");
            let state = rig.check();
            rig.take(None);
            let user = rig.user.load(SeqCst);
            assert!(user == 1 || sense == Sense::Level && !state.automasked, "an edge is told once: {user}");
        });
    }
}

#[test]
fn nothing_after_close_and_the_next_owner_begins_anew() {
    for sense in [Sense::Level, Sense::Edge] {
        explore(move || {
            let (rig, line) = rig(sense);
            rig.hardware().change(LATCH, 0);
            let other = rig.clone();
            let handler = thread::spawn(move || other.take(None));
            rig.host.close(line);
            rig.ended.store(true, SeqCst);
            assert!(!rig.hardware().has(ENABLED));
            let line = rig.host.open(HOST, sense).expect("it is closed");
            rig.host.mask(line);
            rig.host.connect(line, token(2)).unwrap();
            handler.join().expect("no panic");
            assert!(rig.check().user_masked);
            assert!(!rig.hardware().has(ACTIVE));
            rig.host.unmask(line);
            rig.check();
            rig.host.close(line);
            assert!(!rig.hardware().has(ENABLED | ACTIVE | LATCH));
        });
    }
}

#[test]
fn the_handler_and_joining() {
    explore(|| {
        let (rig, line) = rig(Sense::Level);
        let vm = virtual_machine(&rig, 1);
        rig.hardware().change(HIGH, 0);
        let (other, vm2) = (rig.clone(), vm.clone());
        let handler = thread::spawn(move || other.take(Some(&vm2)));
        let joined = join(&vm, line, GUEST).is_ok();
        handler.join().expect("no panic");
        let state = rig.check();
        assert_eq!(state.forwarded, joined);
        assert_eq!(state.automasked, !joined, "it was in flight, which is why it was refused");
        let seen = vm.interrupt(VCPU, GUEST.0).expect("it exists");
        assert_eq!(rig.hardware().has(ACTIVE), joined && seen.pending && vm.has_queued(VCPU));
    });
}

#[test]
fn the_handler_and_parting() {
    for sense in [Sense::Level, Sense::Edge] {
        explore(move || {
            let (rig, line) = rig(sense);
            let vm = virtual_machine(&rig, 1);
            join(&vm, line, GUEST).expect("nothing is in flight");
            let asks = if sense == Sense::Level { HIGH } else { LATCH };
            rig.hardware().change(asks, 0);
            let (other, vm2) = (rig.clone(), vm.clone());
            let handler = thread::spawn(move || other.take(Some(&vm2)));
            part(&vm, line, GUEST, token(2));
            rig.ended.store(true, SeqCst);
            handler.join().expect("no panic");
            rig.take(Some(&vm));
            let state = rig.check();
            assert!(!state.forwarded && !rig.hardware().has(ACTIVE));
            let pending = vm.interrupt(VCPU, GUEST.0).expect("it exists").pending;
            assert_ne!(pending, rig.user.load(SeqCst) > 0, "either the guest has it, or the user was told");
            assert_eq!(state.automasked, sense == Sense::Level);
        });
    }
}

/// The guest ends the interrupt while it is un-forwarded, by the hardware or by software: in either case the line is
/// not left in flight.
#[test]
fn the_guest_ends_it_while_it_is_parted() {
    explore(|| {
        let (rig, line) = rig(Sense::Level);
        let vm = virtual_machine(&rig, 1);
        join(&vm, line, GUEST).expect("nothing is in flight");
        rig.hardware().change(HIGH, 0);
        rig.take(Some(&vm));
        let (other, vm2) = (rig.clone(), vm.clone());
        let vcpu = thread::spawn(move || {
            let mut vcpu = Vcpu::new(&vm2, VCPU).expect("memory");
            let mut cpu = Virtual::new(&other, 1);
            for _ in 0..2 {
                let _ = vcpu.load(&vm2, &mut cpu);
                // Where the guest itself completed it, the device is content; else the host is told.
                cpu.guest_ends();
                vcpu.save(&vm2, &mut cpu);
            }
        });
        part(&vm, line, GUEST, token(2));
        assert!(!rig.hardware().has(ACTIVE));
        vcpu.join().expect("no panic");
        let pending = vm.interrupt(VCPU, GUEST.0).expect("it exists").pending;
        assert_eq!(rig.check().automasked, pending, "in flight as long as the guest has it");
    });
}

#[test]
fn the_guest_ends_what_is_in_no_list_register_while_it_is_parted() {
    explore(|| {
        let (rig, line) = rig(Sense::Level);
        let vm = virtual_machine(&rig, 1);
        join(&vm, line, GUEST).expect("nothing is in flight");
        // The guest has it active; another one takes the only list register.
        vm.set_active(VCPU, GUEST.0);
        vm.pulse(OTHER).expect("nobody forwards it");
        let mut vcpu = Vcpu::new(&vm, VCPU).expect("memory");
        let (other, vm2) = (rig.clone(), vm.clone());
        {
            let mut cpu = Virtual::new(&rig, 1);
            let loaded = vcpu.load(&vm, &mut cpu);
            assert!(cpu.has(OTHER) && loaded.waiting == 1);
        }
        let saves = thread::spawn(move || {
            let mut cpu = Virtual::new(&other, 1);
            cpu.ended_outside = 1;
            vcpu.save(&vm2, &mut cpu);
        });
        part(&vm, line, GUEST, token(2));
        saves.join().expect("no panic");
        assert!(!vm.interrupt(VCPU, GUEST.0).expect("it exists").active);
        assert!(!rig.check().automasked, "nobody has it any more");
        assert!(!rig.hardware().has(ACTIVE));
    });
}

#[test]
fn a_delivery_wakes_the_vcpu() {
    explore(|| {
        let (rig, line) = rig(Sense::Edge);
        let vm = virtual_machine(&rig, 1);
        join(&vm, line, GUEST).expect("nothing is in flight");
        rig.hardware().change(LATCH, 0);
        let (other, vm2) = (rig.clone(), vm.clone());
        let handler = thread::spawn(move || other.take(Some(&vm2)));
        let mut vcpu = Vcpu::new(&vm, VCPU).expect("memory");
        let mut cpu = Virtual::new(&rig, 1);
        loop {
            let _ = vcpu.load(&vm, &mut cpu);
            if cpu.has(GUEST) {
                break;
            }
            // It is in the guest until somebody kicks it: for ever, if nobody does.
            while !rig.kicked.swap(false, SeqCst) {
                thread::yield_now();
            }
            vcpu.save(&vm, &mut cpu);
        }
        cpu.guest_ends();
        vcpu.save(&vm, &mut cpu);
        handler.join().expect("no panic");
        assert!(!rig.hardware().has(ACTIVE));
        rig.check();
    });
}

#[test]
fn what_is_held_is_not_claimed() {
    explore(|| {
        let (rig, _) = rig(Sense::Edge);
        let vm = virtual_machine(&rig, 2);
        vm.pulse(GUEST).expect("nobody forwards it");
        let (other, vm2) = (rig.clone(), vm.clone());
        let runs = thread::spawn(move || {
            let mut vcpu = Vcpu::new(&vm2, VCPU).expect("memory");
            let mut cpu = Virtual::new(&other, 1);
            let _ = vcpu.load(&vm2, &mut cpu);
            assert!(!cpu.has(GUEST) || !other.ended.load(SeqCst), "taken after it was disabled");
            vcpu.save(&vm2, &mut cpu);
        });
        vm.disable(VcpuId(1), GUEST.0);
        assert!(!rig.named.load(SeqCst), "disabled, and a list register names it");
        rig.ended.store(true, SeqCst);
        runs.join().expect("no panic");
        let seen = vm.interrupt(VCPU, GUEST.0).expect("it exists");
        assert!(seen.pending && !seen.enabled);
    });
}

#[test]
fn two_vcpus_enable_and_disable() {
    explore(|| {
        let (rig, line) = rig(Sense::Level);
        let vm = virtual_machine(&rig, 2);
        join(&vm, line, GUEST).expect("nothing is in flight");
        let vm2 = vm.clone();
        let disables = thread::spawn(move || vm2.disable(VCPU, GUEST.0));
        vm.enable(VcpuId(1), GUEST.0);
        disables.join().expect("no panic");
        let enabled = vm.interrupt(VCPU, GUEST.0).expect("it exists").enabled;
        assert_eq!(rig.check().guest_masked, !enabled);
    });
}

#[test]
fn the_guest_disables_while_it_is_joined_and_parted() {
    explore(|| {
        let (rig, line) = rig(Sense::Level);
        let vm = virtual_machine(&rig, 1);
        let vm2 = vm.clone();
        let guest = thread::spawn(move || vm2.disable(VCPU, GUEST.0));
        join(&vm, line, GUEST).expect("nothing is in flight");
        guest.join().expect("no panic");
        assert!(rig.check().guest_masked);
        let vm2 = vm.clone();
        let guest = thread::spawn(move || vm2.enable(VCPU, GUEST.0));
        part(&vm, line, GUEST, token(1));
        guest.join().expect("no panic");
        let state = rig.check();
        assert!(!state.guest_masked && !state.forwarded && rig.hardware().has(ENABLED));
    });
}

/// The other models would see nothing if it were not so.
#[test]
fn the_guest_interrupts_are_passed_on() {
    explore(|| {
        let (rig, _) = rig(Sense::Edge);
        let vm = virtual_machine(&rig, 1);
        vm.pulse(GUEST).expect("nobody forwards it");
        let mut vcpu = Vcpu::new(&vm, VCPU).expect("memory");
        let mut cpu = Virtual::new(&rig, 1);
        let _ = vcpu.load(&vm, &mut cpu);
        assert!(cpu.has(GUEST));
        vcpu.save(&vm, &mut cpu);
    });
}

#[test]
fn a_delivery_while_the_interrupt_is_held() {
    explore(|| {
        let (rig, line) = rig(Sense::Edge);
        let vm = virtual_machine(&rig, 2);
        join(&vm, line, GUEST).expect("nothing is in flight");
        rig.hardware().change(LATCH, 0);
        let (other, vm2) = (rig.clone(), vm.clone());
        let handler = thread::spawn(move || other.take(Some(&vm2)));
        vm.set_targets(GUEST.0, 1);
        handler.join().expect("no panic");
        let mut vcpu = Vcpu::new(&vm, VCPU).expect("memory");
        let mut cpu = Virtual::new(&rig, 1);
        let _ = vcpu.load(&vm, &mut cpu);
        assert!(cpu.has(GUEST), "whoever came last has queued it");
        cpu.guest_ends();
        vcpu.save(&vm, &mut cpu);
        rig.check();
    });
}

#[test]
fn a_delivery_while_the_list_registers_are_saved() {
    explore(|| {
        let (rig, line) = rig(Sense::Edge);
        let vm = virtual_machine(&rig, 1);
        join(&vm, line, GUEST).expect("nothing is in flight");
        rig.hardware().change(LATCH, 0);
        rig.take(Some(&vm));
        let mut vcpu = Vcpu::new(&vm, VCPU).expect("memory");
        let mut cpu = Virtual::new(&rig, 1);
        let _ = vcpu.load(&vm, &mut cpu);
        // The next edge comes while the guest handles this one.
        rig.hardware().change(LATCH, 0);
        cpu.guest_ends();
        let (other, vm2) = (rig.clone(), vm.clone());
        let handler = thread::spawn(move || other.take(Some(&vm2)));
        vcpu.save(&vm, &mut cpu);
        handler.join().expect("no panic");
        let _ = vcpu.load(&vm, &mut cpu);
        assert!(cpu.has(GUEST), "it is queued, or the vCPU has put it aside");
        cpu.guest_ends();
        vcpu.save(&vm, &mut cpu);
        rig.check();
    });
}

#[test]
fn two_part_at_once() {
    explore(|| {
        let (rig, line) = rig(Sense::Level);
        let vm = virtual_machine(&rig, 1);
        join(&vm, line, GUEST).expect("nothing is in flight");
        rig.hardware().change(HIGH, 0);
        rig.take(Some(&vm));
        let vm2 = vm.clone();
        let other = thread::spawn(move || part(&vm2, line, GUEST, token(2)));
        part(&vm, line, GUEST, token(2));
        other.join().expect("no panic");
        let state = rig.check();
        assert!(state.automasked && !state.forwarded && !rig.hardware().has(ACTIVE));
    });
}

/// One of them finds the line forwarded to another guest interrupt than it parts, and leaves it alone.
#[test]
fn parting_while_somebody_joins_another() {
    explore(|| {
        let (rig, line) = rig(Sense::Level);
        let vm = virtual_machine(&rig, 1);
        join(&vm, line, GUEST).expect("nothing is in flight");
        let vm2 = vm.clone();
        let other = thread::spawn(move || part(&vm2, line, GUEST, token(2)));
        part(&vm, line, GUEST, token(2));
        join(&vm, line, OTHER).expect("nothing is in flight");
        other.join().expect("no panic");
        assert!(rig.check().forwarded);
        assert_eq!(vm.forwarded_from(OTHER), Some(HOST));
        assert_eq!(vm.forwarded_from(GUEST), None);
    });
}
