//! Stale translations, and what removes them.

use crate::domains::{KINDS, stage};
use crate::fake::{CAP, DEVICE, ECAP, Fake, READ_WRITE, config, second_stage};
use proptest::prelude::*;
use vcm::Span;
use vcm_iommu::vtd::{Mode, SELECTIVE_LIMIT};
use vcm_iommu::{Invalidation, Iommu, Reach};

const SID: u16 = DEVICE.0 as u16;

fn addresses(spans: &[Span], reach: Reach) -> Invalidation<'_> {
    Invalidation::Addresses { spans, granule: 0x1000, reach }
}

fn span(first: u64, last: u64) -> Span {
    Span::inclusive(first, last).unwrap()
}

#[test]
fn a_page_that_was_unmapped_is_used_until_it_is_invalidated() {
    for (ecap, mode, first, page) in KINDS {
        let fake = Fake::new(CAP, ecap);
        let mut vtd = fake.probe(config(mode));
        let root = fake.table();
        for at in [0x1000, 0x2000] {
            fake.map(root, 4, at, at + 0x7000, page);
        }
        let domain = vtd.create_domain(stage(first, root)).unwrap();
        vtd.attach(DEVICE, domain).unwrap();
        assert!(fake.read(SID, 0x1000).is_some() && fake.read(SID, 0x2000).is_some());
        fake.unmap(root, 4, 0x1000, 0);
        fake.unmap(root, 4, 0x2000, 0);
        vtd.invalidate(domain, &addresses(&[span(0x2000, 0x2fff)], Reach::Pages)).unwrap();
        assert_eq!(fake.read(SID, 0x1000), Some(0x8000), "invalidation of its neighbour leaves it");
        assert_eq!(fake.read(SID, 0x2000), None);
        vtd.invalidate(domain, &addresses(&[span(0x1fff, 0x1fff)], Reach::Pages)).unwrap();
        assert_eq!(fake.read(SID, 0x1000), None);
    }
}

#[test]
fn a_table_that_was_removed_needs_the_deep_invalidation() {
    for (ecap, mode, first, page) in KINDS {
        let fake = Fake::new(CAP, ecap);
        let mut vtd = fake.probe(config(mode));
        let root = fake.table();
        fake.map(root, 4, 0x1000, 0x8000, page);
        fake.map(root, 4, 0x2000, 0x9000, page);
        let domain = vtd.create_domain(stage(first, root)).unwrap();
        vtd.attach(DEVICE, domain).unwrap();
        assert!(fake.read(SID, 0x1000).is_some());
        fake.unmap(root, 4, 0, 1);
        let both = [span(0x1000, 0x2fff)];
        vtd.invalidate(domain, &addresses(&both, Reach::Pages)).unwrap();
        assert_eq!(fake.read(SID, 0x2000), Some(0x9000), "the pointer to the table is cached still");
        vtd.invalidate(domain, &addresses(&both, Reach::Tables)).unwrap();
        assert_eq!(fake.read(SID, 0x1000), None);
        assert_eq!(fake.read(SID, 0x2000), None);
    }
}

#[test]
fn another_domain_keeps_what_it_has() {
    for (ecap, mode, first, page) in KINDS {
        let fake = Fake::new(CAP, ecap);
        let mut vtd = fake.probe(config(mode));
        let domains = [0x10, 0x11].map(|sid| {
            let root = fake.table();
            fake.map(root, 4, 0x1000, 0x8000, page);
            let domain = vtd.create_domain(stage(first, root)).unwrap();
            vtd.attach(vcm_iommu::StreamId(sid), domain).unwrap();
            fake.read(sid as u16, 0x1000).unwrap();
            fake.unmap(root, 4, 0x1000, 0);
            domain
        });
        for invalidation in [Invalidation::Everything, addresses(&[Span::ALL], Reach::Tables)] {
            vtd.invalidate(domains[0], &invalidation).unwrap();
            assert_eq!(fake.read(0x10, 0x1000), None);
            assert_eq!(fake.read(0x11, 0x1000), Some(0x8000));
        }
        vtd.destroy_domain(domains[0]).unwrap_err();
        vtd.detach(vcm_iommu::StreamId(0x10)).unwrap();
        vtd.destroy_domain(domains[0]).unwrap();
        vtd.invalidate(domains[0], &Invalidation::Everything).unwrap();
        assert_eq!(fake.read(0x11, 0x1000), Some(0x8000));
    }
}

#[test]
fn without_page_selective_invalidation_the_domain_goes() {
    let fake = Fake::new(CAP & !(1 << 39), ECAP);
    let mut vtd = fake.probe(config(Mode::Legacy));
    let root = fake.table();
    fake.map(root, 4, 0x1000, 0x8000, READ_WRITE);
    let domain = vtd.create_domain(second_stage(root, 4)).unwrap();
    vtd.attach(DEVICE, domain).unwrap();
    fake.read(SID, 0x1000).unwrap();
    fake.unmap(root, 4, 0x1000, 0);
    vtd.invalidate(domain, &addresses(&[span(0x5000, 0x5fff)], Reach::Pages)).unwrap();
    assert_eq!(fake.read(SID, 0x1000), None);
}

/// The descriptors that one invalidation takes, without the wait.
fn descriptors(cap: u64, spans: &[Span]) -> Vec<[u64; 2]> {
    let fake = Fake::new(cap, ECAP);
    let mut vtd = fake.probe(config(Mode::Legacy));
    let domain = vtd.create_domain(second_stage(fake.table(), 4)).unwrap();
    fake.get().unit.executed.clear();
    vtd.invalidate(domain, &addresses(spans, Reach::Pages)).unwrap();
    let mut executed = std::mem::take(&mut fake.get().unit.executed);
    if let Some(wait) = executed.pop() {
        assert_eq!(wait[0] & 0xf, 5);
    }
    executed
}

#[test]
fn ranges_become_aligned_blocks() {
    let blocks = |first, last| {
        let found = descriptors(CAP, &[span(first, last)]);
        found.iter().map(|&[low, high]| (low >> 4 & 3, high & !0xfff, high & 0x3f)).collect::<Vec<_>>()
    };
    assert_eq!(blocks(0x4000, 0x7fff), [(3, 0x4000, 2)]);
    assert_eq!(blocks(0x3000, 0x8fff), [(3, 0x3000, 0), (3, 0x4000, 2), (3, 0x8000, 0)]);
    // A page of 2 MiB is one block of the widest mask that this unit has, 2^9 pages.
    assert_eq!(blocks(0x20_0000, 0x3f_ffff), [(3, 0x20_0000, 9)]);
    assert_eq!(blocks(0x20_0000, 0x5f_ffff), [(3, 0x20_0000, 9), (3, 0x40_0000, 9)]);
    // Too many: the domain.
    let many = SELECTIVE_LIMIT as u64 + 1;
    assert_eq!(blocks(0, (many << 21) - 1), [(2, 0, 0)]);
    assert_eq!(blocks(0, ((many - 1) << 21) - 1).len(), SELECTIVE_LIMIT);
    // Nothing beyond the space, and nothing for nothing.
    assert_eq!(descriptors(CAP, &[span(1 << 48, u64::MAX)]), Vec::<[u64; 2]>::new());
    assert_eq!(descriptors(CAP, &[]), Vec::<[u64; 2]>::new());
    assert_eq!(blocks((1 << 48) - 1, u64::MAX), [(3, (1 << 48) - 0x1000, 0)]);
}

proptest! {
    /// Whatever is invalidated goes, and where pages are selected, nothing else does.
    #[test]
    fn exactly_the_spans_go(
        pages in prop::collection::btree_set(0_u64..600, 1..40),
        spans in prop::collection::vec((0_u64..600, 1_u64..80), 1..4),
        kind in 0_usize..4,
        mamv in 0_u64..10,
    ) {
        let (ecap, mode, first, bits) = KINDS[kind];
        let fake = Fake::new(CAP & !(0x3f << 48) | mamv << 48, ecap);
        let mut vtd = fake.probe(config(mode));
        let root = fake.table();
        let domain = vtd.create_domain(stage(first, root)).unwrap();
        vtd.attach(DEVICE, domain).unwrap();
        for &page in &pages {
            fake.map(root, 4, page << 12, 0x100_0000 + (page << 12), bits);
            fake.read(SID, page << 12).unwrap();
            fake.unmap(root, 4, page << 12, 0);
        }
        let gone: Vec<Span> =
            spans.iter().map(|&(at, len)| span(at << 12, ((at + len) << 12) - 1)).collect();
        let before = fake.get().unit.executed.len();
        vtd.invalidate(domain, &addresses(&gone, Reach::Pages)).unwrap();
        let executed = fake.get().unit.executed[before..].to_vec();
        prop_assert!(executed.len() <= SELECTIVE_LIMIT + 1);
        let whole = mode == Mode::Legacy && executed.first().is_none_or(|&[low, _]| low >> 4 & 3 == 2)
            || executed.first().is_some_and(|&[low, _]| low >> 4 & 3 == 2);
        for &page in &pages {
            let invalidated = gone.iter().any(|span| span.contains(page << 12));
            let reached = fake.read(SID, page << 12);
            if invalidated {
                prop_assert_eq!(reached, None);
            } else if !whole {
                prop_assert_eq!(reached, Some(0x100_0000 + (page << 12)));
            }
        }
    }
}
