//! A graph, a machine and what a test needs first: memory, devices, regions.

use super::machine::{self, FakeMachine};
use vcm::pool::Policy;
use vcm::{
    AllocationId, AllocationRequest, AssociationId, Attributes, DeviceHandle, DeviceId, DeviceRequest, Error,
    Graph, Part, PhysicalAddress, PoolId, RegionId, RegionKind, RegionRequest, ReservationId, SIZE_16M, Span,
    TargetId,
};

/// Readable, writable, cached.
pub(crate) const RW: Attributes = Attributes::READ_WRITE;
/// Where the pool of fast memory is, 16M.
pub(crate) const FAST: u64 = 0x4000_0000;
/// Where the pool of main memory is, 64M.
pub(crate) const MAIN: u64 = 0x8000_0000;

/// A span from `first` on.
pub(crate) fn span(first: u64, len: u64) -> Span {
    Span::new(first, len).expect("a span that makes sense")
}

/// The devices, by the names of [`machine`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Devices {
    pub(crate) cpu: DeviceId,
    pub(crate) codec_a: DeviceId,
    pub(crate) codec_b: DeviceId,
    pub(crate) gpu: DeviceId,
    pub(crate) ethernet: DeviceId,
    pub(crate) guest: DeviceId,
    pub(crate) dsp: DeviceId,
    pub(crate) wide: DeviceId,
    pub(crate) camera: DeviceId,
}

/// The graph of a machine with two pools and nine devices.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) graph: Graph,
    pub(crate) machine: FakeMachine,
    pub(crate) devices: Devices,
    pub(crate) fast: PoolId,
    pub(crate) main: PoolId,
    /// Fast memory first, then main memory.
    pub(crate) target: TargetId,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut graph = Graph::new();
        let fast = graph.add_pool("fast", span(FAST, SIZE_16M), Policy::Splitting).unwrap();
        let main = graph.add_pool("main", span(MAIN, 4 * SIZE_16M), Policy::Splitting).unwrap();
        let target = graph.add_target("fast, then main", &[fast, main]).unwrap();
        let mut device = |label: &str, handle, kind| {
            let request = DeviceRequest { label: label.into(), handle, kind, reserved: &[] };
            graph.add_device(&request).unwrap()
        };
        let devices = Devices {
            cpu: device("cpu", machine::CPU, RegionKind::Cpu),
            codec_a: device("codec_a", machine::CODEC_A, RegionKind::Translated),
            codec_b: device("codec_b", machine::CODEC_B, RegionKind::Translated),
            gpu: device("gpu", machine::GPU, RegionKind::Translated),
            ethernet: device("ethernet", machine::ETHERNET, RegionKind::OneToOne),
            guest: device("guest", machine::GUEST, RegionKind::Guest),
            dsp: device("dsp", machine::DSP, RegionKind::Remote),
            wide: device("wide", machine::WIDE, RegionKind::Translated),
            camera: device("camera", machine::CAMERA, RegionKind::OneToOne),
        };
        Self { graph, machine: FakeMachine::new(), devices, fast, main, target }
    }

    /// A device with windows that it must never be given.
    pub(crate) fn device_with_windows(
        &mut self,
        label: &str,
        handle: DeviceHandle,
        reserved: &[Span],
    ) -> DeviceId {
        let request = DeviceRequest { label: label.into(), handle, kind: RegionKind::Translated, reserved };
        self.graph.add_device(&request).unwrap()
    }

    pub(crate) fn region(&mut self, label: &str, kind: RegionKind, first: u64, len: u64) -> RegionId {
        self.graph.create_region(&RegionRequest::new(label, kind, span(first, len))).unwrap()
    }

    /// A translated region of 1G from 0 on.
    pub(crate) fn translated(&mut self, label: &str) -> RegionId {
        self.region(label, RegionKind::Translated, 0, 0x4000_0000)
    }

    pub(crate) fn associate(&mut self, region: RegionId, device: DeviceId) -> AssociationId {
        self.graph.associate(region, device, Part::Whole, &mut self.machine).unwrap()
    }

    /// A link that is active.
    pub(crate) fn activate(&mut self, region: RegionId, device: DeviceId) -> AssociationId {
        let link = self.associate(region, device);
        self.graph.activate(link, &mut self.machine).unwrap();
        link
    }

    pub(crate) fn reserve(&mut self, region: RegionId, len: u64) -> ReservationId {
        self.graph.reserve(region, len, RW).unwrap()
    }

    pub(crate) fn allocate(&mut self, label: &str, len: u64) -> AllocationId {
        self.graph.allocate(self.target, &AllocationRequest::new(label, len), &mut self.machine).unwrap()
    }

    pub(crate) fn contiguous(&mut self, label: &str, len: u64) -> AllocationId {
        let request = AllocationRequest::new(label, len).contiguous();
        self.graph.allocate(self.target, &request, &mut self.machine).unwrap()
    }

    pub(crate) fn back(&mut self, reservation: ReservationId, memory: AllocationId) -> Result<(), Error> {
        self.graph.back(reservation, memory, &mut self.machine)
    }

    /// A reservation that is backed, with its memory.
    pub(crate) fn buffer(&mut self, region: RegionId, len: u64) -> (ReservationId, AllocationId) {
        let (reservation, memory) = (self.reserve(region, len), self.allocate("buffer", len));
        self.back(reservation, memory).unwrap();
        (reservation, memory)
    }

    /// Where a reservation begins in its region.
    pub(crate) fn at(&self, reservation: ReservationId) -> u64 {
        self.graph.device_address(reservation).unwrap().raw()
    }

    /// Where an allocation's first byte is.
    pub(crate) fn memory_at(&self, memory: AllocationId) -> PhysicalAddress {
        self.graph.allocation(memory).unwrap().blocks[0].base
    }

    /// The free bytes of all pools.
    pub(crate) fn free(&self) -> u64 {
        self.graph.pools().map(|pool| pool.free).sum()
    }
}
