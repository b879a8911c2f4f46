//! A region: an address space, what was reserved in it, and the hardware spaces that follow it.

use crate::bound::Bound;
use crate::error::{Error, Holder};
use crate::id::{BoundId, RegionId, ReservationId};
use crate::range::{Alignment, RangeError, RangeKey, Ranges, Request as RangeRequest};
use crate::reservation::{Backing, Choice, Ownership, Place, Reservation};
use crate::storage::{Arena, Key, List};
use crate::{
    Attributes, Format, Label, PageSizes, RegionKind, SIZE_1G, SIZE_1M, SIZE_2M, SIZE_4K, SIZE_16M, SIZE_64K,
};
use crate::{SpaceHandle, Span};

/// The unit of reservations, of every kind and format: 4 KiB.
pub(crate) const PAGE: u64 = SIZE_4K;

/// Who has a range of a region.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Occupant {
    Reservation(Key<Reservation>),
    Bound(Key<Bound>),
    /// A window that an associated device must never be given.
    ReservedWindow,
}

/// A space that the hardware keeps for the region.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space {
    pub(crate) format: Format,
    pub(crate) handle: SpaceHandle,
    /// How many associations translate through it.
    pub(crate) users: usize,
}

/// What a region is made from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RegionRequest {
    /// Its name, for people.
    pub label: Label,
    /// Whose address space it is.
    pub kind: RegionKind,
    /// Its addresses. They need not begin or end at a page: reservations are made of the whole pages inside.
    pub window: Span,
    /// The page sizes that reservations are aligned for unless they say otherwise.
    pub page_sizes: PageSizes,
}

impl RegionRequest {
    /// A region of `kind` over `window`, aligned for the pages of every format.
    pub fn new(label: &str, kind: RegionKind, window: Span) -> Self {
        const ALL: u64 = SIZE_4K | SIZE_64K | SIZE_1M | SIZE_2M | SIZE_16M | SIZE_1G;
        let page_sizes = PageSizes::from_mask(ALL).unwrap_or(PageSizes::ARM_SHORT);
        Self { label: label.into(), kind, window, page_sizes }
    }
}

/// How a reservation's start is to be aligned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReservationAlignment {
    /// To the largest page that fits the length; to less where no gap allows it, so that nothing is wasted.
    #[default]
    LargestPage,
    /// To this power of two, in bytes, or not at all.
    Exactly(u64),
}

/// What a reservation is made from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReservationRequest {
    /// Bytes, rounded up to whole pages of 4 KiB. Up to the whole region.
    pub len: u128,
    /// How to align it.
    pub alignment: ReservationAlignment,
    /// What mappings through it permit, and how their memory behaves.
    pub attributes: Attributes,
}

impl ReservationRequest {
    /// `len` bytes, aligned for the largest page.
    pub fn new(len: impl Into<u128>, attributes: Attributes) -> Self {
        Self { len: len.into(), alignment: ReservationAlignment::LargestPage, attributes }
    }
}

/// A region with its reservations: one of the parts that can be locked apart.
#[derive(Debug)]
pub struct Region {
    pub(crate) id: RegionId,
    pub(crate) label: Label,
    pub(crate) kind: RegionKind,
    /// As asked for.
    pub(crate) window: Span,
    /// The whole pages of the window.
    pub(crate) usable: Span,
    pub(crate) page_sizes: PageSizes,
    pub(crate) ranges: Ranges<Occupant>,
    pub(crate) reservations: Arena<Reservation>,
    pub(crate) bounds: Arena<Bound>,
    pub(crate) spaces: List<Space>,
    pub(crate) associations: usize,
}

impl Region {
    /// A region with nothing in it, which will be known as `id`.
    ///
    /// # Errors
    /// [`Error::BadLength`] when the window holds no whole page.
    pub fn new(id: RegionId, request: &RegionRequest) -> Result<Self, Error> {
        let usable = request.window.aligned_inside(PAGE).ok_or(Error::BadLength {
            start: request.window.first(),
            len: request.window.len(),
            page: PAGE,
        })?;
        Ok(Self {
            id,
            label: request.label,
            kind: request.kind,
            window: request.window,
            usable,
            page_sizes: request.page_sizes,
            ranges: Ranges::new(usable, PAGE),
            reservations: Arena::new(),
            bounds: Arena::new(),
            spaces: List::new(),
            associations: 0,
        })
    }

    pub(crate) const fn reservation_id(&self, key: Key<Reservation>) -> ReservationId {
        ReservationId { region: self.id, key }
    }

    pub(crate) const fn bound_id(&self, key: Key<Bound>) -> BoundId {
        BoundId { region: self.id, key }
    }

    /// The reservation with `key`, unless it was given up.
    pub(crate) fn reservation(&self, key: Key<Reservation>) -> Result<&Reservation, Error> {
        self.reservations
            .get(key)
            .filter(|reservation| reservation.ownership == Ownership::Held)
            .ok_or(Error::UnknownReservation(self.reservation_id(key)))
    }

    pub(crate) fn reservation_mut(&mut self, key: Key<Reservation>) -> Result<&mut Reservation, Error> {
        let unknown = Error::UnknownReservation(self.reservation_id(key));
        self.reservations
            .get_mut(key)
            .filter(|reservation| reservation.ownership == Ownership::Held)
            .ok_or(unknown)
    }

    /// Reserves anywhere in the region, or in the bound `from`.
    ///
    /// # Errors
    /// As [`Graph::reserve_with`](crate::Graph::reserve_with) and
    /// [`Graph::reserve_from_bound`](crate::Graph::reserve_from_bound).
    pub fn reserve(
        &mut self,
        from: Option<BoundId>,
        request: &ReservationRequest,
    ) -> Result<ReservationId, Error> {
        let from = from.map(|bound| bound.key);
        let len = whole_pages(self.usable.first(), request.len)?;
        let alignment = match request.alignment {
            ReservationAlignment::LargestPage => {
                Alignment::Preferring(self.page_sizes.largest_within(len).unwrap_or(PAGE).max(PAGE))
            }
            ReservationAlignment::Exactly(value) if value.is_power_of_two() => {
                Alignment::Exactly(value.max(PAGE))
            }
            ReservationAlignment::Exactly(value) => {
                return Err(Error::BadAlignment { value, unit: PAGE });
            }
        };
        if self.kind == RegionKind::OneToOne && from.is_none() {
            return self.reserve_floating(len, request.attributes);
        }
        self.insert(from, len, request.attributes, |region, occupant| {
            let region_id = region.id;
            let ranges = region.ranges_of(from)?;
            let within = ranges.window();
            ranges
                .place(&RangeRequest { len, alignment, within }, occupant)
                .map_err(|error| range_error(region_id, within, error))
        })
    }

    /// Reserves `len` bytes at `start`.
    ///
    /// # Errors
    /// As [`Graph::reserve_at`](crate::Graph::reserve_at).
    pub fn reserve_at(
        &mut self,
        start: u64,
        len: u128,
        attributes: Attributes,
    ) -> Result<ReservationId, Error> {
        let len = whole_pages(start, len)?;
        let span = self.page_span(start, len)?;
        // An address inside a bound is reserved from the bound.
        let from = match self.ranges.find(start) {
            Some((_, _, Occupant::Bound(key))) => Some(*key),
            _ => None,
        };
        if let Some((_, held, occupant)) = self.ranges.overlapping(span).next()
            && (from.is_none() || !held.covers(span))
        {
            return Err(Error::Occupied { region: self.id, asked: span, holder: self.holder(*occupant) });
        }
        self.insert(from, len, attributes, |region, occupant| {
            let other = region.ranges_of(from)?.overlapping(span).next().map(|(_, _, other)| *other);
            if let Some(other) = other {
                return Err(Error::Occupied { region: region.id, asked: span, holder: region.holder(other) });
            }
            let (id, window) = (region.id, region.usable);
            region.ranges_of(from)?.place_at(span, occupant).map_err(|error| range_error(id, window, error))
        })
    }

    /// A one-to-one reservation without an address: it takes that of its memory.
    fn reserve_floating(&mut self, len: u128, attributes: Attributes) -> Result<ReservationId, Error> {
        if len > self.usable.len() {
            return Err(Error::NoSpace {
                region: self.id,
                len,
                largest: self.usable.len(),
                free: self.usable.len(),
            });
        }
        let key = self.reservations.insert(Reservation {
            choice: Choice::FollowsMemory,
            place: Place::Floating,
            span: None,
            len,
            attributes,
            backing: Backing::None,
            ownership: Ownership::Held,
        })?;
        Ok(self.reservation_id(key))
    }

    /// Inserts a reservation whose range `place` finds.
    fn insert(
        &mut self,
        from: Option<Key<Bound>>,
        len: u128,
        attributes: Attributes,
        place: impl FnOnce(&mut Self, Occupant) -> Result<RangeKey, Error>,
    ) -> Result<ReservationId, Error> {
        let key = self.reservations.insert(Reservation {
            choice: Choice::Fixed,
            place: Place::Floating,
            span: None,
            len,
            attributes,
            backing: Backing::None,
            ownership: Ownership::Held,
        })?;
        let range = match place(self, Occupant::Reservation(key)) {
            Ok(range) => range,
            Err(error) => {
                self.reservations.remove(key);
                return Err(error);
            }
        };
        let span = self.ranges_of(from)?.span_of(range);
        if let Some(bound) = from.and_then(|bound| self.bounds.get_mut(bound)) {
            bound.reservations += 1;
        }
        if let Some(reservation) = self.reservations.get_mut(key) {
            reservation.span = span;
            reservation.place = from.map_or(Place::Region(range), |bound| Place::Bound(bound, range));
        }
        Ok(self.reservation_id(key))
    }

    /// Gives up an unbacked reservation, or one in quarantine, which then goes when the reaper is done.
    ///
    /// # Errors
    /// As [`Graph::unreserve`](crate::Graph::unreserve).
    pub fn unreserve(&mut self, id: ReservationId) -> Result<(), Error> {
        let key = id.key;
        let reservation = self.reservation_mut(key)?;
        match reservation.backing {
            Backing::Mapped(link) => Err(Error::Backed { reservation: id, allocation: link.allocation }),
            Backing::Quarantined(_) => {
                reservation.ownership = Ownership::Abandoned;
                Ok(())
            }
            Backing::None => {
                self.remove(key);
                Ok(())
            }
        }
    }

    /// Removes a reservation and frees its addresses.
    pub(crate) fn remove(&mut self, key: Key<Reservation>) {
        let Some(reservation) = self.reservations.remove(key) else { return };
        self.release_place(reservation.place);
    }

    pub(crate) fn release_place(&mut self, place: Place) {
        match place {
            Place::Floating => {}
            Place::Region(range) => {
                self.ranges.remove(range);
            }
            Place::Bound(bound, range) => {
                if let Some(bound) = self.bounds.get_mut(bound) {
                    bound.ranges.remove(range);
                    bound.reservations -= 1;
                }
            }
        }
    }

    /// Makes a bound of `len` bytes.
    ///
    /// # Errors
    /// As [`Graph::create_bound`](crate::Graph::create_bound).
    pub fn create_bound(&mut self, len: u128) -> Result<BoundId, Error> {
        let len = whole_pages(self.usable.first(), len)?;
        let alignment = Alignment::Preferring(self.page_sizes.largest_within(len).unwrap_or(PAGE).max(PAGE));
        self.bounds.reserve(1)?;
        // The bound's key is known only once it is in the arena, and its place only once it is placed.
        let request = RangeRequest { len, alignment, within: self.usable };
        let (id, window) = (self.id, self.usable);
        let place = self
            .ranges
            .place(&request, Occupant::ReservedWindow)
            .map_err(|error| range_error(id, window, error))?;
        let span = self.ranges.span_of(place).unwrap_or(window);
        let key = self.bounds.insert_reserved(Bound {
            span,
            place,
            ranges: Ranges::new(span, PAGE),
            reservations: 0,
        });
        if let Some(occupant) = self.ranges.get_mut(place) {
            *occupant = Occupant::Bound(key);
        }
        Ok(self.bound_id(key))
    }

    /// Frees a bound.
    ///
    /// # Errors
    /// As [`Graph::free_bound`](crate::Graph::free_bound).
    pub fn free_bound(&mut self, id: BoundId) -> Result<(), Error> {
        let key = id.key;
        let bound = self.bounds.get(key).ok_or(Error::UnknownBound(id))?;
        if bound.reservations > 0 {
            return Err(Error::BoundInUse { bound: id, reservations: bound.reservations });
        }
        if bound.ranges.is_empty() {
            self.ranges.remove(bound.place);
        } else {
            // Reserved windows lie in it, and stay out. They change hands in a copy: all of them or none.
            let mut ranges = self.ranges.try_clone()?;
            ranges.remove(bound.place);
            for (_, window, _) in bound.ranges.iter() {
                ranges.place_at(window, Occupant::ReservedWindow).map_err(|_| crate::OutOfMemory)?;
            }
            self.ranges = ranges;
        }
        self.bounds.remove(key);
        Ok(())
    }

    /// The ranges of the bound `from`, or the region's own.
    fn ranges_of(&mut self, from: Option<Key<Bound>>) -> Result<&mut Ranges<Occupant>, Error> {
        match from {
            None => Ok(&mut self.ranges),
            Some(key) => {
                let unknown = Error::UnknownBound(self.bound_id(key));
                self.bounds.get_mut(key).map(|bound| &mut bound.ranges).ok_or(unknown)
            }
        }
    }

    /// The reservation that covers `address`, in a bound or not.
    pub(crate) fn find(&self, address: u64) -> Option<(Key<Reservation>, &Reservation)> {
        let (_, _, occupant) = self.ranges.find(address)?;
        let key = match occupant {
            Occupant::Reservation(key) => *key,
            Occupant::Bound(bound) => match self.bounds.get(*bound)?.ranges.find(address)? {
                (_, _, Occupant::Reservation(key)) => *key,
                _ => return None,
            },
            Occupant::ReservedWindow => return None,
        };
        self.reservations.get(key).map(|reservation| (key, reservation))
    }

    /// The reservations that share a byte with `span`, in bounds or not.
    pub(crate) fn reservations_in(&self, span: Span) -> impl Iterator<Item = Key<Reservation>> {
        let inside = |occupant: &Occupant| match occupant {
            Occupant::Reservation(key) => Some(*key),
            _ => None,
        };
        let direct = self.ranges.overlapping(span).filter_map(move |(_, _, occupant)| inside(occupant));
        let bound = self
            .bounds
            .iter()
            .flat_map(move |(_, bound)| bound.ranges.overlapping(span))
            .filter_map(move |(_, _, occupant)| inside(occupant));
        direct.chain(bound)
    }

    /// How many reservations wait for the hardware to finish.
    pub fn quarantined(&self) -> usize {
        let stuck = |reservation: &Reservation| matches!(reservation.backing, Backing::Quarantined(_));
        self.reservations.iter().filter(|(_, reservation)| stuck(reservation)).count()
    }

    fn holder(&self, occupant: Occupant) -> Holder {
        match occupant {
            Occupant::Bound(key) => Holder::Bound(self.bound_id(key)),
            Occupant::ReservedWindow => Holder::ReservedWindow,
            Occupant::Reservation(key) => match self.reservations.get(key) {
                Some(reservation) if reservation.ownership == Ownership::Abandoned => Holder::Quarantine,
                _ => Holder::Reservation(self.reservation_id(key)),
            },
        }
    }

    /// Who has a byte of `span`, if anybody.
    pub(crate) fn holder_of(&self, span: Span) -> Option<Holder> {
        self.ranges.overlapping(span).next().map(|(_, _, occupant)| self.holder(*occupant))
    }

    /// `len` bytes (whole pages) at `start`, inside the region.
    fn page_span(&self, start: u64, len: u128) -> Result<Span, Error> {
        if !start.is_multiple_of(PAGE) {
            return Err(Error::BadAlignment { value: start, unit: PAGE });
        }
        let bad = Error::BadLength { start, len, page: PAGE };
        let last = u64::try_from(u128::from(start) + len - 1).map_err(|_| bad)?;
        let span = Span::inclusive(start, last).ok_or(bad)?;
        if !self.usable.covers(span) {
            return Err(Error::OutsideRegion { region: self.id, window: self.usable, asked: span });
        }
        Ok(span)
    }

    /// What keeps the region from being freed, as the error that says so.
    pub fn users(&self) -> Option<Error> {
        let quarantined = self.quarantined();
        // Those in quarantine are counted as such.
        let held = |reservation: &Reservation| {
            reservation.ownership == Ownership::Held
                && !matches!(reservation.backing, Backing::Quarantined(_))
        };
        let reservations = self.reservations.iter().filter(|(_, reservation)| held(reservation)).count();
        let (bounds, associations) = (self.bounds.len(), self.associations);
        (reservations + bounds + associations + quarantined > 0).then_some(Error::RegionInUse {
            region: self.id,
            reservations,
            bounds,
            associations,
            quarantined,
        })
    }
}

/// `len` rounded up to whole pages; an error when it is zero or longer than a 64-bit space.
pub(crate) fn whole_pages(start: u64, len: u128) -> Result<u128, Error> {
    let page = u128::from(PAGE);
    if len == 0 || len > 1 << 64 {
        return Err(Error::BadLength { start, len, page: PAGE });
    }
    Ok(len.div_ceil(page) * page)
}

/// What a refused range means for the region. Conflicts are found before, with their holders.
fn range_error(region: RegionId, window: Span, error: RangeError) -> Error {
    match error {
        RangeError::OutOfMemory(error) => Error::OutOfMemory(error),
        RangeError::NoSpace { asked, largest, free, .. } => {
            Error::NoSpace { region, len: asked, largest, free }
        }
        RangeError::Occupied { asked, .. } => Error::Occupied { region, asked, holder: Holder::Quarantine },
        RangeError::OutOfWindow { asked, .. } => Error::OutsideRegion { region, window, asked },
        RangeError::Misaligned { asked, granule } => {
            Error::BadAlignment { value: asked.first(), unit: granule }
        }
        RangeError::BadAlignment { asked } => Error::BadAlignment { value: asked, unit: PAGE },
        RangeError::BadLength { asked, granule } => {
            Error::BadLength { start: window.first(), len: asked, page: granule }
        }
    }
}
