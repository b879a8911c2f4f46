//! What the driver is told about its IOMMU.

use super::spec;
use vcm::{Label, PhysicalAddress};

/// How the IOMMU tells of faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Interrupts {
    /// Not at all: [`next_fault`](crate::Iommu::next_fault) is called every now and then.
    #[default]
    Off,
    /// By wire 0.
    Wired,
    /// By a message: `data` is written to `address`, a multiple of 4.
    Message {
        /// Where to.
        address: PhysicalAddress,
        /// What.
        data: u32,
    },
}

/// Whether the IOMMU understands Svnapot: pages of 64 KiB, made of 16 entries.
///
/// The specification demands it, so that no capability tells. Models leave it out all the same: QEMU 10.0 takes
/// such an entry for a page of 4 KiB, somewhere else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Svnapot {
    /// It does not, or nobody knows: tables are made without.
    #[default]
    Absent,
    /// It does.
    Present,
}

/// What the driver is told about its IOMMU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// The IOMMU's name in errors: "pcie".
    pub label: Label,
    /// The bits that device ids have, 1 to 24. The directory gets the fewest levels that reach as far and that the
    /// IOMMU has.
    pub device_id_bits: u8,
    /// The entries of the command queue, as their logarithm to base 2: 2 to 15. Less or more counts as that.
    pub commands_log2: u8,
    /// The entries of the fault queue, likewise.
    pub faults_log2: u8,
    /// How often a register or a word in memory is read, waiting for it to change, before the IOMMU is
    /// [`Unresponsive`](crate::Unresponsive).
    pub polls: u32,
    /// How it tells of faults.
    pub interrupts: Interrupts,
    /// Whether tables may have pages of 64 KiB.
    pub svnapot: Svnapot,
}

impl Config {
    /// For PCI's device ids of 16 bits, queues of a page each, a million polls, no interrupts and no Svnapot.
    pub const fn new(label: &str) -> Self {
        Self {
            label: Label::new(label),
            device_id_bits: 16,
            commands_log2: 8,
            faults_log2: 7,
            polls: 1_000_000,
            interrupts: Interrupts::Off,
            svnapot: Svnapot::Absent,
        }
    }

    pub(super) fn queue_log2(asked: u8) -> u8 {
        asked.clamp(2, 15)
    }

    pub(super) fn wanted_bits(&self) -> u32 {
        u32::from(self.device_id_bits).clamp(1, spec::DEVICE_ID_BITS)
    }
}
