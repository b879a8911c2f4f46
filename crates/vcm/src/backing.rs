//! Backing: an allocation mapped at a reservation. Plan, commit, and the way back.

use crate::allocation::{Allocation, Mapper, MapperState};
use crate::error::{Error, Holder};
use crate::hardware::{Hardware, HardwareError, HardwareErrorKind};
use crate::id::{AllocationId, ReservationId};
use crate::region::{Occupant, Region};
use crate::reservation::{Backing, Choice, Link, Ownership, Place, Reservation};
use crate::storage::Key;
use crate::teardown::Teardown;
use crate::{Label, RegionKind, SpaceHandle, Span};

/// Which bytes of an allocation a reservation is backed with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// All of it; the lengths have to be equal.
    Whole,
    /// As many as the reservation has, from this offset (in bytes, whole pages) on.
    From(u64),
}

/// A backing that was checked, and for which everything was reserved that the graph itself needs.
///
/// Having one tells that nobody can change the reservation or the allocation, and that only the hardware can
/// refuse now. Nothing has been changed yet: dropping the plan leaves no trace.
#[derive(Debug)]
#[must_use = "a plan does nothing until it is committed"]
pub struct BackPlan<'g> {
    region: &'g mut Region,
    key: Key<Reservation>,
    allocation: &'g mut Allocation,
    allocation_id: AllocationId,
    offset: u64,
    len: u64,
    span: Span,
}

impl<'g> BackPlan<'g> {
    /// Checks the backing of reservation `id` of `region` with `allocation`, which is known as `allocation_id`.
    ///
    /// # Errors
    /// As [`Graph::plan_back`](crate::Graph::plan_back).
    pub fn new(
        region: &'g mut Region,
        id: ReservationId,
        allocation: &'g mut Allocation,
        allocation_id: AllocationId,
        extent: Extent,
    ) -> Result<Self, Error> {
        let key = id.key;
        if allocation.ownership == Ownership::Abandoned {
            return Err(Error::UnknownAllocation(allocation_id));
        }
        let reservation = *region.reservation(key)?;
        if let Some(link) = reservation.link() {
            return Err(Error::Backed { reservation: id, allocation: link.allocation });
        }
        let offset = match extent {
            Extent::Whole => 0,
            Extent::From(offset) => offset,
        };
        if !offset.is_multiple_of(crate::region::PAGE) {
            return Err(Error::BadAlignment { value: offset, unit: crate::region::PAGE });
        }
        let offered = allocation.len.saturating_sub(offset);
        let agrees = match extent {
            Extent::Whole => reservation.len == u128::from(offered),
            Extent::From(_) => reservation.len <= u128::from(offered),
        };
        if !agrees {
            return Err(Error::LengthMismatch {
                reservation: id,
                reserved: reservation.len,
                allocation: allocation_id,
                offered,
                offset,
            });
        }
        let len = reservation.len as u64;
        allocation.admit(allocation_id, id, offset, len, reservation.attributes)?;
        let span = match (region.kind, reservation.span) {
            (RegionKind::OneToOne, place) => {
                one_to_one(region, key, place, allocation, allocation_id, offset, len)?
            }
            (_, Some(span)) => span,
            (_, None) => return Err(Error::NoAddressYet(id)),
        };
        allocation.mappers.reserve(1)?;
        Ok(Self { region, key, allocation, allocation_id, offset, len, span })
    }

    /// The addresses that the memory will have in the region.
    pub const fn span(&self) -> Span {
        self.span
    }

    /// Makes it so, in every space of the region.
    ///
    /// # Errors
    /// [`Error::Hardware`] when the hardware refused: nothing was changed. [`Error::Quarantined`] when it failed
    /// half-way and could not be undone: the reservation is in quarantine. [`Error::OutOfMemory`].
    pub fn commit(self, hardware: &mut dyn Hardware) -> Result<(), Error> {
        let Self { region, key, allocation, allocation_id, offset, len, span } = self;
        let id = region.reservation_id(key);
        let (attributes, place) = region.reservation(key).map(|found| (found.attributes, found.place))?;
        let place = match place {
            // A one-to-one reservation takes the address of its memory.
            Place::Floating => {
                let range = region
                    .ranges
                    .place_at(span, Occupant::Reservation(key))
                    .map_err(|_| Error::OutOfMemory(crate::OutOfMemory))?;
                Place::Region(range)
            }
            placed => placed,
        };
        let mapped = map_everywhere(
            region,
            hardware,
            |hardware, space| hardware.map(space, span.first(), allocation.segments(offset, len), attributes),
            span,
        );
        let state = match mapped {
            Ok(()) => MapperState::Live,
            Err(MapFailure::Undone(error)) => {
                // Only a one-to-one reservation was placed just now, and its region has no space that can refuse.
                debug_assert!(region.spaces.is_empty() || region.kind != RegionKind::OneToOne);
                return Err(Error::Hardware { doing: "backing", error });
            }
            Err(MapFailure::Stuck(_)) => MapperState::Quarantined,
        };
        let mapper =
            allocation.mappers.insert_reserved(Mapper { reservation: id, offset, len, attributes, state });
        let link = Link { allocation: allocation_id, offset, mapper, span };
        if let Ok(reservation) = region.reservation_mut(key) {
            reservation.place = place;
            reservation.span = Some(span);
            reservation.backing = match state {
                MapperState::Live => Backing::Mapped(link),
                MapperState::Quarantined => Backing::Quarantined(link),
            };
        }
        match mapped {
            Err(MapFailure::Stuck(error)) => {
                Err(Error::Quarantined { doing: "backing", what: Holder::Reservation(id), error })
            }
            _ => Ok(()),
        }
    }
}

/// Where a one-to-one reservation lies with this memory.
fn one_to_one(
    region: &Region,
    key: Key<Reservation>,
    placed: Option<Span>,
    allocation: &Allocation,
    allocation_id: AllocationId,
    offset: u64,
    len: u64,
) -> Result<Span, Error> {
    let id = region.reservation_id(key);
    let span = allocation
        .contiguous(offset, len)
        .ok_or(Error::NotContiguous { reservation: id, allocation: allocation_id })?;
    match placed {
        Some(placed) if placed == span => Ok(span),
        Some(placed) => Err(Error::AddressMismatch {
            reservation: id,
            reserved: placed.first(),
            memory: crate::PhysicalAddress::new(span.first()),
        }),
        None if !region.usable.covers(span) => {
            Err(Error::OutsideRegion { region: region.id, window: region.usable, asked: span })
        }
        None => match region.holder_of(span) {
            Some(holder) => Err(Error::Occupied { region: region.id, asked: span, holder }),
            None => Ok(span),
        },
    }
}

enum MapFailure {
    /// Nothing is mapped anywhere.
    Undone(HardwareError),
    /// Something is mapped, and the hardware does not let go of it.
    Stuck(HardwareError),
}

/// Maps in every space of the region, or in none.
fn map_everywhere(
    region: &Region,
    hardware: &mut dyn Hardware,
    mut map: impl FnMut(&mut dyn Hardware, SpaceHandle) -> Result<(), HardwareError>,
    span: Span,
) -> Result<(), MapFailure> {
    for (index, space) in region.spaces.iter().enumerate() {
        let Err(error) = map(hardware, space.handle) else { continue };
        let touched = if error.kind == HardwareErrorKind::HalfDone { index + 1 } else { index };
        let mut stuck = None;
        for done in &region.spaces[..touched] {
            if let Err(error) = unmap(hardware, done.handle, span) {
                stuck = Some(error);
            }
        }
        return Err(stuck.map_or(MapFailure::Undone(error), MapFailure::Stuck));
    }
    Ok(())
}

/// Unmaps, and checks that the receipt is for what was asked.
pub(crate) fn unmap(
    hardware: &mut dyn Hardware,
    space: SpaceHandle,
    span: Span,
) -> Result<(), HardwareError> {
    match hardware.unmap(space, span) {
        Ok(receipt) if receipt.space() == space && receipt.span() == span => Ok(()),
        // A receipt for something else proves nothing.
        Ok(_) => Err(HardwareError { kind: HardwareErrorKind::HalfDone, at: Label::new("receipt") }),
        Err(unfinished) => Err(unfinished.error),
    }
}

/// Takes the memory from a reservation: `allocation` is what is behind it. What the hardware does not finish goes
/// into quarantine.
pub fn unback(
    region: &mut Region,
    id: ReservationId,
    allocation: &mut Allocation,
    hardware: &mut dyn Hardware,
) -> Teardown {
    let key = id.key;
    let Some(reservation) = region.reservations.get(key) else { return Teardown::NothingThere };
    let Some(link) = reservation.link() else { return Teardown::NothingThere };
    let mut quiet = true;
    for space in &region.spaces {
        quiet &= unmap(hardware, space.handle, link.span).is_ok();
    }
    if quiet {
        release(region, key, allocation, link.mapper);
        return Teardown::Done;
    }
    if let Some(mapper) = allocation.mappers.get_mut(link.mapper) {
        mapper.state = MapperState::Quarantined;
    }
    if let Some(reservation) = region.reservations.get_mut(key) {
        reservation.backing = Backing::Quarantined(link);
    }
    Teardown::Quarantined
}

/// Makes a reservation unbacked whose memory no space maps any more.
pub(crate) fn release(
    region: &mut Region,
    key: Key<Reservation>,
    allocation: &mut Allocation,
    mapper: Key<Mapper>,
) {
    allocation.mappers.remove(mapper);
    let Some(reservation) = region.reservations.get_mut(key) else { return };
    reservation.backing = Backing::None;
    let (place, ownership) = (reservation.place, reservation.ownership);
    if ownership == Ownership::Abandoned {
        region.remove(key);
    } else if reservation.choice == Choice::FollowsMemory {
        reservation.place = Place::Floating;
        reservation.span = None;
        region.release_place(place);
    }
}
