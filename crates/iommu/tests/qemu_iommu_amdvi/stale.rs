//! QEMU caches translations: what the driver leaves out is seen, and what it does helps.

use crate::support::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use vcm::{Access, Iova, PhysicalAddress};
use vcm_iommu::{Invalidation, Iommu, Reach};

#[test]
fn a_translation_is_stale_until_it_is_invalidated() {
    on_qemu(config(), |bench| {
        let (page, other_page) = (bench.page(), bench.page());
        bench.put(page, 1);
        bench.put(other_page, 2);
        let (domain, mut table) = bench.domain_to(page);
        let (other, _other_table) = bench.domain_to(other_page);
        bench.iommu.attach(STREAM, domain).unwrap();
        bench.iommu.attach(OTHER_STREAM, other).unwrap();
        for how in [Some(Reach::Pages), Some(Reach::Tables), None] {
            assert!(bench.reads(&bench.edu, AT, 1), "{how:?}");
            let gather = bench.unmap(&mut table, AT, 0x1000);
            assert!(bench.reads(&bench.edu, AT, 1), "the stale translation is used, {how:?}");
            bench.iommu.invalidate(other, &Invalidation::Everything).unwrap();
            assert!(bench.reads(&bench.edu, AT, 1), "another domain was invalidated, {how:?}");
            match how {
                Some(reach) => bench.invalidate_page(domain, AT, reach),
                None => bench.iommu.invalidate(domain, &Invalidation::Everything).unwrap(),
            }
            assert!(!bench.reads(&bench.edu, AT, 1), "{how:?}");
            bench.finish(gather);
            bench.map(&mut table, AT, page, 0x1000, Access::READ_WRITE);
        }
        assert!(bench.reads(&bench.other, AT, 2));
    });
}

#[test]
fn a_large_page_is_gone_from_end_to_end() {
    on_qemu(config(), |bench| {
        let large = bench.ram.allocate(2 << 20, 2 << 20).unwrap();
        let page = bench.page();
        let (domain, mut table) = bench.domain_to(page);
        bench.map(&mut table, 0x4000_0000, large, 2 << 20, Access::READ_WRITE);
        bench.iommu.attach(STREAM, domain).unwrap();
        for offset in [0, 0x1000, 0x1f_f000] {
            bench.put(PhysicalAddress::new(large.raw() + offset), 8);
            assert!(bench.reads(&bench.edu, 0x4000_0000 + offset, 8));
        }
        let gather = bench.unmap(&mut table, 0x4000_0000, 2 << 20);
        assert!(bench.reads(&bench.edu, 0x4000_1000, 8), "the stale translation is used");
        bench.iommu.invalidate(domain, &(&gather).into()).unwrap();
        bench.finish(gather);
        for offset in [0, 0x1000, 0x1f_f000] {
            assert!(!bench.reads(&bench.edu, 0x4000_0000 + offset, 8), "{offset:#x}");
        }
    });
}

/// The entry of the device table alone does not stop what is cached.
#[test]
fn a_blocked_stream_still_translates_until_the_driver_says_so() {
    on_qemu(config(), |bench| {
        let page = bench.page();
        bench.put(page, 1);
        let (domain, _table) = bench.domain_to(page);
        bench.iommu.attach(STREAM, domain).unwrap();
        assert!(bench.reads(&bench.edu, AT, 1));
        // Behind the driver's back the entry is made to refuse everything.
        use vcm_iommu::Registers;
        let mut registers = bench.machine.iommu_registers().unwrap();
        let base = registers.read64(0) & 0xf_ffff_ffff_f000;
        let entry = PhysicalAddress::new(base + u64::from(STREAM.0) * 32);
        bench.ram.write_bytes(entry, &3_u64.to_le_bytes()).unwrap();
        assert!(bench.reads(&bench.edu, AT, 1), "the stale translation is used");
        bench.iommu.detach(STREAM).unwrap();
        assert!(!bench.reads(&bench.edu, AT, 1));
    });
}

/// The number of a domain that is gone serves the next one.
#[test]
fn a_number_is_clean_when_it_is_used_again() {
    on_qemu(config(), |bench| {
        for seed in 1..6 {
            let page = bench.page();
            bench.put(page, seed);
            let (domain, _table) = bench.domain_to(page);
            bench.iommu.attach(STREAM, domain).unwrap();
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
                assert!(arrived(bench), "traffic arrives");
                bench.iommu.detach(STREAM).unwrap();
                bench.ram.write_bytes(page, &[0; 4096]).unwrap();
                thread::sleep(Duration::from_millis(3));
                assert!(!arrived(bench), "after the detach");
            }
            over.store(true, Ordering::Relaxed);
        });
    });
}
