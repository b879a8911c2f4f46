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
        let Some(whole) = whole(at, segments.clone())? else {
            return Ok(());
        };
        if self.mapped.get(self.first_from(at)).is_some_and(|known| known.span.overlaps(whole)) {
            return Err(HardwareError { kind: HardwareErrorKind::Occupied, at: label });
        }
        let count = segments.clone().count();
        self.mapped.reserve(count).map_err(|_| of_tables(HardwareErrorKind::OutOfMemory))?;
        let mut next = Some(at);
        for segment in segments {
            let (physical, len) = (segment.base, segment.len);
            let Some(span) = next.and_then(|next| Span::new(next, len)) else {
                break;
            };
            let told = iommu.map(domain, span.first(), Segment { physical, len }, attributes);
            // What was not answered may be mapped: it is kept until the IOMMU has said that it is not.
            let refused = match told {
                Ok(()) | Err(IommuError::Unresponsive(_)) => {
                    let index = self.first_from(span.first());
                    let mapped = Mapped { span, physical, access: attributes.access };
                    // There is room: it was reserved.
                    let inserted = self.mapped.insert(index, mapped);
                    debug_assert!(inserted.is_ok(), "no room was made for {span}");
                    told.err()
                }
                Err(refused) => Some(refused),
            };
            if let Some(refused) = refused {
                return match self.unmap(iommu, domain, whole) {
                    Ok(()) => Err(refused.of(label)),
                    Err(_) => Err(HardwareError { kind: HardwareErrorKind::HalfDone, at: label }),
                };
            }
            next = span.last().checked_add(1);
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

/// All that is mapped with `segments` from `at` on; `None` for nothing.
fn whole(at: u64, segments: Segments<'_>) -> Result<Option<Span>, HardwareError> {
    let mut last = None;
    for segment in segments {
        let first = last.map_or(Some(at), |last: u64| last.checked_add(1));
        let span = first.and_then(|first| Span::new(first, segment.len));
        let memory = Span::new(segment.base.raw(), segment.len);
        let (Some(span), Some(_)) = (span, memory) else {
            return Err(of_tables(HardwareErrorKind::Address));
        };
        last = Some(span.last());
    }
    Ok(last.and_then(|last| Span::inclusive(at, last)))
}
