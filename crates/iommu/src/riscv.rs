//! The RISC-V IOMMU, version 1.0.
//!
//! ```no_run
//! use vcm::PhysicalAddress;
//! use vcm_iommu::riscv::{Config, RiscvIommu};
//! use vcm_iommu::{
//!     Invalidation, Iommu, Registers, SharedMemory, StreamId, TableFormat, Tables, Translation,
//! };
//!
//! # fn example(registers: impl Registers, memory: impl SharedMemory) -> Result<(), Box<dyn std::error::Error>> {
//! let mut iommu = RiscvIommu::probe(registers, memory, Config::new("pcie"))?;
//!
//! let format = TableFormat::RiscvFirstStage { levels: 4 };
//! let root = PhysicalAddress::new(0x8020_0000);
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
//! 1. **A stream without a domain reaches nothing.** The IOMMU is never in the mode `Bare`: from the first write of
//!    [`RiscvIommu::probe`] on it refuses everything, and later every device without a valid context.
//! 2. **Done means fenced.** Each change of a context or a table is followed by the invalidations that the
//!    specification's software guidelines name, and by an `IOFENCE.C` that orders the device's earlier reads and
//!    writes and then stores a number that it never stored before. The driver waits for that number and believes
//!    nothing else.
//! 3. **A context changes while it is not valid.** It is made valid by its last write, and invalid by its first.
//! 4. **A number is reused only after an invalidation.** Process and guest soft-context ids are of one domain each.
//!    What did not complete keeps its numbers, its domain and its streams.
//! 5. **A command that fails does not lose others.** After an error the queue goes on, the illegal command is
//!    replaced, and the batch that may have suffered is executed again. After a fence that did not complete the
//!    queue is switched off and on again before it is used.
//!
//! # What the hardware does not tell
//! A page fault does not say whether something is mapped: all of them are reported as
//! [`Translation`](vcm::FaultReason::Translation), also one for want of permission. A request to write that
//! [`translate`](crate::Iommu::translate) makes is one to read and write.
//!
//! # What the driver does not use
//! Process directories, address translation services and page requests, translated interrupts, hardware updates of
//! accessed and dirty bits (tables have both set from the start), big-endian memory, Sv32.

mod commands;
mod config;
mod directory;
mod domain;
mod driver;
mod faults;
mod interface;
mod port;
pub mod spec;

pub use config::{Config, Interrupts, Svnapot};
pub use domain::PAGEWISE_LIMIT;
pub use driver::RiscvIommu;
