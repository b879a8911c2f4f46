//! Whether the kernel resets a device when it is opened and closed.

use super::folder;
use std::fs;
use std::path::PathBuf;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reset {
    /// By whatever the device has.
    Possible,
    /// As a device that has nothing: it is closed and opened as it was left.
    Impossible,
}

/// The switch of a device: Documentation/ABI/testing/sysfs-bus-pci, `reset_method`. One that cannot be reset has none.
#[derive(Debug)]
pub struct Resets {
    file: Option<PathBuf>,
}

impl Resets {
    pub fn of(device: &str) -> Self {
        Self { file: Some(folder(device).join("reset_method")).filter(|file| file.exists()) }
    }

    /// Switches, if there is something to switch. How it is then.
    pub fn set(&self, reset: Reset) -> Reset {
        let Some(file) = &self.file else { return Reset::Impossible };
        let methods = match reset {
            Reset::Possible => "default",
            Reset::Impossible => "\n",
        };
        fs::write(file, methods).unwrap();
        let none = fs::read_to_string(file).unwrap().trim().is_empty();
        assert_eq!(none, reset == Reset::Impossible, "{}", file.display());
        reset
    }
}

impl Drop for Resets {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            let _ = fs::write(file, "default");
        }
    }
}
