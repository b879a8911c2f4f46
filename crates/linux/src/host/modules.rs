//! Whether the kernel has a module.

use super::Host;
use super::read::{self, Unread};

/// Where a module is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Module {
    /// In the kernel: loaded or built in.
    Here,
    /// Not loaded, but `modprobe` finds it.
    Loadable,
    /// This kernel comes without it.
    Absent,
    /// Not loaded, and which modules the kernel comes with cannot be seen.
    NotLoaded(String),
}

impl Host {
    /// Whether the kernel has the module. `-` and `_` are the same in names.
    pub fn module(&self, name: &str) -> Module {
        let name = name.replace('-', "_");
        if self.path(format!("sys/module/{name}")).is_dir() {
            return Module::Here;
        }
        let Some(release) = self.kernel_release().filter(|release| read::plain(release)) else {
            return Module::NotLoaded("the kernel's release is unknown".into());
        };
        // A path to each module, one on a line; in modules.dep with what it depends on after a colon.
        let listed = |file: &str| {
            let path = self.path(format!("lib/modules/{release}/{file}"));
            read::text(&path).map(|text| {
                text.lines().any(|line| {
                    let module = line.split(':').next().unwrap_or_default();
                    let file = module.rsplit('/').next().unwrap_or_default();
                    file.split('.').next().unwrap_or_default().replace('-', "_") == name
                })
            })
        };
        match (listed("modules.builtin"), listed("modules.dep")) {
            (Ok(true), _) => Module::Here,
            (_, Ok(true)) => Module::Loadable,
            (Ok(false), Ok(false)) => Module::Absent,
            (Err(why), _) | (_, Err(why)) => Module::NotLoaded(match why {
                Unread::Absent => format!("/lib/modules/{release} is not here"),
                Unread::Unknown(why) => format!("/lib/modules/{release}: {why}"),
            }),
        }
    }

    /// The kernel's release, as `uname -r` says it.
    pub fn kernel_release(&self) -> Option<String> {
        read::maybe(&self.path("proc/sys/kernel/osrelease"))
    }

    /// What the kernel was configured with, where the distribution says it: `y`, `m`, `n`.
    pub(crate) fn kernel_option(&self, option: &str) -> Option<char> {
        let release = self.kernel_release().filter(|release| read::plain(release))?;
        let places = [format!("boot/config-{release}"), format!("lib/modules/{release}/config")];
        let config = places.iter().find_map(|place| read::maybe(&self.path(place)))?;
        let set = config.lines().find_map(|line| line.strip_prefix(option)?.strip_prefix('='));
        Some(set.map_or('n', |value| value.chars().next().unwrap_or('n')))
    }
}
