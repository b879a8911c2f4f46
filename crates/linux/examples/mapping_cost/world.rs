//! The same through the mapping graph.

use crate::measure::{Bench, Contestant};
use crate::options::{LARGEST_BUFFER, Options};
use crate::{Outcome, Size, bare, interface, layers, regions};
use vcm::{
    AllocationId, AllocationRequest, AssociationId, Attributes, Graph, Part, RegionId, RegionKind,
    RegionRequest, ReservationId, SIZE_2M, Span, Teardown,
};
use vcm_linux::Linux;
use vcm_linux::memory::{MemoryPiece, PageKind};
use vcm_linux::platform::{DeviceRequest, MachineRequest, MemorySpec, View};
use vcm_linux::vfio::Way;
use vcm_platform::{Inventory, Platform};

const STEPS: [&str; 2] = ["back", "unback"];

/// A machine and its graph.
pub(crate) struct World {
    pub(crate) linux: Linux,
    pub(crate) graph: Graph,
    pub(crate) machine: Inventory,
    active: Vec<AssociationId>,
    processes: u64,
}

impl World {
    fn new(options: &Options, sizes: &[Size], way: Option<Way>) -> Outcome<Self> {
        let memory = |name: &str, len, pages| MemorySpec { name: name.to_owned(), len, pages };
        let mut memories = vec![
            memory("ordinary", 2 * SIZE_2M, PageKind::Ordinary),
            memory("whole", options.buffer, PageKind::Ordinary),
            memory("scattered", 2 * options.buffer, PageKind::Ordinary),
        ];
        if sizes.iter().any(|size| size.pages == PageKind::Huge2M) {
            memories.push(memory("huge", SIZE_2M, PageKind::Huge2M));
        }
        let device = |way| DeviceRequest {
            name: "device".to_owned(),
            address: options.device.clone().unwrap_or_default(),
            view: View::Translated,
            interface: interface(way),
            overwrites: None,
        };
        let devices = way.map(device).into_iter().collect();
        let request = MachineRequest { name: "here".to_owned(), memories, devices, guests: Vec::new() };
        let linux = Linux::start(&request)?;
        let mut graph = Graph::new();
        let machine = Inventory::register(&mut graph, &linux)?;
        Ok(Self { linux, graph, machine, active: Vec::new(), processes: 0 })
    }

    /// The device's addresses from `AT` on, with the device attached.
    pub(crate) fn device_region(&mut self) -> Outcome<RegionId> {
        let window = Span::new(layers::AT, 2 * LARGEST_BUFFER).ok_or("no such addresses")?;
        self.region("device", RegionKind::Translated, window)
    }

    /// Addresses of this process, other ones each time.
    pub(crate) fn process_region(&mut self) -> Outcome<RegionId> {
        let first = self.linux.cpu_span().first() + self.processes * LARGEST_BUFFER;
        self.processes += 1;
        let window = Span::new(first, LARGEST_BUFFER).ok_or("no such addresses")?;
        self.region("cpu", RegionKind::Cpu, window)
    }

    fn region(&mut self, device: &str, kind: RegionKind, window: Span) -> Outcome<RegionId> {
        let region = self.graph.create_region(&RegionRequest::new(device, kind, window))?;
        let device = self.machine.device(device).ok_or("no such device")?;
        let link = self.graph.associate(region, device, Part::Whole, &mut self.linux)?;
        self.graph.activate(link, &mut self.linux)?;
        self.active.push(link);
        Ok(region)
    }

    /// Memory of one kind, in one piece.
    pub(crate) fn allocate(&mut self, memory: &str, len: u64) -> Outcome<AllocationId> {
        let pool = self.machine.pool(memory).ok_or("no such memory")?;
        let target = self.graph.add_target(memory, &[pool])?;
        let request = AllocationRequest::new(memory, len).contiguous();
        Ok(self.graph.allocate(target, &request, &mut self.linux)?)
    }

    fn take_down(mut self) -> Outcome<()> {
        for link in std::mem::take(&mut self.active).into_iter().rev() {
            if self.graph.deactivate(link, &mut self.linux) != Teardown::Done {
                return Err("the kernel has not let everything go".into());
            }
        }
        Ok(())
    }
}

pub(crate) fn measure(options: &Options, sizes: &[Size], ways: &[Way], bench: &mut Bench) -> Outcome<()> {
    for way in ways {
        in_world(options, sizes, Some(*way), bench)?;
    }
    in_world(options, sizes, None, bench)
}

fn in_world(options: &Options, sizes: &[Size], way: Option<Way>, bench: &mut Bench) -> Outcome<()> {
    let mut world = World::new(options, sizes, way)?;
    let measured = compare_and_share(&mut world, options, sizes, way, bench);
    let why = world.linux.explanation().map_or_else(String::new, |why| format!(": {why}"));
    measured.map_err(|error| format!("{error}{why}"))?;
    world.take_down()
}

fn compare_and_share(
    world: &mut World,
    options: &Options,
    sizes: &[Size],
    way: Option<Way>,
    bench: &mut Bench,
) -> Outcome<()> {
    let region = if way.is_some() { world.device_region()? } else { world.process_region()? };
    compare(world, region, sizes, way, bench)?;
    regions::measure(world, region, options, way, bench)
}

fn compare(
    world: &mut World,
    region: RegionId,
    sizes: &[Size],
    way: Option<Way>,
    bench: &mut Bench,
) -> Outcome<()> {
    for size in sizes {
        let memory = if size.pages == PageKind::Huge2M { "huge" } else { "ordinary" };
        let allocation = world.allocate(memory, size.len)?;
        let reservation = world.graph.reserve(region, size.len, Attributes::READ_WRITE)?;
        world.graph.back(reservation, allocation, &mut world.linux)?;
        let at = world.graph.device_address(reservation)?.raw();
        let physical = world.graph.physical_at(region, at).ok_or("it is not mapped")?;
        let piece = world.linux.memory().piece(physical, size.len)?;
        let _ = world.graph.unback(reservation, &mut world.linux);
        let mut bare = bare_one(world, way, at, piece)?;
        let mut ours = Backed { world, reservation, allocation };
        let what = match way {
            Some(Way::Cdev) => "iommufd (attached)",
            Some(_) => "container",
            None => "this process",
        };
        bench.compare(&format!("{what}, {}, the graph", size.name), &STEPS, &mut *bare, &mut ours)?;
        drop(bare);
        world.graph.unreserve(reservation)?;
        world.graph.free(allocation, &mut world.linux)?;
    }
    Ok(())
}

fn bare_one(world: &World, way: Option<Way>, at: u64, piece: MemoryPiece) -> Outcome<Box<dyn Contestant>> {
    match way {
        Some(Way::Cdev) => {
            let known = world.linux.devices().iter().find(|device| device.name == "device");
            let handle = known.ok_or("no such device")?.handle;
            let ioas = world.linux.device(handle)?.attachment().ok_or("it is not attached")?;
            Ok(Box::new(bare::Ioas::new(bare::descriptor_of("/dev/iommu")?, ioas, at, &piece)?))
        }
        Some(_) => {
            let descriptor = bare::descriptor_of("/dev/vfio/vfio")?;
            Ok(Box::new(bare::Container { descriptor, at, piece }))
        }
        None => Ok(Box::new(bare::Process::new(piece)?)),
    }
}

struct Backed<'w> {
    world: &'w mut World,
    reservation: ReservationId,
    allocation: AllocationId,
}

impl Contestant for Backed<'_> {
    fn step(&mut self, number: usize) -> Outcome<()> {
        let World { graph, linux, .. } = &mut *self.world;
        if number == 0 {
            return Ok(graph.back(self.reservation, self.allocation, linux)?);
        }
        match graph.unback(self.reservation, linux) {
            Teardown::Done => Ok(()),
            other => Err(format!("{other:?}").into()),
        }
    }
}
