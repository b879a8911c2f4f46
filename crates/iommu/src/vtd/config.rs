//! What the driver is told about its IOMMU.

use vcm::Label;

/// How requesters are looked up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    /// A context entry holds a requester's second-stage table.
    Legacy,
    /// A context entry leads to a PASID table, whose entry holds a first-stage or second-stage table.
    Scalable,
}

/// What the driver is told about its IOMMU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// The IOMMU's name in errors: "dmar0".
    pub label: Label,
    /// The mode. `None`: scalable where the hardware has it, else legacy.
    pub mode: Option<Mode>,
    /// Bits of a physical address, 32 to 52: the host address width that the ACPI table DMAR tells. Tables beyond it are
    /// refused.
    pub host_bits: u8,
    /// The invalidation queue has 2^this pages of 4 KiB, 0 to 7. One page holds 256 descriptors, in scalable mode 128.
    pub queue_order: u8,
    /// How often a register is read in vain before the hardware is taken for hung.
    pub polls: u32,
}

impl Config {
    /// Whatever mode is best, physical addresses of 52 bits, a queue of one page, and a million polls (a second or so).
    pub const fn new(label: &str) -> Self {
        Self { label: Label::new(label), mode: None, host_bits: 52, queue_order: 0, polls: 1_000_000 }
    }

    /// The same in `mode`; where the hardware does not have it, probing fails.
    #[must_use]
    pub const fn with_mode(self, mode: Mode) -> Self {
        Self { mode: Some(mode), ..self }
    }

    /// The same with physical addresses of `host_bits`.
    #[must_use]
    pub const fn with_host_bits(self, host_bits: u8) -> Self {
        Self { host_bits, ..self }
    }

    /// The same with `polls`.
    #[must_use]
    pub const fn with_polls(self, polls: u32) -> Self {
        Self { polls, ..self }
    }
}
