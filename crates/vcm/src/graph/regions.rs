//! Regions and bounds.

use super::Graph;
use crate::Span;
use crate::allocation::{Mapper, MapperState};
use crate::bound::Bound;
use crate::error::Error;
use crate::id::{BoundId, DeviceId, RegionId};
use crate::region::{Region, RegionRequest};
use crate::reservation::{Backing, Link, Ownership, Reservation};
use crate::storage::{Arena, Key, List};

impl Graph {
    /// Makes a region: an address space from which reservations are made.
    ///
    /// # Errors
    /// [`Error::BadLength`] when the window holds no whole page; [`Error::OutOfMemory`].
    pub fn create_region(&mut self, request: &RegionRequest) -> Result<RegionId, Error> {
        self.regions.reserve(1)?;
        // The window is judged before the region takes its place.
        let id = self.regions.insert_with(|key| Region::new(RegionId(key), request))?;
        Ok(RegionId(id))
    }

    /// Makes a region over an address space that exists already: the one of `device`, a CPU whose virtual memory
    /// manager lends `window` to the graph.
    ///
    /// # Errors
    /// [`Error::UnknownDevice`]; otherwise as [`Graph::create_region`].
    pub fn create_prebuilt_region(
        &mut self,
        label: &str,
        device: DeviceId,
        window: Span,
    ) -> Result<RegionId, Error> {
        let kind = self.devices.device(device)?.kind;
        self.create_region(&RegionRequest::new(label, kind, window))
    }

    /// Makes a deep copy of a region: its bounds, reservations and backings, at the same addresses. From then on
    /// each changes for itself. The copy has no associations.
    ///
    /// An object of the copy has the identifier of the original with the copy's region in it:
    /// [`ReservationId::in_clone`](crate::ReservationId::in_clone).
    ///
    /// # Errors
    /// [`Error::UnknownRegion`], [`Error::OutOfMemory`].
    pub fn clone_region(&mut self, id: RegionId, label: &str) -> Result<RegionId, Error> {
        self.regions.reserve(1)?;
        let original = self.regions.get(id.0).ok_or(Error::UnknownRegion(id))?;
        let copy = Region {
            id,
            label: label.into(),
            kind: original.kind,
            window: original.window,
            usable: original.usable,
            page_sizes: original.page_sizes,
            ranges: original.ranges.try_clone()?,
            reservations: original.reservations.try_clone()?,
            bounds: Arena::new(),
            spaces: List::new(),
            associations: 0,
        };
        let bounds = original.bounds.try_map(|bound| {
            Ok(Bound {
                span: bound.span,
                place: bound.place,
                ranges: bound.ranges.try_clone()?,
                reservations: bound.reservations,
            })
        })?;
        let key = self.regions.insert_reserved(Region { bounds, ..copy });
        let clone = RegionId(key);
        if let Some(region) = self.regions.get_mut(key) {
            region.id = clone;
        }
        if let Err(error) = self.adopt_backings(clone) {
            self.forget_clone(clone);
            return Err(error);
        }
        Ok(clone)
    }

    /// Makes the memory behind a clone's reservations know of them. What the original has in quarantine, the
    /// clone, which is mapped nowhere yet, does not have at all.
    fn adopt_backings(&mut self, clone: RegionId) -> Result<(), Error> {
        let region = self.regions.get_mut(clone.0).ok_or(Error::UnknownRegion(clone))?;
        for slot in 0..region.reservations.slots() {
            let Some(key) = region.reservations.key_at(slot) else { continue };
            let Some(reservation) = region.reservations.get(key).copied() else { continue };
            if reservation.ownership == Ownership::Abandoned {
                region.remove(key);
                continue;
            }
            let backing = match reservation.backing {
                Backing::Mapped(link) => {
                    let allocation = self
                        .allocations
                        .get_mut(link.allocation.0)
                        .ok_or(Error::UnknownAllocation(link.allocation))?;
                    let mapper = allocation.mappers.insert(Mapper {
                        reservation: region.reservation_id(key),
                        offset: link.offset,
                        len: reservation.len as u64,
                        attributes: reservation.attributes,
                        state: MapperState::Live,
                    })?;
                    Backing::Mapped(Link { mapper, ..link })
                }
                Backing::Quarantined(_) | Backing::None => Backing::None,
            };
            if let Some(place) = region.reservations.get_mut(key) {
                place.backing = backing;
            }
            if matches!((reservation.backing, backing), (Backing::Quarantined(_), Backing::None)) {
                region.unfloat(key);
            }
        }
        Ok(())
    }

    /// Takes back a clone that could not be completed.
    fn forget_clone(&mut self, clone: RegionId) {
        let Some(region) = self.regions.remove(clone.0) else { return };
        for (key, reservation) in region.reservations.iter() {
            let Some(link) = reservation.link() else { continue };
            let Some(allocation) = self.allocations.get_mut(link.allocation.0) else { continue };
            // Only a mapper of the clone itself: those not adopted yet still carry the original's key.
            let of_clone = crate::ReservationId { region: clone, key };
            if allocation.mappers.get(link.mapper).is_some_and(|mapper| mapper.reservation == of_clone) {
                allocation.mappers.remove(link.mapper);
            }
        }
    }

    /// Frees a region.
    ///
    /// # Errors
    /// [`Error::RegionInUse`] while reservations, bounds, associations (active or not) or ranges in quarantine hang
    /// on it; [`Error::UnknownRegion`].
    pub fn free_region(&mut self, id: RegionId) -> Result<(), Error> {
        match self.region_ref(id)?.users() {
            Some(error) => Err(error),
            None => {
                self.regions.remove(id.0);
                Ok(())
            }
        }
    }

    /// Makes a bound: a sub-range of `len` bytes (rounded up to whole pages), aligned for the largest page, that
    /// reservations are made from with [`Graph::reserve_from_bound`].
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::BadLength`], [`Error::UnknownRegion`], [`Error::OutOfMemory`].
    pub fn create_bound(&mut self, region: RegionId, len: impl Into<u128>) -> Result<BoundId, Error> {
        self.region_mut(region)?.create_bound(len.into())
    }

    /// Frees a bound.
    ///
    /// # Errors
    /// [`Error::BoundInUse`] while it is reserved from; [`Error::UnknownBound`], [`Error::UnknownRegion`].
    pub fn free_bound(&mut self, bound: BoundId) -> Result<(), Error> {
        self.region_mut(bound.region)?.free_bound(bound.key)
    }

    /// The addresses of a bound.
    ///
    /// # Errors
    /// [`Error::UnknownBound`], [`Error::UnknownRegion`].
    pub fn bound_span(&self, bound: BoundId) -> Result<Span, Error> {
        let found = self.region_ref(bound.region)?.bounds.get(bound.key);
        found.map(|bound| bound.span).ok_or(Error::UnknownBound(bound))
    }
}

impl Region {
    /// Takes the address back from an unbacked reservation that follows its memory.
    fn unfloat(&mut self, key: Key<Reservation>) {
        let Some(reservation) = self.reservations.get_mut(key) else { return };
        if reservation.choice == crate::reservation::Choice::FollowsMemory {
            let place = core::mem::replace(&mut reservation.place, crate::reservation::Place::Floating);
            reservation.span = None;
            self.release_place(place);
        }
    }
}
