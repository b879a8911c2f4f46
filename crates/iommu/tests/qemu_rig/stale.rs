//! QEMU caches translations and configurations: what the driver leaves out is seen, and what it does helps.

use super::{Bench, Model, OTHER_STREAM, STREAM, read64, table::Table, write64};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use vcm::{Iova, PhysicalAddress};
use vcm_iommu::{DomainId, Invalidation, Iommu, Reach};

/// `table` is the domain's, in which [`Model::AT`] leads to a page of pattern 1.
pub(crate) fn is_stale_until_invalidated<M: Model>(
    bench: &mut Bench<M>,
    domain: DomainId,
    table: &mut impl Table,
    page: PhysicalAddress,
) {
    let other_page = bench.filled(2);
    let (other, _other_table) = bench.domain_to(other_page);
    bench.iommu.attach(STREAM, domain).unwrap();
    bench.iommu.attach(OTHER_STREAM, other).unwrap();
    for how in [Some(Reach::Pages), Some(Reach::Tables), None] {
        assert!(bench.reads(&bench.edu, M::AT, 1) && bench.reads(&bench.other, M::AT, 2), "{how:?}");
        let gather = bench.unmap(table, M::AT, 0x1000);
        assert!(bench.reads(&bench.edu, M::AT, 1), "the stale translation is used, {how:?}");
        for reach in M::EXACT {
            bench.invalidate_page(domain, M::AT + 0x1000, *reach);
            assert!(bench.reads(&bench.edu, M::AT, 1), "another address was invalidated, {reach:?}");
        }
        bench.iommu.invalidate(other, &Invalidation::Everything).unwrap();
        bench.invalidate_page(other, M::AT, Reach::Tables);
        assert!(bench.reads(&bench.edu, M::AT, 1), "another domain was invalidated, {how:?}");
        assert_eq!(bench.faults(), []);
        match how {
            Some(reach) => bench.invalidate_page(domain, M::AT, reach),
            None => bench.iommu.invalidate(domain, &Invalidation::Everything).unwrap(),
        }
        assert!(bench.refuses(M::AT, 1), "{how:?}");
        bench.finish(gather);
        bench.map(table, M::AT, page, 0x1000);
    }
    assert!(bench.reads(&bench.edu, M::AT, 1) && bench.reads(&bench.other, M::AT, 2));
    bench.iommu.detach(STREAM).unwrap();
    bench.iommu.detach(OTHER_STREAM).unwrap();
    bench.faults();
}

pub(crate) fn a_translation_is_stale_until_it_is_invalidated<M: Model>(bench: &mut Bench<M>) {
    let page = bench.filled(1);
    let (domain, mut table) = bench.domain_to(page);
    is_stale_until_invalidated(bench, domain, &mut table, page);
}

const LARGE: u64 = 0x4000_0000;
const OFFSETS: [u64; 4] = [0, 0x1000, 0xf_f000, 0x1f_f000];

/// What is read in a large page before it is unmapped.
#[derive(Clone, Copy)]
pub(crate) enum Cached {
    /// One page: the entry is cached as one.
    Whole,
    /// Each of those that are looked at later.
    InPieces,
}

pub(crate) fn a_large_page_is_gone_from_end_to_end<M: Model>(bench: &mut Bench<M>, cached: Cached) {
    let large = bench.ram.allocate(2 << 20, 2 << 20).unwrap();
    let page = bench.page();
    let (domain, mut table) = bench.domain_to(page);
    bench.map(&mut table, LARGE, large, 2 << 20);
    bench.iommu.attach(STREAM, domain).unwrap();
    for offset in OFFSETS {
        bench.put(PhysicalAddress::new(large.raw() + offset), 8);
    }
    let read = match cached {
        Cached::Whole => &OFFSETS[1..2],
        Cached::InPieces => &OFFSETS,
    };
    for offset in read {
        assert!(bench.reads(&bench.edu, LARGE + offset, 8), "{offset:#x}");
    }
    let gather = bench.unmap(&mut table, LARGE, 2 << 20);
    for offset in OFFSETS {
        assert!(bench.reads(&bench.edu, LARGE + offset, 8), "the stale translation is used, {offset:#x}");
    }
    assert_eq!(bench.faults(), []);
    bench.invalidate_and_finish(domain, gather);
    for offset in OFFSETS {
        assert!(bench.refuses(LARGE + offset, 8), "{offset:#x}");
    }
}

/// What the driver finds in an entry that was changed behind its back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// It was changed back.
    AsItWas,
    Refusing,
}

pub(crate) fn an_entry_is_stale_until_the_driver_invalidates_it<M: Model>(bench: &mut Bench<M>) {
    let (page, other_page) = (bench.filled(1), bench.filled(2));
    let (domain, _table) = bench.domain_to(page);
    let (other, _other_table) = bench.domain_to(other_page);
    let (one, two) = ((domain, 1), (other, 2));
    for (found, first, second) in [(Found::AsItWas, one, two), (Found::Refusing, two, one)] {
        bench.iommu.attach(STREAM, domain).unwrap();
        assert!(bench.reads(&bench.edu, M::AT, 1));
        // Behind the driver's back the entry is made to refuse everything.
        let entry = M::entry(bench, STREAM);
        let word = read64(&bench.ram, entry);
        assert_eq!(word & 1, 1);
        write64(&bench.ram, entry, M::REFUSING_ENTRY);
        assert!(bench.reads(&bench.edu, M::AT, 1), "the stale entry is used");
        if found == Found::AsItWas {
            write64(&bench.ram, entry, word);
        }
        // The driver does that, and says so.
        bench.iommu.detach(STREAM).unwrap();
        assert!(bench.refuses(M::AT, 1));
        bench.iommu.attach(STREAM, first.0).unwrap();
        assert!(bench.reads(&bench.edu, M::AT, first.1));
        // A move without a gap is no less seen.
        bench.iommu.attach(STREAM, second.0).unwrap();
        assert!(bench.reads(&bench.edu, M::AT, second.1));
    }
}

/// The numbers of a domain that is gone serve the next one, and so does its memory. `look` sees each while it is
/// attached.
pub(crate) fn a_number_is_clean_when_it_is_used_again<M: Model>(
    bench: &mut Bench<M>,
    look: impl Fn(&mut Bench<M>),
) {
    for seed in 1..6 {
        let page = bench.filled(seed);
        let (domain, _table) = bench.domain_to(page);
        bench.iommu.attach(STREAM, domain).unwrap();
        look(bench);
        assert!(bench.reads(&bench.edu, M::AT, seed));
        bench.iommu.detach(STREAM).unwrap();
        bench.iommu.destroy_domain(domain).unwrap();
    }
}

pub(crate) fn nothing_passes_after_a_detach_under_traffic<M: Model>(bench: &mut Bench<M>) {
    // What the bus master writes.
    let page = bench.filled(77);
    let (domain, _table) = bench.domain_to(page);
    let over = AtomicBool::new(false);
    let (edu, ram) = (bench.edu.clone(), bench.ram.clone());
    let arrived = || read64(&ram, page.raw()) != 0;
    bench.iommu.attach(STREAM, domain).unwrap();
    bench.edu.dma_to_device(Iova::new(M::AT), 0, 4096).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                edu.dma_from_device(Iova::new(M::AT), 0, 64).unwrap();
            }
        });
        for _ in 0..15 {
            bench.iommu.attach(STREAM, domain).unwrap();
            let until = Instant::now() + Duration::from_secs(5);
            while !arrived() && Instant::now() < until {
                thread::yield_now();
            }
            let passed = arrived();
            bench.iommu.detach(STREAM).unwrap();
            ram.write_bytes(page, &[0; 4096]).unwrap();
            thread::sleep(Duration::from_millis(3));
            let late = arrived();
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
}
