//! Devices, their associations with regions, and their faults.

use super::{Locked, Manager};
use vcm::{
    Answer, AssociationId, DeviceHandle, DeviceId, DeviceRequest, Error, Fault, Handled, Hardware, Part,
    RegionId, RegionRequest, Span, Teardown,
};

impl<H> Manager<H>
where
    for<'a> &'a H: Hardware,
{
    /// As [`Graph::add_device`](vcm::Graph::add_device).
    ///
    /// # Errors
    /// As there.
    pub fn add_device(&self, request: &DeviceRequest<'_>) -> Result<DeviceId, Error> {
        self.devices.lock().add_device(request)
    }

    /// As [`Graph::remove_device`](vcm::Graph::remove_device).
    ///
    /// # Errors
    /// As there.
    pub fn remove_device(&self, device: DeviceId) -> Result<(), Error> {
        self.devices.lock().remove_device(device)
    }

    /// As [`Graph::create_prebuilt_region`](vcm::Graph::create_prebuilt_region).
    ///
    /// # Errors
    /// As there.
    pub fn create_prebuilt_region(
        &self,
        label: &str,
        device: DeviceId,
        window: Span,
    ) -> Result<RegionId, Error> {
        let kind = self.devices.lock().kind_of(device)?;
        self.create_region(&RegionRequest::new(label, kind, window))
    }

    /// As [`Graph::association_part`](vcm::Graph::association_part).
    ///
    /// # Errors
    /// As there.
    pub fn association_part(&self, association: AssociationId) -> Result<Part, Error> {
        self.devices.lock().part_of(association)
    }

    /// As [`Graph::is_active`](vcm::Graph::is_active).
    ///
    /// # Errors
    /// As there.
    pub fn is_active(&self, association: AssociationId) -> Result<bool, Error> {
        self.devices.lock().is_active(association)
    }

    /// As [`Graph::associate`](vcm::Graph::associate).
    ///
    /// # Errors
    /// As there.
    pub fn associate(&self, region: RegionId, device: DeviceId, part: Part) -> Result<AssociationId, Error> {
        let mut devices = self.devices.lock();
        self.with_region(region, |region| {
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
        self.with_region(region, |region| devices.deassociate(region, association, &mut &self.hardware))
    }

    /// As [`Graph::set_association_part`](vcm::Graph::set_association_part).
    ///
    /// # Errors
    /// As there.
    pub fn set_association_part(&self, association: AssociationId, part: Part) -> Result<(), Error> {
        let mut devices = self.devices.lock();
        let region = devices.region_of(association)?;
        self.with_region(region, |region| {
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
}
