//! virtio-iommu: an IOMMU that is asked to map, by requests over a queue in memory.
//!
//! ```
//! use vcm::{Attributes, PhysicalAddress, SIZE_2M, Span};
//! use vcm_iommu::virtio::{Config, Transport, VirtioIommu};
//! use vcm_iommu::{Iommu, SharedMemory, StreamId, Translation};
//! use vcm_pagetable::Segment;
//!
//! /// `transport`: a `PciTransport` or an `MmioTransport` over the device's register windows.
//! fn drive(transport: impl Transport, memory: impl SharedMemory) -> Result<(), Box<dyn std::error::Error>> {
//!     let mut iommu = VirtioIommu::probe(transport, memory, Config::new("virtio"))?;
//!
//!     // Addresses at which nothing may be mapped, such as a doorbell for interrupts.
//!     let stream = StreamId(0x10); // PCI 00:02.0
//!     for reserved in &iommu.reserved(stream)? {
//!         println!("{}: {:?}", reserved.span, reserved.kind);
//!     }
//!
//!     let domain = iommu.create_domain(Translation::Requests)?;
//!     let memory = Segment { physical: PhysicalAddress::new(0x8000_0000), len: SIZE_2M };
//!     iommu.map(domain, 0x1000_0000, memory, Attributes::READ_WRITE)?;
//!     iommu.attach(stream, domain)?; // Transactions pass.
//!
//!     iommu.unmap(domain, Span::new(0x1000_0000, SIZE_2M).expect("a span"))?; // They fault.
//!     while let Some(fault) = iommu.next_fault()? {
//!         println!("{fault}");
//!     }
//!     iommu.detach(stream)?;
//!     iommu.destroy_domain(domain)?;
//!     Ok(())
//! }
//! ```
//!
//! # Who remembers
//! The device knows a domain from its first endpoint to its last, and forgets its mappings with it. Users map before
//! they attach, and expect mappings to stay when they detach; so the driver keeps a list of every domain's mappings,
//! and the first stream that is attached brings them along: whole, or it is not attached. Until they are there, its
//! transactions fault. The same list brings everything back in [`recover`](crate::Iommu::recover).
//!
//! # What holds
//! 1. **A stream that is attached to nothing is blocked.** The feature BYPASS is never accepted, and `bypass` is
//!    cleared before the device goes live. Before [`VirtioIommu::probe`] a device with `bypass` set lets everything
//!    pass, as firmware wants it. A device that does not detach endpoints when it is reset, as it must (5.13.5; QEMU
//!    10.0 is one), lets those of another driver before pass until they are attached here.
//! 2. **One thing at a time is in doubt.** A request that did not complete may still be done, but before anything else
//!    is asked, it must have come back, and what it may have left is undone: a stream is detached, addresses are
//!    unmapped. So a call that answered [`Unresponsive`](crate::Unresponsive) can be repeated, and a stream that was
//!    being attached ends up where the repetition puts it, or blocked.
//! 3. **The device is not trusted with memory.** Of what it writes only used rings, status bytes, properties and reports
//!    are read, each word once, and checked against what it was given. A lie makes a queue answer `Unresponsive`
//!    until [`recover`](crate::Iommu::recover), which resets the device. All waiting ends.
//! 4. **Requests are checked here.** Alignment, ranges and overlaps are refused before the device hears of them: devices
//!    need not check.
//!
//! # What it cannot express
//! There is no flag for instruction fetches, which are reads: [`EXECUTE`](vcm::Access::EXECUTE) is refused. So are
//! supervisor-only and secure mappings, cache policies and shareabilities other than the default, and
//! [`Device`](vcm::MemoryType::Device) memory where the device has no MMIO flag. A device may let reads pass where only
//! writes were asked for (5.13.6.5.2). Faults are not said to be of one kind or the other, and often not whether of
//! a read or a write: what is not told counts as a read of something that is not mapped. Faults for which the device
//! has no buffer are lost in silence.

mod attach;
mod config;
mod domain;
mod driver;
mod events;
mod faults;
mod link;
mod mapping;
mod mmio;
mod pci;
mod properties;
mod queue;
mod recover;
mod request;
mod requests;
pub mod spec;
mod start;
mod transport;

pub use config::Config;
pub use driver::VirtioIommu;
pub use mmio::MmioTransport;
pub use pci::{PciTransport, PciWindows};
pub use properties::{Reserved, ReservedKind};
pub use transport::{Rings, Stranger, Transport};
