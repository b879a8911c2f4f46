//! Linux as a machine with one controller, and the graph of who maps what of its memory.

use crate::options::Options;
use crate::{Outcome, PAGE};
use vcm::{
    AllocationId, AllocationRequest, AssociationId, Attributes, Bytes, CpuAddress, Graph, Hardware, Iova,
    Part,
};
use vcm::{PhysicalAddress, RegionId, RegionRequest, ReservationId, Span, Teardown};
use vcm_devices::DmaPage;
use vcm_linux::Linux;
use vcm_linux::memory::{DriverMemory, MemoryPiece, PageKind};
use vcm_linux::platform::{DeviceRequest, MachineRequest, MemorySpec, View};
use vcm_platform::{Inventory, Platform, splitmix64};

const HUGE_PAGE: u64 = 2 << 20;
/// Addresses are given out from here on.
const LOWEST: u64 = 1 << 20;

/// The machine and its graph.
pub(crate) struct World {
    pub(crate) linux: Linux,
    pub(crate) graph: Graph,
    known: Inventory,
    active: Vec<AssociationId>,
    backed: Vec<ReservationId>,
}

impl World {
    /// Takes the controller from its driver, which has it again when this is dropped.
    pub(crate) fn new(options: &Options) -> Outcome<Self> {
        let memory = |name: &str, len: u64, pages| MemorySpec {
            name: name.into(),
            len: len.next_multiple_of(HUGE_PAGE),
            pages,
        };
        let data = memory("data", options.size, options.pages);
        let queues = memory("queues", options.own_pages() as u64 * PAGE, PageKind::Ordinary);
        let address = options.device.clone();
        let (view, interface) = (View::Translated, options.interface);
        // We drive it ourselves: the machine is to move nothing with it.
        let device = DeviceRequest { name: "nvme".into(), address, view, interface, overwrites: None };
        let (name, memories, devices) = ("nvme".to_owned(), vec![data, queues], vec![device]);
        let linux = Linux::start(&MachineRequest { name, memories, devices, guests: Vec::new() })?;
        linux.notes().iter().for_each(|note| println!("{note}"));
        let mut graph = Graph::new();
        let known = Inventory::register(&mut graph, &linux)?;
        Ok(Self { linux, graph, known, active: Vec::new(), backed: Vec::new() })
    }

    /// The addresses of a device or of this process, with the device in it.
    pub(crate) fn region(&mut self, name: &str) -> Outcome<RegionId> {
        let described = self.linux.devices().iter().find(|device| device.name == name);
        let (handle, kind) = described.map(|found| (found.handle, found.kind)).ok_or("no such device")?;
        // Address 0 is for what is nowhere.
        let all = self.linux.format(handle, Part::Whole)?.addresses;
        let window = Span::inclusive(all.first().max(LOWEST), all.last()).ok_or("it has no addresses")?;
        let region = self.graph.create_region(&RegionRequest::new(name, kind, window))?;
        let device = self.known.device(name).ok_or("no such device")?;
        let link = self.graph.associate(region, device, Part::Whole, &mut self.linux)?;
        self.graph.activate(link, &mut self.linux)?;
        self.active.push(link);
        Ok(region)
    }

    /// Memory of one kind, in one piece.
    pub(crate) fn allocate(&mut self, memory: &str, len: u64) -> Outcome<AllocationId> {
        let pool = self.known.pool(memory).ok_or("no such memory")?;
        let target = self.graph.add_target(memory, &[pool])?;
        let request = AllocationRequest::new(memory, len).contiguous();
        Ok(self.graph.allocate(target, &request, &mut self.linux)?)
    }

    /// Gives memory addresses in a region.
    pub(crate) fn back(&mut self, region: RegionId, memory: AllocationId, len: u64) -> Outcome<u64> {
        let reservation = self.graph.reserve(region, len, Attributes::READ_WRITE)?;
        self.graph.back(reservation, memory, &mut self.linux)?;
        self.backed.push(reservation);
        Ok(self.graph.device_address(reservation)?.raw())
    }

    /// The pages that a backing takes at least: `4 x 2M`.
    pub(crate) fn pages(&self, region: RegionId, at: u64) -> String {
        let Some(reservation) = self.graph.reservation_at(region, at) else { return String::new() };
        let leaves = self.graph.leaves(reservation, &self.linux);
        let pages: Vec<String> =
            leaves.iter().map(|(size, count)| format!("{count} x {}", Bytes(size))).collect();
        pages.join(" and ")
    }

    /// Has this process fill what it has at `here`.
    pub(crate) fn fill(&mut self, here: u64, len: u64, content: Content) -> Outcome<()> {
        let mut bytes = vec![0; HUGE_PAGE as usize];
        for at in (0..len).step_by(bytes.len()) {
            let bytes = &mut bytes[..(len - at).min(HUGE_PAGE) as usize];
            if content == Content::Pattern {
                pattern(at, bytes);
            }
            self.linux.cpu_write(CpuAddress::new(here + at), bytes)?;
        }
        Ok(())
    }

    /// Has this process look whether the pattern is at `here`.
    pub(crate) fn check(&mut self, here: u64, len: u64) -> Outcome<()> {
        let (mut found, mut expected) = (vec![0; HUGE_PAGE as usize], vec![0; HUGE_PAGE as usize]);
        for at in (0..len).step_by(found.len()) {
            let len = (len - at).min(HUGE_PAGE) as usize;
            self.linux.cpu_read(CpuAddress::new(here + at), &mut found[..len])?;
            pattern(at, &mut expected[..len]);
            if found[..len] != expected[..len] {
                return Err(format!("other bytes came back than were written, from {at:#x} on").into());
            }
        }
        Ok(())
    }

    /// The driver's own pages: of `memory`, in one piece, and at addresses of the device.
    pub(crate) fn own_pages(&mut self, region: RegionId, memory: &str, pages: usize) -> Outcome<OwnPages> {
        let len = pages as u64 * PAGE;
        let allocation = self.allocate(memory, len)?;
        let at = self.back(region, allocation, len)?;
        let physical = self.graph.physical_at(region, at).ok_or("the memory was not mapped")?;
        Ok(OwnPages { piece: self.linux.memory().piece(physical, len)?, at, taken: 0 })
    }

    /// The device is detached first: it accesses nothing any more. Then all addresses are given back.
    pub(crate) fn take_down(self) -> Outcome<()> {
        let Self { mut linux, mut graph, active, backed, .. } = self;
        let mut done: Vec<Teardown> =
            active.into_iter().map(|link| graph.deactivate(link, &mut linux)).collect();
        done.extend(backed.into_iter().map(|reservation| graph.unback(reservation, &mut linux)));
        if done.iter().all(|done| *done == Teardown::Done) {
            return Ok(());
        }
        Err("the kernel has not let everything go".into())
    }
}

/// What a buffer is filled with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Pattern,
    Zeros,
}

/// Pages for the driver and the controller, where the controller has them.
pub(crate) struct OwnPages {
    piece: MemoryPiece,
    at: u64,
    taken: u64,
}

impl OwnPages {
    /// The next ones, as memory of a driver's, and one by one.
    pub(crate) fn take(
        &mut self,
        pages: usize,
    ) -> Outcome<(DriverMemory, impl FnMut() -> Option<DmaPage> + use<>)> {
        let (first, len) = (self.at + self.taken, pages as u64 * PAGE);
        let piece = MemoryPiece::new(self.piece.file().clone(), self.piece.offset() + self.taken, len)?;
        self.taken += len;
        let mut places = (first..first + len).step_by(PAGE as usize);
        let place = move || {
            let at = places.next()?;
            Some(DmaPage { device: Iova::new(at), memory: PhysicalAddress::new(at) })
        };
        Ok((DriverMemory::new(piece, PhysicalAddress::new(first))?, place))
    }
}

/// The bytes from `at` on.
pub(crate) fn pattern(at: u64, bytes: &mut [u8]) {
    for (number, word) in (at / 8..).zip(bytes.chunks_exact_mut(8)) {
        word.copy_from_slice(&splitmix64(0x5eed, number).to_le_bytes());
    }
}
