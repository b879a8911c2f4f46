//! Regions and bounds.

use super::Graph;
use crate::Span;
use crate::error::Error;
use crate::id::{BoundId, DeviceId, RegionId};
use crate::region::{Region, RegionRequest};

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
        let kind = self.devices.kind_of(device)?;
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
        let key = self.regions.next_key();
        let mut copy = original.try_clone(RegionId(key), label)?;
        copy.adopt_backings(&mut self.allocations)?;
        Ok(RegionId(self.regions.insert_reserved(copy)))
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
    /// [`Error::BoundInUse`] while it is reserved from; [`Error::OutOfMemory`] when reserved windows lie in it, which
    /// stay out of the region; [`Error::UnknownBound`], [`Error::UnknownRegion`].
    pub fn free_bound(&mut self, bound: BoundId) -> Result<(), Error> {
        self.region_mut(bound.region)?.free_bound(bound)
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
