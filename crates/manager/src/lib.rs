//! The mapping graph for many threads.
//!
//! ```
//! use std::thread;
//! use vcm::pool::Policy;
//! use vcm::{AllocationRequest, Attributes, Extent, RegionKind, RegionRequest, SIZE_1M, Span, Untranslated};
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
//!             manager.back(reservation, frame, Extent::Whole)
//!         });
//!     }
//! });
//! assert_eq!(manager.regions().len(), 2);
//! assert_eq!(manager.allocations().len(), 2);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod exclusive;
mod hooks;
mod lock;
mod manager;
mod table;

pub use exclusive::Exclusive;
pub use manager::Manager;
