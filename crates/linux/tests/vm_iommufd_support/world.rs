//! A mapping graph over a [`MockMachine`], and the judge of whether the two agree.

use super::machine::MockMachine;
use super::{PAGE, START, span};
use std::collections::BTreeMap;
use vcm::pool::Policy;
use vcm::{
    AllocationId, AllocationRequest, AssociationId, Attributes, DeviceHandle, DeviceId, DeviceRequest, Error,
    Graph, Part, RegionId, RegionKind, RegionRequest, ReservationId, ReservationState, SpaceHandle, TargetId,
    Teardown,
};

pub(crate) const RW: Attributes = Attributes::READ_WRITE;
/// Pages of each region.
pub(crate) const WINDOW: u64 = 48;
/// Where one region begins.
pub(crate) const ONE: u64 = START;
/// Where another does.
pub(crate) const OTHER: u64 = START + 0x100_0000;

pub(crate) struct World {
    pub(crate) graph: Graph,
    pub(crate) machine: MockMachine,
    pub(crate) target: TargetId,
    pub(crate) devices: Vec<DeviceId>,
    /// Which space of the machine's each region has, as far as it is known: the one that came with its first association.
    pub(crate) spaces: BTreeMap<u64, SpaceHandle>,
}

impl World {
    pub(crate) fn new(pages: u64) -> Self {
        let machine = MockMachine::new(pages);
        let mut graph = Graph::new();
        let pool = graph.add_pool("memory file", machine.memory_span(), Policy::Splitting).unwrap();
        let target = graph.add_target("memory", &[pool]).unwrap();
        let devices = (0..4)
            .map(|number| {
                let (label, handle) = (format!("mock{number}"), DeviceHandle(number));
                let request = DeviceRequest {
                    label: label.as_str().into(),
                    handle,
                    kind: RegionKind::Translated,
                    reserved: &[],
                };
                graph.add_device(&request).unwrap()
            })
            .collect();
        Self { graph, machine, target, devices, spaces: BTreeMap::new() }
    }

    /// A region of [`WINDOW`] pages from `first` on, associated with a device.
    pub(crate) fn region(&mut self, label: &str, first: u64, device: usize) -> (RegionId, AssociationId) {
        let request = RegionRequest::new(label, RegionKind::Translated, span(first, WINDOW * PAGE));
        let region = self.graph.create_region(&request).unwrap();
        let known = self.machine.spaces();
        let link =
            self.graph.associate(region, self.devices[device], Part::Whole, &mut self.machine).unwrap();
        let new = self.machine.spaces().into_iter().find(|space| !known.contains(space));
        self.spaces.insert(first, new.expect("a region's first association makes a space"));
        (region, link)
    }

    pub(crate) fn allocate(&mut self, pages: u64) -> Result<AllocationId, Error> {
        self.graph.allocate(self.target, &AllocationRequest::new("buffer", pages * PAGE), &mut self.machine)
    }

    pub(crate) fn back(&mut self, reservation: ReservationId, memory: AllocationId) -> Result<(), Error> {
        self.graph.back(reservation, memory, &mut self.machine)
    }

    pub(crate) fn unback(&mut self, reservation: ReservationId) -> Teardown {
        self.graph.unback(reservation, &mut self.machine)
    }

    /// Where each page of a region leads, according to the graph.
    pub(crate) fn pages_of(&self, region: RegionId) -> BTreeMap<u64, u64> {
        let mut pages = BTreeMap::new();
        for reservation in self.graph.reservations(region) {
            let ReservationState::Backed { allocation, offset } = reservation.state else { continue };
            let memory: Vec<u64> = self
                .graph
                .allocation(allocation)
                .unwrap()
                .blocks
                .iter()
                .flat_map(|block| (0..block.len).step_by(PAGE as usize).map(|at| block.base.raw() + at))
                .collect();
            let span = reservation.span.unwrap();
            for page in 0..(span.len() as u64 / PAGE) {
                pages.insert(span.first() + page * PAGE, memory[(offset / PAGE + page) as usize]);
            }
        }
        pages
    }

    /// Graph, naive model and kernel agree on every page of a region.
    pub(crate) fn judge(&self, region: RegionId, first: u64, model: Option<&BTreeMap<u64, u64>>) {
        let pages = self.pages_of(region);
        if let Some(model) = model {
            assert_eq!(&pages, model, "graph and model");
        }
        for page in (first..first + WINDOW * PAGE).step_by(PAGE as usize) {
            let expected = pages.get(&page).copied();
            if let Err(difference) = self.machine.agrees_at(self.spaces[&first], page, expected) {
                panic!("graph and kernel: {difference}; refusals: {:?}", self.machine.refusals);
            }
        }
    }
}
