//! Looking at the graph: who maps what, where and why. Nothing here is kept up to date on the side; it is read off
//! the objects when it is asked for.

use super::info::{allocation_info, region_info, reservation_info};
use super::{
    AllocationInfo, AssociationInfo, AssociationState, DeviceInfo, Graph, MapperInfo, PoolInfo, RegionInfo,
    ReservationInfo, TargetInfo, Translation,
};
use crate::allocation::{Mapper, MapperState};
use crate::association::Activation;
use crate::device::Hook;
use crate::error::Error;
use crate::hardware::{Hardware, LeafCount};
use crate::id::{AllocationId, AssociationId, BoundId, DeviceId, PoolId, RegionId, ReservationId, TargetId};
use crate::region::Region;
use crate::reservation::Backing;
use crate::{PhysicalAddress, RegionAddress, Span};

impl Graph {
    /// All regions.
    pub fn regions(&self) -> impl Iterator<Item = RegionInfo> {
        self.regions.iter().map(|(_, region)| region_info(region))
    }

    /// One region.
    ///
    /// # Errors
    /// [`Error::UnknownRegion`].
    pub fn region(&self, id: RegionId) -> Result<RegionInfo, Error> {
        self.region_ref(id).map(region_info)
    }

    /// The reservations of a region; none when it is gone.
    pub fn reservations(&self, region: RegionId) -> impl Iterator<Item = ReservationInfo> {
        self.regions.get(region.0).into_iter().flat_map(Region::reservations)
    }

    /// One reservation.
    ///
    /// # Errors
    /// [`Error::UnknownReservation`], [`Error::UnknownRegion`].
    pub fn reservation(&self, id: ReservationId) -> Result<ReservationInfo, Error> {
        let region = self.region_ref(id.region)?;
        Ok(reservation_info(region, id.key, region.reservation(id.key)?))
    }

    /// The reservation that covers `address` in a region, backed or not.
    pub fn reservation_at(&self, region: RegionId, address: u64) -> Option<ReservationId> {
        self.regions.get(region.0)?.reservation_at(address)
    }

    /// The bounds of a region, with their addresses.
    pub fn bounds(&self, region: RegionId) -> impl Iterator<Item = (BoundId, Span)> {
        self.regions
            .get(region.0)
            .into_iter()
            .flat_map(|region| region.bounds.iter().map(|(key, bound)| (region.bound_id(key), bound.span)))
    }

    /// All allocations, those that wait for the reaper included.
    pub fn allocations(&self) -> impl Iterator<Item = AllocationInfo<'_>> {
        self.allocations.iter().map(|(key, found)| allocation_info(AllocationId(key), found))
    }

    /// One allocation: its blocks, its target, how many map it.
    ///
    /// # Errors
    /// [`Error::UnknownAllocation`].
    pub fn allocation(&self, id: AllocationId) -> Result<AllocationInfo<'_>, Error> {
        self.allocation_ref(id).map(|found| allocation_info(id, found))
    }

    /// The allocation behind a reservation.
    ///
    /// # Errors
    /// [`Error::NotBacked`]; [`Error::UnknownReservation`], [`Error::UnknownRegion`].
    pub fn allocation_behind(&self, id: ReservationId) -> Result<AllocationId, Error> {
        self.region_ref(id.region)?.allocation_behind(id)
    }

    /// Who maps an allocation; nobody when it is gone.
    pub fn mappers(&self, id: AllocationId) -> impl Iterator<Item = MapperInfo> {
        self.allocations
            .get(id.0)
            .into_iter()
            .flat_map(|found| found.mappers.iter().map(|(_, mapper)| self.mapper_info(mapper)))
    }

    /// Who maps a physical address: the allocation that it is of, and each mapper of that byte.
    pub fn who_maps(&self, address: PhysicalAddress) -> impl Iterator<Item = (AllocationId, MapperInfo)> {
        self.allocations.iter().flat_map(move |(key, found)| {
            let offset = found.offset_of(address);
            found.mappers.iter().filter_map(move |(_, mapper)| {
                let into = offset?.checked_sub(mapper.offset)?;
                (into < mapper.len).then(|| (AllocationId(key), self.mapper_info(mapper)))
            })
        })
    }

    /// The allocation that a physical address is of, with the offset into it.
    pub fn allocation_at(&self, address: PhysicalAddress) -> Option<(AllocationId, u64)> {
        self.allocations.iter().find_map(|(key, found)| Some((AllocationId(key), found.offset_of(address)?)))
    }

    /// All devices.
    pub fn devices(&self) -> impl Iterator<Item = DeviceInfo<'_>> {
        self.devices.devices.iter().map(|(key, device)| DeviceInfo {
            id: DeviceId(key),
            label: device.label,
            handle: device.handle,
            kind: device.kind,
            reserved: &device.reserved,
            hooked: matches!(device.hook, Hook::Installed(_) | Hook::Running),
        })
    }

    /// All associations, those that wait for the reaper included.
    pub fn associations(&self) -> impl Iterator<Item = AssociationInfo> {
        self.devices.associations.iter().map(|(key, link)| {
            let region = self.regions.get(link.region.0);
            let format = region.and_then(|region| {
                region
                    .spaces
                    .iter()
                    .find(|space| Some(space.handle) == link.space)
                    .map(|space| space.format.name)
            });
            AssociationInfo {
                id: AssociationId(key),
                region: link.region,
                device: link.device,
                part: link.part,
                state: match link.activation {
                    Activation::Inactive => AssociationState::Inactive,
                    Activation::Active(count) => AssociationState::Active(count),
                    Activation::Quarantined => AssociationState::Quarantined,
                },
                format,
            }
        })
    }

    /// All pools.
    pub fn pools(&self) -> impl Iterator<Item = PoolInfo> {
        self.targets.pools.iter().map(|(key, entry)| PoolInfo {
            id: PoolId(key),
            label: entry.label,
            memory: entry.pool.memory(),
            free: entry.pool.free_bytes(),
            total: entry.pool.total_bytes(),
            largest: entry.pool.largest_block().unwrap_or(0),
        })
    }

    /// All memory targets.
    pub fn targets(&self) -> impl Iterator<Item = TargetInfo<'_>> {
        self.targets.targets.iter().map(|(key, target)| TargetInfo {
            id: TargetId(key),
            label: target.label,
            pools: &target.pools,
        })
    }

    /// Where `address` of a region leads, according to the graph. Nothing is asked of the hardware.
    pub fn physical_at(&self, region: RegionId, address: u64) -> Option<PhysicalAddress> {
        let (_, found) = self.regions.get(region.0)?.find(address)?;
        let Backing::Mapped(link) = found.backing else { return None };
        let into = address - link.span.first();
        self.allocations.get(link.allocation.0)?.physical(link.offset + into)
    }

    /// The address in `to` that leads to the same byte of memory as `address` in `from`; the lowest, when there
    /// are several.
    pub fn address_in(&self, from: RegionId, address: u64, to: RegionId) -> Option<RegionAddress> {
        let (_, found) = self.regions.get(from.0)?.find(address)?;
        let Backing::Mapped(link) = found.backing else { return None };
        let byte = link.offset + (address - link.span.first());
        let target = self.regions.get(to.0)?;
        let allocation = self.allocations.get(link.allocation.0)?;
        let there =
            allocation.live_mappers().filter(|mapper| mapper.reservation.region == to).filter_map(|mapper| {
                let into = byte.checked_sub(mapper.offset).filter(|into| *into < mapper.len)?;
                let start = target.reservations.get(mapper.reservation.key)?.span?.first();
                Some(start + into)
            });
        there.min().map(|raw| target.kind.address(raw))
    }

    /// Where `address` of an active device leads: the graph's word beside that of the page tables and that of the
    /// hardware itself.
    ///
    /// # Errors
    /// [`Error::UnknownDevice`].
    pub fn translate(
        &self,
        device: DeviceId,
        address: u64,
        hardware: &mut dyn Hardware,
    ) -> Result<Translation, Error> {
        let found = self.devices.device(device)?;
        let region = self.region_behind(device, address);
        let space = found
            .associations
            .iter()
            .filter_map(|id| self.devices.associations.get(id.0))
            .find(|link| Some(link.region) == region)
            .and_then(|link| link.space);
        Ok(Translation {
            graph: region.and_then(|region| self.physical_at(region, address)),
            tables: match space {
                Some(space) => hardware.walk(space, address),
                // Without an IOMMU every address is its own translation.
                None => region.map(|_| PhysicalAddress::new(address)),
            },
            hardware: hardware.translate(found.handle, address),
        })
    }

    /// How many page-table leaves of each size map a reservation, in the space that has the most of them. None
    /// for one-to-one regions, and before the region is associated.
    pub fn leaves(&self, id: ReservationId, hardware: &dyn Hardware) -> LeafCount {
        let counts = self.regions.get(id.region.0).into_iter().flat_map(|region| {
            let span = region.reservations.get(id.key).and_then(|found| found.span);
            region.spaces.iter().filter_map(move |space| Some(hardware.leaves(space.handle, span?)))
        });
        counts.max_by_key(LeafCount::total).unwrap_or_default()
    }

    fn mapper_info(&self, mapper: &Mapper) -> MapperInfo {
        let region = self.regions.get(mapper.reservation.region.0);
        let address = region.and_then(|region| {
            let span = region.reservations.get(mapper.reservation.key)?.span?;
            Some(region.kind.address(span.first()))
        });
        MapperInfo {
            reservation: mapper.reservation,
            address,
            offset: mapper.offset,
            len: mapper.len,
            attributes: mapper.attributes,
            quarantined: mapper.state == MapperState::Quarantined,
        }
    }
}
