//! The graph once more, as plain lists that are searched from end to end. It is told what the graph chose
//! (addresses, blocks), checks that the choice is one it may make, and predicts everything else.

use super::machine::format_of;
use std::collections::{BTreeMap, BTreeSet};
use vcm::{
    AllocationId, AssociationId, Attributes, BoundId, DeviceHandle, DeviceId, MemoryType, Part, RegionId,
    RegionKind, ReservationId, SIZE_4K, Segment, Shareability, Span,
};

/// What backs a reservation.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Backing {
    None,
    /// The number of the allocation, and the offset into it.
    Mapped(usize, u64),
    /// As `Mapped`, but the hardware has not let go.
    Stuck(usize, u64),
}

/// The state of an association.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum State {
    Inactive,
    Active(u32),
    Stuck,
}

/// Pages of a space: where they lead, with which attributes.
pub(crate) type Pages = BTreeMap<u64, (u64, Attributes)>;

#[derive(Clone, Debug)]
pub(crate) struct Region {
    pub(crate) id: RegionId,
    pub(crate) exists: bool,
    pub(crate) kind: RegionKind,
    pub(crate) usable: Span,
    /// What devices must not be given, whole pages.
    pub(crate) windows: Vec<Span>,
    /// By format: how many associations use it, and its pages.
    pub(crate) tables: BTreeMap<u32, (usize, Pages)>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Reservation {
    pub(crate) id: ReservationId,
    pub(crate) region: usize,
    pub(crate) exists: bool,
    /// Whether its identifier is still good.
    pub(crate) held: bool,
    pub(crate) span: Option<Span>,
    pub(crate) len: u64,
    pub(crate) attributes: Attributes,
    pub(crate) bound: Option<usize>,
    /// Whether its address is that of its memory.
    pub(crate) floats: bool,
    pub(crate) backing: Backing,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) id: BoundId,
    pub(crate) region: usize,
    pub(crate) exists: bool,
    pub(crate) span: Span,
}

#[derive(Clone, Debug)]
pub(crate) struct Allocation {
    pub(crate) id: AllocationId,
    pub(crate) exists: bool,
    pub(crate) held: bool,
    pub(crate) blocks: Vec<Segment>,
    pub(crate) len: u64,
    pub(crate) coherent: bool,
    pub(crate) wrapped: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Association {
    pub(crate) id: AssociationId,
    pub(crate) exists: bool,
    pub(crate) held: bool,
    pub(crate) region: usize,
    pub(crate) device: usize,
    pub(crate) part: Part,
    pub(crate) format: u32,
    pub(crate) state: State,
}

#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) id: DeviceId,
    pub(crate) handle: DeviceHandle,
    pub(crate) kind: RegionKind,
    pub(crate) reserved: Vec<Span>,
}

#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub(crate) memory: Span,
    pub(crate) free: BTreeSet<u64>,
}

/// Everything, in the order of its making; what is gone stays, marked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) regions: Vec<Region>,
    pub(crate) reservations: Vec<Reservation>,
    pub(crate) bounds: Vec<Bound>,
    pub(crate) allocations: Vec<Allocation>,
    pub(crate) associations: Vec<Association>,
    pub(crate) devices: Vec<Device>,
    pub(crate) pools: Vec<Pool>,
    /// No teardown is finished.
    pub(crate) broken: bool,
}

/// What an operation answers: nothing of interest, or the name of the error.
pub(crate) type Answer = Result<(), &'static str>;

pub(crate) fn pages_of(span: Span) -> impl Iterator<Item = u64> {
    (span.first() / SIZE_4K..=span.last() / SIZE_4K).map(|page| page * SIZE_4K)
}

/// What `occupied` leaves of `window`.
pub(crate) fn gaps(window: Span, mut occupied: Vec<Span>) -> Vec<Span> {
    occupied.sort_by_key(|span| span.first());
    let mut gaps = Vec::new();
    let mut next = Some(window.first());
    for span in occupied {
        let Some(at) = next else { break };
        if let Some(before) = span.first().checked_sub(1).and_then(|end| Span::inclusive(at, end)) {
            gaps.extend(before.intersection(window));
        }
        next = span.last().checked_add(1).map(|after| after.max(at));
    }
    gaps.extend(next.and_then(|at| Span::inclusive(at, window.last())));
    gaps
}

/// Whether `len` bytes that start at a multiple of `alignment` fit into `gap`.
pub(crate) fn fits(gap: Span, len: u128, alignment: u64) -> bool {
    gap.first()
        .checked_next_multiple_of(alignment)
        .is_some_and(|at| u128::from(at) + len - 1 <= u128::from(gap.last()))
}

impl Model {
    /// Who exists in a region.
    pub(crate) fn reservations_of(&self, region: usize) -> impl Iterator<Item = &Reservation> {
        self.reservations.iter().filter(move |found| found.exists && found.region == region)
    }

    pub(crate) fn bounds_of(&self, region: usize) -> impl Iterator<Item = (usize, &Bound)> {
        self.bounds.iter().enumerate().filter(move |(_, bound)| bound.exists && bound.region == region)
    }

    /// The free runs of a region, or of a bound of it.
    pub(crate) fn gaps(&self, region: usize, bound: Option<usize>) -> Vec<Span> {
        let reserved = self.reservations_of(region).filter(|found| found.bound == bound);
        let mut occupied: Vec<Span> = reserved.filter_map(|found| found.span).collect();
        occupied.extend(&self.regions[region].windows);
        match bound {
            Some(bound) => gaps(self.bounds[bound].span, occupied),
            None => {
                occupied.extend(self.bounds_of(region).map(|(_, bound)| bound.span));
                gaps(self.regions[region].usable, occupied)
            }
        }
    }

    /// The free bytes of a region, those in its bounds included.
    pub(crate) fn free_in(&self, region: usize) -> u128 {
        let of = |bound| self.gaps(region, bound).iter().map(|gap| gap.len()).sum::<u128>();
        of(None) + self.bounds_of(region).map(|(bound, _)| of(Some(bound))).sum::<u128>()
    }

    pub(crate) fn known_region(&self, region: usize) -> Answer {
        if self.regions[region].exists { Ok(()) } else { Err("UnknownRegion") }
    }

    pub(crate) fn known_reservation(&self, number: usize) -> Answer {
        let found = &self.reservations[number];
        self.known_region(found.region)?;
        if found.exists && found.held { Ok(()) } else { Err("UnknownReservation") }
    }

    pub(crate) fn known_bound(&self, number: usize) -> Answer {
        let found = &self.bounds[number];
        self.known_region(found.region)?;
        if found.exists { Ok(()) } else { Err("UnknownBound") }
    }

    pub(crate) fn known_allocation(&self, number: usize) -> Answer {
        let found = &self.allocations[number];
        if found.exists && found.held { Ok(()) } else { Err("UnknownAllocation") }
    }

    pub(crate) fn known_association(&self, number: usize) -> Answer {
        let found = &self.associations[number];
        if found.exists && found.held { Ok(()) } else { Err("UnknownAssociation") }
    }

    /// The reservations that map an allocation, with the offset and whether they are stuck.
    pub(crate) fn mappers(&self, allocation: usize) -> Vec<(&Reservation, u64, bool)> {
        let mapper = |found| {
            let found: &Reservation = found;
            match found.backing {
                Backing::Mapped(of, offset) if of == allocation => Some((found, offset, false)),
                Backing::Stuck(of, offset) if of == allocation => Some((found, offset, true)),
                _ => None,
            }
        };
        self.reservations.iter().filter(|found| found.exists).filter_map(mapper).collect()
    }

    /// The physical address of the byte at `offset`.
    pub(crate) fn byte(&self, allocation: usize, offset: u64) -> Option<u64> {
        let mut before = 0;
        for block in &self.allocations[allocation].blocks {
            if offset < before + block.len {
                return Some(block.base.raw() + (offset - before));
            }
            before += block.len;
        }
        None
    }

    /// Where the pages of a backed reservation lead.
    pub(crate) fn pages(&self, found: &Reservation, allocation: usize, offset: u64) -> Pages {
        let span = found.span.expect("backed reservations have addresses");
        let lead = |(index, page)| {
            let to = self.byte(allocation, offset + index as u64 * SIZE_4K).expect("inside");
            (page, (to, found.attributes))
        };
        pages_of(span).enumerate().map(lead).collect()
    }

    /// The memory of a part of an allocation, if it is in one piece.
    pub(crate) fn piece(&self, allocation: usize, offset: u64, len: u64) -> Option<Span> {
        let first = self.byte(allocation, offset)?;
        let whole = (0..len / SIZE_4K)
            .all(|page| self.byte(allocation, offset + page * SIZE_4K) == Some(first + page * SIZE_4K));
        if whole { Span::new(first, len) } else { None }
    }

    /// Whether a mapping with `attributes` may join, and the mappers that it conflicts with.
    pub(crate) fn admit(
        &self,
        number: usize,
        allocation: usize,
        offset: u64,
    ) -> (Answer, Vec<ReservationId>) {
        let found = &self.reservations[number];
        let wanted = found.attributes;
        if self.allocations[allocation].coherent
            && wanted.memory_type.is_cached()
            && wanted.shareability == Shareability::NonShareable
        {
            return (Err("NotCoherent"), Vec::new());
        }
        let alias = |held: Attributes| {
            let normal = matches!(wanted.memory_type, MemoryType::Normal(_));
            held.memory_type == wanted.memory_type && (!normal || held.shareability == wanted.shareability)
        };
        let conflicts: Vec<_> = self
            .mappers(allocation)
            .into_iter()
            .filter(|(other, at, _)| {
                *at < offset + found.len && offset < at + other.len && !alias(other.attributes)
            })
            .map(|(other, ..)| other.id)
            .collect();
        (if conflicts.is_empty() { Ok(()) } else { Err("Conflict") }, conflicts)
    }

    /// Whether a backing is possible, and where it will be.
    pub(crate) fn back(
        &self,
        number: usize,
        allocation: usize,
        offset: u64,
        whole: bool,
    ) -> Result<Span, &'static str> {
        self.known_allocation(allocation)?;
        self.known_reservation(number)?;
        let found = &self.reservations[number];
        if found.backing != Backing::None {
            return Err("Backed");
        }
        if !offset.is_multiple_of(SIZE_4K) {
            return Err("BadAlignment");
        }
        let offered = self.allocations[allocation].len.saturating_sub(offset);
        if found.len > offered || (whole && found.len != offered) {
            return Err("LengthMismatch");
        }
        self.admit(number, allocation, offset).0?;
        let region = &self.regions[found.region];
        if region.kind != RegionKind::OneToOne {
            return Ok(found.span.expect("only one-to-one reservations float"));
        }
        let piece = self.piece(allocation, offset, found.len).ok_or("NotContiguous")?;
        match found.span {
            Some(placed) if placed == piece => Ok(piece),
            Some(_) => Err("AddressMismatch"),
            None if !region.usable.covers(piece) => Err("OutsideRegion"),
            None if !self.gaps(found.region, None).iter().any(|gap| gap.covers(piece)) => Err("Occupied"),
            None => Ok(piece),
        }
    }

    /// Enters a backing that was made.
    pub(crate) fn backed(&mut self, number: usize, allocation: usize, offset: u64, span: Span) {
        self.reservations[number].span = Some(span);
        self.reservations[number].backing = Backing::Mapped(allocation, offset);
        let found = self.reservations[number];
        let pages = self.pages(&found, allocation, offset);
        for (_, table) in self.regions[found.region].tables.values_mut() {
            table.extend(pages.iter().map(|(page, to)| (*page, *to)));
        }
    }

    /// Takes the memory from a reservation; what was abandoned goes with it.
    pub(crate) fn release(&mut self, number: usize) {
        let found = self.reservations[number];
        let span = found.span.expect("backed reservations have addresses");
        for (_, table) in self.regions[found.region].tables.values_mut() {
            table.retain(|page, _| !span.contains(*page));
        }
        let entry = &mut self.reservations[number];
        entry.backing = Backing::None;
        if entry.floats {
            entry.span = None;
        }
        entry.exists = entry.held;
    }

    /// Gives an abandoned allocation's memory back, if nobody has it.
    pub(crate) fn collect(&mut self, number: usize) -> bool {
        let gone = self.allocations[number].exists
            && !self.allocations[number].held
            && self.mappers(number).is_empty();
        if gone {
            self.allocations[number].exists = false;
            if !self.allocations[number].wrapped {
                for block in self.allocations[number].blocks.clone() {
                    for page in pages_of(block.span().unwrap()) {
                        let pool = self.pools.iter_mut().find(|pool| pool.memory.contains(page)).unwrap();
                        assert!(pool.free.insert(page), "{page:#x} came back twice");
                    }
                }
            }
        }
        gone
    }

    /// The format of a device in this part, if it translates all of the region.
    pub(crate) fn translating(&self, region: usize, device: usize, part: Part) -> Result<u32, &'static str> {
        let format = format_of(self.devices[device].handle, part).map_err(|_| "Hardware")?;
        let all = format.addresses.covers(self.regions[region].usable);
        if all { Ok(format.id) } else { Err("NotTranslatable") }
    }

    /// One more association uses the region's table of this format.
    pub(crate) fn enter_table(&mut self, region: usize, format: u32) {
        if self.regions[region].kind == RegionKind::OneToOne {
            return;
        }
        if !self.regions[region].tables.contains_key(&format) {
            let mut pages = Pages::new();
            for found in self.reservations_of(region) {
                if let Backing::Mapped(allocation, offset) = found.backing {
                    pages.extend(self.pages(found, allocation, offset));
                }
            }
            self.regions[region].tables.insert(format, (0, pages));
        }
        self.regions[region].tables.get_mut(&format).unwrap().0 += 1;
    }

    /// One less.
    pub(crate) fn leave_table(&mut self, region: usize, format: u32) {
        if let Some((users, _)) = self.regions[region].tables.get_mut(&format) {
            *users -= 1;
            if *users == 0 {
                self.regions[region].tables.remove(&format);
            }
        }
    }

    /// Whether a device can have both active at the same time.
    pub(crate) fn beside(&self, one: &Association, other: &Association) -> bool {
        match self.devices[one.device].kind {
            RegionKind::OneToOne => true,
            RegionKind::Cpu => !self.regions[one.region].usable.overlaps(self.regions[other.region].usable),
            _ => match (one.part, other.part) {
                (Part::Low { split: a }, Part::High { split: b }) => a == b,
                (Part::High { split: a }, Part::Low { split: b }) => a == b,
                _ => false,
            },
        }
    }

    /// What is in quarantine.
    pub(crate) fn quarantined(&self) -> usize {
        let ranges = self.reservations.iter().filter(|r| r.exists && matches!(r.backing, Backing::Stuck(..)));
        let links = self.associations.iter().filter(|link| link.exists && link.state == State::Stuck);
        ranges.count() + links.count()
    }

    /// Where an access of a device arrives.
    pub(crate) fn access(&self, device: usize, address: u64) -> Option<u64> {
        let page = address & !(SIZE_4K - 1);
        let links = self
            .associations
            .iter()
            .filter(|link| link.exists && link.device == device && link.state != State::Inactive);
        links
            .filter_map(|link| self.regions[link.region].tables.get(&link.format)?.1.get(&page))
            .map(|(to, _)| to + (address - page))
            .next()
    }
}
