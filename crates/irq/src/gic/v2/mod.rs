//! GICv2 with the virtualization extensions: everything by memory-mapped registers.
//!
//! # Groups and security
//!
//! [`Distributor`] and [`CpuInterface`] are given the [`Group`](crate::vgic::Group) of host interrupts, and have to be
//! given the same one:
//!
//! - [`Group::Zero`](crate::vgic::Group::Zero) goes by the first enable bits and by `GICC_IAR`. It is for a GIC without
//!   the Security Extensions. It is also for Non-secure software on a GIC with them, to which its only group, group 1,
//!   shows itself in just these bits (Arm IHI 0048B.b 4.3.1, 4.4.1).
//! - [`Group::One`](crate::vgic::Group::One) goes by the second enable bits and by `GICC_AIAR`, for software that sees
//!   both groups and leaves group 0 to somebody else, who takes it as FIQ.

mod cpu_interface;
mod distributor;
mod list_register;
pub mod spec;
mod virtual_interface;

pub use cpu_interface::CpuInterface;
pub use distributor::Distributor;
pub use list_register::{completes, decode, encode};
pub use virtual_interface::VirtualInterface;
