//! KVM: virtual machines whose memory and interrupts are the mapping graph's.
//!
//! | file | is |
//! |---|---|
//! | `open`, `capabilities`, `vm` | `/dev/kvm`, what it can do, a virtual machine with its interrupt controller |
//! | `memory/` | pieces of shared memory, and registers of assigned devices, at guest physical addresses |
//! | `routing`, `irqfd` | which GSI is which pin or message; eventfds that raise GSIs, and that tell of their end |
//! | `forwarding/` | a device's interrupt as a guest's, and taken back, while it is alive: the control of `vcm_irq` |
//! | `vfio_files` | what KVM is told of assigned devices |
//! | `vcpu` | a thread for each virtual CPU |
//! | `guest/` | a guest of a few hundred bytes that takes interrupts, quiets their device and counts |
//!
//! The kernel's documentation of all this is `Documentation/virt/kvm/api.rst` and
//! `Documentation/virt/kvm/devices/vfio.rst`.

mod capabilities;
mod eventfd;
pub mod forwarding;
#[cfg(target_arch = "x86_64")]
pub mod guest;
mod irqfd;
mod memory;
mod open;
mod routing;
#[cfg(target_arch = "x86_64")]
pub mod vcpu;
mod vfio_files;
mod vm;

pub(crate) use eventfd::borrow;

pub use capabilities::Capabilities;
pub use irqfd::Ending;
pub use memory::{GuestMemory, HostMapping, Mapped, Protection};
pub use open::Kvm;
pub use routing::{Message, Routing};
pub use vfio_files::VfioFiles;
pub use vm::{InterruptController, Vm};
