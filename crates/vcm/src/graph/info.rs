//! What there is to know of each kind of object.

use crate::allocation::{Allocation, Coherence, Origin};
use crate::hardware::{HardwareError, Part};
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

pub(super) fn region_info(region: &Region) -> RegionInfo {
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

pub(super) fn reservation_info(
    region: &Region,
    key: Key<Reservation>,
    found: &Reservation,
) -> ReservationInfo {
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

pub(super) fn allocation_info(id: AllocationId, found: &Allocation) -> AllocationInfo<'_> {
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
