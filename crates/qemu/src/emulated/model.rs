//! What of QEMU is here, and what has to be known of its IOMMUs beside their specifications.

use super::master::Records;
use super::watched::Asking;
use crate::error::Error;
use crate::iommu_machine::{IommuModel, NEEDED, device_tree};
use crate::version::{Version, check};
use std::time::Duration;

/// How long `--version` may take.
const PATIENCE: Duration = Duration::from_secs(10);

impl IommuModel {
    /// The version of the QEMU that has this machine here.
    ///
    /// # Errors
    /// [`Error::Missing`] and [`Error::TooOld`] name what is needed.
    pub fn available(self) -> Result<Version, Error> {
        check(self.program(), NEEDED, PATIENCE)
    }

    /// Why no fault is ever seen on this machine, where that is so.
    pub const fn records_no_faults(self) -> Option<&'static str> {
        match self {
            Self::AmdVi => Some("QEMU's AMD-Vi never moves the tail of its event log"),
            _ => None,
        }
    }

    /// How its IOMMU records refusals.
    pub(super) const fn records(self) -> Records {
        match self {
            Self::VtdLegacy
            | Self::VtdScalable
            | Self::VtdScalableFirstStage
            | Self::Riscv
            | Self::RiscvPci => Records::NotFromCache,
            Self::VirtioOnArm | Self::VirtioOnPc => Records::WithoutAccess,
            Self::NoneOnArm | Self::Smmuv3 | Self::AmdVi => Records::All,
        }
    }

    /// Whether its IOMMU can be asked where an address leads.
    pub(super) const fn asking(self) -> Asking {
        match self {
            Self::Riscv | Self::RiscvPci => Asking::Useless,
            _ => Asking::AsDriven,
        }
    }

    /// The device tree that QEMU makes for the machine; `None` for PCs, which have none. No machine runs.
    ///
    /// # Errors
    /// [`Error::Missing`] and [`Error::TooOld`], and those of [`device_tree()`].
    pub fn device_tree(self) -> Result<Option<Vec<u8>>, Error> {
        self.available()?;
        if !self.has_device_tree() {
            return Ok(None);
        }
        let arguments: Vec<String> = self.arguments().into_iter().map(String::from).collect();
        device_tree(self.program(), &arguments).map(Some)
    }
}
