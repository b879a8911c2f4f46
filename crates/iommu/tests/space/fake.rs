//! An IOMMU that only remembers, and memory for tables.

use std::collections::BTreeMap;
use vcm::{Arena, Attributes, Label, PhysicalAddress, Span};
use vcm_iommu::{
    DomainId, FaultRecord, Invalidation, Iommu, IommuError, StreamId, TableFormat, Translation, Unresponsive,
    Way,
};
use vcm_pagetable::{Segment, TableError, TableMemory, Word};

/// What stands in a domain.
#[derive(Debug)]
struct Domain {
    translation: Translation,
    mapped: BTreeMap<u64, u64>,
}

/// An IOMMU that only remembers.
#[derive(Debug)]
pub(crate) struct Fake {
    way: Way,
    domains: Arena<Domain>,
    streams: BTreeMap<StreamId, DomainId>,
    invalidated: Vec<(DomainId, Option<Span>)>,
    /// Steps until it falls silent.
    fail_at: Option<u32>,
    /// Mappings until one is refused.
    refuse_at: Option<u32>,
    /// Mappings until one is made and not answered, and what becomes of it afterwards.
    lose_at: Option<(u32, Afterwards)>,
}

/// What becomes of an IOMMU after one answer was lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Afterwards {
    Answers,
    Silent,
}

impl Fake {
    pub(crate) fn new(way: Way) -> Self {
        Self {
            way,
            domains: Arena::new(),
            streams: BTreeMap::new(),
            invalidated: Vec::new(),
            fail_at: None,
            refuse_at: None,
            lose_at: None,
        }
    }

    /// From the `n`-th step on it does not answer.
    pub(crate) fn fail_at(&mut self, n: u32) {
        self.fail_at = Some(n);
    }

    /// The `n`-th mapping is refused, once.
    pub(crate) fn refuse_at(&mut self, n: u32) {
        self.refuse_at = Some(n);
    }

    /// The `n`-th mapping is made, and the answer is lost.
    pub(crate) fn lose_at(&mut self, n: u32, afterwards: Afterwards) {
        self.lose_at = Some((n, afterwards));
    }

    /// How many mappings there are in a domain, whoever knows of them.
    pub(crate) fn mapped(&self, domain: DomainId) -> usize {
        self.domains.get(domain.key::<Domain>()).map_or(0, |domain| domain.mapped.len())
    }

    pub(crate) fn repair(&mut self) {
        self.fail_at = None;
    }

    pub(crate) fn domains(&self) -> usize {
        self.domains.len()
    }

    /// Whether an invalidation reached `address`.
    pub(crate) fn invalidated(&self, domain: DomainId, address: u64) -> bool {
        let mut all = self.invalidated.iter();
        all.any(|(of, span)| *of == domain && span.is_none_or(|span| span.contains(address)))
    }

    fn step(&mut self) -> Result<(), Unresponsive> {
        match &mut self.fail_at {
            Some(left) if *left <= 1 => Err(Unresponsive { label: self.label(), what: "told to fail" }),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Iommu for Fake {
    fn label(&self) -> Label {
        Label::new("fake")
    }

    fn preferred(&self) -> Way {
        self.way
    }

    fn supports(&self, format: TableFormat) -> bool {
        self.way == Way::Tables(format)
    }

    fn create_domain(&mut self, translation: Translation) -> Result<DomainId, IommuError> {
        self.step()?;
        let key = self.domains.insert(Domain { translation, mapped: BTreeMap::new() })?;
        Ok(DomainId::of(key))
    }

    fn destroy_domain(&mut self, domain: DomainId) -> Result<(), IommuError> {
        self.step()?;
        if let Some((&stream, _)) = self.streams.iter().find(|(_, attached)| **attached == domain) {
            return Err(IommuError::InUse { domain, stream });
        }
        self.domains.remove(domain.key());
        Ok(())
    }

    fn attach(&mut self, stream: StreamId, domain: DomainId) -> Result<(), IommuError> {
        self.step()?;
        self.domains.get(domain.key::<Domain>()).ok_or(IommuError::UnknownDomain(domain))?;
        self.streams.insert(stream, domain);
        Ok(())
    }

    fn detach(&mut self, stream: StreamId) -> Result<(), Unresponsive> {
        self.step()?;
        self.streams.remove(&stream);
        Ok(())
    }

    fn invalidate(&mut self, domain: DomainId, invalidation: &Invalidation<'_>) -> Result<(), Unresponsive> {
        self.step()?;
        match invalidation {
            Invalidation::Everything => self.invalidated.push((domain, None)),
            Invalidation::Addresses { spans, .. } => {
                self.invalidated.extend(spans.iter().map(|span| (domain, Some(*span))));
            }
        }
        Ok(())
    }

    fn map(
        &mut self,
        domain: DomainId,
        at: u64,
        segment: Segment,
        attributes: Attributes,
    ) -> Result<(), IommuError> {
        self.step()?;
        if attributes.security == vcm::Security::Secure {
            return Err(IommuError::Attributes);
        }
        if let Some(left) = &mut self.refuse_at {
            *left -= 1;
            if *left == 0 {
                self.refuse_at = None;
                return Err(IommuError::OutOfMemory);
            }
        }
        let domain = self.domains.get_mut(domain.key::<Domain>()).ok_or(IommuError::UnknownDomain(domain))?;
        assert_eq!(domain.translation, Translation::Requests);
        let whole = |first: u64, len: u64| Span::new(first, len).unwrap();
        let wanted = whole(at, segment.len);
        if let Some((&taken, _)) =
            domain.mapped.iter().find(|(first, len)| whole(**first, **len).overlaps(wanted))
        {
            return Err(IommuError::Occupied(taken));
        }
        domain.mapped.insert(at, segment.len);
        if let Some((left, afterwards)) = &mut self.lose_at {
            *left -= 1;
            if *left == 0 {
                if *afterwards == Afterwards::Silent {
                    self.fail_at = Some(1);
                }
                self.lose_at = None;
                return Err(Unresponsive { label: self.label(), what: "the answer is lost" }.into());
            }
        }
        Ok(())
    }

    fn unmap(&mut self, domain: DomainId, span: Span) -> Result<(), IommuError> {
        self.step()?;
        let domain = self.domains.get_mut(domain.key::<Domain>()).ok_or(IommuError::UnknownDomain(domain))?;
        let whole = |first: u64, len: u64| Span::new(first, len).unwrap();
        let split = |(first, len): (&u64, &u64)| {
            let mapped = whole(*first, *len);
            mapped.overlaps(span) && !span.covers(mapped)
        };
        if domain.mapped.iter().any(split) {
            return Err(IommuError::Address { at: span.first(), len: span.len() as u64 });
        }
        domain.mapped.retain(|first, len| !span.covers(whole(*first, *len)));
        Ok(())
    }

    fn next_fault(&mut self) -> Result<Option<FaultRecord>, Unresponsive> {
        Ok(None)
    }

    fn fault_overflows(&self) -> u64 {
        0
    }

    fn recover(&mut self) -> Result<(), Unresponsive> {
        Ok(())
    }
}

/// Memory for tables.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    words: BTreeMap<u64, u32>,
    live: BTreeMap<u64, u64>,
    next: u64,
}

impl Memory {
    /// How many tables there are.
    pub(crate) fn tables(&self) -> usize {
        self.live.len()
    }
}

impl<W: Word> TableMemory<W> for Memory {
    fn allocate(&mut self, size: u64, align: u64) -> Result<PhysicalAddress, TableError> {
        let at = self.next.next_multiple_of(align.max(size)).max(align);
        self.next = at + size;
        self.live.insert(at, size);
        Ok(PhysicalAddress::new(at))
    }

    fn free(&mut self, table: PhysicalAddress, size: u64) {
        assert_eq!(self.live.remove(&table.raw()), Some(size), "a table that is not there is freed");
    }

    fn read(&self, table: PhysicalAddress, index: usize) -> W {
        let at = table.raw() + index as u64 * W::BYTES;
        let half = |at| u64::from(self.words.get(&at).copied().unwrap_or(0));
        W::truncate(if W::BYTES == 4 { half(at) } else { half(at) | half(at + 4) << 32 })
    }

    fn write(&mut self, table: PhysicalAddress, index: usize, value: W) {
        let at = table.raw() + index as u64 * W::BYTES;
        self.words.insert(at, value.widen() as u32);
        if W::BYTES == 8 {
            self.words.insert(at + 4, (value.widen() >> 32) as u32);
        }
    }
}
