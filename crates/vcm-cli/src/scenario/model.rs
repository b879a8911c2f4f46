//! What a scenario says, as plain data. Names are not resolved: which device a role is depends on the machine.

use super::interrupts::{GuestSpec, InterruptAction, InterruptSpec};
use crate::problem::{Name, Place};
use std::collections::BTreeMap;
use vcm::pool::Policy;
use vcm::{Attributes, Coherence, Contiguity, FaultReason, PageSizes, Part, Privilege, RegionKind};
use vcm_platform::{Layout, Outcome};

/// A scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name: that of its file, without the ending.
    pub name: String,
    /// What it shows, in one line.
    pub about: String,
    /// The machine that it runs on unless the command line names one.
    pub machine: Option<Name>,
    /// What every pattern's seed is counted from.
    pub seed: u64,
    /// How memories are divided.
    pub pools: Vec<PoolSpec>,
    /// Memory targets.
    pub targets: Vec<TargetSpec>,
    /// Regions.
    pub regions: Vec<RegionSpec>,
    /// Bounds.
    pub bounds: Vec<BoundSpec>,
    /// Links of regions with devices.
    pub associations: Vec<AssociationSpec>,
    /// Physical memory.
    pub buffers: Vec<BufferSpec>,
    /// Buffers mapped in regions.
    pub shares: Vec<ShareSpec>,
    /// Who answers faults.
    pub hooks: Vec<HookSpec>,
    /// Guests that devices' interrupts are given to.
    pub guests: Vec<GuestSpec>,
    /// Those interrupts.
    pub interrupts: Vec<InterruptSpec>,
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// What is measured.
    pub measure: Option<Measure>,
}

/// How one memory is divided into blocks.
#[derive(Clone, Debug)]
pub struct PoolSpec {
    /// The memory.
    pub memory: Name,
    /// How.
    pub policy: Policy,
}

/// A memory target: memories by priority.
#[derive(Clone, Debug)]
pub struct TargetSpec {
    /// Its name.
    pub name: Name,
    /// The memories, the first to be used first.
    pub memories: Vec<Name>,
}

/// Which addresses a region has.
#[derive(Clone, Debug)]
pub enum Window {
    /// All that the first device associated with it can translate, in that association's part.
    OfDevice,
    /// Those of a memory: a one-to-one region that covers it.
    OfMemory(Name),
    /// These: start and length in bytes.
    Range(u64, u64),
}

/// A region.
#[derive(Clone, Debug)]
pub struct RegionSpec {
    /// Its name.
    pub name: Name,
    /// Whose address space it is.
    pub kind: RegionKind,
    /// Its addresses.
    pub window: Window,
}

/// A sub-range of a region.
#[derive(Clone, Debug)]
pub struct BoundSpec {
    /// Its name.
    pub name: Name,
    /// The region.
    pub region: Name,
    /// Its length in bytes.
    pub len: u64,
}

/// Whether something that was declared takes effect at once or when a step says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// At once.
    Start,
    /// When a step says so.
    Later,
}

/// The link of a region with a device.
#[derive(Clone, Debug)]
pub struct AssociationSpec {
    /// Where it is written.
    pub place: Place,
    /// The region.
    pub region: Name,
    /// The role.
    pub device: Name,
    /// The part of the device's addresses.
    pub part: Part,
    /// When it is activated.
    pub active: When,
}

/// Physical memory.
#[derive(Clone, Debug)]
pub struct BufferSpec {
    /// Its name.
    pub name: Name,
    /// Bytes.
    pub len: u64,
    /// The target that it is from; all memories by the machine's order if none is named.
    pub target: Option<Name>,
    /// One piece or blocks.
    pub contiguity: Contiguity,
    /// What every block is aligned to, in bytes.
    pub alignment: Option<u64>,
    /// The block sizes that are allowed.
    pub blocks: Option<PageSizes>,
    /// Whether mappers must keep it coherent.
    pub coherence: Coherence,
}

/// A buffer, or a part of it, in a region.
#[derive(Clone, Debug)]
pub struct ShareSpec {
    /// What steps call it: `buffer@region` unless it has a name of its own.
    pub name: Name,
    /// The buffer.
    pub buffer: Name,
    /// The region.
    pub region: Name,
    /// The bound that it is reserved from.
    pub bound: Option<Name>,
    /// The address that it is reserved at.
    pub address: Option<u64>,
    /// The alignment of its address, in bytes.
    pub alignment: Option<u64>,
    /// The first byte of the buffer.
    pub offset: u64,
    /// Bytes; to the buffer's end if not said.
    pub len: Option<u64>,
    /// What it permits, and how the memory behaves.
    pub attributes: Attributes,
    /// When the memory is put behind the reservation.
    pub backed: When,
}

/// What a fault hook does.
#[derive(Clone, Debug)]
pub enum HookAnswer {
    /// Takes the hook away.
    None,
    /// Terminates the transaction.
    Terminate,
    /// Backs this share, if it is not yet, and retries.
    BackAndRetry(Name),
}

/// Who answers a device's faults.
#[derive(Clone, Debug)]
pub struct HookSpec {
    /// The role.
    pub device: Name,
    /// What is answered.
    pub answer: HookAnswer,
}

/// Where a surface is.
#[derive(Clone, Debug)]
pub enum Base {
    /// In a buffer (or a share, by its name), this many bytes from its start.
    In(Name, u64),
    /// At a bare address of the device's space.
    Address(u64),
}

/// Bytes that a transfer touches.
#[derive(Clone, Debug)]
pub struct SurfaceSpec {
    /// Where it is written.
    pub place: Place,
    /// Where it is.
    pub base: Base,
    /// How it lies; `None` for all of the buffer, one byte after the other.
    pub layout: Option<Layout>,
}

/// What a transfer does.
#[derive(Clone, Debug)]
pub enum Movement {
    /// Writes the pattern of a seed.
    Write {
        /// Where to.
        to: SurfaceSpec,
        /// The seed.
        seed: Option<u64>,
    },
    /// Reads, and compares with what was written there, or with the pattern of a seed.
    Read {
        /// Where from.
        from: SurfaceSpec,
        /// The seed.
        seed: Option<u64>,
    },
    /// Reads from one surface and writes to another.
    Copy {
        /// Where from.
        from: SurfaceSpec,
        /// Where to.
        to: SurfaceSpec,
    },
}

/// What a device is asked to do, and how that has to end.
#[derive(Clone, Debug)]
pub struct TransferSpec {
    /// The role.
    pub device: Name,
    /// What it does.
    pub movement: Movement,
    /// What other steps call the transfer.
    pub name: Option<Name>,
    /// As whom the device does it: as a user if not said. The CPU always does it as supervisor.
    pub privilege: Option<Privilege>,
    /// How it has to end.
    pub ends: Outcome,
    /// How many faults it has to have on the way; any number if not said.
    pub faults: Option<u64>,
    /// The reason that each of its faults has to have.
    pub reason: Option<FaultReason>,
}

/// How a step has to be refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Where it is written.
    pub place: Place,
    /// The error number's name: `EBUSY`.
    pub errno: Option<String>,
    /// The error's kind: `Conflict`.
    pub kind: Option<String>,
    /// What the error's text has to mention.
    pub naming: Vec<String>,
}

/// What must hold at some point.
#[derive(Clone, Debug)]
pub enum Expectation {
    /// A share's address.
    Address {
        /// The share.
        share: Name,
        /// The address; `None` for that of its memory, as in one-to-one regions.
        is: Option<u64>,
    },
    /// The page-table leaves that map a share, by size in bytes.
    Leaves {
        /// The share.
        share: Name,
        /// How many of each size; no others.
        leaves: BTreeMap<u64, u64>,
    },
    /// The blocks that a buffer is made of, by size in bytes.
    Blocks {
        /// The buffer.
        buffer: Name,
        /// How many of each size; no others.
        blocks: BTreeMap<u64, u64>,
    },
    /// The faults of a device so far.
    Faults {
        /// The role.
        device: Name,
        /// How many.
        count: u64,
        /// For this reason; for any if not said.
        reason: Option<FaultReason>,
    },
    /// The TLB misses of transfers, each with fewer than the next.
    MissesRise {
        /// The transfers, by name.
        transfers: Vec<Name>,
    },
    /// The TLB misses of one transfer.
    MissesAtMost {
        /// The transfer.
        transfer: Name,
        /// How many it may have.
        most: u64,
    },
    /// The graph, the page tables and the hardware agree on where a share leads.
    Translation {
        /// The share.
        share: Name,
        /// The role whose hardware is asked.
        device: Name,
    },
    /// An address of one region leads to the same byte as an address of another.
    SameByte {
        /// A share.
        share: Name,
        /// Another one of the same buffer.
        other: Name,
    },
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum Action {
    /// A device or a CPU moves bytes.
    Transfer(Box<TransferSpec>),
    /// Allocates a buffer.
    Allocate(BufferSpec),
    /// Maps a buffer in a region.
    Share(Box<ShareSpec>),
    /// Links a region with a device.
    Associate(AssociationSpec),
    /// Takes such a link away.
    Deassociate {
        /// The region.
        region: Name,
        /// The role.
        device: Name,
    },
    /// Activates an association.
    Activate {
        /// The region.
        region: Name,
        /// The role.
        device: Name,
    },
    /// Deactivates an association.
    Deactivate {
        /// The region.
        region: Name,
        /// The role.
        device: Name,
    },
    /// Puts the memory behind a share's reservation.
    Back(Name),
    /// Takes the memory from a share's reservation.
    Unback(Name),
    /// Takes the memory from a share's reservation and gives the reservation up.
    Unshare(Name),
    /// Gives a share's reservation up.
    Unreserve(Name),
    /// Frees a buffer.
    Free(Name),
    /// Frees a region.
    FreeRegion(Name),
    /// Changes who answers a device's faults.
    Hook(HookSpec),
    /// Asks the hardware to finish what is in quarantine.
    Reap,
    /// Checks something.
    Expect(Expectation),
    /// Does something with guests and their interrupts.
    Interrupt(InterruptAction),
}

/// A step.
#[derive(Clone, Debug)]
pub struct Step {
    /// Where it is written.
    pub place: Place,
    /// What it is called in reports; made from the action if it has no name.
    pub about: Option<String>,
    /// What it does.
    pub action: Action,
    /// How it has to be refused, if it has to.
    pub refused: Option<Refusal>,
}

/// A way through a buffer that is measured.
#[derive(Clone, Debug)]
pub struct MeasuredPattern {
    /// Its name.
    pub name: Name,
    /// The way.
    pub layout: Layout,
}

/// TLB misses by block size, way through the buffer and size of the TLB.
#[derive(Clone, Debug)]
pub struct Measure {
    /// Where it is written.
    pub place: Place,
    /// The role that reads.
    pub device: Name,
    /// The target of the buffers.
    pub target: Option<Name>,
    /// Bytes of each buffer.
    pub len: u64,
    /// The block sizes, in bytes, the smallest first.
    pub blocks: Vec<u64>,
    /// The numbers of TLB entries; the machine's own if none is said.
    pub tlb_entries: Vec<u32>,
    /// The ways.
    pub patterns: Vec<MeasuredPattern>,
}
