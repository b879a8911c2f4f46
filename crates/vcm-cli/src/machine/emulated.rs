//! QEMU's machines.

use super::{Bindings, Description, Machine};
use crate::problem::Problem;
use vcm_platform::Platform;
use vcm_platform::topology::Topology;
use vcm_qemu::{Error, IommuModel};

/// One of QEMU's machines: its devices are QEMU's, its CPUs are parked, and our drivers drive its IOMMU.
#[derive(Clone, Debug)]
pub struct Emulated {
    name: String,
    model: IommuModel,
    bindings: Bindings,
}

impl Emulated {
    pub(super) fn described(description: Description, model: IommuModel) -> Self {
        Self { name: description.name, model, bindings: description.bindings }
    }

    /// What is wrong with the machine, and what to do about it.
    fn problem(&self, error: &dyn std::fmt::Display, is_about_the_program: bool) -> Problem {
        let problem = Problem::new(format!("machine {}: {error}", self.name));
        if is_about_the_program {
            problem.with_help(
                "cargo xtask tools --yes installs it on Debian and Ubuntu; vcm machines says what is there",
            )
        } else {
            problem
        }
    }

    fn refused(&self, error: &Error) -> Problem {
        self.problem(error, matches!(error, Error::Missing { .. } | Error::TooOld { .. }))
    }
}

impl Machine for Emulated {
    fn name(&self) -> &str {
        &self.name
    }

    fn bindings(&self) -> &Bindings {
        &self.bindings
    }

    fn bindings_mut(&mut self) -> &mut Bindings {
        &mut self.bindings
    }

    fn records_no_faults(&self) -> Option<&str> {
        self.model.records_no_faults()
    }

    fn topology(&self) -> Result<Topology, Problem> {
        let tree = self.model.device_tree().map_err(|error| self.refused(&error))?;
        let tree = tree.ok_or_else(|| {
            Problem::new(format!(
                "machine {}: it has no device tree; what is where in it is known",
                self.name
            ))
        })?;
        Topology::from_device_tree(&tree).map_err(|error| self.problem(&error, false))
    }

    fn available(&self) -> Result<(), Problem> {
        self.model.available().map(drop).map_err(|error| self.refused(&error))
    }

    fn switch_on(&self, tlb_entries: Option<u32>) -> Result<Box<dyn Platform>, Problem> {
        if tlb_entries.is_some() {
            let what = "the size of its TLB is QEMU's and cannot be chosen, nor can its misses be counted";
            let problem = Problem::new(format!("machine {}: {what}", self.name));
            return Err(problem.with_help("`vcm machines` lists others"));
        }
        match vcm_qemu::Emulated::start(&self.name, self.model) {
            Ok(machine) => Ok(Box::new(machine)),
            Err(vcm_qemu::EmulatedError::Qemu(error)) => Err(self.refused(&error)),
            Err(error) => Err(self.problem(&error, false)),
        }
    }
}
