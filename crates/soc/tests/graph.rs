//! The mapping graph over the whole machine: one allocation seen by every kind of device, and every hardware step
//! failing in turn.

use std::collections::HashMap;
use vcm::pool::Policy;
use vcm::{
    AllocationRequest, Answer, Attributes, CpuAddress, DeviceId, DeviceRequest, Error, Fault, Graph,
    Hardware, Part, Privilege, RegionId, RegionKind, RegionRequest, Span, TargetId, Teardown,
};
use vcm_platform::topology::{Topology, shipped};
use vcm_platform::{Event, Layout, Outcome, Platform, Rectangle, Surface, Transfer, TransferReport, pattern};
use vcm_soc::Soc;
use vcm_soc::hardware::{Options, PowerOn};

struct World {
    soc: Soc,
    graph: Graph,
    devices: HashMap<String, DeviceId>,
    target: TargetId,
}

impl World {
    fn new(topology: &str) -> Self {
        let topology = Topology::from_device_tree(shipped(topology).unwrap()).unwrap();
        let options = Options { power_on: PowerOn::Noise { seed: 5 }, ..Options::default() };
        let soc = Soc::new(&topology, &options).unwrap();
        let mut graph = Graph::new();
        let mut devices = HashMap::new();
        for device in soc.devices() {
            let request = DeviceRequest {
                label: device.name.as_str().into(),
                handle: device.handle,
                kind: device.kind,
                reserved: &device.reserved,
            };
            devices.insert(device.name.clone(), graph.add_device(&request).unwrap());
        }
        let pools: Vec<_> = soc
            .memories()
            .iter()
            .map(|memory| graph.add_pool(&memory.name, memory.span, Policy::Splitting).unwrap())
            .collect();
        let target = graph.add_target("all", &pools).unwrap();
        Self { soc, graph, devices, target }
    }

    fn region(&mut self, device: &str, kind: RegionKind) -> RegionId {
        let window = match kind {
            RegionKind::Cpu => self.soc.cpu_span(),
            RegionKind::OneToOne => Span::inclusive(0, 0xffff_ffff).unwrap(),
            _ => Span::inclusive(0x1000_0000, 0x7fff_ffff).unwrap(),
        };
        self.graph.create_region(&RegionRequest::new(device, kind, window)).unwrap()
    }

    /// Runs a transfer; faults go to the graph's hooks.
    fn run(&mut self, device: &str, transfer: &Transfer) -> TransferReport {
        let handle = self.soc.devices().iter().find(|found| found.name == device).unwrap().handle;
        if self.soc.start(handle, transfer, Privilege::User).is_err() {
            self.soc.repair();
            self.soc.start(handle, transfer, Privilege::User).unwrap();
        }
        let mut asked = Vec::new();
        loop {
            match self.soc.next_event() {
                Ok(Some(Event::Completed { report, .. })) => return report,
                Ok(Some(Event::Fault { token, fault })) => {
                    let answer = self.graph.handle_fault(&fault, &mut self.soc).answer;
                    self.soc.answer(token, answer);
                    asked.push((token, answer));
                }
                Ok(Some(_)) => {}
                Ok(None) => panic!("the transfer was lost"),
                Err(error) => {
                    assert!(!error.to_string().contains("given back"), "{error}");
                    self.soc.repair();
                    for (token, answer) in &asked {
                        self.soc.answer(*token, *answer);
                    }
                }
            }
        }
    }
}

fn linear(address: u64, len: u64) -> Surface {
    Surface { address, layout: Layout::Linear { len } }
}

#[test]
fn one_allocation_is_seen_by_devices_of_every_kind() {
    const LEN: u64 = 0x21_3000;
    let mut world = World::new("two-banks");
    let request = AllocationRequest::new("frame", LEN).contiguous();
    let frame = world.graph.allocate(world.target, &request, &mut world.soc).unwrap();
    let users = [
        ("capture@10200000", RegionKind::Translated),
        ("display@10203000", RegionKind::Translated),
        ("scaler@10201000", RegionKind::Translated),
        ("dma", RegionKind::OneToOne),
        ("cpu", RegionKind::Cpu),
        ("guest0", RegionKind::Guest),
        ("dsp", RegionKind::Remote),
    ];
    let mut links = Vec::new();
    for (name, kind) in users {
        let region = world.region(name, kind);
        let link = world.graph.associate(region, world.devices[name], Part::Whole, &mut world.soc).unwrap();
        world.graph.activate(link, &mut world.soc).unwrap();
        let base = world.graph.allocation(frame).unwrap().blocks[0].base.raw();
        let reservation = match kind {
            RegionKind::OneToOne => {
                let span = Span::new(base, LEN).unwrap();
                world.graph.reserve_at(region, span.first(), LEN, Attributes::READ_WRITE).unwrap()
            }
            _ => world.graph.reserve(region, LEN, Attributes::READ_WRITE).unwrap(),
        };
        world.graph.back(reservation, frame, &mut world.soc).unwrap();
        let address = world.graph.device_address(reservation).unwrap().raw();
        links.push((name, link, reservation, address));
    }
    // Each writes in turn, and each of the others reads what it wrote.
    for (index, (writer, _, _, to)) in (0_u64..).zip(&links) {
        let wrote = world.run(writer, &Transfer::Write { to: linear(*to, LEN), seed: index });
        assert_eq!((wrote.outcome, wrote.bytes_written), (Outcome::Completed, LEN), "{writer}");
        let mut sum = vcm_platform::Checksum::new();
        (0..LEN).for_each(|byte| sum.update(&[pattern(index, byte)]));
        for (reader, _, _, from) in &links {
            let read = world.run(reader, &Transfer::Read { from: linear(*from, LEN) });
            assert_eq!(read.checksum, sum.value(), "{writer} to {reader}");
        }
    }
    let mut bytes = [0; 5];
    world.soc.cpu_read(CpuAddress::new(links[4].3 + 0x10_0000), &mut bytes).unwrap();
    assert_eq!(bytes, std::array::from_fn(|index| pattern(6, 0x10_0000 + index as u64)));
    // Taken from one, it stays with the others; taken from all, it can be freed, and nobody gets there.
    assert!(world.graph.free(frame, &mut world.soc).is_err());
    for (name, _, reservation, _) in &links {
        assert_eq!(world.graph.unback(*reservation, &mut world.soc), Teardown::Done, "{name}");
    }
    world.graph.free(frame, &mut world.soc).unwrap();
    for (name, _, _, from) in &links[..3] {
        let read = world.run(name, &Transfer::Read { from: linear(*from, LEN) });
        assert_eq!((read.outcome, read.bytes_read), (Outcome::Aborted, 0));
    }
    for (_, link, _, _) in links {
        assert_eq!(world.graph.deactivate(link, &mut world.soc), Teardown::Done);
    }
}

#[test]
fn a_hook_backs_what_is_touched() {
    let mut world = World::new("msm8x60");
    let region = world.region("vcodec_a_mm1", RegionKind::Translated);
    let device = world.devices["vcodec_a_mm1"];
    let link = world.graph.associate(region, device, Part::Whole, &mut world.soc).unwrap();
    world.graph.activate(link, &mut world.soc).unwrap();
    let reservation = world.graph.reserve(region, 0x4_0000_u64, Attributes::READ_WRITE).unwrap();
    let target = world.target;
    let hook = move |_: &Fault, graph: &mut Graph, hardware: &mut dyn Hardware| {
        let request = AllocationRequest::new("on demand", 0x4_0000);
        match graph.allocate(target, &request, hardware) {
            Ok(memory) if graph.back(reservation, memory, hardware).is_ok() => Answer::Retry,
            _ => Answer::Terminate,
        }
    };
    world.graph.hook(device, Box::new(hook)).unwrap();
    let at = world.graph.device_address(reservation).unwrap().raw();
    let wrote = world.run("vcodec_a_mm1", &Transfer::Write { to: linear(at, 0x4_0000), seed: 1 });
    assert_eq!((wrote.outcome, wrote.faults), (Outcome::Completed, 1));
    // Beyond the reservation there is nothing to back.
    let wrote = world.run("vcodec_a_mm1", &Transfer::Write { to: linear(at + 0x4_0000, 64), seed: 1 });
    assert_eq!((wrote.outcome, wrote.faults), (Outcome::Aborted, 1));
}

/// Sets up a region with three devices, uses it and takes it down, while the `n`-th hardware step fails.
fn scenario(n: u64) {
    const LEN: u64 = 0x11_2000;
    let mut world = World::new("two-banks");
    let tables = world.soc.statistics().table_bytes;
    let names = ["capture@10200000", "scaler@10201000", "display@10203000"];
    let region = world.region("shared", RegionKind::Translated);
    world.soc.fail_hardware_at(n);
    let repaired = |world: &mut World, error: Error| {
        assert!(matches!(error, Error::Hardware { .. } | Error::Quarantined { .. }), "{error}");
        world.soc.repair();
        world.graph.reap(&mut world.soc);
        assert_eq!(world.graph.quarantined(), 0, "after {error}");
    };
    let mut built = Vec::new();
    for name in names {
        let device = world.devices[name];
        let link = match world.graph.associate(region, device, Part::Whole, &mut world.soc) {
            Ok(link) => link,
            Err(error) => {
                repaired(&mut world, error);
                world.graph.associate(region, device, Part::Whole, &mut world.soc).unwrap()
            }
        };
        if let Err(error) = world.graph.activate(link, &mut world.soc) {
            repaired(&mut world, error);
            world.graph.activate(link, &mut world.soc).unwrap();
        }
        built.push(link);
    }
    let request = AllocationRequest::new("buffer", LEN);
    let buffer = world.graph.allocate(world.target, &request, &mut world.soc).unwrap();
    let reservation = world.graph.reserve(region, LEN, Attributes::READ_WRITE).unwrap();
    if let Err(error) = world.graph.back(reservation, buffer, &mut world.soc) {
        repaired(&mut world, error);
        world.graph.back(reservation, buffer, &mut world.soc).unwrap();
    }
    let at = world.graph.device_address(reservation).unwrap().raw();
    // A row in every page.
    let touched =
        Layout::Rectangle(Rectangle { width: 64, height: 0x112, bytes_per_pixel: 1, stride: 0x1000 });
    for name in names {
        let surface = Surface { address: at, layout: touched };
        let report = world.run(name, &Transfer::Write { to: surface, seed: n });
        assert_eq!(report.outcome, Outcome::Completed, "{n}: {name}");
    }
    if world.graph.unback(reservation, &mut world.soc) == Teardown::Quarantined {
        // Not while it may still be in a TLB.
        assert!(world.graph.quarantined() > 0);
        world.soc.repair();
        world.graph.reap(&mut world.soc);
        assert_eq!(world.graph.quarantined(), 0);
    }
    world.graph.free(buffer, &mut world.soc).unwrap();
    // The memory goes to somebody else, and the devices no longer get there.
    let next = world.graph.allocate(world.target, &request, &mut world.soc).unwrap();
    for name in names {
        let report = world.run(name, &Transfer::Read { from: linear(at, 64) });
        assert_eq!((report.outcome, report.bytes_read), (Outcome::Aborted, 0), "{n}: {name}");
    }
    world.graph.free(next, &mut world.soc).unwrap();
    for link in built {
        if world.graph.deactivate(link, &mut world.soc) == Teardown::Quarantined {
            world.soc.repair();
            world.graph.reap(&mut world.soc);
            assert_eq!(world.graph.quarantined(), 0);
        }
        world.graph.deassociate(link, &mut world.soc).unwrap();
    }
    assert_eq!(world.soc.statistics().table_bytes, tables, "{n}");
    world.soc.repair();
    assert_eq!(world.soc.next_event(), Ok(None), "{n}");
}

#[test]
fn every_step_failing_in_turn() {
    for n in 1..500 {
        scenario(n);
    }
    scenario(u64::MAX);
}

/// The root that the graph names is where a walk by hand finds the leaf.
#[test]
fn the_table_root_is_where_the_tables_begin() {
    const LEN: u64 = 0x10_0000;
    let mut world = World::new("msm8x60");
    let region = world.region("codec", RegionKind::Translated);
    let device = world.devices["vcodec_a_mm1"];
    let link = world.graph.associate(region, device, Part::Whole, &mut world.soc).unwrap();
    let request = AllocationRequest::new("frame", LEN);
    let frame = world.graph.allocate(world.target, &request, &mut world.soc).unwrap();
    let reservation = world.graph.reserve(region, LEN, Attributes::READ_WRITE).unwrap();
    world.graph.back(reservation, frame, &mut world.soc).unwrap();
    let root = world.graph.table_root(link, &world.soc).unwrap().unwrap();
    let at = world.graph.device_address(reservation).unwrap().raw();
    let mut entry = [0; 4];
    world.soc.with_board(|board| board.bus().read(root.raw() + 4 * (at >> 20), &mut entry)).unwrap();
    // A section: its descriptor holds the address of its memory in bits 31 to 20.
    let memory = world.graph.allocation(frame).unwrap().blocks[0].base.raw();
    assert_eq!(u64::from(u32::from_le_bytes(entry)) >> 20, memory >> 20);
}
