//! A contiguous range of a region, and what backs it.

use crate::allocation::Mapper;
use crate::bound::Bound;
use crate::error::Error;
use crate::id::{AllocationId, ReservationId};
use crate::range::RangeKey;
use crate::region::Region;
use crate::storage::Key;
use crate::{Attributes, RegionAddress, Span};

/// Where a reservation's addresses come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// From the region.
    Region(RangeKey),
    /// From a bound of the region.
    Bound(Key<Bound>, RangeKey),
    /// From nowhere yet: a one-to-one reservation takes the address of its memory when it is backed.
    Floating,
}

/// What is known of a reservation's memory.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Backing {
    /// There is none.
    None,
    /// It is mapped.
    Mapped(Link),
    /// It was to be unmapped (or could not be mapped whole), and the hardware has not finished. Translations may
    /// still reach the memory.
    Quarantined(Link),
}

/// The memory behind a reservation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) allocation: AllocationId,
    /// The first byte of the allocation that is mapped.
    pub(crate) offset: u64,
    /// The allocation's note of this reservation.
    pub(crate) mapper: Key<Mapper>,
    /// The addresses that it is mapped at.
    pub(crate) span: Span,
}

/// Whether anybody still has the reservation's identifier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ownership {
    /// Yes.
    Held,
    /// No: it was given up while in quarantine, and goes when the reaper is done with it.
    Abandoned,
}

/// Who chose a reservation's address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Choice {
    /// The caller or the region: it is the reservation's for good.
    Fixed,
    /// The memory, in a one-to-one region: it comes and goes with the backing.
    FollowsMemory,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Reservation {
    pub(crate) choice: Choice,
    pub(crate) place: Place,
    /// Its addresses; `None` while it floats.
    pub(crate) span: Option<Span>,
    /// In bytes; a whole number of pages.
    pub(crate) len: u128,
    pub(crate) attributes: Attributes,
    pub(crate) backing: Backing,
    pub(crate) ownership: Ownership,
}

impl Reservation {
    /// The link to its memory, in quarantine or not.
    pub(crate) const fn link(&self) -> Option<Link> {
        match self.backing {
            Backing::None => None,
            Backing::Mapped(link) | Backing::Quarantined(link) => Some(link),
        }
    }
}

impl Region {
    /// The attributes of a reservation.
    ///
    /// # Errors
    /// [`Error::UnknownReservation`].
    pub fn attributes(&self, id: ReservationId) -> Result<Attributes, Error> {
        Ok(self.reservation(id.key)?.attributes)
    }

    /// Changes the attributes of an unbacked reservation.
    ///
    /// # Errors
    /// As [`Graph::set_reservation_attributes`](crate::Graph::set_reservation_attributes).
    pub fn set_attributes(&mut self, id: ReservationId, attributes: Attributes) -> Result<(), Error> {
        let found = self.reservation_mut(id.key)?;
        match found.link() {
            Some(link) => Err(Error::Backed { reservation: id, allocation: link.allocation }),
            None => {
                found.attributes = attributes;
                Ok(())
            }
        }
    }

    /// The address of a reservation.
    ///
    /// # Errors
    /// As [`Graph::device_address`](crate::Graph::device_address).
    pub fn device_address(&self, id: ReservationId) -> Result<RegionAddress, Error> {
        let span = self.reservation(id.key)?.span.ok_or(Error::NoAddressYet(id))?;
        Ok(self.kind.address(span.first()))
    }

    /// The allocation behind a reservation, in quarantine or not.
    ///
    /// # Errors
    /// [`Error::NotBacked`], [`Error::UnknownReservation`].
    pub fn allocation_behind(&self, id: ReservationId) -> Result<AllocationId, Error> {
        self.reservation(id.key)?.link().map(|link| link.allocation).ok_or(Error::NotBacked(id))
    }

    /// The reservation that covers `address`, backed or not.
    pub fn reservation_at(&self, address: u64) -> Option<ReservationId> {
        let (key, found) = self.find(address)?;
        (found.ownership == Ownership::Held).then(|| self.reservation_id(key))
    }
}
