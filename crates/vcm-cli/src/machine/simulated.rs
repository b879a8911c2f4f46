//! Simulated SoCs: from a shipped machine's file or from a device tree blob.

use super::shipped::description;
use super::{Base, Bindings, Description, Machine, machine_names};
use crate::problem::Problem;
use std::path::Path;
use vcm_platform::Platform;
use vcm_platform::topology::{Iommu, Topology, shipped};
use vcm_soc::hardware::{BoardError, Options};
use vcm_soc::{Soc, SocError};

/// A simulated SoC.
#[derive(Clone, Debug)]
pub struct Simulated {
    name: String,
    topology: Topology,
    tlb_entries: Option<u32>,
    /// What it calls things.
    pub bindings: Bindings,
}

impl Simulated {
    /// The shipped machine with that name, or the machine of the device tree blob at that path.
    ///
    /// # Errors
    /// There is neither, or the tree describes no machine, or the machine is not a simulated one.
    pub fn find(name_or_path: &str) -> Result<Self, Problem> {
        match description(name_or_path) {
            Some(description) => Self::described(description?),
            None => Self::from_file(name_or_path),
        }
    }

    /// The machine of a file.
    pub(super) fn described(description: Description) -> Result<Self, Problem> {
        let Base::Simulated { tree, tlb_entries } = description.base else {
            return Err(Problem::new(format!("{} is no simulated machine", description.name)));
        };
        let blob = shipped(&tree).ok_or_else(|| Problem::new(format!("no device tree is called {tree}")))?;
        Ok(Self {
            name: description.name,
            topology: topology(&tree, blob)?,
            tlb_entries,
            bindings: description.bindings,
        })
    }

    /// The machine of the device tree blob at that path.
    ///
    /// # Errors
    /// There is none, or it describes no machine.
    pub(super) fn from_file(name_or_path: &str) -> Result<Self, Problem> {
        let blob = match std::fs::read(name_or_path) {
            Ok(blob) => blob,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let problem = format!("no machine and no device tree blob is called \"{name_or_path}\"");
                return Err(Problem::new(problem).with_known(name_or_path, machine_names()));
            }
            Err(error) => return Err(Problem::new(format!("{name_or_path}: {error}"))),
        };
        if is_source(name_or_path, &blob) {
            let problem = format!("{name_or_path}: this is the source of a device tree, not a blob");
            let help = format!("compile it: dtc -O dtb -o {}", compiled(name_or_path));
            return Err(Problem::new(problem).with_help(help));
        }
        let stem = Path::new(name_or_path).file_stem();
        Ok(Self {
            name: stem.map_or_else(|| name_or_path.into(), |stem| stem.to_string_lossy().into_owned()),
            topology: topology(name_or_path, &blob)?,
            tlb_entries: None,
            bindings: Bindings::default(),
        })
    }
}

/// Whether somebody gave the text that `dtc` compiles: by what is in it, or by its name.
fn is_source(path: &str, bytes: &[u8]) -> bool {
    const MAGIC: [u8; 4] = [0xd0, 0x0d, 0xfe, 0xed];
    let named =
        Path::new(path).extension().is_some_and(|extension| extension == "dts" || extension == "dtsi");
    let versioned = bytes.windows(8).any(|window| window == b"/dts-v1/");
    !bytes.starts_with(&MAGIC) && (named || versioned)
}

/// The arguments that name what `dtc` makes of a source, and the source.
fn compiled(path: &str) -> String {
    format!("{} {path}", Path::new(path).with_extension("dtb").display())
}

fn topology(name: &str, blob: &[u8]) -> Result<Topology, Problem> {
    Topology::from_device_tree(blob).map_err(|error| Problem::new(format!("{name}: {error}")))
}

impl Machine for Simulated {
    fn name(&self) -> &str {
        &self.name
    }

    fn bindings(&self) -> &Bindings {
        &self.bindings
    }

    fn bindings_mut(&mut self) -> &mut Bindings {
        &mut self.bindings
    }

    fn topology(&self) -> Result<Topology, Problem> {
        Ok(self.topology.clone())
    }

    fn switch_on(&self, tlb_entries: Option<u32>) -> Result<Box<dyn Platform>, Problem> {
        let mut topology = self.topology.clone();
        if let Some(entries) = tlb_entries.or(self.tlb_entries) {
            for smmu in topology.iommus.iter_mut().filter_map(Iommu::msm_mut) {
                smmu.tlb_entries = Some(entries);
            }
        }
        match Soc::new(&topology, &Options::default()) {
            Ok(soc) => Ok(Box::new(soc)),
            Err(error) => {
                let problem = Problem::new(format!("machine {}: {error}", self.name));
                Err(match error {
                    SocError::Board(BoardError::Iommu { .. }) => {
                        problem.with_help("QEMU's machines have others: see `vcm machines`")
                    }
                    _ => problem,
                })
            }
        }
    }
}
