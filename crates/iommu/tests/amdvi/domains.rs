//! Domains and streams, with all caches holding on to everything.

use crate::fake::{Fake, Leads, Refused, STREAMS, config};
use crate::fake_rig::commands;
use vcm::{PhysicalAddress, Span};
use vcm_iommu::amdvi::{AmdVi, RANGES_LIMIT};
use vcm_iommu::{
    DomainId, Feature, Invalidation, Iommu, IommuError, Reach, TableFormat, Tables, Translation,
};

pub(crate) fn tables(root: u64) -> Tables {
    Tables { format: TableFormat::AmdV1 { levels: 3 }, root: PhysicalAddress::new(root) }
}

/// A domain whose page `page` leads to `to`.
pub(crate) fn domain(fake: &Fake, iommu: &mut AmdVi<Fake, Fake>, root: u64, page: u64, to: u64) -> DomainId {
    fake.device().tables.insert((root, page), Leads { to, access: 3 });
    iommu.create_domain(Translation::Tables(tables(root))).unwrap()
}

const ROOT: u64 = 0x9000_0000;

#[test]
fn a_stream_goes_through_its_domain_or_nowhere() {
    let fake = Fake::new();
    let mut iommu = fake.probe(config());
    let one = domain(&fake, &mut iommu, ROOT, 5, 0x111);
    let two = domain(&fake, &mut iommu, ROOT + 0x1000, 5, 0x222);
    let same = iommu.create_domain(Translation::Identity).unwrap();
    for _ in 0..3 {
        for stream in STREAMS {
            assert_eq!(fake.read_of(stream, 0x5008), Err(Refused::Permission));
            for (id, to) in [(one, 0x11_1008), (two, 0x22_2008), (same, 0x5008), (one, 0x11_1008)] {
                iommu.attach(stream, id).unwrap();
                assert_eq!(fake.read_of(stream, 0x5008), Ok(to));
                assert_eq!(iommu.destroy_domain(id), Err(IommuError::InUse { domain: id, stream }));
            }
            iommu.detach(stream).unwrap();
        }
    }
    iommu.detach(STREAMS[0]).unwrap();
    iommu.destroy_domain(one).unwrap();
    iommu.destroy_domain(one).unwrap();
    assert_eq!(iommu.attach(STREAMS[0], one), Err(IommuError::UnknownDomain(one)));
    iommu.invalidate(one, &Invalidation::Everything).unwrap();
    let nested = Translation::Nested { first: tables(ROOT), second: tables(ROOT) };
    assert_eq!(iommu.create_domain(nested), Err(IommuError::NotSupported(Feature::Nested)));
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
        let root = ROOT + round * 0x1000;
        let table = domain(&fake, &mut iommu, root, 5, 0x100 + round);
        let same = iommu.create_domain(Translation::Identity).unwrap();
        for (id, to) in [(table, (0x100 + round) << 12), (same, 0x5000)] {
            iommu.attach(STREAMS[0], id).unwrap();
            assert_eq!(fake.read_of(STREAMS[0], 0x5000), Ok(to));
        }
        iommu.detach(STREAMS[0]).unwrap();
        // In another order each time.
        for id in if round % 2 == 0 { [same, table] } else { [table, same] } {
            iommu.destroy_domain(id).unwrap();
        }
        assert!(fake.device().translations.is_empty());
    }
}

#[test]
fn invalidations_reach_what_they_name() {
    let fake = Fake::new();
    let mut iommu = fake.probe(config());
    let other = domain(&fake, &mut iommu, ROOT + 0x1000, 5, 0x111);
    iommu.attach(STREAMS[1], other).unwrap();
    fake.read_of(STREAMS[1], 0x5000).unwrap();
    let id = domain(&fake, &mut iommu, ROOT, 0, 0);
    iommu.attach(STREAMS[0], id).unwrap();
    for (page, pages) in [(0, 1), (1, 7), (3, 300), (0x1000, 0x8000), (0xfff_ffff, 3)] {
        for reach in [Reach::Pages, Reach::Tables] {
            let touched = [page, page + pages / 2, page + pages - 1];
            for at in touched.into_iter().chain([page + pages]) {
                fake.device().tables.insert((ROOT, at), Leads { to: at + 0x777, access: 1 });
                fake.read_of(STREAMS[0], at << 12).unwrap();
                fake.device().tables.remove(&(ROOT, at));
            }
            let spans = [Span::new(page << 12, pages << 12).unwrap()];
            let which = Invalidation::Addresses { spans: &spans, granule: 0x1000, reach };
            fake.device().executed.clear();
            iommu.invalidate(id, &which).unwrap();
            for at in touched {
                assert!(fake.read_of(STREAMS[0], at << 12).is_err(), "{pages} pages from {page} on");
            }
            assert!(fake.read_of(STREAMS[0], (page + pages) << 12).is_ok(), "and nothing else");
            let device = fake.device();
            assert!(device.executed.len() < 40);
            let deep = device.executed.iter().filter(|command| command.0 >> 60 == 3);
            assert!(deep.clone().all(|command| (command.1 & 2 != 0) == (reach == Reach::Tables)));
        }
    }
    // Too many, all at once, and none.
    let many: Vec<Span> = (0..RANGES_LIMIT).map(|index| Span::new(index << 13, 0x1000).unwrap()).collect();
    for spans in [&many[..], &[Span::ALL], &[]] {
        fake.device().tables.insert((ROOT, 4), Leads { to: 4, access: 1 });
        fake.read_of(STREAMS[0], 0x4000).unwrap();
        fake.device().executed.clear();
        let which = Invalidation::Addresses { spans, granule: 0x1000, reach: Reach::Pages };
        iommu.invalidate(id, &which).unwrap();
        assert_eq!(fake.device().executed.len(), 1 + usize::from(!spans.is_empty()));
        assert_eq!(fake.device().translations.contains_key(&(2, STREAMS[0].0, 4)), spans.is_empty());
    }
    iommu.invalidate(id, &Invalidation::Everything).unwrap();
    assert_eq!(fake.device().translations.len(), 1, "the other domain's");
}

#[test]
fn all_numbers_taken() {
    let fake = Fake::new();
    let mut iommu = fake.probe(config());
    let mut first = None;
    for _ in 0..0xffff {
        first.get_or_insert(iommu.create_domain(Translation::Identity).unwrap());
    }
    assert_eq!(iommu.create_domain(Translation::Identity), Err(IommuError::NoFreeSlot(0xffff)));
    iommu.destroy_domain(first.unwrap()).unwrap();
    iommu.create_domain(Translation::Identity).unwrap();
}
