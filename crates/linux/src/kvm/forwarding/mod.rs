//! A device's interrupts as a guest's: forwarded, and taken back, while they are alive.
//!
//! An interrupt that is assigned to a GSI goes one of two ways:
//!
//! | | the device's interrupt | the guest's end of it |
//! |---|---|---|
//! | automasked | this process is woken and raises the GSI | this process is woken and unmasks the device |
//! | forwarded | raises the GSI in the kernel | unmasks the device in the kernel |
//!
//! Three eventfds make up an interrupt. The *device's* is what the device signals when it is automasked. The
//! *guest's* is KVM's: signalled, it raises the GSI, and for a level-sensitive one KVM lowers the GSI at the guest's
//! end of the interrupt and signals the third, *ended*. Both ways go through the same GSI of the same eventfd, and
//! that is why they can be switched without a gap:
//!
//! - Level: forwarding hands the guest's eventfd to the device in place of the device's own, and *ended* as what
//!   unmasks it. KVM is not told of anything. A signal or an end is consumed by exactly one side, as reading an
//!   eventfd is atomic, and what one side did not take is there when the other one looks.
//! - Edges and messages: the device keeps its eventfd, and KVM takes it in place of this process. To change a
//!   vector's eventfd, VFIO frees and requests the host's interrupt, and a device without a mask bit for its message
//!   could lose one in between (drivers/vfio/pci/vfio_pci_intrs.c).
//!
//! The line is not raised by `KVM_IRQ_LINE` in the automasked way: this process would lower it only after KVM told it
//! of the guest's end, and in the meantime KVM would interrupt the guest once more. An eventfd that resamples is
//! lowered in the same step.

mod control;
mod line;
mod poll;
mod relay;
mod source;
mod table;

pub use control::{ForwardError, Forwarding};
pub use relay::{Relay, Relayed};
pub use source::{InterruptSource, Lending};
pub use table::Way;
