//! kvm-vfio: the control by which a user makes a device's interrupts a guest's.
//!
//! It is the barrier between the two sides: from above it knows devices, indexes and sub-indexes, from below virtual
//! machines and guest interrupts. Here the one becomes a host line, and what goes down is a line and a guest interrupt.
//!
//! The interface is that of "KVM: kvm-vfio: generic forwarding control" (2014, linux-arm-kernel), as its
//! review left it: a reference on a device is held exactly while an interrupt of it is registered, and
//! un-forwarding cannot fail. The errors of this control and of all that it stands for are one type,
//! [`ControlError`], with one number each.

mod argument;
mod control;
mod error;
#[cfg(doctest)]
mod layers;

pub use argument::{Argument, Attribute, Descriptors, GROUP, UserMemory};
pub use control::{Done, KvmVfio};
pub use error::{ControlError, DescriptorError, Fault};
