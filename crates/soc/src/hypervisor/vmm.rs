//! The programs that run guests, and what they do with devices.

use super::seat::{Place, Seat};
use super::world::{Guest, HOST, HypervisorError, Plugged, Runner, World, lock};
use crate::hardware::guest::Software;
use crate::hardware::{CPUS, MasterId, Signalling};
use crate::soc::Shared;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use vcm_irq::kvm::{Bypass, Eventfds, Fallback, Mode, Resample};
use vcm_irq::kvm_vfio::{GROUP, KvmVfio};
use vcm_irq::vfio::{Action, Data, Device, IndexLayout, Request};
use vcm_irq::vgic::{CompletionBy, Config, Model, Vcpu, Vm, VmId};
use vcm_irq::{DeviceInterrupt, GuestInterrupt, HostInterrupt, SPI_END, Sense, Token, VcpuId};
use vcm_platform::{
    AssignmentHandle, AssignmentRequest, GuestHandle, GuestRequest, InterruptCounts, PlatformError, Way,
};

/// Interrupts of each guest: all that there can be.
const INTERRUPTS: u32 = 1024;

/// An interrupt of a device, as the board has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeviceLine {
    pub(crate) host: HostInterrupt,
    pub(crate) signalling: Signalling,
    /// The bus master, and which of its interrupts.
    pub(crate) request: (MasterId, usize),
}

impl DeviceLine {
    pub(super) const fn sense(&self) -> Sense {
        match self.signalling {
            Signalling::Level => Sense::Level,
            Signalling::Pulse => Sense::Edge,
        }
    }
}

/// A program that runs a guest.
#[derive(Debug)]
pub(super) struct Vmm {
    pub(super) name: String,
    pub(super) id: VmId,
    pub(super) guest: Arc<Guest>,
    /// The descriptor by which it has interrupts forwarded.
    pub(super) control: KvmVfio<Arc<Vm<Seat>>, Arc<Device>, Arc<Eventfds>>,
    /// The devices that it has open, by their handle, with their lines.
    pub(super) devices: BTreeMap<u32, (Arc<Device>, Vec<DeviceLine>)>,
    /// The vCPU that the next interrupt goes to.
    pub(super) next: u16,
}

/// An interrupt that was given to a guest.
#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) request: AssignmentRequest,
    pub(super) line: DeviceLine,
    pub(super) number: GuestInterrupt,
    pub(super) token: Token,
    /// How often the device had asked before what the guest is to answer.
    pub(super) before: u64,
    /// What it had counted when its guest was killed.
    pub(super) last: Option<InterruptCounts>,
}

/// The hypervisor and its programs.
#[derive(Debug)]
pub(crate) struct Hypervisor {
    pub(super) world: Arc<World>,
    pub(super) bypass: Bypass<Arc<Vm<Seat>>, Arc<Eventfds>>,
    pub(super) vmms: BTreeMap<u32, Vmm>,
    pub(super) assignments: Vec<Assignment>,
    /// Devices that could not be closed, because somebody still has a reference.
    pub(super) kept: Vec<Arc<Device>>,
    pub(super) started: u16,
    pub(super) next_home: usize,
    pub(super) turn: usize,
}

fn error(what: impl Into<String>, why: impl ToString) -> PlatformError {
    PlatformError { what: what.into(), why: why.to_string() }
}

impl Hypervisor {
    /// A hypervisor on a board; nothing else uses its interrupt controller.
    pub(crate) fn new(machine: Shared) -> Result<Self, HypervisorError> {
        let world = Arc::new(World::new(machine)?);
        Ok(Self {
            bypass: Bypass::new(Arc::clone(&world.eventfds)),
            world,
            vmms: BTreeMap::new(),
            assignments: Vec::new(),
            kept: Vec::new(),
            started: 0,
            next_home: 0,
            turn: 0,
        })
    }

    /// Starts a guest.
    pub(crate) fn start(&mut self, request: &GuestRequest) -> Result<GuestHandle, PlatformError> {
        let refused =
            |why: &dyn ToString| error(format!("to start guest `{}`", request.name), why.to_string());
        let number = self.started.checked_add(1).ok_or_else(|| refused(&"too many were started"))?;
        let id = VmId(number);
        let homes =
            |vcpu: u16| Place::new(HOST + 1 + (self.next_home + usize::from(vcpu)) % (CPUS - 1 - HOST));
        let places: Arc<[Place]> = (0..request.vcpus).map(homes).collect();
        let seat = Seat {
            id,
            host: Arc::clone(&self.world.host),
            world: Arc::downgrade(&self.world),
            places: Arc::clone(&places),
        };
        let config = Config {
            id,
            model: Model::V2,
            // Whoever does not want an interrupt forwarded does not forward it.
            completion: CompletionBy::Guest,
            vcpus: request.vcpus,
            interrupts: INTERRUPTS,
        };
        let vm = Arc::new(Vm::new(seat, config).map_err(|why| refused(&why))?);
        let vcpus = (0..request.vcpus).map(|vcpu| Vcpu::new(&vm, VcpuId(vcpu)).map(Mutex::new));
        let vcpus = vcpus.collect::<Result<Vec<_>, _>>().map_err(|why| refused(&why))?;
        let guest = Arc::new(Guest {
            vm: Arc::clone(&vm),
            software: Mutex::new(Software::new(request.vcpus, request.quieting, request.end)),
            vcpus,
            places,
            plugged: Mutex::default(),
        });
        for vcpu in 0..request.vcpus {
            let runner = Runner { guest: Arc::clone(&guest), vcpu };
            let home = runner.place().home;
            lock(&self.world.cpus[home].duty).queue.push_back(runner);
        }
        lock(&self.world.guests).insert(id, Arc::clone(&guest));
        self.started = number;
        self.next_home += usize::from(request.vcpus);
        let control = KvmVfio::new(vm, Arc::clone(&self.world.eventfds), GROUP);
        let vmm = Vmm { name: request.name.clone(), id, guest, control, devices: BTreeMap::new(), next: 0 };
        self.vmms.insert(u32::from(number), vmm);
        Ok(GuestHandle(u32::from(number)))
    }

    /// Gives an interrupt to a guest; `lines` are the device's, and `asked` is how often this one was asked by before
    /// what the guest is to answer.
    pub(crate) fn assign(
        &mut self,
        request: &AssignmentRequest,
        lines: &[DeviceLine],
        asked: u64,
    ) -> Result<(AssignmentHandle, Mode), PlatformError> {
        let what = format!("to give {} of device {} to a guest", request.interrupt, request.device.0);
        let wanted = |line: &&DeviceLine| {
            request.interrupt == DeviceInterrupt { index: line.request.1 as u32, subindex: 0 }
        };
        let line = *lines.iter().find(wanted).ok_or_else(|| error(&*what, "there is no such line"))?;
        let number = GuestInterrupt::from_gsi(request.gsi);
        let number = number.ok_or_else(|| error(&*what, format!("there is no GSI {}", request.gsi)))?;
        let owner = self.vmms.iter().find(|(_, vmm)| vmm.devices.contains_key(&request.device.0));
        if let Some((handle, vmm)) = owner.filter(|(handle, _)| **handle != request.guest.0) {
            return Err(error(what, format!("EBUSY: guest `{}` (guest {handle}) has the device", vmm.name)));
        }
        for other in self.assignments.iter().filter(|other| other.last.is_none()) {
            if other.request.device == request.device && other.request.interrupt == request.interrupt {
                return Err(error(what, "EBUSY: it has it already"));
            }
            if other.request.guest == request.guest && other.number == number {
                return Err(error(what, format!("EBUSY: GSI {} is another interrupt's", request.gsi)));
            }
        }
        let token = self.unused_token().ok_or_else(|| error(&*what, "no eventfd is left"))?;
        let Self { world, bypass, vmms, .. } = self;
        let vmm = vmms.get_mut(&request.guest.0).ok_or_else(|| error(&*what, "there is no such guest"))?;
        let device = vmm.open(world, request.device.0, lines).map_err(|why| error(&*what, why))?;
        let resample = match line.sense() {
            Sense::Level => Resample::Producer,
            Sense::Edge => Resample::No,
        };
        bypass
            .register_consumer(token, Arc::clone(&vmm.guest.vm), number, resample)
            .map_err(|why| error(&*what, why))?;
        let connected = vmm.connect(world, &device, request, line, (number, token));
        let mode = connected
            .inspect_err(|_| bypass.unregister_consumer(token, vmm.id))
            .map_err(|why| error(what, why))?;
        lock(&world.accounts).reset(line.host.0);
        vmm.plug(world, line, number);
        self.assignments.push(Assignment {
            request: *request,
            line,
            number,
            token,
            before: asked,
            last: None,
        });
        Ok((AssignmentHandle((self.assignments.len() - 1) as u32), mode))
    }

    fn unused_token(&self) -> Option<Token> {
        let used = |token: Token| {
            self.assignments.iter().any(|assignment| assignment.last.is_none() && assignment.token == token)
        };
        let tokens = (1..).map_while(Token::new).take_while(|token| self.world.eventfds.has(*token));
        tokens.into_iter().find(|token| !used(*token))
    }

    /// An interrupt whose guest runs.
    pub(super) fn find(&self, assignment: AssignmentHandle) -> Option<(&Assignment, &Vmm)> {
        let found = self.assignments.get(assignment.0 as usize).filter(|found| found.last.is_none())?;
        Some((found, self.vmms.get(&found.request.guest.0)?))
    }

    /// Forwards an interrupt.
    pub(crate) fn forward(&mut self, assignment: AssignmentHandle) -> Result<Mode, PlatformError> {
        let what = format!("to forward interrupt {}", assignment.0);
        let Self { world, vmms, assignments, .. } = self;
        let found = assignments.get(assignment.0 as usize).filter(|found| found.last.is_none());
        let found = found.ok_or_else(|| error(&*what, "it is nobody's"))?;
        let Assignment { request, number, line, .. } = found;
        let vmm = vmms.get_mut(&request.guest.0).ok_or_else(|| error(&*what, "it is nobody's"))?;
        let (device, _) =
            vmm.devices.get(&request.device.0).ok_or_else(|| error(&*what, "it is nobody's"))?;
        let control = &mut vmm.control;
        world
            .on_behalf(vec![line.host.0], || control.forward(device, request.interrupt, *number))
            .map_err(|why| error(what, format!("{}: {why}", why.errno().name())))
    }

    /// Takes forwarding back.
    pub(crate) fn unforward(&mut self, assignment: AssignmentHandle) {
        let Self { world, vmms, assignments, .. } = self;
        let found = assignments.get(assignment.0 as usize).filter(|found| found.last.is_none());
        let Some(Assignment { request, line, .. }) = found else { return };
        let Some(vmm) = vmms.get_mut(&request.guest.0) else { return };
        let Some((device, _)) = vmm.devices.get(&request.device.0) else { return };
        let control = &mut vmm.control;
        // An interrupt that is not forwarded is left as it is.
        let _ = world.on_behalf(vec![line.host.0], || control.unforward(device, request.interrupt));
    }

    /// The program that runs a guest is killed: what its end takes down is all that is taken down. The lines that were
    /// its devices', which a driver of the host would reset now.
    pub(crate) fn kill(&mut self, guest: GuestHandle) -> Vec<DeviceLine> {
        let counts: Vec<_> = (0..self.assignments.len() as u32)
            .map(AssignmentHandle)
            .filter(|handle| self.find(*handle).is_some_and(|(found, _)| found.request.guest == guest))
            .map(|handle| (handle, self.counts(handle)))
            .collect();
        for (handle, counts) in counts {
            self.assignments[handle.0 as usize].last = Some(counts);
        }
        let Some(mut vmm) = self.vmms.remove(&guest.0) else { return Vec::new() };
        let world = &self.world;
        world.stop(&vmm.guest);
        vmm.control.release();
        let mut closed = Vec::new();
        for (device, lines) in std::mem::take(&mut vmm.devices).into_values() {
            match Arc::try_unwrap(device) {
                Ok(device) => device.close(&world.host, &**world),
                Err(device) => self.kept.push(device),
            }
            closed.extend(lines);
        }
        self.bypass.unregister_all(vmm.id);
        vmm.guest.vm.shut_down();
        lock(&world.guests).remove(&vmm.id);
        closed
    }
}

impl Vmm {
    /// The device, which is opened if it is not open.
    fn open(&mut self, world: &World, handle: u32, lines: &[DeviceLine]) -> Result<Arc<Device>, String> {
        if let Some((device, _)) = self.devices.get(&handle) {
            return Ok(Arc::clone(device));
        }
        let none = IndexLayout { sense: Sense::Level, interrupts: &[] };
        let mut layout = Vec::new();
        for line in lines {
            // An index whose interrupt is somebody else's is not implemented.
            layout.resize(line.request.1, none);
            layout.push(IndexLayout { sense: line.sense(), interrupts: std::slice::from_ref(&line.host) });
        }
        let device = Arc::new(Device::open(&world.host, &layout).map_err(|why| why.to_string())?);
        self.devices.insert(handle, (Arc::clone(&device), lines.to_vec()));
        Ok(device)
    }

    /// Connects a device's interrupt to the guest: by its trigger, and forwarded if that is wanted.
    fn connect(
        &mut self,
        world: &World,
        device: &Arc<Device>,
        request: &AssignmentRequest,
        line: DeviceLine,
        (number, token): (GuestInterrupt, Token),
    ) -> Result<Mode, String> {
        let DeviceInterrupt { index, subindex: start } = request.interrupt;
        let open = device.line(request.interrupt).ok_or("there is no such interrupt")?;
        let home = self.guest.places[usize::from(self.next)].home;
        world.host.controller().set_targets(line.host, 1 << home);
        if line.sense() == Sense::Level {
            // What a resampling irqfd does.
            self.guest.vm.bind(open, number).map_err(|why| why.to_string())?;
        }
        let trigger = |to: Option<Token>| {
            let triggers = [to];
            let request = Request { action: Action::Trigger, index, start, data: Data::Eventfd(&triggers) };
            device.set_interrupts(&world.host, world, &request).map_err(|why| why.to_string())
        };
        let connected = trigger(Some(token)).and_then(|()| match request.way {
            Way::Automasked => Ok(Mode::Automasked(Fallback::Configured)),
            Way::Forwarded => {
                self.control.forward(device, request.interrupt, number).map_err(|why| why.to_string())
            }
        });
        if connected.is_err() {
            let _ = trigger(None);
            self.guest.vm.unbind(number);
        }
        connected
    }

    /// Tells the guest of a device.
    fn plug(&mut self, world: &World, line: DeviceLine, number: GuestInterrupt) {
        let vcpu = self.next;
        self.next = (vcpu + 1) % self.guest.vcpus.len() as u16;
        let mut plugged = lock(&self.guest.plugged);
        plugged.push(Plugged {
            host: line.host.0,
            number: number.0,
            request: line.request,
            set_up: false,
            taken: false,
        });
        lock(&self.guest.software).plug(plugged.len() - 1, number.0, line.signalling, vcpu);
        debug_assert!(number.0 < SPI_END && world.guest(self.id).is_some(), "of a guest that is there");
    }
}
