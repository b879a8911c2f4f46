//! The control, the device's user and the host's interrupts at the same time, on threads.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use vcm_irq::host::{Acknowledged, Controller, CpuInterface, Host, OpenLine, StormLimit, Taken, Trigger};
use vcm_irq::kvm::{Bypass, Eventfds, Resample, Route};
use vcm_irq::kvm_vfio::{GROUP, KvmVfio};
use vcm_irq::vfio::{Action, Data, Device, IndexLayout, Request, Signals};
use vcm_irq::vgic::{CompletionBy, Config, Machine, Model, Vm, VmId};
use vcm_irq::{DeviceInterrupt, GuestInterrupt, HostInterrupt, Sense, Token, VcpuId};

const LINE: HostInterrupt = HostInterrupt(40);
const FIRST: DeviceInterrupt = DeviceInterrupt { index: 0, subindex: 0 };
const ROUNDS: u64 = 60;
const CPU: VcpuId = VcpuId(0);

/// One input that always asks.
#[derive(Default)]
struct Distributor {
    enabled: AtomicBool,
    active: AtomicBool,
}

impl Controller for Distributor {
    fn interrupts(&self) -> u32 {
        64
    }
    fn has_active_state(&self, _: HostInterrupt) -> bool {
        true
    }
    fn enable(&self, _: HostInterrupt) {
        self.enabled.store(true, Ordering::SeqCst);
    }
    fn disable(&self, _: HostInterrupt) {
        self.enabled.store(false, Ordering::SeqCst);
    }
    fn deactivate(&self, _: HostInterrupt) {
        self.active.store(false, Ordering::SeqCst);
    }
    fn set_active(&self, _: HostInterrupt) {
        self.active.store(true, Ordering::SeqCst);
    }
    fn set_pending(&self, _: HostInterrupt) {}
    fn clear_pending(&self, _: HostInterrupt) {}
    fn is_pending(&self, _: HostInterrupt) -> bool {
        false
    }
    fn is_active(&self, _: HostInterrupt) -> bool {
        self.active.load(Ordering::SeqCst)
    }
    fn set_sense(&self, _: HostInterrupt, _: Sense) {}
}

struct Cpu<'a>(&'a Distributor);

impl CpuInterface for Cpu<'_> {
    fn acknowledge(&mut self) -> Option<Acknowledged> {
        let asks = self.0.enabled.load(Ordering::SeqCst) && !self.0.active.swap(true, Ordering::SeqCst);
        asks.then(|| Acknowledged::new(LINE, LINE.0))
    }
    fn drop_priority(&mut self, _: &Acknowledged) {}
    fn deactivate(&mut self, _: Acknowledged) {
        self.0.active.store(false, Ordering::SeqCst);
    }
}

#[derive(Clone)]
struct Hand(Arc<Host<Distributor>>);

impl Machine for Hand {
    type Controller = Distributor;
    fn host(&self) -> &Host<Distributor> {
        &self.0
    }
    fn kick(&self, _: VcpuId) {}
    fn wait_for(&self, _: VcpuId) {
        unreachable!("no vCPU runs");
    }
}

type SharedVm = Arc<Vm<Hand>>;

struct World {
    vm: SharedVm,
    eventfds: Arc<Eventfds>,
    bypass: Mutex<Bypass<SharedVm, Arc<Eventfds>>>,
    delivered: AtomicU32,
}

impl Trigger for World {
    fn signal(&self, token: Token) -> Taken {
        match Route::of(token) {
            Route::Forwarded { guest, .. } => {
                self.delivered.fetch_add(1, Ordering::Relaxed);
                self.vm.deliver(guest)
            }
            Route::Injected { guest, .. } => self.vm.signal(guest),
            Route::Eventfd(_) => {
                self.eventfds.signal(token).map_or(Taken::No, |irqfd| irqfd.interrupt(&self.vm))
            }
        }
    }
}

impl Signals for World {
    fn connected(&self, line: OpenLine, token: Token) {
        let _ = self.bypass.lock().unwrap().register_producer(token, line);
    }
    fn disconnecting(&self, line: OpenLine, token: Token) {
        self.bypass.lock().unwrap().unregister_producer(token, line);
    }
}

#[test]
fn everybody_at_once() {
    let host = Arc::new(Host::new(Distributor::default(), StormLimit::NONE).unwrap());
    let config =
        Config { id: VmId(0), model: Model::V2, completion: CompletionBy::Guest, vcpus: 1, interrupts: 64 };
    let vm = Arc::new(Vm::new(Hand(host.clone()), config).unwrap());
    [33, 34].iter().for_each(|&guest| vm.enable(CPU, guest));
    let eventfds = Arc::new(Eventfds::new(8).unwrap());
    let bypass = Mutex::new(Bypass::new(eventfds.clone()));
    let delivered = AtomicU32::new(0);
    let world = World { vm: vm.clone(), eventfds: eventfds.clone(), bypass, delivered };
    let layout = [IndexLayout { sense: Sense::Edge, interrupts: &[LINE] }];
    let device = Arc::new(Device::open(&host, &layout).unwrap());
    let (start, done) = (Barrier::new(5), AtomicBool::new(false));
    let finished = AtomicU32::new(0);
    let connect = |number: u64| {
        let trigger = [Token::new(number)];
        let request = Request { action: Action::Trigger, index: 0, start: 0, data: Data::Eventfd(&trigger) };
        device.set_interrupts(&host, &world, &request)
    };
    thread::scope(|scope| {
        let users = [0, 1].map(|user| {
            let (start, connect, finished) = (&start, &connect, &finished);
            scope.spawn(move || {
                start.wait();
                for round in 0..ROUNDS {
                    // Refused while the control has it.
                    let _ = connect((round + user) % 3);
                }
                while connect(0).is_err() {
                    thread::yield_now();
                }
                finished.fetch_add(1, Ordering::Relaxed);
            })
        });
        let control = scope.spawn(|| {
            start.wait();
            let mut control = KvmVfio::new(vm.clone(), eventfds.clone(), GROUP);
            while finished.load(Ordering::Relaxed) < 2 || world.delivered.load(Ordering::Relaxed) == 0 {
                if control.forward(&device, FIRST, GuestInterrupt(33)).is_ok() {
                    thread::yield_now();
                    let line = device.line(FIRST).unwrap();
                    let route = Route::Forwarded { vm: VmId(0), guest: GuestInterrupt(33) };
                    assert_eq!(host.trigger(line).map(Route::of), Some(route), "nobody else leads it away");
                    control.unforward(&device, FIRST).unwrap();
                    // No vCPU takes it.
                    vm.clear_pending(CPU, 33);
                } else {
                    thread::yield_now();
                }
            }
            control.release();
        });
        let irqfd = scope.spawn(|| {
            start.wait();
            for _ in 0..ROUNDS {
                let consumer = world.bypass.lock().unwrap().register_consumer(
                    Token::new(1).unwrap(),
                    vm.clone(),
                    GuestInterrupt(34),
                    Resample::No,
                );
                assert!(consumer.is_ok());
                thread::yield_now();
                world.bypass.lock().unwrap().unregister_consumer(Token::new(1).unwrap(), VmId(0));
                vm.clear_pending(CPU, 34);
            }
        });
        let handler = scope.spawn(|| {
            start.wait();
            let mut cpu = Cpu(host.controller());
            while !done.load(Ordering::Relaxed) {
                if let Some(acknowledged) = cpu.acknowledge() {
                    let _ = host.handle(acknowledged, &mut cpu, &world, 0);
                }
                thread::yield_now();
            }
        });
        let users = users.map(|user| user.join());
        let others = [control.join(), irqfd.join()];
        // Before anything is asserted: else the handler would go on for ever.
        done.store(true, Ordering::Relaxed);
        handler.join().unwrap();
        assert!(users.iter().chain(&others).all(Result::is_ok));
    });
    // What the user connected last is what the line signals.
    let line = device.line(FIRST).unwrap();
    assert_eq!(host.trigger(line), device.trigger(FIRST));
    let state = host.state(LINE).unwrap();
    assert!(!state.forwarded);
    assert_eq!(Arc::strong_count(&device), 1);
    assert_eq!(vm.forwarded_from(GuestInterrupt(33)), None);
    assert_eq!(vm.forwarded_from(GuestInterrupt(34)), None);
    let device = Arc::into_inner(device).unwrap();
    device.close(&host, &world);
    assert!(!host.controller().enabled.load(Ordering::SeqCst));
}
