//! Memory at guest physical addresses: KVM's slots.

mod guest;
mod mapping;
mod protection;
mod slots;

pub use guest::{GuestMemory, Mapped};
pub use mapping::HostMapping;
pub use protection::Protection;
pub(super) use slots::Slots;
