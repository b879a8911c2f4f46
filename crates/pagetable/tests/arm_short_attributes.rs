//! The short-descriptor format by hand: attributes, and what it cannot express.

mod support;

use support::Pool;
use support::model::{canonical, words};
use support::short::{Fixture, INNER};
use vcm::{
    Access, Attributes, CachePolicy, MemoryType, PhysicalAddress, Privilege, SIZE_1M, SIZE_4K, SIZE_16M,
    SIZE_64K, Security, Shareability, Span,
};
use vcm_pagetable::arm_short::{AccessModel, ArmShort, Config, Remap, Split};
use vcm_pagetable::{Gather, MapError, PageTable, ProtectError, Segment, UnmapError, Unrepresentable};

/// Every combination of attributes, at every page size: expressed exactly, or refused.
#[test]
fn all_attributes_are_expressed_or_refused() {
    let policies = [
        CachePolicy::NotCached,
        CachePolicy::WriteThrough,
        CachePolicy::WriteBackNoWriteAllocate,
        CachePolicy::WriteBackWriteAllocate,
    ];
    let types =
        policies.map(MemoryType::Normal).into_iter().chain([MemoryType::Device, MemoryType::StronglyOrdered]);
    let mut expressed = 0;
    for memory_type in types {
        for access in (0..8).map(Access::from_bits_truncate) {
            for (privilege, security) in [
                (Privilege::User, Security::NonSecure),
                (Privilege::User, Security::Secure),
                (Privilege::Supervisor, Security::NonSecure),
                (Privilege::Supervisor, Security::Secure),
            ] {
                for shareability in [Shareability::NonShareable, Shareability::Inner, Shareability::Outer] {
                    let attributes = Attributes { access, privilege, security, memory_type, shareability };
                    for remap in [Remap::INNER, Remap::OUTER] {
                        for access_model in [AccessModel::Full, AccessModel::AccessFlag] {
                            expressed += usize::from(express(attributes, remap, access_model));
                        }
                    }
                }
            }
        }
    }
    // 4 accesses, 4 kinds of user; 4 normal types with 2 shareabilities, 2 others with any; 2 remaps, 2 models.
    assert_eq!(expressed, 4 * 4 * (4 * 2 + 2 * 3) * 4);
}

fn express(attributes: Attributes, remap: Remap, access_model: AccessModel) -> bool {
    let mut fixture = Fixture::new(Config { split: Split::Whole, access_model, remap });
    let missing = if remap == Remap::INNER { Shareability::Outer } else { Shareability::Inner };
    let normal = matches!(attributes.memory_type, MemoryType::Normal(_));
    let refusal = match attributes.access {
        access if access.contains(Access::READ) => {
            (normal && attributes.shareability == missing).then_some(Unrepresentable::Shareability)
        }
        access if access.is_empty() => Some(Unrepresentable::NoAccess),
        Access::WRITE => Some(Unrepresentable::WriteOnly),
        _ => Some(Unrepresentable::ExecuteOnly),
    };
    for size in [SIZE_4K, SIZE_64K, SIZE_1M, SIZE_16M] {
        let (at, physical) = (0x400_0000 + 2 * size, 0x8000_0000 + 3 * size);
        let result = fixture.map_as(at, physical, size, attributes);
        if let Some(what) = refusal {
            assert_eq!(result, Err(MapError::Unrepresentable { attributes, what }));
            assert_eq!(fixture.memory.live(), 1);
        } else {
            result.unwrap();
            let walked = fixture.walk(at + size - 1).unwrap();
            assert_eq!((walked.physical, walked.page), (physical + size - 1, size));
            assert_eq!(words(walked), canonical(attributes));
            let translation = fixture.table.translate(&fixture.memory, at).unwrap();
            assert_eq!(translation.attributes, canonical(attributes));
            fixture.unmap(at, size).unwrap().finish(&mut fixture.memory);
        }
    }
    refusal.is_none()
}

#[test]
fn the_two_worlds_do_not_share_a_level_2_table() {
    let secure = INNER.with_security(Security::Secure);
    let mut fixture = Fixture::new(Config::default());
    fixture.map_as(0x10_0000, 0x4000_0000, SIZE_4K, secure).unwrap();
    let before = fixture.memory.clone();
    let refused = MapError::MixedSecurity { at: 0x10_0000 };
    assert_eq!(fixture.map(0x10_1000, 0x4000_1000, SIZE_4K), Err(refused));
    assert_eq!(fixture.map(0x1f_f000, 0x4010_0000, 2 * SIZE_4K), Err(refused));
    assert_eq!(fixture.memory, before);
    // Sections have a bit each, and the next table is another.
    fixture.map(0x20_0000, 0x4000_1000, SIZE_4K).unwrap();
    fixture.map_as(0x30_0000, 0x4010_0000, SIZE_1M, secure).unwrap();
    fixture.map(0x40_0000, 0x4020_0000, SIZE_1M).unwrap();
    assert_eq!(words(fixture.walk(0x10_0000).unwrap()).security, Security::Secure);
    assert_eq!(words(fixture.walk(0x20_0000).unwrap()).security, Security::NonSecure);

    // A section may change worlds whole, part of it may not; nor a page, since its table has the bit.
    let before = fixture.memory.clone();
    let mut gather = Gather::new();
    for (at, len, blamed) in
        [(0x30_0000, SIZE_4K, 0x30_0000), (0x30_f000, SIZE_64K, 0x30_0000), (0x10_0000, SIZE_4K, 0x10_0000)]
    {
        let span = Span::new(at, len).unwrap();
        let refused = fixture.table.protect(&mut fixture.memory, span, INNER, &mut gather);
        assert_eq!(refused, Err(ProtectError::MixedSecurity { at: blamed }));
    }
    assert_eq!(fixture.memory, before);
    assert!(gather.is_empty());
    let section = Span::new(0x30_0000, SIZE_1M).unwrap();
    fixture.table.protect(&mut fixture.memory, section, INNER, &mut gather).unwrap();
    assert_eq!(words(fixture.walk(0x30_0000).unwrap()).security, Security::NonSecure);
}

#[test]
fn what_is_not_in_pages_or_not_expressible_is_refused() {
    let mut fixture = Fixture::new(Config::default());
    let before = fixture.memory.clone();
    for (at, physical, len) in [(0x800, 0, SIZE_4K), (0, 0x800, SIZE_4K), (0, 0, 0x800), (0, 0, SIZE_4K + 1)]
    {
        assert!(matches!(fixture.map(at, physical, len), Err(MapError::Misaligned { .. })));
    }
    assert_eq!(fixture.map(0x1000, 0, 0), Err(MapError::Empty { at: 0x1000 }));
    let none = fixture.table.map(&mut fixture.memory, 0, core::iter::empty(), INNER);
    assert_eq!(none, Err(MapError::Empty { at: 0 }));
    for (physical, len) in [(1 << 32, SIZE_4K), (0xffff_f000, 2 * SIZE_4K), (u64::MAX - 0xfff, SIZE_4K)] {
        assert!(matches!(fixture.map(0, physical, len), Err(MapError::PhysicalOutOfRange { .. })));
    }
    for (at, len) in
        [(1 << 32, SIZE_4K), (0xffff_f000, 2 * SIZE_4K), (u64::MAX - 0xfff, SIZE_4K), (0x1000, 1 << 32)]
    {
        let result = fixture.map(at, 0, len);
        assert!(
            matches!(result, Err(MapError::OutOfRange { .. } | MapError::PhysicalOutOfRange { .. })),
            "{result:?}"
        );
    }
    for (at, len) in [(0x800, 0x800), (0, 0x1800)] {
        assert!(matches!(fixture.unmap(at, len), Err(UnmapError::Misaligned { .. })));
    }
    assert!(matches!(fixture.unmap(0xffff_f000, 2 * SIZE_4K), Err(UnmapError::OutOfRange { .. })));
    // Lengths that wrap when they are added up.
    let huge = Segment { physical: PhysicalAddress::new(0), len: 1 << 32 };
    let many = core::iter::repeat_n(huge, 3);
    let wrapped = fixture.table.map(&mut fixture.memory, 0, many, INNER);
    assert!(matches!(wrapped, Err(MapError::OutOfRange { .. })), "{wrapped:?}");
    assert_eq!(fixture.memory, before);
}

#[test]
fn a_table_beyond_the_descriptors_reach_is_given_back() {
    let mut memory = Pool::<u32>::new(1 << 32);
    let error = PageTable::<ArmShort>::new(Config::default(), &mut memory).unwrap_err();
    assert!(matches!(error, MapError::Table(vcm_pagetable::TableError::Unreachable { .. })), "{error}");
    assert_eq!(memory.live(), 0);
}

/// Entries that somebody else wrote: what they permit, as far as `Attributes` has words for it.
#[test]
fn foreign_access_permissions_are_read_as_the_manual_says() {
    let expected = |model, ap| match (model, ap) {
        (_, 0b001) => (Access::READ_WRITE, Privilege::Supervisor),
        (_, 0b011) => (Access::READ_WRITE, Privilege::User),
        (_, 0b101) => (Access::READ, Privilege::Supervisor),
        (_, 0b111) | (AccessModel::Full, 0b010 | 0b110) => (Access::READ, Privilege::User),
        _ => (Access::empty(), Privilege::User),
    };
    for access_model in [AccessModel::Full, AccessModel::AccessFlag] {
        for ap in 0..8_u32 {
            let mut fixture = Fixture::new(Config { access_model, ..Config::default() });
            let section = 0x4000_0000 | (ap >> 2) << 15 | (ap & 3) << 10 | 1 << 4 | 0b10;
            fixture.memory.poke(fixture.table.root(), 5, section);
            let found = fixture.table.translate(&fixture.memory, 0x50_0000).unwrap().attributes;
            assert_eq!(
                (found.access, found.privilege),
                expected(access_model, ap),
                "{access_model:?} {ap:#b}"
            );
        }
    }
}
