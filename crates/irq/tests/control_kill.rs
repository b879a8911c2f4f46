//! Kill anywhere: a user stops after any step of what he was doing, and everything that he had open is closed, in every
//! order. The machine is as it was before him.

mod support_control;

use std::rc::Rc;
use support_control::user::{Control, DeviceFile, control, message_device, platform_device};
use support_control::{CPU, TestVm, World, guest, token, world};
use vcm_irq::host::Controller;
use vcm_irq::kvm::Resample;
use vcm_irq::vfio::{Action, Data, Request};
use vcm_irq::vgic::{CompletionBy, VmId};
use vcm_irq::{DeviceInterrupt, HostInterrupt, VcpuId};

const LEVEL: u32 = 77;
const EDGES: [u32; 2] = [90, 91];
const ALL: [u32; 4] = [LEVEL, 78, EDGES[0], EDGES[1]];
const FIRST: DeviceInterrupt = DeviceInterrupt { index: 0, subindex: 0 };

/// What a user has open.
struct Process {
    world: Rc<World>,
    vm: TestVm,
    device: Option<DeviceFile>,
    edges: Option<DeviceFile>,
    control: Option<Control>,
}

impl Process {
    fn new(completion: CompletionBy) -> Self {
        let world = world();
        let vm = world.vm(completion);
        let device = Some(platform_device(&world, &[LEVEL, 78]));
        let edges = Some(message_device(&world, EDGES));
        Self { control: Some(control(&world, &vm)), world, vm, device, edges }
    }

    fn id(&self) -> VmId {
        self.vm.config().id
    }

    fn forward(&mut self, edges: bool, interrupt: DeviceInterrupt, number: u32) {
        let device = if edges { &self.edges } else { &self.device };
        // Refused or not: a user may do what he likes.
        if let (Some(control), Some(device)) = (&mut self.control, device) {
            let _ = control.forward(device, interrupt, guest(number));
        }
    }

    fn request(&self, action: Action, data: Data<'_>) {
        if let Some(device) = &self.device {
            let request = Request { action, index: 0, start: 0, data };
            let _ = device.set_interrupts(&self.world.host, &*self.world, &request);
        }
    }

    fn consume(&self, number: u64, interrupt: u32) {
        let mut bypass = self.world.bypass.borrow_mut();
        let _ =
            bypass.register_consumer(token(number), self.vm.clone(), guest(interrupt), Resample::Producer);
    }

    fn close(&mut self, what: Open) {
        match what {
            Open::Device => self.device = None,
            Open::Edges => self.edges = None,
            Open::Control => {
                if let Some(mut control) = self.control.take() {
                    control.release();
                }
            }
            Open::Irqfds => self.world.bypass.borrow_mut().unregister_all(self.id()),
            // The vCPUs are stopped wherever they are.
            Open::Vcpus => [VcpuId(0), VcpuId(1)].iter().for_each(|&vcpu| self.world.leave(self.id(), vcpu)),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Open {
    Device,
    Edges,
    Control,
    Irqfds,
    Vcpus,
}

const OPEN: [Open; 5] = [Open::Device, Open::Edges, Open::Control, Open::Irqfds, Open::Vcpus];

type Step = fn(&mut Process);

/// What the user, his guest and the devices do.
const SCRIPT: &[Step] = &[
    |p| p.consume(5, 40),
    |p| p.request(Action::Trigger, Data::Eventfd(&[Some(token(5))])),
    |p| drop(p.world.set(LEVEL, true)),
    |p| p.world.enter(p.id(), CPU),
    |p| {
        let _ = p.world.acknowledge(p.id(), CPU);
    },
    |p| p.request(Action::Mask, Data::None { count: 1 }),
    |p| p.world.bypass.borrow_mut().unregister_consumer(token(5), p.id()),
    |p| p.request(Action::Unmask, Data::None { count: 1 }),
    |p| drop(p.world.run()),
    |p| p.request(Action::Trigger, Data::None { count: 0 }),
    |p| {
        p.world.host.controller().set(HostInterrupt(LEVEL), false);
        p.world.end(p.id(), CPU, 40);
        p.world.leave(p.id(), CPU);
    },
    |p| p.request(Action::Unmask, Data::None { count: 1 }),
    |p| p.forward(false, FIRST, 40),
    |p| p.forward(true, FIRST, 50),
    |p| p.forward(true, DeviceInterrupt { index: 0, subindex: 1 }, 51),
    |p| drop(p.world.set(LEVEL, true)),
    |p| drop(p.world.set(EDGES[0], true)),
    |p| p.world.enter(p.id(), CPU),
    |p| {
        let _ = p.world.acknowledge(p.id(), CPU);
    },
    |p| drop(p.world.set(EDGES[1], true)),
    |p| p.world.leave(p.id(), CPU),
    |p| p.world.enter(p.id(), VcpuId(1)),
    |p| p.world.enter(p.id(), CPU),
    |p| {
        if let (Some(control), Some(device)) = (&mut p.control, &p.device) {
            let _ = control.unforward(device, FIRST);
        }
    },
    |p| p.request(Action::Trigger, Data::Eventfd(&[Some(token(6))])),
    |p| p.consume(6, 41),
    |p| drop(p.world.run()),
    |p| p.world.enter(p.id(), CPU),
];

/// All orders of the things that are open.
fn orders() -> Vec<Vec<Open>> {
    fn extend(order: &[Open], all: &mut Vec<Vec<Open>>) {
        if order.len() == OPEN.len() {
            all.push(order.to_vec());
        }
        for one in OPEN.into_iter().filter(|one| !order.contains(one)) {
            extend(&[order, &[one]].concat(), all);
        }
    }
    let mut all = Vec::new();
    extend(&[], &mut all);
    all
}

#[test]
fn after_any_step_in_any_order() {
    let orders = orders();
    assert_eq!(orders.len(), 120);
    let mut in_flight = 0;
    for completion in [CompletionBy::Guest, CompletionBy::Host] {
        for steps in 0..=SCRIPT.len() {
            for order in &orders {
                let mut p = Process::new(completion);
                SCRIPT[..steps].iter().for_each(|step| step(&mut p));
                in_flight += usize::from(ALL.iter().any(|&one| {
                    p.world.host.controller().is_active(HostInterrupt(one))
                        || p.world.host.state(HostInterrupt(one)).unwrap().automasked
                }));
                order.iter().for_each(|&what| p.close(what));
                check(&p, &format!("{completion:?}, {steps} steps, then {order:?}"));
            }
        }
    }
    assert!(in_flight > 1000, "the script has to have something in flight: {in_flight}");
}

fn check(p: &Process, what: &str) {
    let distributor = p.world.host.controller();
    for interrupt in ALL.map(HostInterrupt) {
        assert!(!distributor.is_active(interrupt), "{what}: {interrupt} is active");
        assert!(!distributor.is_enabled(interrupt), "{what}: {interrupt} is enabled");
        assert!(!p.world.in_list_register(interrupt), "{what}: a list register names {interrupt}");
        // The last reference closed it.
        assert!(!p.world.host.state(interrupt).unwrap().open, "{what}: {interrupt} is open");
    }
    for number in 32..64 {
        assert_eq!(p.vm.forwarded_from(guest(number)), None, "{what}");
    }
    for number in [5, 6] {
        assert_eq!(p.world.bypass.borrow().connection(token(number)), None, "{what}");
        assert_eq!(p.world.eventfds.consumer(token(number)), None, "{what}");
    }
    // What the guest had taken it may end, and then it is quiet whatever the devices do.
    p.world.serve(p.id(), &ALL);
    p.world.heard.borrow_mut().clear();
    for interrupt in ALL {
        p.world.set(interrupt, false);
        assert_eq!(p.world.set(interrupt, true), [], "{what}: a late interrupt");
    }
    assert_eq!(p.world.serve(p.id(), &[]), [], "{what}: the guest is interrupted");
    assert_eq!(*p.world.heard.borrow(), [], "{what}: a trigger is signalled");
    // The next user finds everything as after reset.
    let next = p.world.vm(CompletionBy::Guest);
    let device = platform_device(&p.world, &[LEVEL]);
    let mut control = control(&p.world, &next);
    control.forward(&device, FIRST, guest(40)).unwrap();
    p.world.run();
    assert_eq!(p.world.serve(next.config().id, &[LEVEL]), [40], "{what}: the next user");
    control.release();
    assert_eq!(device.references(), 1, "{what}");
}
