//! The seam to a machine: what any machine offers to the mapping graph.
#![forbid(unsafe_code)]

mod interrupts;
mod inventory;
pub mod job;
mod platform;
pub mod topology;
mod transfer;
mod transfers;
mod visit;

pub use interrupts::{
    AssignmentHandle, AssignmentRequest, GuestEnd, GuestHandle, GuestRequest, InterruptCounts,
    InterruptRemains, Interrupts, LineDescription, Pace, Quieting, Stage, Way,
};
pub use inventory::Inventory;
pub use platform::{DeviceDescription, Event, FaultToken, MemoryDescription, Platform, PlatformError};
pub use transfer::{
    Checksum, Layout, Outcome, Rectangle, Surface, Transfer, TransferReport, pattern, splitmix64,
};
pub use transfers::{NotStarted, Transfers};
pub use visit::{BadSurface, Bursts, Run, Visit};
