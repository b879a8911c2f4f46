//! Which stream is attached to which domain.

use crate::{IommuError, StreamId};
use vcm::{Key, List, OutOfMemory};

/// Whether the hardware is known to do what the driver has told it of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// It was seen to have taken it in.
    Settled,
    /// It was told to let it translate, and did not answer: the stream may translate as its domain does, or be blocked.
    Unsettled,
    /// It was told to block it, and did not answer.
    Leaving,
}

/// A stream that may translate as a domain does.
#[derive(Debug)]
pub(crate) struct Attachment<D> {
    pub(crate) stream: StreamId,
    pub(crate) domain: Key<D>,
    pub(crate) standing: Standing,
}

/// All attachments, ascending by stream.
#[derive(Debug)]
pub(crate) struct Streams<D>(List<Attachment<D>>);

impl<D> Streams<D> {
    pub(crate) const fn new() -> Self {
        Self(List::new())
    }

    fn position(&self, stream: StreamId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&stream, |attachment| attachment.stream)
    }

    pub(crate) fn get(&self, stream: StreamId) -> Option<&Attachment<D>> {
        self.0.get(self.position(stream).ok()?)
    }

    /// Whether the stream was seen to translate as the domain does.
    pub(crate) fn is_settled(&self, stream: StreamId, domain: Key<D>) -> bool {
        self.get(stream).is_some_and(|now| now.domain == domain && now.standing == Standing::Settled)
    }

    /// Makes room for one more, so that the next [`set`](Self::set) cannot fail.
    pub(crate) fn reserve(&mut self) -> Result<(), OutOfMemory> {
        self.0.reserve(1)
    }

    /// Notes what a stream was told. Room for a new one was made before.
    pub(crate) fn set(&mut self, stream: StreamId, domain: Key<D>, standing: Standing) {
        let attachment = Attachment { stream, domain, standing };
        match self.position(stream) {
            Ok(at) => self.0[at] = attachment,
            Err(at) => {
                // `reserve` came first: this cannot fail.
                let inserted = self.0.insert(at, attachment);
                debug_assert!(inserted.is_ok(), "no room was made for {stream}");
            }
        }
    }

    pub(crate) fn remove(&mut self, stream: StreamId) {
        if let Ok(at) = self.position(stream) {
            self.0.remove(at);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Attachment<D>> + Clone {
        self.0.iter()
    }

    /// Those of one domain, lowest first.
    pub(crate) fn of(&self, domain: Key<D>) -> impl Iterator<Item = StreamId> + Clone + '_ {
        self.0
            .iter()
            .filter(move |attachment| attachment.domain == domain)
            .map(|attachment| attachment.stream)
    }

    /// After the hardware was told everything anew, and has forgotten all else.
    pub(crate) fn settle_all(&mut self) {
        self.0.retain(|attachment| attachment.standing != Standing::Leaving);
        for attachment in self.0.iter_mut() {
            attachment.standing = Standing::Settled;
        }
    }

    /// Refuses to let a domain go that a stream may still use.
    pub(crate) fn none_of(&self, domain: Key<D>) -> Result<(), IommuError> {
        match self.of(domain).next() {
            None => Ok(()),
            Some(stream) => Err(IommuError::InUse { domain: crate::DomainId::of(domain), stream }),
        }
    }
}
