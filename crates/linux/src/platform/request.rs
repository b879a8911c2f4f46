//! What a machine is to be made of.

use crate::memory::PageKind;

/// A machine: memory that it has the kernel set aside, devices that it takes, guests that it can run.
///
/// A CPU, `cpu`, is always there: this process.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MachineRequest {
    /// Its name.
    pub name: String,
    /// Its memories, the fastest first.
    pub memories: Vec<MemorySpec>,
    /// Devices that it takes for itself.
    pub devices: Vec<DeviceRequest>,
    /// The names of guests, each a virtual machine's physical space.
    pub guests: Vec<String>,
}

/// A memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemorySpec {
    /// Its name: `main`.
    pub name: String,
    /// Its length in bytes: a multiple of its pages.
    pub len: u64,
    /// The pages that it is made of.
    pub pages: PageKind,
}

/// A device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceRequest {
    /// What it is called here: `nvme0`.
    pub name: String,
    /// What sysfs calls it: `0000:00:06.0`.
    pub address: String,
    /// How it sees memory.
    pub view: View,
    /// By which of the kernel's interfaces it is reached.
    pub interface: Interface,
    /// The blocks of an NVMe controller that its transfers may overwrite: what it moves passes through its medium.
    pub overwrites: Option<Blocks>,
}

/// How a device sees memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum View {
    /// Through the regions that it is associated with.
    #[default]
    Translated,
    /// All of the machine's memory, at the memory's own addresses: as a device without an IOMMU would.
    OneToOne,
}

/// The kernel's interfaces to a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Interface {
    /// The best that there is: what is tried first is named first below.
    #[default]
    Any,
    /// A character device of its own, and iommufd.
    Iommufd,
    /// Its group, and a type1 container.
    Container,
    /// None in front of it: its addresses are physical ones, and nothing holds it back. Its view is one-to-one, and the
    /// machine's memory is made of huge pages then, which stay where they are.
    NoIommu,
}

/// Some blocks of an NVMe namespace, of the size that it is formatted with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Blocks {
    /// The first.
    pub first: u64,
    /// How many.
    pub count: u64,
}
