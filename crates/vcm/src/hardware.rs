//! The seam to the hardware: what a commit asks of the machine, and the receipts that it gives back.
//!
//! The graph decides *what* is mapped where; an implementation of [`Hardware`] makes it so, for example by
//! writing page tables and invalidating TLBs. Every function that sets up is all or nothing. Every function
//! that tears down answers with a [`Quiesced`] receipt or with [`Unfinished`]; it cannot refuse.

use crate::block::{Segment, Segments};
use crate::{Attributes, Label, PageSizes, PhysicalAddress, RegionKind, Span};
use core::fmt;

/// The machine's own number for a device (or for one context of it).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DeviceHandle(pub u32);

/// The machine's own number for an address space that it keeps for a region, a page table as a rule.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SpaceHandle(pub u32);

/// Which of a device's addresses an association serves.
///
/// A split gives the addresses with `split` leading zero bits (of the device's address width) to a low table
/// and all others to a high one, so that two regions serve one device at the same time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Part {
    /// All of them.
    #[default]
    Whole,
    /// Those with `split` leading zero bits, 1 to 7 with 32-bit addresses.
    Low {
        /// The number of leading zero bits.
        split: u8,
    },
    /// Those that `Low` with the same `split` does not serve.
    High {
        /// The number of leading zero bits of an address that is *not* served.
        split: u8,
    },
}

impl Part {
    /// Whether a device can have both parts active at the same time.
    pub const fn is_beside(self, other: Self) -> bool {
        match (self, other) {
            (Self::Low { split: a }, Self::High { split: b })
            | (Self::High { split: a }, Self::Low { split: b }) => a == b,
            _ => false,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("whole"),
            Self::Low { split } => write!(f, "low/{split}"),
            Self::High { split } => write!(f, "high/{split}"),
        }
    }
}

/// How a device translates: two devices with equal formats can share one space of a region.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Format {
    /// The machine's number for the format. Equal numbers mean interchangeable tables.
    pub id: u32,
    /// Its name, for people: "`ARMv7` short descriptor", "KVM memory slots".
    pub name: &'static str,
    /// The page sizes it offers.
    pub page_sizes: PageSizes,
    /// The addresses it can translate.
    pub addresses: Span,
}

/// What the hardware layer could not do, and where it found out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HardwareError {
    /// What went wrong.
    pub kind: HardwareErrorKind,
    /// Which part of the machine says so, for people: "smmu vcodec_a", "page table".
    pub at: Label,
}

/// What went wrong in the hardware layer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum HardwareErrorKind {
    /// No memory for page tables or for the driver's bookkeeping.
    OutOfMemory,
    /// Every hardware slot (context bank, ASID, ...) is taken and none of the holders is idle.
    NoFreeSlot,
    /// This hardware cannot do it at all.
    NotSupported,
    /// The hardware does not answer, or answers what it cannot mean.
    Unresponsive,
    /// The address or length is not one that the hardware can translate.
    Address,
    /// The attributes cannot be expressed by the hardware; they are refused, never dropped.
    Attributes,
    /// Secure memory next to non-secure memory, where one bit of the tables says it for a whole range: 1 MiB with the
    /// `ARMv7` short descriptor. Reservations aligned to that range keep them apart.
    MixedSecurity,
    /// Something is mapped there already that the graph does not know of.
    Occupied,
    /// The device or space is not known to the machine.
    Unknown,
    /// The hardware layer was left half-way through and needs the range to be quarantined.
    HalfDone,
}

impl HardwareErrorKind {
    /// What it means, in a few words.
    pub const fn message(self) -> &'static str {
        match self {
            Self::OutOfMemory => "out of memory for tables",
            Self::NoFreeSlot => "every hardware context is in use",
            Self::NotSupported => "not supported by this hardware",
            Self::Unresponsive => "the hardware does not answer",
            Self::Address => "an address that the hardware cannot translate",
            Self::Attributes => "attributes that the hardware cannot express",
            Self::MixedSecurity => "secure next to non-secure memory, which needs ranges of its own",
            Self::Occupied => "the hardware has something mapped there already",
            Self::Unknown => "unknown to the machine",
            Self::HalfDone => "the hardware stopped half-way",
        }
    }
}

impl fmt::Display for HardwareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.kind.message())
    }
}

impl core::error::Error for HardwareError {}

/// The proof that no transaction can reach memory through a range of a space any more: its entries are gone
/// and the invalidation of every cache that could hold them has *completed*.
///
/// Memory goes back to its pool, and addresses become reusable, only in exchange for this receipt. It cannot
/// be copied, and the graph checks that it names the range that it asked for.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "the receipt is what makes memory and addresses reusable"]
pub struct Quiesced {
    space: SpaceHandle,
    span: Span,
}

impl Quiesced {
    /// Issues the receipt. Only an implementation of [`Hardware`] calls this, and only after it has seen
    /// the invalidation of `span` in `space` complete everywhere.
    pub const fn after_invalidation(space: SpaceHandle, span: Span) -> Self {
        Self { space, span }
    }

    /// The space that was quiesced.
    pub const fn space(&self) -> SpaceHandle {
        self.space
    }

    /// The addresses that were quiesced.
    pub const fn span(&self) -> Span {
        self.span
    }
}

/// A teardown that the hardware did not complete: translations of the range may still be in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unfinished {
    /// Why.
    pub error: HardwareError,
}

/// How many leaves of each page size map a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeafCount {
    counts: [u64; 64],
}

impl Default for LeafCount {
    fn default() -> Self {
        Self { counts: [0; 64] }
    }
}

impl LeafCount {
    /// Counts one more leaf of `size` bytes, a power of two.
    pub fn add(&mut self, size: u64) {
        self.counts[size.trailing_zeros() as usize % 64] += 1;
    }

    /// The sizes (in bytes, from the largest) with the number of leaves of each, without the zeros.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.counts
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, count)| **count > 0)
            .map(|(bit, count)| (1 << bit, *count))
    }

    /// The number of leaves of all sizes: the TLB entries that the range takes.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// What the graph asks of a machine.
///
/// # Contract
/// - [`map`](Self::map) and [`attach`](Self::attach) are all or nothing. An error of kind
///   [`HardwareErrorKind::HalfDone`] says that this failed, and the graph quarantines the range.
/// - A space keeps its mappings whether or not a device is attached.
/// - After [`unmap`](Self::unmap) or [`detach`](Self::detach) answered `Ok`, no transaction passes through what
///   was torn down. After `Err`, the same call may be repeated (by the reaper) until it answers `Ok`.
pub trait Hardware {
    /// How `device` translates in this part of its addresses.
    ///
    /// # Errors
    /// `NotSupported` when the device has no such part, `Unknown` when it is not of this machine.
    fn format(&self, device: DeviceHandle, part: Part) -> Result<Format, HardwareError>;

    /// Makes an empty space of `format` for a region of `kind` with the addresses `span`.
    ///
    /// # Errors
    /// `OutOfMemory`, `NotSupported`.
    fn create_space(
        &mut self,
        kind: RegionKind,
        format: Format,
        span: Span,
    ) -> Result<SpaceHandle, HardwareError>;

    /// Gives up a space to which no device is attached. What is still mapped in it goes with it.
    fn destroy_space(&mut self, space: SpaceHandle);

    /// Maps `segments`, one after the other, from `at` on (bytes in the space), whole or not at all.
    ///
    /// # Errors
    /// Any kind. Nothing is mapped, unless the kind is `HalfDone`.
    fn map(
        &mut self,
        space: SpaceHandle,
        at: u64,
        segments: Segments<'_>,
        attributes: Attributes,
    ) -> Result<(), HardwareError>;

    /// Unmaps `span` and waits until no cache holds any of it. Holes in it are passed over.
    ///
    /// # Errors
    /// [`Unfinished`]: translations may still be in use.
    fn unmap(&mut self, space: SpaceHandle, span: Span) -> Result<Quiesced, Unfinished>;

    /// Lets `device` translate through `space`: from now on its transactions see what is mapped there.
    ///
    /// # Errors
    /// `NoFreeSlot`, `Unresponsive`, `NotSupported`, `Unknown`.
    fn attach(&mut self, space: SpaceHandle, device: DeviceHandle, part: Part) -> Result<(), HardwareError>;

    /// Stops `device` from translating through `space`, and waits until no cache holds anything of it. The receipt
    /// covers all addresses of the space.
    ///
    /// # Errors
    /// [`Unfinished`]: the device may still translate.
    fn detach(
        &mut self,
        space: SpaceHandle,
        device: DeviceHandle,
        part: Part,
    ) -> Result<Quiesced, Unfinished>;

    /// Asks the *hardware* where `address` of an attached device leads.
    ///
    /// # Errors
    /// `NotSupported` when the hardware cannot tell, `Address` when nothing is mapped there.
    fn translate(&mut self, device: DeviceHandle, address: u64) -> Result<PhysicalAddress, HardwareError>;

    /// Where the tables of `space` begin, in physical memory. `None` when it has none, or none that others may know.
    fn table_root(&self, space: SpaceHandle) -> Option<PhysicalAddress> {
        let _ = space;
        None
    }

    /// Walks the tables of `space` in software: where `address` leads, if anywhere.
    fn walk(&self, space: SpaceHandle, address: u64) -> Option<PhysicalAddress>;

    /// Counts the leaves that map `span` of `space`.
    fn leaves(&self, space: SpaceHandle, span: Span) -> LeafCount;

    /// Hears that `memory` left its pool for an allocation. Machines that keep an eye on memory (to catch who
    /// reaches it when they should not) take note; others do nothing.
    fn memory_taken(&mut self, memory: Segment) {
        let _ = memory;
    }

    /// Hears that `memory` went back to its pool: from now on nothing may reach it.
    fn memory_returned(&mut self, memory: Segment) {
        let _ = memory;
    }
}
