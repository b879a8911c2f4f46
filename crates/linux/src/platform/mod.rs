//! Linux as a [`Platform`](vcm_platform::Platform): the mapping graph on real devices, real memory and KVM.

mod assigned;
mod device;
mod edu;
mod engine;
#[cfg(target_arch = "x86_64")]
mod guests;
mod hardware;
#[cfg(target_arch = "x86_64")]
mod interrupts;
mod kernel_log;
mod mappings;
mod nvme;
mod own_pages;
mod physical;
mod played;
mod port;
mod request;
mod running;
mod space;
mod start;

pub use request::{Blocks, DeviceRequest, Interface, MachineRequest, MemorySpec, View};

use crate::iommufd::{Iommufd, Library};
use crate::memory::{CpuSpace, Layout};
use crate::{Error, kvm, vfio};
use assigned::BoundDevices;
use device::Device;
use kernel_log::KernelLog;
use space::{Kernel, OwnMapping, Space};
use std::collections::BTreeMap;
use std::sync::Arc;
use vcm::{DeviceHandle, Format, RegionKind, Span};
#[cfg(target_arch = "x86_64")]
use vcm_platform::LineDescription;
use vcm_platform::{DeviceDescription, MemoryDescription, Transfers};

/// This machine, as far as its Linux lends it: an implementation of [`vcm::Hardware`] and of [`vcm_platform::Platform`].
///
/// | what the graph has | what it is here |
/// |---|---|
/// | a memory | a file that the kernel keeps in memory; its addresses are made up, and lead back to the file |
/// | a translated region | an IOAS of iommufd, or a type1 container |
/// | a CPU's region | addresses of this process |
/// | a guest's region | a virtual machine's slots |
/// | a one-to-one device | attached to a space in which all memory is mapped at its own addresses; or, where there is no IOMMU, the bus itself: memory is huge pages at their real addresses then, and a warning says what that means |
/// | a processor | this process plays it; a guest's accesses to memory too |
///
/// Devices are bound to VFIO when it starts, and given back to their drivers when it ends.
///
/// # What it says that the kernel did not
/// VFIO tells nobody of a device's faults. They are found in the kernel's log, where this process may read it, and in the
/// status that devices give; what the refused access wanted and why it was refused is what we had the kernel map. The kernel
/// does not show its page tables: [`leaves`](vcm::Hardware::leaves) counts the fewest that the pages of the memory need.
#[derive(Debug)]
pub struct Linux {
    name: String,
    transfers: Transfers,
    /// Guests before devices: no interrupt is led anywhere when a device is closed.
    #[cfg(target_arch = "x86_64")]
    guests: Vec<Option<guests::GuestMachine>>,
    #[cfg(target_arch = "x86_64")]
    assignments: Vec<interrupts::Assignment>,
    #[cfg(target_arch = "x86_64")]
    lines: Vec<LineDescription>,
    /// Devices before spaces: a device is closed before what it is attached to goes.
    devices: Vec<Device>,
    descriptions: Vec<DeviceDescription>,
    /// A description for each, of how it was reached and why.
    notes: Vec<String>,
    /// What the user must be told.
    warnings: Vec<String>,
    spaces: BTreeMap<u32, Space>,
    /// Where one-to-one devices are, by way.
    identity: Vec<Space>,
    next_space: u32,
    formats: Vec<Format>,
    own: Vec<OwnMapping>,
    iommufd: Option<(Arc<Iommufd>, Arc<Library>)>,
    cpu: CpuSpace,
    memory: Layout,
    memories: Vec<MemoryDescription>,
    /// The sizes of pages that the memories can be mapped with.
    page_lens: Vec<(Span, u64)>,
    /// The least that a process can map of each memory.
    whole_pages: Vec<u64>,
    log: Option<KernelLog>,
    /// What the kernel last refused, in full.
    refusal: Option<Error>,
    /// Last: devices go back to their drivers when nobody has them open, containers included.
    bound: BoundDevices,
}

impl Linux {
    /// Why faults cannot be told, if they cannot: a scenario that is about faults is not for this machine then.
    pub fn records_no_faults() -> Option<&'static str> {
        match KernelLog::open() {
            Ok(_) => None,
            Err(_) => Some(
                "the kernel tells of devices' faults in its log only, which this user may not read (sysctl \
                 kernel.dmesg_restrict=0, or CAP_SYSLOG)",
            ),
        }
    }

    /// A device that is open, for a driver of one's own: one that is reached by its group is open only while it is associated with
    /// an active region.
    ///
    /// # Errors
    /// There is no such device, it is no device of this machine's, or it is closed.
    pub fn device(&self, handle: DeviceHandle) -> Result<&Arc<vfio::Device>, Error> {
        match self.devices.get(handle.0 as usize).map(|device| &device.unit) {
            Some(device::Unit::Assigned(assigned)) => assigned.device().ok_or_else(|| assigned.closed()),
            _ => Err(Error::argument(format!("device {}", handle.0), "that is no device of this machine")),
        }
    }

    /// The virtual machine of a guest's active region: for its virtual CPUs, its interrupts, and what it has beside memory. The
    /// region's addresses are the graph's to map and unmap.
    ///
    /// # Errors
    /// There is no such device, it is no guest, or it is associated with no active region.
    pub fn guest(&self, handle: DeviceHandle) -> Result<&kvm::Vm, Error> {
        let refused = |why: &str| Error::argument(format!("the virtual machine of device {}", handle.0), why);
        let device = self.devices.get(handle.0 as usize).ok_or_else(|| refused("there is no such device"))?;
        if device.kind != RegionKind::Guest {
            return Err(refused("that is no guest"));
        }
        let spaces = device.attached.iter().filter_map(|space| self.spaces.get(&space.0));
        let machine = spaces.map(|space| &space.kernel).find_map(|kernel| match kernel {
            Kernel::Guest { machine, .. } => Some(machine),
            _ => None,
        });
        machine.ok_or_else(|| refused("it is associated with no active region: that is what makes it"))
    }

    /// Where its memories are: what the graph's physical addresses lead to.
    pub const fn memory(&self) -> &Layout {
        &self.memory
    }
}
