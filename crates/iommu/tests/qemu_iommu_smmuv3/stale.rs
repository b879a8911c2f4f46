//! QEMU caches translations and configurations: what the driver leaves out is seen, and what it does helps.

use crate::support::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use vcm::{Iova, PhysicalAddress, Span};
use vcm_iommu::{DomainId, Invalidation, Iommu, Reach};
use vcm_pagetable::aarch64::Granule4K;
use vcm_pagetable::{Format, PageTable};

fn is_stale_until_invalidated<F: Format<Word = u64>>(
    bench: &mut Bench,
    domain: DomainId,
    table: &mut PageTable<F>,
    page: PhysicalAddress,
) {
    let other_page = bench.page();
    bench.put(other_page, 2);
    let (other, _other_table) = bench.domain_to(other_page);
    bench.iommu.attach(STREAM, domain).unwrap();
    bench.iommu.attach(OTHER_STREAM, other).unwrap();
    for reach in [Reach::Pages, Reach::Tables] {
        assert!(bench.reads(&bench.edu, AT, 1) && bench.reads(&bench.other, AT, 2));
        let gather = bench.unmap(table, AT, 0x1000);
        assert!(bench.reads(&bench.edu, AT, 1), "the stale translation is used");
        bench.invalidate_page(domain, AT + 0x1000, Reach::Tables);
        assert!(bench.reads(&bench.edu, AT, 1), "another address was invalidated");
        bench.iommu.invalidate(other, &Invalidation::Everything).unwrap();
        bench.invalidate_page(other, AT, Reach::Tables);
        assert!(bench.reads(&bench.edu, AT, 1), "another domain was invalidated");
        assert_eq!(bench.faults(), []);
        bench.invalidate_page(domain, AT, reach);
        assert!(!bench.reads(&bench.edu, AT, 1), "{reach:?}");
        assert!(!bench.faults().is_empty());
        bench.finish(gather);
        bench.map(table, AT, page, 0x1000);
    }
    assert!(bench.reads(&bench.edu, AT, 1));
    let gather = bench.unmap(table, AT, 0x1000);
    assert!(bench.reads(&bench.edu, AT, 1));
    bench.iommu.invalidate(domain, &Invalidation::Everything).unwrap();
    assert!(!bench.reads(&bench.edu, AT, 1));
    bench.finish(gather);
    bench.iommu.detach(STREAM).unwrap();
    bench.iommu.detach(OTHER_STREAM).unwrap();
    bench.faults();
}

#[test]
fn a_translation_is_stale_until_it_is_invalidated() {
    on_qemu(config(), |bench| {
        let page = bench.page();
        bench.put(page, 1);
        let (domain, mut table) = bench.domain_to(page);
        is_stale_until_invalidated(bench, domain, &mut table, page);

        let mut table = bench.second::<Granule4K>(40, 1);
        bench.map(&mut table, AT, page, 0x1000);
        bench.map(&mut table, OUT, bench.out, 0x1000);
        let domain = bench.domain(second_tables(&table));
        is_stale_until_invalidated(bench, domain, &mut table, page);
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
    on_qemu(config(), |bench| {
        let large = bench.ram.allocate(2 << 20, 2 << 20).unwrap();
        let page = bench.page();
        let (domain, mut table) = bench.domain_to(page);
        bench.map(&mut table, 0x4000_0000, large, 2 << 20);
        bench.iommu.attach(STREAM, domain).unwrap();
        assert_eq!(bench.fault_of_read(0x4000_1000), None);
        let gather = bench.unmap(&mut table, 0x4000_0000, 2 << 20);
        assert_eq!(bench.fault_of_read(0x401f_f000), None, "the stale translation is used");
        bench.iommu.invalidate(domain, &(&gather).into()).unwrap();
        bench.finish(gather);
        for offset in [0, 0x1000, 0xf_f000, 0x1f_f000] {
            assert!(bench.fault_of_read(0x4000_0000 + offset).is_some(), "{offset:#x}");
        }
    });
}

#[test]
fn an_entry_is_stale_until_the_driver_invalidates_it() {
    on_qemu(config(), |bench| {
        let (page, other_page) = (bench.page(), bench.page());
        bench.put(page, 1);
        bench.put(other_page, 2);
        let (domain, _table) = bench.domain_to(page);
        let (other, _other_table) = bench.domain_to(other_page);
        bench.iommu.attach(STREAM, domain).unwrap();
        assert!(bench.reads(&bench.edu, AT, 1));
        // Behind the driver's back the entry is made invalid.
        let entry = bench.iommu.stream_entry(STREAM).unwrap().raw();
        let word = read64(&bench.ram, entry);
        write64(&bench.ram, entry, 0);
        assert!(bench.reads(&bench.edu, AT, 1), "the stale entry is used");
        write64(&bench.ram, entry, word);
        // The driver does that, and says so.
        bench.iommu.detach(STREAM).unwrap();
        assert!(bench.fault_of_read(AT).is_some());
        bench.iommu.attach(STREAM, domain).unwrap();
        assert!(bench.reads(&bench.edu, AT, 1));
        // A move without a gap is no less seen.
        bench.iommu.attach(STREAM, other).unwrap();
        assert!(bench.reads(&bench.edu, AT, 2));
    });
}

/// The numbers of a domain that is gone serve the next one, and so does the memory of its context descriptor.
#[test]
fn a_number_is_clean_when_it_is_used_again() {
    on_qemu(config(), |bench| {
        for seed in 1..6 {
            let page = bench.page();
            bench.put(page, seed);
            let (domain, _table) = bench.domain_to(page);
            bench.iommu.attach(STREAM, domain).unwrap();
            let word = read64(&bench.ram, bench.iommu.stream_entry(STREAM).unwrap().raw());
            assert_eq!(read64(&bench.ram, word & !0x3f) >> 48, 1, "the same ASID");
            assert!(bench.reads(&bench.edu, AT, seed));
            bench.iommu.detach(STREAM).unwrap();
            bench.iommu.destroy_domain(domain).unwrap();
        }
    });
}

#[test]
fn nothing_passes_after_a_detach_under_traffic() {
    on_qemu(config(), |bench| {
        let page = bench.page();
        let (domain, _table) = bench.domain_to(page);
        let over = AtomicBool::new(false);
        let edu = bench.edu.clone();
        let arrived = |bench: &Bench| {
            let mut bytes = [0; 8];
            bench.ram.read_bytes(page, &mut bytes).unwrap();
            bytes != [0; 8]
        };
        // What the bus master writes.
        bench.put(page, 77);
        bench.iommu.attach(STREAM, domain).unwrap();
        bench.edu.dma_to_device(Iova::new(AT), 0, 4096).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    edu.dma_from_device(Iova::new(AT), 0, 64).unwrap();
                }
            });
            for _ in 0..15 {
                bench.iommu.attach(STREAM, domain).unwrap();
                let until = Instant::now() + Duration::from_secs(5);
                while !arrived(bench) && Instant::now() < until {
                    thread::yield_now();
                }
                let passed = arrived(bench);
                bench.iommu.detach(STREAM).unwrap();
                bench.ram.write_bytes(page, &[0; 4096]).unwrap();
                thread::sleep(Duration::from_millis(3));
                let late = arrived(bench);
                if !passed || late {
                    over.store(true, Ordering::Relaxed);
                }
                assert!(passed, "traffic arrives");
                assert!(!late, "after the detach");
                // Some of what was refused; there is more all the time.
                for _ in 0..100 {
                    bench.iommu.next_fault().unwrap();
                }
            }
            over.store(true, Ordering::Relaxed);
        });
    });
}
