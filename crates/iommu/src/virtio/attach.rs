//! Attaching and detaching, and making good what did not complete.
//!
//! The device knows a domain from its first endpoint to its last, and forgets its mappings with it. So the first
//! stream of a domain brings the mappings along, as the driver remembers them.

use super::domain::{Domain, Kind};
use super::driver::{Attachment, Doubt};
use super::request::{Refusal, Request};
use super::{Transport, VirtioIommu};
use crate::{DomainId, Feature, IommuError, SharedMemory, StreamId, Unresponsive};
use vcm::Key;

/// Whether a stream finds its domain in the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arrival {
    /// It is the first of its domain, and brings the mappings along.
    First,
    /// Another one is there.
    Another,
}

impl<T: Transport, M: SharedMemory> VirtioIommu<T, M> {
    pub(super) fn attach_stream(&mut self, stream: StreamId, domain: DomainId) -> Result<(), IommuError> {
        let key = domain.key();
        if self.domains.get(key).is_none() {
            return Err(IommuError::UnknownDomain(domain));
        }
        self.streams.reserve(1)?;
        self.settle()?;
        let old = self.attachment(stream).map(|index| self.streams[index].domain);
        if old == Some(key) {
            return Ok(());
        }
        // A device need not move an endpoint itself (5.13.6.3.2).
        self.detach_stream(stream)?;
        let result = self.install(stream, key);
        if let (Err(error), Some(old)) = (&result, old) {
            if matches!(error, IommuError::Unresponsive(_)) {
                return result;
            }
            // Refused: the stream is to be where it was.
            if self.install(stream, old).is_err() {
                return Err(self
                    .link
                    .lost("a stream could be attached neither anew nor where it was")
                    .into());
            }
        }
        result
    }

    /// Attaches a stream that is attached nowhere, and notes it. When it is refused, it is attached nowhere still. There
    /// is room in the list.
    fn install(&mut self, stream: StreamId, key: Key<Domain>) -> Result<(), IommuError> {
        let arrival = if self.stream_of(key).is_none() { Arrival::First } else { Arrival::Another };
        self.doubt = Some(Doubt::Attached(stream, key));
        if let Err(refused) = self.enter(stream, key, arrival)? {
            // The domain goes with its only endpoint, and what was mapped with the domain.
            self.settle()?;
            return Err(refused);
        }
        let place = self.streams.partition_point(|attachment| attachment.stream < stream);
        self.streams.insert(place, Attachment { stream, domain: key })?;
        self.doubt = None;
        Ok(())
    }

    /// Asks the device to attach a stream, and for the first one, to map what is to be mapped.
    pub(super) fn enter(
        &mut self,
        stream: StreamId,
        key: Key<Domain>,
        arrival: Arrival,
    ) -> Result<Result<(), IommuError>, Unresponsive> {
        let Some(domain) = self.domains.get(key) else {
            return Ok(Err(IommuError::UnknownDomain(DomainId::of(key))));
        };
        let (number, kind) = (domain.number, domain.kind);
        let new = arrival == Arrival::First && kind == Kind::Mapped;
        if new {
            // A reset detaches all endpoints (5.13.5), but QEMU's does not: there may be a domain with this number, and
            // another driver's mappings in it. As a rule there is none, and what the device says does not matter.
            let (first, last) = (self.limits.input.first(), self.limits.input.last());
            let _ = self.requests.run(&mut self.link, [Request::Unmap { domain: number, first, last }])?;
        }
        let attach = Request::Attach { domain: number, endpoint: stream.0, flags: domain.attach_flags() };
        if let Err(refused) = self.requests.run(&mut self.link, [attach])? {
            return Ok(Err(self.attach_refused(stream, kind, refused.why)));
        }
        if new {
            let maps = domain.mappings().iter().map(|mapping| mapping.request(number));
            if let Err(refused) = self.requests.run(&mut self.link, maps)? {
                let mapping = domain.mappings().get(refused.index).copied();
                return Ok(Err(self.map_refused(mapping, refused.why)));
            }
        }
        Ok(Ok(()))
    }

    fn attach_refused(&self, stream: StreamId, kind: Kind, why: Refusal) -> IommuError {
        match why {
            Refusal::NoEntry => IommuError::NotAttached(stream),
            Refusal::NoMemory => IommuError::OutOfMemory,
            Refusal::Unsupported => IommuError::NotSupported(match kind {
                Kind::Bypass => Feature::Identity,
                Kind::Mapped => Feature::Requests,
            }),
            Refusal::Unread | Refusal::Invalid | Refusal::Range | Refusal::BadAddress | Refusal::Failed => {
                self.link.lost("it refuses a valid ATTACH").into()
            }
        }
    }

    pub(super) fn detach_stream(&mut self, stream: StreamId) -> Result<(), Unresponsive> {
        self.settle()?;
        let Some(index) = self.attachment(stream) else {
            return Ok(());
        };
        let attachment = self.streams.remove(index);
        self.doubt = Some(Doubt::Attached(stream, attachment.domain));
        self.settle()
    }

    /// Undoes what is in doubt: after this the device has what the driver counts on, and nothing else.
    pub(super) fn settle(&mut self) -> Result<(), Unresponsive> {
        let Some(doubt) = self.doubt else {
            return Ok(());
        };
        let Some(domain) = self.domains.get(doubt.domain()) else {
            self.doubt = None;
            return Ok(());
        };
        let domain = domain.number;
        let request = match doubt {
            Doubt::Attached(stream, _) => Request::Detach { domain, endpoint: stream.0 },
            Doubt::Mapped(_, span) => Request::Unmap { domain, first: span.first(), last: span.last() },
        };
        let result = self.requests.run(&mut self.link, [request])?;
        match (result.map_err(|refused| refused.why), doubt) {
            (Ok(()), _)
            // It is not attached there, or there is no such endpoint or domain.
            | (Err(Refusal::Invalid | Refusal::NoEntry), Doubt::Attached(..))
            // The device forgot the domain with all that was in it.
            | (Err(Refusal::NoEntry), Doubt::Mapped(..)) => {
                self.doubt = None;
                Ok(())
            }
            (Err(_), Doubt::Attached(..)) => Err(self.link.lost("it refuses a valid DETACH")),
            (Err(_), Doubt::Mapped(..)) => Err(self.link.lost("it refuses a valid UNMAP")),
        }
    }
}
