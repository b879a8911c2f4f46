//! kvm-vfio: the control by which a user makes a device's interrupts a guest's.
//!
//! It is the barrier between the two sides: from above it knows devices, indexes and sub-indexes, from below virtual
//! machines and guest interrupts. Here the one becomes a host line, and what goes down is a line and a guest interrupt.
//!
//! The interface is that of "KVM: kvm-vfio: generic forwarding control" (2014, linux-arm-kernel), as its
//! review left it: a reference on a device is held exactly while an interrupt of it is registered, and
//! un-forwarding cannot fail. The errors of this control and of all that it stands for are one type,
//! [`ControlError`], with one number each.
//!
//! The interface is one thing, [`Control`], and the engine below it another. [`KvmVfio`] is it over the engine of this
//! crate; where an operating system has an engine of its own, the same interface stands over that.

mod argument;
mod control;
mod engine;
mod error;
#[cfg(doctest)]
mod layers;

pub use argument::{Argument, Attribute, Descriptors, GROUP, UserMemory};
pub use control::KvmVfio;
pub use engine::{Control, Done};
pub use error::{ControlError, DescriptorError, Fault};
