//! Reservations, and what backs them.

use super::Graph;
use crate::backing::{BackPlan, Extent, unback};
use crate::error::Error;
use crate::hardware::Hardware;
use crate::id::{AllocationId, BoundId, RegionId, ReservationId};
use crate::region::ReservationRequest;
use crate::teardown::Teardown;
use crate::{Attributes, RegionAddress};

impl Graph {
    /// Reserves `len` bytes (rounded up to whole pages) anywhere in a region, aligned for the largest page that
    /// fits. Nothing is mapped yet.
    ///
    /// In a one-to-one region the reservation has no address until it is backed: it takes that of its memory.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::BadLength`], [`Error::UnknownRegion`], [`Error::OutOfMemory`].
    pub fn reserve(
        &mut self,
        region: RegionId,
        len: impl Into<u128>,
        attributes: Attributes,
    ) -> Result<ReservationId, Error> {
        self.reserve_with(region, &ReservationRequest::new(len, attributes))
    }

    /// As [`Graph::reserve`], with the alignment chosen by the caller.
    ///
    /// # Errors
    /// As there, and [`Error::BadAlignment`].
    pub fn reserve_with(
        &mut self,
        region: RegionId,
        request: &ReservationRequest,
    ) -> Result<ReservationId, Error> {
        self.region_mut(region)?.reserve(None, request)
    }

    /// Reserves from a bound.
    ///
    /// # Errors
    /// As [`Graph::reserve_with`], and [`Error::UnknownBound`].
    pub fn reserve_from_bound(
        &mut self,
        bound: BoundId,
        request: &ReservationRequest,
    ) -> Result<ReservationId, Error> {
        self.region_mut(bound.region)?.reserve(Some(bound), request)
    }

    /// Reserves `len` bytes (rounded up to whole pages) at `start`, a multiple of the page.
    ///
    /// An address inside a bound is reserved from the bound, and has to lie in it whole.
    ///
    /// # Errors
    /// [`Error::Occupied`] naming who has it, [`Error::OutsideRegion`], [`Error::BadAlignment`],
    /// [`Error::BadLength`], [`Error::UnknownRegion`], [`Error::OutOfMemory`].
    pub fn reserve_at(
        &mut self,
        region: RegionId,
        start: u64,
        len: impl Into<u128>,
        attributes: Attributes,
    ) -> Result<ReservationId, Error> {
        self.region_mut(region)?.reserve_at(start, len.into(), attributes)
    }

    /// Gives a reservation up. One in quarantine keeps its addresses until the reaper is done with it.
    ///
    /// # Errors
    /// [`Error::Backed`] while it is backed; [`Error::UnknownReservation`], [`Error::UnknownRegion`].
    pub fn unreserve(&mut self, reservation: ReservationId) -> Result<(), Error> {
        self.region_mut(reservation.region)?.unreserve(reservation)
    }

    /// The attributes of a reservation.
    ///
    /// # Errors
    /// [`Error::UnknownReservation`], [`Error::UnknownRegion`].
    pub fn reservation_attributes(&self, reservation: ReservationId) -> Result<Attributes, Error> {
        self.region_ref(reservation.region)?.attributes(reservation)
    }

    /// Changes the attributes of a reservation that is not backed.
    ///
    /// # Errors
    /// [`Error::Backed`]; [`Error::UnknownReservation`], [`Error::UnknownRegion`].
    pub fn set_reservation_attributes(
        &mut self,
        reservation: ReservationId,
        attributes: Attributes,
    ) -> Result<(), Error> {
        self.region_mut(reservation.region)?.set_attributes(reservation, attributes)
    }

    /// The address of a reservation in its region: the IOVA, the physical address, the CPU's or the guest's.
    ///
    /// # Errors
    /// [`Error::NoAddressYet`] for a one-to-one reservation that is not backed; [`Error::UnknownReservation`],
    /// [`Error::UnknownRegion`].
    pub fn device_address(&self, reservation: ReservationId) -> Result<RegionAddress, Error> {
        self.region_ref(reservation.region)?.device_address(reservation)
    }

    /// Checks a backing and reserves what it needs; [`BackPlan::commit`] makes it so.
    ///
    /// # Errors
    /// [`Error::Backed`] when it is backed already, [`Error::LengthMismatch`], [`Error::BadAlignment`],
    /// [`Error::Conflict`] or [`Error::NotCoherent`] when its attributes do not go with those of another mapper,
    /// for one-to-one reservations [`Error::NotContiguous`], [`Error::AddressMismatch`],
    /// [`Error::OutsideRegion`] and [`Error::Occupied`]; unknown identifiers; [`Error::OutOfMemory`].
    pub fn plan_back(
        &mut self,
        reservation: ReservationId,
        allocation: AllocationId,
        extent: Extent,
    ) -> Result<BackPlan<'_>, Error> {
        self.allocation_ref(allocation)?;
        let region =
            self.regions.get_mut(reservation.region.0).ok_or(Error::UnknownRegion(reservation.region))?;
        let memory = self.allocations.get_mut(allocation.0).ok_or(Error::UnknownAllocation(allocation))?;
        BackPlan::new(region, reservation, memory, allocation, extent)
    }

    /// Backs a reservation with all of an allocation: from now on every active association of its region sees the
    /// memory there, and every later one will.
    ///
    /// # Errors
    /// As [`Graph::plan_back`] and [`BackPlan::commit`].
    pub fn back(
        &mut self,
        reservation: ReservationId,
        allocation: AllocationId,
        hardware: &mut dyn Hardware,
    ) -> Result<(), Error> {
        self.plan_back(reservation, allocation, Extent::Whole)?.commit(hardware)
    }

    /// Backs a reservation with the part of an allocation that begins at `offset`, in bytes.
    ///
    /// # Errors
    /// As [`Graph::back`].
    pub fn back_at_offset(
        &mut self,
        reservation: ReservationId,
        allocation: AllocationId,
        offset: u64,
        hardware: &mut dyn Hardware,
    ) -> Result<(), Error> {
        self.plan_back(reservation, allocation, Extent::From(offset))?.commit(hardware)
    }

    /// Takes the memory from a reservation, in every space of its region, and waits until no device can reach it
    /// through this reservation. This cannot fail; what the hardware does not finish goes into quarantine.
    pub fn unback(&mut self, reservation: ReservationId, hardware: &mut dyn Hardware) -> Teardown {
        let Some(region) = self.regions.get_mut(reservation.region.0) else { return Teardown::NothingThere };
        let Ok(id) = region.allocation_behind(reservation) else { return Teardown::NothingThere };
        let Some(allocation) = self.allocations.get_mut(id.0) else { return Teardown::NothingThere };
        let outcome = unback(region, reservation, allocation, hardware);
        self.collect(id, hardware);
        outcome
    }
}
