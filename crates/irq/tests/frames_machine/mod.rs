//! A small machine with one virtual machine on it: interrupt lines, CPUs with list registers, guests that
//! acknowledge and end. It watches what a list register must never be.

// Each test that has this uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};
use vcm_irq::host::{Acknowledged, Controller, CpuInterface, Handled, Host, StormLimit, Taken, Trigger};
use vcm_irq::kvm::Route;
use vcm_irq::vgic::{
    Attention, Completion, Config, EndMode, Frame, GuestCpuInterface, ListRegister, LrState, Machine, Vcpu,
    VirtualInterface, Vm, Wanted, Width,
};
use vcm_irq::{HostInterrupt, Sense, Token, VcpuId};

/// [`GuestCpuInterface::control`] of a guest that drops the priority and deactivates apart.
pub const APART: u32 = 1;

/// One physical interrupt.
#[derive(Clone, Copy, Default)]
pub struct Physical {
    pub enabled: bool,
    pub latched: bool,
    pub active: bool,
    pub high: bool,
    pub edge: bool,
}

impl Physical {
    pub fn pending(self) -> bool {
        self.latched || self.high && !self.edge
    }
}

/// The distributor.
#[derive(Clone)]
pub struct Lines(Rc<[Cell<Physical>]>);

impl Lines {
    fn new(count: usize) -> Self {
        Self((0..count).map(|_| Cell::default()).collect())
    }

    pub fn get(&self, interrupt: u32) -> Physical {
        self.0[interrupt as usize].get()
    }

    fn change(&self, interrupt: HostInterrupt, change: impl FnOnce(&mut Physical)) {
        let mut physical = self.0[interrupt.0 as usize].get();
        change(&mut physical);
        self.0[interrupt.0 as usize].set(physical);
    }

    /// The device's line.
    pub fn drive(&self, interrupt: u32, high: bool) {
        self.change(HostInterrupt(interrupt), |physical| {
            physical.latched |= physical.edge && high && !physical.high;
            physical.high = high;
        });
    }
}

impl Controller for Lines {
    fn interrupts(&self) -> u32 {
        self.0.len() as u32
    }
    fn has_active_state(&self, _: HostInterrupt) -> bool {
        true
    }
    fn enable(&self, interrupt: HostInterrupt) {
        self.change(interrupt, |physical| physical.enabled = true);
    }
    fn disable(&self, interrupt: HostInterrupt) {
        self.change(interrupt, |physical| physical.enabled = false);
    }
    fn deactivate(&self, interrupt: HostInterrupt) {
        self.change(interrupt, |physical| physical.active = false);
    }
    fn set_active(&self, interrupt: HostInterrupt) {
        self.change(interrupt, |physical| physical.active = true);
    }
    fn set_pending(&self, interrupt: HostInterrupt) {
        self.change(interrupt, |physical| physical.latched = true);
    }
    fn clear_pending(&self, interrupt: HostInterrupt) {
        self.change(interrupt, |physical| physical.latched = false);
    }
    fn is_pending(&self, interrupt: HostInterrupt) -> bool {
        self.get(interrupt.0).pending()
    }
    fn is_active(&self, interrupt: HostInterrupt) -> bool {
        self.get(interrupt.0).active
    }
    fn set_sense(&self, interrupt: HostInterrupt, sense: Sense) {
        self.change(interrupt, |physical| physical.edge = sense == Sense::Edge);
    }
}

/// The physical CPU interface.
struct Cpu<'a>(&'a Lines);

impl CpuInterface for Cpu<'_> {
    fn acknowledge(&mut self) -> Option<Acknowledged> {
        let ready = |physical: Physical| physical.enabled && physical.pending() && !physical.active;
        let found = (32..self.0.interrupts()).find(|&interrupt| ready(self.0.get(interrupt)))?;
        self.0.change(HostInterrupt(found), |physical| {
            physical.active = true;
            physical.latched = false;
        });
        Some(Acknowledged::new(HostInterrupt(found), found))
    }
    fn drop_priority(&mut self, _: &Acknowledged) {}
    fn deactivate(&mut self, acknowledged: Acknowledged) {
        self.0.deactivate(acknowledged.interrupt());
    }
}

/// A CPU's virtual interface.
pub struct Interface {
    registers: Vec<Option<ListRegister>>,
    lines: Lines,
    pub guest: GuestCpuInterface,
    ends_outside: u32,
    on: bool,
    /// A register asked for a maintenance interrupt.
    maintenance: bool,
}

impl Interface {
    fn pending(&self) -> Option<usize> {
        let pending =
            |register: &ListRegister| matches!(register.state, LrState::Pending | LrState::PendingAndActive);
        let ready = self.registers.iter().enumerate().filter_map(|(index, register)| {
            // What is active as well has to be ended first.
            register
                .filter(|register| pending(register) && register.state == LrState::Pending)
                .map(|r| (r.priority, index))
        });
        Some(ready.min()?.1)
    }

    fn deactivate(&mut self, interrupt: u32) {
        let active =
            |register: &ListRegister| matches!(register.state, LrState::Active | LrState::PendingAndActive);
        let found = self.registers.iter_mut().find(|register| {
            register.is_some_and(|register| register.interrupt.0 == interrupt && active(&register))
        });
        let Some(place) = found else {
            self.ends_outside = (self.ends_outside + 1).min(31);
            return;
        };
        let Some(register) = *place else { return };
        match register.completion {
            Completion::Physical(physical) => self.lines.deactivate(physical),
            Completion::Maintenance => self.maintenance = true,
            Completion::Silent => {}
        }
        *place = match register.state {
            LrState::PendingAndActive => Some(ListRegister { state: LrState::Pending, ..register }),
            _ => None,
        };
    }
}

impl VirtualInterface for Interface {
    fn list_registers(&self) -> usize {
        self.registers.len()
    }
    fn write(&mut self, index: usize, register: &ListRegister) {
        assert!(self.registers[index].is_none(), "register {index} is in use");
        assert_ne!(register.state, LrState::Empty);
        if let Completion::Physical(physical) = register.completion {
            assert!(self.lines.get(physical.0).active, "{register:?} without its physical interrupt");
            assert_ne!(register.state, LrState::PendingAndActive, "{register:?}");
        }
        let twice = self.registers.iter().flatten().any(|other| other.interrupt == register.interrupt);
        assert!(!twice, "{register:?} twice");
        self.registers[index] = Some(*register);
    }
    fn state(&mut self, index: usize) -> LrState {
        self.registers[index].map_or(LrState::Empty, |register| register.state)
    }
    fn clear(&mut self, index: usize) {
        self.registers[index] = None;
    }
    fn empty(&mut self) -> u32 {
        (0..self.registers.len())
            .fold(0, |mask, index| mask | u32::from(self.registers[index].is_none()) << index)
    }
    fn enable(&mut self, _: Attention) {
        self.on = true;
        self.maintenance = false;
    }
    fn disable(&mut self) -> u32 {
        self.on = false;
        std::mem::take(&mut self.ends_outside)
    }
    fn guest(&mut self) -> GuestCpuInterface {
        self.guest
    }
    fn set_guest(&mut self, guest: &GuestCpuInterface) {
        self.guest = *guest;
    }
    fn end_mode(&self, guest: &GuestCpuInterface) -> EndMode {
        if guest.control & APART != 0 { EndMode::Apart } else { EndMode::Together }
    }
}

/// A vCPU, its CPU, and what its guest has in progress.
pub struct Seat {
    pub vcpu: Vcpu,
    pub interface: Interface,
    /// Acknowledged and not ended: priority and interrupt.
    pub running: Vec<(u8, u32)>,
    /// Ended and not deactivated.
    pub ended: Vec<u32>,
    trap_deactivation: bool,
}

/// What the virtual machine knows its machine by.
#[derive(Clone)]
pub struct Shared(Rc<Inner>);

struct Inner {
    host: Host<Lines>,
    vm: OnceCell<Weak<Vm<Shared>>>,
    seats: OnceCell<Vec<RefCell<Seat>>>,
    signalled: Cell<u32>,
    /// Which vCPUs are to leave the guest.
    kicked: Vec<Cell<bool>>,
}

impl Machine for Shared {
    type Controller = Lines;
    fn host(&self) -> &Host<Lines> {
        &self.0.host
    }
    fn kick(&self, vcpu: VcpuId) {
        self.0.kicked[usize::from(vcpu.0)].set(true);
    }
    fn wait_for(&self, vcpu: VcpuId) {
        let (vm, seats) = (self.0.vm.get().and_then(Weak::upgrade), self.0.seats.get());
        let (Some(vm), Some(seats)) = (vm, seats) else { return };
        let mut seat = seats[usize::from(vcpu.0)].borrow_mut();
        let Seat { vcpu, interface, .. } = &mut *seat;
        vcpu.save(&vm, interface);
    }
}

impl Trigger for Shared {
    fn signal(&self, token: Token) -> Taken {
        let Some(vm) = self.0.vm.get().and_then(Weak::upgrade) else { return Taken::No };
        match Route::of(token) {
            Route::Eventfd(_) => {
                self.0.signalled.set(self.0.signalled.get() + 1);
                Taken::Yes
            }
            Route::Forwarded { guest, .. } => vm.deliver(guest),
            Route::Injected { guest, .. } => vm.signal(guest),
        }
    }
}

/// The machine.
pub struct World {
    pub lines: Lines,
    pub vm: Rc<Vm<Shared>>,
    shared: Shared,
}

impl World {
    /// A machine with so many physical interrupts, and so many list registers for each vCPU.
    pub fn new(config: Config, interrupts: usize, list_registers: usize) -> Self {
        let lines = Lines::new(interrupts);
        let host = Host::new(lines.clone(), StormLimit::NONE).unwrap();
        let (vm, seats, signalled) = (OnceCell::new(), OnceCell::new(), Cell::new(0));
        let kicked = (0..config.vcpus).map(|_| Cell::new(false)).collect();
        let shared = Shared(Rc::new(Inner { host, vm, seats, signalled, kicked }));
        let vm = Rc::new(Vm::new(shared.clone(), config).unwrap());
        let seat = |vcpu: u16| {
            RefCell::new(Seat {
                vcpu: Vcpu::new(&vm, VcpuId(vcpu)).unwrap(),
                interface: Interface {
                    registers: vec![None; list_registers],
                    lines: lines.clone(),
                    guest: GuestCpuInterface::default(),
                    ends_outside: 0,
                    on: false,
                    maintenance: false,
                },
                running: Vec::new(),
                ended: Vec::new(),
                trap_deactivation: false,
            })
        };
        let seats = (0..config.vcpus).map(seat).collect();
        assert!(shared.0.vm.set(Rc::downgrade(&vm)).is_ok() && shared.0.seats.set(seats).is_ok());
        Self { lines, vm, shared }
    }

    pub fn host(&self) -> &Host<Lines> {
        &self.shared.0.host
    }

    /// How often an eventfd was signalled.
    pub fn signalled(&self) -> u32 {
        self.shared.0.signalled.get()
    }

    pub fn seat(&self, vcpu: u16) -> std::cell::RefMut<'_, Seat> {
        self.shared.0.seats.get().unwrap()[usize::from(vcpu)].borrow_mut()
    }

    /// Into the guest. A vCPU that is there and was kicked leaves it before.
    pub fn enter(&self, vcpu: u16) {
        if self.shared.0.kicked[usize::from(vcpu)].take() {
            self.leave(vcpu);
        }
        let mut seat = self.seat(vcpu);
        if !seat.interface.on {
            let Seat { vcpu, interface, .. } = &mut *seat;
            let loaded = vcpu.load(&self.vm, interface);
            seat.trap_deactivation = loaded.trap_deactivation == Wanted::Yes;
        }
        drop(seat);
        self.check();
    }

    /// Out of the guest.
    pub fn leave(&self, vcpu: u16) {
        self.shared.wait_for(VcpuId(vcpu));
    }

    pub fn leave_all(&self) {
        (0..self.vm.config().vcpus).for_each(|vcpu| self.leave(vcpu));
    }

    /// Takes the host's interrupts, until there are none or one comes again and again.
    pub fn take_interrupts(&self) -> Vec<Handled> {
        let mut cpu = Cpu(&self.lines);
        let mut handled = Vec::new();
        while handled.len() < 100
            && let Some(acknowledged) = cpu.acknowledge()
        {
            handled.push(self.host().handle(acknowledged, &mut cpu, &self.shared, 0));
        }
        assert!(handled.len() < 100, "an interrupt comes again and again");
        handled
    }

    /// The guest acknowledges what is more urgent than what it has in progress. The vCPU is entered.
    pub fn acknowledge(&self, vcpu: u16) -> Option<u32> {
        self.enter(vcpu);
        let mut seat = self.seat(vcpu);
        let index = seat.interface.pending()?;
        let register = seat.interface.registers[index].as_mut()?;
        let (priority, interrupt) = (register.priority, register.interrupt.0);
        let busy = seat.running.last().is_some_and(|(running, _)| *running <= priority);
        if busy {
            return None;
        }
        let register = seat.interface.registers[index].as_mut()?;
        register.state = LrState::Active;
        seat.running.push((priority, interrupt));
        Some(interrupt)
    }

    /// The guest ends what it acknowledged last: it drops the priority, and deactivates unless it does that apart.
    pub fn end(&self, vcpu: u16) -> Option<u32> {
        self.enter(vcpu);
        let mut seat = self.seat(vcpu);
        let (_, interrupt) = seat.running.pop()?;
        if seat.interface.guest.control & APART != 0 {
            seat.ended.push(interrupt);
        } else {
            seat.interface.deactivate(interrupt);
        }
        let maintenance = seat.interface.maintenance;
        drop(seat);
        if maintenance {
            self.leave(vcpu);
        }
        Some(interrupt)
    }

    /// The guest on `by` deactivates an interrupt, which the hardware does if it may.
    pub fn deactivate(&self, by: u16, interrupt: u32) {
        self.enter(by);
        let mut seat = self.seat(by);
        if seat.trap_deactivation {
            drop(seat);
            self.leave(by);
            self.vm.write_deactivation_register(VcpuId(by), u64::from(interrupt));
        } else {
            seat.interface.deactivate(interrupt);
            let maintenance = seat.interface.maintenance;
            drop(seat);
            if maintenance {
                self.leave(by);
            }
        }
    }

    /// A trapped read.
    pub fn read(&self, by: u16, frame: Frame, offset: u64, width: Width) -> u64 {
        self.leave(by);
        let value = self.vm.read(VcpuId(by), frame, offset, width);
        self.check();
        value
    }

    /// A trapped write.
    pub fn write(&self, by: u16, frame: Frame, offset: u64, width: Width, value: u64) {
        self.leave(by);
        self.vm.write(VcpuId(by), frame, offset, width, value);
        self.check();
    }

    /// What no list register may be, on any CPU.
    pub fn check(&self) {
        let mut shared = Vec::new();
        for vcpu in 0..self.vm.config().vcpus {
            for register in self.seat(vcpu).interface.registers.iter().flatten() {
                if let Completion::Physical(physical) = register.completion {
                    assert!(self.lines.get(physical.0).active, "{register:?} without its physical interrupt");
                    assert_ne!(register.state, LrState::PendingAndActive, "{register:?}");
                }
                if register.interrupt.0 >= 32 {
                    shared.push(register.interrupt.0);
                }
            }
        }
        let count = shared.len();
        shared.sort_unstable();
        shared.dedup();
        assert_eq!(shared.len(), count, "an interrupt in two list registers");
    }
}
