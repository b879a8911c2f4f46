//! A region's address space behind an IOMMU: what a [`vcm::Hardware`] does for a graph, whichever IOMMU it has.

mod formats;
mod requests;
mod table;

pub use table::AnyTable;

use crate::{DomainId, Invalidation, Iommu, IommuError, StreamId, TableFormat, Tables, Translation, Way};
use core::fmt;
use requests::Requests;
use vcm::{
    Access, Attributes, FaultReason, Format, HardwareError, HardwareErrorKind, Label, LeafCount, List,
    PhysicalAddress, Segments, Span,
};
use vcm_pagetable::{Gather, TableMemory};

/// Memory for page tables of any format.
pub trait AnyTableMemory: TableMemory<u32> + TableMemory<u64> {}

impl<M: TableMemory<u32> + TableMemory<u64>> AnyTableMemory for M {}

/// An address space: a domain of an IOMMU, with the page table that it walks or the mappings that it was told of.
///
/// ```
/// use std::collections::BTreeMap;
/// use vcm::{Attributes, PhysicalAddress, Segment, Segments, Span};
/// use vcm_iommu::msm::{Config, Smmu, spec};
/// use vcm_iommu::{AddressSpace, Registers, StreamId};
/// use vcm_pagetable::arm_short::Remap;
/// use vcm_pagetable::{TableError, TableMemory, Word};
///
/// /// Remembers what is written, as registers and as memory. Every translation that is asked for faults.
/// struct Toy(BTreeMap<u64, u32>, u64);
///
/// impl Registers for Toy {
///     fn read(&mut self, offset: u32) -> u32 {
///         self.0.get(&offset.into()).copied().unwrap_or(0)
///     }
///     fn write(&mut self, offset: u32, value: u32) {
///         self.0.insert(offset.into(), value);
///         if offset == spec::context_register(0, spec::V2PPR) {
///             self.0.insert(spec::context_register(0, spec::PAR).into(), 3);
///         }
///     }
/// }
///
/// impl<W: Word> TableMemory<W> for Toy {
///     fn allocate(&mut self, size: u64, align: u64) -> Result<PhysicalAddress, TableError> {
///         let table = self.1.next_multiple_of(align);
///         self.1 = table + size;
///         Ok(PhysicalAddress::new(table))
///     }
///     fn free(&mut self, _: PhysicalAddress, _: u64) {}
///     fn read(&self, table: PhysicalAddress, index: usize) -> W {
///         let word = |at| u64::from(self.0.get(&at).copied().unwrap_or(0));
///         let at = table.raw() + index as u64 * W::BYTES;
///         W::truncate(word(at) | word(at + 4) << 32)
///     }
///     fn write(&mut self, table: PhysicalAddress, index: usize, value: W) {
///         let at = table.raw() + index as u64 * W::BYTES;
///         self.0.insert(at, value.widen() as u32);
///         if W::BYTES == 8 {
///             self.0.insert(at + 4, (value.widen() >> 32) as u32);
///         }
///     }
/// }
///
/// let idr = spec::Idr::new().with_ncb(1).with_nm2vcbmt(15).into_bits();
/// let registers = Toy(BTreeMap::from([(spec::IDR.into(), idr)]), 0);
/// let config = Config { remap: Remap::OUTER, ..Config::new("jpegd") };
/// let (mut smmu, mut memory) = (Smmu::probe(registers, config)?, Toy(BTreeMap::new(), 0x8000_0000));
///
/// let mut space = AddressSpace::new(&mut smmu, &mut memory)?;
/// let block = [Segment { base: PhysicalAddress::new(0x9000_0000), len: 0x2000 }];
/// let segments = Segments::new(&block, 0, 0x2000);
/// space.map(&mut smmu, &mut memory, 0x10_0000, segments, Attributes::READ_WRITE)?;
/// space.attach(&mut smmu, StreamId(3))?; // The device sees it from now on.
/// assert_eq!(space.walk(&memory, 0x10_1004), Some(PhysicalAddress::new(0x9000_1004)));
///
/// space.unmap(&mut smmu, &mut memory, Span::inclusive(0x10_0000, 0x10_1fff).unwrap())?;
/// // No transaction uses it any more.
/// space.destroy(&mut smmu, &mut memory).map_err(|(_, error)| error)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Every call is given the IOMMU and the memory that the space was made with. Spaces know nothing of each other, so
/// that whoever owns them can lock them apart.
///
/// # What holds
/// - Tables and domain outlive every stream that translates through them: [`destroy`](Self::destroy) detaches first.
/// - What [`unmap`](Self::unmap) took away is invalidated, and seen to be, before it answers `Ok`, and only then are
///   tables freed.
#[must_use = "a space that is dropped leaks its tables and its domain: see `destroy`"]
pub struct AddressSpace {
    domain: DomainId,
    mapping: Mapping,
    /// Who translates through it.
    streams: List<StreamId>,
}

enum Mapping {
    Tables {
        table: AnyTable,
        /// What was unmapped, and is not known to be out of every cache.
        pending: Gather,
    },
    Requests(Requests),
}

impl AddressSpace {
    /// What spaces behind `iommu` can map, as the graph wants to know it. `id` is the machine's number for it.
    ///
    /// # Errors
    /// `NotSupported` when the IOMMU wants tables of a format that cannot be written.
    pub fn format<I: Iommu + ?Sized>(iommu: &I, id: u32) -> Result<Format, HardwareError> {
        let (name, page_sizes, addresses) = match iommu.preferred() {
            Way::Requests { page_sizes, input } => ("mapping requests", page_sizes, input),
            Way::Tables(format) => {
                let (page_sizes, input) = AnyTable::describe(format, iommu.limits())?;
                (AnyTable::name(format), page_sizes, input)
            }
        };
        Ok(Format { id, name, page_sizes, addresses })
    }

    /// An empty space, in the way that the IOMMU prefers.
    ///
    /// # Errors
    /// What [`Iommu::create_domain`] and the allocation of a root refuse.
    pub fn new<I: Iommu + ?Sized>(
        iommu: &mut I,
        memory: &mut impl AnyTableMemory,
    ) -> Result<Self, HardwareError> {
        match iommu.preferred() {
            Way::Tables(format) => Self::with_tables(format, iommu, memory),
            Way::Requests { page_sizes, .. } => {
                let label = iommu.label();
                let domain =
                    iommu.create_domain(Translation::Requests).map_err(|refused| refused.of(label))?;
                let mapping = Mapping::Requests(Requests::new(page_sizes));
                Ok(Self { domain, mapping, streams: List::new() })
            }
        }
    }

    /// An empty space with tables of `format`.
    ///
    /// # Errors
    /// What [`Iommu::create_domain`] and the allocation of a root refuse.
    pub fn with_tables<I: Iommu + ?Sized>(
        format: TableFormat,
        iommu: &mut I,
        memory: &mut impl AnyTableMemory,
    ) -> Result<Self, HardwareError> {
        let label = iommu.label();
        let table = AnyTable::new(format, iommu.limits(), memory)?;
        let tables = Tables { format, root: table.root() };
        match iommu.create_domain(Translation::Tables(tables)) {
            Ok(domain) => {
                let mapping = Mapping::Tables { table, pending: Gather::new() };
                Ok(Self { domain, mapping, streams: List::new() })
            }
            Err(refused) => {
                // No hardware has seen the root.
                table.destroy(memory);
                Err(refused.of(label))
            }
        }
    }

    /// Its domain.
    pub const fn domain(&self) -> DomainId {
        self.domain
    }

    /// Where its tables begin. `None` when the IOMMU keeps its own.
    pub const fn root(&self) -> Option<PhysicalAddress> {
        match &self.mapping {
            Mapping::Tables { table, .. } => Some(table.root()),
            Mapping::Requests(_) => None,
        }
    }

    /// Who translates through it.
    pub fn streams(&self) -> &[StreamId] {
        &self.streams
    }

    /// Maps `segments`, one after the other, from `at` on, whole or not at all. Where an [`unmap`](Self::unmap) was not
    /// seen to complete, that comes first.
    ///
    /// # Errors
    /// Any kind; nothing is mapped, unless the kind is `HalfDone`: then some of it may be, until these addresses are
    /// unmapped.
    pub fn map<I: Iommu + ?Sized>(
        &mut self,
        iommu: &mut I,
        memory: &mut impl AnyTableMemory,
        at: u64,
        segments: Segments<'_>,
        attributes: Attributes,
    ) -> Result<(), HardwareError> {
        match &mut self.mapping {
            Mapping::Tables { table, pending } => {
                // Caches may hold what was at these addresses, and pointers to tables that are not in use any more.
                complete(table, pending, self.domain, iommu, memory)?;
                table.map(memory, at, segments, attributes)
            }
            Mapping::Requests(requests) => requests.map(iommu, self.domain, at, segments, attributes),
        }
    }

    /// Unmaps all that is mapped in `span`, whole pages; holes are passed over. When it answers `Ok`, no transaction
    /// passes there any more.
    ///
    /// # Errors
    /// Translations may still be in use; the call may be repeated until it answers `Ok`.
    pub fn unmap<I: Iommu + ?Sized>(
        &mut self,
        iommu: &mut I,
        memory: &mut impl AnyTableMemory,
        span: Span,
    ) -> Result<(), HardwareError> {
        match &mut self.mapping {
            Mapping::Requests(requests) => requests.unmap(iommu, self.domain, span),
            Mapping::Tables { table, pending } => {
                table.unmap(memory, span, pending)?;
                complete(table, pending, self.domain, iommu, memory)
            }
        }
    }

    /// Lets a stream translate through it. One that translates through another space is to be detached from that one
    /// first, which would not hear of it.
    ///
    /// # Errors
    /// What [`Iommu::attach`] refuses. With `Unresponsive` the stream counts as attached, and is to be detached.
    pub fn attach<I: Iommu + ?Sized>(
        &mut self,
        iommu: &mut I,
        stream: StreamId,
    ) -> Result<(), HardwareError> {
        let label = iommu.label();
        let out_of_memory = |_| HardwareError { kind: HardwareErrorKind::OutOfMemory, at: label };
        if !self.streams.contains(&stream) {
            self.streams.reserve(1).map_err(out_of_memory)?;
        }
        match iommu.attach(stream, self.domain) {
            Err(refused) if refused.kind() != HardwareErrorKind::Unresponsive => Err(refused.of(label)),
            other => {
                if !self.streams.contains(&stream) {
                    self.streams.push_reserved(stream);
                }
                other.map_err(|refused| refused.of(label))
            }
        }
    }

    /// Blocks a stream that translates through it; another one is passed over. When it answers `Ok`, no transaction of
    /// the stream passes any more.
    ///
    /// # Errors
    /// The stream may still translate; the call may be repeated until it answers `Ok`.
    pub fn detach<I: Iommu + ?Sized>(
        &mut self,
        iommu: &mut I,
        stream: StreamId,
    ) -> Result<(), HardwareError> {
        if !self.streams.contains(&stream) {
            return Ok(());
        }
        let label = iommu.label();
        iommu.detach(stream).map_err(|silent| IommuError::from(silent).of(label))?;
        self.streams.retain(|known| *known != stream);
        Ok(())
    }

    /// Detaches every stream, gives the domain up and frees the tables.
    ///
    /// # Errors
    /// The space comes back with what is left of it; the call may be repeated.
    #[expect(clippy::result_large_err, reason = "what cannot be destroyed comes back whole; that is rare")]
    pub fn destroy<I: Iommu + ?Sized>(
        mut self,
        iommu: &mut I,
        memory: &mut impl AnyTableMemory,
    ) -> Result<(), (Self, HardwareError)> {
        let label = iommu.label();
        while let Some(&stream) = self.streams.first() {
            if let Err(error) = self.detach(iommu, stream) {
                return Err((self, error));
            }
        }
        if let Err(refused) = iommu.destroy_domain(self.domain) {
            return Err((self, refused.of(label)));
        }
        if let Mapping::Tables { table, pending } = self.mapping {
            table.finish(pending, memory);
            table.destroy(memory);
        }
        Ok(())
    }

    /// Where `address` leads, by the tables.
    pub fn walk(&self, memory: &impl AnyTableMemory, address: u64) -> Option<PhysicalAddress> {
        match &self.mapping {
            Mapping::Tables { table, .. } => table.translate(memory, address).map(|found| found.physical),
            Mapping::Requests(requests) => requests.translate(address),
        }
    }

    /// Counts the pages that map `span`. Where the IOMMU keeps its own tables, they are the fewest that it could use.
    pub fn leaves(&self, memory: &impl AnyTableMemory, span: Span) -> LeafCount {
        let mut count = LeafCount::default();
        match &self.mapping {
            Mapping::Tables { table, .. } => table.leaves(memory, span, |leaf| count.add(leaf.size)),
            Mapping::Requests(requests) => requests.leaves(span, |size| count.add(size)),
        }
        count
    }

    /// What transactions may do at `address`; `None` where nothing is mapped.
    pub fn access(&self, memory: &impl AnyTableMemory, address: u64) -> Option<Access> {
        match &self.mapping {
            Mapping::Tables { table, .. } => {
                table.translate(memory, address).map(|found| found.attributes.access)
            }
            Mapping::Requests(requests) => requests.access(address),
        }
    }

    /// Why a transaction to `address` was refused, where the hardware gave `reason` but cannot tell a missing page from
    /// a missing permission, as with VT-d's second stage, RISC-V and virtio: by what is mapped there now.
    pub fn reason(&self, memory: &impl AnyTableMemory, address: u64, reason: FaultReason) -> FaultReason {
        match reason {
            FaultReason::Translation | FaultReason::Permission => match self.access(memory, address) {
                Some(_) => FaultReason::Permission,
                None => FaultReason::Translation,
            },
            other => other,
        }
    }
}

impl fmt::Debug for AddressSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("AddressSpace");
        shown.field("domain", &self.domain).field("root", &self.root());
        shown.field("streams", &&*self.streams).finish_non_exhaustive()
    }
}

/// Invalidates what was unmapped, and frees the tables that this removed.
fn complete<I: Iommu + ?Sized>(
    table: &AnyTable,
    pending: &mut Gather,
    domain: DomainId,
    iommu: &mut I,
    memory: &mut impl AnyTableMemory,
) -> Result<(), HardwareError> {
    if pending.is_empty() {
        return Ok(());
    }
    // Also when nobody translates through it now: caches may keep what somebody did.
    let label = iommu.label();
    iommu
        .invalidate(domain, &Invalidation::from(&*pending))
        .map_err(|silent| IommuError::from(silent).of(label))?;
    table.finish(core::mem::take(pending), memory);
    Ok(())
}

/// An error of the page tables.
const fn of_tables(kind: HardwareErrorKind) -> HardwareError {
    HardwareError { kind, at: Label::new("page table") }
}
