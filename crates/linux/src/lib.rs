//! The mapping graph on Linux: VFIO, iommufd, KVM, memfd.
//!
//! [`Linux`] is this machine as a [`Platform`](vcm_platform::Platform): the graph's regions are IOASes or containers, addresses of
//! this process, and virtual machines' slots; its memory is files that the kernel keeps in memory. Without a device it needs no
//! privilege:
//!
//! ```
//! use vcm::{AllocationRequest, Attributes, Graph, Part, RegionKind, RegionRequest};
//! use vcm_linux::Linux;
//! use vcm_linux::memory::PageKind;
//! use vcm_linux::platform::{MachineRequest, MemorySpec};
//! use vcm_platform::{Inventory, Platform};
//!
//! let memory = MemorySpec { name: "ram".into(), len: 1 << 20, pages: PageKind::Ordinary };
//! let request = MachineRequest { name: "here".into(), memories: vec![memory], ..MachineRequest::default() };
//! let mut linux = Linux::start(&request)?;
//! let mut graph = Graph::new();
//! let machine = Inventory::register(&mut graph, &linux)?;
//!
//! // 64 KiB that this process sees. A device or a guest would be one more region with the same allocation behind it.
//! let frame = graph.allocate(machine.target(), &AllocationRequest::new("frame", 1 << 16), &mut linux)?;
//! let region = graph.create_region(&RegionRequest::new("process", RegionKind::Cpu, linux.cpu_span()))?;
//! let cpu = machine.device("cpu").ok_or("no CPU")?;
//! let association = graph.associate(region, cpu, Part::Whole, &mut linux)?;
//! graph.activate(association, &mut linux)?;
//! let reservation = graph.reserve(region, 1_u64 << 16, Attributes::READ_WRITE)?;
//! graph.back(reservation, frame, &mut linux)?;
//! println!("the frame is at {}", graph.device_address(reservation)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | module | is |
//! |---|---|
//! | [`platform`] | the whole: devices, memory, guests and their interrupts, from one request |
//! | [`memory`] | memory that processes, devices and guests share; what is exported, wrapped, stitched together |
//! | [`iommufd`] | address spaces for devices: IOAS, page tables, dirty pages, page faults |
//! | [`vfio`] | devices: by their own node or by their group, registers, configuration, interrupts, reset, removal |
//! | [`kvm`] | guests: memory slots, GSIs, forwarding and taking back |
//! | [`host`] | what this machine has; to VFIO and back; what is missing and the line that brings it |
//! | [`dma`] | what IOASes and containers have in common |
//!
//! Each can be used alone. `cargo run -p vcm-linux --example nvme` is a user-space driver, `--example assign` a virtual machine
//! that owns a device.

pub mod dma;
mod error;
pub mod host;
mod ioctl;
pub mod iommufd;
pub mod kvm;
pub mod memory;
pub mod platform;
pub mod vfio;
mod vfio_interrupts;

pub use error::Error;
pub use platform::Linux;
pub use vfio_interrupts::VfioInterrupts;
