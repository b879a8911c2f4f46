//! Host interrupts: what the bus driver owns, and what the layers between it and the architecture pass on.
//!
//! A line is opened once and closed once. Between the two, one handler ([`Host::handle`]) takes its interrupts in
//! whatever mode it is; there is no moment without a handler and none with two. The mode and every reason to keep the
//! line quiet are bits of one word, read and changed without a lock:
//!
//! | state | who sets it | what ends it |
//! |---|---|---|
//! | masked by the user | [`Host::mask`] | [`Host::unmask`] |
//! | automasked: in flight, in the ordinary way | the handler, for level-sensitive lines | [`Host::complete`], or the user's unmask |
//! | masked by the guest | the guest's interrupt controller, while forwarded | the same |
//! | stormed | the handler | [`Host::rearm`] |
//! | undelivered: forwarded, and the guest has it disabled or goes nowhere with it | the handler | the guest's changing that, un-forwarding, [`Host::rearm`] |
//! | forwarded | the control interface | un-forwarding |
//!
//! Whoever changes the word brings the hardware in line with it afterwards, and looks again whether it still is what he
//! has written; so the last one always leaves the two alike. Switching the mode or the trigger, and closing, keep the
//! line quiet, wait until nobody uses it, and only then do what they are for: nothing happens late.

mod controller;
mod handler;
mod line;
mod statistics;
mod storm;
mod switch;
mod word;

pub use controller::{Acknowledged, Controller, CpuInterface};
pub use handler::{Handled, ShutReason, Taken, Trigger};
pub use line::{Host, LineState, OpenError, OpenLine};
pub use statistics::LineStatistics;
pub use storm::StormLimit;
pub use switch::Joined;
pub(crate) use switch::{Progress, SwitchRefused};
