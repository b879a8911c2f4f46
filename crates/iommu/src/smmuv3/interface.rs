//! What every driver offers.

use super::Smmu;
use crate::{
    DomainId, FaultRecord, Invalidation, Iommu, IommuError, Registers, SharedMemory, Stall, StreamId,
    TableFormat, Translation, Unresponsive, Way,
};
use vcm::{Answer, Label};

impl<R: Registers, M: SharedMemory> Iommu for Smmu<R, M> {
    fn label(&self) -> Label {
        self.config.label
    }

    fn preferred(&self) -> Way {
        Way::Tables(self.capabilities.preferred(&self.config))
    }

    fn supports(&self, format: TableFormat) -> bool {
        self.capabilities.root(&format).is_some()
    }

    fn create_domain(&mut self, translation: Translation) -> Result<DomainId, IommuError> {
        self.make_domain(translation)
    }

    fn destroy_domain(&mut self, domain: DomainId) -> Result<(), IommuError> {
        self.unmake_domain(domain)
    }

    fn attach(&mut self, stream: StreamId, domain: DomainId) -> Result<(), IommuError> {
        self.attach_stream(stream, domain)
    }

    fn detach(&mut self, stream: StreamId) -> Result<(), Unresponsive> {
        self.detach_stream(stream)
    }

    fn invalidate(&mut self, domain: DomainId, invalidation: &Invalidation<'_>) -> Result<(), Unresponsive> {
        self.drop_translations(domain, invalidation)
    }

    fn next_fault(&mut self) -> Result<Option<FaultRecord>, Unresponsive> {
        self.take_fault()
    }

    fn fault_overflows(&self) -> u64 {
        self.statistics.event_overflows + self.statistics.event_aborts
    }

    fn answer(&mut self, stall: Stall, answer: Answer) -> Result<(), IommuError> {
        self.answer_stall(stall, answer)
    }

    fn recover(&mut self) -> Result<(), Unresponsive> {
        self.restart()
    }
}
