//! QEMU caches translations and contexts: what the driver leaves out is seen, and what it does helps.

use crate::support::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use vcm::{Iova, PhysicalAddress};
use vcm_iommu::vtd::{Mode, spec};
use vcm_iommu::{Invalidation, Iommu, Reach, Registers};

#[test]
fn a_translation_is_stale_until_it_is_invalidated() {
    on_all(|bench| {
        let pages = [bench.page(1), bench.page(2)];
        let (domain, mut table) = bench.domain_to(pages[0]);
        let (other, _other_table) = bench.domain_to(pages[1]);
        bench.vtd.attach(STREAM, domain).unwrap();
        bench.vtd.attach(OTHER_STREAM, other).unwrap();
        for reach in [Some(Reach::Pages), Some(Reach::Tables), None] {
            assert!(bench.reads(&bench.edu, AT, 1), "{reach:?}");
            let gather = bench.unmap(&mut table, AT, 0x1000);
            assert!(bench.reads(&bench.edu, AT, 1), "the stale translation is used, {reach:?}");
            bench.invalidate_page(domain, AT + 0x1000, Reach::Pages);
            assert!(bench.reads(&bench.edu, AT, 1), "another address was invalidated, {reach:?}");
            bench.vtd.invalidate(other, &Invalidation::Everything).unwrap();
            assert!(bench.reads(&bench.edu, AT, 1), "another domain was invalidated, {reach:?}");
            assert_eq!(bench.faults(), []);
            match reach {
                Some(reach) => bench.invalidate_page(domain, AT, reach),
                None => bench.vtd.invalidate(domain, &Invalidation::Everything).unwrap(),
            }
            assert!(!bench.reads(&bench.edu, AT, 1), "{reach:?}");
            assert!(!bench.faults().is_empty());
            gather.finish::<u64>(&mut bench.ram.clone());
            bench.map(&mut table, AT, pages[0], 0x1000);
        }
        assert!(bench.reads(&bench.other, AT, 2));
    });
}

#[test]
fn a_large_page_and_a_range_are_gone_from_end_to_end() {
    on_all(|bench| {
        let large = bench.ram.allocate(4 << 20, 2 << 20).unwrap();
        let page = bench.page(1);
        let (domain, mut table) = bench.domain_to(page);
        bench.vtd.attach(STREAM, domain).unwrap();
        // A large page in the middle of small ones: 2 MiB less a page on each side.
        let (start, len) = (0x4000_0000 + 0x1f_f000, (2 << 20) + 0x2000);
        bench.map(&mut table, start, PhysicalAddress::new(large.raw() + 0x1f_f000), len);
        let offsets = [0, 0x1000, 0x10_0000, len - 0x1000];
        for offset in offsets {
            let at = PhysicalAddress::new(large.raw() + 0x1f_f000 + offset);
            bench.ram.write_bytes(at, &pattern(8)).unwrap();
            assert!(bench.reads(&bench.edu, start + offset, 8), "{offset:#x}");
        }
        let gather = bench.unmap(&mut table, start, len);
        assert!(bench.reads(&bench.edu, start + 0x1000, 8), "the stale translation is used");
        bench.finish(domain, gather);
        for offset in offsets {
            assert!(bench.faults_at(start + offset), "{offset:#x}");
        }
        assert!(bench.reads(&bench.edu, AT, 1), "what was not unmapped is there still");
    });
}

/// Where the context entry of a function on bus 0 is, walked by the specification.
fn context_of(bench: &mut Bench, function: u64) -> u64 {
    let root = bench.machine.iommu_registers().unwrap().read64(spec::RTADDR) & !0xfff;
    let table = read64(&bench.ram, root) & !0xfff;
    table + function * if bench.variant.mode() == Mode::Scalable { 32 } else { 16 }
}

#[test]
fn a_context_is_stale_until_the_driver_invalidates_it() {
    on_all(|bench| {
        let (page, other_page) = (bench.page(1), bench.page(2));
        let (domain, _table) = bench.domain_to(page);
        let (other, _other_table) = bench.domain_to(other_page);
        bench.vtd.attach(STREAM, domain).unwrap();
        assert!(bench.reads(&bench.edu, AT, 1));
        // Behind the driver's back the context is made invalid.
        let context = context_of(bench, 0x10);
        assert_eq!(read64(&bench.ram, context) & 1, 1);
        write64(&bench.ram, context, 0);
        assert!(bench.reads(&bench.edu, AT, 1), "the stale context is used");
        // The driver does that, and says so.
        bench.vtd.detach(STREAM).unwrap();
        assert!(bench.faults_at(AT));
        bench.vtd.attach(STREAM, other).unwrap();
        assert!(bench.reads(&bench.edu, AT, 2));
        bench.vtd.attach(STREAM, domain).unwrap();
        assert!(bench.reads(&bench.edu, AT, 1));
    });
}

#[test]
fn a_mapping_that_is_new_needs_no_invalidation() {
    on_all(|bench| {
        let page = bench.page(1);
        let (domain, mut table) = bench.domain_to(page);
        bench.vtd.attach(STREAM, domain).unwrap();
        assert!(bench.faults_at(0x3000_0000));
        bench.map(&mut table, 0x3000_0000, page, 0x1000);
        assert!(bench.reads(&bench.edu, 0x3000_0000, 1));
    });
}

/// A device that writes all the time is detached; what it could write to is then at rest.
#[test]
fn nothing_passes_after_detaching_under_traffic() {
    on_all(|bench| {
        let page = bench.page(1);
        let (domain, _table) = bench.domain_to(page);
        let (edu, stop) = (bench.edu.clone(), AtomicBool::new(false));
        for _ in 0..5 {
            bench.vtd.attach(STREAM, domain).unwrap();
            stop.store(false, Ordering::Relaxed);
            thread::scope(|scope| {
                scope.spawn(|| {
                    let mut seed = 100;
                    while !stop.load(Ordering::Relaxed) {
                        // A new value each time: what it reads at one place it writes to the other.
                        bench.ram.write_bytes(page, &pattern(seed)).unwrap();
                        edu.copy(Iova::new(AT), Iova::new(OUT), 64).unwrap();
                        seed += 1;
                    }
                });
                thread::sleep(std::time::Duration::from_millis(10));
                bench.vtd.detach(STREAM).unwrap();
                let sentinel = [0xa5; 64];
                bench.ram.write_bytes(bench.out, &sentinel).unwrap();
                thread::sleep(std::time::Duration::from_millis(10));
                let mut bytes = [0; 64];
                bench.ram.read_bytes(bench.out, &mut bytes).unwrap();
                stop.store(true, Ordering::Relaxed);
                assert_eq!(bytes, sentinel);
            });
            assert!(!bench.faults().is_empty(), "the device went on");
        }
    });
}
