//! What reviews found: each test says what has to hold, and how it once did not.

mod one_input;

use one_input::*;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use vcm_irq::gic::{self, Registers};
use vcm_irq::host::{Acknowledged, Controller, CpuInterface, Handled, Host, StormLimit};
use vcm_irq::kvm::{self, JoinError};
use vcm_irq::vgic::{Completion, CompletionBy, EndMode, Group, LrState, Machine, Model, Vcpu, Vm, Wanted};
use vcm_irq::{GuestInterrupt, HostInterrupt, Sense, Token, VcpuId};

/// CPU 0 unmasks a line; before it has written the enable bit, CPU 1 masks the line again. CPU 0 writes the bit, and is
/// interrupted by the line before it looks at the word again: what it would do next has to wait for the handler.
#[test]
fn a_quiet_line_that_is_enabled_for_a_moment_does_not_hang_its_cpu() {
    let gic: &'static Gic<'static> = Box::leak(Box::new(Gic::new()));
    let host: &'static Host<&'static Gic<'static>> = Box::leak(Box::new(host(gic)));
    let line = host.open(HOST, Sense::Level).unwrap();
    host.connect(line, Token::new(5)).unwrap();
    host.mask(line);
    raise(gic);
    *gic.before_enable.lock().unwrap() = Some(Box::new(move || host.mask(line)));
    *gic.after_enable.lock().unwrap() = Some(Box::new(move || {
        let mut cpu = Cpu::new(gic, 4);
        let mut count = 0;
        while let Some(acknowledged) = cpu.acknowledge() {
            assert_eq!(host.handle(acknowledged, &mut cpu, &Nobody, 0), Handled::Spurious);
            count += 1;
            assert!(count < 1000, "the line interrupts for ever, and its handler does not disable it");
        }
    }));
    host.unmask(line);
}

/// A window whose writes arrive when the CPU that made them reads, or when a test says.
#[derive(Default)]
struct Posted {
    cpu: Cell<usize>,
    on_the_way: RefCell<[VecDeque<(u32, u32)>; 2]>,
    words: RefCell<std::collections::HashMap<u32, u32>>,
}

impl Posted {
    fn arrive(&self, cpu: usize) {
        while let Some((offset, value)) = { self.on_the_way.borrow_mut()[cpu].pop_front() } {
            let mut words = self.words.borrow_mut();
            let array = |start: u32| start + offset % 0x80;
            match offset {
                0x100..0x180 => *words.entry(array(0x100)).or_default() |= value,
                0x180..0x200 => *words.entry(array(0x100)).or_default() &= !value,
                0x300..0x380 => *words.entry(array(0x300)).or_default() |= value,
                0x380..0x400 => *words.entry(array(0x300)).or_default() &= !value,
                _ => *words.entry(offset).or_default() = value,
            }
        }
    }
}

impl Registers for Posted {
    fn read(&self, offset: u32) -> u32 {
        self.arrive(self.cpu.get());
        let offset = if (0x180..0x200).contains(&offset) { offset - 0x80 } else { offset };
        if offset == 4 { 3 } else { self.words.borrow().get(&offset).copied().unwrap_or(0) }
    }
    fn write(&self, offset: u32, value: u32) {
        self.on_the_way.borrow_mut()[self.cpu.get()].push_back((offset, value));
    }
    fn write_byte(&self, _: u32, _: u8) {}
}

/// "A write may be posted: it has reached the device when a later read of the same window answers. The back-ends read
/// where that matters."
#[test]
fn a_posted_enable_does_not_overtake_a_disable() {
    let window = Posted::default();
    let host = Host::new(gic::v2::Distributor::new(&window, Group::Zero), StormLimit::NONE).unwrap();
    let line = host.open(HOST, Sense::Level).unwrap();
    host.connect(line, Token::new(5)).unwrap();
    host.mask(line);
    window.cpu.set(0);
    host.unmask(line);
    window.cpu.set(1);
    host.mask(line);
    window.arrive(0);
    assert!(!host.controller().is_enabled(HOST), "masked by the user, and enabled");
}

/// Linux drivers/irqchip/irq-gic-v3.c, gic_irq_set_irqchip_state: "Force read-back to guarantee that the
/// active state has taken effect, and won't race with a guest-driven deactivation".
#[test]
fn an_active_state_is_there_when_set_active_returns() {
    let window = Posted::default();
    let distributor = gic::v3::Distributor::new(&window);
    distributor.set_active(HOST);
    assert!(window.on_the_way.borrow()[0].is_empty(), "the guest may deactivate it before the write arrives");
}

#[test]
fn an_edge_that_is_handled_while_its_line_closes_does_not_stay_pending() {
    let gic: &'static Gic<'static> = Box::leak(Box::new(Gic::new()));
    let host: &'static Host<&'static Gic<'static>> = Box::leak(Box::new(host(gic)));
    let line = host.open(HOST, Sense::Edge).unwrap();
    host.connect(line, Token::new(5)).unwrap();
    raise(gic);
    let acknowledged = Cpu::new(gic, 4).acknowledge().unwrap();
    *gic.after_clear_pending.lock().unwrap() = Some(Box::new(move || {
        assert_eq!(host.handle(acknowledged, &mut Cpu::new(gic, 4), &Nobody, 0), Handled::Spurious);
    }));
    host.close(line);
    assert!(!gic.input().latch, "\"When this returns, its interrupt is ... not pending by a latch\"");
}

#[test]
fn an_interrupt_that_no_table_knows_is_not_taken_for_ever() {
    let gic = Gic::new();
    let host = host(&gic);
    gic.set(HostInterrupt(100), |one| (one.enabled, one.high) = (true, true));
    let mut count = 0;
    while count < 100 && gic.set(HostInterrupt(100), |one| one.signalled()) {
        gic.set(HostInterrupt(100), |one| one.active = true);
        let acknowledged = Acknowledged::new(HostInterrupt(100), 100);
        let _ = host.handle(acknowledged, &mut Cpu::new(&gic, 4), &Nobody, 0);
        count += 1;
    }
    assert!(
        count < 100,
        "Host::interrupts() is 96; an extended shared interrupt of a GICv3 is beyond as well"
    );
}

#[test]
fn connecting_a_forwarded_line_does_not_orphan_the_guest_interrupt() {
    let gic = Gic::new();
    let host = host(&gic);
    let vm = machine(&host, config(Model::V2, CompletionBy::Guest));
    let line = host.open(HOST, Sense::Level).unwrap();
    kvm::join(&vm, line, GUEST).unwrap();
    assert!(host.connect(line, None).is_err(), "it is the guest's");
    kvm::part(&vm, line, GUEST, None);
    assert_eq!(vm.forwarded_from(GUEST), None, "parted");
    host.close(line);
}

#[test]
fn a_guest_does_not_reach_the_next_owners_interrupt() {
    let gic = Gic::new();
    let host = host(&gic);
    let vm = machine(&host, config(Model::V2, CompletionBy::Guest));
    let line = host.open(HOST, Sense::Level).unwrap();
    kvm::join(&vm, line, GUEST).unwrap();
    host.close(line);
    let _next = host.open(HOST, Sense::Level).unwrap();
    vm.set_active(VcpuId(0), GUEST.0);
    vm.set_pending(VcpuId(0), GUEST.0);
    assert!(!gic.input().active && !gic.input().latch, "a stale name does nothing");
}

#[test]
fn parting_after_closing_frees_the_guest_interrupt() {
    let gic = Gic::new();
    let host = host(&gic);
    let vm = machine(&host, config(Model::V2, CompletionBy::Guest));
    let line = host.open(HOST, Sense::Level).unwrap();
    kvm::join(&vm, line, GUEST).unwrap();
    host.close(line);
    kvm::part(&vm, line, GUEST, None);
    assert_eq!(vm.forwarded_from(GUEST), None);
    let next = host.open(HostInterrupt(78), Sense::Level).unwrap();
    assert!(kvm::join(&vm, next, GUEST).is_ok());
}

#[test]
fn a_line_survives_the_virtual_machine_that_had_it_in_flight() {
    let gic = Gic::new();
    let host = host(&gic);
    let line = host.open(HOST, Sense::Level).unwrap();
    {
        let vm = machine(&host, config(Model::V2, CompletionBy::Guest));
        let mut cpu = Cpu::new(&gic, 4);
        let mut vcpu = Vcpu::new(&vm, VcpuId(0)).unwrap();
        kvm::join(&vm, line, GUEST).unwrap();
        raise(&gic);
        assert_eq!(interrupts(&mut cpu, &vm), 1);
        let _ = vcpu.load(&vm, &mut cpu);
        cpu.take(GUEST.0);
        vcpu.save(&vm, &mut cpu);
        kvm::part(&vm, line, GUEST, None);
        // Killed here, with the device open: what its VMM does last.
        vm.shut_down();
    }
    let vm = machine(&host, config(Model::V2, CompletionBy::Guest));
    let joined = kvm::join(&vm, line, GUEST);
    assert!(!matches!(joined, Err(JoinError::InFlight(_))), "nobody is left who could end it: {joined:?}");
}

/// vCPU 1 handles an interrupt. vCPU 0 looks at its state (or moves it, or masks another), so that vCPU 1
/// leaves the guest, and comes back before vCPU 0 has let go. The guest ends its interrupt then.
#[test]
fn an_end_while_somebody_holds_the_interrupt_is_not_lost() {
    let gic: &'static Gic<'static> = Box::leak(Box::new(Gic::new()));
    let host: &'static Host<&'static Gic<'static>> = Box::leak(Box::new(host(gic)));
    let vm: &'static TestVm<'static, 'static> =
        Box::leak(Box::new(machine(host, config(Model::V2, CompletionBy::Guest))));
    vm.set_target(GUEST.0, Some(VcpuId(1)));
    let line = host.open(HOST, Sense::Level).unwrap();
    kvm::join(vm, line, GUEST).unwrap();
    let cpu: &'static RefCell<Cpu<'static, 'static>> = Box::leak(Box::new(RefCell::new(Cpu::new(gic, 4))));
    let vcpu: &'static RefCell<Vcpu> = Box::leak(Box::new(RefCell::new(Vcpu::new(vm, VcpuId(1)).unwrap())));
    raise(gic);
    assert_eq!(interrupts(&mut cpu.borrow_mut(), vm), 1);
    let _ = vcpu.borrow_mut().load(vm, &mut *cpu.borrow_mut());
    cpu.borrow_mut().take(GUEST.0);
    ON_WAIT.with(|hook| {
        *hook.borrow_mut() = Some(Box::new(move || {
            vcpu.borrow_mut().save(vm, &mut *cpu.borrow_mut());
            let _ = vcpu.borrow_mut().load(vm, &mut *cpu.borrow_mut());
            lower(gic);
            cpu.borrow_mut().end(GUEST.0);
        }));
    });
    assert!(vm.interrupt(VcpuId(0), GUEST.0).unwrap().active || !gic.input().active);
    vcpu.borrow_mut().save(vm, &mut *cpu.borrow_mut());
    let _ = vcpu.borrow_mut().load(vm, &mut *cpu.borrow_mut());
    vcpu.borrow_mut().save(vm, &mut *cpu.borrow_mut());
    assert!(!vm.interrupt(VcpuId(0), GUEST.0).unwrap().active, "the guest has ended it");
    assert!(!gic.input().active, "the physical interrupt is active for ever");
}

/// The order of what waits is looked up while others change it, and a sort that is told contradictions may panic.
#[test]
fn ordering_does_not_panic_when_others_change_priorities() {
    let gic = Gic::new();
    let host = host(&gic);
    let vm: Vm<Quiet<'_, '_>> = Vm::new(Quiet(&host), config(Model::V3, CompletionBy::Guest)).unwrap();
    vm.set_groups(Wanted::Yes, Wanted::Yes);
    for interrupt in 32..vm.end() {
        vm.enable(VcpuId(0), interrupt);
        vm.pulse(GuestInterrupt(interrupt)).unwrap();
    }
    let done = AtomicBool::new(false);
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = 1u32;
            while !done.load(Ordering::Relaxed) {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let interrupt = 32 + (random >> 8) % 988;
                vm.set_priority(VcpuId(0), interrupt, (random >> 24) as u8 & 0xF8);
            }
        });
        let loader = scope.spawn(|| {
            let mut cpu = Cpu::new(&gic, 1);
            let mut vcpu = Vcpu::new(&vm, VcpuId(0)).unwrap();
            let until = std::time::Instant::now() + std::time::Duration::from_secs(1);
            while std::time::Instant::now() < until {
                let _ = vcpu.load(&vm, &mut cpu);
                vcpu.save(&vm, &mut cpu);
            }
        });
        let outcome = loader.join();
        done.store(true, Ordering::Relaxed);
        outcome
    });
    assert!(outcome.is_ok(), "a guest of two vCPUs makes the hypervisor panic");
}

struct Quiet<'g, 'h>(&'g Host<&'g Gic<'h>>);

impl<'g, 'h> Machine for Quiet<'g, 'h> {
    type Controller = &'g Gic<'h>;
    fn host(&self) -> &Host<&'g Gic<'h>> {
        self.0
    }
    fn kick(&self, _: VcpuId) {}
    fn wait_for(&self, _: VcpuId) {}
}

/// Linux commit 53692908b0f5, "KVM: arm/arm64: vgic: Fix source vcpu issues for GICv2 SGI": an active one restored with
/// another source is not deactivated by the guest's end of it.
#[test]
fn an_active_software_generated_interrupt_keeps_its_source() {
    let gic = Gic::new();
    let host = host(&gic);
    let vm = machine(&host, config(Model::V2, CompletionBy::Guest));
    let mut cpu = Cpu::new(&gic, 4);
    let mut vcpu = Vcpu::new(&vm, VcpuId(0)).unwrap();
    vm.enable(VcpuId(0), 3);
    vm.send(VcpuId(1), VcpuId(0), 3);
    let _ = vcpu.load(&vm, &mut cpu);
    assert_eq!(cpu.registers[0].unwrap().source, 1);
    cpu.take(3);
    vcpu.save(&vm, &mut cpu);
    let _ = vcpu.load(&vm, &mut cpu);
    let register = cpu.registers[0].unwrap();
    assert_eq!((register.state, register.source), (LrState::Active, 1));
}

/// The guest sets its EOImode without leaving. vCPU 0 has an interrupt active, vCPU 1 deactivates it.
#[test]
fn a_deactivation_after_the_guest_changed_its_mode_is_not_lost() {
    let gic = Gic::new();
    let host = host(&gic);
    let vm = machine(&host, config(Model::V3, CompletionBy::Guest));
    let line = host.open(HOST, Sense::Level).unwrap();
    kvm::join(&vm, line, GUEST).unwrap();
    let (mut cpu0, mut cpu1) = (Cpu::new(&gic, 4), Cpu::new(&gic, 4));
    let (mut vcpu0, mut vcpu1) = (Vcpu::new(&vm, VcpuId(0)).unwrap(), Vcpu::new(&vm, VcpuId(1)).unwrap());
    raise(&gic);
    assert_eq!(interrupts(&mut cpu0, &vm), 1);
    let _ = vcpu0.load(&vm, &mut cpu0);
    let loaded = vcpu1.load(&vm, &mut cpu1);
    (cpu0.mode, cpu1.mode) = (EndMode::Apart, EndMode::Apart);
    cpu0.take(GUEST.0);
    lower(&gic);
    vcpu0.save(&vm, &mut cpu0);
    // vCPU 1 writes its ICC_DIR_EL1.
    if loaded.trap_deactivation.is_yes() {
        vcpu1.save(&vm, &mut cpu1);
        vm.deactivate(VcpuId(1), GUEST.0);
    } else {
        cpu1.end(GUEST.0);
        vcpu1.save(&vm, &mut cpu1);
    }
    assert!(!gic.input().active, "deactivated by the guest, active for ever");
}

/// A CPU has acknowledged the physical interrupt and not come to its handler yet, when the guest writes GICD_ISACTIVER.
#[test]
fn a_pending_list_register_always_has_an_active_physical_interrupt() {
    let gic = Gic::new();
    let host = host(&gic);
    let vm = machine(&host, config(Model::V2, CompletionBy::Guest));
    let line = host.open(HOST, Sense::Level).unwrap();
    kvm::join(&vm, line, GUEST).unwrap();
    let mut cpu = Cpu::new(&gic, 4);
    let mut vcpu = Vcpu::new(&vm, VcpuId(0)).unwrap();
    raise(&gic);
    let acknowledged = cpu.acknowledge().unwrap();
    vm.set_active(VcpuId(0), GUEST.0);
    let _ = host.handle(acknowledged, &mut cpu, &Routes(&vm), 0);
    let _ = vcpu.load(&vm, &mut cpu);
    lower(&gic);
    cpu.end(GUEST.0);
    vcpu.save(&vm, &mut cpu);
    let _ = vcpu.load(&vm, &mut cpu);
    let hardware =
        cpu.registers.iter().flatten().any(|one| matches!(one.completion, Completion::Physical(_)));
    assert!(!hardware || gic.input().active, "rule 2: a list register with HW, and nothing active behind it");
}

#[test]
fn a_vcpu_learns_that_another_enabled_what_it_has_active() {
    let gic = Gic::new();
    let host = host(&gic);
    let vm = machine(&host, config(Model::V2, CompletionBy::Guest));
    vm.set_sense(VcpuId(0), GUEST.0, Sense::Edge);
    vm.set_target(GUEST.0, Some(VcpuId(1)));
    let mut cpu = Cpu::new(&gic, 4);
    let mut vcpu = Vcpu::new(&vm, VcpuId(1)).unwrap();
    vm.pulse(GUEST).unwrap();
    let _ = vcpu.load(&vm, &mut cpu);
    cpu.take(GUEST.0);
    vcpu.save(&vm, &mut cpu);
    vm.disable(VcpuId(0), GUEST.0);
    vm.pulse(GUEST).unwrap();
    let _ = vcpu.load(&vm, &mut cpu);
    let kicks = vm.machine().kicks(1);
    vm.enable(VcpuId(0), GUEST.0);
    let told = vm.machine().kicks(1) > kicks;
    let asks = cpu.registers[0].unwrap().completion == Completion::Maintenance;
    assert!(told || asks, "it ends the first, and nothing makes it look for the second");
}

#[test]
fn what_the_guest_made_pending_is_not_withdrawn() {
    let gic = Gic::new();
    let host = host(&gic);
    let vm = machine(&host, config(Model::V2, CompletionBy::Guest));
    let line = host.open(HOST, Sense::Level).unwrap();
    kvm::join(&vm, line, GUEST).unwrap();
    let mut cpu = Cpu::new(&gic, 4);
    let mut vcpu = Vcpu::new(&vm, VcpuId(0)).unwrap();
    vm.set_pending(VcpuId(0), GUEST.0);
    assert_eq!(interrupts(&mut cpu, &vm), 1, "the host's is pending, and comes");
    let _ = vcpu.load(&vm, &mut cpu);
    // Any exit before the guest acknowledges.
    vcpu.save(&vm, &mut cpu);
    let _ = vcpu.load(&vm, &mut cpu);
    assert!(cpu.find(GUEST.0).is_some(), "GICD_ISPENDR: pending until it is acknowledged or cleared");
}

#[test]
fn an_edge_reaches_a_guest_that_left_its_input_level_sensitive() {
    let gic = Gic::new();
    let host = host(&gic);
    let vm = machine(&host, config(Model::V2, CompletionBy::Host));
    let line = host.open(HOST, Sense::Edge).unwrap();
    kvm::join(&vm, line, GUEST).unwrap();
    let mut cpu = Cpu::new(&gic, 4);
    let mut vcpu = Vcpu::new(&vm, VcpuId(0)).unwrap();
    raise(&gic);
    assert_eq!(interrupts(&mut cpu, &vm), 1);
    let _ = vcpu.load(&vm, &mut cpu);
    cpu.take(GUEST.0);
    raise(&gic);
    assert_eq!(interrupts(&mut cpu, &vm), 1);
    cpu.end(GUEST.0);
    vcpu.save(&vm, &mut cpu);
    let _ = vcpu.load(&vm, &mut cpu);
    assert!(cpu.find(GUEST.0).is_some(), "two edges, two interrupts");
}

#[test]
fn a_level_that_went_away_while_masked_is_not_delivered_on_unmasking() {
    let gic = Gic::new();
    let host = host(&gic);
    let vm = machine(&host, config(Model::V2, CompletionBy::Guest));
    let line = host.open(HOST, Sense::Level).unwrap();
    kvm::join(&vm, line, GUEST).unwrap();
    let mut cpu = Cpu::new(&gic, 4);
    let mut vcpu = Vcpu::new(&vm, VcpuId(0)).unwrap();
    raise(&gic);
    assert_eq!(interrupts(&mut cpu, &vm), 1);
    vm.disable(VcpuId(0), GUEST.0);
    lower(&gic);
    assert!(!vm.interrupt(VcpuId(0), GUEST.0).unwrap().pending, "GICD_ISPENDR follows the line");
    vm.enable(VcpuId(0), GUEST.0);
    let _ = vcpu.load(&vm, &mut cpu);
    assert!(cpu.find(GUEST.0).is_none(), "an extra interrupt");
}

/// A vCPU whose only business is an interrupt that its guest keeps active may sleep.
#[test]
fn an_active_interrupt_does_not_keep_a_vcpu_awake() {
    let gic = Gic::new();
    let host = host(&gic);
    let vm = machine(&host, config(Model::V2, CompletionBy::Guest));
    let mut cpu = Cpu::new(&gic, 4);
    let mut vcpu = Vcpu::new(&vm, VcpuId(0)).unwrap();
    vm.set_sense(VcpuId(0), GUEST.0, Sense::Edge);
    vm.pulse(GUEST).unwrap();
    let _ = vcpu.load(&vm, &mut cpu);
    cpu.take(GUEST.0);
    vcpu.save(&vm, &mut cpu);
    assert!(
        !vm.has_queued(VcpuId(0)) && !vcpu.has_waiting(&vm),
        "\"should not be left waiting for an interrupt\""
    );
}

/// A guest driver masks, then ends; the interrupt is taken back from the guest in between, and never enabled again.
#[test]
fn an_end_after_parting_completes_the_line_though_the_guest_has_it_masked() {
    let gic = Gic::new();
    let host = host(&gic);
    let vm = machine(&host, config(Model::V2, CompletionBy::Guest));
    let line = host.open(HOST, Sense::Level).unwrap();
    kvm::join(&vm, line, GUEST).unwrap();
    let mut cpu = Cpu::new(&gic, 4);
    let mut vcpu = Vcpu::new(&vm, VcpuId(0)).unwrap();
    raise(&gic);
    assert_eq!(interrupts(&mut cpu, &vm), 1);
    let _ = vcpu.load(&vm, &mut cpu);
    cpu.take(GUEST.0);
    vcpu.save(&vm, &mut cpu);
    vm.disable(VcpuId(0), GUEST.0);
    kvm::part(&vm, line, GUEST, None);
    let _ = vcpu.load(&vm, &mut cpu);
    cpu.end(GUEST.0);
    vcpu.save(&vm, &mut cpu);
    assert!(!host.state(HOST).unwrap().automasked, "the guest's mask is not the line's any more");
}
