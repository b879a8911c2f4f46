//! Requesters: their entries in the context tables.

use super::domains::Domain;
use super::request::Request;
use super::{Mode, Vtd, spec};
use crate::{IommuError, Registers, SharedMemory, StreamId, Unresponsive};
use vcm::{Key, OutOfMemory, PhysicalAddress, SIZE_4K};

/// A requester that is attached, or whose detaching did not complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attachment {
    pub(super) sid: u16,
    pub(super) domain: Key<Domain>,
    pub(super) state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Its context entry is present.
    Attached,
    /// It is not, but caches may hold it still.
    Leaving,
}

/// The last requester there can be.
const LAST: StreamId = StreamId(0xffff);

impl<R: Registers, M: SharedMemory> Vtd<R, M> {
    /// The requester's place in the list, or where it would be.
    pub(super) fn place(&self, sid: u16) -> Result<usize, usize> {
        self.attachments.binary_search_by_key(&sid, |attachment| attachment.sid)
    }

    /// The requester id of a stream.
    pub(super) const fn requester(stream: StreamId) -> Result<u16, IommuError> {
        if stream.0 > LAST.0 {
            return Err(IommuError::StreamOutOfRange { stream, last: LAST });
        }
        Ok(stream.0 as u16)
    }

    pub(super) fn attach_requester(
        &mut self,
        sid: u16,
        key: Key<Domain>,
        words: [u64; 2],
    ) -> Result<(), IommuError> {
        // All that can be refused comes first.
        self.attachments.reserve(1)?;
        let entry = self.context_entry(sid)?;
        if let Ok(place) = self.place(sid) {
            let attachment = self.attachments[place];
            if attachment.domain == key && attachment.state == State::Attached {
                return Ok(self.flush_write_buffer()?);
            }
            self.detach_requester(sid)?;
        }
        if let Err(place) = self.place(sid) {
            self.attachments.insert(place, Attachment { sid, domain: key, state: State::Attached })?;
        }
        // The word that makes it present comes last.
        self.memory.write64(PhysicalAddress::new(entry.raw() + 8), words[1]);
        self.memory.write64(entry, words[0]);
        Ok(self.flush_write_buffer()?)
    }

    pub(super) fn detach_requester(&mut self, sid: u16) -> Result<(), Unresponsive> {
        let Ok(place) = self.place(sid) else {
            return Ok(());
        };
        if let Some(entry) = self.existing_context_entry(sid) {
            // The word that makes it present goes first.
            self.memory.write64(entry, 0);
            self.memory.write64(PhysicalAddress::new(entry.raw() + 8), 0);
        }
        self.attachments[place].state = State::Leaving;
        if let Some(domain) = self.domains.get(self.attachments[place].domain) {
            let (did, everything) = (domain.did, domain.everything());
            let context = Request::Context { did, sid };
            // The source: the specification, *Guidance to Software for Invalidations*. From the outside inwards, since
            // an inner cache may be filled again from an outer one.
            match self.mode {
                Mode::Legacy => self.perform(&[context, everything])?,
                Mode::Scalable => self.perform(&[context, Request::PasidsOf { did }, everything])?,
            }
        }
        self.attachments.remove(place);
        Ok(())
    }

    /// Everything was forgotten, so what was leaving is gone.
    pub(super) fn forget_leaving(&mut self) {
        self.attachments.retain(|attachment| attachment.state == State::Attached);
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
