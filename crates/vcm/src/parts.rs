//! What a graph is made of, for those who lock the parts apart.
//!
//! [`Graph`](crate::Graph) puts the parts together for one caller at a time. A composition for many callers (the
//! crate `vcm-manager`) gives each region, each allocation, the table of devices and the targets a lock of its own.
//! Whoever takes more than one takes them in this order:
//!
//! 1. the table of devices
//! 2. regions, by ascending identifier
//! 3. allocations, by ascending identifier
//! 4. the targets with their pools
//! 5. whatever the hardware layer locks
//!
//! The operations are those of the graph; their documentation is there.

pub use crate::allocation::Allocation;
pub use crate::association::Devices;
pub use crate::backing::unback;
pub use crate::lookup::Lookup;
pub use crate::region::Region;
pub use crate::space::reap_ranges;
pub use crate::target::Targets;
