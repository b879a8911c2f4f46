//! A machine of a few atomics: one host interrupt, one virtual machine.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use loom::thread;
use vcm_irq::host::{
    Acknowledged, Controller, CpuInterface, Host, LineState, OpenLine, StormLimit, Taken, Trigger,
};
use vcm_irq::kvm::Route;
use vcm_irq::vgic::{
    Attention, CompletionBy, Config, EndMode, GuestCpuInterface, ListRegister, LrState, Machine, Model,
    VirtualInterface, Vm, VmId, Wanted,
};
use vcm_irq::{GuestInterrupt, HostInterrupt, Sense, Token, VcpuId};

pub(crate) const HOST: HostInterrupt = HostInterrupt(32);
pub(crate) const GUEST: GuestInterrupt = GuestInterrupt(33);
/// Raised by software.
pub(crate) const OTHER: GuestInterrupt = GuestInterrupt(34);
pub(crate) const VCPU: VcpuId = VcpuId(0);

pub(crate) const ENABLED: u32 = 1;
pub(crate) const ACTIVE: u32 = 2;
pub(crate) const HIGH: u32 = 4;
pub(crate) const LATCH: u32 = 8;

pub(crate) fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    let executions = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let count = executions.clone();
    builder.check(move || {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        model();
    });
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    println!("{name}: {} executions", executions.load(std::sync::atomic::Ordering::Relaxed));
}

/// One interrupt of the host's controller: its state is one atomic word.
#[derive(Debug)]
pub(crate) struct Hardware(pub(crate) AtomicU32);

impl Hardware {
    pub(crate) fn change(&self, set: u32, clear: u32) -> u32 {
        self.0.fetch_update(SeqCst, SeqCst, |state| Some((state | set) & !clear)).expect("never refused")
    }

    pub(crate) fn has(&self, bits: u32) -> bool {
        self.0.load(SeqCst) & bits != 0
    }
}

impl Controller for Hardware {
    fn interrupts(&self) -> u32 {
        HOST.0 + 1
    }
    fn has_active_state(&self, _: HostInterrupt) -> bool {
        true
    }
    fn enable(&self, _: HostInterrupt) {
        self.change(ENABLED, 0);
    }
    fn disable(&self, _: HostInterrupt) {
        self.change(0, ENABLED);
    }
    fn deactivate(&self, _: HostInterrupt) {
        self.change(0, ACTIVE);
    }
    fn set_active(&self, _: HostInterrupt) {
        self.change(ACTIVE, 0);
    }
    fn set_pending(&self, _: HostInterrupt) {
        self.change(LATCH, 0);
    }
    fn clear_pending(&self, _: HostInterrupt) {
        self.change(0, LATCH);
    }
    fn is_pending(&self, _: HostInterrupt) -> bool {
        self.has(HIGH | LATCH)
    }
    fn is_active(&self, _: HostInterrupt) -> bool {
        self.has(ACTIVE)
    }
    fn set_sense(&self, _: HostInterrupt, _: Sense) {}
}

/// A CPU that acknowledges.
pub(crate) struct Cpu<'a>(pub(crate) &'a Hardware);

impl CpuInterface for Cpu<'_> {
    fn acknowledge(&mut self) -> Option<Acknowledged> {
        let acknowledge = |state: u32| {
            let signalled = state & ENABLED != 0 && state & (HIGH | LATCH) != 0 && state & ACTIVE == 0;
            signalled.then_some(state & !LATCH | ACTIVE)
        };
        self.0.0.fetch_update(SeqCst, SeqCst, acknowledge).ok().map(|_| Acknowledged::new(HOST, HOST.0))
    }
    fn drop_priority(&mut self, _: &Acknowledged) {}
    fn deactivate(&mut self, _: Acknowledged) {
        let before = self.0.change(0, ACTIVE);
        assert_ne!(before & ACTIVE, 0, "deactivated twice");
    }
}

/// A machine with one device, one virtual machine, one vCPU.
pub(crate) struct Rig {
    pub(crate) host: Host<Hardware>,
    pub(crate) kicked: AtomicBool,
    /// Whether a list register names the guest interrupt.
    pub(crate) named: AtomicBool,
    /// What had the line before is done with: nobody may be told.
    pub(crate) ended: AtomicBool,
    pub(crate) user: AtomicU32,
}

#[derive(Clone)]
pub(crate) struct Runs(pub(crate) Arc<Rig>);

impl Machine for Runs {
    type Controller = Hardware;
    fn host(&self) -> &Host<Hardware> {
        &self.0.host
    }
    fn kick(&self, _: VcpuId) {
        // loom may order a plain store before exchanges that were made already.
        self.0.kicked.swap(true, SeqCst);
    }
    fn wait_for(&self, _: VcpuId) {
        thread::yield_now();
    }
}

/// What triggers reach.
pub(crate) struct Reach<'a>(&'a Rig, Option<&'a Vm<Runs>>);

impl Trigger for Reach<'_> {
    fn signal(&self, token: Token) -> Taken {
        match (Route::of(token), self.1) {
            (Route::Forwarded { guest, .. }, Some(vm)) => {
                assert!(!self.0.ended.load(SeqCst), "delivered after un-forwarding");
                vm.deliver(guest)
            }
            (Route::Eventfd(1), _) => {
                assert!(!self.0.ended.load(SeqCst), "signalled after the trigger was taken away");
                self.0.user.fetch_add(1, SeqCst);
                Taken::Yes
            }
            (Route::Eventfd(_), _) => {
                self.0.user.fetch_add(1, SeqCst);
                Taken::Yes
            }
            _ => Taken::No,
        }
    }
}

pub(crate) fn token(number: u64) -> Option<Token> {
    Token::new(number)
}

pub(crate) fn rig(sense: Sense) -> (Arc<Rig>, OpenLine) {
    let host = Host::new(Hardware(AtomicU32::new(0)), StormLimit::NONE).expect("memory");
    let line = host.open(HOST, sense).expect("closed");
    host.connect(line, token(1)).unwrap();
    let flag = || AtomicBool::new(false);
    let rig = Rig { host, kicked: flag(), named: flag(), ended: flag(), user: AtomicU32::new(0) };
    (Arc::new(rig), line)
}

pub(crate) fn virtual_machine(rig: &Arc<Rig>, vcpus: u16) -> Arc<Vm<Runs>> {
    let completion = CompletionBy::Guest;
    let config = Config { id: VmId(0), model: Model::V2, completion, vcpus, interrupts: 64 };
    let vm = Vm::new(Runs(rig.clone()), config).expect("a shape that can be");
    vm.set_groups(Wanted::Yes, Wanted::Yes);
    vm.enable(VCPU, GUEST.0);
    vm.enable(VCPU, OTHER.0);
    Arc::new(vm)
}

impl Rig {
    pub(crate) fn hardware(&self) -> &Hardware {
        self.host.controller()
    }

    /// The device asks, and a CPU takes that.
    pub(crate) fn take(&self, vm: Option<&Vm<Runs>>) {
        let mut cpu = Cpu(self.hardware());
        if let Some(acknowledged) = cpu.acknowledge() {
            self.host.handle(acknowledged, &mut cpu, &Reach(self, vm), 0);
        }
    }

    pub(crate) fn state(&self) -> LineState {
        self.host.state(HOST).expect("it exists")
    }

    /// The controller's enable bit is what the line's state says.
    pub(crate) fn check(&self) -> LineState {
        let state = self.state();
        let quiet = state.user_masked || state.automasked || state.guest_masked || state.shut;
        assert_eq!(self.hardware().has(ENABLED), state.open && state.connected && !quiet, "{state:?}");
        state
    }
}

/// A virtual interface with one list register or more; the guest ends everything as soon as it runs, or nothing.
pub(crate) struct Virtual<'a> {
    rig: &'a Rig,
    registers: Vec<Option<ListRegister>>,
    pub(crate) ended_outside: u32,
}

impl<'a> Virtual<'a> {
    pub(crate) fn new(rig: &'a Rig, registers: usize) -> Self {
        Self { rig, registers: vec![None; registers], ended_outside: 0 }
    }

    pub(crate) fn has(&self, guest: GuestInterrupt) -> bool {
        self.registers.iter().flatten().any(|register| register.interrupt == guest)
    }

    /// The guest acknowledges and ends what it has, and has its device content.
    pub(crate) fn guest_ends(&mut self) {
        for register in &mut self.registers {
            if let Some(ended) = register.take()
                && let vcm_irq::vgic::Completion::Physical(_) = ended.completion
            {
                let before = self.rig.hardware().change(0, ACTIVE | HIGH);
                assert_ne!(before & ACTIVE, 0, "a list register's physical interrupt is inactive");
            }
        }
    }
}

impl VirtualInterface for Virtual<'_> {
    fn list_registers(&self) -> usize {
        self.registers.len()
    }
    fn write(&mut self, index: usize, register: &ListRegister) {
        if register.interrupt == GUEST {
            self.rig.named.store(true, SeqCst);
        }
        self.registers[index] = Some(*register);
    }
    fn state(&mut self, index: usize) -> LrState {
        self.registers[index].map_or(LrState::Empty, |register| register.state)
    }
    fn clear(&mut self, index: usize) {
        self.registers[index] = None;
        self.rig.named.store(false, SeqCst);
    }
    fn empty(&mut self) -> u32 {
        self.registers.iter().enumerate().map(|(index, r)| u32::from(r.is_none()) << index).sum()
    }
    fn enable(&mut self, _: Attention) {}
    fn disable(&mut self) -> u32 {
        std::mem::take(&mut self.ended_outside)
    }
    fn guest(&mut self) -> GuestCpuInterface {
        GuestCpuInterface::default()
    }
    fn set_guest(&mut self, _: &GuestCpuInterface) {}
    fn end_mode(&self, _: &GuestCpuInterface) -> EndMode {
        EndMode::Together
    }
}
