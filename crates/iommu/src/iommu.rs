//! What every driver offers.

use crate::{
    FaultRecord, Feature, Invalidation, IommuError, Stall, TableFormat, TableLimits, Translation,
    Unresponsive, Way,
};
use core::fmt;
use vcm::{Answer, Attributes, FaultAccess, Key, Label, PhysicalAddress, Span};
use vcm_pagetable::Segment;

/// Who makes a transaction, as the IOMMU tells it: the stream id of an SMMU, the requester id of a PCI function
/// (bus << 8 | device << 3 | function), the device id of RISC-V, the endpoint of virtio.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StreamId(pub u32);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream {:#x}", self.0)
    }
}

/// Names a domain of one IOMMU. It stays invalid once the domain is destroyed, even when another takes its place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DomainId(Key<()>);

impl DomainId {
    /// The name of a driver's own entry, for those who implement [`Iommu`].
    pub const fn of<T>(key: Key<T>) -> Self {
        Self(key.cast())
    }

    /// The driver's own entry. Only the driver that gave the name finds anything there.
    pub const fn key<T>(self) -> Key<T> {
        self.0.cast()
    }
}

impl fmt::Display for DomainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "domain {}", self.0)
    }
}

/// An IOMMU with its driver: domains, which are ways to translate, and streams, which are attached to them.
///
/// A stream that is attached to no domain is blocked: its transactions fault. A driver does not write page tables: it
/// is given their roots, and is told what to invalidate after [`vcm_pagetable`] changed them.
///
/// # Contract
/// - What answers `Ok` has completed: the hardware has acknowledged it, not merely been asked.
/// - After [`detach`](Self::detach) and [`invalidate`](Self::invalidate) answered `Ok`, no transaction uses what was
///   there before. After [`Unresponsive`] it may; the call can be repeated until it answers `Ok`.
/// - An error other than `Unresponsive` has changed nothing.
pub trait Iommu {
    /// Its name.
    fn label(&self) -> Label;

    /// How it would have its domains translate.
    fn preferred(&self) -> Way;

    /// What of the formats that it walks it takes.
    fn limits(&self) -> TableLimits {
        TableLimits::NONE
    }

    /// Whether it can walk tables of `format`, alone.
    fn supports(&self, format: TableFormat) -> bool;

    /// Makes a domain. Nothing is attached to it yet.
    ///
    /// # Errors
    /// `NotSupported` for a translation that the hardware or the driver does not know; `NoFreeSlot`, `Root`,
    /// `OutOfMemory`; `Unresponsive` where the hardware is asked.
    fn create_domain(&mut self, translation: Translation) -> Result<DomainId, IommuError>;

    /// Gives a domain up; when this answers `Ok`, no cache holds anything of it and its tables may be freed. One that
    /// does not exist is passed over.
    ///
    /// # Errors
    /// `InUse` names a stream that is attached to it still. `Unresponsive`: its number stays taken; the call may be
    /// repeated.
    fn destroy_domain(&mut self, domain: DomainId) -> Result<(), IommuError>;

    /// Lets a stream's transactions translate as `domain` does. A stream that is attached to another domain moves:
    /// each of its transactions uses one or the other whole, or faults, and when this returns, none uses the old one.
    ///
    /// # Errors
    /// `UnknownDomain`, `StreamOutOfRange`, `OutOfMemory`, `NotSupported` where the domain's translation is not for
    /// streams. `Unresponsive`: the stream may use either; to be detached, or attached again.
    fn attach(&mut self, stream: StreamId, domain: DomainId) -> Result<(), IommuError>;

    /// Blocks a stream. One that is not attached is passed over.
    ///
    /// # Errors
    /// [`Unresponsive`]: the stream may still translate; the call may be repeated.
    fn detach(&mut self, stream: StreamId) -> Result<(), Unresponsive>;

    /// Drops cached translations of a domain, and waits until they are gone. A domain that does not exist has none.
    ///
    /// # Errors
    /// [`Unresponsive`]: it was not seen to complete. The call may be repeated.
    fn invalidate(&mut self, domain: DomainId, invalidation: &Invalidation<'_>) -> Result<(), Unresponsive>;

    /// Maps `segment` at `at` in a domain of [`Translation::Requests`].
    ///
    /// # Errors
    /// `NotSupported` for other domains; `UnknownDomain`, `Address`, `Attributes`, `Occupied`, `Unresponsive`.
    fn map(
        &mut self,
        domain: DomainId,
        at: u64,
        segment: Segment,
        attributes: Attributes,
    ) -> Result<(), IommuError> {
        let _ = (domain, at, segment, attributes);
        Err(IommuError::NotSupported(Feature::Requests))
    }

    /// Unmaps all that is mapped in `span` of a domain of [`Translation::Requests`]; a mapping must be wholly inside or
    /// outside. When this answers `Ok`, no transaction uses any of it.
    ///
    /// # Errors
    /// `NotSupported` for other domains; `UnknownDomain`, `Address` for a mapping that would have to be split,
    /// `Unresponsive`.
    fn unmap(&mut self, domain: DomainId, span: Span) -> Result<(), IommuError> {
        let _ = (domain, span);
        Err(IommuError::NotSupported(Feature::Requests))
    }

    /// The next refused transaction that the hardware has recorded, the oldest first. To be called until there is
    /// none, whenever the IOMMU raised its interrupt.
    ///
    /// # Errors
    /// [`Unresponsive`]: the hardware's queue makes no sense, or the hardware is gone.
    fn next_fault(&mut self) -> Result<Option<FaultRecord>, Unresponsive>;

    /// How often the hardware said that it had no room for further faults, or that it lost some.
    fn fault_overflows(&self) -> u64;

    /// Answers a transaction that waits.
    ///
    /// # Errors
    /// `NotSupported` where none ever waits; `NotStalled`; `Unresponsive`.
    fn answer(&mut self, stall: Stall, answer: Answer) -> Result<(), IommuError> {
        let _ = (stall, answer);
        Err(IommuError::NotSupported(Feature::Stalls))
    }

    /// Asks the hardware where `address` of a stream leads.
    ///
    /// # Errors
    /// `NotSupported` where the hardware cannot tell; `NotAttached`, `NotMapped`, `Unresponsive`.
    fn translate(
        &mut self,
        stream: StreamId,
        address: u64,
        access: FaultAccess,
    ) -> Result<PhysicalAddress, IommuError> {
        let _ = (stream, address, access);
        Err(IommuError::NotSupported(Feature::Translate))
    }

    /// Initialises the hardware anew, after it was reset, fell silent or reported that it lost its way: every
    /// attached stream translates as before, every other one is blocked, and all caches are empty. A stream whose
    /// detaching was not seen to complete is among the others.
    ///
    /// # Errors
    /// [`Unresponsive`]: it does not answer still. The call may be repeated.
    fn recover(&mut self) -> Result<(), Unresponsive>;
}
