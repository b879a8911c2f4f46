//! The registers of GICv2: offsets and fields, no behaviour. Sections are those of Arm IHI 0048B.b.

mod gicc;
mod gicd;
mod gich;
mod gicv;

pub use gicc::*;
pub use gicd::*;
pub use gich::*;
pub use gicv::*;
