//! What a scenario says about guests and their interrupts, as plain data.

use crate::problem::{Name, Place};
use std::fmt;
use vcm_irq::DeviceInterrupt;
use vcm_platform::{GuestEnd, InterruptCounts, InterruptRemains, Pace, Quieting, Stage, Way};

use super::model::When;

/// A guest: it runs from the start until a step kills it, or until the scenario's end.
#[derive(Clone, Debug)]
pub struct GuestSpec {
    /// Its name.
    pub name: Name,
    /// Its virtual CPUs, at least 1.
    pub vcpus: u16,
    /// How it ends interrupts.
    pub end: GuestEnd,
    /// When its drivers quiet their devices.
    pub quieting: Quieting,
}

/// A device's interrupt that a guest is given.
#[derive(Clone, Debug)]
pub struct InterruptSpec {
    /// What steps call it: `device.index` unless it has a name of its own.
    pub name: Name,
    /// The role.
    pub device: Name,
    /// Which of the device's interrupts.
    pub interrupt: DeviceInterrupt,
    /// Where the file says which: at `index`, or at the device if it does not.
    pub place: Place,
    /// The guest.
    pub guest: Name,
    /// As which of the guest's interrupts, 0 to 987. Where the file does not say: the lowest that is free.
    pub gsi: u32,
    /// How it is to reach the guest.
    pub way: Way,
    /// When the guest is given it.
    pub given: When,
}

/// One of the numbers that are counted for an interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counted {
    /// How often the device asked.
    Asked,
    /// How often the guest's handler ran and found the device asking.
    Delivered,
    /// How often it ran for nothing.
    Spurious,
    /// How often the device asked and nobody came.
    Lost,
    /// Times that a vCPU left the guest.
    Exits,
    /// Those of them that were maintenance interrupts.
    MaintenanceExits,
    /// The host's register accesses.
    Mmio,
    /// How often it was shut.
    Shut,
}

impl Counted {
    /// The number itself.
    pub const fn of(self, counts: &InterruptCounts) -> u64 {
        match self {
            Self::Asked => counts.asked,
            Self::Delivered => counts.delivered,
            Self::Spurious => counts.spurious,
            Self::Lost => counts.lost,
            Self::Exits => counts.exits,
            Self::MaintenanceExits => counts.maintenance_exits,
            Self::Mmio => counts.mmio,
            Self::Shut => counts.shut,
        }
    }
}

/// As people call it.
impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asked => "asked",
            Self::Delivered => "delivered",
            Self::Spurious => "spurious",
            Self::Lost => "lost",
            Self::Exits => "exits",
            Self::MaintenanceExits => "maintenance exits",
            Self::Mmio => "register accesses",
            Self::Shut => "shut",
        })
    }
}

/// What a number has to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// This.
    Exactly(u64),
    /// This or less.
    AtMost(u64),
    /// This or more.
    AtLeast(u64),
}

impl Limit {
    /// Whether a number is as it has to be.
    pub const fn allows(self, found: u64) -> bool {
        match self {
            Self::Exactly(limit) => found == limit,
            Self::AtMost(limit) => found <= limit,
            Self::AtLeast(limit) => found >= limit,
        }
    }
}

/// As `at most 5`.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(limit) => write!(f, "{limit}"),
            Self::AtMost(limit) => write!(f, "at most {limit}"),
            Self::AtLeast(limit) => write!(f, "at least {limit}"),
        }
    }
}

/// What an interrupt costs its host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Cost {
    /// Times that a vCPU leaves the guest.
    #[default]
    Exits,
    /// Accesses to the interrupt controller's registers.
    Mmio,
}

impl Cost {
    /// What is counted for it.
    pub const fn counted(self) -> Counted {
        match self {
            Self::Exits => Counted::Exits,
            Self::Mmio => Counted::Mmio,
        }
    }
}

/// What a step does with interrupts.
#[derive(Clone, Debug)]
pub enum InterruptAction {
    /// The device asks.
    Ask {
        /// The interrupt.
        interrupt: Name,
        /// How often.
        times: u64,
        /// How fast.
        pace: Pace,
    },
    /// Guests run until an interrupt is at a stage.
    RunUntil {
        /// The interrupt.
        interrupt: Name,
        /// The stage.
        stage: Stage,
    },
    /// Guests run until nothing is left to do for them.
    Settle,
    /// A guest is given an interrupt.
    Give(Name),
    /// An interrupt is forwarded from now on.
    Forward(Name),
    /// An interrupt is not forwarded any more.
    Unforward(Name),
    /// A guest is killed.
    Kill(Name),
    /// An interrupt's numbers are as they have to be.
    ExpectInterrupt {
        /// The interrupt.
        interrupt: Name,
        /// What has to be how much.
        counts: Vec<(Counted, Limit)>,
        /// How it has to reach its guest now.
        way: Option<Way>,
    },
    /// What is held for interrupts now.
    ExpectRemains(InterruptRemains),
    /// One interrupt costs the host less than another, each time that it is delivered.
    Compare {
        /// The one that costs less.
        fewer: Name,
        /// The other.
        than: Name,
        /// How many times less, at least.
        by: u64,
        /// What is compared.
        cost: Cost,
    },
}
