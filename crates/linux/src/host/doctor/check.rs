//! One check.

use std::fmt;

/// How a check came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum State {
    /// It is there.
    Ok,
    /// It is there, with a limit that one should know of.
    Limited,
    /// It can be had and is not turned on; most do without.
    Off,
    /// It is not there, or this process may not use it.
    Missing,
    /// It cannot be seen.
    Unknown,
}

impl State {
    /// Whether it can be used: it is there, if with a limit.
    pub const fn works(self) -> bool {
        matches!(self, Self::Ok | Self::Limited)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Limited => "limited",
            Self::Off => "off",
            Self::Missing => "missing",
            Self::Unknown => "unknown",
        })
    }
}

/// What a check is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Section {
    /// Translation of device addresses.
    Iommu,
    /// Devices in user space.
    Vfio,
    /// Virtual machines.
    Kvm,
    /// Memory to share.
    Memory,
    /// How much of it.
    Limits,
    /// The kernel and who asks.
    System,
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Iommu => "IOMMU",
            Self::Vfio => "VFIO and iommufd",
            Self::Kvm => "KVM",
            Self::Memory => "Memory",
            Self::Limits => "Limits",
            Self::System => "System",
        })
    }
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Check {
    /// A word for it, for `--require` and for programs.
    pub name: String,
    /// What it is about.
    pub section: Section,
    /// What was looked at.
    pub title: String,
    /// How it came out.
    pub state: State,
    /// What was seen.
    pub found: String,
    /// What follows from it, where that is not plain.
    pub means: Option<String>,
    /// The command that would enable it, or what to do where no command helps.
    pub enable: Option<String>,
}

impl Check {
    pub(super) fn new(
        section: Section,
        name: &str,
        title: &str,
        state: State,
        found: impl Into<String>,
    ) -> Self {
        let (name, title, found) = (name.into(), title.into(), found.into());
        Self { name, section, title, state, found, means: None, enable: None }
    }

    pub(super) fn meaning(self, means: impl Into<String>) -> Self {
        Self { means: Some(means.into()), ..self }
    }

    pub(super) fn enable(self, line: impl Into<String>) -> Self {
        Self { enable: Some(line.into()), ..self }
    }
}
