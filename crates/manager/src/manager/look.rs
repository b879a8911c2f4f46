//! Looking at the graph while others change it.

use super::Manager;
use vcm::parts::Region;
use vcm::{
    AllocationId, Error, Hardware, Label, MapperInfo, RegionAddress, RegionId, RegionInfo, RegionKind,
    ReservationId, ReservationInfo, ReservationState,
};

impl<H> Manager<H>
where
    for<'a> &'a H: Hardware,
{
    /// As [`Graph::regions`](vcm::Graph::regions); each was so at one moment, and not all at the same one.
    pub fn regions(&self) -> Vec<RegionInfo> {
        self.regions
            .keys()
            .into_iter()
            .filter_map(|key| self.regions.with(key, |region| region.info()))
            .collect()
    }

    /// As [`Graph::region`](vcm::Graph::region).
    ///
    /// # Errors
    /// As there.
    pub fn region(&self, id: RegionId) -> Result<RegionInfo, Error> {
        self.with_region(id, |region| Ok(region.info()))
    }

    /// As [`Graph::reservations`](vcm::Graph::reservations), all at one moment.
    ///
    /// # Errors
    /// [`Error::UnknownRegion`].
    pub fn reservations(&self, region: RegionId) -> Result<Vec<ReservationInfo>, Error> {
        self.with_region(region, |region| Ok(region.reservations().collect()))
    }

    /// As [`Graph::reservation`](vcm::Graph::reservation); visits the reservations of its region.
    ///
    /// # Errors
    /// As there.
    pub fn reservation(&self, id: ReservationId) -> Result<ReservationInfo, Error> {
        self.with_region(id.region(), |region| {
            // Those that were given up are still among the region's reservations, but nobody's any more.
            region.attributes(id)?;
            info(region, id).ok_or(Error::UnknownReservation(id))
        })
    }

    /// As [`Graph::reservation_at`](vcm::Graph::reservation_at).
    pub fn reservation_at(&self, region: RegionId, address: u64) -> Option<ReservationId> {
        self.regions.with(region.key(), |region| region.reservation_at(address))?
    }

    /// As [`Graph::allocation_behind`](vcm::Graph::allocation_behind).
    ///
    /// # Errors
    /// As there.
    pub fn allocation_behind(&self, id: ReservationId) -> Result<AllocationId, Error> {
        self.with_region(id.region(), |region| region.allocation_behind(id))
    }

    /// As [`Graph::mappers`](vcm::Graph::mappers), region by region: each was so at one moment, and not all at the
    /// same one. Visits every reservation.
    pub fn mappers(&self, id: AllocationId) -> Vec<MapperInfo> {
        let mut mappers = Vec::new();
        for key in self.regions.keys() {
            self.regions.with(key, |region| {
                let kind = region.info().kind;
                mappers.extend(region.reservations().filter_map(|found| mapper(kind, &found, id)));
            });
        }
        mappers
    }

    /// As [`Graph::address_in`](vcm::Graph::address_in). The two regions are locked one after the other: the
    /// address led there at a moment in the second that came after one at which `address` did in the first. Visits
    /// the reservations of both.
    pub fn address_in(&self, from: RegionId, address: u64, to: RegionId) -> Option<RegionAddress> {
        let (memory, byte) = self.regions.with(from.key(), |region| {
            let found = info(region, region.reservation_at(address)?)?;
            let ReservationState::Backed { allocation, offset } = found.state else { return None };
            Some((allocation, offset + (address - found.span?.first())))
        })??;
        self.regions.with(to.key(), |region| {
            let there = region.reservations().filter_map(|found| {
                let ReservationState::Backed { allocation, offset } = found.state else { return None };
                let into = byte.checked_sub(offset).filter(|into| u128::from(*into) < found.len)?;
                (allocation == memory).then_some(found.span?.first() + into)
            });
            there.min().map(|raw| region.info().kind.address(raw))
        })?
    }

    /// The names and lengths (in bytes) of all allocations, those that wait for the reaper included. Each was so at one
    /// moment, and not all at the same one.
    pub fn allocations(&self) -> Vec<(AllocationId, Label, u64)> {
        let info = |key| {
            let id = AllocationId::from_key(key);
            self.allocations.with(key, |memory| (id, memory.label(), memory.len()))
        };
        self.allocations.keys().into_iter().filter_map(info).collect()
    }
}

/// What there is to know of a reservation, one that was given up and is in quarantine included.
fn info(region: &Region, id: ReservationId) -> Option<ReservationInfo> {
    region.reservations().find(|found| found.id == id)
}

/// The mapping of `memory` by a reservation of a region of `kind`, if it is one.
fn mapper(kind: RegionKind, found: &ReservationInfo, memory: AllocationId) -> Option<MapperInfo> {
    let (allocation, offset, quarantined) = match found.state {
        ReservationState::Unbacked => return None,
        ReservationState::Backed { allocation, offset } => (allocation, offset, false),
        ReservationState::Quarantined { allocation, offset } => (allocation, offset, true),
    };
    (allocation == memory).then(|| MapperInfo {
        reservation: found.id,
        address: found.span.map(|span| kind.address(span.first())),
        offset,
        // As long as memory: it does not exceed 64 bits.
        len: found.len as u64,
        attributes: found.attributes,
        quarantined,
    })
}
