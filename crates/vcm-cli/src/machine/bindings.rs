//! What a machine calls the roles and memories that scenarios name.

use crate::problem::Problem;
use crate::scenario::{Source, Table};
use std::collections::BTreeMap;
use vcm_linux::platform::MachineRequest;
use vcm_qemu::IommuModel;

/// What a machine's file calls QEMU's machines, by their IOMMUs.
const MODELS: [(&str, IommuModel); 8] = [
    ("smmuv3", IommuModel::Smmuv3),
    ("vt-d", IommuModel::VtdLegacy),
    ("vt-d-scalable", IommuModel::VtdScalable),
    ("vt-d-first-stage", IommuModel::VtdScalableFirstStage),
    ("riscv", IommuModel::Riscv),
    ("amd-vi", IommuModel::AmdVi),
    ("virtio", IommuModel::VirtioOnArm),
    ("virtio-pc", IommuModel::VirtioOnPc),
];

/// Roles and memories by the names that scenarios give them.
///
/// A role that is not here stands for the device with that very name, and `cpu` for the machine's first CPU.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bindings {
    /// The device of each role.
    pub roles: BTreeMap<String, String>,
    /// The memory behind each name.
    pub memories: BTreeMap<String, String>,
}

impl Bindings {
    /// Adds a binding from the command line, `role=device`; it replaces the one there was. Answers with the role.
    ///
    /// # Errors
    /// The text has another shape.
    pub fn bind<'t>(&mut self, text: &'t str) -> Result<&'t str, Problem> {
        match text.split_once('=') {
            Some((role, device)) if !role.is_empty() && !device.is_empty() => {
                self.roles.insert(role.into(), device.into());
                Ok(role)
            }
            _ => {
                Err(Problem::new(format!("--bind {text}: expected ROLE=DEVICE, such as codec=vcodec_a_mm1")))
            }
        }
    }
}

/// What a machine's file says that it is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Base {
    /// A simulated SoC.
    Simulated {
        /// The device tree, by the name that it is shipped under.
        tree: String,
        /// TLB entries of each IOMMU, in place of what the tree says.
        tlb_entries: Option<u32>,
    },
    /// One of QEMU's machines.
    Emulated(IommuModel),
    /// What this machine's Linux lends.
    Linux(MachineRequest),
}

/// A machine's file: what it is made of, and what it calls things.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// What it is, in one line.
    pub about: String,
    /// What it is made of.
    pub base: Base,
    /// What it calls things.
    pub bindings: Bindings,
}

impl Description {
    /// Reads a machine's file.
    ///
    /// # Errors
    /// The first mistake, with file, line and key.
    pub fn parse(name: &str, text: &str) -> Result<Self, Problem> {
        let source = Source { file: format!("{name}.toml").into(), text };
        let document = source.parse()?;
        let mut top = Table::top(&source, document.get_ref());
        let base = match top.choice("qemu", &MODELS)? {
            Some(model) => Base::Emulated(model),
            None if top.has("memory") => Base::Linux(super::linux::read(&mut top)?),
            None => {
                let tree = top.text("tree")?.ok_or_else(|| {
                    Problem::new(format!(
                        "{name}.toml: it says neither `tree` nor `qemu` nor [[memory]]: what the machine is made of"
                    ))
                })?;
                Base::Simulated { tree: tree.text, tlb_entries: top.small("tlb-entries")? }
            }
        };
        let description = Self {
            name: name.into(),
            about: top.required_text("about")?.text,
            base,
            bindings: Bindings {
                roles: top.named_texts("roles")?.into_iter().collect(),
                memories: top.named_texts("memories")?.into_iter().collect(),
            },
        };
        top.finish()?;
        Ok(description)
    }
}
