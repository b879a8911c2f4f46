//! The Arm `SMMUv3` (`arm,smmu-v3`).
//!
//! ```no_run
//! use vcm::PhysicalAddress;
//! use vcm_iommu::smmuv3::{Config, Smmu};
//! use vcm_iommu::{Invalidation, Iommu, StreamId, TableFormat, Tables, Translation, Way};
//! # fn run(registers: impl vcm_iommu::Registers, memory: impl vcm_iommu::SharedMemory) -> Result<(), Box<dyn std::error::Error>> {
//! let mut smmu = Smmu::probe(registers, memory, Config::new("pcie-smmu"))?;
//!
//! // A page table as the SMMU would have it: AArch64 stage 1, if it has that stage.
//! let Way::Tables(format) = smmu.preferred() else { unreachable!() };
//! let root = PhysicalAddress::new(0x8000_0000);
//! let domain = smmu.create_domain(Translation::Tables(Tables { format, root }))?;
//!
//! // The function 2.0 of bus 0 translates by it.
//! smmu.attach(StreamId(0x10), domain)?;
//! // ... entries of the table are changed ...
//! smmu.invalidate(domain, &Invalidation::Everything)?;
//! while let Some(fault) = smmu.next_fault()? {
//!     println!("{fault}");
//! }
//! smmu.detach(StreamId(0x10))?;
//! smmu.destroy_domain(domain)?;
//! # Ok(())
//! # }
//! ```
//!
//! # What holds
//! 1. **A stream that is not attached reaches nothing**, from [`Smmu::probe`] on. Its entry is *invalid* rather than one
//!    that aborts: both refuse, but only of an invalid one does the hardware record each transaction (`C_BAD_STE`, and
//!    `C_BAD_STREAMID` where there is no entry), which becomes a fault with the reason
//!    [`NoContext`](vcm::FaultReason::NoContext). [`Unattached::Silent`] chooses the other. While the SMMU is disabled,
//!    during initialisation, everything is aborted (`GBPA.ABORT`).
//! 2. **An entry is never seen half changed.** It changes in steps of one 64-bit word, or of bits that the hardware does
//!    not look at, with the configuration caches emptied after each; where that is not possible, by way of an invalid
//!    entry. A move from one stage-1 domain to another, and between stage 1 and pass-through, has no gap.
//! 3. **Done means seen to be done.** Every change ends with a `CMD_SYNC` that the hardware consumed. What was not seen
//!    to complete within [`Config::polls`] reads is [`Unresponsive`](crate::Unresponsive), and everything that it
//!    concerns stays taken: streams hold the domains that the hardware may use, and an ASID or VMID is not given again.
//! 4. **Illegal commands do not stop the queue.** A command that the hardware refuses is replaced by a `CMD_SYNC`, the
//!    error is acknowledged, and the call that wrote it answers `Unresponsive`, since what it asked for was not done.
//!    It may be repeated. [`Smmu::refused_command`] shows the command.
//! 5. **No event is dropped in silence.** Records of unknown kinds become faults with the reason
//!    [`Configuration`](vcm::FaultReason::Configuration); overflows and aborts of the event queue are acknowledged and
//!    counted. After [`recover`](crate::Iommu::recover), events that were not fetched before it are lost.
//!
//! Records about configuration (`C_BAD_*`, `F_*_FETCH`) tell neither the address nor the access: they appear as a read
//! of address 0.
//!
//! # Memory
//! Where `IDR0.COHACC` is 0 ([`Capabilities::coherent`]) the SMMU does not look into the CPUs' caches: queues and tables
//! are then declared not cacheable to it, [`SharedMemory`](crate::SharedMemory) has to clean and invalidate caches as it
//! says there, and [`TableMemory::publish`](vcm_pagetable::TableMemory::publish) to clean them. Where it is 1 neither
//! has to do anything but keep the order of accesses.
//!
//! # Nested domains
//! The hardware reads the context descriptor of a nested domain through its second table. It is in a page of its own,
//! which the second table must map, for reading, before a stream is attached: [`Smmu::context_page`] says where.
//! [`Iommu::invalidate`](crate::Iommu::invalidate) is about the first table; after changes of the second one there is
//! [`Smmu::invalidate_second`].
//!
//! # What is not there
//! Substreams (PASIDs), ATS and page requests, the EL2 and secure worlds, enhanced command queues, 52-bit addresses, and
//! hardware updates of access flags. `CMD_SYNC` is polled for; it raises no interrupt.

mod capabilities;
mod commands;
mod config;
mod domain;
mod entry;
mod errors;
mod events;
mod interface;
mod queue;
mod ranges;
mod smmu;
pub mod spec;
mod statistics;
mod streams;
mod table;
mod tlb;

pub use capabilities::Capabilities;
pub use config::{Config, Interrupts, Message, Stage, Stalls, StreamTable, Unattached};
pub use domain::ContextPage;
pub use smmu::Smmu;
pub use statistics::Statistics;
pub use table::SPLIT;
pub use tlb::PAGEWISE_LIMIT;
