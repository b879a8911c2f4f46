//! Mapping and unmapping.

use super::domain::{Domain, Kind, Mapping};
use super::driver::Doubt;
use super::request::Refusal;
use super::spec::{Features, MAP_MMIO, MAP_READ, MAP_WRITE};
use super::{Transport, VirtioIommu};
use crate::{DomainId, Feature, IommuError, SharedMemory};
use vcm::{Access, Attributes, CachePolicy, MemoryType, Privilege, Security, Shareability, Span};
use vcm_pagetable::Segment;

impl<T: Transport, M: SharedMemory> VirtioIommu<T, M> {
    /// Maps `segments` one after the other from `at` on, whole or not at all; as many requests as fit go to the device
    /// with one notification. Each segment is a mapping of its own to [`Iommu::unmap`](crate::Iommu::unmap).
    ///
    /// # Errors
    /// Those of [`Iommu::map`](crate::Iommu::map), and `OutOfMemory`. After `Unresponsive` nothing is mapped as far as
    /// the driver is concerned, but the device may have mapped some of it: that is unmapped before the next request, and
    /// has gone when the next call, such as [`Iommu::unmap`](crate::Iommu::unmap) of these addresses, answers `Ok`.
    pub fn map_segments(
        &mut self,
        domain: DomainId,
        at: u64,
        segments: &[Segment],
        attributes: Attributes,
    ) -> Result<(), IommuError> {
        let key = domain.key::<Domain>();
        let kind = self.domains.get(key).ok_or(IommuError::UnknownDomain(domain))?.kind;
        if kind != Kind::Mapped {
            return Err(IommuError::NotSupported(Feature::Requests));
        }
        let flags = self.flags(attributes)?;
        let Some(whole) = self.checked(at, segments)? else {
            return Ok(());
        };
        self.settle()?;
        let there = self.stream_of(key).is_some();
        let domain = self.domains.get_mut(key).ok_or(IommuError::UnknownDomain(domain))?;
        if let Some(other) = domain.mappings().get(domain.within(whole)).and_then(<[_]>::first) {
            return Err(IommuError::Occupied(other.span.first().max(at)));
        }
        domain.reserve(segments.len())?;
        let mappings = || {
            segments.iter().scan(at, |at, segment| {
                let span = Span::new(*at, segment.len)?;
                *at = span.last().wrapping_add(1);
                Some(Mapping { span, physical: segment.physical.raw(), flags })
            })
        };
        if there {
            let number = domain.number;
            self.doubt = Some(Doubt::Mapped(key, whole));
            let requests = mappings().map(|mapping| mapping.request(number));
            if let Err(refused) = self.requests.run(&mut self.link, requests)? {
                self.settle()?;
                return Err(self.map_refused(mappings().nth(refused.index), refused.why));
            }
            self.doubt = None;
        }
        domain.insert(mappings());
        Ok(())
    }

    pub(super) fn unmap_span(&mut self, id: DomainId, span: Span) -> Result<(), IommuError> {
        let key = id.key::<Domain>();
        let kind = self.domains.get(key).ok_or(IommuError::UnknownDomain(id))?.kind;
        if kind != Kind::Mapped {
            return Err(IommuError::NotSupported(Feature::Requests));
        }
        self.settle()?;
        let there = self.stream_of(key).is_some();
        let domain = self.domains.get_mut(key).ok_or(IommuError::UnknownDomain(id))?;
        let range = domain.within(span);
        let affected = domain.mappings().get(range.clone()).unwrap_or_default();
        let (Some(first), Some(last)) = (affected.first(), affected.last()) else {
            return Ok(());
        };
        let Some(whole) = Span::inclusive(first.span.first(), last.span.last()) else {
            return Ok(());
        };
        if !span.covers(whole) {
            let split = if first.span.first() < span.first() { first.span } else { last.span };
            let len = u64::try_from(split.len()).unwrap_or(u64::MAX);
            return Err(IommuError::Address { at: split.first(), len });
        }
        domain.remove(range);
        if there {
            self.doubt = Some(Doubt::Mapped(key, whole));
            self.settle()?;
        }
        Ok(())
    }

    /// All that is mapped with `segments` from `at` on; `None` for nothing. Devices need not check alignment.
    fn checked(&self, at: u64, segments: &[Segment]) -> Result<Option<Span>, IommuError> {
        let granule = self.limits.page_sizes.smallest();
        let mut whole: Option<Span> = None;
        for segment in segments {
            let len = segment.len;
            let first = whole.map_or(Some(at), |span| span.last().checked_add(1));
            let error = IommuError::Address { at: first.unwrap_or(0), len };
            let span = first.and_then(|first| Span::new(first, len)).ok_or(error)?;
            let physical = Span::new(segment.physical.raw(), len).ok_or(error)?;
            let aligned = span.is_aligned(granule) && physical.is_aligned(granule);
            // The last address must be greater than the first (5.13.6.5.1).
            if !aligned || !self.limits.input.covers(span) || len < 2 {
                return Err(error);
            }
            whole = Span::inclusive(at, span.last());
        }
        Ok(whole)
    }

    /// The flags of a MAP request.
    fn flags(&self, attributes: Attributes) -> Result<u32, IommuError> {
        let Attributes { access, privilege, security, memory_type, shareability } = attributes;
        // There is no flag for instruction fetches, which are reads.
        if access.is_empty() || access.contains(Access::EXECUTE) {
            return Err(IommuError::Attributes);
        }
        if privilege != Privilege::User || security != Security::NonSecure {
            return Err(IommuError::Attributes);
        }
        let mut flags = match memory_type {
            MemoryType::Normal(CachePolicy::WriteBackWriteAllocate)
                if shareability == Shareability::Outer =>
            {
                0
            }
            MemoryType::Device if self.limits.features.has(Features::MMIO) => MAP_MMIO,
            _ => return Err(IommuError::Attributes),
        };
        if access.contains(Access::READ) {
            flags |= MAP_READ;
        }
        if access.contains(Access::WRITE) {
            flags |= MAP_WRITE;
        }
        Ok(flags)
    }

    /// Why `mapping` was not mapped.
    pub(super) fn map_refused(&self, mapping: Option<Mapping>, why: Refusal) -> IommuError {
        let (at, len) = mapping.map_or((0, 0), |mapping| {
            (mapping.span.first(), u64::try_from(mapping.span.len()).unwrap_or(u64::MAX))
        });
        match why {
            Refusal::Range | Refusal::BadAddress => IommuError::Address { at, len },
            Refusal::Invalid => IommuError::Occupied(at),
            Refusal::Unsupported => IommuError::Attributes,
            Refusal::NoMemory => IommuError::OutOfMemory,
            Refusal::Unread | Refusal::NoEntry | Refusal::Failed => {
                self.link.lost("it refuses a valid MAP").into()
            }
        }
    }
}
