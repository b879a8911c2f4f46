//! AMD-Vi: the AMD IOMMU, with host tables (version 1).
//!
//! ```no_run
//! use vcm::PhysicalAddress;
//! use vcm_iommu::amdvi::{AmdVi, Config};
//! use vcm_iommu::{
//!     Invalidation, Iommu, Registers, SharedMemory, StreamId, TableFormat, Tables, Translation,
//! };
//!
//! # fn example(registers: impl Registers, memory: impl SharedMemory) -> Result<(), Box<dyn std::error::Error>> {
//! let mut iommu = AmdVi::probe(registers, memory, Config::new("amd-iommu"))?;
//!
//! let format = TableFormat::AmdV1 { levels: 4 };
//! let root = PhysicalAddress::new(0x120_0000);
//! let domain = iommu.create_domain(Translation::Tables(Tables { format, root }))?;
//! iommu.attach(StreamId(0x10), domain)?;
//!
//! // Entries of the table were cleared:
//! iommu.invalidate(domain, &Invalidation::Everything)?;
//! // Only now may the memory be given to another use.
//!
//! while let Some(fault) = iommu.next_fault()? {
//!     println!("{fault}");
//! }
//! iommu.detach(StreamId(0x10))?;
//! iommu.destroy_domain(domain)?;
//! # Ok(())
//! # }
//! ```
//!
//! # What holds
//! 1. **A stream without a domain reaches nothing**, from the end of [`AmdVi::probe`] on. Its entry of the device
//!    table is valid and allows neither reads nor writes: without a valid entry, or while the IOMMU is off,
//!    everything would pass.
//! 2. **Done means waited for.** Each change of an entry or a table is followed by the invalidations that belong to
//!    it, and by a `COMPLETION_WAIT` that stores a number that it never stored before. The driver waits for that
//!    number and believes nothing else.
//! 3. **An entry changes while it blocks.** One write of one word opens it, and one write closes it.
//! 4. **A number is reused only after an invalidation.** Domain ids are of one domain each. What did not complete
//!    keeps its number, its domain and its streams.
//! 5. **A command that fails does not lose others.** When the hardware stops at one, the command buffer is switched
//!    off, emptied and switched on again, and the batch is executed anew.
//!
//! # What the hardware does not tell
//! Of a page that is not present it does not say whether it was to be read or written; such a fault is reported as
//! a read, unless the hardware says more. There is no asking where an address leads.
//!
//! # What the driver does not do
//! Interrupts are not remapped; they pass. Guest translations, page requests and devices that cache translations
//! are not used. The exclusion range is off. An IOMMU that caches what is *not* present (NpCache in its capability
//! header, which emulations set for their own sake) needs an [`invalidate`](crate::Iommu::invalidate) after mapping
//! as well. A device table that is shorter than the device ids ([`Config::last_device`]) is safe only where no
//! device has a higher one.

mod commands;
mod config;
mod device_table;
mod driver;
mod events;
mod interface;
mod port;
pub mod spec;

pub use config::{Config, Interrupts};
pub use driver::AmdVi;
pub use interface::RANGES_LIMIT;
