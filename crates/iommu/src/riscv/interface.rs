//! What every driver offers, and the second stage of nested domains.

use super::commands::Command;
use super::directory::Directory;
use super::domain::Domain;
use super::spec::{self, TrReqCtl, TrResponse};
use super::{RiscvIommu, Svnapot};
use crate::streams::Standing;
use crate::{
    DomainId, FaultRecord, Feature, Invalidation, Iommu, IommuError, Registers, SharedMemory, StreamId,
    TableFormat, TableLimits, Tables, Translation, Unresponsive, Way,
};
use core::iter;
use vcm::{FaultAccess, Key, Label, PageSizes, PhysicalAddress, SIZE_64K};

impl<R: Registers, M: SharedMemory> Iommu for RiscvIommu<R, M> {
    fn label(&self) -> Label {
        self.port.config.label
    }

    /// A first stage of four levels, else of three, else a second stage likewise.
    fn preferred(&self) -> Way {
        let first = [4, 3].map(|levels| TableFormat::RiscvFirstStage { levels });
        let second = [4, 3].map(|levels| TableFormat::RiscvSecondStage { levels });
        let has = |format: &TableFormat| self.supports(*format);
        let format = first.into_iter().chain(second).find(has);
        Way::Tables(format.unwrap_or(TableFormat::RiscvFirstStage { levels: 3 }))
    }

    fn limits(&self) -> TableLimits {
        let all = TableLimits::NONE.page_sizes;
        let small = match self.port.config.svnapot {
            Svnapot::Present => all,
            Svnapot::Absent => PageSizes::from_mask(all.mask() & !SIZE_64K).unwrap_or(all),
        };
        let output_bits = u32::from(self.capabilities.pas()).min(spec::PHYSICAL_BITS) as u8;
        TableLimits { output_bits, page_sizes: small, ..TableLimits::NONE }
    }

    fn supports(&self, format: TableFormat) -> bool {
        let has = self.capabilities;
        match format {
            TableFormat::RiscvFirstStage { levels: 3 } => has.sv39(),
            TableFormat::RiscvFirstStage { levels: 4 } => has.sv48(),
            TableFormat::RiscvFirstStage { levels: 5 } => has.sv57(),
            TableFormat::RiscvSecondStage { levels: 3 } => has.sv39x4(),
            TableFormat::RiscvSecondStage { levels: 4 } => has.sv48x4(),
            TableFormat::RiscvSecondStage { levels: 5 } => has.sv57x4(),
            _ => false,
        }
    }

    fn create_domain(&mut self, translation: Translation) -> Result<DomainId, IommuError> {
        self.domains.reserve(1)?;
        let domain = match translation {
            Translation::Identity => Domain::Identity,
            Translation::Requests => return Err(IommuError::NotSupported(Feature::Requests)),
            Translation::Tables(table) => match self.stage(table)? {
                Stage::First(levels) => {
                    self.check_first(table.root, self.physical_limit())?;
                    Domain::First { table, levels, process: self.processes.take()? }
                }
                Stage::Second(levels) => {
                    self.check_second(table.root)?;
                    Domain::Second { table, levels, guest: self.guests.take()? as u16 }
                }
            },
            Translation::Nested { first, second } => {
                let (Stage::First(first_levels), Stage::Second(second_levels)) =
                    (self.stage(first)?, self.stage(second)?)
                else {
                    return Err(IommuError::NotSupported(Feature::Nested));
                };
                self.check_first(first.root, 1 << second_stage_bits(second_levels).min(spec::PHYSICAL_BITS))?;
                self.check_second(second.root)?;
                let process = self.processes.take()?;
                let guest = self.guests.take().inspect_err(|_| self.processes.give(process))? as u16;
                Domain::Nested { first, first_levels, process, second, second_levels, guest }
            }
        };
        if let Domain::Second { .. } | Domain::Nested { .. } = domain {
            // Whoever drove the IOMMU before may have used the number, and no command reaches all guests' first stages.
            if let Err(error) = self.run(domain.everything()) {
                self.give_numbers(&domain);
                return Err(error.into());
            }
        }
        Ok(DomainId::of(self.domains.insert_reserved(domain)))
    }

    fn destroy_domain(&mut self, domain: DomainId) -> Result<(), IommuError> {
        let key = domain.key();
        let Some(&entry) = self.domains.get(key) else {
            return Ok(());
        };
        self.streams.none_of(key)?;
        self.run(entry.everything())?;
        self.give_numbers(&entry);
        self.domains.remove(key);
        Ok(())
    }

    fn attach(&mut self, stream: StreamId, domain: DomainId) -> Result<(), IommuError> {
        let key = domain.key();
        let entry = *self.domains.get(key).ok_or(IommuError::UnknownDomain(domain))?;
        let last = self.directory.last();
        if stream > last {
            return Err(IommuError::StreamOutOfRange { stream, last });
        }
        if self.streams.is_settled(stream, key) {
            return Ok(self.ready()?);
        }
        self.streams.reserve()?;
        let at = self.directory.place(&mut self.port.memory, stream)?;
        // A context has several words that the IOMMU may read in any order: it is changed while it is not valid.
        self.detach(stream)?;
        self.streams.set(stream, key, Standing::Unsettled);
        self.directory.write(&mut self.port.memory, at, &entry.context());
        self.run(iter::once(Command::device(stream)))?;
        self.streams.set(stream, key, Standing::Settled);
        Ok(())
    }

    fn detach(&mut self, stream: StreamId) -> Result<(), Unresponsive> {
        let Some(attachment) = self.streams.get(stream) else {
            return Ok(());
        };
        let key = attachment.domain;
        let domain = self.domains.get(key).copied().unwrap_or(Domain::Identity);
        self.streams.set(stream, key, Standing::Leaving);
        match self.directory.place(&mut self.port.memory, stream) {
            Ok(at) => Directory::clear(&mut self.port.memory, at),
            // Somebody has taken the directory apart. What the hardware makes of it is not known.
            Err(_) => return Err(self.port.unresponsive("the device directory has lost a page")),
        }
        // "Changing device directory table entry": the context, and what is cached with its numbers.
        self.run(iter::once(Command::device(stream)).chain(domain.everything()))?;
        self.streams.remove(stream);
        Ok(())
    }

    /// Pages are invalidated one by one up to [`PAGEWISE_LIMIT`](super::PAGEWISE_LIMIT), by ranges where the
    /// hardware can. Of a nested domain the addresses are those of the first stage; see
    /// [`invalidate_second_stage`](RiscvIommu::invalidate_second_stage).
    fn invalidate(&mut self, domain: DomainId, invalidation: &Invalidation<'_>) -> Result<(), Unresponsive> {
        let Some(&entry) = self.domains.get(domain.key()) else {
            return Ok(());
        };
        match entry.addresses(invalidation, self.capabilities) {
            Some(commands) => self.run(commands),
            None => self.run(entry.everything()),
        }
    }

    fn next_fault(&mut self) -> Result<Option<FaultRecord>, Unresponsive> {
        self.faults.next(&mut self.port)
    }

    fn fault_overflows(&self) -> u64 {
        self.faults.overflows
    }

    /// A translation that would fault is recorded as a fault of the stream, too. One to write is answered as one to
    /// read and write.
    fn translate(
        &mut self,
        stream: StreamId,
        address: u64,
        access: FaultAccess,
    ) -> Result<PhysicalAddress, IommuError> {
        if !self.capabilities.dbg() {
            return Err(IommuError::NotSupported(Feature::Translate));
        }
        if self.streams.get(stream).is_none() {
            return Err(IommuError::NotAttached(stream));
        }
        let busy = TrReqCtl::new().with_go_busy(true).into_bits() as u32;
        self.port.wait(spec::TR_REQ_CTL, busy, 0, "a translation request does not end")?;
        self.port.write64(spec::TR_REQ_IOVA, address & !(spec::PAGE - 1));
        let request = TrReqCtl::new()
            .with_go_busy(true)
            .with_exe(access == FaultAccess::Execute)
            .with_nw(access != FaultAccess::Write)
            .with_did(stream.0);
        self.port.write64(spec::TR_REQ_CTL, request.into_bits());
        self.port.wait(spec::TR_REQ_CTL, busy, 0, "a translation request does not end")?;
        let response = TrResponse::from_bits(self.port.registers.read64(spec::TR_RESPONSE));
        if response.fault() {
            return Err(IommuError::NotMapped(address));
        }
        let pages = if response.s() { 2 << response.ppn().trailing_ones() } else { 1 };
        let offset = pages * spec::PAGE - 1;
        Ok(PhysicalAddress::new(response.ppn() << 12 & !offset | address & offset))
    }

    /// Records of faults that were not taken yet are lost.
    fn recover(&mut self) -> Result<(), Unresponsive> {
        self.start_again()
    }
}

/// Which stage a table is for, with its levels.
enum Stage {
    First(u8),
    Second(u8),
}

/// Bits of a guest physical address.
fn second_stage_bits(levels: u8) -> u32 {
    u32::from(levels) * 9 + 14
}

impl<R: Registers, M: SharedMemory> RiscvIommu<R, M> {
    /// Drops what is cached of the second stage of a nested domain, after its table changed, and waits until it is
    /// gone: all of it, since few implementations know which guest physical address an entry came by. For other
    /// domains it is [`Invalidation::Everything`].
    ///
    /// # Errors
    /// [`Unresponsive`]: it was not seen to complete. The call may be repeated.
    pub fn invalidate_second_stage(&mut self, domain: DomainId) -> Result<(), Unresponsive> {
        let key: Key<Domain> = domain.key();
        let Some(&entry) = self.domains.get(key) else {
            return Ok(());
        };
        self.ready()?;
        // A context holds the root of its first stage, perhaps translated ("Changing second-stage page table entry").
        let contexts = self.streams.of(key).map(Command::device);
        self.commands.run(&mut self.port, contexts.chain(entry.everything()))
    }

    fn stage(&self, table: Tables) -> Result<Stage, IommuError> {
        match table.format {
            format if !self.supports(format) => Err(IommuError::NotSupported(Feature::Format(format))),
            TableFormat::RiscvFirstStage { levels } => Ok(Stage::First(levels)),
            TableFormat::RiscvSecondStage { levels } => Ok(Stage::Second(levels)),
            format => Err(IommuError::NotSupported(Feature::Format(format))),
        }
    }

    fn physical_limit(&self) -> u64 {
        1 << u32::from(self.capabilities.pas()).min(spec::PHYSICAL_BITS)
    }

    fn check_first(&self, root: PhysicalAddress, limit: u64) -> Result<(), IommuError> {
        check_root(root, spec::PAGE, limit)
    }

    fn check_second(&self, root: PhysicalAddress) -> Result<(), IommuError> {
        check_root(root, 4 * spec::PAGE, self.physical_limit())
    }

    fn give_numbers(&mut self, domain: &Domain) {
        if let Domain::First { process, .. } | Domain::Nested { process, .. } = domain {
            self.processes.give(*process);
        }
        if let Domain::Second { guest, .. } | Domain::Nested { guest, .. } = domain {
            self.guests.give(u32::from(*guest));
        }
    }
}

fn check_root(root: PhysicalAddress, align: u64, limit: u64) -> Result<(), IommuError> {
    if !root.is_aligned(align) || root.raw() >= limit {
        return Err(IommuError::Root { root: root.raw(), align, limit });
    }
    Ok(())
}
