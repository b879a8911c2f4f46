//! What the device does with a request: section 5.13.6 of the specification, as strict as it allows.

use std::collections::{BTreeMap, BTreeSet};

pub(crate) const OK: u8 = 0;
pub(crate) const UNSUPP: u8 = 2;
pub(crate) const INVAL: u8 = 4;
pub(crate) const RANGE: u8 = 5;
pub(crate) const NOENT: u8 = 6;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct FakeDomain {
    pub(crate) bypass: bool,
    /// By first address: last, physical, flags.
    pub(crate) mappings: BTreeMap<u64, (u64, u64, u32)>,
}

#[derive(Debug, Default)]
pub(crate) struct FakeIommu {
    pub(crate) endpoints: BTreeSet<u32>,
    pub(crate) attached: BTreeMap<u32, u32>,
    pub(crate) domains: BTreeMap<u32, FakeDomain>,
    pub(crate) granule: u64,
    pub(crate) input: (u64, u64),
    pub(crate) domain_range: (u32, u32),
    pub(crate) properties: Vec<u8>,
    /// Whether the features were accepted.
    pub(crate) mmio: bool,
    pub(crate) bypass_config: bool,
}

impl FakeIommu {
    /// Does what is asked; `properties` is what PROBE writes before the tail.
    pub(crate) fn request(&mut self, bytes: &[u8], properties: &mut Vec<u8>) -> u8 {
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let kind = bytes[0];
        let expected = [20, 20, 36, 28, 72][usize::from(kind) - 1];
        assert_eq!(bytes.len(), expected, "the length of request {kind}");
        assert_eq!(bytes[1..4], [0; 3], "reserved bytes of the head");
        if kind != 5 {
            assert!((self.domain_range.0..=self.domain_range.1).contains(&word(4)), "domain out of range");
        }
        match kind {
            1 => self.attach(word(4), word(8), word(12), word(16)),
            2 => {
                assert_eq!(long(12), 0);
                self.detach(word(4), word(8))
            }
            3 => self.map(word(4), long(8), long(16), long(24), word(32)),
            4 => {
                assert_eq!(word(24), 0);
                self.unmap(word(4), long(8), long(16))
            }
            5 => {
                assert_eq!(bytes[8..], [0; 64]);
                properties.clone_from(&self.properties);
                if self.endpoints.contains(&word(4)) { OK } else { NOENT }
            }
            _ => panic!("request {kind}"),
        }
    }

    fn attach(&mut self, domain: u32, endpoint: u32, flags: u32, reserved: u32) -> u8 {
        if reserved != 0 || flags & !1 != 0 || (flags & 1 != 0 && !self.bypass_config) {
            return INVAL;
        }
        if !self.endpoints.contains(&endpoint) {
            return NOENT;
        }
        if self.attached.contains_key(&endpoint) {
            // "If the device cannot do so, it MUST reject": this one cannot.
            return UNSUPP;
        }
        let bypass = flags & 1 != 0;
        let there = self.domains.entry(domain).or_insert(FakeDomain { bypass, ..FakeDomain::default() });
        if there.bypass != bypass {
            return INVAL;
        }
        self.attached.insert(endpoint, domain);
        OK
    }

    fn detach(&mut self, domain: u32, endpoint: u32) -> u8 {
        if !self.endpoints.contains(&endpoint) {
            return NOENT;
        }
        if self.attached.get(&endpoint) != Some(&domain) {
            return INVAL;
        }
        self.attached.remove(&endpoint);
        if !self.attached.values().any(|other| *other == domain) {
            self.domains.remove(&domain);
        }
        OK
    }

    fn map(&mut self, domain: u32, first: u64, last: u64, physical: u64, flags: u32) -> u8 {
        assert!(self.input.0 <= first && first < last && last <= self.input.1, "{first:#x}-{last:#x}");
        assert!(flags & 4 == 0 || self.mmio, "the MMIO flag was not agreed on");
        let Some(domain) = self.domains.get_mut(&domain) else { return NOENT };
        if domain.bypass || flags & !7 != 0 {
            return INVAL;
        }
        if (first | physical | last.wrapping_add(1)) & (self.granule - 1) != 0 {
            return RANGE;
        }
        if domain.mappings.iter().any(|(start, (end, ..))| *start <= last && first <= *end) {
            return INVAL;
        }
        domain.mappings.insert(first, (last, physical, flags));
        OK
    }

    fn unmap(&mut self, domain: u32, first: u64, last: u64) -> u8 {
        assert!(self.input.0 <= first && last <= self.input.1, "{first:#x}-{last:#x}");
        let Some(domain) = self.domains.get_mut(&domain) else { return NOENT };
        if domain.bypass {
            return INVAL;
        }
        let within = |start: &u64, &(end, ..): &(u64, u64, u32)| {
            (*start <= last && first <= end, *start >= first && end <= last)
        };
        if domain.mappings.iter().any(|(start, rest)| matches!(within(start, rest), (true, false))) {
            return RANGE;
        }
        domain.mappings.retain(|start, rest| !within(start, rest).0);
        OK
    }
}
