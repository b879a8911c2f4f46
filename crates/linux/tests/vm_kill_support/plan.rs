//! When a process is killed.

use super::resets::Reset;
use super::tally::Stage;
use std::time::Duration;
use vcm_platform::splitmix64;

/// So long after it has come so far.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub stage: Stage,
    pub delay: Duration,
    /// Whether the kernel can reset the device when the process opens it and when it is killed.
    pub reset: Reset,
}

impl Plan {
    /// The `number`-th of a seed: of eight, one before and one while it opens the device, one while it brings it up, and
    /// five under load.
    pub fn new(seed: u64, number: u64) -> Self {
        let stage = match splitmix64(seed, 2 * number) % 8 {
            0 => Stage::Started,
            1 => Stage::Opening,
            2 => Stage::Opened,
            _ => Stage::Loaded,
        };
        // Up to 30 ms, the shorter the likelier: half are below 4 ms.
        let part = (splitmix64(seed, 2 * number + 1) >> 11) as f64 / (1_u64 << 53) as f64;
        let delay = Duration::from_secs_f64(0.03 * part.powi(3));
        // Twice in a row the device is left and found as it was.
        let reset = if number.is_multiple_of(3) { Reset::Possible } else { Reset::Impossible };
        Self { stage, delay, reset }
    }
}
