//! Domains and requesters.

use crate::fake::{
    CAP, DEVICE, ECAP, Fake, NO_QUEUE, OTHER, READ_WRITE, SCALABLE, USER_PAGE, config, first_stage,
    second_stage,
};
use vcm_iommu::vtd::Mode;
use vcm_iommu::{
    DomainId, Feature, Invalidation, Iommu, IommuError, StreamId, TableFormat, Tables, Translation,
};

/// A kind of unit: what it reports, the mode, the stage and the bits of a page's entry.
type Kind = (u64, Mode, bool, u64);

/// Every way to translate by tables.
pub(crate) const KINDS: [Kind; 4] = [
    (NO_QUEUE, Mode::Legacy, false, READ_WRITE),
    (ECAP, Mode::Legacy, false, READ_WRITE),
    (SCALABLE, Mode::Scalable, false, READ_WRITE),
    (SCALABLE, Mode::Scalable, true, USER_PAGE),
];

pub(crate) fn stage(first: bool, root: u64) -> Translation {
    if first { first_stage(root, 4) } else { second_stage(root, 4) }
}

const SID: u16 = DEVICE.0 as u16;
const OTHER_SID: u16 = OTHER.0 as u16;

#[test]
fn a_requester_reaches_what_its_domain_maps_and_nothing_else() {
    for (ecap, mode, first, page) in KINDS {
        let fake = Fake::new(CAP, ecap);
        let mut vtd = fake.probe(config(mode));
        let root = fake.table();
        fake.map(root, 4, 0x4000_0000, 0x1234_5000, page);
        let domain = vtd.create_domain(stage(first, root)).unwrap();
        vtd.attach(DEVICE, domain).unwrap();
        assert_eq!(fake.read(SID, 0x4000_0123), Some(0x1234_5123), "{mode:?}");
        assert_eq!(fake.write(SID, 0x4000_0123), Some(0x1234_5123));
        assert_eq!(fake.read(SID, 0x4000_1000), None);
        assert_eq!(fake.read(OTHER_SID, 0x4000_0000), None);
        vtd.detach(DEVICE).unwrap();
        assert_eq!(fake.read(SID, 0x4000_0123), None);
        vtd.destroy_domain(domain).unwrap();
        assert_eq!(fake.get().unit.caches.len(), 0);
    }
}

#[test]
fn every_depth_of_table_is_programmed() {
    for (ecap, mode) in [(ECAP, Mode::Legacy), (SCALABLE, Mode::Scalable)] {
        for levels in 3..=5 {
            let fake = Fake::new(CAP, ecap);
            let mut vtd = fake.probe(config(mode));
            let (root, at) = (fake.table(), 1_u64 << (11 + 9 * levels));
            fake.map(root, levels, at, 0x7000, READ_WRITE);
            let domain = vtd.create_domain(second_stage(root, levels as u8)).unwrap();
            vtd.attach(DEVICE, domain).unwrap();
            assert_eq!(fake.read(SID, at), Some(0x7000), "{levels} levels");
            assert_eq!(fake.read(SID, at << 1), None);
        }
    }
    for levels in 4..=5 {
        let fake = Fake::new(CAP, SCALABLE);
        let mut vtd = fake.probe(config(Mode::Scalable));
        let (root, at) = (fake.table(), 1_u64 << (10 + 9 * levels));
        fake.map(root, levels, at, 0x7000, USER_PAGE);
        let domain = vtd.create_domain(first_stage(root, levels as u8)).unwrap();
        vtd.attach(DEVICE, domain).unwrap();
        assert_eq!(fake.read(SID, at), Some(0x7000), "{levels} levels");
        assert_eq!(fake.read(SID, at << 1), None);
    }
}

#[test]
fn identity_is_pass_through() {
    for (ecap, mode, ..) in KINDS {
        let fake = Fake::new(CAP, ecap);
        let mut vtd = fake.probe(config(mode));
        let domain = vtd.create_domain(Translation::Identity).unwrap();
        vtd.attach(DEVICE, domain).unwrap();
        assert_eq!(fake.write(SID, 0x1234_5678), Some(0x1234_5678));
        vtd.invalidate(domain, &Invalidation::Everything).unwrap();
        vtd.detach(DEVICE).unwrap();
        assert_eq!(fake.write(SID, 0x1234_5678), None);
        vtd.destroy_domain(domain).unwrap();
    }
}

#[test]
fn several_domains_and_several_requesters_in_one() {
    for (ecap, mode, first, page) in KINDS {
        let fake = Fake::new(CAP, ecap);
        let mut vtd = fake.probe(config(mode));
        let roots = [fake.table(), fake.table()];
        fake.map(roots[0], 4, 0x1000, 0xa000, page);
        fake.map(roots[1], 4, 0x1000, 0xb000, page);
        let domains = roots.map(|root| vtd.create_domain(stage(first, root)).unwrap());
        // Both halves of a bus, and another bus.
        let streams = [StreamId(0x00), StreamId(0x7f), StreamId(0x80), StreamId(0xff), StreamId(0xffff)];
        for (index, &stream) in streams.iter().enumerate() {
            vtd.attach(stream, domains[index % 2]).unwrap();
        }
        for (index, stream) in streams.iter().enumerate() {
            assert_eq!(fake.read(stream.0 as u16, 0x1000), Some([0xa000, 0xb000][index % 2]), "{stream}");
        }
        assert_eq!(
            vtd.destroy_domain(domains[1]),
            Err(IommuError::InUse { domain: domains[1], stream: StreamId(0x7f) })
        );
        for stream in streams {
            vtd.detach(stream).unwrap();
            assert_eq!(fake.read(stream.0 as u16, 0x1000), None);
        }
        for domain in domains {
            vtd.destroy_domain(domain).unwrap();
            vtd.destroy_domain(domain).unwrap();
            assert_eq!(vtd.attach(DEVICE, domain), Err(IommuError::UnknownDomain(domain)));
        }
        assert_eq!(fake.get().unit.caches.len(), 0);
    }
}

#[test]
fn a_requester_moves_from_one_domain_to_another() {
    for (ecap, mode, first, page) in KINDS {
        let fake = Fake::new(CAP, ecap);
        let mut vtd = fake.probe(config(mode));
        let (tables, root) = (fake.table(), fake.table());
        fake.map(tables, 4, 0x1000, 0xa000, page);
        fake.map(root, 4, 0x1000, 0xb000, page);
        let domains = [
            vtd.create_domain(stage(first, tables)).unwrap(),
            vtd.create_domain(stage(first, root)).unwrap(),
            vtd.create_domain(Translation::Identity).unwrap(),
        ];
        for step in [0, 1, 0, 2, 1, 1, 2, 0] {
            vtd.attach(DEVICE, domains[step]).unwrap();
            assert_eq!(fake.read(SID, 0x1000), Some([0xa000, 0xb000, 0x1000][step]));
        }
    }
}

#[test]
fn a_device_that_works_all_the_time_sees_whole_entries_only() {
    for (ecap, mode, first, page) in KINDS {
        let fake = Fake::new(CAP, ecap);
        let mut vtd = fake.probe(config(mode));
        let roots = [fake.table(), fake.table()];
        fake.map(roots[0], 4, 0x1000, 0xa000, page);
        fake.map(roots[1], 4, 0x1000, 0xb000, page);
        fake.get().traffic = vec![(SID, 0x1000)];
        let mut domains = roots.map(|root| vtd.create_domain(stage(first, root)).unwrap());
        for round in 0..4 {
            vtd.attach(DEVICE, domains[0]).unwrap();
            assert_eq!(fake.read(SID, 0x1000), Some(0xa000));
            fake.get().reached.clear();
            vtd.attach(DEVICE, domains[1]).unwrap();
            assert!(fake.get().reached.iter().all(|reached| [0xa000, 0xb000].contains(reached)));
            fake.get().reached.clear();
            vtd.attach(OTHER, domains[0]).unwrap();
            assert_eq!(fake.read(SID, 0x1000), Some(0xb000));
            assert!(!fake.get().reached.contains(&0xa000), "it was gone when the call returned");
            vtd.detach(OTHER).unwrap();
            vtd.detach(DEVICE).unwrap();
            fake.get().reached.clear();
            // Another one under the same number.
            vtd.destroy_domain(domains[1]).unwrap();
            fake.unmap(roots[1], 4, 0x1000, 0);
            fake.map(roots[1], 4, 0x1000, 0xc000 + round * 0x1000, page);
            domains[1] = vtd.create_domain(stage(first, roots[1])).unwrap();
            assert_eq!(fake.get().reached.iter().next(), None);
            vtd.attach(DEVICE, domains[1]).unwrap();
            assert_eq!(fake.read(SID, 0x1000), Some(0xc000 + round * 0x1000));
            fake.map(roots[1], 4, 0x1000, 0xb000, page);
            vtd.invalidate(domains[1], &Invalidation::Everything).unwrap();
            vtd.detach(DEVICE).unwrap();
        }
    }
}

#[test]
fn domain_ids_are_taken_once_and_come_back_clean() {
    for (ecap, mode, first, page) in KINDS {
        // ND = 0: 16 ids, of which 0 is not used.
        let fake = Fake::new(CAP & !7, ecap);
        let mut vtd = fake.probe(config(mode));
        let mut made: Vec<DomainId> = Vec::new();
        for index in 0..15_u64 {
            let root = fake.table();
            fake.map(root, 4, 0x1000, 0x10_0000 + index * 0x1000, page);
            made.push(vtd.create_domain(stage(first, root)).unwrap());
            vtd.attach(StreamId(index as u32), made[index as usize]).unwrap();
        }
        for index in 0..15_u16 {
            assert_eq!(fake.read(index, 0x1000), Some(0x10_0000 + u64::from(index) * 0x1000));
        }
        let (root, live) = (fake.table(), fake.get().memory.live() + 1);
        assert_eq!(vtd.create_domain(stage(first, root)), Err(IommuError::NoFreeSlot(15)));
        assert_eq!(fake.get().memory.live(), live - 1);
        fake.map(root, 4, 0x1000, 0xdead_0000, page);
        vtd.detach(StreamId(7)).unwrap();
        vtd.destroy_domain(made[7]).unwrap();
        let again = vtd.create_domain(stage(first, root)).unwrap();
        assert_ne!(again, made[7]);
        vtd.attach(StreamId(7), again).unwrap();
        assert_eq!(fake.read(7, 0x1000), Some(0xdead_0000));
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let fake = Fake::new(CAP, ECAP & !(1 << 6));
    let mut vtd = fake.probe(config(Mode::Legacy).with_host_bits(39));
    let root = fake.table();
    let not = |feature| Err(IommuError::NotSupported(feature));
    assert_eq!(vtd.create_domain(Translation::Identity), not(Feature::Identity));
    assert_eq!(vtd.create_domain(Translation::Requests), not(Feature::Requests));
    for format in [TableFormat::VtdFirstStage { levels: 4 }, TableFormat::ArmShort] {
        let tables = Tables { format, root: vcm::PhysicalAddress::new(root) };
        assert_eq!(vtd.create_domain(Translation::Tables(tables)), not(Feature::Format(format)));
        assert_eq!(
            vtd.create_domain(Translation::Nested { first: tables, second: tables }),
            not(Feature::Nested)
        );
    }
    for root in [0x1008, 1 << 39] {
        let error = IommuError::Root { root, align: 0x1000, limit: 1 << 39 };
        assert_eq!(vtd.create_domain(second_stage(root, 4)), Err(error));
    }
    let domain = vtd.create_domain(second_stage(root, 4)).unwrap();
    let (stream, last) = (StreamId(0x1_0000), StreamId(0xffff));
    assert_eq!(vtd.attach(stream, domain), Err(IommuError::StreamOutOfRange { stream, last }));
    assert_eq!(vtd.detach(stream), Ok(()));
    assert_eq!(vtd.detach(DEVICE), Ok(()));
}

#[test]
fn write_buffers_are_flushed_where_the_hardware_has_them() {
    for (rwbf, flushes) in [(0, 0), (1 << 4, 2)] {
        let fake = Fake::new(CAP | rwbf, ECAP);
        let mut vtd = fake.probe(config(Mode::Legacy));
        let domain = vtd.create_domain(Translation::Identity).unwrap();
        vtd.attach(DEVICE, domain).unwrap();
        vtd.flush_write_buffer().unwrap();
        assert_eq!(fake.get().unit.write_buffer_flushes, flushes);
    }
}
