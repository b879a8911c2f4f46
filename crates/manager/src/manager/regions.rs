//! Regions and bounds, and the reservations made from them.

use super::{Locked, Manager};
use vcm::parts::Region;
use vcm::{
    Attributes, BoundId, Error, Hardware, Key, RegionAddress, RegionId, RegionRequest, ReservationId,
    ReservationRequest,
};

impl<H> Manager<H>
where
    for<'a> &'a H: Hardware,
{
    /// As [`Graph::create_region`](vcm::Graph::create_region).
    ///
    /// # Errors
    /// As there.
    pub fn create_region(&self, request: &RegionRequest) -> Result<RegionId, Error> {
        let make = |key: Key<Region>| Region::new(RegionId::from_key(key), request);
        self.regions.insert_with(make).map(RegionId::from_key)
    }

    /// As [`Graph::clone_region`](vcm::Graph::clone_region).
    ///
    /// # Errors
    /// As there.
    pub fn clone_region(&self, id: RegionId, label: &str) -> Result<RegionId, Error> {
        let make = |key: Key<Region>| {
            // The original stays locked until the memory knows of the copy: nobody un-backs in between.
            self.with_region(id, |original| {
                let mut copy = original.try_clone(RegionId::from_key(key), label)?;
                copy.adopt_backings(&mut Locked(&self.allocations))?;
                Ok(copy)
            })
        };
        self.regions.insert_with(make).map(RegionId::from_key)
    }

    /// As [`Graph::free_region`](vcm::Graph::free_region).
    ///
    /// # Errors
    /// As there.
    pub fn free_region(&self, id: RegionId) -> Result<(), Error> {
        let decide = |region: &mut Region| region.users().map_or(Ok(()), Err);
        self.regions.remove_if(id.key(), decide).unwrap_or(Err(Error::UnknownRegion(id))).map(drop)
    }

    /// As [`Graph::create_bound`](vcm::Graph::create_bound).
    ///
    /// # Errors
    /// As there.
    pub fn create_bound(&self, region: RegionId, len: impl Into<u128>) -> Result<BoundId, Error> {
        self.with_region(region, |region| region.create_bound(len.into()))
    }

    /// As [`Graph::free_bound`](vcm::Graph::free_bound).
    ///
    /// # Errors
    /// As there.
    pub fn free_bound(&self, bound: BoundId) -> Result<(), Error> {
        self.with_region(bound.region(), |region| region.free_bound(bound))
    }

    /// As [`Graph::reserve`](vcm::Graph::reserve).
    ///
    /// # Errors
    /// As there.
    pub fn reserve(
        &self,
        region: RegionId,
        len: impl Into<u128>,
        attributes: Attributes,
    ) -> Result<ReservationId, Error> {
        self.reserve_with(region, &ReservationRequest::new(len, attributes))
    }

    /// As [`Graph::reserve_with`](vcm::Graph::reserve_with).
    ///
    /// # Errors
    /// As there.
    pub fn reserve_with(
        &self,
        region: RegionId,
        request: &ReservationRequest,
    ) -> Result<ReservationId, Error> {
        self.with_region(region, |region| region.reserve(None, request))
    }

    /// As [`Graph::reserve_from_bound`](vcm::Graph::reserve_from_bound).
    ///
    /// # Errors
    /// As there.
    pub fn reserve_from_bound(
        &self,
        bound: BoundId,
        request: &ReservationRequest,
    ) -> Result<ReservationId, Error> {
        self.with_region(bound.region(), |region| region.reserve(Some(bound), request))
    }

    /// As [`Graph::reserve_at`](vcm::Graph::reserve_at).
    ///
    /// # Errors
    /// As there.
    pub fn reserve_at(
        &self,
        region: RegionId,
        start: u64,
        len: impl Into<u128>,
        attributes: Attributes,
    ) -> Result<ReservationId, Error> {
        self.with_region(region, |region| region.reserve_at(start, len.into(), attributes))
    }

    /// As [`Graph::unreserve`](vcm::Graph::unreserve).
    ///
    /// # Errors
    /// As there.
    pub fn unreserve(&self, reservation: ReservationId) -> Result<(), Error> {
        self.with_region(reservation.region(), |region| region.unreserve(reservation))
    }

    /// As [`Graph::reservation_attributes`](vcm::Graph::reservation_attributes).
    ///
    /// # Errors
    /// As there.
    pub fn reservation_attributes(&self, reservation: ReservationId) -> Result<Attributes, Error> {
        self.with_region(reservation.region(), |region| region.attributes(reservation))
    }

    /// As [`Graph::set_reservation_attributes`](vcm::Graph::set_reservation_attributes).
    ///
    /// # Errors
    /// As there.
    pub fn set_reservation_attributes(
        &self,
        reservation: ReservationId,
        attributes: Attributes,
    ) -> Result<(), Error> {
        self.with_region(reservation.region(), |region| region.set_attributes(reservation, attributes))
    }

    /// As [`Graph::device_address`](vcm::Graph::device_address).
    ///
    /// # Errors
    /// As there.
    pub fn device_address(&self, reservation: ReservationId) -> Result<RegionAddress, Error> {
        self.with_region(reservation.region(), |region| region.device_address(reservation))
    }
}
