//! Linux as a machine with one device and one guest, and the graph of who sees the guest's memory where.

use crate::Outcome;
use crate::program::{RAM, RAM_LEN};
use std::sync::Arc;
use vcm::{
    Access, AllocationId, AllocationRequest, AssociationId, Attributes, DeviceHandle, Graph, Hardware, Part,
    RegionRequest, ReservationId, Span, Teardown,
};
use vcm_devices::edu::spec;
use vcm_linux::Linux;
use vcm_linux::host::{DeviceName, Host};
use vcm_linux::kvm::Vm;
use vcm_linux::memory::PageKind;
use vcm_linux::platform::{DeviceRequest, Interface, MachineRequest, MemorySpec, View};
use vcm_linux::vfio::Device;
use vcm_platform::{Inventory, Platform};

/// Which addresses memory is given in a region.
enum Place {
    /// From this one on.
    At(u64),
    /// Any.
    Anywhere,
}

/// The machine and its graph.
pub(crate) struct World {
    pub(crate) linux: Linux,
    pub(crate) graph: Graph,
    known: Inventory,
    active: Vec<AssociationId>,
    backed: Vec<ReservationId>,
}

impl World {
    /// Takes the device, which goes back where it came from when this is dropped.
    pub(crate) fn new(address: &str) -> Outcome<Self> {
        let found = Host::here().device(&DeviceName::parse(address)?)?.identity;
        let ids = found.map(|identity| (identity.vendor, identity.device));
        if ids != Some((spec::VENDOR, spec::DEVICE)) {
            return Err(format!(
                "{address} is no educational device of QEMU's, for which the guest has a driver"
            )
            .into());
        }
        let memory = MemorySpec { name: "memory".into(), len: RAM_LEN, pages: PageKind::Ordinary };
        let device = DeviceRequest {
            name: "edu".into(),
            address: address.into(),
            view: View::Translated,
            interface: Interface::Any,
            overwrites: None,
        };
        let linux = Linux::start(&MachineRequest {
            name: "assign".into(),
            memories: vec![memory],
            devices: vec![device],
            guests: vec!["guest".into()],
        })?;
        linux.notes().iter().for_each(|note| println!("{note}"));
        let mut graph = Graph::new();
        let known = Inventory::register(&mut graph, &linux)?;
        Ok(Self { linux, graph, known, active: Vec::new(), backed: Vec::new() })
    }

    /// One memory, in three regions. Where it is in this process.
    pub(crate) fn share_memory(&mut self) -> Outcome<u64> {
        let request = AllocationRequest::new("guest memory", RAM_LEN);
        let memory = self.graph.allocate(self.known.target(), &request, &mut self.linux)?;
        // A guest executes what it reads: KVM has nothing to keep it from that.
        let all = Attributes { access: Access::all(), ..Attributes::READ_WRITE };
        self.show("guest", memory, all, Place::At(RAM.into()))?;
        self.show("edu", memory, Attributes::READ_WRITE, Place::At(RAM.into()))?;
        self.show("cpu", memory, Attributes::READ_WRITE, Place::Anywhere)
    }

    /// A region with the device `name` in it, and with the memory. At which address it is there.
    fn show(
        &mut self,
        name: &str,
        memory: AllocationId,
        attributes: Attributes,
        place: Place,
    ) -> Outcome<u64> {
        let handle = self.handle(name)?;
        let described = self.linux.devices().iter().find(|device| device.handle == handle);
        let kind = described.ok_or("no such device")?.kind;
        let window = match place {
            Place::At(start) => Span::new(start, RAM_LEN).ok_or("beyond the last address")?,
            Place::Anywhere => self.linux.format(handle, Part::Whole)?.addresses,
        };
        let region = self.graph.create_region(&RegionRequest::new(name, kind, window))?;
        let device = self.known.device(name).ok_or("no such device")?;
        let link = self.graph.associate(region, device, Part::Whole, &mut self.linux)?;
        self.graph.activate(link, &mut self.linux)?;
        self.active.push(link);
        let reservation = match place {
            Place::At(start) => self.graph.reserve_at(region, start, RAM_LEN, attributes)?,
            Place::Anywhere => self.graph.reserve(region, RAM_LEN, attributes)?,
        };
        self.graph.back(reservation, memory, &mut self.linux)?;
        self.backed.push(reservation);
        Ok(self.graph.device_address(reservation)?.raw())
    }

    fn handle(&self, name: &str) -> Outcome<DeviceHandle> {
        let described = self.linux.devices().iter().find(|device| device.name == name);
        Ok(described.ok_or("no such device")?.handle)
    }

    /// The virtual machine that the guest's region has made.
    pub(crate) fn guest(&self) -> Outcome<Vm> {
        Ok(self.linux.guest(self.handle("guest")?)?.clone())
    }

    /// The device, which is open.
    pub(crate) fn device(&self) -> Outcome<Arc<Device>> {
        Ok(Arc::clone(self.linux.device(self.handle("edu")?)?))
    }

    /// The guest goes first, and with it all that KVM has of the device; the device accesses nothing any more after it.
    pub(crate) fn take_down(self) -> Outcome<()> {
        let Self { mut linux, mut graph, active, backed, .. } = self;
        let mut done: Vec<Teardown> =
            active.into_iter().map(|link| graph.deactivate(link, &mut linux)).collect();
        done.extend(backed.into_iter().map(|reservation| graph.unback(reservation, &mut linux)));
        if done.iter().all(|done| *done == Teardown::Done) {
            return Ok(());
        }
        Err("the kernel has not let everything go".into())
    }
}
