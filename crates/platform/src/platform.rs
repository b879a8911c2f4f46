//! The seam: what any machine offers.

use crate::{Interrupts, Transfer, TransferReport};
use std::fmt;
use vcm::{Answer, CpuAddress, DeviceHandle, Fault, Hardware, Privilege, RegionKind, Span};

/// A device that the graph can associate regions with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceDescription {
    /// The machine's number for it.
    pub handle: DeviceHandle,
    /// Its name: a context's (`vcodec_a_mm1`), a master's, or a CPU's.
    pub name: String,
    /// The kind of region that it is associated with.
    pub kind: RegionKind,
    /// The IOMMU in front of it, by name; several are joined by a comma.
    pub iommu: Option<String>,
    /// Addresses that must never be handed out to it, such as a window for message-signalled interrupts.
    pub reserved: Vec<Span>,
}

/// A memory that pools can be made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemoryDescription {
    /// Its name, such as `smi`.
    pub name: String,
    /// Where it is, in physical addresses.
    pub span: Span,
}

/// Names a fault that waits for its answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FaultToken(pub u64);

/// Something that happened in the machine.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Event {
    /// The transfer of `device` goes on: `done` of `total` bytes were touched.
    Progress {
        /// Whose transfer.
        device: DeviceHandle,
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A transaction was refused. When it is stalled, the machine waits for [`Platform::answer`].
    Fault {
        /// To answer with.
        token: FaultToken,
        /// What was refused.
        fault: Fault,
    },
    /// A device's interrupt was raised.
    Interrupt {
        /// Its number at the interrupt controller.
        number: u32,
    },
    /// The transfer of `device` ended.
    Completed {
        /// Whose transfer.
        device: DeviceHandle,
        /// What it did.
        report: TransferReport,
    },
}

/// What a machine could not do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlatformError {
    /// What was asked, of what.
    pub what: String,
    /// Why it was not done. The name of an error number may come first: `EAGAIN: ...`.
    pub why: String,
}

impl fmt::Display for PlatformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

impl std::error::Error for PlatformError {}

/// A machine: what the graph asks of it ([`Hardware`]), and its devices, memories, transfers and events.
///
/// The same scenario runs on every implementation, and the same bytes arrive.
pub trait Platform: Hardware {
    /// The machine's name.
    fn name(&self) -> &str;

    /// Every device that the graph can associate regions with, CPUs included.
    fn devices(&self) -> &[DeviceDescription];

    /// Every memory that pools can be made of, the fastest first.
    fn memories(&self) -> &[MemoryDescription];

    /// The CPU's addresses that its virtual memory manager lends to the graph.
    fn cpu_span(&self) -> Span;

    /// The machine's interrupts and guests, if it can give a device's interrupts to a guest.
    fn interrupts(&mut self) -> Option<&mut dyn Interrupts> {
        None
    }

    /// How its devices were reached, and why in that way, where there was a choice.
    fn notes(&self) -> &[String] {
        &[]
    }

    /// What whoever uses the machine must be told: that a device is not held back by anything, say.
    fn warnings(&self) -> &[String] {
        &[]
    }

    /// What the machine last refused, in its own words: more than a [`HardwareError`](vcm::HardwareError) can carry.
    fn explanation(&self) -> Option<String> {
        None
    }

    /// Starts a transfer whose transactions are made as `privilege`; events tell of its progress. A device does one
    /// transfer at a time.
    ///
    /// What a mapping keeps for [`Privilege::Supervisor`] faults for a user's transactions.
    ///
    /// # Errors
    /// When the device cannot do it, or is busy.
    fn start(
        &mut self,
        device: DeviceHandle,
        transfer: &Transfer,
        privilege: Privilege,
    ) -> Result<(), PlatformError>;

    /// Lets the machine go on until something happens. `None` when nothing is under way.
    ///
    /// # Errors
    /// When the machine itself is broken, when it found that a translation reached memory that was given back, and
    /// when nothing can go on because every transfer waits for the answer to a fault.
    fn next_event(&mut self) -> Result<Option<Event>, PlatformError>;

    /// Answers a fault that waits. A token that is no longer waiting is passed over.
    fn answer(&mut self, token: FaultToken, answer: Answer);

    /// Reads as the CPU does, through its own MMU.
    ///
    /// # Errors
    /// When the CPU faults there.
    fn cpu_read(&mut self, address: CpuAddress, bytes: &mut [u8]) -> Result<(), PlatformError>;

    /// Writes as the CPU does, through its own MMU.
    ///
    /// # Errors
    /// When the CPU faults there.
    fn cpu_write(&mut self, address: CpuAddress, bytes: &[u8]) -> Result<(), PlatformError>;
}
