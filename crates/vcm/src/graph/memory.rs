//! Pools, memory targets, allocations.

use super::Graph;
use crate::allocation::Allocation;
use crate::error::{Error, Holder};
use crate::hardware::Hardware;
use crate::id::{AllocationId, PoolId, TargetId};
use crate::pool::Policy;
use crate::space::reap_ranges;
use crate::target::AllocationRequest;
use crate::teardown::Reaped;
use crate::{PhysicalAddress, Span};

impl Graph {
    /// Makes a pool of `memory`, a range of physical addresses that nobody else hands out.
    ///
    /// # Errors
    /// [`Error::MemoryHeld`] when a pool or an allocation has part of it, [`Error::BadLength`] when it is not made of
    /// whole pages, [`Error::PolicyTooLarge`], [`Error::OutOfMemory`].
    pub fn add_pool(&mut self, label: &str, memory: Span, policy: Policy) -> Result<PoolId, Error> {
        self.no_allocation_holds(memory)?;
        self.targets.add_pool(label, memory, policy)
    }

    /// Removes a pool.
    ///
    /// # Errors
    /// [`Error::PoolInUse`] while a target names it or memory of it is allocated; [`Error::UnknownPool`].
    pub fn remove_pool(&mut self, pool: PoolId) -> Result<(), Error> {
        self.targets.remove_pool(pool)
    }

    /// Makes a memory target: pools by priority, the first to be used first.
    ///
    /// # Errors
    /// [`Error::UnknownPool`], [`Error::OutOfMemory`].
    pub fn add_target(&mut self, label: &str, pools: &[PoolId]) -> Result<TargetId, Error> {
        self.targets.add_target(label, pools)
    }

    /// Removes a target. Its pools stay, and so do allocations made from it.
    ///
    /// # Errors
    /// [`Error::UnknownTarget`].
    pub fn remove_target(&mut self, target: TargetId) -> Result<(), Error> {
        self.targets.targets.remove(target.0).map(|_| ()).ok_or(Error::UnknownTarget(target))
    }

    /// Allocates physical memory from a target.
    ///
    /// # Errors
    /// [`Error::NoMemory`] with what there is, [`Error::BadBlocks`], [`Error::BadLength`], [`Error::BadAlignment`],
    /// [`Error::UnknownTarget`], [`Error::OutOfMemory`].
    pub fn allocate(
        &mut self,
        target: TargetId,
        request: &AllocationRequest,
        hardware: &mut dyn Hardware,
    ) -> Result<AllocationId, Error> {
        self.allocations.reserve(1)?;
        let blocks = self.targets.take(target, request, hardware)?;
        let len = blocks.iter().map(|block| block.len).sum();
        let allocation = Allocation::from_target(target, request, blocks, len);
        Ok(AllocationId(self.allocations.insert_reserved(allocation)))
    }

    /// Wraps a range of physical memory that no pool has, such as a device's registers or a frame buffer that
    /// the firmware left, so that it can back reservations.
    ///
    /// # Errors
    /// [`Error::MemoryHeld`] when a pool or another allocation has part of it, [`Error::BadAlignment`] and
    /// [`Error::BadLength`] when it is not made of whole pages, [`Error::OutOfMemory`].
    pub fn wrap_physical(
        &mut self,
        label: &str,
        base: PhysicalAddress,
        len: u64,
    ) -> Result<AllocationId, Error> {
        let wrapped = Allocation::wrapping(label, base, len)?;
        if let Some(asked) = wrapped.contiguous(0, len) {
            self.targets.must_not_hold(asked)?;
            self.no_allocation_holds(asked)?;
        }
        Ok(AllocationId(self.allocations.insert(wrapped)?))
    }

    fn no_allocation_holds(&self, asked: Span) -> Result<(), Error> {
        match self.allocations.iter().find(|(_, allocation)| allocation.overlaps(asked)) {
            Some((key, _)) => Err(Error::MemoryHeld { asked, holder: Holder::Allocation(AllocationId(key)) }),
            None => Ok(()),
        }
    }

    /// Frees an allocation: its memory goes back to its pools. Where a mapper is in quarantine, it goes back when
    /// the reaper is done with it.
    ///
    /// # Errors
    /// [`Error::Mapped`] while reservations map it; [`Error::UnknownAllocation`].
    pub fn free(&mut self, allocation: AllocationId, hardware: &mut dyn Hardware) -> Result<(), Error> {
        let found = self.allocations.get_mut(allocation.0).ok_or(Error::UnknownAllocation(allocation))?;
        found.abandon(allocation)?;
        self.collect(allocation, hardware);
        Ok(())
    }

    /// Gives an abandoned allocation's memory back, once nobody can reach it.
    pub(super) fn collect(&mut self, id: AllocationId, hardware: &mut dyn Hardware) -> bool {
        if !self.allocations.get(id.0).is_some_and(Allocation::is_collectable) {
            return false;
        }
        let Some(allocation) = self.allocations.remove(id.0) else { return false };
        self.targets.give_back(allocation.returnable(), hardware);
        true
    }

    /// Asks the hardware to finish what is in quarantine: after a device was reset, say, or from time to time.
    pub fn reap(&mut self, hardware: &mut dyn Hardware) -> Reaped {
        let associations = self.devices.reap(&mut self.regions, hardware);
        let mut ranges = 0;
        for (_, region) in self.regions.iter_mut() {
            ranges += reap_ranges(region, &mut self.allocations, hardware);
        }
        let mut allocations = 0;
        for slot in 0..self.allocations.slots() {
            let Some(key) = self.allocations.key_at(slot) else { continue };
            allocations += usize::from(self.collect(AllocationId(key), hardware));
        }
        Reaped { ranges, associations, allocations, remaining: self.quarantined() }
    }

    /// How many ranges and associations are in quarantine.
    pub fn quarantined(&self) -> usize {
        let ranges: usize = self.regions.iter().map(|(_, region)| region.quarantined()).sum();
        ranges + self.devices.quarantined()
    }
}
