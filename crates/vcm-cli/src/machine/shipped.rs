//! The machines that come with the program.

use super::{Base, Description, Emulated, Machine, Simulated};
use crate::problem::Problem;
use std::path::Path;

/// Name and file of each.
const SHIPPED: [(&str, &str); 8] = [
    ("msm8x60", include_str!("../../machines/msm8x60.toml")),
    ("apq8064-like", include_str!("../../machines/apq8064-like.toml")),
    ("two-banks", include_str!("../../machines/two-banks.toml")),
    ("qemu-smmuv3", include_str!("../../machines/qemu-smmuv3.toml")),
    ("qemu-vtd", include_str!("../../machines/qemu-vtd.toml")),
    ("qemu-riscv", include_str!("../../machines/qemu-riscv.toml")),
    ("qemu-amdvi", include_str!("../../machines/qemu-amdvi.toml")),
    ("qemu-virtio", include_str!("../../machines/qemu-virtio.toml")),
];

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

/// The shipped machine with that name, or the machine of the file at that path: a machine's own, or a device tree blob.
///
/// # Errors
/// There is neither, or the file describes no machine.
pub fn find(name_or_path: &str) -> Result<Box<dyn Machine>, Problem> {
    if let Some(description) = description(name_or_path) {
        return made(description?);
    }
    let path = Path::new(name_or_path);
    if path.extension().is_none_or(|extension| extension != "toml") {
        return Ok(Box::new(Simulated::from_file(name_or_path)?));
    }
    let text =
        std::fs::read_to_string(path).map_err(|error| Problem::new(format!("{name_or_path}: {error}")))?;
    let name = path.with_extension("");
    let description = Description::parse(&name.to_string_lossy(), &text)?;
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
    })
}
