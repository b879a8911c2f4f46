//! Intel VT-d (Virtualization Technology for Directed I/O), legacy and scalable mode.
//!
//! ```
//! use vcm::PhysicalAddress;
//! use vcm_iommu::vtd::{Config, Vtd};
//! use vcm_iommu::{
//!     Invalidation, Iommu, IommuError, Registers, SharedMemory, StreamId, TableFormat, Tables, Translation,
//! };
//!
//! /// Lets the device 00:02.0 use the addresses that the table at `root` maps, for a while.
//! fn lend<R: Registers, M: SharedMemory>(
//!     vtd: &mut Vtd<R, M>,
//!     root: PhysicalAddress,
//! ) -> Result<(), IommuError> {
//!     let format = TableFormat::VtdSecondStage { levels: 4 };
//!     let domain = vtd.create_domain(Translation::Tables(Tables { format, root }))?;
//!     let device = StreamId(0x0010);
//!     vtd.attach(device, domain)?;
//!     // The device works. Entries of the table are changed, and then:
//!     vtd.invalidate(domain, &Invalidation::Everything)?;
//!     // Only now may memory that was mapped before be given to another use.
//!     while let Some(fault) = vtd.next_fault()? {
//!         println!("{fault}");
//!     }
//!     vtd.detach(device)?;
//!     vtd.destroy_domain(domain)
//! }
//! # let _ = lend::<Window, Memory>;
//! # #[derive(Debug)]
//! # struct Window;
//! # impl Registers for Window {
//! #     fn read(&mut self, _: u32) -> u32 { u32::MAX }
//! #     fn write(&mut self, _: u32, _: u32) {}
//! # }
//! # #[derive(Debug)]
//! # struct Memory;
//! # impl SharedMemory for Memory {
//! #     fn allocate(&mut self, _: u64, _: u64) -> Result<PhysicalAddress, vcm::OutOfMemory> { Err(vcm::OutOfMemory) }
//! #     fn free(&mut self, _: PhysicalAddress, _: u64) {}
//! #     fn read32(&mut self, _: PhysicalAddress) -> u32 { 0 }
//! #     fn write32(&mut self, _: PhysicalAddress, _: u32) {}
//! #     fn read64(&mut self, _: PhysicalAddress) -> u64 { 0 }
//! #     fn write64(&mut self, _: PhysicalAddress, _: u64) {}
//! # }
//!
//! // A window with nothing behind it is told from a unit:
//! let error = Vtd::probe(Window, Memory, Config::new("dmar0")).unwrap_err();
//! assert_eq!(error.to_string(), "iommu dmar0: nothing answers, VER reads 0xffffffff");
//! ```
//!
//! # From a requester to its tables
//! The unit looks a PCI function up by its requester id, bus << 8 | device << 3 | function, which is its
//! [`StreamId`](crate::StreamId). In legacy mode, a root entry for the bus leads to a context entry for the function,
//! and that to a second-stage table. In scalable mode, the context entry leads to a table of process address spaces
//! (PASIDs), and an entry there to a first-stage or second-stage table. This driver uses one PASID, number 0, for all
//! requests without one, and one PASID table for each domain. [`Mode`] says which; [`Config::mode`] chooses.
//!
//! # What holds
//! 1. **Who is not attached reaches nothing.** Its context entry is not present, from before translation is enabled.
//! 2. **Entries are valid as a whole.** The word with the present bit is written last, and cleared first. A requester
//!    that moves to another domain is blocked in between, until caches have forgotten the old entry.
//! 3. **Done means seen to be done.** Each invalidation is followed by a wait descriptor, whose status the hardware
//!    writes to memory; or, without a queue, by reading how much the hardware says to have invalidated.
//! 4. **A domain id goes to another domain only after invalidation.** Where that does not complete, the domain stays,
//!    and so does its requester; the call is repeated, or [`recover`](crate::Iommu::recover) completes it.
//! 5. **A wrong descriptor stops nothing for long.** Where the queue stands still at an error, what stands in it is
//!    replaced by waits that do no harm, and what was asked for is given anew. A queue that refuses again is reported.
//!
//! # What to know
//! - **Missing or forbidden?** A second-stage entry has no present bit: nothing mapped is an entry without permissions.
//!   The hardware reports both as [`Permission`](vcm::FaultReason::Permission), and so does this driver. Who owns the
//!   tables can tell. The first stage reports [`Translation`](vcm::FaultReason::Translation).
//! - **Addresses of faults are those of pages** (4 KiB): the hardware records no more.
//! - **0xfee0_0000 to 0xfeef_ffff** ([`INTERRUPT_ADDRESSES`]) are interrupts, whatever a table says. No device address
//!   may be given out there, and no translation may lead there.
//! - **Caching mode**, in which hardware (in fact: virtual machines' monitors) remembers what is not mapped, is refused
//!   by [`Vtd::probe`]: nobody tells the driver of new mappings.
//! - **Write buffers** (`CAP.RWBF`, chipsets of 2008) need [`Vtd::flush_write_buffer`] after mapping.
//! - **What firmware left on**: protected memory regions (`CAP.PLMR`, `CAP.PHMR`) and advanced fault logging (`CAP.AFL`)
//!   stay as they are. Regions may block what a domain maps; a log takes the faults that this driver looks for elsewhere.
//! - Nested translation, device TLBs, page requests, PASIDs other than 0 and posted interrupts are not used.

mod config;
mod domains;
mod driver;
mod faults;
mod global;
mod interrupts;
mod invalidate;
mod queue;
mod request;
pub mod spec;
mod streams;

pub use config::{Config, Mode};
pub use driver::Vtd;
pub use faults::{BlockedInterrupt, BlockedReason, Event};
pub use interrupts::{
    BlockSize, Delivery, DestinationMode, Destinations, INTERRUPT_ADDRESSES, InterruptBlockId,
    InterruptMessage, InterruptTarget, Trigger,
};
pub use invalidate::SELECTIVE_LIMIT;
