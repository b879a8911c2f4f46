//! What every driver offers.

use super::AmdVi;
use super::commands::Command;
use super::device_table::{Domain, Path};
use super::spec;
use crate::ranges::{Ranges, Sizes};
use crate::streams::Standing;
use crate::{
    DomainId, FaultRecord, Feature, Invalidation, Iommu, IommuError, Registers, SharedMemory, StreamId,
    TableFormat, TableLimits, Translation, Unresponsive, Way,
};
use core::iter;
use vcm::{FaultReason, Label};

/// More ranges than this are not invalidated one by one.
pub const RANGES_LIMIT: u64 = 512;

impl<R: Registers, M: SharedMemory> Iommu for AmdVi<R, M> {
    fn label(&self) -> Label {
        self.port.config.label
    }

    /// Four levels: every IOMMU has them.
    fn preferred(&self) -> Way {
        Way::Tables(TableFormat::AmdV1 { levels: 4 })
    }

    fn limits(&self) -> TableLimits {
        TableLimits { output_bits: spec::PHYSICAL_BITS as u8, ..TableLimits::NONE }
    }

    fn supports(&self, format: TableFormat) -> bool {
        let most = self.features.hats() + 4;
        matches!(format, TableFormat::AmdV1 { levels } if levels >= 3 && levels <= most)
    }

    fn create_domain(&mut self, translation: Translation) -> Result<DomainId, IommuError> {
        self.domains.reserve(1)?;
        let way = match translation {
            Translation::Identity => Path::Identity,
            Translation::Requests => return Err(IommuError::NotSupported(Feature::Requests)),
            Translation::Nested { .. } => return Err(IommuError::NotSupported(Feature::Nested)),
            Translation::Tables(table) => {
                let TableFormat::AmdV1 { levels } = table.format else {
                    return Err(IommuError::NotSupported(Feature::Format(table.format)));
                };
                if !self.supports(table.format) {
                    return Err(IommuError::NotSupported(Feature::Format(table.format)));
                }
                let (root, align, limit) = (table.root.raw(), spec::PAGE, 1 << spec::PHYSICAL_BITS);
                if root % align != 0 || root >= limit {
                    return Err(IommuError::Root { root, align, limit });
                }
                Path::Table { table, levels }
            }
        };
        // Untranslated requests are tagged as well: some implementations cache them.
        let number = self.numbers.take()? as u16;
        Ok(DomainId::of(self.domains.insert_reserved(Domain { number, way })))
    }

    fn destroy_domain(&mut self, domain: DomainId) -> Result<(), IommuError> {
        let key = domain.key();
        let Some(&Domain { number, .. }) = self.domains.get(key) else {
            return Ok(());
        };
        self.streams.none_of(key)?;
        self.run(iter::once(Command::domain(number)))?;
        self.numbers.give(number.into());
        self.domains.remove(key);
        Ok(())
    }

    fn attach(&mut self, stream: StreamId, domain: DomainId) -> Result<(), IommuError> {
        let key = domain.key();
        let entry = *self.domains.get(key).ok_or(IommuError::UnknownDomain(domain))?;
        let last = self.table.last();
        if stream > last {
            return Err(IommuError::StreamOutOfRange { stream, last });
        }
        if self.streams.is_settled(stream, key) {
            return Ok(self.ready()?);
        }
        self.streams.reserve()?;
        // An entry has several words, and the hardware may read it at any moment: it is changed while it blocks.
        self.detach(stream)?;
        self.streams.set(stream, key, Standing::Unsettled);
        self.table.open(&mut self.port.memory, stream, &entry);
        self.run(iter::once(Command::device(stream)))?;
        self.streams.set(stream, key, Standing::Settled);
        Ok(())
    }

    fn detach(&mut self, stream: StreamId) -> Result<(), Unresponsive> {
        let Some(attachment) = self.streams.get(stream) else {
            return Ok(());
        };
        let key = attachment.domain;
        let number = self.domains.get(key).map_or(0, |domain| domain.number);
        self.streams.set(stream, key, Standing::Leaving);
        self.table.block(&mut self.port.memory, stream);
        // Some implementations find cached translations by device, and never look at the entry: the domain's go, too.
        self.run([Command::device(stream), Command::domain(number)].into_iter())?;
        self.streams.remove(stream);
        Ok(())
    }

    /// By naturally aligned powers of two, up to [`RANGES_LIMIT`] of them.
    fn invalidate(&mut self, domain: DomainId, invalidation: &Invalidation<'_>) -> Result<(), Unresponsive> {
        let Some(&Domain { number, .. }) = self.domains.get(domain.key()) else {
            return Ok(());
        };
        if let Invalidation::Addresses { spans, reach, .. } = *invalidation {
            let ranges = spans.iter().map(|span| Ranges::of(*span, Sizes::PowersOfTwo));
            let count = ranges.clone().fold(0_u64, |sum, ranges| sum.saturating_add(ranges.at_most()));
            if count <= RANGES_LIMIT {
                return self.run(ranges.flatten().map(|pages| Command::pages(number, pages, reach)));
            }
        }
        self.run(iter::once(Command::domain(number)))
    }

    /// What the hardware says of a stream that is attached to no domain is reported as
    /// [`NoContext`](FaultReason::NoContext).
    fn next_fault(&mut self) -> Result<Option<FaultRecord>, Unresponsive> {
        let fault = self.events.next(&mut self.port)?;
        Ok(fault.map(|fault| match self.streams.get(fault.stream) {
            None if fault.code == u32::from(spec::EVENT_IO_PAGE_FAULT) => {
                FaultRecord { reason: FaultReason::NoContext, ..fault }
            }
            _ => fault,
        }))
    }

    fn fault_overflows(&self) -> u64 {
        self.events.overflows
    }

    /// Events that were not taken yet are lost. While the hardware still has the driver's device table it stays on;
    /// else everything passes until this is done.
    fn recover(&mut self) -> Result<(), Unresponsive> {
        self.start()
    }
}
