//! What a machine can do, what is missing, and the line that would enable it.
//!
//! Every check says what was looked at. Nothing fails: what cannot be seen is [`State::Unknown`], with the reason.

mod check;
mod interrupts;
mod iommu;
mod kvm;
mod limits;
mod memory;
mod node;
mod system;
mod vfio;

pub use check::{Check, Section, State};

use super::Host;

/// What was found out about a machine.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Doctor {
    /// What can be done here, by the checks.
    pub abilities: Vec<Ability>,
    /// Every check, by section.
    pub checks: Vec<Check>,
}

/// Something that people come for, and whether it can be done.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Ability {
    /// What.
    pub what: &'static str,
    /// Whether it can be done now.
    pub state: State,
    /// How, or what is in the way.
    pub how: String,
}

impl Host {
    /// Looks at everything that matters for devices in user space and for guests.
    pub fn doctor(&self) -> Doctor {
        let mut checks = iommu::checks(self);
        checks.push(interrupts::check(self, &checks));
        checks.extend(vfio::checks(self));
        checks.extend(kvm::checks(self));
        checks.extend(memory::checks(self));
        checks.extend(limits::checks(self));
        checks.extend(system::checks(self));
        Doctor { abilities: abilities(&checks), checks }
    }
}

impl Doctor {
    /// The check with this name.
    pub fn check(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }
}

fn abilities(checks: &[Check]) -> Vec<Ability> {
    let find = |name: &str| checks.iter().find(|check| check.name == name);
    // The first of these that is in the way.
    let lacking = |names: &[&str]| {
        names.iter().filter_map(|name| find(name)).find(|check| !check.state.works()).map(|check| {
            let state = if check.state == State::Unknown { State::Unknown } else { State::Missing };
            (state, format!("{}: {}", check.title, check.found))
        })
    };
    let ability = |what, needs: &[&str], how: &str| {
        let (state, how) = lacking(needs).unwrap_or_else(|| (State::Ok, how.to_owned()));
        Ability { what, state, how }
    };
    let common = ["iommu", "groups", "interrupt-remapping", "vfio-pci"];
    let modern = ability(
        "assign devices to this process or a guest",
        &[&common[..], &["iommufd", "vfio-cdev"]].concat(),
        "by iommufd and VFIO's device nodes",
    );
    let older = ability(
        modern.what,
        &[&common[..], &["vfio-type1"]].concat(),
        "by VFIO's groups and type1 containers",
    );
    let devices = if older.state.works() && !modern.state.works() { older } else { modern };
    vec![
        devices,
        ability("run guests", &["kvm"], "by KVM"),
        ability("export memory as dma-bufs", &["udmabuf"], "by udmabuf"),
    ]
}
