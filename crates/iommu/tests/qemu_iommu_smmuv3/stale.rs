//! QEMU caches translations and configurations: what the driver leaves out is seen, and what it does helps.

use crate::rig::stale::{self, Cached};
use crate::support::*;
use vcm::Span;
use vcm_iommu::{Invalidation, Iommu, Reach};
use vcm_pagetable::aarch64::Granule4K;

#[test]
fn a_translation_is_stale_until_it_is_invalidated() {
    on_qemu(config(), |bench| {
        stale::a_translation_is_stale_until_it_is_invalidated(bench);

        let page = bench.filled(1);
        let mut table = bench.second::<Granule4K>(40, 1);
        bench.map(&mut table, AT, page, 0x1000);
        bench.map(&mut table, OUT, bench.out, 0x1000);
        let domain = bench.domain(second_tables(&table));
        stale::is_stale_until_invalidated(bench, domain, &mut table, page);
    });
}

/// Pages that are cached one by one; a range of them is invalidated, and no more.
#[test]
fn a_range_is_exact() {
    on_qemu(config(), |bench| {
        let page = bench.page();
        let (domain, mut table) = bench.domain_to(page);
        bench.iommu.attach(STREAM, domain).unwrap();
        let base = 0x7000_0000;
        for (first, count) in [(3_u64, 32_u64), (0, 1), (5, 37), (1, 63)] {
            for index in 0..64 {
                bench.map(&mut table, base + 0x1000 * index, page, 0x1000);
                assert_eq!(bench.fault_of_read(base + 0x1000 * index), None);
            }
            let gather = bench.unmap(&mut table, base, 64 << 12);
            let spans = [Span::new(base + 0x1000 * first, count << 12).unwrap()];
            let range = Invalidation::Addresses { spans: &spans, granule: 0x1000, reach: Reach::Pages };
            let commands = bench.iommu.statistics().commands;
            bench.iommu.invalidate(domain, &range).unwrap();
            assert!(bench.iommu.statistics().commands - commands <= 3, "with its completion");
            for index in 0..64 {
                let fault = bench.fault_of_read(base + 0x1000 * index);
                let gone = (first..first + count).contains(&index);
                assert_eq!(fault.is_some(), gone, "page {index} after {count} from {first}");
            }
            bench.iommu.invalidate(domain, &(&gather).into()).unwrap();
            bench.finish(gather);
        }
    });
}

#[test]
fn a_large_page_is_gone_from_end_to_end() {
    on_qemu(config(), |bench| stale::a_large_page_is_gone_from_end_to_end(bench, Cached::Whole));
}

#[test]
fn an_entry_is_stale_until_the_driver_invalidates_it() {
    on_qemu(config(), stale::an_entry_is_stale_until_the_driver_invalidates_it);
}

#[test]
fn a_number_is_clean_when_it_is_used_again() {
    on_qemu(config(), |bench| {
        stale::a_number_is_clean_when_it_is_used_again(bench, |bench| {
            let word = read64(&bench.ram, bench.iommu.stream_entry(STREAM).unwrap().raw());
            assert_eq!(read64(&bench.ram, word & !0x3f) >> 48, 1, "the same ASID");
        });
    });
}

#[test]
fn nothing_passes_after_a_detach_under_traffic() {
    on_qemu(config(), stale::nothing_passes_after_a_detach_under_traffic);
}
