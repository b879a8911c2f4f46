//! The operations of the graph, for many callers.

use crate::hooks::Hooks;
use crate::lock::{Rank, Ranked};
use crate::table::Table;
use vcm::parts::{Allocation, Devices, Lookup, Region, Targets, reap_ranges, unback};
use vcm::pool::Policy;
use vcm::{
    AllocationId, AllocationRequest, Answer, AssociationId, Attributes, BackPlan, BoundId, DeviceHandle,
    DeviceId, DeviceRequest, Error, Extent, Fault, Handled, Hardware, Holder, Key, Label, Part,
    PhysicalAddress, PoolId, Reaped, RegionAddress, RegionId, RegionInfo, RegionRequest, ReservationId,
    ReservationInfo, ReservationRequest, Span, TargetId, Teardown,
};

/// The mapping graph of one machine, for many threads at a time.
///
/// Each region, each allocation, the table of devices and the targets have a lock of their own, taken in the order
/// that [`vcm::parts`] gives. Operations on independent regions proceed in parallel, in the hardware too where
/// it allows it. The operations are those of [`vcm::Graph`], with the same names and errors.
#[derive(Debug)]
pub struct Manager<H> {
    physical_ranges: Ranked<()>,
    devices: Ranked<Devices>,
    regions: Table<Region>,
    allocations: Table<Allocation>,
    targets: Ranked<Targets>,
    hooks: Hooks<H>,
    hardware: H,
}

/// Finds parts for operations that have to visit several.
struct Locked<'m, T>(&'m Table<T>);

impl Lookup<AllocationId, Allocation> for Locked<'_, Allocation> {
    fn visit(&mut self, id: AllocationId, visit: &mut dyn FnMut(&mut Allocation)) {
        self.0.with(id.key(), visit);
    }
}

impl Lookup<RegionId, Region> for Locked<'_, Region> {
    fn visit(&mut self, id: RegionId, visit: &mut dyn FnMut(&mut Region)) {
        self.0.with(id.key(), visit);
    }
}

impl<H> Manager<H>
where
    for<'a> &'a H: Hardware,
{
    /// A graph without objects, over `hardware`.
    pub fn new(hardware: H) -> Self {
        Self {
            physical_ranges: Ranked::new(Rank::PhysicalRanges, ()),
            devices: Ranked::new(Rank::Devices, Devices::default()),
            regions: Table::new(Rank::Region),
            allocations: Table::new(Rank::Allocation),
            targets: Ranked::new(Rank::Targets, Targets::default()),
            hooks: Hooks::default(),
            hardware,
        }
    }

    /// The hardware.
    pub const fn hardware(&self) -> &H {
        &self.hardware
    }

    fn region<R>(
        &self,
        id: RegionId,
        visit: impl FnOnce(&mut Region) -> Result<R, Error>,
    ) -> Result<R, Error> {
        self.regions.with(id.key(), visit).unwrap_or(Err(Error::UnknownRegion(id)))
    }

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
            self.region(id, |original| {
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
        self.region(region, |region| region.create_bound(len.into()))
    }

    /// As [`Graph::free_bound`](vcm::Graph::free_bound).
    ///
    /// # Errors
    /// As there.
    pub fn free_bound(&self, bound: BoundId) -> Result<(), Error> {
        self.region(bound.region(), |region| region.free_bound(bound))
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
        self.region(region, |region| region.reserve(None, request))
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
        self.region(bound.region(), |region| region.reserve(Some(bound), request))
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
        self.region(region, |region| region.reserve_at(start, len.into(), attributes))
    }

    /// As [`Graph::unreserve`](vcm::Graph::unreserve).
    ///
    /// # Errors
    /// As there.
    pub fn unreserve(&self, reservation: ReservationId) -> Result<(), Error> {
        self.region(reservation.region(), |region| region.unreserve(reservation))
    }

    /// As [`Graph::reservation_attributes`](vcm::Graph::reservation_attributes).
    ///
    /// # Errors
    /// As there.
    pub fn reservation_attributes(&self, reservation: ReservationId) -> Result<Attributes, Error> {
        self.region(reservation.region(), |region| region.attributes(reservation))
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
        self.region(reservation.region(), |region| region.set_attributes(reservation, attributes))
    }

    /// As [`Graph::device_address`](vcm::Graph::device_address).
    ///
    /// # Errors
    /// As there.
    pub fn device_address(&self, reservation: ReservationId) -> Result<RegionAddress, Error> {
        self.region(reservation.region(), |region| region.device_address(reservation))
    }

    /// As [`Graph::back`](vcm::Graph::back) and [`Graph::back_at_offset`](vcm::Graph::back_at_offset). The region
    /// and the allocation are locked while the hardware works; others go on.
    ///
    /// # Errors
    /// As there.
    pub fn back(
        &self,
        reservation: ReservationId,
        allocation: AllocationId,
        extent: Extent,
    ) -> Result<(), Error> {
        self.region(reservation.region(), |region| {
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

    /// As [`Graph::add_pool`](vcm::Graph::add_pool).
    ///
    /// # Errors
    /// As there.
    pub fn add_pool(&self, label: &str, memory: Span, policy: Policy) -> Result<PoolId, Error> {
        let _deciding = self.physical_ranges.lock();
        self.no_allocation_holds(memory)?;
        self.targets.lock().add_pool(label, memory, policy)
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

    /// As [`Graph::add_device`](vcm::Graph::add_device).
    ///
    /// # Errors
    /// As there.
    pub fn add_device(&self, request: &DeviceRequest<'_>) -> Result<DeviceId, Error> {
        self.devices.lock().add_device(request)
    }

    /// As [`Graph::associate`](vcm::Graph::associate).
    ///
    /// # Errors
    /// As there.
    pub fn associate(&self, region: RegionId, device: DeviceId, part: Part) -> Result<AssociationId, Error> {
        let mut devices = self.devices.lock();
        self.region(region, |region| {
            devices.associate(region, device, part, &mut Locked(&self.allocations), &mut &self.hardware)
        })
    }

    /// As [`Graph::deassociate`](vcm::Graph::deassociate).
    ///
    /// # Errors
    /// As there.
    pub fn deassociate(&self, association: AssociationId) -> Result<(), Error> {
        let mut devices = self.devices.lock();
        let region = devices.region_of(association)?;
        self.region(region, |region| devices.deassociate(region, association, &mut &self.hardware))
    }

    /// As [`Graph::set_association_part`](vcm::Graph::set_association_part).
    ///
    /// # Errors
    /// As there.
    pub fn set_association_part(&self, association: AssociationId, part: Part) -> Result<(), Error> {
        let mut devices = self.devices.lock();
        let region = devices.region_of(association)?;
        self.region(region, |region| {
            devices.set_part(region, association, part, &mut Locked(&self.allocations), &mut &self.hardware)
        })
    }

    /// As [`Graph::activate`](vcm::Graph::activate).
    ///
    /// # Errors
    /// As there.
    pub fn activate(&self, association: AssociationId) -> Result<(), Error> {
        self.devices.lock().activate(association, &mut &self.hardware)
    }

    /// As [`Graph::deactivate`](vcm::Graph::deactivate).
    pub fn deactivate(&self, association: AssociationId) -> Teardown {
        self.devices.lock().deactivate(association, &mut &self.hardware)
    }

    /// Installs `hook` to answer the faults of the device that the machine knows as `device`, in place of the one
    /// before. It is called without any lock held and may use the manager.
    pub fn hook(&self, device: DeviceHandle, hook: impl Fn(&Fault, &Self) -> Answer + Send + Sync + 'static) {
        self.hooks.install(device, Box::new(hook));
    }

    /// Takes a device's hook away: its faults are terminated, and the first one asks for a warning.
    pub fn unhook(&self, device: DeviceHandle) {
        self.hooks.remove(device);
    }

    /// Says what the hardware is to be told of a fault: what the device's hook answers, or, without one,
    /// termination.
    pub fn handle_fault(&self, fault: &Fault) -> (Answer, Handled) {
        self.hooks.handle(fault, self)
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

    /// All regions, each as it was at one moment.
    pub fn regions(&self) -> Vec<RegionInfo> {
        self.regions
            .keys()
            .into_iter()
            .filter_map(|key| self.regions.with(key, |region| region.info()))
            .collect()
    }

    /// The reservations of a region, all at one moment.
    ///
    /// # Errors
    /// [`Error::UnknownRegion`].
    pub fn reservations(&self, region: RegionId) -> Result<Vec<ReservationInfo>, Error> {
        self.region(region, |region| Ok(region.reservations().collect()))
    }

    /// The names and lengths (in bytes) of all allocations, those that wait for the reaper included.
    pub fn allocations(&self) -> Vec<(AllocationId, Label, u64)> {
        let info = |key| {
            let id = AllocationId::from_key(key);
            self.allocations.with(key, |memory| (id, memory.label(), memory.len()))
        };
        self.allocations.keys().into_iter().filter_map(info).collect()
    }
}
