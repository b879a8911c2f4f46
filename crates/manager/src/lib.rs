//! The mapping graph for many threads.
//!
//! ```
//! use std::thread;
//! use vcm::pool::Policy;
//! use vcm::{AllocationRequest, Attributes, RegionKind, RegionRequest, SIZE_1M, Span, Untranslated};
//! use vcm_manager::{Exclusive, Manager};
//!
//! # fn main() -> Result<(), vcm::Error> {
//! let manager = Manager::new(Exclusive::new(Untranslated));
//! let memory = Span::new(0x8000_0000, 64 * SIZE_1M).expect("a span");
//! let pool = manager.add_pool("ddr", memory, Policy::Splitting)?;
//! let target = manager.add_target("main", &[pool])?;
//!
//! // Two threads, each with a region of its own: neither waits for the other.
//! thread::scope(|scope| {
//!     for name in ["camera", "display"] {
//!         let manager = &manager;
//!         scope.spawn(move || -> Result<(), vcm::Error> {
//!             let region = manager.create_region(&RegionRequest::new(name, RegionKind::OneToOne, memory))?;
//!             let frame = manager.allocate(target, &AllocationRequest::new("frame", SIZE_1M).contiguous())?;
//!             let reservation = manager.reserve(region, SIZE_1M, Attributes::READ_WRITE)?;
//!             manager.back(reservation, frame)
//!         });
//!     }
//! });
//! assert_eq!(manager.regions().len(), 2);
//! assert_eq!(manager.allocations().len(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! # Beside the graph
//! [`Manager`] has the operations of [`vcm::Graph`], with the same names, arguments and errors, less the hardware. What
//! differs:
//!
//! - **Lists are vectors.** What looks at several parts ([`Manager::regions`], [`Manager::allocations`],
//!   [`Manager::mappers`], [`Manager::address_in`], [`Manager::quarantined`]) locks one after the other. Each part of
//!   the answer was true at a moment, while others went on.
//! - **Hooks** are named by [`vcm::DeviceHandle`], as faults are, and called without any lock held.
//!   [`Manager::handle_fault`] says who answered, and not which region the device was translating through.
//! - **Allocations** are listed by name and length.
//! - **No plans**: one that is kept would keep its locks ([`vcm::Graph::plan_back`]).
//! - **Only in the graph**, so far: what there is to know of single allocations, devices, associations, pools, targets
//!   and bounds, looking up by physical address (`who_maps`, `allocation_at`, `physical_at`), `translate`, `leaves`,
//!   `table_root`, the views and `remove_target`.
#![forbid(unsafe_code)]

mod exclusive;
mod hooks;
mod lock;
mod manager;
mod table;

pub use exclusive::Exclusive;
pub use manager::Manager;
