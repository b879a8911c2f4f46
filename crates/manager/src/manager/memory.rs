//! Pools, memory targets and allocations, and what is backed with them.

use super::{Locked, Manager};
use vcm::parts::{Allocation, reap_ranges, unback};
use vcm::pool::Policy;
use vcm::{
    AllocationId, AllocationRequest, BackPlan, Error, Extent, Hardware, Holder, PhysicalAddress, PoolId,
    Reaped, ReservationId, Span, TargetId, Teardown,
};

impl<H> Manager<H>
where
    for<'a> &'a H: Hardware,
{
    /// As [`Graph::add_pool`](vcm::Graph::add_pool).
    ///
    /// # Errors
    /// As there.
    pub fn add_pool(&self, label: &str, memory: Span, policy: Policy) -> Result<PoolId, Error> {
        let _deciding = self.physical_ranges.lock();
        self.no_allocation_holds(memory)?;
        self.targets.lock().add_pool(label, memory, policy)
    }

    /// As [`Graph::remove_pool`](vcm::Graph::remove_pool).
    ///
    /// # Errors
    /// As there.
    pub fn remove_pool(&self, pool: PoolId) -> Result<(), Error> {
        self.targets.lock().remove_pool(pool)
    }

    /// As [`Graph::wrap_physical`](vcm::Graph::wrap_physical).
    ///
    /// # Errors
    /// As there.
    pub fn wrap_physical(&self, label: &str, base: PhysicalAddress, len: u64) -> Result<AllocationId, Error> {
        let wrapped = Allocation::wrapping(label, base, len)?;
        let _deciding = self.physical_ranges.lock();
        if let Some(asked) = Span::new(base.raw(), len) {
            self.targets.lock().must_not_hold(asked)?;
            self.no_allocation_holds(asked)?;
        }
        self.allocations.insert_with(|_| Ok::<_, Error>(wrapped)).map(AllocationId::from_key)
    }

    fn no_allocation_holds(&self, asked: Span) -> Result<(), Error> {
        for key in self.allocations.keys() {
            if self.allocations.with(key, |memory| memory.overlaps(asked)) == Some(true) {
                let holder = Holder::Allocation(AllocationId::from_key(key));
                return Err(Error::MemoryHeld { asked, holder });
            }
        }
        Ok(())
    }

    /// As [`Graph::add_target`](vcm::Graph::add_target).
    ///
    /// # Errors
    /// As there.
    pub fn add_target(&self, label: &str, pools: &[PoolId]) -> Result<TargetId, Error> {
        self.targets.lock().add_target(label, pools)
    }

    /// As [`Graph::allocate`](vcm::Graph::allocate).
    ///
    /// # Errors
    /// As there.
    pub fn allocate(&self, target: TargetId, request: &AllocationRequest) -> Result<AllocationId, Error> {
        let make = |_| {
            let blocks = self.targets.lock().take(target, request, &mut &self.hardware)?;
            let len = blocks.iter().map(|block| block.len).sum();
            Ok::<_, Error>(Allocation::from_target(target, request, blocks, len))
        };
        self.allocations.insert_with(make).map(AllocationId::from_key)
    }

    /// As [`Graph::free`](vcm::Graph::free).
    ///
    /// # Errors
    /// As there.
    pub fn free(&self, allocation: AllocationId) -> Result<(), Error> {
        let unknown = Err(Error::UnknownAllocation(allocation));
        self.allocations.with(allocation.key(), |memory| memory.abandon(allocation)).unwrap_or(unknown)?;
        self.collect(allocation);
        Ok(())
    }

    /// Gives an abandoned allocation's memory back, once nobody can reach it.
    fn collect(&self, id: AllocationId) -> bool {
        let decide = |memory: &mut Allocation| if memory.is_collectable() { Ok(()) } else { Err(()) };
        let Some(Ok(allocation)) = self.allocations.remove_if(id.key(), decide) else { return false };
        self.targets.lock().give_back(allocation.returnable(), &mut &self.hardware);
        true
    }

    /// As [`Graph::back`](vcm::Graph::back). The region and the allocation are locked while the hardware works;
    /// others go on.
    ///
    /// # Errors
    /// As there.
    pub fn back(&self, reservation: ReservationId, allocation: AllocationId) -> Result<(), Error> {
        self.back_with(reservation, allocation, Extent::Whole)
    }

    /// As [`Graph::back_at_offset`](vcm::Graph::back_at_offset), with locks as for [`Manager::back`].
    ///
    /// # Errors
    /// As there.
    pub fn back_at_offset(
        &self,
        reservation: ReservationId,
        allocation: AllocationId,
        offset: u64,
    ) -> Result<(), Error> {
        self.back_with(reservation, allocation, Extent::From(offset))
    }

    fn back_with(
        &self,
        reservation: ReservationId,
        allocation: AllocationId,
        extent: Extent,
    ) -> Result<(), Error> {
        self.with_region(reservation.region(), |region| {
            let back = |memory: &mut Allocation| {
                BackPlan::new(region, reservation, memory, allocation, extent)?.commit(&mut &self.hardware)
            };
            self.allocations.with(allocation.key(), back).unwrap_or(Err(Error::UnknownAllocation(allocation)))
        })
    }

    /// As [`Graph::unback`](vcm::Graph::unback).
    pub fn unback(&self, reservation: ReservationId) -> Teardown {
        let outcome = self.regions.with(reservation.region().key(), |region| {
            let Ok(id) = region.allocation_behind(reservation) else { return (Teardown::NothingThere, None) };
            let outcome = self
                .allocations
                .with(id.key(), |memory| unback(region, reservation, memory, &mut &self.hardware))
                .unwrap_or(Teardown::NothingThere);
            (outcome, Some(id))
        });
        let (outcome, allocation) = outcome.unwrap_or((Teardown::NothingThere, None));
        if let Some(id) = allocation {
            self.collect(id);
        }
        outcome
    }

    /// As [`Graph::reap`](vcm::Graph::reap).
    pub fn reap(&self) -> Reaped {
        let mut hardware = &self.hardware;
        let associations = self.devices.lock().reap(&mut Locked(&self.regions), &mut hardware);
        let mut ranges = 0;
        for key in self.regions.keys() {
            let reaped = self
                .regions
                .with(key, |region| reap_ranges(region, &mut Locked(&self.allocations), &mut hardware));
            ranges += reaped.unwrap_or(0);
        }
        let keys = self.allocations.keys();
        let allocations = keys.into_iter().filter(|key| self.collect(AllocationId::from_key(*key))).count();
        Reaped { ranges, associations, allocations, remaining: self.quarantined() }
    }

    /// As [`Graph::quarantined`](vcm::Graph::quarantined).
    pub fn quarantined(&self) -> usize {
        let associations = self.devices.lock().quarantined();
        let quarantined = |key| self.regions.with(key, |region| region.quarantined()).unwrap_or(0);
        associations + self.regions.keys().into_iter().map(quarantined).sum::<usize>()
    }
}
