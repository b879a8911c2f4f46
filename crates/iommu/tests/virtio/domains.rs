//! Mapping, attaching, and what is refused.

use crate::bench::{Fake, OTHER, STREAM, requests};
use crate::fake::Trick;
use vcm::{
    Access, Attributes, CachePolicy, MemoryType, PhysicalAddress, Privilege, Security, Shareability, Span,
};
use vcm_iommu::virtio::ReservedKind;
use vcm_iommu::{Feature, Invalidation, Iommu, IommuError, StreamId, Translation};
use vcm_pagetable::Segment;

const RW: Attributes = Attributes::READ_WRITE;
const ATTACH: u8 = 1;
const DETACH: u8 = 2;
const MAP: u8 = 3;
const UNMAP: u8 = 4;

fn segment(physical: u64, len: u64) -> Segment {
    Segment { physical: PhysicalAddress::new(physical), len }
}

fn span(first: u64, len: u64) -> Span {
    Span::new(first, len).unwrap()
}

#[test]
fn a_domain_is_brought_along_by_its_first_stream() {
    let fake = Fake::new();
    let mut driver = fake.driver();
    let domain = requests(&mut driver);
    driver.map(domain, 0x9000, segment(0x1_0000, 0x1000), RW).unwrap();
    driver.map(domain, 0x2000, segment(0x2_0000, 0x3000), RW.with_access(Access::READ)).unwrap();
    assert_eq!(fake.log(), [0_u8; 0], "the device knows no domain yet");
    driver.attach(STREAM, domain).unwrap();
    let both = vec![(0x2000, 0x4fff, 0x2_0000, 1), (0x9000, 0x9fff, 0x1_0000, 3)];
    assert_eq!(fake.mapped(8), Some(both.clone()));
    assert_eq!(fake.log(), [UNMAP, ATTACH, MAP, MAP]);
    driver.attach(OTHER, domain).unwrap();
    driver.attach(OTHER, domain).unwrap();
    assert_eq!(fake.log(), [ATTACH]);
    driver.detach(STREAM).unwrap();
    driver.detach(STREAM).unwrap();
    driver.detach(OTHER).unwrap();
    assert_eq!(fake.log(), [DETACH, DETACH]);
    assert!(fake.device().iommu.domains.is_empty());
    // Changed while the device knows nothing of it.
    driver.unmap(domain, span(0x9000, 0x1000)).unwrap();
    driver.map(domain, 0x5000, segment(0x3_0000, 0x1000), RW).unwrap();
    assert_eq!(fake.log(), [0_u8; 0]);
    driver.attach(OTHER, domain).unwrap();
    assert_eq!(fake.mapped(16), Some(vec![both[0], (0x5000, 0x5fff, 0x3_0000, 3)]));
    driver.invalidate(domain, &Invalidation::Everything).unwrap();
}

#[test]
fn segments_go_in_as_few_notifications_as_can_be() {
    let fake = Fake::new();
    let mut driver = fake.driver();
    let domain = requests(&mut driver);
    driver.attach(STREAM, domain).unwrap();
    fake.device().notifications = 0;
    let segments: Vec<_> = (0..65).map(|page| segment(0x100_0000 - page * 0x2000, 0x1000)).collect();
    driver.map_segments(domain, 0x10_0000, &segments, RW).unwrap();
    assert_eq!(fake.device().notifications, 3, "32, 32 and 1");
    assert_eq!(fake.mapped(8).unwrap().len(), 65);
    driver.unmap(domain, span(0, 1 << 40)).unwrap();
    assert_eq!(fake.device().notifications, 4, "one for all");
    assert_eq!(fake.mapped(8).unwrap(), []);
    driver.map_segments(domain, 0x10_0000, &[], RW).unwrap();
}

#[test]
fn what_cannot_be_mapped_is_refused_before_the_device_hears_of_it() {
    let fake = Fake::new();
    let mut driver = fake.driver();
    let domain = requests(&mut driver);
    driver.attach(STREAM, domain).unwrap();
    driver.map(domain, 0x5000, segment(0, 0x3000), RW).unwrap();
    fake.log();
    let top = 0xffff_ffff_f000;
    for (at, physical, len) in [
        (0x1800, 0, 0x1000),
        (0x2000, 0x800, 0x1000),
        (0x2000, 0, 0x1800),
        (0x2000, 0, 0),
        (0, 0, 0x1000),
        (top, 0, 0x2000),
        (u64::MAX - 0xfff, 0, 0x1000),
        (u64::MAX - 0xfff, 0, 0x2000),
        (0x2000, u64::MAX - 0xfff, 0x2000),
    ] {
        let error = driver.map(domain, at, segment(physical, len), RW);
        assert_eq!(error, Err(IommuError::Address { at, len }), "{at:#x} {physical:#x} {len:#x}");
    }
    driver.map(domain, top, segment(0, 0x1000), RW).unwrap();
    // In the second of two segments.
    let error = driver.map_segments(domain, 0x1_0000, &[segment(0, 0x1000), segment(1, 0x1000)], RW);
    assert_eq!(error, Err(IommuError::Address { at: 0x1_1000, len: 0x1000 }));
    for (at, len, occupied) in [(0x5000, 0x1000, 0x5000), (0x4000, 0x2000, 0x5000), (0x7000, 0x5000, 0x7000)]
    {
        assert_eq!(driver.map(domain, at, segment(0, len), RW), Err(IommuError::Occupied(occupied)));
    }
    for (first, len) in [(0x5000, 0x1000), (0x6000, 0x1000), (0x7000, 0x1000), (0, 0x6000)] {
        let error = driver.unmap(domain, span(first, len));
        assert_eq!(error, Err(IommuError::Address { at: 0x5000, len: 0x3000 }));
    }
    driver.unmap(domain, span(0x8000, 0x1000)).unwrap();
    assert_eq!(fake.log(), [MAP]);
}

#[test]
fn attributes_become_flags_or_are_refused() {
    let fake = Fake::new();
    let mut driver = fake.driver();
    let domain = requests(&mut driver);
    driver.attach(STREAM, domain).unwrap();
    let device = RW.with_memory_type(MemoryType::Device);
    for (attributes, flags) in [
        (RW, 3),
        (RW.with_access(Access::READ), 1),
        (RW.with_access(Access::WRITE), 2),
        (device, 7),
        (device.with_access(Access::READ).with_shareability(Shareability::NonShareable), 5),
    ] {
        driver.map(domain, 0x5000, segment(0, 0x1000), attributes).unwrap();
        assert_eq!(fake.mapped(8).unwrap(), [(0x5000, 0x5fff, 0, flags)]);
        driver.unmap(domain, span(0x5000, 0x1000)).unwrap();
    }
    let refused = [
        RW.with_access(Access::empty()),
        RW.with_access(Access::all()),
        RW.with_access(Access::EXECUTE),
        RW.with_privilege(Privilege::Supervisor),
        RW.with_security(Security::Secure),
        RW.with_shareability(Shareability::Inner),
        RW.with_memory_type(MemoryType::StronglyOrdered),
        RW.with_memory_type(MemoryType::Normal(CachePolicy::NotCached)),
        RW.with_memory_type(MemoryType::Normal(CachePolicy::WriteThrough)),
    ];
    for attributes in refused {
        let error = driver.map(domain, 0x5000, segment(0, 0x1000), attributes);
        assert_eq!(error, Err(IommuError::Attributes), "{attributes}");
    }
    // Without the MMIO feature.
    let fake = Fake::new();
    fake.device().offered &= !(1 << 5);
    let mut driver = fake.driver();
    let domain = requests(&mut driver);
    assert_eq!(driver.map(domain, 0x5000, segment(0, 0x1000), device), Err(IommuError::Attributes));
}

#[test]
fn a_refused_mapping_is_undone_whole() {
    for (status, expected) in [
        (2, IommuError::Attributes),
        (4, IommuError::Occupied(0x1_2000)),
        (5, IommuError::Address { at: 0x1_2000, len: 0x1000 }),
        (7, IommuError::Address { at: 0x1_2000, len: 0x1000 }),
        (8, IommuError::OutOfMemory),
    ] {
        let fake = Fake::new();
        let mut driver = fake.driver();
        let domain = requests(&mut driver);
        driver.attach(STREAM, domain).unwrap();
        driver.map(domain, 0x9000, segment(0, 0x1000), RW).unwrap();
        let before = fake.mapped(8);
        fake.play([Trick::Honest, Trick::Honest, Trick::Status(status), Trick::Honest, Trick::Status(3)]);
        let segments = [segment(0, 0x1000); 5];
        assert_eq!(driver.map_segments(domain, 0x1_0000, &segments, RW), Err(expected));
        assert_eq!(fake.mapped(8), before, "status {status}");
        driver.map_segments(domain, 0x1_0000, &segments, RW).unwrap();
    }
    // The device's own failures are no answer.
    for status in [1, 3, 6, 9, 0xff] {
        let fake = Fake::new();
        let mut driver = fake.driver();
        let domain = requests(&mut driver);
        driver.attach(STREAM, domain).unwrap();
        fake.play([Trick::Status(status)]);
        let error = driver.map(domain, 0x1_0000, segment(0, 0x1000), RW);
        assert!(matches!(error, Err(IommuError::Unresponsive(_))), "status {status}");
        driver.map(domain, 0x1_0000, segment(0, 0x1000), RW).unwrap();
    }
}

#[test]
fn a_refused_stream_stays_where_it_was() {
    for (status, unresponsive) in [(2, false), (6, false), (8, false), (3, true), (4, true)] {
        let fake = Fake::new();
        let mut driver = fake.driver();
        let (old, new) = (requests(&mut driver), requests(&mut driver));
        driver.map(old, 0x5000, segment(0x7000, 0x1000), RW).unwrap();
        driver.attach(STREAM, old).unwrap();
        let before = fake.mapped(8);
        // It is detached, the other domain is swept, and then it cannot be attached.
        fake.play([Trick::Honest, Trick::Honest, Trick::Status(status)]);
        let error = driver.attach(STREAM, new).unwrap_err();
        assert_eq!(matches!(error, IommuError::Unresponsive(_)), unresponsive, "{error}");
        if unresponsive {
            assert_eq!((driver.domain_of(STREAM), fake.mapped(8)), (None, None), "blocked");
        } else {
            assert_eq!((driver.domain_of(STREAM), fake.mapped(8)), (Some(old), before));
        }
        driver.attach(STREAM, new).unwrap();
        driver.destroy_domain(old).unwrap();
    }
    // A stream that the device does not know.
    let fake = Fake::new();
    let mut driver = fake.driver();
    let domain = requests(&mut driver);
    let unknown = StreamId(0x99);
    assert_eq!(driver.attach(unknown, domain), Err(IommuError::NotAttached(unknown)));
    driver.detach(unknown).unwrap();
    driver.destroy_domain(domain).unwrap();
}

#[test]
fn mappings_that_the_device_refuses_leave_the_stream_out() {
    let fake = Fake::new();
    let mut driver = fake.driver();
    let domain = requests(&mut driver);
    driver.map_segments(domain, 0x5000, &[segment(0x7000, 0x1000); 3], RW).unwrap();
    fake.play([Trick::Honest, Trick::Honest, Trick::Honest, Trick::Status(8)]);
    assert_eq!(driver.attach(STREAM, domain), Err(IommuError::OutOfMemory));
    assert_eq!((driver.domain_of(STREAM), fake.mapped(8)), (None, None));
    assert!(fake.device().iommu.domains.is_empty());
    driver.attach(STREAM, domain).unwrap();
    assert_eq!(fake.mapped(8).unwrap().len(), 3);
}

#[test]
fn what_a_domain_is_for_is_kept() {
    let fake = Fake::new();
    let mut driver = fake.driver();
    let identity = driver.create_domain(Translation::Identity).unwrap();
    let error = Err(IommuError::NotSupported(Feature::Requests));
    assert_eq!(driver.map(identity, 0x5000, segment(0, 0x1000), RW), error);
    assert_eq!(driver.unmap(identity, span(0x5000, 0x1000)), error);
    driver.attach(STREAM, identity).unwrap();
    driver.attach(OTHER, identity).unwrap();
    assert!(fake.device().iommu.domains.values().all(|domain| domain.bypass));
    assert_eq!(driver.destroy_domain(identity), Err(IommuError::InUse { domain: identity, stream: STREAM }));
    let mapped = requests(&mut driver);
    driver.attach(STREAM, mapped).unwrap();
    assert_eq!((driver.domain_of(STREAM), driver.domain_of(OTHER)), (Some(mapped), Some(identity)));
}

#[test]
fn a_stream_has_reserved_addresses() {
    let fake = Fake::new();
    let mut driver = fake.driver();
    let mut properties = vec![1, 0, 20, 0, 1, 0, 0, 0];
    properties.extend(0xfee0_0000_u64.to_le_bytes());
    properties.extend(0xfeef_ffff_u64.to_le_bytes());
    fake.device().iommu.properties = properties;
    let reserved = driver.reserved(STREAM).unwrap();
    assert_eq!((reserved.len(), reserved[0].kind), (1, ReservedKind::Messages));
    assert_eq!(reserved[0].span, span(0xfee0_0000, 0x10_0000));
    assert_eq!(driver.reserved(StreamId(1)).unwrap_err(), IommuError::NotAttached(StreamId(1)));
    // All 256 bytes are one property of a kind that nobody knows.
    fake.device().iommu.properties = vec![9, 0, 252, 0];
    assert!(driver.reserved(STREAM).unwrap().is_empty());
    fake.play([Trick::Len(100), Trick::Len(0)]);
    assert!(matches!(driver.reserved(STREAM), Err(IommuError::Unresponsive(_))));
    assert!(matches!(driver.reserved(STREAM), Err(IommuError::Unresponsive(_))));
    assert!(driver.reserved(STREAM).unwrap().is_empty());
}
