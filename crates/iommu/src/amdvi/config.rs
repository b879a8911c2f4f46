//! What the driver is told about its IOMMU.

use vcm::Label;

/// How the IOMMU tells of faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Interrupts {
    /// Not at all: [`next_fault`](crate::Iommu::next_fault) is called every now and then.
    #[default]
    Off,
    /// By the message that was written to the PCI function that the IOMMU is as well.
    On,
}

/// What the driver is told about its IOMMU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// The IOMMU's name in errors: "amd-iommu".
    pub label: Label,
    /// The highest device id that any device has. The device table has an entry of 32 bytes for each up to it, at
    /// least.
    pub last_device: u16,
    /// The entries of the command buffer, as their logarithm to base 2: 8 to 15. Less or more counts as that.
    pub commands_log2: u8,
    /// The entries of the event log, likewise.
    pub events_log2: u8,
    /// How often a register or a word in memory is read, waiting for it to change, before the IOMMU is
    /// [`Unresponsive`](crate::Unresponsive).
    pub polls: u32,
    /// Whether it interrupts.
    pub interrupts: Interrupts,
}

impl Config {
    /// For all device ids (a table of 2 MiB), buffers of 512 entries, a million polls and no interrupts.
    pub const fn new(label: &str) -> Self {
        Self {
            label: Label::new(label),
            last_device: u16::MAX,
            commands_log2: 9,
            events_log2: 9,
            polls: 1_000_000,
            interrupts: Interrupts::Off,
        }
    }

    pub(super) fn buffer_log2(asked: u8) -> u8 {
        asked.clamp(8, 15)
    }
}
