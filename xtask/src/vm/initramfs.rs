//! What is in the machine: its first process, the tests, the programs, modules, and the plan.

use super::build::Built;
use super::cpio::Archive;
use super::kernel::Kernel;
use super::machine::{DEVICES, OUTSIDE, Outside};
use super::options::{Options, Whose};
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// All that decides what is in the machine.
pub(crate) struct Contents<'a> {
    pub(crate) options: &'a Options,
    pub(crate) whose: Whose,
    pub(crate) kernel: &'a Kernel,
    pub(crate) cpus: u32,
    pub(crate) built: &'a Built,
    /// The names of the test binaries to run.
    pub(crate) tests: &'a [&'a str],
}

impl Contents<'_> {
    /// The machine's first file system.
    pub(crate) fn pack(&self) -> std::io::Result<Vec<u8>> {
        let mut archive = Archive::default();
        archive.character_device("dev/console", 5, 1);
        for folder in ["proc", "sys", "run", "tmp", "root", "bin/examples"] {
            archive.folder(folder);
        }
        if let Some(init) = &self.built.init {
            archive.program("init", &fs::read(init)?);
        }
        for (name, content) in &self.kernel.modules {
            archive.file(&format!("modules/{name}"), content);
        }
        for (name, path) in self.tests() {
            archive.program(&format!("tests/{name}"), &fs::read(path)?);
        }
        if let Some(program) = &self.built.program {
            archive.program("bin/vcm", &fs::read(program)?);
        }
        for (name, path) in &self.built.examples {
            archive.program(&format!("bin/examples/{name}"), &fs::read(path)?);
        }
        add_tables(&mut archive, Path::new("scenarios"), "scenarios")?;
        add_tables(&mut archive, Path::new("crates/linux/vm"), "machines")?;
        archive.file("plan", self.plan().as_bytes());
        Ok(archive.finish())
    }

    fn tests(&self) -> impl Iterator<Item = &(String, std::path::PathBuf)> {
        self.built.tests.iter().filter(|(name, _)| self.tests.contains(&name.as_str()))
    }

    /// What the first process is to do; `vm-init` reads it.
    fn plan(&self) -> String {
        let mut plan = String::new();
        let mut line = |word: &str, value: &dyn std::fmt::Display| {
            // Writing to a text cannot fail.
            let _ = writeln!(plan, "{word} {value}");
        };
        for (name, _) in &self.kernel.modules {
            line("module", &format_args!("/modules/{name}"));
        }
        for (name, _) in self.tests() {
            line("binary", &format_args!("/tests/{name}"));
        }
        if self.built.program.is_some() {
            line("environment", &"VCM_BIN=/bin/vcm");
            line("environment", &"VCM_EXAMPLES=/bin/examples");
        }
        line("environment", &"VCM_SCENARIOS=/scenarios");
        line("environment", &"VCM_MACHINES=/machines");
        line("environment", &format_args!("VCM_VM_KERNEL={}", self.whose.name()));
        line("environment", &format_args!("VCM_VM_CPUS={}", self.cpus));
        let iommufd = if self.kernel.iommufd { "yes" } else { "no" };
        line("environment", &format_args!("VCM_VM_IOMMUFD={iommufd}"));
        for address in DEVICES {
            line("device", &address);
        }
        if self.whose.outside() == Outside::Present {
            line("device", &OUTSIDE);
            line("environment", &format_args!("VCM_VM_OUTSIDE={OUTSIDE}"));
        }
        line("limit", &self.options.test_limit.as_secs());
        if !self.options.name.is_empty() {
            line("filter", &self.options.name);
        }
        if let Some(sabotage) = &self.options.sabotage {
            line("sabotage", sabotage);
        }
        plan
    }
}

/// Adds the `.toml` files of a folder, if there is one.
fn add_tables(archive: &mut Archive, folder: &Path, to: &str) -> std::io::Result<()> {
    archive.folder(to);
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.extension().is_some_and(|extension| extension == "toml") {
            archive.file(&format!("{to}/{name}"), &fs::read(&path)?);
        }
    }
    Ok(())
}
