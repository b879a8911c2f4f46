//! kvm: virtual machines, and the routes by which interrupts reach them. Knows host interrupts and guest
//! interrupts, and nothing of devices.

mod bypass;
mod eventfds;
mod forwarding;

pub use crate::route::Route;
pub use crate::vgic::Fallback;
pub(crate) use bypass::part_and_resume;
pub use bypass::{Bypass, Connection, RegisterError};
pub use eventfds::{Eventfds, Irqfd, Resample};
pub use forwarding::{JoinError, Mode, join, part};
