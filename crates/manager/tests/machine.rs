//! The manager over the simulated SoC: several threads map, transfer and take down at the same time, every byte
//! arrives, and nothing is left.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use vcm::pool::Policy;
use vcm::{
    AllocationId, AllocationRequest, Answer, AssociationId, Attributes, DeviceHandle, DeviceId,
    DeviceRequest, Error, Fault, FaultState, Handled, Part, PoolId, Privilege, RegionAddress, RegionId,
    RegionKind, RegionRequest, SIZE_1M, SIZE_4K, SIZE_64K, Span, TargetId, Teardown,
};
use vcm_manager::{Exclusive, Manager};
use vcm_platform::topology::{Topology, shipped};
use vcm_platform::{Event, Layout, Outcome, Platform, Surface, Transfer, TransferReport, pattern};
use vcm_soc::Soc;
use vcm_soc::hardware::Options;

type Machine = Manager<Exclusive<Soc>>;

/// Blocks of three sizes, unless they are asked for in one piece.
const LEN: u64 = SIZE_1M + SIZE_64K + SIZE_4K;
const ROUNDS: u64 = 3;

struct World {
    manager: Machine,
    devices: HashMap<String, (DeviceHandle, DeviceId)>,
    target: TargetId,
    /// The CPU's region, which all threads share.
    kernel: RegionId,
    of_kernel: AssociationId,
    pools: Vec<(PoolId, Span)>,
    /// Bytes of page tables, before the graph did anything.
    tables: u64,
}

impl World {
    fn new() -> Self {
        let topology = Topology::from_device_tree(shipped("msm8x60").unwrap()).unwrap();
        let soc = Soc::new(&topology, &Options::default()).unwrap();
        let (descriptions, memories) = (soc.devices().to_vec(), soc.memories().to_vec());
        let (cpu_span, tables) = (soc.cpu_span(), soc.statistics().table_bytes);
        let manager = Manager::new(Exclusive::new(soc));
        let mut devices = HashMap::new();
        for device in &descriptions {
            let request = DeviceRequest {
                label: device.name.as_str().into(),
                handle: device.handle,
                kind: device.kind,
                reserved: &device.reserved,
            };
            devices.insert(device.name.clone(), (device.handle, manager.add_device(&request).unwrap()));
        }
        let mut pools = Vec::new();
        for memory in &memories {
            pools
                .push((manager.add_pool(&memory.name, memory.span, Policy::Splitting).unwrap(), memory.span));
        }
        let order: Vec<PoolId> = pools.iter().map(|(pool, _)| *pool).collect();
        let target = manager.add_target("memory", &order).unwrap();
        let request = RegionRequest::new("kernel", RegionKind::Cpu, cpu_span);
        let kernel = manager.create_region(&request).unwrap();
        let of_kernel = manager.associate(kernel, devices["cpu"].1, Part::Whole).unwrap();
        manager.activate(of_kernel).unwrap();
        Self { manager, devices, target, kernel, of_kernel, pools, tables }
    }

    /// A region for a device of its own, active.
    fn active_region(&self, name: &str) -> (RegionId, AssociationId) {
        let window = Span::new(0x1000_0000, 64 * SIZE_1M).unwrap();
        let request = RegionRequest::new(name, RegionKind::Translated, window);
        let region = self.manager.create_region(&request).unwrap();
        let association = self.manager.associate(region, self.devices[name].1, Part::Whole).unwrap();
        self.manager.activate(association).unwrap();
        (region, association)
    }

    fn take_down(&self, region: RegionId, association: AssociationId) {
        assert_eq!(self.manager.deactivate(association), Teardown::Done);
        self.manager.deassociate(association).unwrap();
        self.manager.free_region(region).unwrap();
    }

    /// Checks through a mapping of the CPU's that `memory`, which a device has at `device_address` of its region,
    /// holds the pattern of `seed`.
    fn cpu_sees(&self, memory: AllocationId, (region, device_address): (RegionId, u64), seed: u64) {
        let manager = &self.manager;
        let view = manager.reserve(self.kernel, LEN, Attributes::READ_WRITE).unwrap();
        manager.back(view, memory).unwrap();
        let RegionAddress::Cpu(address) = manager.device_address(view).unwrap() else {
            panic!("not the CPU's")
        };
        let led = manager.address_in(region, device_address + 0x1234, self.kernel);
        assert_eq!(led.map(RegionAddress::raw), Some(address.raw() + 0x1234));
        assert_eq!(manager.mappers(memory).len(), 2);
        let mut bytes = vec![0; LEN as usize];
        manager.hardware().with(|soc| soc.cpu_read(address, &mut bytes)).unwrap();
        let wrong = (0..).zip(&bytes).find(|(index, byte)| pattern(seed, *index) != **byte);
        assert_eq!(wrong, None, "seed {seed}");
        assert_eq!(manager.unback(view), Teardown::Done);
        // Nothing is there any more; nobody else's either, until the address is given up.
        assert!(manager.hardware().with(|soc| soc.cpu_read(address, &mut [0])).is_err());
        manager.unreserve(view).unwrap();
    }
}

/// What a thread tells the one that runs the machine: this device's transfer is under way.
struct Started {
    device: DeviceHandle,
    report: Sender<TransferReport>,
}

/// Starts a transfer that writes [`LEN`] bytes, and waits for its report.
fn write(world: &World, name: &str, address: u64, seed: u64, started: &Sender<Started>) -> TransferReport {
    let device = world.devices[name].0;
    let transfer = Transfer::Write { to: Surface { address, layout: Layout::Linear { len: LEN } }, seed };
    world.manager.hardware().with(|soc| soc.start(device, &transfer, Privilege::User)).unwrap();
    let (report, arrives) = channel();
    started.send(Started { device, report }).unwrap();
    arrives.recv().unwrap()
}

/// Runs the machine while transfers are under way, until nobody can start another. No lock is held while faults
/// are answered. It owns the receiver: when it fails, those who wait for a report fail too, and nobody hangs.
fn run(manager: &Machine, started: Receiver<Started>) {
    let mut waiting = HashMap::new();
    let mut arrived: HashMap<DeviceHandle, TransferReport> = HashMap::new();
    while let Ok(Started { device, report }) = started.recv() {
        waiting.insert(device, report);
        while !waiting.is_empty() {
            match manager.hardware().with(Platform::next_event).unwrap() {
                Some(Event::Completed { device, report }) => {
                    arrived.insert(device, report);
                }
                Some(Event::Fault { token, fault }) => {
                    let (answer, handled) = manager.handle_fault(&fault);
                    assert_eq!(handled, Handled::ByHook);
                    manager.hardware().with(|soc| soc.answer(token, answer));
                }
                Some(_) => {}
                None => {
                    assert!(waiting.keys().all(|device| arrived.contains_key(device)), "a transfer was lost");
                }
            }
            waiting.extend(started.try_iter().map(|started| (started.device, started.report)));
            waiting.retain(|device, report| match arrived.remove(device) {
                Some(arrived) => {
                    report.send(arrived).unwrap();
                    false
                }
                None => true,
            });
        }
    }
}

/// One device's life: its buffers are mapped, written by the device, checked by the CPU, and taken down.
fn frames(world: &World, name: &str, first_seed: u64, started: &Sender<Started>) {
    let manager = &world.manager;
    let (region, association) = world.active_region(name);
    for seed in first_seed..first_seed + ROUNDS {
        let frame = manager.allocate(world.target, &AllocationRequest::new("frame", LEN)).unwrap();
        let reservation = manager.reserve(region, LEN, Attributes::READ_WRITE).unwrap();
        manager.back(reservation, frame).unwrap();
        let address = manager.device_address(reservation).unwrap().raw();
        let report = write(world, name, address, seed, started);
        assert_eq!((report.outcome, report.bytes_written, report.faults), (Outcome::Completed, LEN, 0));
        world.cpu_sees(frame, (region, address), seed);
        assert!(matches!(manager.free(frame), Err(Error::Mapped { .. })));
        assert_eq!(manager.unback(reservation), Teardown::Done);
        manager.free(frame).unwrap();
        manager.unreserve(reservation).unwrap();
    }
    world.take_down(region, association);
}

/// A device whose memory comes when it is touched: its hook backs the reservation that the fault is in.
fn on_demand(world: &World, name: &str, first_seed: u64, started: &Sender<Started>) {
    let (manager, target) = (&world.manager, world.target);
    let device = world.devices[name].0;
    let (region, association) = world.active_region(name);
    let hooked = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&hooked);
    manager.hook(device, move |fault: &Fault, manager: &Machine| {
        assert_eq!((fault.device, fault.state), (device, FaultState::Stalled));
        counted.fetch_add(1, Ordering::Relaxed);
        let Some(reservation) = manager.reservation_at(region, fault.address) else {
            return Answer::Terminate;
        };
        let memory = manager.allocate(target, &AllocationRequest::new("on demand", LEN)).unwrap();
        manager.back(reservation, memory).unwrap();
        Answer::Retry
    });
    for seed in first_seed..first_seed + ROUNDS {
        let reservation = manager.reserve(region, LEN, Attributes::READ_WRITE).unwrap();
        assert_eq!(manager.allocation_behind(reservation), Err(Error::NotBacked(reservation)));
        let address = manager.device_address(reservation).unwrap().raw();
        let report = write(world, name, address, seed, started);
        assert_eq!((report.outcome, report.bytes_written, report.faults), (Outcome::Completed, LEN, 1));
        let memory = manager.allocation_behind(reservation).unwrap();
        world.cpu_sees(memory, (region, address), seed);
        assert_eq!(manager.unback(reservation), Teardown::Done);
        manager.free(memory).unwrap();
        manager.unreserve(reservation).unwrap();
        // The memory is somebody else's, and the address nobody's: the hook has nothing to back.
        let report = write(world, name, address, seed, started);
        assert_eq!((report.outcome, report.bytes_written, report.faults), (Outcome::Aborted, 0, 1));
    }
    assert_eq!(hooked.load(Ordering::Relaxed), 2 * ROUNDS as u32);
    manager.unhook(device);
    world.take_down(region, association);
}

#[test]
fn threads_share_the_machine_and_leave_nothing() {
    let world = World::new();
    let manager = &world.manager;
    let (started, starts) = channel();
    thread::scope(|scope| {
        let world = &world;
        for (number, name) in ["rot_src", "vpe_src"].into_iter().enumerate() {
            let started = started.clone();
            scope.spawn(move || frames(world, name, 100 * number as u64, &started));
        }
        scope.spawn(move || on_demand(world, "vcodec_a_mm1", 1000, &started));
        run(manager, starts);
    });
    assert_eq!(manager.deactivate(world.of_kernel), Teardown::Done);
    manager.deassociate(world.of_kernel).unwrap();
    manager.free_region(world.kernel).unwrap();
    assert_eq!(manager.regions(), []);
    assert_eq!(manager.allocations(), []);
    assert_eq!(manager.quarantined(), 0);
    assert_eq!(manager.hardware().with(|soc| soc.statistics().table_bytes), world.tables);
    // Each pool has all of its memory back: there is one piece of it.
    for (pool, memory) in &world.pools {
        let target = manager.add_target("one", &[*pool]).unwrap();
        let all = AllocationRequest::new("all", memory.len() as u64).contiguous();
        manager.free(manager.allocate(target, &all).unwrap()).unwrap();
    }
}
