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
    /// What was left over after everything was taken down.
    pub leaks: Leaks,
    /// TLB misses by block size, where the scenario measures them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub measurements: Vec<Measured>,
    /// What somebody should know.
    pub warnings: Vec<String>,
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

/// What was left over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Leaks {
    /// Allocations that could not be freed.
    pub allocations: usize,
    /// Mappings that could not be taken down.
    pub mappings: usize,
    /// Ranges and associations in quarantine.
    pub quarantined: usize,
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
