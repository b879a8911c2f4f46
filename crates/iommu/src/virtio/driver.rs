//! The driver: its state, and what of the trait needs few words.

use super::domain::{Domain, Kind};
use super::events::Events;
use super::link::Link;
use super::requests::Requests;
use super::spec::{EVENT_QUEUE, Features, REQUEST_QUEUE};
use super::start::Limits;
use super::{Config, Transport};
use crate::{
    DomainId, FaultRecord, Feature, Invalidation, Iommu, IommuError, ProbeError, SharedMemory, StreamId,
    TableFormat, Translation, Unresponsive, Way,
};
use vcm::{Arena, Attributes, Key, Label, List, Span};
use vcm_pagetable::Segment;

/// A virtio-iommu, reached by `T`, with its queues in memory of `M`. The [module](super) begins with an example.
#[derive(Debug)]
pub struct VirtioIommu<T, M> {
    pub(super) config: Config,
    pub(super) link: Link<T, M>,
    pub(super) limits: Limits,
    pub(super) requests: Requests,
    pub(super) events: Events,
    pub(super) domains: Arena<Domain>,
    /// Who is attached to what, by stream.
    pub(super) streams: List<Attachment>,
    /// What a request that did not complete may have left behind. Nothing else is asked before it is undone.
    pub(super) doubt: Option<Doubt>,
}

/// A stream that is attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Attachment {
    pub(super) stream: StreamId,
    pub(super) domain: Key<Domain>,
}

/// What may be in the device, though the driver does not count on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Doubt {
    /// The stream may be attached to the domain.
    Attached(StreamId, Key<Domain>),
    /// Something may be mapped there.
    Mapped(Key<Domain>, Span),
}

impl Doubt {
    pub(super) const fn domain(&self) -> Key<Domain> {
        match self {
            Self::Attached(_, domain) | Self::Mapped(domain, _) => *domain,
        }
    }
}

impl<T: Transport, M: SharedMemory> VirtioIommu<T, M> {
    /// Takes the device over: resets it and initialises it. Streams are blocked from then on, until they are attached.
    ///
    /// # Errors
    /// `Absent` and `Unknown` say what is found instead of such a device; `Unresponsive`, `OutOfMemory`. The device is
    /// told that the driver gave up (FAILED). Where it does not even complete a reset, the memory that it was given
    /// is not freed.
    pub fn probe(transport: T, memory: M, config: Config) -> Result<Self, ProbeError> {
        let mut link = Link { transport, memory, label: config.label, patience: config.patience };
        match Self::start(&mut link, &config) {
            Ok((limits, requests, events)) => Ok(Self {
                config,
                link,
                limits,
                requests,
                events,
                domains: Arena::new(),
                streams: List::new(),
                doubt: None,
            }),
            Err(error) => {
                // A stranger is not written to.
                if !matches!(error, ProbeError::Absent { .. }) {
                    link.fail();
                }
                Err(error)
            }
        }
    }

    fn start(link: &mut Link<T, M>, config: &Config) -> Result<(Limits, Requests, Events), ProbeError> {
        let limits = link.negotiate()?;
        let size = link.queue_size(REQUEST_QUEUE, config.queue_size)?;
        let event_size = link.queue_size(EVENT_QUEUE, config.queue_size)?;
        let requests = Requests::new(&mut link.memory, size, limits.probe_size)?;
        let mut events = match Events::new(&mut link.memory, event_size) {
            Ok(events) => events,
            Err(error) => {
                requests.free(&mut link.memory);
                return Err(error.into());
            }
        };
        events.restart(&mut link.memory);
        if let Err(error) = Self::connect(link, &limits, &requests, &events) {
            if link.reset().is_ok() {
                requests.free(&mut link.memory);
                events.free(&mut link.memory);
            }
            return Err(error.into());
        }
        Ok((limits, requests, events))
    }

    /// Gives the queues to the device, and lets it work.
    pub(super) fn connect(
        link: &mut Link<T, M>,
        limits: &Limits,
        requests: &Requests,
        events: &Events,
    ) -> Result<(), Unresponsive> {
        for (number, queue) in [(REQUEST_QUEUE, requests.queue()), (EVENT_QUEUE, events.queue())] {
            link.transport.enable_queue(number, queue.rings()).map_err(|what| link.lost(what))?;
        }
        link.go_live(limits)
    }

    /// Reads the device's interrupt status and clears it, so that the interrupt goes away. Then [`Iommu::next_fault`]
    /// is to be called until there is none. Not needed where each queue has a message-signalled interrupt.
    pub fn take_interrupt(&mut self) -> u32 {
        self.link.transport.take_interrupt()
    }
}

impl<T, M> VirtioIommu<T, M> {
    /// What the driver was configured with.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// What was agreed on with the device.
    pub const fn features(&self) -> Features {
        self.limits.features
    }

    /// The domain that a stream is attached to.
    pub fn domain_of(&self, stream: StreamId) -> Option<DomainId> {
        self.attachment(stream).map(|index| DomainId::of(self.streams[index].domain))
    }

    /// How many fault reports made no sense and were passed over.
    pub const fn ignored_faults(&self) -> u64 {
        self.events.ignored
    }

    /// The device's registers. Whoever writes to them does so behind the driver's back.
    pub const fn transport_mut(&mut self) -> &mut T {
        &mut self.link.transport
    }

    /// Where a stream is in the list.
    pub(super) fn attachment(&self, stream: StreamId) -> Option<usize> {
        self.streams.binary_search_by_key(&stream, |attachment| attachment.stream).ok()
    }

    /// A stream of the domain. While there is one, the device knows the domain.
    pub(super) fn stream_of(&self, domain: Key<Domain>) -> Option<StreamId> {
        let of = self.streams.iter().find(|attachment| attachment.domain == domain)?;
        Some(of.stream)
    }
}

impl<T: Transport, M: SharedMemory> Iommu for VirtioIommu<T, M> {
    fn label(&self) -> Label {
        self.config.label
    }

    fn preferred(&self) -> Way {
        Way::Requests { page_sizes: self.limits.page_sizes, input: self.limits.input }
    }

    fn supports(&self, _format: TableFormat) -> bool {
        false
    }

    /// Nothing is asked of the device: it knows a domain only while a stream is attached to it.
    fn create_domain(&mut self, translation: Translation) -> Result<DomainId, IommuError> {
        let kind = match translation {
            Translation::Requests => Kind::Mapped,
            Translation::Identity if self.limits.features.has(Features::BYPASS_CONFIG) => Kind::Bypass,
            Translation::Identity => return Err(IommuError::NotSupported(Feature::Identity)),
            Translation::Tables(tables) => {
                return Err(IommuError::NotSupported(Feature::Format(tables.format)));
            }
            Translation::Nested { .. } => return Err(IommuError::NotSupported(Feature::Nested)),
        };
        let (first, last) = self.limits.domains;
        let key = self.domains.insert_with(|key| {
            // Slots are dense, and one is reused only after its domain was destroyed.
            match first.checked_add(key.slot()).filter(|&number| number <= last) {
                Some(number) => Ok(Domain::new(number, kind)),
                None => Err(IommuError::NoFreeSlot((last - first).saturating_add(1))),
            }
        })?;
        Ok(DomainId::of(key))
    }

    fn destroy_domain(&mut self, domain: DomainId) -> Result<(), IommuError> {
        if let Some(stream) = self.stream_of(domain.key()) {
            return Err(IommuError::InUse { domain, stream });
        }
        if self.doubt.is_some_and(|doubt| doubt.domain() == domain.key()) {
            self.settle()?;
        }
        self.domains.remove(domain.key::<Domain>());
        Ok(())
    }

    /// A domain's first stream finds nothing mapped in the device until all that the driver remembers was mapped anew:
    /// what it does meanwhile faults.
    fn attach(&mut self, stream: StreamId, domain: DomainId) -> Result<(), IommuError> {
        self.attach_stream(stream, domain)
    }

    fn detach(&mut self, stream: StreamId) -> Result<(), Unresponsive> {
        self.detach_stream(stream)
    }

    /// There is nothing to do: a mapping has gone when [`unmap`](Self::unmap) answers (5.13.6.6), and the driver
    /// has no other way to change one.
    fn invalidate(&mut self, _: DomainId, _: &Invalidation<'_>) -> Result<(), Unresponsive> {
        Ok(())
    }

    fn map(
        &mut self,
        domain: DomainId,
        at: u64,
        segment: Segment,
        attributes: Attributes,
    ) -> Result<(), IommuError> {
        self.map_segments(domain, at, &[segment], attributes)
    }

    fn unmap(&mut self, domain: DomainId, span: Span) -> Result<(), IommuError> {
        self.unmap_span(domain, span)
    }

    fn next_fault(&mut self) -> Result<Option<FaultRecord>, Unresponsive> {
        self.next_record()
    }

    /// How often all buffers for reports were found used. What the device drops then it does not tell, nor whether it
    /// dropped anything.
    fn fault_overflows(&self) -> u64 {
        self.events.exhausted
    }

    fn recover(&mut self) -> Result<(), Unresponsive> {
        self.start_anew()
    }
}
