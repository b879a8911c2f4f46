//! Bytes arrive where they should, and nowhere else.

use crate::support::*;
use vcm::{Access, Iova, PhysicalAddress};
use vcm_iommu::vtd::{Mode, Vtd};
use vcm_iommu::{Iommu, IommuError, TableFormat, Translation, Way};

#[test]
fn bytes_arrive_through_pages_of_every_size() {
    on_all(|bench| {
        let (small, large) = (bench.filled(1), bench.ram.allocate(2 << 20, 2 << 20).unwrap());
        let (domain, mut table) = bench.domain_to(small);
        bench.iommu.attach(STREAM, domain).unwrap();
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
        let page = bench.filled(3);
        let (domain, _table) = bench.domain_to(page);
        assert!(bench.faults_at(AT));
        assert!(bench.faults_at(page.raw()), "not untranslated either");
        bench.iommu.attach(STREAM, domain).unwrap();
        assert!(bench.reads(&bench.edu, AT, 3));
        assert!(matches!(bench.iommu.destroy_domain(domain), Err(IommuError::InUse { .. })));
        bench.iommu.detach(STREAM).unwrap();
        assert!(bench.faults_at(AT));
        bench.iommu.destroy_domain(domain).unwrap();
    });
}

#[test]
fn two_domains_and_two_streams_in_one() {
    on_all(|bench| {
        let pages = [bench.filled(4), bench.filled(5)];
        let (first, _first_table) = bench.domain_to(pages[0]);
        let (second, _second_table) = bench.domain_to(pages[1]);
        bench.iommu.attach(STREAM, first).unwrap();
        bench.iommu.attach(OTHER_STREAM, second).unwrap();
        assert!(bench.reads(&bench.edu, AT, 4) && bench.reads(&bench.other, AT, 5));
        bench.iommu.attach(STREAM, second).unwrap();
        assert!(bench.reads(&bench.edu, AT, 5) && bench.reads(&bench.other, AT, 5));
        bench.iommu.attach(OTHER_STREAM, first).unwrap();
        assert!(bench.reads(&bench.edu, AT, 5) && bench.reads(&bench.other, AT, 4));
        bench.iommu.detach(OTHER_STREAM).unwrap();
        assert!(bench.reads(&bench.edu, AT, 5) && !bench.reads(&bench.other, AT, 4));
        bench.iommu.destroy_domain(first).unwrap();
    });
}

#[test]
fn identity_passes_everything() {
    on_all(|bench| {
        let (from, to) = (bench.filled(6), bench.filled(7));
        let identity = bench.iommu.create_domain(Translation::Identity).unwrap();
        bench.iommu.attach(STREAM, identity).unwrap();
        bench.edu.copy(Iova::new(from.raw()), Iova::new(to.raw()), 4096).unwrap();
        assert!(bench.holds(to, 6));
        assert_eq!(bench.faults(), []);
        bench.iommu.detach(STREAM).unwrap();
        bench.ram.write_bytes(to, &pattern(7)).unwrap();
        bench.edu.copy(Iova::new(from.raw()), Iova::new(to.raw()), 4096).unwrap();
        assert!(bench.holds(to, 7));
        assert!(!bench.faults().is_empty());
        // And back to a table.
        let (domain, _table) = bench.domain_to(from);
        bench.iommu.attach(STREAM, identity).unwrap();
        bench.iommu.attach(STREAM, domain).unwrap();
        assert!(bench.reads(&bench.edu, AT, 6));
        assert!(bench.faults_at(from.raw()));
    });
}

#[test]
fn a_write_to_a_page_that_is_only_to_be_read_does_not_arrive() {
    on_all(|bench| {
        let (page, read_only) = (bench.filled(8), bench.filled(9));
        let (domain, mut table) = bench.domain_to(page);
        bench.map_as(&mut table, 0x3000_0000, read_only, 0x1000, Access::READ);
        bench.iommu.attach(STREAM, domain).unwrap();
        bench.edu.copy(Iova::new(AT), Iova::new(0x3000_0000), 4096).unwrap();
        assert!(bench.holds(read_only, 9));
        assert!(!bench.faults().is_empty());
        assert!(bench.reads(&bench.edu, 0x3000_0000, 9));
    });
}

#[test]
fn a_reset_of_the_machine_is_recovered_from() {
    on_all(|bench| {
        let page = bench.filled(10);
        let (domain, _table) = bench.domain_to(page);
        bench.iommu.attach(STREAM, domain).unwrap();
        assert!(bench.reads(&bench.edu, AT, 10));
        // Without a reset first.
        bench.iommu.recover().unwrap();
        assert!(bench.reads(&bench.edu, AT, 10));
        bench.machine.reset().unwrap();
        (bench.edu, bench.other) = (bench.machine.edu(2).unwrap(), bench.machine.edu(3).unwrap());
        bench.iommu.recover().unwrap();
        assert!(bench.reads(&bench.edu, AT, 10));
        assert!(!bench.reads(&bench.other, AT, 10));
        assert!(!bench.faults().is_empty());
    });
}

#[test]
fn what_the_unit_tells_of_itself() {
    on_all(|bench| {
        let (cap, ecap) = (bench.iommu.capability(), bench.iommu.extended_capability());
        println!("{:?}: CAP {:#x} ECAP {:#x}", bench.model, cap.into_bits(), ecap.into_bits());
        assert_eq!(bench.iommu.mode(), bench.model.mode());
        assert!(ecap.qi() && ecap.ir() && ecap.pt() && cap.psi() && !cap.cm());
        assert_eq!((cap.fault_record_offset(0), cap.fault_records()), (0x220, 1));
        let Way::Tables(preferred) = bench.iommu.preferred() else { panic!("{:?}", bench.iommu.preferred()) };
        let first = matches!(preferred, TableFormat::VtdFirstStage { .. });
        assert_eq!(first, bench.model.is_first_stage());
    });
}

#[test]
fn another_driver_takes_a_running_unit_over() {
    for variant in [Variant::Legacy, Variant::SecondStage] {
        on_qemu(variant, |bench| {
            let page = bench.filled(11);
            let (domain, _table) = bench.domain_to(page);
            bench.iommu.attach(STREAM, domain).unwrap();
            assert!(bench.reads(&bench.edu, AT, 11));
            for mode in [variant.mode(), Mode::Legacy, variant.mode()] {
                let registers = bench.machine.iommu_registers().unwrap();
                bench.iommu =
                    Vtd::probe(registers, bench.ram.clone(), config(variant).with_mode(mode)).unwrap();
                assert!(bench.faults_at(AT), "nothing of the former driver's is left");
            }
        });
    }
}
