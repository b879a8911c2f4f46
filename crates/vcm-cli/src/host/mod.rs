//! What this machine has: `vcm doctor` and `vcm devices`.

mod change;
mod detail;
mod devices;
mod doctor;
mod table;

pub(crate) use devices::devices;
pub(crate) use doctor::{Verdict, doctor};

use crate::problem::Problem;
use std::path::Path;
use vcm_linux::host::Host;

/// The machine whose file system is in this folder.
fn host(root: &Path) -> Result<Host, Problem> {
    if !root.is_dir() {
        return Err(Problem::new(format!("--root {}: no such folder", root.display())));
    }
    Ok(Host::at(root))
}

fn problem(error: &vcm_linux::Error) -> Problem {
    Problem::new(error.to_string())
}

fn json(value: &impl serde::Serialize) -> Result<String, Problem> {
    let text = serde_json::to_string_pretty(value);
    Ok(text.map_err(|error| Problem::new(format!("JSON: {error}")))? + "\n")
}
