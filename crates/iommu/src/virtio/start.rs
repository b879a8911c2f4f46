//! Initialisation (3.1.1), and what the device tells meanwhile.

use super::Transport;
use super::link::Link;
use super::spec::{
    self, CONFIG_BYPASS, CONFIG_DOMAIN_END, CONFIG_DOMAIN_START, CONFIG_INPUT_END, CONFIG_INPUT_START,
    CONFIG_PAGE_SIZE_MASK, CONFIG_PROBE_SIZE, Features, Status,
};
use crate::{ProbeError, Unresponsive};
use vcm::{PageSizes, Span};

/// What a device must offer.
const REQUIRED: Features = Features::VERSION_1.and(Features::MAP_UNMAP);
/// What is accepted where it is offered. BYPASS is not: endpoints of no domain are to be blocked.
const WELCOME: Features = Features::INPUT_RANGE
    .and(Features::DOMAIN_RANGE)
    .and(Features::PROBE)
    .and(Features::MMIO)
    .and(Features::BYPASS_CONFIG)
    .and(Features::ACCESS_PLATFORM)
    .and(Features::ORDER_PLATFORM);

/// The most bytes of properties that are asked for; with more, a device's PROBE is not used.
const PROBE_SIZE_MAX: u32 = 1 << 16;
/// How often the configuration is read again because it changed meanwhile.
const CONFIG_TRIES: u32 = 16;
/// The largest queue that is used: with more than this in one notification little is won.
const QUEUE_SIZE_MAX: u16 = 64;

/// What the device can do, as it said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Limits {
    /// What was agreed on.
    pub(super) features: Features,
    pub(super) page_sizes: PageSizes,
    /// The addresses that can be mapped.
    pub(super) input: Span,
    /// The first and the last domain number.
    pub(super) domains: (u32, u32),
    /// Bytes of properties, where there is a PROBE request.
    pub(super) probe_size: Option<u32>,
}

impl<T: Transport, M> Link<T, M> {
    /// Resets the device, agrees with it on features, and reads its configuration.
    pub(super) fn negotiate(&mut self) -> Result<Limits, ProbeError> {
        self.transport.identify().map_err(|stranger| {
            let (label, register, found) = (self.label, stranger.register, stranger.found);
            match found {
                // What a bus answers for nothing.
                0 | 0xffff | 0xffff_ffff => ProbeError::Absent { label, register, found },
                _ => ProbeError::Unknown { label, what: stranger.what, register, found },
            }
        })?;
        self.reset()?;
        self.transport.set_status(Status::ACKNOWLEDGE);
        let status = Status::ACKNOWLEDGE.and(Status::DRIVER);
        self.transport.set_status(status);
        let offered = self.transport.offered();
        if !offered.has(REQUIRED) {
            let what = if offered.has(Features::VERSION_1) {
                "an IOMMU without MAP and UNMAP requests"
            } else {
                "a device of before version 1"
            };
            return Err(self.unknown(what, "device_feature", offered.0));
        }
        let mut limits = self.limits(Features(offered.0 & REQUIRED.and(WELCOME).0))?;
        if limits.probe_size.is_none() {
            limits.features.0 &= !Features::PROBE.0;
        }
        self.transport.accept(limits.features);
        let status = status.and(Status::FEATURES_OK);
        self.transport.set_status(status);
        let found = self.transport.status();
        if found.has(Status::FEATURES_OK) && found != status {
            return Err(self.lost("the device's status is not what was written").into());
        }
        if found != status {
            return Err(self.unknown(
                "it refuses a part of its own features",
                "device_status",
                found.0.into(),
            ));
        }
        Ok(limits)
    }

    /// The device's configuration. It may be read before the features are agreed on (2.5.2).
    fn limits(&mut self, features: Features) -> Result<Limits, ProbeError> {
        let mut before = self.transport.config_generation();
        for _ in 0..CONFIG_TRIES {
            let limits = self.limits_once(features);
            let generation = self.transport.config_generation();
            if generation == before {
                return limits;
            }
            before = generation;
        }
        Err(self.lost("the device's configuration changes all the time").into())
    }

    fn limits_once(&mut self, features: Features) -> Result<Limits, ProbeError> {
        let mask = self.config64(CONFIG_PAGE_SIZE_MASK);
        let Some(page_sizes) = PageSizes::from_mask(mask) else {
            return Err(self.unknown("an IOMMU without page sizes", "page_size_mask", mask));
        };
        let mut input = Span::ALL;
        if features.has(Features::INPUT_RANGE) {
            let (start, end) = (self.config64(CONFIG_INPUT_START), self.config64(CONFIG_INPUT_END));
            input = Span::inclusive(start, end)
                .ok_or_else(|| self.unknown("an empty range of addresses", "input_range.end", end))?;
        }
        let mut domains = (0, u32::MAX);
        if features.has(Features::DOMAIN_RANGE) {
            domains = (self.transport.config(CONFIG_DOMAIN_START), self.transport.config(CONFIG_DOMAIN_END));
            if domains.1 < domains.0 {
                return Err(self.unknown("no domains", "domain_range.end", domains.1.into()));
            }
        }
        let mut probe_size = None;
        if features.has(Features::PROBE) {
            let bytes = self.transport.config(CONFIG_PROBE_SIZE);
            probe_size = (1..=PROBE_SIZE_MAX).contains(&bytes).then_some(bytes);
        }
        Ok(Limits { features, page_sizes, input, domains, probe_size })
    }

    /// 64-bit fields are read in halves (4.1.3.1, 4.2.2.2).
    fn config64(&mut self, offset: u32) -> u64 {
        let low = self.transport.config(offset);
        u64::from(self.transport.config(offset + 4)) << 32 | u64::from(low)
    }

    /// How large a queue will be, at most `wanted`.
    pub(super) fn queue_size(&mut self, queue: u16, wanted: u16) -> Result<u16, ProbeError> {
        let found = self.transport.queue_size_max(queue);
        let size = wanted.clamp(2, QUEUE_SIZE_MAX).min(found);
        match size.checked_ilog2() {
            Some(log) if log > 0 => Ok(1 << log),
            _ => Err(self.unknown("a queue without room for a request", "queue_size", found.into())),
        }
    }

    /// Closes the way past the IOMMU and lets the device work.
    pub(super) fn go_live(&mut self, limits: &Limits) -> Result<(), Unresponsive> {
        if limits.features.has(Features::BYPASS_CONFIG) {
            self.transport.set_config8(CONFIG_BYPASS, 0);
            // Bits 7:1 are to be ignored (5.13.4.1).
            if self.transport.config8(CONFIG_BYPASS) & 1 != 0 {
                return Err(self.lost("it lets endpoints of no domain pass, though told not to"));
            }
        }
        self.transport.set_status(Status::LIVE);
        self.check_live()?;
        self.transport.notify(spec::EVENT_QUEUE);
        Ok(())
    }

    /// Tells the device that the driver gives up.
    pub(super) fn fail(&mut self) {
        let status = self.transport.status();
        self.transport.set_status(status.and(Status::FAILED));
    }

    const fn unknown(&self, what: &'static str, register: &'static str, found: u64) -> ProbeError {
        ProbeError::Unknown { label: self.label, what, register, found }
    }
}
