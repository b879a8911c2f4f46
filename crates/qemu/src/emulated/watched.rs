//! What stands between the platform and a driver: QEMU's deviations, and the carelessness that tests ask for.

use vcm::{Answer, Attributes, FaultAccess, Label, PhysicalAddress, Span};
use vcm_iommu::{
    DomainId, FaultRecord, Feature, Invalidation, Iommu, IommuError, Stall, StreamId, TableFormat,
    TableLimits, Translation, Unresponsive, Way,
};
use vcm_pagetable::Segment;

/// Whether cached translations are invalidated when they have to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Invalidations {
    /// They are.
    #[default]
    Made,
    /// They are left out: for a test that shows that what is stale is used.
    LeftOut,
}

/// Whether the hardware can be asked where an address leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asking {
    /// As the driver says.
    AsDriven,
    /// It answers, but wrongly: QEMU's RISC-V IOMMU gives the page number 10 bits too low (`riscv_iommu_process_dbg` in
    /// hw/riscv/riscv-iommu.c, 10.0).
    Useless,
}

/// A driver, with what is known better than it says.
pub(super) struct Watched {
    pub(super) driver: Box<dyn Iommu>,
    pub(super) asking: Asking,
    pub(super) invalidations: Invalidations,
}

impl Iommu for Watched {
    fn label(&self) -> Label {
        self.driver.label()
    }

    fn preferred(&self) -> Way {
        self.driver.preferred()
    }

    fn limits(&self) -> TableLimits {
        self.driver.limits()
    }

    fn supports(&self, format: TableFormat) -> bool {
        self.driver.supports(format)
    }

    fn create_domain(&mut self, translation: Translation) -> Result<DomainId, IommuError> {
        self.driver.create_domain(translation)
    }

    fn destroy_domain(&mut self, domain: DomainId) -> Result<(), IommuError> {
        self.driver.destroy_domain(domain)
    }

    fn attach(&mut self, stream: StreamId, domain: DomainId) -> Result<(), IommuError> {
        self.driver.attach(stream, domain)
    }

    fn detach(&mut self, stream: StreamId) -> Result<(), Unresponsive> {
        self.driver.detach(stream)
    }

    fn invalidate(&mut self, domain: DomainId, invalidation: &Invalidation<'_>) -> Result<(), Unresponsive> {
        match self.invalidations {
            Invalidations::Made => self.driver.invalidate(domain, invalidation),
            Invalidations::LeftOut => Ok(()),
        }
    }

    fn map(
        &mut self,
        domain: DomainId,
        at: u64,
        segment: Segment,
        attributes: Attributes,
    ) -> Result<(), IommuError> {
        self.driver.map(domain, at, segment, attributes)
    }

    fn unmap(&mut self, domain: DomainId, span: Span) -> Result<(), IommuError> {
        self.driver.unmap(domain, span)
    }

    fn next_fault(&mut self) -> Result<Option<FaultRecord>, Unresponsive> {
        self.driver.next_fault()
    }

    fn fault_overflows(&self) -> u64 {
        self.driver.fault_overflows()
    }

    fn answer(&mut self, stall: Stall, answer: Answer) -> Result<(), IommuError> {
        self.driver.answer(stall, answer)
    }

    fn translate(
        &mut self,
        stream: StreamId,
        address: u64,
        access: FaultAccess,
    ) -> Result<PhysicalAddress, IommuError> {
        match self.asking {
            Asking::AsDriven => self.driver.translate(stream, address, access),
            Asking::Useless => Err(IommuError::NotSupported(Feature::Translate)),
        }
    }

    fn recover(&mut self) -> Result<(), Unresponsive> {
        self.driver.recover()
    }
}
