//! The registers of GICv3: offsets and fields, no behaviour. Sections are those of Arm IHI 0069H.

mod gicd;
mod gicr;
mod icc;
mod ich;

pub use gicd::*;
pub use gicr::*;
pub use icc::*;
pub use ich::*;
