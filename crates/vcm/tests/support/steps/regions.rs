//! Regions, bounds and reservations.

use super::{Pair, agree, window};
use crate::support::model::{Backing, Bound, Region, Reservation, fits};
use std::collections::BTreeMap;
use vcm::{
    Attributes, Error, Holder, RegionKind, RegionRequest, ReservationAlignment, ReservationRequest, SIZE_1M,
    SIZE_4K, SIZE_64K, Span,
};

impl Pair {
    pub(super) fn create_region(&mut self, choice: u8) {
        let (kind, window) = window(choice);
        let result = self.graph.create_region(&RegionRequest::new("region", kind, window));
        let usable = window.aligned_inside(SIZE_4K);
        agree(&result, usable.map(|_| ()).ok_or("BadLength"));
        if let (Ok(id), Some(usable)) = (result, usable) {
            let region =
                Region { id, exists: true, kind, usable, windows: Vec::new(), tables: BTreeMap::new() };
            self.model.regions.push(region);
        }
    }

    pub(super) fn clone_region(&mut self, number: usize) {
        let result = self.graph.clone_region(self.model.regions[number].id, "clone");
        agree(&result, self.model.known_region(number));
        let Ok(id) = result else { return };
        let clone = self.model.regions.len();
        let original = &self.model.regions[number];
        self.model.regions.push(Region { id, tables: BTreeMap::new(), ..original.clone() });
        let mut bounds = BTreeMap::new();
        for (old, bound) in self.model.bounds.clone().into_iter().enumerate() {
            if bound.exists && bound.region == number {
                bounds.insert(old, self.model.bounds.len());
                self.model.bounds.push(Bound { id: bound.id.in_clone(id), region: clone, ..bound });
            }
        }
        for found in self.model.reservations.clone() {
            if !found.exists || !found.held || found.region != number {
                continue;
            }
            let mut copy = Reservation {
                id: found.id.in_clone(id),
                region: clone,
                bound: found.bound.map(|bound| bounds[&bound]),
                ..found
            };
            if let Backing::Stuck(..) = copy.backing {
                copy.backing = Backing::None;
                if copy.floats {
                    copy.span = None;
                }
            }
            self.model.reservations.push(copy);
        }
    }

    pub(super) fn free_region(&mut self, number: usize) {
        let result = self.graph.free_region(self.model.regions[number].id);
        let busy = self.model.reservations_of(number).count() > 0
            || self.model.bounds_of(number).count() > 0
            || self.model.associations.iter().any(|link| link.exists && link.region == number);
        let free = if busy { Err("RegionInUse") } else { Ok(()) };
        agree(&result, self.model.known_region(number).and(free));
        if result.is_ok() {
            self.model.regions[number].exists = false;
        }
    }

    pub(super) fn create_bound(&mut self, region: usize, len: u64) {
        let result = self.graph.create_bound(self.model.regions[region].id, len);
        let gaps = self.model.gaps(region, None);
        let wanted = self.model.known_region(region).and(match len {
            0 => Err("BadLength"),
            _ if gaps.iter().any(|gap| gap.len() >= u128::from(len)) => Ok(()),
            _ => Err("NoSpace"),
        });
        agree(&result, wanted);
        if let Ok(id) = result {
            let span = self.graph.bound_span(id).unwrap();
            assert_eq!(span.len(), u128::from(len));
            assert!(gaps.iter().any(|gap| gap.covers(span)), "{span} is not free: {gaps:?}");
            self.model.bounds.push(Bound { id, region, exists: true, span });
        }
    }

    pub(super) fn free_bound(&mut self, number: usize) {
        let result = self.graph.free_bound(self.model.bounds[number].id);
        let used = self.model.reservations.iter().any(|found| found.exists && found.bound == Some(number));
        let free = if used { Err("BoundInUse") } else { Ok(()) };
        agree(&result, self.model.known_bound(number).and(free));
        if result.is_ok() {
            self.model.bounds[number].exists = false;
        }
    }

    pub(super) fn reserve(
        &mut self,
        region: usize,
        bound: Option<usize>,
        pages: u64,
        align: u8,
        with: Attributes,
    ) {
        // A byte short of whole pages, now and then.
        let asked = if align & 0x80 != 0 { (pages * SIZE_4K).saturating_sub(1) } else { pages * SIZE_4K };
        let len = asked.next_multiple_of(SIZE_4K);
        let alignment = match align % 8 {
            0..=4 => ReservationAlignment::LargestPage,
            5 => ReservationAlignment::Exactly(SIZE_64K),
            6 => ReservationAlignment::Exactly(1),
            _ => ReservationAlignment::Exactly(0x3000),
        };
        let request = ReservationRequest { len: asked.into(), alignment, attributes: with };
        let result = match bound {
            Some(bound) => self.graph.reserve_from_bound(self.model.bounds[bound].id, &request),
            None => self.graph.reserve_with(self.model.regions[region].id, &request),
        };
        let gaps = self.model.gaps(region, bound);
        let floats = bound.is_none() && self.model.regions[region].kind == RegionKind::OneToOne;
        let room = |alignment| gaps.iter().any(|gap| fits(*gap, len.into(), alignment));
        // What makes no sense is refused before the bound is looked for.
        let known = bound.map_or(Ok(()), |bound| self.model.known_bound(bound));
        let wanted = self.model.known_region(region).and(match alignment {
            _ if len == 0 => Err("BadLength"),
            ReservationAlignment::Exactly(0x3000) => Err("BadAlignment"),
            _ if known.is_err() => known,
            _ if floats && u128::from(len) > self.model.regions[region].usable.len() => Err("NoSpace"),
            _ if floats => Ok(()),
            ReservationAlignment::Exactly(value) if room(value.max(SIZE_4K)) => Ok(()),
            ReservationAlignment::LargestPage if room(SIZE_4K) => Ok(()),
            _ => Err("NoSpace"),
        });
        agree(&result, wanted);
        if let (Err(Error::NoSpace { largest, free, .. }), false) = (&result, floats) {
            let lens: Vec<_> = gaps.iter().map(|gap| gap.len()).collect();
            assert_eq!(*free, lens.iter().sum::<u128>(), "free bytes in the error");
            assert_eq!(*largest, lens.iter().copied().max().unwrap_or(0), "the longest gap in the error");
        }
        let Ok(id) = result else { return };
        let span = self.graph.reservation(id).unwrap().span;
        assert_eq!(span.is_none(), floats);
        if let Some(span) = span {
            assert_eq!(span.len(), u128::from(len));
            assert!(gaps.iter().any(|gap| gap.covers(span)), "{span} is not free: {gaps:?}");
            let page = match alignment {
                ReservationAlignment::Exactly(value) => value.max(SIZE_4K),
                ReservationAlignment::LargestPage => {
                    [SIZE_1M, SIZE_64K, SIZE_4K].into_iter().find(|page| *page <= len).unwrap()
                }
            };
            assert!(span.first() % page == 0 || !room(page), "{span} could be aligned to {page:#x}");
        }
        self.enter(id, region, span, len, with, bound, floats);
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a reservation")]
    pub(super) fn enter(
        &mut self,
        id: vcm::ReservationId,
        region: usize,
        span: Option<Span>,
        len: u64,
        attributes: Attributes,
        bound: Option<usize>,
        floats: bool,
    ) {
        let backing = Backing::None;
        let (exists, held) = (true, true);
        let found = Reservation { id, region, exists, held, span, len, attributes, bound, floats, backing };
        self.model.reservations.push(found);
    }

    pub(super) fn reserve_at(&mut self, region: usize, page: u64, len: u64, with: Attributes) {
        let usable = self.model.regions[region].usable;
        // From a bit before the region on; now and then between two pages.
        let at = usable.first().wrapping_sub(4 * SIZE_4K).wrapping_add(page * SIZE_4K / 2);
        let at = if page % 2 == 1 && page % 16 != 1 { at & !0xfff } else { at };
        let result = self.graph.reserve_at(self.model.regions[region].id, at, len, with);
        let span = Span::new(at, len);
        let inside =
            self.model.bounds_of(region).find(|(_, bound)| bound.span.contains(at)).map(|(of, _)| of);
        let free = |span| self.model.gaps(region, inside).iter().any(|gap| gap.covers(span));
        let wanted = self.model.known_region(region).and(match span {
            _ if len == 0 => Err("BadLength"),
            _ if at % SIZE_4K != 0 => Err("BadAlignment"),
            None => Err("BadLength"),
            Some(span) if !usable.covers(span) => Err("OutsideRegion"),
            Some(span) if !free(span) => Err("Occupied"),
            Some(_) => Ok(()),
        });
        agree(&result, wanted);
        if let Err(Error::Occupied { holder: Holder::Reservation(holder), asked, .. }) = result {
            let holder =
                self.model.reservations_of(region).find(|found| found.id == holder).expect("of the region");
            assert!(holder.held && holder.span.unwrap().overlaps(asked), "blames another");
        }
        if let Ok(id) = result {
            self.enter(id, region, span, len, with, inside, false);
        }
    }

    pub(super) fn set_attributes(&mut self, number: usize, with: Attributes) {
        let result = self.graph.set_reservation_attributes(self.model.reservations[number].id, with);
        let backed = self.model.reservations[number].backing != Backing::None;
        agree(&result, self.model.known_reservation(number).and(if backed { Err("Backed") } else { Ok(()) }));
        if result.is_ok() {
            self.model.reservations[number].attributes = with;
        }
    }

    pub(super) fn unreserve(&mut self, number: usize) {
        let result = self.graph.unreserve(self.model.reservations[number].id);
        let backing = self.model.reservations[number].backing;
        let mapped = matches!(backing, Backing::Mapped(..));
        agree(&result, self.model.known_reservation(number).and(if mapped { Err("Backed") } else { Ok(()) }));
        if result.is_ok() {
            self.model.reservations[number].held = false;
            self.model.reservations[number].exists = backing != Backing::None;
        }
    }
}
