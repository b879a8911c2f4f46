//! Requesters: their entries in the context tables.

use super::request::Request;
use super::{Mode, Vtd, spec};
use crate::streams::Standing;
use crate::{DomainId, IommuError, Registers, SharedMemory, StreamId, Unresponsive};
use vcm::{OutOfMemory, PhysicalAddress, SIZE_4K};

/// The last requester there can be.
const LAST: StreamId = StreamId(0xffff);

impl<R: Registers, M: SharedMemory> Vtd<R, M> {
    /// The requester id of a stream.
    pub(super) const fn requester(stream: StreamId) -> Result<u16, IommuError> {
        if stream.0 > LAST.0 {
            return Err(IommuError::StreamOutOfRange { stream, last: LAST });
        }
        Ok(stream.0 as u16)
    }

    pub(super) fn attach_requester(&mut self, stream: StreamId, domain: DomainId) -> Result<(), IommuError> {
        let sid = Self::requester(stream)?;
        let key = domain.key();
        let found = self.domains.get(key).ok_or(IommuError::UnknownDomain(domain))?;
        let words = found.context(self.deepest());
        // All that can be refused comes first.
        self.streams.reserve()?;
        let entry = self.context_entry(sid)?;
        if self.streams.is_settled(stream, key) {
            return Ok(self.flush_write_buffer()?);
        }
        self.detach_requester(stream)?;
        // The word that makes it present comes last.
        self.memory.write64(PhysicalAddress::new(entry.raw() + 8), words[1]);
        self.memory.write64(entry, words[0]);
        // What was not present is not cached, so that nothing is to be forgotten.
        self.streams.set(stream, key, Standing::Settled);
        Ok(self.flush_write_buffer()?)
    }

    pub(super) fn detach_requester(&mut self, stream: StreamId) -> Result<(), Unresponsive> {
        let (Ok(sid), Some(attachment)) = (Self::requester(stream), self.streams.get(stream)) else {
            return Ok(());
        };
        let key = attachment.domain;
        if let Some(entry) = self.existing_context_entry(sid) {
            // The word that makes it present goes first.
            self.memory.write64(entry, 0);
            self.memory.write64(PhysicalAddress::new(entry.raw() + 8), 0);
        }
        self.streams.set(stream, key, Standing::Leaving);
        if let Some(domain) = self.domains.get(key) {
            let (did, everything) = (domain.did, domain.everything());
            let context = Request::Context { did, sid };
            // The source: the specification, *Guidance to Software for Invalidations*. From the outside inwards, since
            // an inner cache may be filled again from an outer one.
            match self.mode {
                Mode::Legacy => self.perform(&[context, everything])?,
                Mode::Scalable => self.perform(&[context, Request::PasidsOf { did }, everything])?,
            }
        }
        self.streams.remove(stream);
        Ok(())
    }

    /// Which context table a requester is in, and the offset of its entry there.
    fn locate(&self, sid: u16) -> (usize, u64) {
        let (bus, function) = (usize::from(sid >> 8), u64::from(sid & 0xff));
        match self.mode {
            Mode::Legacy => (2 * bus, function * spec::CONTEXT_ENTRY_BYTES),
            // One table for each half of a bus.
            Mode::Scalable => {
                (2 * bus + (function >> 7) as usize, (function & 0x7f) * spec::SCALABLE_CONTEXT_ENTRY_BYTES)
            }
        }
    }

    fn existing_context_entry(&self, sid: u16) -> Option<PhysicalAddress> {
        let (table, offset) = self.locate(sid);
        let table = self.context_tables.get(table).copied().flatten()?;
        Some(PhysicalAddress::new(table.raw() + offset))
    }

    /// Where a requester's context entry is. Its table is made if there is none.
    fn context_entry(&mut self, sid: u16) -> Result<PhysicalAddress, OutOfMemory> {
        if let Some(entry) = self.existing_context_entry(sid) {
            return Ok(entry);
        }
        let (index, offset) = self.locate(sid);
        let table = self.memory.allocate(SIZE_4K, SIZE_4K)?;
        self.context_tables[index] = Some(table);
        let root = PhysicalAddress::new(self.root.raw() + index as u64 * (spec::ROOT_ENTRY_BYTES / 2));
        let entry = spec::RootEntry::new().with_present(true).with_page(table.raw() >> 12);
        self.memory.write64(root, entry.into_bits());
        Ok(PhysicalAddress::new(table.raw() + offset))
    }
}
