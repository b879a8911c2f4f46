//! Looking at the graph: who maps what, where and why. Nothing here is kept up to date on the side; it is read off
//! the objects when it is asked for.

use super::Graph;
use crate::allocation::{Allocation, Coherence, Mapper, MapperState, Origin};
use crate::association::Activation;
use crate::device::Hook;
use crate::error::Error;
use crate::hardware::{Hardware, HardwareError, LeafCount, Part};
use crate::id::{AllocationId, AssociationId, BoundId, DeviceId, PoolId, RegionId, ReservationId, TargetId};
use crate::region::Region;
use crate::reservation::{Backing, Ownership, Place, Reservation};
use crate::storage::Key;
use crate::{
    Attributes, DeviceHandle, Label, PageSizes, PhysicalAddress, RegionAddress, RegionKind, Segment, Span,
};

/// What there is to know of a region.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RegionInfo {
    /// Its identifier.
    pub id: RegionId,
    /// Its name.
    pub label: Label,
    /// Its kind.
    pub kind: RegionKind,
    /// Its addresses, as they were asked for.
    pub window: Span,
    /// The whole pages of them.
    pub usable: Span,
    /// The page sizes that reservations are aligned for.
    pub page_sizes: PageSizes,
    /// The smallest page, in bytes: the unit of reservations.
    pub page: u64,
    /// Bytes that are neither reserved nor kept out.
    pub free: u128,
    /// The number of reservations.
    pub reservations: usize,
    /// The number of associations, active or not.
    pub associations: usize,
    /// The number of ranges in quarantine.
    pub quarantined: usize,
}

/// Whether memory is behind a reservation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReservationState {
    /// None is.
    Unbacked,
    /// This allocation is, from `offset` (in bytes) on.
    Backed {
        /// The allocation.
        allocation: AllocationId,
        /// The first byte of it.
        offset: u64,
    },
    /// None should be any more, but the hardware has not let go of it.
    Quarantined {
        /// The allocation.
        allocation: AllocationId,
        /// The first byte of it.
        offset: u64,
    },
}

/// What there is to know of a reservation.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ReservationInfo {
    /// Its identifier.
    pub id: ReservationId,
    /// Its addresses; none for a one-to-one reservation that is not backed.
    pub span: Option<Span>,
    /// Its length, in bytes.
    pub len: u128,
    /// Its attributes.
    pub attributes: Attributes,
    /// The bound that it was made from.
    pub bound: Option<BoundId>,
    /// What backs it.
    pub state: ReservationState,
}

/// What there is to know of an allocation.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct AllocationInfo<'g> {
    /// Its identifier.
    pub id: AllocationId,
    /// Its name.
    pub label: Label,
    /// Its length, in bytes.
    pub len: u64,
    /// The target that it is from; none when it wraps a range.
    pub target: Option<TargetId>,
    /// Its blocks, in order.
    pub blocks: &'g [Segment],
    /// Whether its mappers keep it coherent.
    pub coherence: Coherence,
    /// How many reservations map it.
    pub mappers: usize,
    /// Whether it was freed and waits for the reaper.
    pub waits_for_reaper: bool,
}

/// What there is to know of one mapping of an allocation.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct MapperInfo {
    /// The reservation that it is mapped at.
    pub reservation: ReservationId,
    /// Where that is in its region.
    pub address: Option<RegionAddress>,
    /// The first byte of the allocation that is mapped.
    pub offset: u64,
    /// How many bytes.
    pub len: u64,
    /// With which attributes.
    pub attributes: Attributes,
    /// Whether the hardware has yet to let go of it.
    pub quarantined: bool,
}

/// What there is to know of a device.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct DeviceInfo<'g> {
    /// Its identifier.
    pub id: DeviceId,
    /// Its name.
    pub label: Label,
    /// The machine's number for it.
    pub handle: DeviceHandle,
    /// The kind of regions that it takes.
    pub kind: RegionKind,
    /// Addresses that it is never given.
    pub reserved: &'g [Span],
    /// Whether a hook answers its faults.
    pub hooked: bool,
}

/// Whether an association's device translates through its region.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AssociationState {
    /// It does not.
    Inactive,
    /// It does; counted associations were activated this often.
    Active(u32),
    /// It should not any more, but the hardware has not let go of it.
    Quarantined,
}

/// What there is to know of an association.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct AssociationInfo {
    /// Its identifier.
    pub id: AssociationId,
    /// The region.
    pub region: RegionId,
    /// The device.
    pub device: DeviceId,
    /// The part of the device's addresses.
    pub part: Part,
    /// Whether it is active.
    pub state: AssociationState,
    /// The name of the format that the region is translated in for it; none for one-to-one.
    pub format: Option<&'static str>,
}

/// What there is to know of a pool.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PoolInfo {
    /// Its identifier.
    pub id: PoolId,
    /// Its name.
    pub label: Label,
    /// Its memory.
    pub memory: Span,
    /// Bytes that can be allocated.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
    /// Its largest free block, in bytes.
    pub largest: u64,
}

/// What there is to know of a memory target.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TargetInfo<'g> {
    /// Its identifier.
    pub id: TargetId,
    /// Its name.
    pub label: Label,
    /// Its pools, by priority.
    pub pools: &'g [PoolId],
}

/// Where an address leads: according to the graph, to the page tables, and to the hardware. They agree, or
/// something is badly wrong.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Translation {
    /// According to the graph.
    pub graph: Option<PhysicalAddress>,
    /// According to a walk of the page tables in software.
    pub tables: Option<PhysicalAddress>,
    /// According to the hardware.
    pub hardware: Result<PhysicalAddress, HardwareError>,
}

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

impl Region {
    /// What there is to know of the region.
    pub fn info(&self) -> RegionInfo {
        region_info(self)
    }

    /// What there is to know of its reservations.
    pub fn reservations(&self) -> impl Iterator<Item = ReservationInfo> {
        self.reservations.iter().map(|(key, found)| reservation_info(self, key, found))
    }
}

fn region_info(region: &Region) -> RegionInfo {
    let in_bounds: u128 = region.bounds.iter().map(|(_, bound)| bound.ranges.free_bytes()).sum();
    RegionInfo {
        id: region.id,
        label: region.label,
        kind: region.kind,
        window: region.window,
        usable: region.usable,
        page_sizes: region.page_sizes,
        page: crate::region::PAGE,
        free: region.ranges.free_bytes() + in_bounds,
        reservations: region.reservations.len(),
        associations: region.associations,
        quarantined: region.quarantined(),
    }
}

fn reservation_info(region: &Region, key: Key<Reservation>, found: &Reservation) -> ReservationInfo {
    ReservationInfo {
        id: region.reservation_id(key),
        span: found.span,
        len: found.len,
        attributes: found.attributes,
        bound: match found.place {
            Place::Bound(bound, _) => Some(region.bound_id(bound)),
            Place::Region(_) | Place::Floating => None,
        },
        state: match found.backing {
            Backing::None => ReservationState::Unbacked,
            Backing::Mapped(link) => {
                ReservationState::Backed { allocation: link.allocation, offset: link.offset }
            }
            Backing::Quarantined(link) => {
                ReservationState::Quarantined { allocation: link.allocation, offset: link.offset }
            }
        },
    }
}

fn allocation_info(id: AllocationId, found: &Allocation) -> AllocationInfo<'_> {
    AllocationInfo {
        id,
        label: found.label,
        len: found.len,
        target: match found.origin {
            Origin::Target(target) => Some(target),
            Origin::Wrapped => None,
        },
        blocks: &found.blocks,
        coherence: found.coherence,
        mappers: found.mappers.len(),
        waits_for_reaper: found.ownership == Ownership::Abandoned,
    }
}
