//! Bytes arrive where the tables say, and nowhere else.

use crate::rig::transfers;
use crate::support::*;
use vcm::{Access, FaultAccess, Iova, PhysicalAddress};
use vcm_iommu::amdvi::{Config, spec};
use vcm_iommu::{Feature, Iommu, IommuError, Registers, TableFormat, Tables, Translation, Way};

#[test]
fn the_hardware_is_what_it_says() {
    on_qemu(config(), |bench| {
        let has = bench.iommu.features();
        assert!(has.ia_sup());
        assert_eq!((has.hats(), bench.iommu.supports(TableFormat::AmdV1 { levels: 6 })), (2, true));
        assert_eq!(bench.iommu.preferred(), Way::Tables(TableFormat::AmdV1 { levels: 4 }));
        let mut registers = bench.machine.iommu_registers().unwrap();
        let status = spec::Status::from_bits(registers.read64(spec::STATUS));
        assert!(status.cmd_buf_run() && status.event_log_run());
        let no = |feature| Err(IommuError::NotSupported(feature));
        assert_eq!(bench.iommu.create_domain(Translation::Requests), no(Feature::Requests));
        let asked = bench.iommu.translate(STREAM, AT, FaultAccess::Read);
        assert_eq!(asked, Err(IommuError::NotSupported(Feature::Translate)));
    });
}

#[test]
fn tables_of_all_depths_and_pages_of_many_sizes() {
    on_qemu(config(), |bench| {
        // A page of 64K is a group of entries, one of 2M an entry, one of 4M a group again.
        let large = bench.ram.allocate(4 << 20, 4 << 20).unwrap();
        let page = bench.page();
        for levels in 3..=6 {
            let mut table = bench.table_of(levels);
            let top = table.input_span().last() & !0xfff;
            bench.map(&mut table, top, page, 0x1000);
            bench.map(&mut table, OUT, bench.out, 0x1000);
            let domain = bench.domain(Amd::tables(&table));
            bench.iommu.attach(STREAM, domain).unwrap();
            let seed = u32::from(levels);
            bench.put(page, seed);
            assert!(bench.reads(&bench.edu, top, seed), "{levels} levels");
            for (at, len) in [(0x4001_0000, 0x1_0000), (0x5000_0000, 2 << 20), (0x6000_0000, 4 << 20)] {
                bench.map(&mut table, at, large, len);
                for offset in [0, len / 2, len - 0x1000] {
                    let physical = PhysicalAddress::new(large.raw() + offset);
                    bench.put(physical, seed + 10);
                    assert!(bench.reads(&bench.edu, at + offset, seed + 10), "{levels} levels, {len:#x}");
                    bench.put(physical, 0);
                }
            }
        }
    });
}

#[test]
fn a_stream_without_domain_reaches_nothing() {
    on_qemu(config(), |bench| {
        let page = bench.page();
        bench.put(page, 4);
        let (domain, _table) = bench.domain_to(page);
        bench.edu.copy(Iova::new(page.raw()), Iova::new(bench.out.raw()), 4096).unwrap();
        assert!(!bench.holds(bench.out, 4), "untranslated");
        for _ in 0..3 {
            assert!(!bench.reads(&bench.edu, AT, 4));
            bench.iommu.attach(STREAM, domain).unwrap();
            assert!(bench.reads(&bench.edu, AT, 4));
            bench.iommu.detach(STREAM).unwrap();
            bench.edu.dma_from_device(Iova::new(page.raw()), 8, 64).unwrap();
            bench.edu.dma_from_device(Iova::new(AT), 8, 64).unwrap();
            assert!(bench.holds(page, 4));
        }
        // Nothing of it is seen: QEMU does not move the tail.
        assert_eq!(bench.iommu.next_fault(), Ok(None));
    });
}

#[test]
fn addresses_outside_and_without_permission() {
    on_qemu(config(), |bench| {
        let (page, read_only, write_only) = (bench.page(), bench.page(), bench.page());
        let (domain, mut table) = bench.domain_to(page);
        bench.map_as(&mut table, AT + 0x1000, read_only, 0x1000, Access::READ);
        bench.map_as(&mut table, AT + 0x2000, write_only, 0x1000, Access::WRITE);
        bench.iommu.attach(STREAM, domain).unwrap();
        for seed in 1..4 {
            bench.put(page, seed);
            bench.put(read_only, seed + 10);
            bench.put(write_only, seed + 20);
            assert!(bench.reads(&bench.edu, AT, seed) && bench.reads(&bench.edu, AT + 0x1000, seed + 10));
            assert!(!bench.reads(&bench.edu, AT + 0x2000, seed + 20));
            assert!(!bench.reads(&bench.edu, AT + 0x3000, seed));
            // What is in the buffer is the page's.
            bench.edu.dma_to_device(Iova::new(AT), 0, 4096).unwrap();
            bench.edu.dma_from_device(Iova::new(AT + 0x1000), 0, 4096).unwrap();
            bench.edu.dma_from_device(Iova::new(AT + 0x2000), 0, 4096).unwrap();
            assert!(bench.holds(read_only, seed + 10) && bench.holds(write_only, seed));
        }
    });
}

#[test]
fn identity_passes_until_it_is_taken_away() {
    on_qemu(config(), transfers::identity_passes_until_it_is_taken_away);
}

#[test]
fn domains_are_apart_and_streams_of_one_share_it() {
    on_qemu(config(), transfers::domains_are_apart_and_streams_of_one_share_it);
}

#[test]
fn a_device_table_as_long_as_the_ids_need() {
    on_qemu(Config { last_device: 0x1f, ..config() }, |bench| {
        let page = bench.page();
        bench.put(page, 5);
        let (domain, _table) = bench.domain_to(page);
        for (stream, edu) in [(STREAM, bench.edu.clone()), (OTHER_STREAM, bench.other.clone())] {
            bench.iommu.attach(stream, domain).unwrap();
            assert!(bench.reads(&edu, AT, 5));
        }
        let beyond = vcm_iommu::StreamId(0x20);
        let refused = bench.iommu.attach(beyond, domain);
        assert_eq!(
            refused,
            Err(IommuError::StreamOutOfRange { stream: beyond, last: vcm_iommu::StreamId(0x1f) })
        );
    });
}

#[test]
fn roots_and_formats_that_no_hardware_walks_are_refused() {
    on_qemu(config(), |bench| {
        let mut create = |format, root| {
            let root = PhysicalAddress::new(root);
            bench.iommu.create_domain(Translation::Tables(Tables { format, root })).map(drop)
        };
        let four = TableFormat::AmdV1 { levels: 4 };
        assert!(matches!(create(four, 0x80_0800), Err(IommuError::Root { align: 0x1000, .. })));
        assert!(matches!(create(four, 1 << 52), Err(IommuError::Root { .. })));
        for levels in [0, 1, 2, 7, 8, 255] {
            let none = TableFormat::AmdV1 { levels };
            assert_eq!(create(none, 0x80_0000), Err(IommuError::NotSupported(Feature::Format(none))));
        }
    });
}
