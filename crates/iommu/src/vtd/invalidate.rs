//! Invalidation of page-table entries: addresses become naturally aligned powers of two.

use super::Vtd;
use super::domains::{Domain, Kind};
use super::queue::MOST_REQUESTS;
use super::request::{Pages, Request, Tables};
use crate::{Invalidation, Reach, Registers, SharedMemory, Unresponsive};
use vcm::{Key, Span};

/// With more page-selective invalidations than this, everything of the domain goes.
///
/// Each costs a descriptor, and hardware a search. No source tells the cost of either; Linux gives one for each range,
/// rounded up to a power of two. A range that is not aligned takes two for each doubling of its length, so that this
/// many reach any one range of up to 256 MiB.
pub const SELECTIVE_LIMIT: usize = 32;

impl<R: Registers, M: SharedMemory> Vtd<R, M> {
    pub(super) fn invalidate_domain(
        &mut self,
        key: Key<Domain>,
        invalidation: &Invalidation<'_>,
    ) -> Result<(), Unresponsive> {
        let Some(domain) = self.domains.get(key) else {
            return Ok(());
        };
        let (did, kind, everything) = (domain.did, domain.kind, domain.everything());
        let mut requests = [everything; SELECTIVE_LIMIT];
        let count = match *invalidation {
            Invalidation::Everything => None,
            Invalidation::Addresses { spans, reach, .. } => {
                let tables = match reach {
                    Reach::Pages => Tables::Stay,
                    Reach::Tables => Tables::Go,
                };
                self.select(kind, did, spans, tables, &mut requests)
            }
        };
        match count {
            Some(0) => Ok(()),
            Some(count) => self.perform(&requests[..count]),
            None => self.perform(&[everything]),
        }
    }

    /// Writes a request for each aligned part of `spans`. `None` where the domain as a whole is better.
    fn select(
        &self,
        kind: Kind,
        did: u16,
        spans: &[Span],
        tables: Tables,
        requests: &mut [Request; SELECTIVE_LIMIT],
    ) -> Option<usize> {
        const { assert!(SELECTIVE_LIMIT <= MOST_REQUESTS) };
        let bits = match kind {
            Kind::PassThrough => return None,
            Kind::SecondStage { levels, .. } if self.capability.psi() => input_bits(levels),
            Kind::SecondStage { .. } => return None,
            Kind::FirstStage { levels, .. } => input_bits(levels),
        };
        let space = Span::inclusive(0, (1 << bits) - 1)?;
        let mut count = 0;
        for span in spans.iter().filter_map(|span| span.intersection(space)) {
            let (mut page, last) = (span.first() >> 12, span.last() >> 12);
            while page <= last {
                let order = largest(page, last).min(self.capability.mamv());
                let pages = Pages { first: page, order, tables };
                *requests.get_mut(count)? = match kind {
                    Kind::FirstStage { .. } => Request::FirstStagePages { did, pages },
                    Kind::PassThrough | Kind::SecondStage { .. } => Request::IotlbPages { did, pages },
                };
                count += 1;
                page += 1 << order;
            }
        }
        Some(count)
    }
}

const fn input_bits(levels: u8) -> u32 {
    12 + 9 * levels as u32
}

/// The order of the largest aligned power of two of pages that starts at `page` and ends at `last` at most.
const fn largest(page: u64, last: u64) -> u8 {
    let alignment = page.trailing_zeros();
    // At least 1.
    let length = (last - page + 1).ilog2();
    (if alignment < length { alignment } else { length }) as u8
}

#[cfg(test)]
mod tests {
    use super::largest;

    #[test]
    fn parts_are_aligned_and_reach_the_end_exactly() {
        for first in 0..70_u64 {
            for last in first..90 {
                let (mut page, mut steps) = (first, 0);
                while page <= last {
                    let order = largest(page, last);
                    assert_eq!(page % (1 << order), 0);
                    page += 1 << order;
                    steps += 1;
                }
                assert_eq!(page, last + 1);
                assert!(steps <= 2 * (last - first + 1).ilog2().max(1), "{first}..={last}: {steps}");
            }
        }
    }
}
