//! A machine of one thread for regression tests: an interrupt controller with one input, CPUs, and hooks at the places
//! where something else happened.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};
use vcm_irq::host::{Acknowledged, Controller, CpuInterface, Host, StormLimit, Taken, Trigger};
use vcm_irq::kvm::Route;
use vcm_irq::vgic::{
    Attention, Completion, CompletionBy, Config, EndMode, GuestCpuInterface, ListRegister, LrState, Machine,
    Model, VirtualInterface, Vm, VmId, Wanted,
};
use vcm_irq::{GuestInterrupt, HostInterrupt, Sense, Token, VcpuId};

pub(crate) const HOST: HostInterrupt = HostInterrupt(77);
pub(crate) const GUEST: GuestInterrupt = GuestInterrupt(40);

#[derive(Clone, Copy, Default)]
pub(crate) struct Input {
    pub(crate) enabled: bool,
    pub(crate) active: bool,
    pub(crate) latch: bool,
    pub(crate) high: bool,
    pub(crate) edge: bool,
}

impl Input {
    pub(crate) fn pending(&self) -> bool {
        self.latch || self.high && !self.edge
    }
    pub(crate) fn signalled(&self) -> bool {
        self.enabled && !self.active && self.pending()
    }
}

pub(crate) type Hook<'a> = Box<dyn FnOnce() + Send + 'a>;

/// A distributor as the architecture has it. A hook runs once, at a place that a test names.
pub(crate) struct Gic<'a> {
    pub(crate) inputs: Mutex<[Input; 128]>,
    pub(crate) before_enable: Mutex<Option<Hook<'a>>>,
    pub(crate) after_enable: Mutex<Option<Hook<'a>>>,
    pub(crate) after_clear_pending: Mutex<Option<Hook<'a>>>,
}

impl Gic<'_> {
    pub(crate) fn new() -> Self {
        Self {
            inputs: Mutex::new([Input::default(); 128]),
            before_enable: Mutex::new(None),
            after_enable: Mutex::new(None),
            after_clear_pending: Mutex::new(None),
        }
    }
    pub(crate) fn at(&self) -> MutexGuard<'_, [Input; 128]> {
        self.inputs.lock().unwrap()
    }
    pub(crate) fn input(&self) -> Input {
        self.at()[HOST.0 as usize]
    }
    pub(crate) fn set<T>(&self, interrupt: HostInterrupt, change: impl FnOnce(&mut Input) -> T) -> T {
        change(&mut self.at()[interrupt.0 as usize])
    }
    pub(crate) fn run(&self, hook: &Mutex<Option<Hook<'_>>>) {
        let hook = hook.lock().unwrap().take();
        if let Some(hook) = hook {
            hook();
        }
    }
}

impl Controller for Gic<'_> {
    fn interrupts(&self) -> u32 {
        96
    }
    fn has_active_state(&self, _: HostInterrupt) -> bool {
        true
    }
    fn enable(&self, i: HostInterrupt) {
        self.run(&self.before_enable);
        self.set(i, |one| one.enabled = true);
        self.run(&self.after_enable);
    }
    fn disable(&self, i: HostInterrupt) {
        self.set(i, |one| one.enabled = false);
    }
    fn deactivate(&self, i: HostInterrupt) {
        self.set(i, |one| one.active = false);
    }
    fn set_active(&self, i: HostInterrupt) {
        self.set(i, |one| one.active = true);
    }
    fn set_pending(&self, i: HostInterrupt) {
        self.set(i, |one| one.latch = true);
    }
    fn clear_pending(&self, i: HostInterrupt) {
        self.set(i, |one| one.latch = false);
        self.run(&self.after_clear_pending);
    }
    fn is_pending(&self, i: HostInterrupt) -> bool {
        self.set(i, |one| one.pending())
    }
    fn is_active(&self, i: HostInterrupt) -> bool {
        self.set(i, |one| one.active)
    }
    fn set_sense(&self, i: HostInterrupt, sense: Sense) {
        self.set(i, |one| one.edge = sense == Sense::Edge);
    }
}

/// One CPU's interfaces.
pub(crate) struct Cpu<'g, 'h> {
    pub(crate) gic: &'g Gic<'h>,
    pub(crate) registers: Vec<Option<ListRegister>>,
    pub(crate) attention: Attention,
    pub(crate) ends: u32,
    pub(crate) mode: EndMode,
}

impl<'g, 'h> Cpu<'g, 'h> {
    pub(crate) fn new(gic: &'g Gic<'h>, registers: usize) -> Self {
        Self {
            gic,
            registers: vec![None; registers],
            attention: Attention::default(),
            ends: 0,
            mode: EndMode::Together,
        }
    }
    pub(crate) fn find(&self, interrupt: u32) -> Option<usize> {
        self.registers.iter().position(|one| one.is_some_and(|one| one.interrupt.0 == interrupt))
    }
    /// The guest acknowledges.
    pub(crate) fn take(&mut self, interrupt: u32) {
        let at = self.find(interrupt).expect("it is in a list register");
        let one = self.registers[at].as_mut().unwrap();
        assert_eq!(one.state, LrState::Pending);
        one.state = LrState::Active;
    }
    /// The guest ends and deactivates: the hardware knows what is in list registers only, and counts what is not.
    pub(crate) fn end(&mut self, interrupt: u32) {
        let Some(at) = self.find(interrupt) else {
            self.ends += 1;
            return;
        };
        if let Some(ListRegister { completion: Completion::Physical(host), .. }) = self.registers[at].take() {
            self.gic.deactivate(host);
        }
    }
}

impl CpuInterface for Cpu<'_, '_> {
    fn acknowledge(&mut self) -> Option<Acknowledged> {
        self.gic.set(HOST, |one| {
            one.signalled().then(|| {
                (one.active, one.latch) = (true, false);
                Acknowledged::new(HOST, HOST.0)
            })
        })
    }
    fn drop_priority(&mut self, _: &Acknowledged) {}
    fn deactivate(&mut self, acknowledged: Acknowledged) {
        self.gic.deactivate(acknowledged.interrupt());
    }
}

impl VirtualInterface for Cpu<'_, '_> {
    fn list_registers(&self) -> usize {
        self.registers.len()
    }
    fn write(&mut self, index: usize, register: &ListRegister) {
        self.registers[index] = Some(*register);
    }
    fn state(&mut self, index: usize) -> LrState {
        self.registers[index].map_or(LrState::Empty, |one| one.state)
    }
    fn clear(&mut self, index: usize) {
        self.registers[index] = None;
    }
    fn empty(&mut self) -> u32 {
        (0..self.registers.len()).filter(|&at| self.registers[at].is_none()).map(|at| 1 << at).sum()
    }
    fn enable(&mut self, attention: Attention) {
        self.attention = attention;
    }
    fn disable(&mut self) -> u32 {
        std::mem::take(&mut self.ends)
    }
    fn guest(&mut self) -> GuestCpuInterface {
        GuestCpuInterface { control: u32::from(self.mode == EndMode::Apart), ..Default::default() }
    }
    fn set_guest(&mut self, guest: &GuestCpuInterface) {
        self.mode = self.end_mode(guest);
    }
    fn end_mode(&self, guest: &GuestCpuInterface) -> EndMode {
        if guest.control & 1 != 0 { EndMode::Apart } else { EndMode::Together }
    }
}

/// A machine of one thread: what waiting for a vCPU means is the test's.
pub(crate) struct Hypervisor<'g, 'h> {
    pub(crate) host: &'g Host<&'g Gic<'h>>,
    pub(crate) kicks: [AtomicU32; 2],
}

impl Hypervisor<'_, '_> {
    pub(crate) fn kicks(&self, vcpu: u16) -> u32 {
        self.kicks[usize::from(vcpu)].load(Ordering::Relaxed)
    }
}

impl<'g, 'h> Machine for Hypervisor<'g, 'h> {
    type Controller = &'g Gic<'h>;
    fn host(&self) -> &Host<&'g Gic<'h>> {
        self.host
    }
    fn kick(&self, vcpu: VcpuId) {
        self.kicks[usize::from(vcpu.0)].fetch_add(1, Ordering::Relaxed);
    }
    fn wait_for(&self, _: VcpuId) {
        WAITED.with(|waited| waited.set(waited.get() + 1));
        assert!(WAITED.with(Cell::get) < 1000, "nobody comes");
        ON_WAIT.with(|hook| {
            if let Some(hook) = hook.borrow_mut().take() {
                hook();
            }
        });
    }
}

thread_local! {
    pub(crate) static WAITED: Cell<u32> = const { Cell::new(0) };
    pub(crate) static ON_WAIT: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

pub(crate) fn config(model: Model, completion: CompletionBy) -> Config {
    Config { id: VmId(1), model, completion, vcpus: 2, interrupts: 1024 }
}

pub(crate) type TestVm<'g, 'h> = Vm<Hypervisor<'g, 'h>>;

pub(crate) fn machine<'g, 'h>(host: &'g Host<&'g Gic<'h>>, config: Config) -> TestVm<'g, 'h> {
    let vm = Vm::new(Hypervisor { host, kicks: Default::default() }, config).unwrap();
    vm.set_groups(Wanted::Yes, Wanted::Yes);
    vm.enable(VcpuId(0), GUEST.0);
    vm
}

pub(crate) struct Routes<'v, 'g, 'h>(pub(crate) &'v TestVm<'g, 'h>);

impl Trigger for Routes<'_, '_, '_> {
    fn signal(&self, token: Token) -> Taken {
        match Route::of(token) {
            Route::Forwarded { guest, .. } => self.0.deliver(guest),
            Route::Injected { guest, .. } => self.0.signal(guest),
            Route::Eventfd(_) => Taken::No,
        }
    }
}

pub(crate) struct Nobody;

impl Trigger for Nobody {
    fn signal(&self, _: Token) -> Taken {
        Taken::No
    }
}

pub(crate) fn raise(gic: &Gic<'_>) {
    gic.set(HOST, |one| {
        if one.edge {
            one.latch = true;
        } else {
            one.high = true;
        }
    });
}

pub(crate) fn lower(gic: &Gic<'_>) {
    gic.set(HOST, |one| one.high = false);
}

/// The host's handler runs, as often as the hardware signals.
pub(crate) fn interrupts(cpu: &mut Cpu<'_, '_>, vm: &TestVm<'_, '_>) -> usize {
    let mut count = 0;
    while let Some(acknowledged) = cpu.acknowledge() {
        let _ = vm.machine().host().handle(acknowledged, cpu, &Routes(vm), 0);
        count += 1;
        assert!(count < 1000, "the handler never ends it");
    }
    count
}

pub(crate) fn host<'g, 'h>(gic: &'g Gic<'h>) -> Host<&'g Gic<'h>> {
    Host::new(gic, StormLimit::NONE).unwrap()
}
