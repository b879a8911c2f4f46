//! The machine, and what its devices, CPUs and control interface do.

use super::hardware::{ENDS_APART, Hardware};
use super::rig::{Device, Place, Rig, Runs, SOFTWARE, Shape, eventfd, guest_number, host_number, priority};
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use vcm_irq::host::{Acknowledged, CpuInterface, Handled, Host, LineState, OpenLine};
use vcm_irq::kvm::{JoinError, Mode, join, part};
use vcm_irq::vgic::{
    Completion, Config, EndMode, Group, GuestCpuInterface, InterruptState, ListRegister, Model, Vcpu, Vm,
    VmId, Wanted,
};
use vcm_irq::{Sense, Token, VcpuId};

/// The machine, its virtual machine, and what happens.
pub(crate) struct World {
    pub(crate) shape: Shape,
    pub(crate) rig: Rc<Rig>,
    pub(crate) vm: Rc<Vm<Runs>>,
}

impl World {
    /// All lines are open and connected to the user; the guest has all interrupts enabled, and vCPU n is on CPU n.
    pub(crate) fn new(shape: &Shape) -> Self {
        let hardware = Hardware::new(&shape.devices, shape.cpus, shape.registers);
        let host = Host::new(hardware, shape.storm).expect("memory");
        let mut devices = Vec::new();
        for (number, &sense) in shape.devices.iter().enumerate() {
            let line = host.open(host_number(number), sense).expect("a shared interrupt, closed");
            host.connect(line, Some(eventfd(number))).unwrap();
            let guest_enabled = true;
            devices.push(Device { work: false, mode: None, credit: 0, user: 0, guest_enabled, line });
        }
        let rig = Rc::new(Rig {
            host,
            places: RefCell::new(Vec::new()),
            devices: RefCell::new(devices),
            kicks: RefCell::new(vec![false; shape.vcpus]),
            late: RefCell::new((0..shape.cpus).map(|_| None).collect()),
            vm: OnceCell::new(),
            killed: Cell::new(false),
        });
        let config = Config {
            id: VmId(3),
            model: Model::V2,
            completion: shape.completion,
            vcpus: shape.vcpus as u16,
            interrupts: if shape.devices.len() < 32 { 64 } else { 1024 },
        };
        let vm = Rc::new(Vm::new(Runs(rig.clone()), config).expect("a shape that can be"));
        assert!(rig.vm.set(Rc::downgrade(&vm)).is_ok());
        let first = VcpuId(0);
        vm.set_groups(Wanted::Yes, Wanted::Yes);
        vm.set_group(first, SOFTWARE.0, Group::One);
        vm.set_sense(first, SOFTWARE.0, Sense::Edge);
        vm.set_priority(first, SOFTWARE.0, 0x60);
        vm.enable(first, SOFTWARE.0);
        for (number, &sense) in shape.devices.iter().enumerate() {
            let guest = guest_number(number).0;
            vm.set_group(first, guest, Group::One);
            vm.set_sense(first, guest, sense);
            vm.set_priority(first, guest, priority(number));
            vm.enable(first, guest);
        }
        for number in 0..shape.vcpus {
            let mut vcpu = Vcpu::new(&vm, VcpuId(number as u16)).expect("memory");
            let control = if shape.ends == EndMode::Apart { ENDS_APART } else { 0 };
            vcpu.set_guest(GuestCpuInterface { control, ..Default::default() });
            let place = Place { vcpu, on: None, trap: Wanted::No, in_hand: Vec::new(), to_serve: Vec::new() };
            rig.places.borrow_mut().push(place);
        }
        let world = Self { shape: shape.clone(), rig, vm };
        for vcpu in 0..shape.vcpus.min(shape.cpus) {
            world.rig.load(vcpu, vcpu);
        }
        world
    }

    pub(crate) fn hardware(&self) -> &Hardware {
        self.rig.hardware()
    }

    pub(crate) fn on(&self, vcpu: usize) -> Option<usize> {
        self.rig.places.borrow()[vcpu].on
    }

    pub(crate) fn on_cpu(&self, cpu: usize) -> Option<usize> {
        self.rig.places.borrow().iter().position(|place| place.on == Some(cpu))
    }

    pub(crate) fn device<R>(&self, device: usize, act: impl FnOnce(&mut Device) -> R) -> R {
        act(&mut self.rig.devices.borrow_mut()[device])
    }

    pub(crate) fn line(&self, device: usize) -> OpenLine {
        self.device(device, |d| d.line)
    }

    /// The device asks: raises its line, or sends an edge.
    pub(crate) fn ask(&self, device: usize) {
        self.hardware().set_line(device, true);
        if self.shape.devices[device] == Sense::Edge {
            self.hardware().set_line(device, false);
        }
        self.device(device, |d| d.work = true);
    }

    /// Somebody serves the device, and it is content.
    pub(crate) fn serve(&self, device: usize) {
        self.hardware().set_line(device, false);
        self.device(device, |d| d.work = false);
    }

    /// What is in the list registers of a CPU.
    pub(crate) fn registers(&self, cpu: usize) -> Vec<ListRegister> {
        self.hardware().look(|state| state.cpus[cpu].registers.iter().flatten().copied().collect())
    }

    /// What a guest sees of a device's interrupt. A vCPU that has it in a list register leaves the guest for that.
    pub(crate) fn seen(&self, device: usize) -> InterruptState {
        self.vm.interrupt(VcpuId(0), guest_number(device).0).expect("it exists")
    }

    pub(crate) fn line_state(&self, device: usize) -> LineState {
        self.rig.host.state(host_number(device)).expect("it exists")
    }

    pub(crate) fn is_signalled(&self, device: usize) -> bool {
        self.hardware().look(|state| state.inputs[device].is_signalled())
    }

    pub(crate) fn is_active(&self, device: usize) -> bool {
        self.hardware().look(|state| state.inputs[device].active)
    }

    /// A CPU takes the physical interrupt; its vCPU leaves the guest for that and goes back.
    pub(crate) fn take(&self, device: usize, cpu: usize) -> Option<Handled> {
        self.out_of_guest(cpu, || {
            let mut interface = self.hardware().physical_cpu(cpu, device);
            let acknowledged = interface.acknowledge()?;
            let handled = self.rig.host.handle(acknowledged, &mut interface, &Runs(self.rig.clone()), 0);
            assert!(self.hardware().is_idle(cpu), "the priority is not dropped after {handled:?}");
            let active = self.is_active(device);
            assert_eq!(active, handled == Handled::Forwarded, "{handled:?}");
            Some(handled)
        })
    }

    /// A CPU acknowledges the physical interrupt, and goes on with it [later](Self::handle_late).
    pub(crate) fn acknowledge_physical(&self, device: usize, cpu: usize) {
        if let Some(vcpu) = self.on_cpu(cpu) {
            self.rig.save(vcpu);
        }
        self.rig.late.borrow_mut()[cpu] = self.hardware().physical_cpu(cpu, device).acknowledge();
    }

    pub(crate) fn handle_late(&self, cpu: usize) {
        let Some(acknowledged) = self.rig.late.borrow_mut()[cpu].take() else { return };
        let mut interface = self.hardware().physical_cpu(cpu, 0);
        self.rig.host.handle(acknowledged, &mut interface, &Runs(self.rig.clone()), 0);
        assert!(self.hardware().is_idle(cpu), "the priority is not dropped");
    }

    pub(crate) fn has_late(&self, cpu: usize) -> bool {
        self.rig.late.borrow()[cpu].is_some()
    }

    fn is_late(&self, device: usize) -> bool {
        let of =
            |late: &Option<Acknowledged>| late.as_ref().is_some_and(|a| a.interrupt() == host_number(device));
        self.rig.late.borrow().iter().any(of)
    }

    pub(crate) fn out_of_guest<R>(&self, cpu: usize, act: impl FnOnce() -> R) -> R {
        let vcpu = self.on_cpu(cpu);
        if let Some(vcpu) = vcpu {
            self.rig.save(vcpu);
        }
        let result = act();
        if let Some(vcpu) = vcpu {
            self.rig.load(vcpu, cpu);
        }
        result
    }

    /// A vCPU leaves the guest and goes back.
    pub(crate) fn resync(&self, vcpu: usize) {
        if let Some(cpu) = self.on(vcpu) {
            self.rig.save(vcpu);
            self.rig.load(vcpu, cpu);
        }
    }

    pub(crate) fn wants_exit(&self, vcpu: usize) -> bool {
        let maintenance = |cpu| self.hardware().look(|state| state.maintenance(cpu));
        self.rig.kicked(vcpu) || self.on(vcpu).is_some_and(maintenance)
    }

    pub(crate) fn can_acknowledge(&self, vcpu: usize) -> bool {
        self.on(vcpu).is_some_and(|cpu| self.hardware().look(|state| state.most_urgent(cpu).is_some()))
    }

    pub(crate) fn join(&self, device: usize) -> Result<Mode, JoinError> {
        let mode = join(&self.vm, self.line(device), guest_number(device))?;
        self.device(device, |d| d.mode = Some(mode));
        Ok(mode)
    }

    pub(crate) fn part(&self, device: usize, trigger: Option<Token>) {
        part(&self.vm, self.line(device), guest_number(device), trigger);
        let forwarded = self.device(device, |d| d.mode.take()) == Some(Mode::Forwarded);
        // What the guest has of it stays its own.
        let pending = |seen: InterruptState| seen.pending && !seen.active;
        if forwarded && !self.vm.interrupt(VcpuId(0), guest_number(device).0).is_some_and(pending) {
            self.device(device, |d| d.credit = 0);
        }
    }

    /// Everything is released, and the virtual machine stopped.
    pub(crate) fn kill(&self) {
        for device in 0..self.shape.devices.len() {
            self.part(device, None);
            self.rig.host.close(self.line(device));
        }
        for vcpu in 0..self.shape.vcpus {
            self.rig.save(vcpu);
        }
        self.rig.killed.set(true);
    }

    pub(crate) fn reopen(&self, device: usize) {
        self.part(device, None);
        self.rig.host.close(self.line(device));
        let line = self.rig.host.open(host_number(device), self.shape.devices[device]).expect("it is closed");
        self.rig.host.connect(line, Some(eventfd(device))).unwrap();
        self.device(device, |d| {
            d.line = line;
            d.user = 0;
            // An edge from before is nobody's.
            d.work &= self.shape.devices[device] == Sense::Level;
        });
    }

    /// What must hold whenever nobody is in the middle of anything.
    pub(crate) fn check(&self) {
        for number in 0..self.shape.devices.len() {
            let state = self.rig.host.state(host_number(number)).expect("it exists");
            let device = self.device(number, |d| d.clone());
            let quiet = state.user_masked || state.automasked || state.guest_masked || state.shut;
            let input = self.hardware().look(|s| s.inputs[number].clone());
            assert_eq!(input.enabled, state.open && state.connected && !quiet, "device {number}: {state:?}");
            let forwarded = device.mode == Some(Mode::Forwarded);
            assert_eq!(state.forwarded, forwarded, "device {number}: {state:?}");
            assert_eq!(state.guest_masked, forwarded && !device.guest_enabled, "device {number}: {state:?}");
            if !forwarded {
                assert!(
                    !input.active || self.is_late(number),
                    "device {number} is not forwarded, and its interrupt is active"
                );
                let named = self.hardware().look(|s| {
                    let completion = Completion::Physical(host_number(number));
                    s.cpus.iter().any(|c| c.registers.iter().flatten().any(|r| r.completion == completion))
                });
                assert!(!named, "device {number} is not forwarded, and a list register names its interrupt");
            }
            if self.rig.killed.get() {
                assert!(!state.open && !input.enabled && !input.is_signalled());
                assert!(!input.active || self.is_late(number));
            }
        }
    }
}

/// A machine with these devices, all forwarded.
pub(crate) fn forwarded(devices: &[Sense], shape: Shape) -> World {
    let world = World::new(&Shape { devices: devices.to_vec(), ..shape });
    for device in 0..devices.len() {
        assert_eq!(world.join(device), Ok(Mode::Forwarded));
    }
    world
}

/// The first CPU takes a device's interrupt, and the guest on it acknowledges that.
pub(crate) fn delivered(world: &World, device: usize) {
    assert_eq!(world.take(device, 0), Some(Handled::Forwarded));
    assert_eq!(world.acknowledge(0), Some(guest_number(device)));
}
