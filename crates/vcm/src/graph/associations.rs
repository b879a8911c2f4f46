//! Devices, and their associations with regions.

use super::Graph;
use crate::PhysicalAddress;
use crate::device::{DeviceRequest, FaultHook, Hook};
use crate::error::Error;
use crate::hardware::{Hardware, Part};
use crate::id::{AssociationId, DeviceId, RegionId};
use crate::teardown::Teardown;
use alloc::boxed::Box;

impl Graph {
    /// Makes a device known.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn add_device(&mut self, request: &DeviceRequest<'_>) -> Result<DeviceId, Error> {
        self.devices.add_device(request)
    }

    /// Forgets a device.
    ///
    /// # Errors
    /// [`Error::DeviceInUse`] while it is associated; [`Error::UnknownDevice`].
    pub fn remove_device(&mut self, device: DeviceId) -> Result<(), Error> {
        self.devices.remove_device(device)
    }

    /// Links a region with a device, inactive at first. All that is backed already, and all that will be, is
    /// mapped for the device.
    ///
    /// # Errors
    /// [`Error::KindMismatch`], [`Error::AlreadyAssociated`], [`Error::DeviceBusy`], [`Error::NotTranslatable`],
    /// [`Error::InReservedWindow`], [`Error::Hardware`], [`Error::OutOfMemory`], unknown identifiers.
    pub fn associate(
        &mut self,
        region: RegionId,
        device: DeviceId,
        part: Part,
        hardware: &mut dyn Hardware,
    ) -> Result<AssociationId, Error> {
        let region = self.regions.get_mut(region.0).ok_or(Error::UnknownRegion(region))?;
        self.devices.associate(region, device, part, &mut self.allocations, hardware)
    }

    /// Takes the link away.
    ///
    /// # Errors
    /// [`Error::Active`] while it is active; [`Error::UnknownAssociation`].
    pub fn deassociate(
        &mut self,
        association: AssociationId,
        hardware: &mut dyn Hardware,
    ) -> Result<(), Error> {
        let region = self.devices.region_of(association)?;
        let region = self.regions.get_mut(region.0).ok_or(Error::UnknownRegion(region))?;
        self.devices.deassociate(region, association, hardware)
    }

    /// The part of the device's addresses that an association serves.
    ///
    /// # Errors
    /// [`Error::UnknownAssociation`].
    pub fn association_part(&self, association: AssociationId) -> Result<Part, Error> {
        self.devices.part_of(association)
    }

    /// Makes an inactive association serve another part of its device's addresses.
    ///
    /// # Errors
    /// [`Error::Active`]; otherwise as [`Graph::associate`]. Nothing was changed.
    pub fn set_association_part(
        &mut self,
        association: AssociationId,
        part: Part,
        hardware: &mut dyn Hardware,
    ) -> Result<(), Error> {
        let region = self.devices.region_of(association)?;
        let region = self.regions.get_mut(region.0).ok_or(Error::UnknownRegion(region))?;
        self.devices.set_part(region, association, part, &mut self.allocations, hardware)
    }

    /// Activates an association: the device translates through the region from now on.
    ///
    /// Associations with CPUs and with devices without an IOMMU are counted: each activation asks for a
    /// deactivation of its own.
    ///
    /// # Errors
    /// [`Error::DeviceBusy`] naming the region that has the device, [`Error::Active`] when it is active
    /// already (and not counted), [`Error::Hardware`], [`Error::UnknownAssociation`]. [`Error::Quarantined`]
    /// when the hardware failed half-way and could not be brought back: the association is in quarantine.
    pub fn activate(&mut self, association: AssociationId, hardware: &mut dyn Hardware) -> Result<(), Error> {
        self.devices.activate(association, hardware)
    }

    /// Deactivates an association: when this returns [`Teardown::Done`], no transaction of the device passes.
    /// Reservations stay backed, and are seen again after the next activation. This cannot fail.
    pub fn deactivate(&mut self, association: AssociationId, hardware: &mut dyn Hardware) -> Teardown {
        self.devices.deactivate(association, hardware)
    }

    /// Whether an association is active.
    ///
    /// # Errors
    /// [`Error::UnknownAssociation`].
    pub fn is_active(&self, association: AssociationId) -> Result<bool, Error> {
        self.devices.is_active(association)
    }

    /// Where the page tables that an association's device translates through begin, in physical memory. `None` for
    /// one-to-one regions, and where the hardware does not tell.
    ///
    /// # Errors
    /// [`Error::UnknownAssociation`].
    pub fn table_root(
        &self,
        association: AssociationId,
        hardware: &dyn Hardware,
    ) -> Result<Option<PhysicalAddress>, Error> {
        Ok(self.devices.association(association)?.space.and_then(|space| hardware.table_root(space)))
    }

    /// Installs `hook` to answer a device's faults, in place of the one before, which is returned.
    ///
    /// # Errors
    /// [`Error::UnknownDevice`].
    pub fn hook(
        &mut self,
        device: DeviceId,
        hook: Box<dyn FaultHook>,
    ) -> Result<Option<Box<dyn FaultHook>>, Error> {
        self.replace_hook(device, Hook::Installed(hook))
    }

    /// Takes a device's hook away: its faults are warned of once and terminated.
    ///
    /// # Errors
    /// [`Error::UnknownDevice`].
    pub fn unhook(&mut self, device: DeviceId) -> Result<Option<Box<dyn FaultHook>>, Error> {
        self.replace_hook(device, Hook::None)
    }

    fn replace_hook(&mut self, device: DeviceId, hook: Hook) -> Result<Option<Box<dyn FaultHook>>, Error> {
        let found = self.devices.devices.get_mut(device.0).ok_or(Error::UnknownDevice(device))?;
        match core::mem::replace(&mut found.hook, hook) {
            Hook::Installed(before) => Ok(Some(before)),
            Hook::None | Hook::Warned | Hook::Running => Ok(None),
        }
    }
}
