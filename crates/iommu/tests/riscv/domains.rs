//! Domains and streams, with all caches holding on to everything.

use crate::fake::{CAPABILITIES, Fake, STREAMS, config};
use crate::fake_rig::commands;
use vcm::{FaultAccess, PhysicalAddress, Span};
use vcm_iommu::riscv::{PAGEWISE_LIMIT, RiscvIommu};
use vcm_iommu::{DomainId, Invalidation, Iommu, IommuError, Reach, TableFormat, Tables, Translation};

pub(crate) const FIRST: TableFormat = TableFormat::RiscvFirstStage { levels: 3 };
const SECOND: TableFormat = TableFormat::RiscvSecondStage { levels: 3 };

pub(crate) fn tables(format: TableFormat, root: u64) -> Tables {
    Tables { format, root: PhysicalAddress::new(root) }
}

/// A domain whose page `page` leads to `to`.
pub(crate) fn domain(
    fake: &Fake,
    iommu: &mut RiscvIommu<Fake, Fake>,
    root: u64,
    page: u64,
    to: u64,
) -> DomainId {
    fake.device().tables.insert((root, page), to);
    iommu.create_domain(Translation::Tables(tables(FIRST, root))).unwrap()
}

const ROOT: u64 = 0x9000_0000;

#[test]
fn a_stream_goes_through_its_domain_or_nowhere() {
    for capabilities in [CAPABILITIES, CAPABILITIES & !(1 << 22)] {
        let fake = Fake::with(capabilities);
        fake.device().slowness = 2;
        let mut iommu = fake.probe(config());
        let one = domain(&fake, &mut iommu, ROOT, 5, 0x111);
        let two = domain(&fake, &mut iommu, ROOT + 0x1000, 5, 0x222);
        for _ in 0..3 {
            for stream in STREAMS {
                assert_eq!(fake.read_of(stream, 0x5008), Err(258));
                iommu.attach(stream, one).unwrap();
                assert_eq!(fake.read_of(stream, 0x5008), Ok(0x11_1008));
                iommu.attach(stream, two).unwrap();
                assert_eq!(fake.read_of(stream, 0x5008), Ok(0x22_2008));
                assert_eq!(iommu.destroy_domain(two), Err(IommuError::InUse { domain: two, stream }));
                iommu.detach(stream).unwrap();
            }
        }
        iommu.detach(STREAMS[0]).unwrap();
        iommu.destroy_domain(one).unwrap();
        iommu.destroy_domain(one).unwrap();
        assert_eq!(iommu.attach(STREAMS[0], one), Err(IommuError::UnknownDomain(one)));
        iommu.invalidate(one, &Invalidation::Everything).unwrap();
    }
}

#[test]
fn attaching_what_is_attached_asks_the_hardware_nothing() {
    commands::attaching_what_is_attached_asks_the_hardware_nothing::<Fake>();
}

#[test]
fn numbers_are_clean_when_they_are_used_again() {
    let fake = Fake::new();
    let mut iommu = fake.probe(config());
    for round in 0..5 {
        let root = ROOT + round * 0x4000;
        let first = domain(&fake, &mut iommu, root, 5, 0x100 + round);
        fake.device().tables.insert((root, 6), 0x200 + round);
        let second = iommu.create_domain(Translation::Tables(tables(SECOND, root))).unwrap();
        let both = iommu
            .create_domain(Translation::Nested { first: tables(FIRST, root), second: tables(SECOND, root) })
            .unwrap();
        fake.device().tables.insert((root, 0x100 + round), 0x300 + round);
        for (id, page, to) in [(first, 5, 0x100), (second, 6, 0x200), (both, 5, 0x300)] {
            iommu.attach(STREAMS[0], id).unwrap();
            assert_eq!(fake.read_of(STREAMS[0], page << 12), Ok((to + round) << 12));
        }
        iommu.detach(STREAMS[0]).unwrap();
        for id in [both, first, second] {
            iommu.destroy_domain(id).unwrap();
        }
        assert!(fake.device().translations.is_empty());
    }
}

/// A number that another driver has used, in the one cache that no command reaches as a whole.
#[test]
fn a_guest_number_is_clean_when_it_is_used_first() {
    let fake = Fake::new();
    let mut iommu = fake.probe(config());
    fake.device().translations.insert((Some(1), 1, 5), 0x666);
    let nested = Translation::Nested { first: tables(FIRST, ROOT), second: tables(SECOND, ROOT) };
    let id = iommu.create_domain(nested).unwrap();
    iommu.attach(STREAMS[0], id).unwrap();
    assert_eq!(fake.read_of(STREAMS[0], 0x5000), Err(13));
}

#[test]
fn invalidations_reach_what_they_name() {
    // Ranges and non-leaf entries, as far as there are such commands.
    for extensions in [0, 1 << 43, 1 << 42, 3 << 42] {
        let fake = Fake::with(CAPABILITIES | extensions);
        let mut iommu = fake.probe(config());
        let other = domain(&fake, &mut iommu, ROOT + 0x1000, 5, 0x111);
        iommu.attach(STREAMS[1], other).unwrap();
        let id = domain(&fake, &mut iommu, ROOT, 0, 0);
        iommu.attach(STREAMS[0], id).unwrap();
        for (page, pages) in [(0, 1), (1, 7), (3, 300), (0x1000, PAGEWISE_LIMIT), (5, PAGEWISE_LIMIT + 1)] {
            for reach in [Reach::Pages, Reach::Tables] {
                let touched = [page, page + pages / 2, page + pages - 1];
                for at in touched.into_iter().chain([page + pages]) {
                    fake.device().tables.insert((ROOT, at), at + 0x777);
                    fake.read_of(STREAMS[0], at << 12).unwrap();
                    fake.device().tables.remove(&(ROOT, at));
                }
                fake.read_of(STREAMS[1], 0x5000).unwrap();
                let spans = [Span::new(page << 12, pages << 12).unwrap()];
                let which = Invalidation::Addresses { spans: &spans, granule: 0x20_0000, reach };
                let before = fake.device().executed.len();
                iommu.invalidate(id, &which).unwrap();
                for at in touched {
                    assert!(fake.read_of(STREAMS[0], at << 12).is_err(), "{pages} pages from {page} on");
                }
                let commands = fake.device().executed.len() - before;
                if extensions & 1 << 43 != 0 && (reach == Reach::Pages || extensions & 1 << 42 != 0) {
                    assert!(commands < 40, "{commands} commands for {pages} pages");
                    assert!(fake.read_of(STREAMS[0], (page + pages) << 12).is_ok(), "and nothing else");
                }
                assert!(fake.device().translations.keys().any(|tag| tag.2 == 5 && tag.1 == 1));
            }
        }
        iommu.invalidate(id, &Invalidation::Everything).unwrap();
        let whole = [Span::ALL];
        let all = Invalidation::Addresses { spans: &whole, granule: 0x1000, reach: Reach::Pages };
        fake.device().tables.insert((ROOT, 9), 0x99);
        fake.read_of(STREAMS[0], 0x9000).unwrap();
        iommu.invalidate(id, &all).unwrap();
        assert_eq!(fake.device().translations.len(), 1);
        iommu
            .invalidate(id, &Invalidation::Addresses { spans: &[], granule: 0x1000, reach: Reach::Pages })
            .unwrap();
    }
}

#[test]
fn the_second_stage_of_a_guest_goes_with_its_contexts() {
    let fake = Fake::new();
    let mut iommu = fake.probe(config());
    fake.device().tables.extend([((ROOT, 5), 0x20), ((ROOT + 0x4000, 0x20), 0x30)]);
    let nested = Translation::Nested { first: tables(FIRST, ROOT), second: tables(SECOND, ROOT + 0x4000) };
    let id = iommu.create_domain(nested).unwrap();
    iommu.attach(STREAMS[0], id).unwrap();
    assert_eq!(fake.read_of(STREAMS[0], 0x5000), Ok(0x3_0000));
    assert_eq!(iommu.translate(STREAMS[0], 0x5123, FaultAccess::Read), Ok(PhysicalAddress::new(0x3_0123)));
    fake.device().tables.remove(&(ROOT + 0x4000, 0x20));
    iommu.invalidate_second_stage(id).unwrap();
    assert!(fake.device().contexts.is_empty());
    assert_eq!(fake.read_of(STREAMS[0], 0x5000), Err(21));
    assert_eq!(iommu.translate(STREAMS[0], 0x5123, FaultAccess::Write), Err(IommuError::NotMapped(0x5123)));
    // A first root must be among the addresses that the second stage has: 41 bits.
    let far = Translation::Nested { first: tables(FIRST, 1 << 41), second: tables(SECOND, ROOT) };
    assert!(matches!(iommu.create_domain(far), Err(IommuError::Root { limit: 0x200_0000_0000, .. })));
}

#[test]
fn all_numbers_taken() {
    let fake = Fake::new();
    let mut iommu = fake.probe(config());
    let second = Translation::Tables(tables(SECOND, ROOT));
    let mut first = None;
    for _ in 0..0xffff {
        first.get_or_insert(iommu.create_domain(second).unwrap());
    }
    assert_eq!(iommu.create_domain(second), Err(IommuError::NoFreeSlot(0xffff)));
    let nested = Translation::Nested { first: tables(FIRST, ROOT), second: tables(SECOND, ROOT) };
    assert_eq!(iommu.create_domain(nested), Err(IommuError::NoFreeSlot(0xffff)));
    iommu.destroy_domain(first.unwrap()).unwrap();
    let id = iommu.create_domain(nested).unwrap();
    assert_eq!(iommu.attach(STREAMS[0], id), Ok(()));
    // The number that the refused one had taken went back.
    let device = fake.device();
    let context = device.place(STREAMS[0].0).unwrap();
    assert_eq!(device.memory.word(context + 16) >> 12, 1);
}
