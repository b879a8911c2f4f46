//! Bytes arrive where the tables say.

use crate::rig::transfers;
use crate::support::*;
use vcm::{Attributes, FaultAccess, PhysicalAddress};
use vcm_iommu::riscv::{Config, spec};
use vcm_iommu::{DomainId, Feature, Iommu, IommuError, TableFormat, Tables, Translation, Way};
use vcm_pagetable::PageTable;
use vcm_pagetable::riscv::FirstStage;
use vcm_qemu::IommuModel;

#[test]
fn the_hardware_is_what_it_says() {
    on_qemu(config(), |bench| {
        let has = bench.iommu.capabilities();
        assert_eq!((has.version(), has.igs()), (0x10, spec::IGS_BOTH));
        assert!(has.sv57() && has.sv57x4() && has.msi_flat() && has.dbg() && !has.s() && !has.nl());
        // Extended contexts: 15 bits for two levels.
        assert_eq!(bench.iommu.directory_levels(), 3);
        assert_eq!(bench.iommu.preferred(), Way::Tables(TableFormat::RiscvFirstStage { levels: 4 }));
        let no = bench.iommu.create_domain(Translation::Requests);
        assert_eq!(no, Err(IommuError::NotSupported(Feature::Requests)));
    });
}

#[test]
fn an_iommu_that_is_a_pci_function_is_driven_alike() {
    on_model(IommuModel::RiscvPci, config(), |bench| {
        let page = bench.page();
        bench.put(page, 3);
        let (domain, mut table) = bench.domain_to(page);
        bench.iommu.attach(STREAM, domain).unwrap();
        assert!(bench.reads(&bench.edu, AT, 3));
        let gather = bench.unmap(&mut table, AT, 0x1000);
        bench.iommu.invalidate(domain, &(&gather).into()).unwrap();
        assert!(bench.faults_at(AT));
        bench.iommu.detach(STREAM).unwrap();
        assert!(bench.faults_at(OUT));
    });
}

#[test]
fn directories_of_one_two_and_three_levels() {
    for (device_id_bits, levels) in [(6, 1), (15, 2), (16, 3)] {
        on_qemu(Config { device_id_bits, ..config() }, |bench| {
            assert_eq!(bench.iommu.directory_levels(), levels);
            let page = bench.page();
            bench.put(page, 3);
            let (domain, _table) = bench.domain_to(page);
            bench.iommu.attach(STREAM, domain).unwrap();
            assert!(bench.reads(&bench.edu, AT, 3), "{levels} levels");
        });
    }
}

#[test]
fn first_stages_of_all_depths_and_pages_of_all_sizes() {
    on_qemu(config(), |bench| {
        let large = bench.ram.allocate(2 << 20, 2 << 20).unwrap();
        let inside = PhysicalAddress::new(large.raw() + 0x1f_e000);
        let page = bench.page();
        for levels in 3..=5 {
            let mut table = bench.first(levels);
            bench.map(&mut table, AT, page, 0x1000);
            bench.map(&mut table, OUT, bench.out, 0x1000);
            bench.map(&mut table, 0x4000_0000, large, 2 << 20);
            let domain = bench.domain(first_tables(&table));
            bench.iommu.attach(STREAM, domain).unwrap();
            let seed = u32::from(levels);
            bench.put(page, seed);
            bench.put(inside, seed + 10);
            assert!(bench.reads(&bench.edu, AT, seed), "{levels} levels");
            assert!(bench.reads(&bench.edu, 0x401f_e000, seed + 10), "{levels} levels");
            assert_eq!(bench.faults(), []);
        }
    });
}

#[test]
fn second_stages_of_all_depths() {
    on_qemu(config(), |bench| {
        let page = bench.page();
        for levels in 3..=5 {
            let mut table = bench.second(levels);
            // In the last quarter of the root, which the first stage does not have.
            let at = table.input_span().last() - 0xfff;
            bench.map(&mut table, at, page, 0x1000);
            bench.map(&mut table, OUT, bench.out, 0x1000);
            let domain = bench.iommu.create_domain(Translation::Tables(second_tables(&table))).unwrap();
            bench.iommu.attach(STREAM, domain).unwrap();
            let seed = u32::from(levels);
            bench.put(page, seed);
            assert!(bench.reads(&bench.edu, at, seed), "{levels} levels");
            assert_eq!(bench.faults(), []);
        }
    });
}

/// A guest whose memory is all RAM, with a table of its own for `AT` and `OUT`.
fn nested(bench: &mut Bench, page: PhysicalAddress) -> (DomainId, PageTable<FirstStage>) {
    let mut memory = GuestMemory(bench.ram.clone());
    let mut first = PageTable::<FirstStage>::new(first_config(3), &mut memory).unwrap();
    for (at, physical) in [(AT, page), (OUT, bench.out)] {
        map_in(&mut memory, &mut first, at, guest(physical), 0x1000, Attributes::READ_WRITE);
    }
    let mut second = bench.second(3);
    let ram = bench.ram.span();
    let physical = PhysicalAddress::new(ram.first());
    bench.map(&mut second, guest(physical).raw(), physical, ram.len() as u64);
    let translation = Translation::Nested { first: first_tables(&first), second: second_tables(&second) };
    (bench.iommu.create_domain(translation).unwrap(), first)
}

#[test]
fn two_stages_one_after_the_other() {
    on_qemu(config(), |bench| {
        let page = bench.page();
        bench.put(page, 5);
        let (domain, mut first) = nested(bench, page);
        bench.iommu.attach(STREAM, domain).unwrap();
        assert!(bench.reads(&bench.edu, AT, 5));
        assert_eq!(bench.faults(), []);
        // The guest unmaps; its addresses are what is invalidated.
        let mut gather = vcm_pagetable::Gather::new();
        let span = vcm::Span::new(AT, 0x1000).unwrap();
        first.unmap(&mut GuestMemory(bench.ram.clone()), span, &mut gather).unwrap();
        assert!(bench.reads(&bench.edu, AT, 5), "the translation is cached");
        bench.iommu.invalidate(domain, &(&gather).into()).unwrap();
        assert!(bench.faults_at(AT));
        bench.iommu.detach(STREAM).unwrap();
        bench.iommu.destroy_domain(domain).unwrap();
    });
}

#[test]
fn what_the_owner_of_a_guest_takes_away_is_gone_from_both_stages() {
    on_qemu(config(), |bench| {
        let page = bench.page();
        bench.put(page, 6);
        let (domain, _first) = nested(bench, page);
        bench.iommu.attach(STREAM, domain).unwrap();
        assert!(bench.reads(&bench.edu, AT, 6));
        // The root of the second stage is emptied behind everybody's back.
        let root = bench.iommu.memory_mut().clone();
        let context = context_of(bench, 0x10);
        let iohgatp = spec::Iohgatp::from_bits(read64(&root, context + spec::IOHGATP));
        root.write_bytes(PhysicalAddress::new(iohgatp.ppn() << 12), &[0; 0x4000]).unwrap();
        assert!(bench.reads(&bench.edu, AT, 6), "the translation is cached");
        bench.iommu.invalidate_second_stage(domain).unwrap();
        bench.edu.dma_to_device(vcm::Iova::new(AT), 0, 4).unwrap();
        let fault = bench.faults()[0];
        assert_eq!((fault.code, fault.address), (u32::from(spec::CAUSE_READ_GUEST_PAGE), AT));
    });
}

#[test]
fn identity_passes_and_caches_nothing() {
    on_qemu(config(), transfers::identity_passes_until_it_is_taken_away);
}

#[test]
fn domains_are_apart_and_streams_of_one_share_it() {
    on_qemu(config(), transfers::domains_are_apart_and_streams_of_one_share_it);
}

#[test]
fn the_hardware_tells_whether_an_address_leads_somewhere() {
    on_qemu(config(), |bench| {
        let page = bench.page();
        let (domain, _table) = bench.domain_to(page);
        let ask = |bench: &mut Bench, at| bench.iommu.translate(STREAM, at, FaultAccess::Read);
        assert_eq!(ask(bench, AT), Err(IommuError::NotAttached(STREAM)));
        bench.iommu.attach(STREAM, domain).unwrap();
        // Right, or what QEMU 10.0 makes of it: the page number 10 bits too low.
        let off = PhysicalAddress::new(page.raw() >> 10 & !0xfff | 0x10);
        let right = PhysicalAddress::new(page.raw() | 0x10);
        let answer = ask(bench, AT + 0x10).unwrap();
        assert!(answer == right || answer == off, "{answer}");
        assert_eq!(bench.faults(), []);
        assert_eq!(ask(bench, AT + 0x1000), Err(IommuError::NotMapped(AT + 0x1000)));
        assert_eq!(bench.faults()[0].address, AT + 0x1000);
    });
}

#[test]
fn roots_that_no_hardware_walks_are_refused() {
    on_qemu(config(), |bench| {
        let mut create = |format, root| {
            let root = PhysicalAddress::new(root);
            bench.iommu.create_domain(Translation::Tables(Tables { format, root })).map(drop)
        };
        let first = TableFormat::RiscvFirstStage { levels: 3 };
        let second = TableFormat::RiscvSecondStage { levels: 3 };
        assert!(matches!(create(first, 0x8000_0800), Err(IommuError::Root { align: 0x1000, .. })));
        assert!(matches!(create(second, 0x8000_1000), Err(IommuError::Root { align: 0x4000, .. })));
        assert!(matches!(create(first, 1 << 56), Err(IommuError::Root { .. })));
        let none = TableFormat::RiscvFirstStage { levels: 6 };
        assert_eq!(create(none, 0x8000_0000), Err(IommuError::NotSupported(Feature::Format(none))));
    });
}
