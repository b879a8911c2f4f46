//! What a run found out: what `--json` writes, and what summary and report are made from.

use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use vcm::{Bytes, LeafCount};
use vcm_platform::Outcome;

/// Everything about one run.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Whether every check held and nothing leaked.
    pub ok: bool,
    /// The scenario's name.
    pub scenario: String,
    /// What the scenario shows.
    pub about: String,
    /// The machine's name.
    pub machine: String,
    /// What seeds were counted from.
    pub seed: u64,
    /// What was checked.
    pub checks: Vec<Check>,
    /// Every buffer, with all that mapped it when most did.
    pub buffers: Vec<Buffer>,
    /// Every transfer, CPUs' reads and writes included.
    pub transfers: Vec<Transferred>,
    /// Every fault.
    pub faults: Vec<Faulted>,
    /// Every interrupt that a guest was given, where the scenario has guests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interrupts: Vec<Interrupted>,
    /// What was left over after everything was taken down.
    pub leaks: Leaks,
    /// TLB misses by block size, where the scenario measures them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub measurements: Vec<Measured>,
    /// How the machine's devices were reached, and why in that way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What somebody should know.
    pub warnings: Vec<String>,
    /// So many of the warnings, the first, are of the machine itself: nobody can ask not to hear them.
    #[serde(skip)]
    pub of_the_machine: usize,
    /// The graph when most was mapped.
    pub graph: serde_json::Value,
}

/// Something that was checked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Check {
    /// What had to hold.
    pub name: String,
    /// Whether it did.
    pub ok: bool,
    /// What was found.
    pub detail: String,
}

/// Sizes with how many there are of each, the largest first; JSON calls them `1M`, `64K` and so on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counts(pub BTreeMap<u64, u64>);

impl Counts {
    /// Of blocks' lengths.
    pub fn of(sizes: impl IntoIterator<Item = u64>) -> Self {
        let mut counts = Self::default();
        for size in sizes {
            *counts.0.entry(size).or_default() += 1;
        }
        counts
    }
}

impl From<LeafCount> for Counts {
    fn from(leaves: LeafCount) -> Self {
        Self(leaves.iter().collect())
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().rev().map(|(size, count)| (Bytes(*size).to_string(), count)))
    }
}

/// As `2 x 1M + 1 x 4K`.
impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (position, (size, count)) in self.0.iter().rev().enumerate() {
            let separator = if position > 0 { " + " } else { "" };
            write!(f, "{separator}{count} x {}", Bytes(*size))?;
        }
        Ok(())
    }
}

/// A buffer.
#[derive(Clone, Debug, Serialize)]
pub struct Buffer {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// The memories that it is from.
    pub memories: Vec<String>,
    /// Its blocks.
    pub blocks: Counts,
    /// Who maps it.
    pub mappers: Vec<Mapper>,
}

/// A mapping of a buffer, as one device sees it.
#[derive(Clone, Debug, Serialize)]
pub struct Mapper {
    /// The region.
    pub region: String,
    /// The device; none when the region has none.
    pub device: Option<String>,
    /// The region's kind.
    pub kind: String,
    /// Where it is in the region, in hexadecimal.
    pub address: String,
    /// The first byte of the buffer that is mapped.
    pub offset: u64,
    /// How many bytes are.
    pub bytes: u64,
    /// What it permits, and how the memory behaves.
    pub attributes: String,
    /// The page-table leaves.
    pub leaves: Counts,
}

/// A transfer.
#[derive(Clone, Debug, Serialize)]
pub struct Transferred {
    /// What it was.
    pub name: String,
    /// The device.
    pub device: String,
    /// How it ended.
    #[serde(serialize_with = "outcome")]
    pub outcome: Outcome,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Translations looked up.
    pub tlb_lookups: u64,
    /// Those of them that the TLB did not hold.
    pub tlb_misses: u64,
    /// Faults on the way.
    pub faults: u64,
}

fn outcome<S: Serializer>(outcome: &Outcome, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(outcome)
}

/// A fault, and what was answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Faulted {
    /// The device.
    pub device: String,
    /// Where, in hexadecimal.
    pub address: String,
    /// What was wanted.
    pub access: String,
    /// Why it was refused.
    pub reason: String,
    /// What was answered.
    pub answer: String,
    /// Who answered.
    pub by: String,
    /// The region that the device was translating through, if any.
    pub region: Option<String>,
}

/// An interrupt that a guest was given, and what became of it. Counts are since it was given.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Interrupted {
    /// What the scenario calls it.
    pub name: String,
    /// The device, as the machine calls it.
    pub device: String,
    /// The device's role.
    pub role: String,
    /// Which of the device's interrupts.
    pub index: u32,
    /// Which of those with that index.
    pub subindex: u32,
    /// What the host's controller reacts to: `level` or `edge`.
    pub sense: &'static str,
    /// Its number at the host's controller.
    pub host: u32,
    /// The guest.
    pub guest: String,
    /// Which of the guest's interrupts it is.
    pub gsi: u32,
    /// Whether a step killed the guest.
    pub killed: bool,
    /// How it reached the guest last: `forwarded` or `automasked`.
    pub mode: &'static str,
    /// Why it is automasked although the scenario wants it forwarded.
    pub fallback: Option<String>,
    /// How often the device asked.
    pub asked: u64,
    /// How often the guest's handler ran for it and found the device asking.
    pub delivered: u64,
    /// How often the handler ran and the device had asked for nothing.
    pub spurious: u64,
    /// How often the device asked and nobody came.
    pub lost: u64,
    /// Times that a vCPU left the guest because of it.
    pub exits: u64,
    /// Those of them that were maintenance interrupts.
    pub maintenance_exits: u64,
    /// The host's accesses to registers of the interrupt controller because of it.
    pub mmio: u64,
    /// How often it was shut because it asked too often or nobody could take it.
    pub shut: u64,
}

/// What was left over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Leaks {
    /// Allocations that could not be freed.
    pub allocations: usize,
    /// Mappings that could not be taken down.
    pub mappings: usize,
    /// Ranges and associations in quarantine.
    pub quarantined: usize,
    /// Devices' interrupts that are enabled at the host's controller though their guests are gone.
    pub interrupts_enabled: usize,
    /// Those that are active there.
    pub interrupts_active: usize,
    /// Devices that somebody holds a reference on because of an interrupt.
    pub device_references: usize,
    /// List registers, of all CPUs, that are in use.
    pub list_registers: usize,
    /// Events that reached a guest, or its remains, after it was gone.
    pub late_events: usize,
}

impl Leaks {
    /// How many things of all kinds.
    pub const fn total(&self) -> usize {
        self.allocations
            + self.mappings
            + self.quarantined
            + self.interrupts_enabled
            + self.interrupts_active
            + self.device_references
            + self.list_registers
            + self.late_events
    }
}

/// One measurement.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Measured {
    /// The way through the buffer.
    pub pattern: String,
    /// The size of the buffer's blocks.
    pub block: String,
    /// TLB entries of the IOMMU; none said when the machine has what it has.
    pub tlb_entries: Option<u32>,
    /// Bytes read.
    pub bytes: u64,
    /// Page-table leaves that map the buffer.
    pub leaves: u64,
    /// Translations looked up.
    pub tlb_lookups: u64,
    /// Those of them that the TLB did not hold.
    pub tlb_misses: u64,
}

impl Record {
    /// The checks that did not hold.
    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| !check.ok)
    }

    /// The JSON, indented, with a line break at the end.
    ///
    /// # Errors
    /// It cannot be written: never, with these types.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }
}
