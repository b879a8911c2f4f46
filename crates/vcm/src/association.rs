//! The link of a region with a device: made, activated, and taken down again.

use crate::allocation::Allocation;
use crate::device::{Device, DeviceRequest, Hook};
use crate::error::{Error, Holder};
use crate::fault::Retries;
use crate::hardware::{Format, Hardware, HardwareError, HardwareErrorKind, Part, SpaceHandle};
use crate::id::{AllocationId, AssociationId, DeviceId, RegionId};
use crate::lookup::Lookup;
use crate::region::Region;
use crate::reservation::Ownership;
use crate::space::{leave_space, space_for};
use crate::storage::{Arena, List};
use crate::teardown::Teardown;
use crate::window::{keep_out, remove_window};
use crate::{Label, RegionKind, Span};

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

    /// As [`Graph::remove_device`](crate::Graph::remove_device).
    ///
    /// # Errors
    /// As there.
    pub fn remove_device(&mut self, device: DeviceId) -> Result<(), Error> {
        match self.device(device)?.associations.first() {
            Some(association) => Err(Error::DeviceInUse { device, association: *association }),
            None => {
                self.devices.remove(device.0);
                Ok(())
            }
        }
    }

    /// The kind of regions that a device takes.
    ///
    /// # Errors
    /// [`Error::UnknownDevice`].
    pub fn kind_of(&self, device: DeviceId) -> Result<RegionKind, Error> {
        Ok(self.device(device)?.kind)
    }

    /// The part of its device's addresses that an association serves.
    ///
    /// # Errors
    /// [`Error::UnknownAssociation`].
    pub fn part_of(&self, id: AssociationId) -> Result<Part, Error> {
        Ok(self.association(id)?.part)
    }

    /// Whether an association is active.
    ///
    /// # Errors
    /// [`Error::UnknownAssociation`].
    pub fn is_active(&self, id: AssociationId) -> Result<bool, Error> {
        Ok(matches!(self.association(id)?.activation, Activation::Active(_)))
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

    /// As [`Graph::deassociate`](crate::Graph::deassociate). An association in quarantine goes when the
    /// reaper is done with it.
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

    /// As [`Graph::set_association_part`](crate::Graph::set_association_part): the new space is there before
    /// the old one goes.
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
        Ok(_) => Err(HardwareError { kind: HardwareErrorKind::HalfDone, at: Label::new("receipt") }),
        Err(unfinished) => Err(unfinished.error),
    }
}
