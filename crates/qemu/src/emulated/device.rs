//! The machine's devices: what stands behind each name.

use super::master::Master;
use vcm::{RegionKind, SpaceHandle};
use vcm_iommu::StreamId;

/// A device.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) kind: RegionKind,
    pub(super) unit: Unit,
    /// What it translates through. Only a CPU may have several.
    pub(super) attached: Vec<SpaceHandle>,
}

/// What moves a device's bytes.
#[derive(Debug)]
pub(super) enum Unit {
    /// A bus master.
    Master(Master),
    /// A controller that a driver elsewhere programs; it makes no transfers for us.
    Controller(StreamId),
    /// This process.
    Played,
}

impl Unit {
    /// The stream of its transactions at the IOMMU, if it makes any there.
    pub(super) const fn stream(&self) -> Option<StreamId> {
        match self {
            Self::Master(master) => Some(master.stream()),
            Self::Controller(stream) => Some(*stream),
            Self::Played => None,
        }
    }
}

impl Device {
    pub(super) const fn new(kind: RegionKind, unit: Unit) -> Self {
        Self { kind, unit, attached: Vec::new() }
    }
}
