//! Bytes arrive where they should, and nowhere else.

use crate::support::*;
use vcm::{Access, Iova, PhysicalAddress};
use vcm_iommu::vtd::{Mode, Vtd};
use vcm_iommu::{Iommu, IommuError, TableFormat, Translation, Way};

#[test]
fn bytes_arrive_through_pages_of_every_size() {
    on_all(|bench| {
        let (small, large) = (bench.page(1), bench.ram.allocate(2 << 20, 2 << 20).unwrap());
        let (domain, mut table) = bench.domain_to(small);
        bench.vtd.attach(STREAM, domain).unwrap();
        assert!(bench.reads(&bench.edu, AT, 1), "4 KiB");
        let last = PhysicalAddress::new(large.raw() + 0x1f_f000);
        bench.ram.write_bytes(last, &pattern(2)).unwrap();
        bench.map(&mut table, 0x4000_0000, large, 2 << 20);
        assert!(bench.reads(&bench.edu, 0x401f_f000, 2), "2 MiB");
        // RAM, or its beginning, is in the first gigabyte.
        bench.map(&mut table, 0x1_0000_0000, PhysicalAddress::new(0), 1 << 30);
        assert!(bench.reads(&bench.edu, 0x1_0000_0000 + last.raw(), 2), "1 GiB");
        assert_eq!(bench.faults(), []);
    });
}

#[test]
fn nothing_passes_before_attaching_and_after_detaching() {
    on_all(|bench| {
        let page = bench.page(3);
        let (domain, _table) = bench.domain_to(page);
        assert!(bench.faults_at(AT));
        assert!(bench.faults_at(page.raw()), "not untranslated either");
        bench.vtd.attach(STREAM, domain).unwrap();
        assert!(bench.reads(&bench.edu, AT, 3));
        assert!(matches!(bench.vtd.destroy_domain(domain), Err(IommuError::InUse { .. })));
        bench.vtd.detach(STREAM).unwrap();
        assert!(bench.faults_at(AT));
        bench.vtd.destroy_domain(domain).unwrap();
    });
}

#[test]
fn two_domains_and_two_streams_in_one() {
    on_all(|bench| {
        let pages = [bench.page(4), bench.page(5)];
        let (first, _first_table) = bench.domain_to(pages[0]);
        let (second, _second_table) = bench.domain_to(pages[1]);
        bench.vtd.attach(STREAM, first).unwrap();
        bench.vtd.attach(OTHER_STREAM, second).unwrap();
        assert!(bench.reads(&bench.edu, AT, 4) && bench.reads(&bench.other, AT, 5));
        bench.vtd.attach(STREAM, second).unwrap();
        assert!(bench.reads(&bench.edu, AT, 5) && bench.reads(&bench.other, AT, 5));
        bench.vtd.attach(OTHER_STREAM, first).unwrap();
        assert!(bench.reads(&bench.edu, AT, 5) && bench.reads(&bench.other, AT, 4));
        bench.vtd.detach(OTHER_STREAM).unwrap();
        assert!(bench.reads(&bench.edu, AT, 5) && !bench.reads(&bench.other, AT, 4));
        bench.vtd.destroy_domain(first).unwrap();
    });
}

#[test]
fn identity_passes_everything() {
    on_all(|bench| {
        let (from, to) = (bench.page(6), bench.page(7));
        let identity = bench.vtd.create_domain(Translation::Identity).unwrap();
        bench.vtd.attach(STREAM, identity).unwrap();
        bench.edu.copy(Iova::new(from.raw()), Iova::new(to.raw()), 4096).unwrap();
        assert!(bench.holds(to, 6));
        assert_eq!(bench.faults(), []);
        bench.vtd.detach(STREAM).unwrap();
        bench.ram.write_bytes(to, &pattern(7)).unwrap();
        bench.edu.copy(Iova::new(from.raw()), Iova::new(to.raw()), 4096).unwrap();
        assert!(bench.holds(to, 7));
        assert!(!bench.faults().is_empty());
        // And back to a table.
        let (domain, _table) = bench.domain_to(from);
        bench.vtd.attach(STREAM, identity).unwrap();
        bench.vtd.attach(STREAM, domain).unwrap();
        assert!(bench.reads(&bench.edu, AT, 6));
        assert!(bench.faults_at(from.raw()));
    });
}

#[test]
fn a_write_to_a_page_that_is_only_to_be_read_does_not_arrive() {
    on_all(|bench| {
        let (page, read_only) = (bench.page(8), bench.page(9));
        let (domain, mut table) = bench.domain_to(page);
        bench.map_as(&mut table, 0x3000_0000, read_only, 0x1000, Access::READ);
        bench.vtd.attach(STREAM, domain).unwrap();
        bench.edu.copy(Iova::new(AT), Iova::new(0x3000_0000), 4096).unwrap();
        assert!(bench.holds(read_only, 9));
        assert!(!bench.faults().is_empty());
        assert!(bench.reads(&bench.edu, 0x3000_0000, 9));
    });
}

#[test]
fn a_reset_of_the_machine_is_recovered_from() {
    on_all(|bench| {
        let page = bench.page(10);
        let (domain, _table) = bench.domain_to(page);
        bench.vtd.attach(STREAM, domain).unwrap();
        assert!(bench.reads(&bench.edu, AT, 10));
        // Without a reset first.
        bench.vtd.recover().unwrap();
        assert!(bench.reads(&bench.edu, AT, 10));
        bench.machine.reset().unwrap();
        (bench.edu, bench.other) = (bench.machine.edu(2).unwrap(), bench.machine.edu(3).unwrap());
        bench.vtd.recover().unwrap();
        assert!(bench.reads(&bench.edu, AT, 10));
        assert!(!bench.reads(&bench.other, AT, 10));
        assert!(!bench.faults().is_empty());
    });
}

#[test]
fn what_the_unit_tells_of_itself() {
    on_all(|bench| {
        let (cap, ecap) = (bench.vtd.capability(), bench.vtd.extended_capability());
        println!("{:?}: CAP {:#x} ECAP {:#x}", bench.variant, cap.into_bits(), ecap.into_bits());
        assert_eq!(bench.vtd.mode(), bench.variant.mode());
        assert!(ecap.qi() && ecap.ir() && ecap.pt() && cap.psi() && !cap.cm());
        assert_eq!((cap.fault_record_offset(0), cap.fault_records()), (0x220, 1));
        let Way::Tables(preferred) = bench.vtd.preferred() else { panic!("{:?}", bench.vtd.preferred()) };
        let first = matches!(preferred, TableFormat::VtdFirstStage { .. });
        assert_eq!(first, bench.variant.is_first_stage());
    });
}

#[test]
fn another_driver_takes_a_running_unit_over() {
    for variant in [Variant::Legacy, Variant::SecondStage] {
        on_qemu(variant, |bench| {
            let page = bench.page(11);
            let (domain, _table) = bench.domain_to(page);
            bench.vtd.attach(STREAM, domain).unwrap();
            assert!(bench.reads(&bench.edu, AT, 11));
            for mode in [variant.mode(), Mode::Legacy, variant.mode()] {
                let registers = bench.machine.iommu_registers().unwrap();
                bench.vtd =
                    Vtd::probe(registers, bench.ram.clone(), config(variant).with_mode(mode)).unwrap();
                assert!(bench.faults_at(AT), "nothing of the former driver's is left");
            }
        });
    }
}
