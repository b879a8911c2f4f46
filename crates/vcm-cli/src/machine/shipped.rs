//! The machines that come with the program.

use super::{Base, Description, Emulated, LinuxMachine, Machine, Simulated};
use crate::problem::Problem;
use std::path::Path;

/// Name and file of each.
const SHIPPED: [(&str, &str); 9] = [
    ("msm8x60", include_str!("../../machines/msm8x60.toml")),
    ("apq8064-like", include_str!("../../machines/apq8064-like.toml")),
    ("two-banks", include_str!("../../machines/two-banks.toml")),
    ("qemu-smmuv3", include_str!("../../machines/qemu-smmuv3.toml")),
    ("qemu-vtd", include_str!("../../machines/qemu-vtd.toml")),
    ("qemu-riscv", include_str!("../../machines/qemu-riscv.toml")),
    ("qemu-amdvi", include_str!("../../machines/qemu-amdvi.toml")),
    ("qemu-virtio", include_str!("../../machines/qemu-virtio.toml")),
    ("linux", include_str!("../../machines/linux.toml")),
];

/// Before the name of a file that describes what of this machine is to be used.
const LINUX: &str = "linux:";

/// The names of the machines that come with the program; the first is the default.
pub fn machine_names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}

/// A machine that comes with the program.
pub struct Shipped {
    /// What its file says.
    pub description: Description,
    /// The machine, switched off.
    pub machine: Box<dyn Machine>,
}

/// The machines that come with the program.
///
/// # Errors
/// One of their files has a mistake.
pub fn machines() -> Result<Vec<Shipped>, Problem> {
    let described = SHIPPED.iter().map(|(name, text)| {
        let description = Description::parse(name, text)?;
        let machine = made(description.clone())?;
        Ok(Shipped { description, machine })
    });
    described.collect()
}

/// The shipped machine with that name, or the machine of the file at that path: a machine's own, or a device tree blob. With
/// `linux:` in front of it, a file that says what of this machine is to be used.
///
/// # Errors
/// There is neither, or the file describes no machine.
pub fn find(name_or_path: &str) -> Result<Box<dyn Machine>, Problem> {
    if let Some(description) = description(name_or_path) {
        return made(description?);
    }
    let linux = name_or_path.strip_prefix(LINUX);
    let name_or_path = linux.unwrap_or(name_or_path);
    let path = Path::new(name_or_path);
    if linux.is_none() && path.extension().is_none_or(|extension| extension != "toml") {
        return Ok(Box::new(Simulated::from_file(name_or_path)?));
    }
    let text =
        std::fs::read_to_string(path).map_err(|error| Problem::new(format!("{name_or_path}: {error}")))?;
    let name = path.with_extension("");
    let description = Description::parse(&name.to_string_lossy(), &text)?;
    if linux.is_some() && !matches!(description.base, Base::Linux(_)) {
        let problem = format!("{name_or_path}: it describes another machine than this one");
        return Err(
            Problem::new(problem).with_help("leave out `linux:`, or give it [[memory]] and [[device]]")
        );
    }
    let name =
        name.file_name().map_or_else(|| description.name.clone(), |name| name.to_string_lossy().into());
    made(Description { name, ..description })
}

/// The file of the shipped machine with that name.
pub(super) fn description(name: &str) -> Option<Result<Description, Problem>> {
    let (name, text) = SHIPPED.iter().find(|(known, _)| *known == name)?;
    Some(Description::parse(name, text))
}

fn made(description: Description) -> Result<Box<dyn Machine>, Problem> {
    Ok(match description.base {
        Base::Simulated { .. } => Box::new(Simulated::described(description)?),
        Base::Emulated(model) => Box::new(Emulated::described(description, model)),
        Base::Linux(ref request) => {
            let request = request.clone();
            Box::new(LinuxMachine::described(description, request))
        }
    })
}
