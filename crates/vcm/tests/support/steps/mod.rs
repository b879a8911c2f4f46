//! Random operations, done to a graph and to its model.

mod links;
mod memory;
mod regions;

use super::compare::compare;
use super::machine::{self, FakeMachine};
use super::model::{Answer, Backing, Device, Model, Pool, Reservation, State, pages_of};
use proptest::prelude::*;
use vcm::pool::Policy;
use vcm::{
    Access, Attributes, CachePolicy, Contiguity, DeviceRequest, Error, Graph, MemoryType, Part, Reaped,
    RegionKind, SIZE_1M, SIZE_4K, SIZE_64K, Shareability, Span, TargetId,
};

/// Chooses one of the objects there are: a live one as a rule, seven times in eight.
type Pick = u8;

/// One operation; numbers choose from short lists.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    CreateRegion(u8),
    CloneRegion(Pick),
    FreeRegion(Pick),
    CreateBound(Pick, u64),
    FreeBound(Pick),
    Reserve(Pick, u64, u8, u8),
    ReserveFromBound(Pick, u64, u8, u8),
    ReserveAt(Pick, u64, u64, u8),
    SetAttributes(Pick, u8),
    Unreserve(Pick),
    Allocate(u8, u64, u8),
    AllocateContiguous(u8, u64, u8),
    Wrap(u64, u64),
    Free(Pick),
    Back(Pick, Pick),
    /// Of what fits: a reservation with an allocation of its length.
    BackFitting(Pick),
    BackAt(Pick, Pick, u64),
    Unback(Pick),
    Associate(Pick, u8, u8),
    Deassociate(Pick),
    SetPart(Pick, u8),
    Activate(Pick),
    Deactivate(Pick),
    /// An association's device uses a page of its region, or any device any page.
    Access(Pick, Pick, u64),
    BreakDown,
    Repair,
    Reap,
}

/// Operations in proportions that lead somewhere.
pub(crate) fn operation() -> impl Strategy<Value = Op> {
    let n = any::<u8>;
    let pages = || prop_oneof![6 => 1u64..20, 2 => Just(16u64), 1 => 0u64..300];
    prop_oneof![
        5 => n().prop_map(Op::CreateRegion),
        1 => n().prop_map(Op::CloneRegion),
        1 => n().prop_map(Op::FreeRegion),
        2 => (n(), pages()).prop_map(|(a, b)| Op::CreateBound(a, b)),
        2 => n().prop_map(Op::FreeBound),
        8 => (n(), pages(), n(), n()).prop_map(|(a, b, c, d)| Op::Reserve(a, b, c, d)),
        3 => (n(), pages(), n(), n()).prop_map(|(a, b, c, d)| Op::ReserveFromBound(a, b, c, d)),
        4 => (n(), 0u64..600, pages(), n()).prop_map(|(a, b, c, d)| Op::ReserveAt(a, b, c, d)),
        1 => (n(), n()).prop_map(|(a, b)| Op::SetAttributes(a, b)),
        4 => n().prop_map(Op::Unreserve),
        5 => (n(), pages(), n()).prop_map(|(a, b, c)| Op::Allocate(a, b, c)),
        3 => (n(), pages(), n()).prop_map(|(a, b, c)| Op::AllocateContiguous(a, b, c)),
        1 => (0u64..64, 0u64..8).prop_map(|(a, b)| Op::Wrap(a, b)),
        4 => n().prop_map(Op::Free),
        3 => (n(), n()).prop_map(|(a, b)| Op::Back(a, b)),
        10 => n().prop_map(Op::BackFitting),
        4 => (n(), n(), 0u64..20).prop_map(|(a, b, c)| Op::BackAt(a, b, c)),
        6 => n().prop_map(Op::Unback),
        7 => (n(), n(), n()).prop_map(|(a, b, c)| Op::Associate(a, b, c)),
        2 => n().prop_map(Op::Deassociate),
        1 => (n(), n()).prop_map(|(a, b)| Op::SetPart(a, b)),
        6 => n().prop_map(Op::Activate),
        3 => n().prop_map(Op::Deactivate),
        8 => (n(), n(), 0u64..4).prop_map(|(a, b, c)| Op::Access(a, b, c)),
        2 => Just(Op::BreakDown),
        2 => Just(Op::Repair),
        2 => Just(Op::Reap),
    ]
}

const FAST: u64 = 0x4000_0000;
const MAIN: u64 = 0x8001_0000;

/// A graph, its machine, and the model of both.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) graph: Graph,
    pub(crate) machine: FakeMachine,
    pub(crate) model: Model,
    /// With the numbers of their pools.
    targets: Vec<(TargetId, Vec<usize>)>,
}

fn attributes(choice: u8) -> Attributes {
    let base = Attributes::READ_WRITE;
    match choice % 16 {
        0..=9 => base,
        10 => base.with_access(Access::READ),
        11 => base.with_memory_type(MemoryType::Normal(CachePolicy::NotCached)),
        12 => base.with_shareability(Shareability::NonShareable),
        13 => base.with_memory_type(MemoryType::Device),
        14 => base.with_memory_type(MemoryType::Device).with_shareability(Shareability::Inner),
        _ => base.with_shareability(Shareability::Inner),
    }
}

fn part(choice: u8) -> Part {
    match choice % 8 {
        0..=4 => Part::Whole,
        5 => Part::Low { split: 1 },
        6 => Part::High { split: 1 },
        _ => Part::Low { split: 0 },
    }
}

fn window(choice: u8) -> (RegionKind, Span) {
    use RegionKind::{Cpu, Guest, OneToOne, Remote, Translated};
    let (kind, first, last) = match choice % 12 {
        0 => (Translated, 0x400, SIZE_1M - 1),
        1 => (Translated, 0, 2 * SIZE_1M - 1),
        2 => (Translated, 0x8000_0000, 0x8000_0000 + SIZE_1M - 1),
        3 => (Translated, 0xfff0_0000, 0xffff_ffff),
        4 => (Translated, u64::MAX - 0xf_ffff, u64::MAX),
        5 => (OneToOne, FAST, FAST + SIZE_1M - 1),
        6 => (OneToOne, 0, u64::MAX),
        7 => (Cpu, 0, SIZE_1M - 1),
        8 => (Cpu, SIZE_1M - SIZE_64K, 2 * SIZE_1M - 1),
        9 => (Guest, 0, SIZE_1M - 1),
        10 => (Remote, 0x1000, 0x1fff),
        _ => (Translated, 0x100, 0x800),
    };
    (kind, Span::inclusive(first, last).unwrap())
}

fn pick<T>(all: &[T], choice: Pick, live: impl Fn(&T) -> bool) -> Option<usize> {
    let living: Vec<usize> = (0..all.len()).filter(|index| live(&all[*index])).collect();
    let from = if choice.is_multiple_of(8) || living.is_empty() { (0..all.len()).collect() } else { living };
    (!from.is_empty()).then(|| from[usize::from(choice / 8) % from.len()])
}

/// The name of the error.
fn name<T>(result: &Result<T, Error>) -> Result<(), String> {
    match result {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(format!("{error:?}").chars().take_while(|letter| letter.is_alphanumeric()).collect())
        }
    }
}

#[track_caller]
fn agree<T>(result: &Result<T, Error>, wanted: Answer) {
    assert_eq!(name(result), wanted.map_err(str::to_string), "(is, wanted)");
}

impl Pair {
    pub(crate) fn new() -> Self {
        let mut graph = Graph::new();
        let mut model = Model::default();
        let mut pools = Vec::new();
        // The second begins and ends inside of a large block.
        for (label, first, len) in [("fast", FAST, SIZE_1M), ("main", MAIN, SIZE_1M + 5 * SIZE_4K)] {
            let memory = Span::new(first, len).unwrap();
            pools.push(graph.add_pool(label, memory, Policy::Splitting).unwrap());
            model.pools.push(Pool { memory, free: pages_of(memory).collect() });
        }
        let targets = [vec![0, 1], vec![1]].map(|list| {
            let ids: Vec<_> = list.iter().map(|pool| pools[*pool]).collect();
            (graph.add_target("target", &ids).unwrap(), list)
        });
        let windows = |list: &[(u64, u64)]| -> Vec<Span> {
            list.iter().map(|(first, last)| Span::inclusive(*first, *last).unwrap()).collect()
        };
        let translated = RegionKind::Translated;
        for (handle, kind, reserved) in [
            (machine::CPU, RegionKind::Cpu, windows(&[])),
            (machine::CODEC_A, translated, windows(&[])),
            (
                machine::CODEC_B,
                translated,
                windows(&[(0x8800, 0xffff), (0xe000, 0x1_17ff), (0xffff_f000, 0xffff_ffff)]),
            ),
            (machine::GPU, translated, windows(&[])),
            (machine::WIDE, translated, windows(&[(u64::MAX - 0x1800, u64::MAX), (0x4_0000, 0x4_0000)])),
            (machine::ETHERNET, RegionKind::OneToOne, windows(&[(FAST + 0x8000, FAST + 0x8fff)])),
            (machine::CAMERA, RegionKind::OneToOne, windows(&[])),
            (machine::GUEST, RegionKind::Guest, windows(&[])),
            (machine::DSP, RegionKind::Remote, windows(&[])),
        ] {
            let request = DeviceRequest { label: "device".into(), handle, kind, reserved: &reserved };
            let id = graph.add_device(&request).unwrap();
            model.devices.push(Device { id, handle, kind, reserved });
        }
        Self { graph, machine: FakeMachine::new(), model, targets: targets.into() }
    }

    /// With a region of each of three kinds, and devices that are active in them.
    pub(crate) fn furnished() -> Self {
        let mut pair = Self::new();
        for choice in [1, 6, 8] {
            pair.step(&Op::CreateRegion(choice));
        }
        for (region, device) in [(0, 1), (0, 3), (1, 5), (2, 0)] {
            pair.associate(region, device, Part::Whole);
        }
        for link in 0..4 {
            pair.activate(link);
        }
        pair
    }

    /// Does it to both, and compares the answers and then everything.
    pub(crate) fn step(&mut self, op: &Op) {
        self.apply(op);
        compare(&self.graph, &self.machine, &self.model);
    }

    fn pick_region(&self, choice: Pick) -> Option<usize> {
        pick(&self.model.regions, choice, |region| region.exists)
    }

    fn pick_reservation(&self, choice: Pick) -> Option<usize> {
        pick(&self.model.reservations, choice, |found| found.exists && found.held)
    }

    fn pick_allocation(&self, choice: Pick) -> Option<usize> {
        pick(&self.model.allocations, choice, |found| found.exists && found.held)
    }

    fn pick_association(&self, choice: Pick) -> Option<usize> {
        pick(&self.model.associations, choice, |link| link.exists && link.held)
    }

    fn pick_bound(&self, choice: Pick) -> Option<usize> {
        pick(&self.model.bounds, choice, |bound| bound.exists)
    }

    /// Operations on an empty list are skipped.
    fn apply(&mut self, op: &Op) -> Option<()> {
        match *op {
            Op::CreateRegion(choice) => self.create_region(choice),
            Op::CloneRegion(choice) => self.clone_region(self.pick_region(choice)?),
            Op::FreeRegion(choice) => self.free_region(self.pick_region(choice)?),
            Op::CreateBound(choice, pages) => self.create_bound(self.pick_region(choice)?, pages * SIZE_4K),
            Op::FreeBound(choice) => self.free_bound(self.pick_bound(choice)?),
            Op::Reserve(choice, pages, align, with) => {
                self.reserve(self.pick_region(choice)?, None, pages, align, attributes(with));
            }
            Op::ReserveFromBound(choice, pages, align, with) => {
                let bound = self.pick_bound(choice)?;
                self.reserve(self.model.bounds[bound].region, Some(bound), pages, align, attributes(with));
            }
            Op::ReserveAt(choice, page, pages, with) => {
                self.reserve_at(self.pick_region(choice)?, page, pages * SIZE_4K, attributes(with));
            }
            Op::SetAttributes(choice, with) => {
                self.set_attributes(self.pick_reservation(choice)?, attributes(with))
            }
            Op::Unreserve(choice) => self.unreserve(self.pick_reservation(choice)?),
            Op::Allocate(target, pages, how) => {
                self.allocate(target, pages * SIZE_4K, how, Contiguity::Blocks)
            }
            Op::AllocateContiguous(target, pages, how) => {
                self.allocate(target, pages * SIZE_4K, how, Contiguity::Contiguous);
            }
            Op::Wrap(page, pages) => self.wrap(page, pages * SIZE_4K),
            Op::Free(choice) => self.free(self.pick_allocation(choice)?),
            Op::Back(reservation, memory) => {
                self.back(self.pick_reservation(reservation)?, self.pick_allocation(memory)?, None);
            }
            Op::BackFitting(choice) => {
                let reservation = pick(&self.model.reservations, choice | 1, |found| {
                    found.exists && found.held && found.backing == Backing::None
                })?;
                let len = self.model.reservations[reservation].len;
                let fitting = pick(&self.model.allocations, choice | 1, |found| {
                    found.exists && found.held && found.len == len
                })?;
                self.back(reservation, fitting, None);
            }
            Op::BackAt(reservation, memory, page) => {
                // Now and then between two pages.
                let offset = page * SIZE_4K + if page == 19 { 0x800 } else { 0 };
                self.back(self.pick_reservation(reservation)?, self.pick_allocation(memory)?, Some(offset));
            }
            Op::Unback(choice) => self.unback(self.pick_reservation(choice)?),
            Op::Associate(region, device, how) => {
                let device = usize::from(device) % self.model.devices.len();
                self.associate(self.pick_region(region)?, device, part(how));
            }
            Op::Deassociate(choice) => self.deassociate(self.pick_association(choice)?),
            Op::SetPart(choice, how) => self.set_part(self.pick_association(choice)?, part(how)),
            Op::Activate(choice) => self.activate(self.pick_association(choice)?),
            Op::Deactivate(choice) => self.deactivate(self.pick_association(choice)?),
            Op::Access(link, choice, page) => {
                let active = pick(&self.model.associations, link, |link| {
                    link.exists && link.state != State::Inactive
                })?;
                let link = self.model.associations[active];
                let backed =
                    |found: &Reservation| found.exists && found.region == link.region && found.span.is_some();
                let found = self.model.reservations[pick(&self.model.reservations, choice, backed)?];
                let at = found.span?.first().saturating_add(page * SIZE_4K).saturating_add(0x10);
                let arrived = self.machine.access(self.model.devices[link.device].handle, at).ok();
                assert_eq!(arrived, self.model.access(link.device, at), "{:?} at {at:#x}", link.id);
            }
            Op::BreakDown => {
                self.machine.break_down();
                self.model.broken = true;
            }
            Op::Repair => {
                self.machine.repair();
                self.model.broken = false;
            }
            Op::Reap => self.reap(),
        }
        Some(())
    }

    fn reap(&mut self) {
        let reaped = self.graph.reap(&mut self.machine);
        let mut wanted = Reaped::default();
        for number in 0..self.model.associations.len() {
            let link = self.model.associations[number];
            if link.exists && link.state == State::Stuck && !self.model.broken {
                self.model.associations[number].state = State::Inactive;
                wanted.associations += 1;
                if !link.held {
                    self.remove_association(number);
                }
            }
        }
        for number in 0..self.model.reservations.len() {
            let found = self.model.reservations[number];
            let free = !self.model.broken || self.model.regions[found.region].tables.is_empty();
            if found.exists && matches!(found.backing, Backing::Stuck(..)) && free {
                self.model.release(number);
                wanted.ranges += 1;
            }
        }
        for number in 0..self.model.allocations.len() {
            wanted.allocations += usize::from(self.model.collect(number));
        }
        wanted.remaining = self.model.quarantined();
        assert_eq!(reaped, wanted);
    }

    /// Takes everything down and checks that every byte came back.
    pub(crate) fn take_down(&mut self) {
        self.step(&Op::Repair);
        for number in 0..self.model.reservations.len() {
            self.unback(number);
            if self.model.known_reservation(number).is_ok() {
                self.unreserve(number);
            }
        }
        for number in 0..self.model.associations.len() {
            while let State::Active(_) = self.model.associations[number].state {
                self.deactivate(number);
            }
            if self.model.known_association(number).is_ok() {
                self.deassociate(number);
            }
        }
        for number in 0..self.model.allocations.len() {
            self.free(number);
        }
        self.step(&Op::Reap);
        for number in 0..self.model.bounds.len() {
            self.free_bound(number);
        }
        compare(&self.graph, &self.machine, &self.model);
        for number in 0..self.model.regions.len() {
            self.free_region(number);
        }
        assert_eq!(self.graph.regions().count() + self.graph.allocations().count(), 0);
        assert!(self.graph.pools().all(|pool| pool.free == pool.total), "memory was lost");
        assert_eq!(self.machine.tlb_len() + self.machine.attached.len() + self.machine.spaces.len(), 0);
        for device in self.model.devices.clone() {
            self.graph.remove_device(device.id).unwrap();
        }
    }
}
