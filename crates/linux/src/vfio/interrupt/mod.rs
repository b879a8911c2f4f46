//! A device's interrupts.
//!
//! An interrupt has an index (`INTx`, MSI, MSI-X; on other buses one for each line) and a number in it
//! ([`DeviceInterrupt`]). The kernel signals an eventfd for it, its *trigger*. [`Interrupt`] is an interrupt whose trigger is
//! its own; [`Device::set_trigger`](super::Device::set_trigger) takes anybody's.
//!
//! # Giving a live interrupt to somebody else
//! Two ways lead into a guest, and both lose nothing:
//!
//! - *The eventfd stays, its reader changes*: the interrupt's own eventfd ([`AsFd`](rustix::fd::AsFd)) becomes the source of
//!   KVM's irqfd. KVM takes what the eventfd has counted already when it is assigned, and takes every signal before anybody
//!   who polls; when it is taken off, signals count up again. VFIO hears nothing of it.
//! - *The trigger changes*: [`Interrupt::redirect`] and [`Interrupt::take_back`].
//!
//! The first is the better one for messages, since the kernel's handler stays in place. What the kernel guarantees for the
//! second (drivers/vfio/pci/vfio_pci_intrs.c):
//!
//! - **Nothing after return.** The kernel waits for handlers that run: by `synchronize_irq` for `INTx`, where the trigger is
//!   replaced in place, and by `free_irq` for messages, where the handler is taken out and the next put in. The old
//!   eventfd is signalled no more when the call returns. The work that signals after an unmasking by eventfd is flushed too.
//!   What the interrupt's own eventfd has counted and nobody has taken is told to the new listener instead, as one.
//! - **`INTx`: nothing lost.** It is a level, and masked when it is signalled. If the former listener was signalled and did not
//!   come to unmask it, nobody would: the sequence is therefore mask, take the old unmask eventfd away, replace the
//!   trigger, set the new unmask eventfd, unmask. Unmasking looks at the line, and signals at once if it is still asserted.
//! - **Messages, and edges of other buses: one too many rather than one too few.** A message that was on its way when the
//!   handler is taken out is lost in the kernel, with MSI-X too: the pending bits of its table keep only what the device has
//!   not sent yet. So the new trigger is signalled once after each change.

mod info;
mod line;
mod set;
mod table;

pub use info::{ERROR, INTX, InterruptFlags, InterruptInfo, MSI, MSIX, REQUEST};
pub use line::Interrupt;
pub(super) use table::Table;
pub use vcm_irq::DeviceInterrupt;
