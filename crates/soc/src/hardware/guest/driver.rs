//! A driver in a guest.

/// Whether an interrupt's handler runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Service {
    /// Nothing is in progress.
    Rests,
    /// It was acknowledged, and is not ended.
    Runs,
}

/// A driver, and what its handler has counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Driver {
    /// Its device, as it was plugged.
    pub device: usize,
    /// Its interrupt.
    pub number: u32,
    /// Whether the handler runs.
    pub service: Service,
    /// How often the handler ran and found the device asking.
    pub delivered: u64,
    /// How often it ran and the device had asked for nothing.
    pub spurious: u64,
}

impl Driver {
    pub(super) const fn new(device: usize, number: u32) -> Self {
        Self { device, number, service: Service::Rests, delivered: 0, spurious: 0 }
    }
}
