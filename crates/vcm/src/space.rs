//! The spaces that the hardware keeps for a region: made and filled, left and given up.

use crate::RegionKind;
use crate::allocation::Allocation;
use crate::backing::{release, unmap};
use crate::error::Error;
use crate::hardware::{Format, Hardware, HardwareError, SpaceHandle};
use crate::id::AllocationId;
use crate::lookup::Lookup;
use crate::region::{Region, Space};
use crate::reservation::Backing;

/// The region's space of this format, made and filled where there is none yet.
pub(crate) fn space_for(
    region: &mut Region,
    format: Format,
    allocations: &mut dyn Lookup<AllocationId, Allocation>,
    hardware: &mut dyn Hardware,
) -> Result<Option<SpaceHandle>, Error> {
    if region.kind == RegionKind::OneToOne {
        return Ok(None);
    }
    if let Some(space) = region.spaces.iter_mut().find(|space| space.format.id == format.id) {
        space.users += 1;
        return Ok(Some(space.handle));
    }
    region.spaces.reserve(1)?;
    let refused = |error| Error::Hardware { doing: "associating", error };
    let handle = hardware.create_space(region.kind, format, region.usable).map_err(refused)?;
    if let Err(error) = fill(region, handle, allocations, hardware) {
        // Nobody is attached: whatever was mapped goes with the space.
        hardware.destroy_space(handle);
        return Err(refused(error));
    }
    region.spaces.push_reserved(Space { format, handle, users: 1 });
    Ok(Some(handle))
}

/// Maps in a new space all that is backed.
fn fill(
    region: &Region,
    space: SpaceHandle,
    allocations: &mut dyn Lookup<AllocationId, Allocation>,
    hardware: &mut dyn Hardware,
) -> Result<(), HardwareError> {
    for (_, reservation) in region.reservations.iter() {
        let Backing::Mapped(link) = reservation.backing else { continue };
        let mut mapped = Ok(());
        allocations.visit(link.allocation, &mut |allocation| {
            let segments = allocation.segments(link.offset, reservation.len as u64);
            mapped = hardware.map(space, link.span.first(), segments, reservation.attributes);
        });
        mapped?;
    }
    Ok(())
}

/// One association less translates through the space; the last one takes it with it.
pub(crate) fn leave_space(region: &mut Region, space: Option<SpaceHandle>, hardware: &mut dyn Hardware) {
    let Some(handle) = space else { return };
    let Some(index) = region.spaces.iter().position(|space| space.handle == handle) else { return };
    region.spaces[index].users -= 1;
    if region.spaces[index].users == 0 {
        region.spaces.remove(index);
        hardware.destroy_space(handle);
    }
}

/// Retries the unmapping of a region's reservations in quarantine; counts those that are out of it now.
pub fn reap_ranges(
    region: &mut Region,
    allocations: &mut dyn Lookup<AllocationId, Allocation>,
    hardware: &mut dyn Hardware,
) -> usize {
    let mut reaped = 0;
    for slot in 0..region.reservations.slots() {
        let Some(key) = region.reservations.key_at(slot) else { continue };
        let Some(Backing::Quarantined(link)) = region.reservations.get(key).map(|found| found.backing) else {
            continue;
        };
        let quiet = region.spaces.iter().all(|space| unmap(hardware, space.handle, link.span).is_ok());
        if quiet {
            allocations.visit(link.allocation, &mut |allocation| {
                release(region, key, allocation, link.mapper);
                reaped += 1;
            });
        }
    }
    reaped
}
