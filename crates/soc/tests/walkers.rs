//! The hardware's walkers against the tables that the page-table crate writes.

use proptest::prelude::*;
use std::collections::BTreeMap;
use vcm::{
    Access as Rights, Attributes, CachePolicy, Format, Hardware, MemoryType, Part, PhysicalAddress,
    Privilege, RegionKind, Segment, Segments, Shareability, SpaceHandle, Span,
};
use vcm_platform::Platform;
use vcm_platform::topology::{Topology, shipped};
use vcm_soc::Soc;
use vcm_soc::hardware::{Access, Board, Mmu, Options, ProcessorId, Trail};
use vcm_soc::hardware::{short_descriptor, stage2};

/// A mapping asked for: pages of 4K from `at` on, to `physical`, counted in pages.
#[derive(Clone, Copy, Debug)]
struct Mapping {
    at: u64,
    physical: u64,
    pages: u64,
    attributes: Attributes,
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let access = prop_oneof![
        Just(Rights::READ),
        Just(Rights::READ_WRITE),
        Just(Rights::READ | Rights::EXECUTE),
        Just(Rights::all()),
    ];
    let memory_type = prop_oneof![
        Just(MemoryType::Normal(CachePolicy::NotCached)),
        Just(MemoryType::Normal(CachePolicy::WriteThrough)),
        Just(MemoryType::Normal(CachePolicy::WriteBackWriteAllocate)),
        Just(MemoryType::Normal(CachePolicy::WriteBackNoWriteAllocate)),
        Just(MemoryType::Device),
        Just(MemoryType::StronglyOrdered),
    ];
    let shareability = prop_oneof![Just(Shareability::NonShareable), Just(Shareability::Outer)];
    let privilege = prop_oneof![Just(Privilege::User), Just(Privilege::Supervisor)];
    (access, memory_type, shareability, privilege).prop_map(
        |(access, memory_type, shareability, privilege)| {
            Attributes::READ_WRITE
                .with_access(access)
                .with_memory_type(memory_type)
                .with_shareability(shareability)
                .with_privilege(privilege)
        },
    )
}

fn mapping() -> impl Strategy<Value = Mapping> {
    // Often aligned for large pages, and long enough for them.
    let alignment = prop_oneof![Just(1_u64), Just(16), Just(256), Just(4096)];
    (0_u64..0x8000, 0_u64..0x8000, 1_u64..0x1800, alignment, attributes()).prop_map(
        |(at, physical, pages, alignment, attributes)| Mapping {
            at: 0x4_0000 + at / alignment * alignment,
            physical: 0x8_0000 + physical / alignment * alignment,
            pages,
            attributes,
        },
    )
}

/// What the hardware finds at an address: where it leads, the page's size, and what it says about the memory.
type Seen = (u64, u64, vcm_soc::hardware::Rights, MemoryType, Trail);

fn look(board: &Board, processor: ProcessorId, address: u64) -> Option<Seen> {
    let memory = &board.bus().memory;
    match board.processor(processor).unwrap().mmu() {
        Mmu::Off => None,
        Mmu::Short(regime) => {
            let va = u32::try_from(address).ok()?;
            let leaf = short_descriptor::walk(memory, &regime, va).ok()?;
            assert!(leaf.not_global && leaf.non_secure);
            Some((
                leaf.physical(va),
                u64::from(leaf.size),
                leaf.rights,
                leaf.attributes.memory_type,
                leaf.trail,
            ))
        }
        Mmu::Stage2(stage2) => {
            let stage2::Stage2Leaf { size, pa, rights, attributes, trail, .. } =
                stage2.walk(memory, address).ok()?;
            Some((pa | address & (size - 1), size, rights, attributes.memory_type, trail))
        }
    }
}

struct Machine {
    soc: Soc,
    space: SpaceHandle,
    processor: ProcessorId,
    format: Format,
}

fn machine(kind: RegionKind) -> Machine {
    let topology = Topology::from_device_tree(shipped("two-banks").unwrap()).unwrap();
    let mut soc = Soc::new(&topology, &Options::default()).unwrap();
    let device = soc.devices().iter().find(|device| device.kind == kind).unwrap().handle;
    let format = soc.format(device, Part::Whole).unwrap();
    let space = soc.create_space(kind, format, format.addresses).unwrap();
    soc.attach(space, device, Part::Whole).unwrap();
    let processor = match kind {
        RegionKind::Guest => ProcessorId(1),
        _ => ProcessorId(2),
    };
    Machine { soc, space, processor, format }
}

fn check(kind: RegionKind, mappings: &[Mapping], holes: &[(u64, u64)], probes: &[u64]) {
    let Machine { mut soc, space, processor, format } = machine(kind);
    // Page by page: where it leads, and how.
    let mut model: BTreeMap<u64, (u64, Attributes)> = BTreeMap::new();
    for mapping in mappings {
        let Mapping { at, physical, pages, attributes } = *mapping;
        let blocks = [Segment { base: PhysicalAddress::new(physical << 12), len: pages << 12 }];
        let free = model.range(at..at + pages).next().is_none();
        let mapped = soc.map(space, at << 12, Segments::new(&blocks, 0, pages << 12), attributes);
        let expressible = kind != RegionKind::Guest
            || attributes.privilege == Privilege::User
                && attributes.memory_type != MemoryType::Normal(CachePolicy::WriteBackNoWriteAllocate);
        assert_eq!(mapped.is_ok(), free && expressible, "{mapping:x?}: {mapped:?}");
        if mapped.is_ok() {
            model.extend((0..pages).map(|page| (at + page, (physical + page, attributes))));
        }
    }
    for (at, pages) in holes {
        let span = Span::new((0x4_0000 + at) << 12, pages << 12).unwrap();
        let _ = soc.unmap(space, span).unwrap();
        model.retain(|page, _| !span.contains(page << 12));
    }
    let pages = model.keys().flat_map(|page| [page.wrapping_sub(1), *page, page + 1]);
    let probes = probes.iter().map(|probe| 0x4_0000 + probe);
    for page in pages.step_by(37).chain(probes) {
        let address = page << 12 | 0xabc;
        let seen = soc.with_board(|board| look(board, processor, address));
        let expected = model.get(&page).map(|(physical, _)| physical << 12 | 0xabc);
        assert_eq!(seen.map(|seen| seen.0), expected, "at {address:#x}");
        assert_eq!(soc.walk(space, address).map(PhysicalAddress::raw), expected);
        let Some((_, size, rights, memory_type, _)) = seen else { continue };
        let (_, attributes) = model[&page];
        assert!(format.page_sizes.contains(size));
        assert_eq!(memory_type, attributes.memory_type);
        for (access, needs) in [
            (Access::Read, Rights::READ),
            (Access::Write, Rights::WRITE),
            (Access::Fetch, Rights::READ | Rights::EXECUTE),
        ] {
            let allowed = attributes.access.contains(needs);
            assert_eq!(rights.permits(access, Privilege::Supervisor), allowed, "{access}");
            let user = allowed && attributes.privilege == Privilege::User;
            assert_eq!(rights.permits(access, Privilege::User), user, "{access}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn short_descriptors(
        mappings in prop::collection::vec(mapping(), 1..12),
        holes in prop::collection::vec((0_u64..0x8000, 1_u64..0x900), 0..4),
        probes in prop::collection::vec(0_u64..0x9800, 32),
    ) {
        check(RegionKind::Remote, &mappings, &holes, &probes);
    }

    #[test]
    fn stage_2(
        mappings in prop::collection::vec(mapping(), 1..12),
        holes in prop::collection::vec((0_u64..0x8000, 1_u64..0x900), 0..4),
        probes in prop::collection::vec(0_u64..0x9800, 32),
    ) {
        check(RegionKind::Guest, &mappings, &holes, &probes);
    }
}
