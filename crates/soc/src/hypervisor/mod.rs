//! A small hypervisor that gives devices' interrupts to guests, by [`vcm_irq`], as a real one would.
//!
//! It is host software: what it knows of the machine are registers. Its parts are
//! - the [world](world): the host's interrupts, the CPUs, the guests, and where an interrupt's token leads;
//! - the [run loop](run): a physical interrupt, a maintenance interrupt, a kick or a trapped access is an
//!   exit, by which the list registers are saved; what there is to be done is done, and the vCPU enters its
//!   guest again. vCPUs take turns where there are more of them than CPUs, and idle CPUs help others out;
//! - the [VMM](vmm): a program that opens devices, connects their triggers to the guest, forwards them, and
//!   can be killed.
//!
//! One thread runs all CPUs, a step of one at a time. Who has to wait for a vCPU to leave its guest makes it leave.
//!
//! A guest that waits for an interrupt does so within the guest, unless another vCPU wants its CPU.

mod account;
mod host;
mod meter;
mod run;
mod seat;
mod status;
mod vmm;
mod window;
mod world;

pub(crate) use run::Turn;
pub(crate) use vmm::{DeviceLine, Hypervisor};
pub use world::HypervisorError;
