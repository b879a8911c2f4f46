//! A machine for the tests of the controls: one thread, everything looked at between two steps.
//!
//! Its distributor and its list registers do what the hardware does with them, and no more than these tests need.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

pub mod hardware;
pub mod user;

use hardware::{Cpu, Distributor, Registers};
use std::cell::RefCell;
use std::rc::Rc;
use vcm_irq::host::{Handled, Host, OpenLine, StormLimit, Taken, Trigger};
use vcm_irq::kvm::{Bypass, Eventfds, Route};
use vcm_irq::vfio::Signals;
use vcm_irq::vgic::{CompletionBy, Config, Machine, Model, Vcpu, Vm, VmId, Wanted};
use vcm_irq::{GuestInterrupt, HostInterrupt, Token, VcpuId};

/// How a virtual machine's interrupts see the machine.
#[derive(Clone, Debug)]
pub struct Hand {
    world: Rc<World>,
    vm: VmId,
}

pub type TestVm = Rc<Vm<Hand>>;

impl Machine for Hand {
    type Controller = Distributor;

    fn host(&self) -> &Host<Distributor> {
        &self.world.host
    }

    fn kick(&self, _: VcpuId) {}

    fn wait_for(&self, vcpu: VcpuId) {
        // The only thread: so the vCPU leaves the guest now.
        self.world.leave(self.vm, vcpu);
    }
}

/// A virtual CPU and the CPU that runs it.
#[derive(Debug)]
struct Running {
    vcpu: Vcpu,
    registers: Registers,
}

#[derive(Debug)]
struct Guest {
    vm: TestVm,
    vcpus: Vec<RefCell<Running>>,
}

/// The machine.
#[derive(Debug)]
pub struct World {
    pub host: Host<Distributor>,
    pub eventfds: Rc<Eventfds>,
    pub bypass: RefCell<Bypass<TestVm, Rc<Eventfds>>>,
    guests: RefCell<Vec<Option<Guest>>>,
    /// Tokens that were signalled and that no guest consumes: its user hears them.
    pub heard: RefCell<Vec<Token>>,
}

/// Interrupts of the host: above `NO_ACTIVE_STATE` they have none.
pub const INTERRUPTS: u32 = 1100;
pub const NO_ACTIVE_STATE: u32 = 1090;
pub const EVENTFDS: usize = 64;

pub fn world() -> Rc<World> {
    let eventfds = Rc::new(Eventfds::new(EVENTFDS).unwrap());
    Rc::new(World {
        host: Host::new(Distributor::new(INTERRUPTS, NO_ACTIVE_STATE), StormLimit::NONE).unwrap(),
        bypass: RefCell::new(Bypass::new(eventfds.clone())),
        eventfds,
        guests: RefCell::default(),
        heard: RefCell::default(),
    })
}

impl World {
    /// Makes a virtual machine whose shared interrupts are all enabled.
    pub fn vm(self: &Rc<Self>, completion: CompletionBy) -> TestVm {
        let id = VmId(self.guests.borrow().len() as u16);
        let config = Config { id, model: Model::V2, completion, vcpus: 2, interrupts: 1024 };
        let vm = Rc::new(Vm::new(Hand { world: self.clone(), vm: id }, config).unwrap());
        vm.set_groups(Wanted::Yes, Wanted::Yes);
        for interrupt in 32..vm.end() {
            vm.enable(VcpuId(0), interrupt);
        }
        let running = |id| {
            let vcpu = Vcpu::new(&vm, VcpuId(id)).unwrap();
            RefCell::new(Running { vcpu, registers: Registers::default() })
        };
        self.guests.borrow_mut().push(Some(Guest { vcpus: (0..2).map(running).collect(), vm: vm.clone() }));
        vm
    }

    /// The virtual machine is gone: nobody finds it any more. Its vCPUs were stopped.
    pub fn forget(&self, vm: VmId) {
        for vcpu in [VcpuId(0), VcpuId(1)] {
            self.leave(vm, vcpu);
        }
        self.guests.borrow_mut()[usize::from(vm.0)] = None;
    }

    /// Takes the host's interrupts until there are none, and says what became of them.
    pub fn run(&self) -> Vec<Handled> {
        let mut handled = Vec::new();
        let mut cpu = Cpu(self.host.controller());
        while let Some(acknowledged) = vcm_irq::host::CpuInterface::acknowledge(&mut cpu) {
            handled.push(self.host.handle(acknowledged, &mut cpu, self, 0));
            assert!(handled.len() < 100, "an interrupt that does not end");
        }
        handled
    }

    /// Sets a device's line and takes what comes.
    pub fn set(&self, interrupt: u32, high: bool) -> Vec<Handled> {
        self.host.controller().set(HostInterrupt(interrupt), high);
        self.run()
    }

    /// Enters the guest.
    pub fn enter(&self, vm: VmId, vcpu: VcpuId) {
        self.with(vm, vcpu, |vm, running| {
            if !vm.is_running(vcpu) {
                let _ = running.vcpu.load(vm, &mut running.registers);
            }
        });
    }

    /// Leaves the guest, if it is in it.
    pub fn leave(&self, vm: VmId, vcpu: VcpuId) {
        self.with(vm, vcpu, |vm, running| {
            if vm.is_running(vcpu) {
                running.vcpu.save(vm, &mut running.registers);
            }
        });
    }

    /// The guest acknowledges an interrupt.
    pub fn acknowledge(&self, vm: VmId, vcpu: VcpuId) -> Option<u32> {
        self.with(vm, vcpu, |_, running| running.registers.acknowledge())?
    }

    /// The guest ends an interrupt that it acknowledged; the hardware completes the physical one, if it has one. Host
    /// interrupts are not taken yet.
    pub fn end(&self, vm: VmId, vcpu: VcpuId, interrupt: u32) {
        let physical = self.with(vm, vcpu, |_, running| running.registers.end(interrupt)).flatten();
        if let Some(physical) = physical {
            self.host.controller().deactivated_by_guest(physical);
        }
    }

    /// Runs the guest until it has nothing to do: it acknowledges, lets its device be content, and ends. The interrupts
    /// that it saw.
    pub fn serve(&self, vm: VmId, device: &[u32]) -> Vec<u32> {
        let mut seen = Vec::new();
        for _ in 0..20 {
            self.run();
            self.enter(vm, VcpuId(0));
            while let Some(interrupt) = self.acknowledge(vm, VcpuId(0)) {
                device.iter().for_each(|&line| self.host.controller().set(HostInterrupt(line), false));
                self.end(vm, VcpuId(0), interrupt);
                seen.push(interrupt);
            }
            self.leave(vm, VcpuId(0));
        }
        seen
    }

    /// Whether any list register of any vCPU names a host interrupt.
    pub fn in_list_register(&self, interrupt: HostInterrupt) -> bool {
        let guests = self.guests.borrow();
        let vcpus = guests.iter().flatten().flat_map(|guest| &guest.vcpus);
        vcpus.into_iter().any(|running| running.borrow().registers.names(interrupt))
    }

    /// Whether the guest has an interrupt pending or active.
    pub fn in_progress(&self, vm: &TestVm, interrupt: u32) -> bool {
        let state = vm.interrupt(VcpuId(0), interrupt).unwrap();
        state.pending || state.active
    }

    fn with<R>(&self, vm: VmId, vcpu: VcpuId, act: impl FnOnce(&Vm<Hand>, &mut Running) -> R) -> Option<R> {
        let guests = self.guests.borrow();
        let guest = guests.get(usize::from(vm.0))?.as_ref()?;
        let mut running = guest.vcpus[usize::from(vcpu.0)].borrow_mut();
        Some(act(&guest.vm, &mut running))
    }

    fn find(&self, vm: VmId) -> Option<TestVm> {
        Some(self.guests.borrow().get(usize::from(vm.0))?.as_ref()?.vm.clone())
    }
}

impl Trigger for World {
    fn signal(&self, token: Token) -> Taken {
        let interrupt = |vm, act: &dyn Fn(&Vm<Hand>) -> Taken| self.find(vm).map_or(Taken::No, |vm| act(&vm));
        match Route::of(token) {
            Route::Forwarded { vm, guest } => interrupt(vm, &|vm| vm.deliver(guest)),
            Route::Injected { vm, guest } => interrupt(vm, &|vm| vm.signal(guest)),
            Route::Eventfd(_) => match self.eventfds.signal(token) {
                Some(irqfd) => interrupt(irqfd.vm, &|vm| irqfd.interrupt(vm)),
                None => {
                    self.heard.borrow_mut().push(token);
                    Taken::No
                }
            },
        }
    }
}

impl Signals for World {
    fn connected(&self, line: OpenLine, token: Token) {
        // A token that has a producer already stays that one's, as in Linux.
        let _ = self.bypass.borrow_mut().register_producer(token, line);
    }

    fn disconnecting(&self, line: OpenLine, token: Token) {
        self.bypass.borrow_mut().unregister_producer(token, line);
    }
}

pub fn token(number: u64) -> Token {
    Token::new(number).unwrap()
}

pub const CPU: VcpuId = VcpuId(0);

pub const fn guest(number: u32) -> GuestInterrupt {
    GuestInterrupt(number)
}
