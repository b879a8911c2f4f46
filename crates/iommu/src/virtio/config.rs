//! What the driver is told.

use vcm::Label;

/// What the driver is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// The IOMMU's name in errors.
    pub label: Label,
    /// How many descriptors each queue has at most, less where the device has fewer. A request takes two, an event one:
    /// half as many requests go in one notification, and as many events fit before the device drops some. Rounded
    /// down to a power of two, 2 to 64.
    pub queue_size: u16,
    /// How often the device's status is read before a request or a reset that does not complete is given up. Each
    /// reading is an access to the device, and between two the queue in memory is looked at.
    pub patience: u32,
}

impl Config {
    /// Queues of 64 descriptors, and 100 000 readings of the status: a fifth of a second where one takes two
    /// microseconds.
    pub const fn new(label: &str) -> Self {
        Self { label: Label::new(label), queue_size: 64, patience: 100_000 }
    }

    /// The same, with smaller queues.
    #[must_use]
    pub const fn with_queue_size(self, queue_size: u16) -> Self {
        Self { queue_size, ..self }
    }

    /// The same, with another patience.
    #[must_use]
    pub const fn with_patience(self, patience: u32) -> Self {
        Self { patience, ..self }
    }
}
