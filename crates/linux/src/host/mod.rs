//! What a Linux machine has, by what sysfs and procfs tell: devices and the groups that an IOMMU puts them in, who uses them, how
//! they go to VFIO and back, and what is missing for it.
//!
//! Nothing here needs privilege but [`Host::bind_to_vfio`] and [`Host::restore`]. What cannot be read is said to be unknown, with
//! the reason; it is never taken for absent.
//!
//! ```no_run
//! use std::time::Duration;
//! use vcm_linux::host::{Assignable, Host, InUse};
//!
//! let host = Host::here();
//! for check in host.doctor().checks {
//!     println!("{}: {}", check.name, check.found);
//! }
//! let patience = Duration::from_secs(10);
//! for device in host.devices()? {
//!     if device.assignable() == Assignable::Yes {
//!         let bound = host.bind_to_vfio(&device.name, InUse::Refuse, patience)?;
//!         // ... what is done with it...
//!         bound.restore(patience)?;
//!     }
//! }
//! # Ok::<(), vcm_linux::Error>(())
//! ```
//!
//! | file | is |
//! |---|---|
//! | `device`, `group`, `identity` | what a device is, where, and with whom it shares an IOMMU group |
//! | `usage`, `disks` | what the machine itself uses it for |
//! | `obstacle` | what stands between a device and its assignment, and what to do about it |
//! | `bind`, `journal`, `holders` | to VFIO and back, also when the process that did it was killed |
//! | `doctor/` | what this machine can do, and the line that enables what it cannot |

mod bind;
mod device;
mod disks;
mod doctor;
mod group;
mod holders;
mod identity;
mod journal;
mod modules;
mod name;
mod obstacle;
mod read;
mod usage;

pub use bind::{Bound, InUse, Restored};
pub use device::{Bar, BarKind, Device};
pub use doctor::{Ability, Check, Doctor, Section, State};
pub use group::{Group, Member, ReservedKind, ReservedRegion, Window, windows};
pub use holders::Holder;
pub use identity::Identity;
pub use journal::{Former, Note};
pub use modules::Module;
pub use name::{Bus, DeviceName};
pub use obstacle::{Assignable, Obstacle};
pub use usage::{NetworkUse, Use};

use bind::{Controls, Sysfs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A machine, seen through its file system.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
    controls: Arc<dyn Controls>,
}

impl Host {
    /// The machine that this process runs on.
    pub fn here() -> Self {
        Self::at("/")
    }

    /// The machine whose `/sys`, `/proc`, `/dev` and so on are in the folder `root`: another one's copy, or a made-up one.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), controls: Arc::new(Sysfs) }
    }

    #[cfg(test)]
    pub(crate) fn with_controls(root: impl Into<PathBuf>, controls: Arc<dyn Controls>) -> Self {
        Self { root: root.into(), controls }
    }

    /// The file that the machine calls `/{path}`.
    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    /// Whether this is the machine that the process runs on.
    pub(crate) fn is_here(&self) -> bool {
        self.root == Path::new("/")
    }

    /// What the machine itself calls the file.
    pub(crate) fn shown(&self, path: &Path) -> String {
        let inside = path.strip_prefix(&self.root).unwrap_or(path);
        format!("/{}", inside.display()).replacen("//", "/", 1)
    }

    /// Where the links of `path` end, if that is inside the machine.
    pub(crate) fn resolve(&self, path: &Path) -> Option<PathBuf> {
        let root = self.root.canonicalize().ok()?;
        let real = path.canonicalize().ok()?;
        Some(self.root.join(real.strip_prefix(root).ok()?))
    }
}
