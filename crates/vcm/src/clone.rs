//! The deep copy of a region.

use crate::allocation::{Allocation, Mapper, MapperState};
use crate::bound::Bound;
use crate::error::Error;
use crate::id::{AllocationId, RegionId};
use crate::lookup::Lookup;
use crate::region::Region;
use crate::reservation::{Backing, Choice, Link, Ownership, Place, Reservation};
use crate::storage::{Key, List};

impl Region {
    /// A copy that will be known as `id`: the same bounds and reservations at the same addresses, no associations.
    /// Its backings are not known to their memory yet: [`Region::adopt_backings`] is to follow.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn try_clone(&self, id: RegionId, label: &str) -> Result<Self, Error> {
        let bounds = self.bounds.try_map(|bound| {
            Ok(Bound {
                span: bound.span,
                place: bound.place,
                ranges: bound.ranges.try_clone()?,
                reservations: bound.reservations,
            })
        })?;
        Ok(Self {
            id,
            label: label.into(),
            kind: self.kind,
            window: self.window,
            usable: self.usable,
            page_sizes: self.page_sizes,
            ranges: self.ranges.try_clone()?,
            reservations: self.reservations.try_clone()?,
            bounds,
            spaces: List::new(),
            associations: 0,
        })
    }

    /// Makes the memory behind a copy's reservations know of them. What the original has in quarantine, the copy,
    /// which is mapped nowhere, does not have at all.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; no memory knows of the copy then, and it can be dropped.
    pub fn adopt_backings(
        &mut self,
        allocations: &mut dyn Lookup<AllocationId, Allocation>,
    ) -> Result<(), Error> {
        for slot in 0..self.reservations.slots() {
            let Some(key) = self.reservations.key_at(slot) else { continue };
            if let Err(error) = self.adopt_backing(key, allocations) {
                self.disown_backings(slot, allocations);
                return Err(error);
            }
        }
        Ok(())
    }

    fn adopt_backing(
        &mut self,
        key: Key<Reservation>,
        allocations: &mut dyn Lookup<AllocationId, Allocation>,
    ) -> Result<(), Error> {
        let Some(reservation) = self.reservations.get(key).copied() else { return Ok(()) };
        if reservation.ownership == Ownership::Abandoned {
            self.remove(key);
            return Ok(());
        }
        match reservation.backing {
            Backing::None => {}
            Backing::Quarantined(_) => self.forget_backing(key),
            Backing::Mapped(link) => {
                let mapper = Mapper {
                    reservation: self.reservation_id(key),
                    offset: link.offset,
                    len: reservation.len as u64,
                    attributes: reservation.attributes,
                    state: MapperState::Live,
                };
                let mut inserted = Err(Error::UnknownAllocation(link.allocation));
                allocations.visit(link.allocation, &mut |allocation| {
                    inserted = allocation.mappers.insert(mapper).map_err(Error::from);
                });
                let mapper = inserted?;
                if let Some(reservation) = self.reservations.get_mut(key) {
                    reservation.backing = Backing::Mapped(Link { mapper, ..link });
                }
            }
        }
        Ok(())
    }

    /// Makes the memory behind the reservations in the slots before `end` forget them.
    fn disown_backings(&mut self, end: u32, allocations: &mut dyn Lookup<AllocationId, Allocation>) {
        for slot in 0..end {
            let Some(key) = self.reservations.key_at(slot) else { continue };
            let Some(link) = self.reservations.get(key).and_then(Reservation::link) else { continue };
            allocations.visit(link.allocation, &mut |allocation| {
                allocation.mappers.remove(link.mapper);
            });
        }
    }

    /// Makes a reservation of a copy unbacked, and takes the address back from one that follows its memory.
    fn forget_backing(&mut self, key: Key<Reservation>) {
        let Some(reservation) = self.reservations.get_mut(key) else { return };
        reservation.backing = Backing::None;
        if reservation.choice == Choice::FollowsMemory {
            let place = core::mem::replace(&mut reservation.place, Place::Floating);
            reservation.span = None;
            self.release_place(place);
        }
    }
}
