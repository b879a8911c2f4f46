//! Which translations an invalidation reaches.

use crate::fake::{Bench, Hardware, by, config, stage1, stage2, try_bench};
use proptest::prelude::*;
use std::collections::BTreeSet;
use vcm::Span;
use vcm_iommu::smmuv3::PAGEWISE_LIMIT;
use vcm_iommu::{DomainId, Invalidation, Iommu, Reach, StreamId, Translation};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ranges {
    Can,
    Cannot,
}

/// Three streams: with stage 1, with stage 2, nested.
fn bench(ranges: Ranges) -> (Bench, [DomainId; 3]) {
    let mut hardware = Hardware::new();
    hardware.set(0x0c, u32::from(ranges == Ranges::Can) << 10);
    let mut bench = try_bench(hardware, config()).unwrap();
    let nested = Translation::Nested { first: stage1(0x1000), second: stage2(0x2000) };
    let domains = [by(stage1(0x1000)), by(stage2(0x2000)), nested]
        .map(|translation| bench.smmu.create_domain(translation).unwrap());
    for (stream, &domain) in domains.iter().enumerate() {
        bench.smmu.attach(StreamId(stream as u32), domain).unwrap();
    }
    (bench, domains)
}

fn touch(bench: &Bench, pages: impl Iterator<Item = u64>) {
    for page in pages {
        for stream in 0..3 {
            bench.hardware.borrow_mut().access(stream, page << 12);
        }
    }
}

fn addresses(spans: &[Span], granule: u64) -> Invalidation<'_> {
    Invalidation::Addresses { spans, granule, reach: Reach::Pages }
}

#[test]
fn everything_is_everything_of_one_domain() {
    for ranges in [Ranges::Can, Ranges::Cannot] {
        for index in 0..3 {
            let (mut bench, domains) = bench(ranges);
            touch(&bench, 0..10);
            bench.smmu.invalidate(domains[index], &Invalidation::Everything).unwrap();
            assert_eq!(bench.hardware.borrow().tlb.len(), 20);
            touch(&bench, 0..10);
            assert_eq!(bench.hardware.borrow().tlb.len(), 30);
        }
    }
}

#[test]
fn beyond_a_limit_everything_goes() {
    let (mut bench, domains) = bench(Ranges::Cannot);
    touch(&bench, 0..PAGEWISE_LIMIT + 5);
    let count = |bench: &Bench| bench.hardware.borrow().tlb.len() as u64;
    let before = count(&bench);
    bench.smmu.invalidate(domains[0], &addresses(&[Span::new(0, PAGEWISE_LIMIT << 12).unwrap()], 1)).unwrap();
    assert_eq!(count(&bench), before - PAGEWISE_LIMIT);
    assert_eq!(bench.smmu.statistics().whole_invalidations, 0);
    let long = Span::new(0, (PAGEWISE_LIMIT << 12) + 1).unwrap();
    bench.smmu.invalidate(domains[1], &addresses(&[long], 1)).unwrap();
    assert_eq!(count(&bench), before - PAGEWISE_LIMIT - (PAGEWISE_LIMIT + 5), "all of the domain");
    assert_eq!(bench.smmu.statistics().whole_invalidations, 1);
    // In larger pages it is few commands.
    let commands = bench.smmu.statistics().commands;
    bench.smmu.invalidate(domains[0], &addresses(&[Span::new(0, 1 << 30).unwrap()], 2 << 20)).unwrap();
    assert_eq!(bench.smmu.statistics().commands - commands, 513);
}

#[test]
fn a_range_is_few_commands_however_long() {
    let (mut bench, domains) = bench(Ranges::Can);
    touch(&bench, (0..100).map(|page| page * 0x1_0001));
    let commands = bench.smmu.statistics().commands;
    bench.smmu.invalidate(domains[0], &addresses(&[Span::ALL], 0x1000)).unwrap();
    assert_eq!(bench.smmu.statistics().commands - commands, 2, "512 GiB");
    assert_eq!(bench.hardware.borrow().tlb.len(), 200);
    // Spans wholly beyond the domain's addresses are nothing.
    bench
        .smmu
        .invalidate(domains[0], &addresses(&[Span::inclusive(1 << 60, u64::MAX).unwrap()], 0x1000))
        .unwrap();
}

#[test]
fn after_a_change_of_the_second_table_what_both_made_goes() {
    for ranges in [Ranges::Can, Ranges::Cannot] {
        let (mut bench, domains) = bench(ranges);
        touch(&bench, 0..10);
        let span = Span::new(0x10_0000, 0x1000).unwrap();
        bench.smmu.invalidate_second(domains[0], &addresses(&[span], 0x1000)).unwrap();
        bench.smmu.invalidate_second(domains[1], &Invalidation::Everything).unwrap();
        assert_eq!(bench.hardware.borrow().tlb.len(), 30, "these have no second table");
        bench.smmu.invalidate_second(domains[2], &addresses(&[span], 0x1000)).unwrap();
        assert_eq!(bench.hardware.borrow().tlb.len(), 20);
        let log = bench.hardware.borrow().log.clone();
        assert_eq!(log[log.len() - 4..], [0x2a, 0x46, 0x10, 0x46], "first stage 2, then stage 1");
        touch(&bench, 0..10);
        bench.smmu.invalidate_second(domains[2], &Invalidation::Everything).unwrap();
        assert_eq!(bench.hardware.borrow().tlb.len(), 20);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_is_in_the_spans_goes_and_everything_else_stays(
        spans in prop::collection::vec((0..600_u64, 1..300_u64), 1..5),
        index in 0..3_usize,
        can in prop::bool::ANY,
    ) {
        let (mut bench, domains) = bench(if can { Ranges::Can } else { Ranges::Cannot });
        touch(&bench, 0..1000);
        let before = bench.hardware.borrow().tlb.clone();
        let spans: Vec<Span> =
            spans.iter().map(|&(page, count)| Span::new((page << 12) + 5, (count << 12) - 10).unwrap()).collect();
        bench.smmu.invalidate(domains[index], &addresses(&spans, 0x1000)).unwrap();
        let after = bench.hardware.borrow().tlb.clone();
        let pages: u64 = spans.iter().map(|span| (span.last() >> 12) - (span.first() >> 12) + 1).sum();
        let whole = !can && pages > PAGEWISE_LIMIT;
        // The domains of stage 1 and of stage 2 are told apart by ASID; the nested one has the second VMID.
        let mine = |vmid: u16, asid: Option<u16>| match index {
            0 => vmid == 0,
            1 => vmid != 0 && asid.is_none(),
            _ => vmid != 0 && asid.is_some(),
        };
        let expected: BTreeSet<_> = before
            .into_iter()
            .filter(|&(vmid, asid, page)| {
                let inside = spans.iter().any(|span| page >= span.first() >> 12 && page <= span.last() >> 12);
                !(mine(vmid, asid) && (inside || whole))
            })
            .collect();
        prop_assert_eq!(after, expected);
    }
}
