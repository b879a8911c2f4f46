//! Which stream is attached to what, and the ways from one to another.

use super::commands::about_stream;
use super::domain::Domain;
use super::entry::{self, Ste};
use super::{Smmu, spec, table};
use crate::{DomainId, IommuError, Registers, SharedMemory, StreamId, Unresponsive};
use vcm::{Key, PhysicalAddress};

/// A stream that is attached, or that was and may translate still.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attachment {
    pub(super) stream: StreamId,
    /// What it shall translate by; `None` when it shall be refused.
    pub(super) wanted: Option<Key<Domain>>,
    /// What the hardware may use for it.
    used: [Option<Key<Domain>>; 2],
    /// The hardware was seen to use what is wanted, and nothing else.
    settled: bool,
}

impl Attachment {
    /// Whether the domain must stay because of it.
    pub(super) fn holds(&self, domain: Key<Domain>) -> bool {
        self.wanted == Some(domain) || self.used.contains(&Some(domain))
    }

    /// The hardware was initialised anew, and uses what is wanted.
    pub(super) const fn settle(&mut self) {
        self.used = [self.wanted, None];
        self.settled = true;
    }
}

impl<R: Registers, M: SharedMemory> Smmu<R, M> {
    fn place_of(&self, stream: StreamId) -> Result<usize, usize> {
        self.attachments.binary_search_by_key(&stream, |attachment| attachment.stream)
    }

    pub(super) fn is_attached(&self, stream: StreamId) -> bool {
        self.place_of(stream).is_ok_and(|place| self.attachments[place].wanted.is_some())
    }

    pub(super) fn attach_stream(&mut self, stream: StreamId, domain: DomainId) -> Result<(), IommuError> {
        let target = self.domain(domain)?.entry;
        let last = StreamId(self.table.last_stream());
        if stream > last {
            return Err(IommuError::StreamOutOfRange { stream, last });
        }
        let wanted = domain.key();
        let at = self.table.find_or_make(stream.0, &mut self.memory)?;
        self.attachments.reserve(1)?;
        if let Ok(place) = self.place_of(stream) {
            let attachment = self.attachments[place];
            if attachment.settled && attachment.wanted == Some(wanted) {
                return Ok(self.ready()?);
            }
            if !attachment.settled {
                // The hardware may have cached anything; a step to the new entry would not be safe.
                self.detach_stream(stream)?;
            }
        }
        let before = match self.place_of(stream) {
            Ok(place) => self.attachments[place].wanted,
            Err(place) => {
                let used = [None; 2];
                self.attachments.insert(place, Attachment { stream, wanted: None, used, settled: true })?;
                None
            }
        };
        self.note(
            stream,
            Attachment { stream, wanted: Some(wanted), used: [before, Some(wanted)], settled: false },
        );
        self.change_entry(stream, at, &target)?;
        self.leave(stream, before)?;
        self.note(
            stream,
            Attachment { stream, wanted: Some(wanted), used: [Some(wanted), None], settled: true },
        );
        Ok(())
    }

    pub(super) fn detach_stream(&mut self, stream: StreamId) -> Result<(), Unresponsive> {
        let Ok(place) = self.place_of(stream) else { return Ok(()) };
        let attachment = self.attachments[place];
        self.attachments[place] = Attachment { wanted: None, settled: false, ..attachment };
        if let Some(at) = self.table.find(stream.0) {
            let vacant = *self.table.vacant();
            // One word decides, and the rest follows when that one is known to have been seen: where a change before
            // this one did not complete, the hardware may remember any words of it.
            self.memory.write64(at, vacant[0]);
            self.forget_stream(stream)?;
            table::write(&mut self.memory, at, &vacant);
            self.forget_stream(stream)?;
        }
        for domain in attachment.used {
            self.leave(stream, domain)?;
        }
        if let Ok(place) = self.place_of(stream) {
            self.attachments.remove(place);
        }
        Ok(())
    }

    fn note(&mut self, stream: StreamId, attachment: Attachment) {
        if let Ok(place) = self.place_of(stream) {
            self.attachments[place] = attachment;
        }
    }

    /// Changes the entry of a stream, which the hardware knows as it is in memory. When it returns `Ok`, the hardware uses
    /// the new one.
    fn change_entry(
        &mut self,
        stream: StreamId,
        at: PhysicalAddress,
        target: &Ste,
    ) -> Result<(), Unresponsive> {
        let current = table::read(&mut self.memory, at);
        let mut before = current;
        for step in entry::steps(&current, target) {
            for (word, (&value, old)) in step.iter().zip(before).enumerate() {
                if value != old {
                    self.memory.write64(PhysicalAddress::new(at.raw() + 8 * word as u64), value);
                }
            }
            before = step;
            self.forget_stream(stream)?;
        }
        if current == *target {
            self.forget_stream(stream)?;
        }
        Ok(())
    }

    /// Makes the hardware forget the configuration of a stream: its entry, the descriptor that leads to it, and its
    /// context descriptors.
    fn forget_stream(&mut self, stream: StreamId) -> Result<(), Unresponsive> {
        let entry = [about_stream(spec::CMD_CFGI_STE, stream.0).into_bits(), 0];
        let context = [about_stream(spec::CMD_CFGI_CD_ALL, stream.0).into_bits(), 0];
        let context = self.capabilities.idr0.s1p().then_some(context);
        self.issue(core::iter::once(entry).chain(context))
    }

    /// After a stream has left a domain: waits for transactions that were translated by it, and terminates those that
    /// are stalled. It is the completion of a TLB invalidation that waits for transactions (Arm IHI 0070, 3.21.1).
    fn leave(&mut self, stream: StreamId, domain: Option<Key<Domain>>) -> Result<(), Unresponsive> {
        let Some(regime) = domain.and_then(|domain| self.domains.get(domain)).map(|domain| domain.regime)
        else {
            return Ok(());
        };
        if self.fault_model() == entry::FaultModel::Stall {
            let command = [about_stream(spec::CMD_STALL_TERM, stream.0).into_bits(), 0];
            self.issue(core::iter::once(command))?;
            self.stalls.retain(|stall| stall.stream != stream);
        }
        self.drop_cached(regime)
    }

    /// Writes the entries of all streams, while the hardware is disabled.
    pub(super) fn restore_entries(&mut self) {
        self.table.restore(&mut self.memory);
        for attachment in &self.attachments {
            let domain = attachment.wanted.and_then(|domain| self.domains.get(domain));
            if let (Some(domain), Some(at)) = (domain, self.table.find(attachment.stream.0)) {
                table::write(&mut self.memory, at, &domain.entry);
            }
        }
    }
}
