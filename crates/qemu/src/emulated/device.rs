//! The machine's devices: what stands behind each name.

use super::job::{Job, Refusal};
use super::master::Master;
use vcm::{Privilege, RegionKind, SpaceHandle};
use vcm_iommu::StreamId;
use vcm_platform::FaultToken;

/// A device.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) kind: RegionKind,
    pub(super) unit: Unit,
    /// What it translates through. Only a CPU may have several.
    pub(super) attached: Vec<SpaceHandle>,
    /// The transfer under way.
    pub(super) work: Option<Work>,
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

/// A transfer under way.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) job: Job,
    pub(super) privilege: Privilege,
    /// How many bytes were done when progress was last told.
    pub(super) told: u64,
    /// A fault that waits for its answer.
    pub(super) waits: Option<(FaultToken, Refusal)>,
}

impl Device {
    pub(super) const fn new(kind: RegionKind, unit: Unit) -> Self {
        Self { kind, unit, attached: Vec::new(), work: None }
    }
}
