//! The machine's devices: what stands behind each name.

use super::assigned::Assigned;
use vcm::{RegionKind, SpaceHandle};

/// A device.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) kind: RegionKind,
    pub(super) unit: Unit,
    /// What it translates through. Only a CPU may have several.
    pub(super) attached: Vec<SpaceHandle>,
    /// The number of its format.
    pub(super) format: u32,
}

/// What makes a device's accesses.
#[derive(Debug)]
pub(super) enum Unit {
    /// A device of this machine.
    Assigned(Box<Assigned>),
    /// This process.
    Played,
}
