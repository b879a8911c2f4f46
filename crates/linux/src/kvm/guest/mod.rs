//! A guest of a few hundred bytes: it takes interrupts, quiets their device, ends them and counts.
//!
//! For trying and showing how interrupts reach a guest. It runs in 32-bit protected mode without paging, so that all
//! it uses is below 4 GiB.

mod code;
mod counters;
mod handler;
mod image;
mod program;

pub use counters::Counts;
pub use program::{Guest, GuestProgram};

/// How an interrupt reaches the guest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// As a level of this pin of the I/O APIC, which is the GSI of the same number.
    Level {
        /// 0 to 23.
        gsi: u32,
    },
    /// As a message: [`GuestProgram::message`] says which.
    Message,
}

/// Where a device tells whether it wants something: 32 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// Guest physical address.
    pub at: u32,
    /// Which bits say so.
    pub mask: u32,
}

/// What quiets a device: a write of 32 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acknowledgement {
    /// Guest physical address.
    pub at: u32,
    /// What is written.
    pub value: Value,
}

/// What is written to quiet a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value {
    /// The bits of the status that were set.
    Status,
    /// Always this.
    Constant(u32),
}

/// When a guest's driver quiets its device.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Order {
    /// Before it ends the interrupt: as most drivers do.
    QuietThenEnd,
    /// After it: a level-sensitive interrupt comes once more, and there is nothing to do then.
    EndThenQuiet,
    /// It masks the pin, ends the interrupt, quiets the device and unmasks the pin: a threaded ("oneshot") handler.
    /// Levels only.
    Oneshot,
}

/// One interrupt of the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interrupt {
    /// How it comes.
    pub kind: Kind,
    /// Its vector: 32 to 254, no other interrupt's.
    pub vector: u8,
    /// Where the device tells whether it wants something. Without it, every interrupt counts as delivered.
    pub status: Option<Status>,
    /// What quiets the device.
    pub acknowledgement: Option<Acknowledgement>,
    /// When that is done.
    pub order: Order,
}
