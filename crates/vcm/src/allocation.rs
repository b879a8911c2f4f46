//! Physical memory, owned by nobody's address space, that knows each of its mappers.

use crate::error::Error;
use crate::id::{AllocationId, ReservationId, TargetId};
use crate::region::PAGE;
use crate::reservation::Ownership;
use crate::storage::{Arena, List};
use crate::target::AllocationRequest;
use crate::{Attributes, Label, PhysicalAddress, Segment, Segments, Shareability, Span};

/// Whether an allocation's mappers must keep it coherent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Coherence {
    /// Each mapper chooses.
    #[default]
    Any,
    /// A mapper that caches the memory has to share it, so that the hardware keeps caches coherent; one that does
    /// not is refused.
    Coherent,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MapperState {
    Live,
    Quarantined,
}

/// A mapping of (a part of) an allocation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapper {
    pub(crate) reservation: ReservationId,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) attributes: Attributes,
    pub(crate) state: MapperState,
}

impl Mapper {
    const fn overlaps(&self, offset: u64, len: u64) -> bool {
        self.offset < offset + len && offset < self.offset + self.len
    }
}

/// Where an allocation's blocks go when it is freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// Back to the pools of this target.
    Target(TargetId),
    /// Nowhere: the range was only wrapped.
    Wrapped,
}

/// Physical memory with its mappers: one of the parts that can be locked apart.
#[derive(Debug)]
pub struct Allocation {
    pub(crate) label: Label,
    pub(crate) origin: Origin,
    pub(crate) blocks: List<Segment>,
    /// In bytes: the sum of the blocks.
    pub(crate) len: u64,
    pub(crate) coherence: Coherence,
    pub(crate) mappers: Arena<Mapper>,
    pub(crate) ownership: Ownership,
}

impl Allocation {
    /// An allocation of `blocks` that a target gave.
    pub const fn from_target(
        target: TargetId,
        request: &AllocationRequest,
        blocks: List<Segment>,
        len: u64,
    ) -> Self {
        Self {
            label: request.label,
            origin: Origin::Target(target),
            blocks,
            len,
            coherence: request.coherence,
            mappers: Arena::new(),
            ownership: Ownership::Held,
        }
    }

    /// An allocation that wraps `len` bytes at `base`, whole pages that no pool has.
    ///
    /// # Errors
    /// [`Error::BadAlignment`], [`Error::BadLength`], [`Error::OutOfMemory`].
    pub fn wrapping(label: &str, base: PhysicalAddress, len: u64) -> Result<Self, Error> {
        if !base.is_aligned(PAGE) {
            return Err(Error::BadAlignment { value: base.raw(), unit: PAGE });
        }
        if !len.is_multiple_of(PAGE) || Span::new(base.raw(), len).is_none() {
            return Err(Error::BadLength { start: base.raw(), len: u128::from(len), page: PAGE });
        }
        let mut blocks = List::new();
        blocks.push(Segment { base, len })?;
        Ok(Self {
            label: label.into(),
            origin: Origin::Wrapped,
            blocks,
            len,
            coherence: Coherence::Any,
            mappers: Arena::new(),
            ownership: Ownership::Held,
        })
    }

    /// Its name.
    pub const fn label(&self) -> Label {
        self.label
    }

    /// Its length, in bytes: never zero.
    #[expect(clippy::len_without_is_empty, reason = "an allocation holds a page at least")]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Gives the allocation up: it goes when its last mapper does.
    ///
    /// # Errors
    /// [`Error::Mapped`] while reservations map it, [`Error::UnknownAllocation`] when it was given up before.
    pub fn abandon(&mut self, id: AllocationId) -> Result<(), Error> {
        if self.ownership == Ownership::Abandoned {
            return Err(Error::UnknownAllocation(id));
        }
        if let Some(first) = self.live_mappers().next() {
            let count = self.live_mappers().count();
            return Err(Error::Mapped { allocation: id, first: first.reservation, count });
        }
        self.ownership = Ownership::Abandoned;
        Ok(())
    }

    /// Whether its memory can go back: it was given up, and nobody can reach it.
    pub fn is_collectable(&self) -> bool {
        self.ownership == Ownership::Abandoned && self.mappers.is_empty()
    }

    /// The blocks that go back to a target's pools; none when it only wraps a range.
    pub fn returnable(&self) -> &[Segment] {
        match self.origin {
            Origin::Target(_) => &self.blocks,
            Origin::Wrapped => &[],
        }
    }

    /// Whether `reservation` may map `len` bytes from `offset` on with `attributes`, beside the mappers there are.
    pub(crate) fn admit(
        &self,
        id: AllocationId,
        reservation: ReservationId,
        offset: u64,
        len: u64,
        attributes: Attributes,
    ) -> Result<(), Error> {
        if self.coherence == Coherence::Coherent
            && attributes.memory_type.is_cached()
            && attributes.shareability == Shareability::NonShareable
        {
            return Err(Error::NotCoherent { reservation, allocation: id, wanted: attributes });
        }
        match self
            .mappers
            .iter()
            .find(|(_, mapper)| mapper.overlaps(offset, len) && !mapper.attributes.may_alias(attributes))
        {
            None => Ok(()),
            Some((_, mapper)) => Err(Error::Conflict {
                reservation,
                allocation: id,
                wanted: attributes,
                with: mapper.reservation,
                held: mapper.attributes,
            }),
        }
    }

    /// `len` bytes from `offset` on, as contiguous stretches.
    pub(crate) fn segments(&self, offset: u64, len: u64) -> Segments<'_> {
        Segments::new(&self.blocks, offset, len)
    }

    /// Where the `len` bytes from `offset` on are, if they are in one piece.
    pub(crate) fn contiguous(&self, offset: u64, len: u64) -> Option<Span> {
        let segment = self.segments(offset, len).next()?;
        if segment.len < len { None } else { Span::new(segment.base.raw(), len) }
    }

    /// Where the byte at `offset` is.
    pub(crate) fn physical(&self, offset: u64) -> Option<PhysicalAddress> {
        self.segments(offset, 1).next().map(|segment| segment.base)
    }

    /// How many bytes into the allocation `address` is, if it is in it.
    pub(crate) fn offset_of(&self, address: PhysicalAddress) -> Option<u64> {
        let mut before = 0;
        for block in &self.blocks {
            let into = address.raw().wrapping_sub(block.base.raw());
            if into < block.len {
                return Some(before + into);
            }
            before += block.len;
        }
        None
    }

    /// Whether a block of it shares a byte with `span`.
    pub fn overlaps(&self, span: Span) -> bool {
        self.blocks.iter().filter_map(|block| block.span()).any(|block| block.overlaps(span))
    }

    /// The reservations that map it, those in quarantine left out.
    pub(crate) fn live_mappers(&self) -> impl Iterator<Item = &Mapper> {
        self.mappers.iter().map(|(_, mapper)| mapper).filter(|mapper| mapper.state == MapperState::Live)
    }
}
