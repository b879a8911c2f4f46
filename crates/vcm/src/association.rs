//! The link of a region with a device: made, activated, and taken down again.

use crate::allocation::Allocation;
use crate::backing::unmap;
use crate::device::{Device, DeviceRequest, Hook};
use crate::error::{Error, Holder};
use crate::fault::Retries;
use crate::hardware::{Format, Hardware, HardwareError, HardwareErrorKind, Part, SpaceHandle};
use crate::id::{AllocationId, AssociationId, DeviceId, RegionId};
use crate::range::{RangeKey, Ranges};
use crate::region::{Occupant, Region, Space};
use crate::reservation::{Backing, Ownership};
use crate::storage::{Arena, List};
use crate::teardown::Teardown;
use crate::{RegionKind, Span};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Activation {
    Inactive,
    /// Activated this often; more than once only where activations are counted.
    Active(u32),
    /// Deactivated, but the hardware has not finished: the device may still translate.
    Quarantined,
}

#[derive(Debug)]
pub struct Association {
    pub(crate) region: RegionId,
    pub(crate) device: DeviceId,
    pub(crate) part: Part,
    /// The region's addresses.
    pub(crate) window: Span,
    /// The region's space that the device translates through; `None` for one-to-one regions.
    pub(crate) space: Option<SpaceHandle>,
    pub(crate) activation: Activation,
    pub(crate) ownership: Ownership,
}

/// The table of devices, with the associations that they have: one of the parts that can be locked apart.
#[derive(Debug, Default)]
pub struct Devices {
    pub(crate) devices: Arena<Device>,
    pub(crate) associations: Arena<Association>,
}

/// Finds a part by its identifier, for as long as a visit lasts: a composition with locks takes and gives back the
/// part's lock around it.
pub trait Lookup<Id, Part> {
    /// Calls `visit` with the part, if it exists.
    fn visit(&mut self, id: Id, visit: &mut dyn FnMut(&mut Part));
}

impl Lookup<AllocationId, Allocation> for Arena<Allocation> {
    fn visit(&mut self, id: AllocationId, visit: &mut dyn FnMut(&mut Allocation)) {
        if let Some(allocation) = self.get_mut(id.0) {
            visit(allocation);
        }
    }
}

impl Lookup<RegionId, Region> for Arena<Region> {
    fn visit(&mut self, id: RegionId, visit: &mut dyn FnMut(&mut Region)) {
        if let Some(region) = self.get_mut(id.0) {
            visit(region);
        }
    }
}

impl Devices {
    pub(crate) fn device(&self, id: DeviceId) -> Result<&Device, Error> {
        self.devices.get(id.0).ok_or(Error::UnknownDevice(id))
    }

    /// Makes a device known.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn add_device(&mut self, request: &DeviceRequest<'_>) -> Result<DeviceId, Error> {
        let mut reserved = List::new();
        for window in request.reserved {
            reserved.push(*window)?;
        }
        Ok(DeviceId(self.devices.insert(Device {
            label: request.label,
            handle: request.handle,
            kind: request.kind,
            reserved,
            associations: List::new(),
            hook: Hook::None,
            retries: Retries::default(),
        })?))
    }

    /// The region that an association links.
    ///
    /// # Errors
    /// [`Error::UnknownAssociation`].
    pub fn region_of(&self, id: AssociationId) -> Result<RegionId, Error> {
        Ok(self.association(id)?.region)
    }

    /// The association, unless it was given up.
    pub(crate) fn association(&self, id: AssociationId) -> Result<&Association, Error> {
        self.associations
            .get(id.0)
            .filter(|association| association.ownership == Ownership::Held)
            .ok_or(Error::UnknownAssociation(id))
    }

    /// As [`Graph::associate`](crate::Graph::associate). What is backed already is mapped for the device at once.
    ///
    /// # Errors
    /// As there.
    pub fn associate(
        &mut self,
        region: &mut Region,
        device_id: DeviceId,
        part: Part,
        allocations: &mut dyn Lookup<AllocationId, Allocation>,
        hardware: &mut dyn Hardware,
    ) -> Result<AssociationId, Error> {
        let device = self.device(device_id)?;
        if device.kind != region.kind {
            return Err(Error::KindMismatch {
                region: region.id,
                region_kind: region.kind,
                device: device_id,
                device_kind: device.kind,
            });
        }
        for id in &device.associations {
            let Some(other) = self.associations.get(id.0).filter(|other| other.region == region.id) else {
                continue;
            };
            let (region, device, association) = (region.id, device_id, *id);
            return Err(match other.ownership {
                Ownership::Held => Error::AlreadyAssociated { region, device, association },
                // It was given up, but the hardware has not let go of it.
                Ownership::Abandoned => {
                    Error::DeviceBusy { device, holder: region, part: other.part, association }
                }
            });
        }
        let format = self.translating(region, device_id, part, hardware)?;
        self.associations.reserve(1)?;
        let device = self.devices.get_mut(device_id.0).ok_or(Error::UnknownDevice(device_id))?;
        device.associations.reserve(1)?;
        let windows = keep_out(region, device_id, &device.reserved)?;
        let space = match space_for(region, format, allocations, hardware) {
            Ok(space) => space,
            Err(error) => {
                for window in &windows {
                    remove_window(region, *window);
                }
                return Err(error);
            }
        };
        region.associations += 1;
        let id = AssociationId(self.associations.insert_reserved(Association {
            region: region.id,
            device: device_id,
            part,
            window: region.usable,
            space,
            activation: Activation::Inactive,
            ownership: Ownership::Held,
        }));
        device.associations.push_reserved(id);
        Ok(id)
    }

    /// As [`Graph::deassociate`](crate::Graph::deassociate). An association in quarantine goes when the reaper is done with it.
    ///
    /// # Errors
    /// As there.
    pub fn deassociate(
        &mut self,
        region: &mut Region,
        id: AssociationId,
        hardware: &mut dyn Hardware,
    ) -> Result<(), Error> {
        let association = self.association(id)?;
        match association.activation {
            Activation::Active(_) => {
                Err(Error::Active { association: id, region: association.region, device: association.device })
            }
            Activation::Quarantined => {
                if let Some(association) = self.associations.get_mut(id.0) {
                    association.ownership = Ownership::Abandoned;
                }
                Ok(())
            }
            Activation::Inactive => {
                self.remove(region, id, hardware);
                Ok(())
            }
        }
    }

    /// As [`Graph::set_association_part`](crate::Graph::set_association_part): the new space is there before the old one goes.
    ///
    /// # Errors
    /// As there.
    pub fn set_part(
        &mut self,
        region: &mut Region,
        id: AssociationId,
        part: Part,
        allocations: &mut dyn Lookup<AllocationId, Allocation>,
        hardware: &mut dyn Hardware,
    ) -> Result<(), Error> {
        let association = self.association(id)?;
        let device_id = association.device;
        if association.activation != Activation::Inactive {
            return Err(Error::Active { association: id, region: region.id, device: device_id });
        }
        let before = association.space;
        let format = self.translating(region, device_id, part, hardware)?;
        let space = space_for(region, format, allocations, hardware)?;
        if let Some(association) = self.associations.get_mut(id.0) {
            association.part = part;
            association.space = space;
        }
        leave_space(region, before, hardware);
        Ok(())
    }

    /// How the device translates the region's addresses in this part.
    fn translating(
        &self,
        region: &Region,
        device_id: DeviceId,
        part: Part,
        hardware: &dyn Hardware,
    ) -> Result<Format, Error> {
        let format = hardware
            .format(self.device(device_id)?.handle, part)
            .map_err(|error| Error::Hardware { doing: "associating", error })?;
        if !format.addresses.covers(region.usable) {
            return Err(Error::NotTranslatable {
                region: region.id,
                window: region.usable,
                device: device_id,
                translates: format.addresses,
                part,
            });
        }
        Ok(format)
    }

    fn remove(&mut self, region: &mut Region, id: AssociationId, hardware: &mut dyn Hardware) {
        let Some(association) = self.associations.remove(id.0) else { return };
        if let Some(device) = self.devices.get_mut(association.device.0) {
            device.associations.retain(|other| *other != id);
        }
        region.associations -= 1;
        leave_space(region, association.space, hardware);
    }

    /// As [`Graph::activate`](crate::Graph::activate).
    ///
    /// # Errors
    /// As there.
    pub fn activate(&mut self, id: AssociationId, hardware: &mut dyn Hardware) -> Result<(), Error> {
        let association = self.association(id)?;
        let device_id = association.device;
        let device = self.device(device_id)?;
        match association.activation {
            Activation::Active(count) if device.kind.counts_activations() && count < u32::MAX => {
                self.set(id, Activation::Active(count + 1));
                return Ok(());
            }
            Activation::Active(_) => {
                return Err(Error::Active { association: id, region: association.region, device: device_id });
            }
            Activation::Quarantined => {
                return Err(Error::DeviceBusy {
                    device: device_id,
                    holder: association.region,
                    part: association.part,
                    association: id,
                });
            }
            Activation::Inactive => {}
        }
        for other_id in &device.associations {
            let Some(other) = self.associations.get(other_id.0) else { continue };
            if other.activation != Activation::Inactive && !can_be_beside(device.kind, association, other) {
                return Err(Error::DeviceBusy {
                    device: device_id,
                    holder: other.region,
                    part: other.part,
                    association: *other_id,
                });
            }
        }
        if let Some(space) = association.space {
            match hardware.attach(space, device.handle, association.part) {
                Ok(()) => {}
                Err(error) => {
                    // What was left half-way is taken down again, or goes to the reaper.
                    if error.kind == HardwareErrorKind::HalfDone
                        && detach(hardware, space, device, association).is_err()
                    {
                        self.set(id, Activation::Quarantined);
                        return Err(Error::Quarantined {
                            doing: "activating",
                            what: Holder::Association(id),
                            error,
                        });
                    }
                    return Err(Error::Hardware { doing: "activating", error });
                }
            }
        }
        self.set(id, Activation::Active(1));
        Ok(())
    }

    /// As [`Graph::deactivate`](crate::Graph::deactivate).
    pub fn deactivate(&mut self, id: AssociationId, hardware: &mut dyn Hardware) -> Teardown {
        let Ok(association) = self.association(id) else { return Teardown::NothingThere };
        match association.activation {
            Activation::Inactive => Teardown::NothingThere,
            Activation::Quarantined => Teardown::Quarantined,
            Activation::Active(count) if count > 1 => {
                self.set(id, Activation::Active(count - 1));
                Teardown::StillCounted
            }
            Activation::Active(_) => self.finish_deactivation(id, hardware),
        }
    }

    /// Asks the hardware (again) to stop the device.
    fn finish_deactivation(&mut self, id: AssociationId, hardware: &mut dyn Hardware) -> Teardown {
        let Some(association) = self.associations.get(id.0) else { return Teardown::NothingThere };
        let Some(device) = self.devices.get(association.device.0) else { return Teardown::NothingThere };
        let stopped = match association.space {
            None => Ok(()),
            Some(space) => detach(hardware, space, device, association),
        };
        match stopped {
            Ok(()) => {
                self.set(id, Activation::Inactive);
                Teardown::Done
            }
            Err(_) => {
                self.set(id, Activation::Quarantined);
                Teardown::Quarantined
            }
        }
    }

    /// How many associations are in quarantine.
    pub fn quarantined(&self) -> usize {
        self.associations.iter().filter(|(_, link)| link.activation == Activation::Quarantined).count()
    }

    /// Retries what is in quarantine; counts the associations that are out of it now.
    pub fn reap(&mut self, regions: &mut dyn Lookup<RegionId, Region>, hardware: &mut dyn Hardware) -> usize {
        let mut reaped = 0;
        for slot in 0..self.associations.slots() {
            let Some(key) = self.associations.key_at(slot) else { continue };
            let Some(association) = self.associations.get(key) else { continue };
            if association.activation != Activation::Quarantined {
                continue;
            }
            let (id, region, ownership) = (AssociationId(key), association.region, association.ownership);
            if self.finish_deactivation(id, hardware) != Teardown::Done {
                continue;
            }
            reaped += 1;
            if ownership == Ownership::Abandoned {
                regions.visit(region, &mut |region| self.remove(region, id, hardware));
            }
        }
        reaped
    }

    fn set(&mut self, id: AssociationId, activation: Activation) {
        if let Some(association) = self.associations.get_mut(id.0) {
            association.activation = activation;
        }
    }
}

/// Whether a device can have both active at the same time.
fn can_be_beside(kind: RegionKind, one: &Association, other: &Association) -> bool {
    match kind {
        // Physical addresses are the same in every region.
        RegionKind::OneToOne => true,
        RegionKind::Cpu => !one.window.overlaps(other.window),
        _ => one.part.is_beside(other.part),
    }
}

fn detach(
    hardware: &mut dyn Hardware,
    space: SpaceHandle,
    device: &Device,
    association: &Association,
) -> Result<(), HardwareError> {
    match hardware.detach(space, device.handle, association.part) {
        Ok(receipt) if receipt.space() == space && receipt.span().covers(association.window) => Ok(()),
        // A receipt for something else proves nothing.
        Ok(_) => Err(HardwareError { kind: HardwareErrorKind::HalfDone, at: "receipt" }),
        Err(unfinished) => Err(unfinished.error),
    }
}

/// One association less translates through the space; the last one takes it with it.
fn leave_space(region: &mut Region, space: Option<SpaceHandle>, hardware: &mut dyn Hardware) {
    let Some(handle) = space else { return };
    let Some(index) = region.spaces.iter().position(|space| space.handle == handle) else { return };
    region.spaces[index].users -= 1;
    if region.spaces[index].users == 0 {
        region.spaces.remove(index);
        hardware.destroy_space(handle);
    }
}

/// A window that was taken out of the region, or of one of its bounds.
#[derive(Clone, Copy)]
enum Window {
    Region(RangeKey),
    Bound(crate::storage::Key<crate::bound::Bound>, RangeKey),
}

fn remove_window(region: &mut Region, window: Window) {
    match window {
        Window::Region(range) => {
            region.ranges.remove(range);
        }
        Window::Bound(bound, range) => {
            if let Some(bound) = region.bounds.get_mut(bound) {
                bound.ranges.remove(range);
            }
        }
    }
}

/// Takes a device's reserved windows out of the region's addresses; they stay out for the region's life.
fn keep_out(region: &mut Region, device: DeviceId, reserved: &[Span]) -> Result<List<Window>, Error> {
    let mut kept = List::new();
    for asked in reserved {
        // Reservations are whole pages: a window keeps every page out that it touches.
        let page = crate::region::PAGE;
        let first = asked.first() & !(page - 1);
        let last = asked.last() | (page - 1);
        let Some(window) =
            Span::inclusive(first, last).and_then(|touched| touched.intersection(region.usable))
        else {
            continue;
        };
        if let Err(error) = keep_window_out(region, device, window, &mut kept) {
            for window in &kept {
                remove_window(region, *window);
            }
            return Err(error);
        }
    }
    Ok(kept)
}

fn keep_window_out(
    region: &mut Region,
    device: DeviceId,
    window: Span,
    kept: &mut List<Window>,
) -> Result<(), Error> {
    if let Some(key) = region.reservations_in(window).next() {
        return Err(Error::InReservedWindow { reservation: region.reservation_id(key), device, window });
    }
    occupy_gaps(&mut region.ranges, window, kept, Window::Region)?;
    // A bound hands out its addresses itself.
    for (key, bound) in region.bounds.iter_mut() {
        if let Some(part) = bound.span.intersection(window) {
            occupy_gaps(&mut bound.ranges, part, kept, |range| Window::Bound(key, range))?;
        }
    }
    Ok(())
}

/// Occupies what is free of `window`.
fn occupy_gaps(
    ranges: &mut Ranges<Occupant>,
    window: Span,
    kept: &mut List<Window>,
    wrap: impl Fn(RangeKey) -> Window,
) -> Result<(), Error> {
    let mut at = window.first();
    while let Some(rest) = Span::inclusive(at, window.last()) {
        let next = ranges.overlapping(rest).next().map(|(_, span, _)| span);
        let gap = match next {
            None => Some(rest),
            Some(span) => span.first().checked_sub(1).and_then(|end| Span::inclusive(at, end)),
        };
        if let Some(gap) = gap {
            kept.reserve(1)?;
            let place = ranges.place_at(gap, Occupant::ReservedWindow);
            kept.push_reserved(wrap(place.map_err(|_| crate::OutOfMemory)?));
        }
        match next.and_then(|span| span.last().checked_add(1)) {
            Some(after) => at = after,
            None => return Ok(()),
        }
    }
    Ok(())
}

/// The region's space of this format, made and filled where there is none yet.
fn space_for(
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
                crate::backing::release(region, key, allocation, link.mapper);
                reaped += 1;
            });
        }
    }
    reaped
}
