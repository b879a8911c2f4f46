//! This crate, over a machine in memory: its registers are plain memory, and its guest is a value.

use super::rounds::{FIRST, Guest, Shape, Subject};
use std::hint::black_box;
use vcm_irq::host::{
    Acknowledged, Controller, CpuInterface, Handled, Host, OpenLine, StormLimit, Taken, Trigger,
};
use vcm_irq::kvm::{Mode, Route, join, part};
use vcm_irq::vgic::{
    Attention, Completion, CompletionBy, Config, EndMode, GuestCpuInterface, ListRegister, LrState,
    MOST_LIST_REGISTERS, Machine, Model, Vcpu, VirtualInterface, Vm, VmId, Wanted,
};
use vcm_irq::{GuestInterrupt, HostInterrupt, Sense, Token, VcpuId};

/// A distributor that does nothing.
struct Distributor;

impl Controller for Distributor {
    fn interrupts(&self) -> u32 {
        1020
    }
    fn has_active_state(&self, _: HostInterrupt) -> bool {
        true
    }
    fn enable(&self, interrupt: HostInterrupt) {
        black_box(interrupt);
    }
    fn disable(&self, interrupt: HostInterrupt) {
        black_box(interrupt);
    }
    fn deactivate(&self, interrupt: HostInterrupt) {
        black_box(interrupt);
    }
    fn set_active(&self, interrupt: HostInterrupt) {
        black_box(interrupt);
    }
    fn set_pending(&self, interrupt: HostInterrupt) {
        black_box(interrupt);
    }
    fn clear_pending(&self, interrupt: HostInterrupt) {
        black_box(interrupt);
    }
    fn is_pending(&self, interrupt: HostInterrupt) -> bool {
        black_box(interrupt);
        false
    }
    fn is_active(&self, interrupt: HostInterrupt) -> bool {
        black_box(interrupt);
        false
    }
    fn set_sense(&self, interrupt: HostInterrupt, _: Sense) {
        black_box(interrupt);
    }
}

/// The host.
struct Board {
    host: Host<Distributor>,
}

impl Machine for Board {
    type Controller = Distributor;
    fn host(&self) -> &Host<Distributor> {
        &self.host
    }
    fn kick(&self, vcpu: VcpuId) {
        black_box(vcpu);
    }
    fn wait_for(&self, _: VcpuId) {}
}

/// The registers of the CPU that runs a vCPU: a physical and a virtual interface.
struct Cpu {
    asks: Option<HostInterrupt>,
    dropped: u32,
    list: [Option<ListRegister>; MOST_LIST_REGISTERS],
    count: usize,
    interface: GuestCpuInterface,
    attention: Attention,
    guest: Guest,
}

impl CpuInterface for Cpu {
    fn acknowledge(&mut self) -> Option<Acknowledged> {
        self.asks.take().map(|interrupt| Acknowledged::new(interrupt, interrupt.0))
    }
    fn drop_priority(&mut self, acknowledged: &Acknowledged) {
        self.dropped = acknowledged.raw();
    }
    fn deactivate(&mut self, acknowledged: Acknowledged) {
        let _ = black_box(acknowledged);
    }
}

impl VirtualInterface for Cpu {
    fn list_registers(&self) -> usize {
        self.count
    }
    fn write(&mut self, index: usize, register: &ListRegister) {
        self.list[index] = Some(*register);
    }
    fn state(&mut self, index: usize) -> LrState {
        match (self.guest, self.list[index]) {
            (Guest::Acknowledges, Some(_)) => LrState::Active,
            _ => LrState::Empty,
        }
    }
    fn clear(&mut self, index: usize) {
        self.list[index] = None;
    }
    fn empty(&mut self) -> u32 {
        // What register writes do is seen outside: they are not to be left out.
        black_box(&mut *self);
        if self.guest == Guest::Ends { u32::MAX } else { 0 }
    }
    fn enable(&mut self, attention: Attention) {
        self.attention = attention;
    }
    fn disable(&mut self) -> u32 {
        self.attention = Attention::default();
        0
    }
    fn guest(&mut self) -> GuestCpuInterface {
        self.interface
    }
    fn set_guest(&mut self, guest: &GuestCpuInterface) {
        self.interface = *guest;
    }
    fn end_mode(&self, _: &GuestCpuInterface) -> EndMode {
        EndMode::Together
    }
}

/// A virtual machine on this crate.
pub(crate) struct Ours {
    vm: Vm<Board>,
    lines: Vec<OpenLine>,
}

impl Trigger for Ours {
    fn signal(&self, token: Token) -> Taken {
        match Route::of(token) {
            Route::Forwarded { vm, guest } if vm == self.vm.config().id => self.vm.deliver(guest),
            _ => Taken::No,
        }
    }
}

/// A vCPU and the CPU that runs it.
pub(crate) struct Thread {
    vcpu: Vcpu,
    cpu: Cpu,
    now: u64,
}

impl Subject for Ours {
    type Vcpu = Thread;

    fn new(shape: Shape) -> (Self, [Thread; 2]) {
        let host = Host::new(Distributor, StormLimit::default()).expect("there is memory");
        let config = Config {
            id: VmId(1),
            model: Model::V3,
            completion: CompletionBy::Guest,
            vcpus: 2,
            interrupts: 1024,
        };
        let vm = Vm::new(Board { host }, config).expect("there can be such a virtual machine");
        vm.set_groups(Wanted::Yes, Wanted::Yes);
        let mut lines = Vec::new();
        for number in FIRST..FIRST + shape.bound {
            let line = vm.machine().host().open(HostInterrupt(number), Sense::Level).expect("it is closed");
            vm.set_target(number, Some(VcpuId((shape.target)(number))));
            vm.enable(VcpuId(0), number);
            assert_eq!(join(&vm, line, GuestInterrupt(number)), Ok(Mode::Forwarded));
            lines.push(line);
        }
        let threads = [0, 1].map(|id| Thread {
            vcpu: Vcpu::new(&vm, VcpuId(id)).expect("there is memory"),
            cpu: Cpu {
                asks: None,
                dropped: 0,
                list: [None; MOST_LIST_REGISTERS],
                count: shape.list_registers,
                interface: GuestCpuInterface::default(),
                attention: Attention::default(),
                guest: shape.guest,
            },
            now: 0,
        });
        (Self { vm, lines }, threads)
    }

    #[inline(never)]
    fn forward(&self, thread: &mut Thread, number: u32) {
        // A clock that lets every line stay below the storm limit.
        thread.now = thread.now.wrapping_add(50);
        thread.cpu.asks = Some(HostInterrupt(number));
        let Some(acknowledged) = thread.cpu.acknowledge() else { return };
        let handled = self.vm.machine().host().handle(acknowledged, &mut thread.cpu, self, thread.now);
        assert_eq!(handled, Handled::Forwarded);
    }

    #[inline(never)]
    fn deliver(&self, number: u32) {
        assert_eq!(self.vm.deliver(GuestInterrupt(number)), Taken::Yes);
    }

    #[inline(never)]
    fn load(&self, thread: &mut Thread) {
        let _ = black_box(thread.vcpu.load(&self.vm, &mut thread.cpu));
    }

    #[inline(never)]
    fn save(&self, thread: &mut Thread) {
        thread.vcpu.save(&self.vm, &mut thread.cpu);
    }

    #[inline(never)]
    fn rebind(&self, number: u32) {
        let (line, guest) = (self.lines[(number - FIRST) as usize], GuestInterrupt(number));
        part(&self.vm, line, guest, None);
        assert_eq!(join(&self.vm, line, guest), Ok(Mode::Forwarded));
    }

    fn loaded(&self, thread: &Thread) -> Vec<u32> {
        let number = |register: &ListRegister| match register.completion {
            Completion::Physical(host) => host.0,
            _ => panic!("{} is not forwarded", register.interrupt),
        };
        thread.cpu.list.iter().flatten().map(number).collect()
    }
}
