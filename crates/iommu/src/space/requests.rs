//! Mappings that an IOMMU was told of, since it has no tables that we could look at.

use super::of_tables;
use crate::{DomainId, Iommu, IommuError};
use vcm::{
    Access, Attributes, HardwareError, HardwareErrorKind, List, PageSizes, PhysicalAddress, Segments, Span,
};
use vcm_pagetable::Segment;

/// What is mapped, by rising address.
pub(super) struct Requests {
    page_sizes: PageSizes,
    mapped: List<Mapped>,
}

/// A mapping.
#[derive(Clone, Copy)]
struct Mapped {
    span: Span,
    physical: PhysicalAddress,
    access: Access,
}

impl Requests {
    pub(super) const fn new(page_sizes: PageSizes) -> Self {
        Self { page_sizes, mapped: List::new() }
    }

    /// The index of the first mapping that ends at `address` or later.
    fn first_from(&self, address: u64) -> usize {
        self.mapped.partition_point(|known| known.span.last() < address)
    }

    pub(super) fn map<I: Iommu + ?Sized>(
        &mut self,
        iommu: &mut I,
        domain: DomainId,
        at: u64,
        segments: Segments<'_>,
        attributes: Attributes,
    ) -> Result<(), HardwareError> {
        let label = iommu.label();
        let count = segments.clone().count();
        self.mapped.reserve(count).map_err(|_| of_tables(HardwareErrorKind::OutOfMemory))?;
        let mut next = at;
        for segment in segments {
            let (physical, len) = (segment.base, segment.len);
            let told = match Span::new(next, len) {
                Some(span) => iommu.map(domain, next, Segment { physical, len }, attributes).map(|()| span),
                None => Err(IommuError::Address { at: next, len }),
            };
            match told {
                Ok(span) => {
                    let index = self.first_from(next);
                    // There is room: it was reserved.
                    if self
                        .mapped
                        .insert(index, Mapped { span, physical, access: attributes.access })
                        .is_err()
                    {
                        return Err(of_tables(HardwareErrorKind::OutOfMemory));
                    }
                    next = span.last().wrapping_add(1);
                }
                Err(refused) => {
                    let Some(done) = next.checked_sub(1).and_then(|last| Span::inclusive(at, last)) else {
                        return Err(refused.of(label));
                    };
                    return match self.unmap(iommu, domain, done) {
                        Ok(()) => Err(refused.of(label)),
                        Err(_) => Err(HardwareError { kind: HardwareErrorKind::HalfDone, at: label }),
                    };
                }
            }
        }
        Ok(())
    }

    pub(super) fn unmap<I: Iommu + ?Sized>(
        &mut self,
        iommu: &mut I,
        domain: DomainId,
        span: Span,
    ) -> Result<(), HardwareError> {
        let label = iommu.label();
        let first = self.first_from(span.first());
        if self.mapped.get(first).is_none_or(|known| !known.span.overlaps(span)) {
            return Ok(());
        }
        iommu.unmap(domain, span).map_err(|refused| refused.of(label))?;
        self.mapped.retain(|known| !span.covers(known.span));
        Ok(())
    }

    /// What transactions may do at `address`.
    pub(super) fn access(&self, address: u64) -> Option<Access> {
        let known = self.mapped.get(self.first_from(address))?;
        (known.span.first() <= address).then_some(known.access)
    }

    pub(super) fn translate(&self, address: u64) -> Option<PhysicalAddress> {
        let known = self.mapped.get(self.first_from(address))?;
        let offset = address.checked_sub(known.span.first())?;
        Some(PhysicalAddress::new(known.physical.raw() + offset))
    }

    /// Calls `visit` with the size of each page that maps a byte of `span`, were the largest taken.
    pub(super) fn leaves(&self, span: Span, mut visit: impl FnMut(u64)) {
        let from = self.first_from(span.first());
        for known in self.mapped[from..].iter().take_while(|known| known.span.first() <= span.last()) {
            let (mut at, mut physical) = (known.span.first(), known.physical.raw());
            let mut left = known.span.len();
            while let Some(size) = self.page_sizes.largest_at(at, physical, left) {
                if Span::new(at, size).is_some_and(|page| page.overlaps(span)) {
                    visit(size);
                }
                (at, physical, left) =
                    (at.wrapping_add(size), physical.wrapping_add(size), left - u128::from(size));
            }
        }
    }
}
