//! Invalidation requests, and what they are as descriptors.

use super::spec;

/// A request to forget. It is encoded for the queue, or given through registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Request {
    /// The whole context cache.
    Contexts,
    /// One requester in the context cache; `did` is the domain that it was in.
    Context { did: u16, sid: u16 },
    /// The whole PASID cache.
    Pasids,
    /// A domain in the PASID cache.
    PasidsOf { did: u16 },
    /// The whole IOTLB.
    Iotlb,
    /// A domain's second-stage and pass-through translations.
    IotlbOf { did: u16 },
    /// Some of a domain's second-stage translations.
    IotlbPages { did: u16, pages: Pages },
    /// A domain's first-stage translations for [`spec::RID_PASID`].
    FirstStageOf { did: u16 },
    /// Some of them.
    FirstStagePages { did: u16, pages: Pages },
    /// The whole interrupt entry cache.
    Interrupts,
    /// 2^`order` entries of it, from `first` on, a multiple of their number.
    InterruptsOf { first: u16, order: u8 },
}

/// 2^`order` pages of 4 KiB from page number `first` on, a multiple of their number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pages {
    pub(super) first: u64,
    pub(super) order: u8,
    pub(super) tables: Tables,
}

/// Whether cached pointers to tables go as well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tables {
    Stay,
    Go,
}

impl Pages {
    pub(super) const fn encode(self) -> u64 {
        spec::InvalidateAddress::new()
            .with_am(self.order)
            .with_ih(matches!(self.tables, Tables::Stay))
            .with_page(self.first)
            .into_bits()
    }
}

/// Whether an IOTLB invalidation waits for requests that were translated before: as the hardware can.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Drain {
    pub(super) reads: bool,
    pub(super) writes: bool,
}

impl Request {
    /// The descriptor: its low 128 bits.
    pub(super) const fn encode(self, drain: Drain) -> [u64; 2] {
        let context = spec::ContextCacheDescriptor::new().with_kind(spec::CONTEXT_CACHE);
        let pasids = spec::PasidCacheDescriptor::new().with_kind(spec::PASID_CACHE);
        let iotlb =
            spec::IotlbDescriptor::new().with_kind(spec::IOTLB).with_dw(drain.writes).with_dr(drain.reads);
        let first_stage =
            spec::PasidIotlbDescriptor::new().with_kind(spec::PASID_IOTLB).with_pasid(spec::RID_PASID);
        let interrupts = spec::InterruptEntryCacheDescriptor::new().with_kind(spec::INTERRUPT_ENTRY_CACHE);
        match self {
            Self::Contexts => [context.with_granularity(spec::EVERYTHING).into_bits(), 0],
            Self::Context { did, sid } => {
                [context.with_granularity(spec::SELECTED).with_did(did).with_sid(sid).into_bits(), 0]
            }
            Self::Pasids => [pasids.with_granularity(spec::PASID_CACHE_EVERYTHING).into_bits(), 0],
            Self::PasidsOf { did } => {
                [pasids.with_granularity(spec::PASID_CACHE_OF_DOMAIN).with_did(did).into_bits(), 0]
            }
            Self::Iotlb => [iotlb.with_granularity(spec::EVERYTHING).into_bits(), 0],
            Self::IotlbOf { did } => [iotlb.with_granularity(spec::OF_DOMAIN).with_did(did).into_bits(), 0],
            Self::IotlbPages { did, pages } => {
                [iotlb.with_granularity(spec::SELECTED).with_did(did).into_bits(), pages.encode()]
            }
            Self::FirstStageOf { did } => {
                [first_stage.with_granularity(spec::OF_PASID).with_did(did).into_bits(), 0]
            }
            Self::FirstStagePages { did, pages } => {
                [first_stage.with_granularity(spec::PAGES_OF_PASID).with_did(did).into_bits(), pages.encode()]
            }
            Self::Interrupts => [interrupts.into_bits(), 0],
            Self::InterruptsOf { first, order } => {
                [interrupts.with_selective(true).with_index(first).with_mask(order).into_bits(), 0]
            }
        }
    }
}
