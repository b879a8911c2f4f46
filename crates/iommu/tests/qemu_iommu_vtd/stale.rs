//! QEMU caches translations and contexts: what the driver leaves out is seen, and what it does helps.

use crate::rig::stale;
use crate::support::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use vcm::{Iova, PhysicalAddress};
use vcm_iommu::Iommu;

#[test]
fn a_translation_is_stale_until_it_is_invalidated() {
    on_all(stale::a_translation_is_stale_until_it_is_invalidated);
}

#[test]
fn a_large_page_and_a_range_are_gone_from_end_to_end() {
    on_all(|bench| {
        let large = bench.ram.allocate(4 << 20, 2 << 20).unwrap();
        let page = bench.filled(1);
        let (domain, mut table) = bench.domain_to(page);
        bench.iommu.attach(STREAM, domain).unwrap();
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
        bench.invalidate_and_finish(domain, gather);
        for offset in offsets {
            assert!(bench.faults_at(start + offset), "{offset:#x}");
        }
        assert!(bench.reads(&bench.edu, AT, 1), "what was not unmapped is there still");
    });
}

#[test]
fn a_context_is_stale_until_the_driver_invalidates_it() {
    on_all(stale::an_entry_is_stale_until_the_driver_invalidates_it);
}

#[test]
fn a_mapping_that_is_new_needs_no_invalidation() {
    on_all(|bench| {
        let page = bench.filled(1);
        let (domain, mut table) = bench.domain_to(page);
        bench.iommu.attach(STREAM, domain).unwrap();
        assert!(bench.faults_at(0x3000_0000));
        bench.map(&mut table, 0x3000_0000, page, 0x1000);
        assert!(bench.reads(&bench.edu, 0x3000_0000, 1));
    });
}

/// A device that writes all the time is detached; what it could write to is then at rest.
#[test]
fn nothing_passes_after_detaching_under_traffic() {
    on_all(|bench| {
        let page = bench.filled(1);
        let (domain, _table) = bench.domain_to(page);
        let (edu, stop) = (bench.edu.clone(), AtomicBool::new(false));
        for _ in 0..5 {
            bench.iommu.attach(STREAM, domain).unwrap();
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
                bench.iommu.detach(STREAM).unwrap();
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
