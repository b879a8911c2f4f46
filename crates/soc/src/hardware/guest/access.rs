//! What a virtual CPU reaches.

use super::Width;

/// Where an access goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Its distributor.
    Distributor {
        /// The offset in the frame.
        offset: u32,
        /// How much at once.
        width: Width,
    },
    /// A word of its CPU interface.
    Interface {
        /// The offset in the frame.
        offset: u32,
    },
    /// A device's interrupt status: reads give how many requests are open; what is written says how many are quieted.
    Device {
        /// Which one, as it was plugged.
        device: usize,
    },
}

/// What a virtual CPU does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// It waits for an interrupt.
    Wait,
    /// It reads.
    Read(Place),
    /// It writes this.
    Write(Place, u32),
}
