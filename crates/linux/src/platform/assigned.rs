//! A device of this machine that is ours while the platform lives.

use super::edu::EduEngine;
use super::engine::Engine;
use super::nvme::NvmeEngine;
use super::own_pages::OwnPages;
use super::request::{DeviceRequest, Interface};
use crate::dma::DmaSpace as _;
use crate::host::{Bound, Host, Identity, InUse};
use crate::iommufd::{Ioas, Iommufd};
use crate::vfio::{BarMapping, BusMaster, Container, Device, DeviceName, Opening, Verdict, Way, probe};
use crate::{Error, host};
use rustix::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;
use vcm::{PageSizes, Span};
use vcm_devices::{Edu, quiet_nvme};

/// How long a driver of the kernel may take to let a device go.
const PATIENCE: Duration = Duration::from_secs(20);
/// The class of NVMe controllers (PCI Code and ID Assignment 1.11, 1.9): mass storage, non-volatile memory, NVMe.
const CLASS_NVME: u32 = 0x01_0802;
/// QEMU's educational device (docs/specs/edu.rst).
const EDU: (u16, u16) = (0x1234, 0x11e8);

/// What a device can translate, as the kernel says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Usable {
    /// The addresses, in order.
    pub(super) spans: Vec<Span>,
    pub(super) page_sizes: PageSizes,
}

/// What our drivers know of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum DmaKind {
    Edu,
    Nvme,
    Unknown,
}

impl DmaKind {
    fn of(identity: Option<&Identity>) -> Self {
        match identity {
            Some(identity) if (identity.vendor, identity.device) == EDU => Self::Edu,
            Some(identity) if identity.class == CLASS_NVME => Self::Nvme,
            _ => Self::Unknown,
        }
    }
}

/// A device that was bound to VFIO for us.
#[derive(Debug)]
pub(super) struct Assigned {
    name: DeviceName,
    /// Which way leads to it, and why that one.
    pub(super) way: Way,
    pub(super) reason: String,
    kind: DmaKind,
    request: DeviceRequest,
    /// It is open: by its own node always, by its group while it is attached.
    open: Option<Open>,
    pub(super) own: Option<OwnPages>,
}

/// A device that is open. The engine goes first.
#[derive(Debug)]
struct Open {
    engine: Option<Box<dyn Engine>>,
    /// The registers of an edu device: what its driver in a guest reaches too.
    edu: Option<BarMapping>,
    device: Arc<Device>,
}

impl Assigned {
    /// Binds a device to VFIO, and finds the way to it.
    ///
    /// # Errors
    /// It cannot be assigned, or there is no way: with the reason of each.
    pub(super) fn bind(request: &DeviceRequest) -> Result<(Self, Bound), Error> {
        let host = Host::here();
        let name = DeviceName::new(&request.address)?;
        let host_name = host::DeviceName::parse(&request.address)?;
        let kind = DmaKind::of(host.device(&host_name)?.identity.as_ref());
        let bound = host.bind_to_vfio(&host_name, InUse::Refuse, PATIENCE)?;
        let candidates = match probe(&name) {
            Ok(candidates) => candidates,
            Err(error) => {
                let _ = bound.restore(PATIENCE);
                return Err(error);
            }
        };
        let wanted = |way: Way| match request.interface {
            Interface::Any => way != Way::NoIommu,
            Interface::Iommufd => way == Way::Cdev,
            Interface::Container => way == Way::Group,
            Interface::NoIommu => way == Way::NoIommu,
        };
        let mut open = candidates.iter().filter(|found| wanted(found.way) && found.verdict == Verdict::Open);
        let Some(found) = open.next() else {
            let reasons: Vec<String> = candidates
                .iter()
                .filter(|found| wanted(found.way))
                .map(|found| format!("{}: {}", found.way, found.reason))
                .collect();
            let _ = bound.restore(PATIENCE);
            return Err(Error::Missing { what: format!("a way to {name}"), help: reasons.join("; ") });
        };
        let (way, reason) = (found.way, found.reason.clone());
        let request = request.clone();
        Ok((Self { name, way, reason, kind, request, open: None, own: None }, bound))
    }

    /// Its name in sysfs.
    pub(super) fn name(&self) -> &str {
        self.name.as_str()
    }

    /// What the user must be told about it.
    pub(super) fn warning(&self) -> Option<String> {
        self.device()?.warning().map(|warning| warning.to_string())
    }

    /// The device, if it is open.
    pub(super) fn device(&self) -> Option<&Arc<Device>> {
        self.open.as_ref().map(|open| &open.device)
    }

    /// What it can translate. By iommufd it is open from now on, and attached to nothing.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn usable(&mut self, iommufd: Option<&Arc<Iommufd>>) -> Result<Usable, Error> {
        match (self.way, iommufd) {
            (Way::Cdev, Some(iommufd)) => {
                let device = self.opened(Opening::Cdev { iommufd: iommufd.as_fd() })?;
                let ioas = Ioas::new(iommufd)?;
                device.attach_ioas(&ioas)?;
                let found = Usable { spans: ioas.usable()?, page_sizes: ioas.page_sizes()? };
                device.detach()?;
                Ok(found)
            }
            (Way::NoIommu, _) => {
                self.opened(Opening::NoIommu)?;
                Ok(Usable { spans: vec![Span::ALL], page_sizes: PageSizes::AARCH64_4K })
            }
            _ => {
                let container = Container::new()?;
                let device = Device::open(&self.name, Opening::Group { container: &container })?;
                let found = Usable { spans: container.usable()?, page_sizes: container.page_sizes()? };
                drop(device);
                container.close_unused_groups();
                Ok(found)
            }
        }
    }

    /// Opens it, lets it be master of its bus, and finds out what engine it has.
    fn opened(&mut self, opening: Opening<'_>) -> Result<Arc<Device>, Error> {
        let device = Arc::new(Device::open(&self.name, opening)?);
        let mut open = Open { engine: None, edu: None, device: Arc::clone(&device) };
        // A device without a reset comes as its last owner left it, who may have been killed.
        self.find_engine(&mut open)?;
        // Without an IOMMU only what we made quiet may write.
        let harmless = self.way != Way::NoIommu || open.engine.is_some();
        if device.info().is_pci() && harmless {
            device.config()?.set_bus_master(BusMaster::On)?;
        }
        self.open = Some(open);
        Ok(device)
    }

    /// Finds the engine of a device that our drivers know, and makes it quiet.
    fn find_engine(&self, open: &mut Open) -> Result<(), Error> {
        match (self.kind, self.request.overwrites) {
            (DmaKind::Edu, _) => {
                let registers = open.device.map(0)?;
                let mut edu = Edu::new(registers.clone()).map_err(|error| self.garbage(&error))?;
                edu.quiet().map_err(|error| self.garbage(&error))?;
                open.engine = Some(Box::new(EduEngine::new(edu)));
                open.edu = Some(registers);
            }
            (DmaKind::Nvme, Some(overwrites)) => {
                let mut registers = open.device.map(0)?;
                quiet_nvme(&mut registers, PATIENCE).map_err(|error| self.garbage(&error))?;
                open.engine = Some(Box::new(NvmeEngine::new(registers, overwrites)));
            }
            _ => {}
        }
        Ok(())
    }

    fn garbage(&self, error: &dyn std::fmt::Display) -> Error {
        Error::Garbage { object: self.name.to_string(), what: error.to_string() }
    }

    /// Its registers, if it is an edu device that is open.
    pub(super) fn registers_of_edu(&self) -> Option<BarMapping> {
        self.open.as_ref()?.edu.clone()
    }

    /// The number of its first interrupt at the host, as sysfs tells it.
    pub(super) fn host_interrupt(&self) -> Option<u32> {
        let path = format!("/sys/bus/pci/devices/{}/irq", self.name);
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    }

    /// Whether it is an edu device, open or not.
    pub(super) fn is_edu(&self) -> bool {
        self.kind == DmaKind::Edu
    }

    /// Attaches it to an IOAS.
    ///
    /// # Errors
    /// The kernel's. It stays attached to what it was.
    pub(super) fn attach_ioas(&mut self, ioas: &Ioas) -> Result<(), Error> {
        let device = self.device().ok_or_else(|| self.closed())?;
        device.attach_ioas(ioas).map(drop)
    }

    /// Opens it in a container.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn join(&mut self, container: &Container) -> Result<(), Error> {
        self.opened(Opening::Group { container }).map(drop)
    }

    /// Detaches it: it makes no access any more.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn leave(&mut self) -> Result<(), Error> {
        if let Some(open) = &mut self.open
            && let Some(engine) = &mut open.engine
        {
            engine.stop();
        }
        match self.way {
            Way::Cdev => self.device().map_or(Ok(()), |device| device.detach()),
            _ => {
                if let Some(open) = self.open.take() {
                    open.device.tear_down();
                }
                Ok(())
            }
        }
    }

    /// What it moves bytes with, and its own pages; and why it moves none.
    ///
    /// # Errors
    /// With what the user can do about it.
    pub(super) fn engine_and_pages(&mut self) -> Result<(&mut dyn Engine, &OwnPages), Error> {
        let closed = self.closed();
        let Self { open, own, name, .. } = self;
        let open = open.as_mut().ok_or(closed)?;
        match (&mut open.engine, own) {
            (Some(engine), Some(own)) => Ok((&mut **engine, own)),
            _ => Err(Error::not_supported(
                format!("a transfer of {name}"),
                "what we can have copy memory are edu devices, and NVMe controllers whose `overwrites` says which blocks of \
                 the medium they may use for it",
            )),
        }
    }

    pub(super) fn closed(&self) -> Error {
        Error::argument(
            format!("an access of {}", self.name),
            "it is attached to no region, and so it is closed",
        )
    }
}

impl Drop for Assigned {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            let Open { engine, device, .. } = open;
            if let Some(mut engine) = engine {
                engine.stop();
            }
            device.tear_down();
        }
    }
}

/// Devices that were bound to VFIO, and go back to their drivers when this is dropped.
#[derive(Debug, Default)]
pub(super) struct BoundDevices(Vec<Bound>);

impl BoundDevices {
    pub(super) fn add(&mut self, bound: Bound) {
        self.0.push(bound);
    }
}

impl Drop for BoundDevices {
    fn drop(&mut self) {
        for bound in self.0.drain(..) {
            // What is not restored is noted, and `vcm devices --restore` does it later.
            let _ = bound.restore(PATIENCE);
        }
    }
}
