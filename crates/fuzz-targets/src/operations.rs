//! Sequences of graph operations on the simulated SoC: real page tables, a real driver, a TLB that remembers.

use std::sync::OnceLock;
use vcm::{
    AllocationId, AllocationRequest, AssociationId, Attributes, BoundId, Contiguity, Error, Extent, Graph,
    Part, RegionId, RegionKind, RegionRequest, ReservationAlignment, ReservationId, ReservationRequest,
    SIZE_4K, Span, Teardown,
};
use vcm_platform::topology::{Topology, shipped};
use vcm_platform::{Event, Inventory, Layout, Outcome, Platform, Surface, Transfer};
use vcm_soc::Soc;
use vcm_soc::hardware::Options;

/// The bytes that are left, read as numbers; 0 when they are used up.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// One of `list`, or nothing when it is empty.
    fn pick<T: Copy>(&mut self, list: &[T]) -> Option<T> {
        let index = usize::from(self.byte());
        (!list.is_empty()).then(|| list[index % list.len()])
    }

    /// A length: 1 to 32 pages of 4K, 64K or 1M, now and then a byte off.
    fn len(&mut self) -> u64 {
        let byte = self.byte();
        let unit = [SIZE_4K, 16 * SIZE_4K, 256 * SIZE_4K, SIZE_4K + 1][usize::from(byte >> 6)];
        unit * u64::from(byte % 32 + 1)
    }

    fn attributes(&mut self) -> Attributes {
        match self.byte() % 6 {
            0 => Attributes::READ_WRITE.with_access(vcm::Access::READ),
            1 => Attributes::READ_WRITE.with_memory_type(vcm::MemoryType::Device),
            _ => Attributes::READ_WRITE,
        }
    }
}

/// Everything that was made and not given up.
#[derive(Default)]
struct Made {
    regions: Vec<RegionId>,
    bounds: Vec<BoundId>,
    reservations: Vec<ReservationId>,
    allocations: Vec<AllocationId>,
    associations: Vec<AssociationId>,
    tally: Tally,
}

/// How often something came to pass: to see that an input reaches what it is meant to test.
#[derive(Clone, Copy, Default, Debug)]
pub struct Tally {
    /// Reservations made.
    pub reserved: u64,
    /// Reservations backed.
    pub backed: u64,
    /// Associations activated.
    pub activated: u64,
    /// Transfers that moved all their bytes.
    pub transferred: u64,
    /// Faults.
    pub faults: u64,
    /// Operations that the hardware failed.
    pub hardware_failures: u64,
    /// Teardowns that went into quarantine.
    pub quarantined: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.reserved += other.reserved;
        self.backed += other.backed;
        self.activated += other.activated;
        self.transferred += other.transferred;
        self.faults += other.faults;
        self.hardware_failures += other.hardware_failures;
        self.quarantined += other.quarantined;
    }
}

fn topology() -> &'static Topology {
    static TOPOLOGY: OnceLock<Topology> = OnceLock::new();
    TOPOLOGY.get_or_init(|| {
        let blob = shipped("two-banks").expect("two-banks is shipped");
        Topology::from_device_tree(blob).expect("two-banks loads")
    })
}

/// Runs the operations that `bytes` spell, with hardware that fails now and then, takes everything down, and checks
/// that nothing is left, lost, or reached after it was given back.
pub fn operations(bytes: &[u8]) -> Tally {
    let mut soc = Soc::new(topology(), &Options::default()).expect("the machine is built");
    let mut graph = Graph::new();
    let inventory = Inventory::register(&mut graph, &soc).expect("the machine is registered");
    let free: u64 = graph.pools().map(|pool| pool.free).sum();
    let mut made = Made::default();
    let mut input = Input(bytes);
    while !input.0.is_empty() {
        step(&mut input, &mut graph, &mut soc, &inventory, &mut made);
    }
    take_down(&mut graph, &mut soc, &made);
    assert_eq!(graph.quarantined(), 0, "quarantine after repair and reaping:\n{}", graph.view());
    assert_eq!(graph.allocations().count(), 0, "allocations left:\n{}", graph.view());
    assert_eq!(graph.regions().count(), 0, "regions left:\n{}", graph.view());
    assert_eq!(graph.pools().map(|pool| pool.free).sum::<u64>(), free, "memory lost");
    made.tally
}

fn step(input: &mut Input<'_>, graph: &mut Graph, soc: &mut Soc, inventory: &Inventory, made: &mut Made) {
    match input.byte() % 20 {
        0 | 1 => create_region(input, graph, made),
        2 => {
            if let Some(region) = input.pick(&made.regions)
                && let Ok(clone) = graph.clone_region(region, "clone")
            {
                made.regions.push(clone);
                made.reservations.extend(graph.reservations(clone).map(|found| found.id));
                made.bounds.extend(graph.bounds(clone).map(|(bound, _)| bound));
            }
        }
        3 => {
            if let Some(region) = input.pick(&made.regions)
                && let Ok(bound) = graph.create_bound(region, input.len())
            {
                made.bounds.push(bound);
            }
        }
        4..=6 => reserve(input, graph, made),
        7 | 8 => {
            let request = AllocationRequest {
                contiguity: if input.byte().is_multiple_of(2) {
                    Contiguity::Blocks
                } else {
                    Contiguity::Contiguous
                },
                ..AllocationRequest::new("memory", input.len())
            };
            if let Ok(allocation) = graph.allocate(inventory.target(), &request, soc) {
                made.allocations.push(allocation);
            }
        }
        9..=11 => {
            let (reservation, allocation) = (input.pick(&made.reservations), input.pick(&made.allocations));
            if let (Some(reservation), Some(allocation)) = (reservation, allocation) {
                let extent = match input.byte() % 3 {
                    0 => Extent::Whole,
                    n => Extent::From(u64::from(n - 1) * SIZE_4K),
                };
                if let Ok(plan) = graph.plan_back(reservation, allocation, extent) {
                    match plan.commit(soc) {
                        Ok(()) => made.tally.backed += 1,
                        Err(_) => made.tally.hardware_failures += 1,
                    }
                }
            }
        }
        12 => {
            let (region, device) =
                (input.pick(&made.regions), graph.devices().nth(usize::from(input.byte() % 8)));
            let part = [Part::Whole, Part::Whole, Part::Low { split: 1 }, Part::High { split: 1 }];
            let part = part[usize::from(input.byte() % 4)];
            if let (Some(region), Some(device)) = (region, device.map(|device| device.id))
                && let Ok(association) = graph.associate(region, device, part, soc)
            {
                made.associations.push(association);
            }
        }
        13 => {
            if let Some(association) = input.pick(&made.associations) {
                match graph.activate(association, soc) {
                    Ok(()) => made.tally.activated += 1,
                    Err(Error::Hardware { .. } | Error::Quarantined { .. }) => {
                        made.tally.hardware_failures += 1
                    }
                    Err(_) => {}
                }
            }
        }
        14 => {
            if let Some(association) = input.pick(&made.associations) {
                made.tally.quarantined +=
                    u64::from(graph.deactivate(association, soc) == Teardown::Quarantined);
            }
        }
        15 => {
            if let Some(reservation) = input.pick(&made.reservations) {
                made.tally.quarantined += u64::from(graph.unback(reservation, soc) == Teardown::Quarantined);
            }
        }
        16 => give_up(input, graph, soc, made),
        17 | 18 => transfer(input, graph, soc, made),
        _ => match input.byte() % 3 {
            0 => soc.fail_hardware_at(u64::from(input.byte()) + 1),
            1 => soc.repair(),
            _ => {
                graph.reap(soc);
            }
        },
    }
}

fn create_region(input: &mut Input<'_>, graph: &mut Graph, made: &mut Made) {
    let kind = RegionKind::ALL[usize::from(input.byte()) % RegionKind::ALL.len()];
    let window = match input.byte() % 6 {
        0 => Span::inclusive(0, u64::from(u32::MAX)),
        1 => Some(Span::ALL),
        2 => Span::new(0x400, 0x100_0000),
        3 => Span::inclusive(0x8000_0000, u64::from(u32::MAX)),
        4 => Span::inclusive(0, 0x7fff_ffff),
        _ => Span::inclusive(0x5000_0000, 0x9fff_ffff),
    };
    let Some(window) = window else { return };
    if let Ok(region) = graph.create_region(&RegionRequest::new("region", kind, window)) {
        made.regions.push(region);
    }
}

fn reserve(input: &mut Input<'_>, graph: &mut Graph, made: &mut Made) {
    let request = ReservationRequest {
        len: u128::from(input.len()),
        alignment: match input.byte() % 4 {
            0 => ReservationAlignment::Exactly(1 << (input.byte() % 26)),
            _ => ReservationAlignment::LargestPage,
        },
        attributes: input.attributes(),
    };
    let reserved = match input.byte() % 4 {
        0 => input.pick(&made.bounds).map(|bound| graph.reserve_from_bound(bound, &request)),
        1 => input.pick(&made.regions).map(|region| {
            let start = u64::from(input.byte()) << 16;
            graph.reserve_at(region, start, request.len, request.attributes)
        }),
        _ => input.pick(&made.regions).map(|region| graph.reserve_with(region, &request)),
    };
    if let Some(Ok(reservation)) = reserved {
        made.reservations.push(reservation);
        made.tally.reserved += 1;
    }
}

/// Gives something up that may still be in use: it is refused then, and kept.
fn give_up(input: &mut Input<'_>, graph: &mut Graph, soc: &mut Soc, made: &mut Made) {
    let index = usize::from(input.byte());
    match input.byte() % 5 {
        0 => made.regions.retain(one(index, |region| graph.free_region(region).is_ok())),
        1 => made.bounds.retain(one(index, |bound| graph.free_bound(bound).is_ok())),
        2 => made.reservations.retain(one(index, |reservation| graph.unreserve(reservation).is_ok())),
        3 => made.allocations.retain(one(index, |allocation| graph.free(allocation, soc).is_ok())),
        _ => made.associations.retain(one(index, |association| graph.deassociate(association, soc).is_ok())),
    }
}

/// A filter that drops the element at `index` if it could be given up.
fn one<T: Copy>(index: usize, mut give_up: impl FnMut(T) -> bool) -> impl FnMut(&T) -> bool {
    let mut at = 0;
    move |element| {
        at += 1;
        at - 1 != index || !give_up(*element)
    }
}

/// Lets a device write somewhere, and answers its faults. The oracle watches.
fn transfer(input: &mut Input<'_>, graph: &mut Graph, soc: &mut Soc, made: &mut Made) {
    let Some(handle) = graph.devices().nth(usize::from(input.byte() % 8)).map(|device| device.handle) else {
        return;
    };
    let address = match input.pick(&made.reservations) {
        Some(reservation) => graph.device_address(reservation).map_or(0x1000, |address| address.raw()),
        None => 0x1000,
    };
    let to = Surface { address, layout: Layout::Linear { len: 256 } };
    if soc.start(handle, &Transfer::Write { to, seed: 1 }, vcm::Privilege::User).is_err() {
        return;
    }
    loop {
        match soc.next_event() {
            Ok(None) => break,
            Ok(Some(Event::Fault { token, fault })) => {
                made.tally.faults += 1;
                let verdict = graph.handle_fault(&fault, soc);
                soc.answer(token, verdict.answer);
            }
            Ok(Some(Event::Completed { report, .. })) => {
                made.tally.transferred += u64::from(report.outcome == Outcome::Completed);
            }
            Ok(Some(_)) => {}
            Err(error) => {
                // A machine that fell silent may have to say so; a stale translation never.
                assert!(!error.to_string().contains("stale"), "{error}");
                soc.repair();
                break;
            }
        }
    }
}

fn take_down(graph: &mut Graph, soc: &mut Soc, made: &Made) {
    soc.repair();
    while let Ok(Some(event)) = soc.next_event() {
        if let Event::Fault { token, .. } = event {
            soc.answer(token, vcm::Answer::Terminate);
        }
    }
    graph.reap(soc);
    for association in &made.associations {
        while graph.is_active(*association) == Ok(true) {
            graph.deactivate(*association, soc);
        }
        graph.reap(soc);
        let _ = graph.deassociate(*association, soc);
    }
    for reservation in &made.reservations {
        graph.unback(*reservation, soc);
        let _ = graph.unreserve(*reservation);
    }
    for bound in &made.bounds {
        let _ = graph.free_bound(*bound);
    }
    for allocation in &made.allocations {
        let _ = graph.free(*allocation, soc);
    }
    graph.reap(soc);
    for region in &made.regions {
        let _ = graph.free_region(*region);
    }
}
