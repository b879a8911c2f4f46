//! What the driver is told about its SMMU, and what it shall do with it.

use vcm::{Label, PhysicalAddress};
use vcm_pagetable::aarch64::Granule;

/// The shape of the stream table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum StreamTable {
    /// As [`TwoLevel`](Self::TwoLevel), unless one second-level table would do.
    #[default]
    Automatic,
    /// One table with an entry for each stream.
    Linear,
    /// Two levels, where the hardware can and [`SPLIT`](super::SPLIT) bits or more are to be covered; else linear. A
    /// second-level table is allocated when the first of its streams is attached.
    TwoLevel,
}

/// How the transactions of a stream that is not attached are refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Unattached {
    /// By an invalid entry: each is recorded, and reported as [`NoContext`](vcm::FaultReason::NoContext).
    #[default]
    Recorded,
    /// By an entry that aborts: the hardware says nothing of it. For machines in which a device that nobody drives
    /// would flood the event queue.
    Silent,
}

/// Whether faulting transactions wait for an answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Stalls {
    /// They are terminated, unless the hardware knows nothing but stalls.
    #[default]
    Terminate,
    /// They wait, where the hardware can. Not for PCI: a stalled transaction blocks those behind it, and the answer may
    /// be among them (Arm IHI 0070, 3.12.2).
    WherePossible,
}

/// Which stage translates a domain that says nothing of stages: [`Iommu::preferred`](crate::Iommu::preferred).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Stage {
    /// The first, where there is one: it tells users from supervisors.
    #[default]
    First,
    /// The second, where there is one.
    Second,
}

/// What a message-signalled interrupt writes, and where.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Message {
    /// Where: a multiple of 4. It is not translated.
    pub address: PhysicalAddress,
    /// What.
    pub data: u32,
}

/// How the SMMU signals.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Interrupts {
    /// By its lines.
    #[default]
    Lines,
    /// By messages.
    Messages {
        /// When the event queue is not empty any more.
        events: Message,
        /// When there is a global error.
        errors: Message,
    },
}

/// What the driver is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// The SMMU's name in errors: "pcie-smmu".
    pub label: Label,
    /// log2 of the number of commands that the queue holds; bounded by what the hardware can (`IDR1.CMDQS`). At least
    /// 1.
    pub command_queue: u8,
    /// log2 of the number of events that the queue holds; bounded by what the hardware can (`IDR1.EVENTQS`).
    pub event_queue: u8,
    /// The shape of the stream table.
    pub stream_table: StreamTable,
    /// Stream ids up to 2^this are covered; bounded by what the hardware can (`IDR1.SIDSIZE`). `None`: 25 with two
    /// levels (a first level of 1 MiB), 16 in a linear table (4 MiB). The others' transactions are refused.
    pub stream_bits: Option<u8>,
    /// What becomes of transactions of streams that are not attached.
    pub unattached: Unattached,
    /// Whether faulting transactions wait.
    pub stalls: Stalls,
    /// The stage that is preferred.
    pub stage: Stage,
    /// The granule that is preferred, where the hardware has it.
    pub granule: Granule,
    /// The bits of device address that are preferred, 31 to 48.
    ///
    /// 39 by default: with the 4 KiB granule these are 512 GiB in three levels, so that a walk reads one table fewer
    /// than with 48 bits. Machines whose memory must be seen at its own addresses beyond that need more.
    pub input_bits: u8,
    /// How the SMMU signals.
    pub interrupts: Interrupts,
    /// At which intermediate physical address a nested domain's second table shows the driver's context descriptor.
    /// `None`: at its physical one. See [`Smmu::context_page`](super::Smmu::context_page).
    pub context_at: Option<u64>,
    /// How often a register is read, at most, until it says what is waited for.
    pub polls: u32,
}

impl Config {
    /// Queues of 256 commands and 512 events, an automatic stream table, unattached streams recorded, no stalls, stage 1
    /// with 39 bits and 4 KiB, interrupt lines, and a million polls.
    pub const fn new(label: &str) -> Self {
        Self {
            label: Label::new(label),
            command_queue: 8,
            event_queue: 9,
            stream_table: StreamTable::Automatic,
            stream_bits: None,
            unattached: Unattached::Recorded,
            stalls: Stalls::Terminate,
            stage: Stage::First,
            granule: Granule::Size4K,
            input_bits: 39,
            interrupts: Interrupts::Lines,
            context_at: None,
            polls: 1_000_000,
        }
    }
}
