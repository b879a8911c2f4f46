//! Address spaces of every format over an IOMMU that fails when told to, against a map of pages.

#[path = "space/fake.rs"]
mod fake;

use fake::{Afterwards, Fake, Memory};
use proptest::prelude::*;
use std::collections::BTreeMap;
use vcm::{
    Access, Attributes, FaultReason, HardwareErrorKind, PageSizes, PhysicalAddress, Segment, Segments, Span,
};
use vcm_iommu::{AddressSpace, StreamId, TableFormat, TableLimits, Way};
use vcm_pagetable::aarch64::Granule;

const PAGE: u64 = 0x1_0000;

fn formats() -> Vec<TableFormat> {
    let mut formats = vec![
        TableFormat::ArmShort,
        TableFormat::VtdFirstStage { levels: 4 },
        TableFormat::VtdFirstStage { levels: 5 },
    ];
    // 40 bits: two tables at level 1 of 4K, 16 tables at level 2 of 16K, one at level 2 of 64K.
    for (granule, start_level) in [(Granule::Size4K, 1), (Granule::Size16K, 2), (Granule::Size64K, 2)] {
        formats.push(TableFormat::Aarch64Stage1 { granule, input_bits: 48, output_bits: 44 });
        formats.push(TableFormat::Aarch64Stage2 { granule, input_bits: 40, output_bits: 44, start_level });
    }
    for levels in 3..=5 {
        formats.push(TableFormat::VtdSecondStage { levels });
        formats.push(TableFormat::RiscvFirstStage { levels });
        formats.push(TableFormat::RiscvSecondStage { levels });
    }
    formats.extend((3..=6).map(|levels| TableFormat::AmdV1 { levels }));
    formats
}

/// Every way to translate.
fn ways() -> Vec<Way> {
    let input = Span::inclusive(0, u32::MAX.into()).unwrap();
    let page_sizes = PageSizes::from_mask(!0xfff).unwrap();
    let mut ways: Vec<_> = formats().into_iter().map(Way::Tables).collect();
    ways.push(Way::Requests { page_sizes, input });
    ways
}

fn block(base: u64, len: u64) -> [Segment; 1] {
    [Segment { base: PhysicalAddress::new(base), len }]
}

fn span(first: u64, len: u64) -> Span {
    Span::new(first, len).unwrap()
}

/// A space with what it needs.
struct Rig {
    iommu: Fake,
    memory: Memory,
    space: AddressSpace,
}

impl Rig {
    fn new(way: Way) -> Self {
        let (mut iommu, mut memory) = (Fake::new(way), Memory::default());
        let space = AddressSpace::new(&mut iommu, &mut memory).unwrap();
        Self { iommu, memory, space }
    }

    fn map(&mut self, at: u64, base: u64, len: u64) -> Result<(), HardwareErrorKind> {
        let blocks = block(base, len);
        let segments = Segments::new(&blocks, 0, len);
        let mapped = self.space.map(&mut self.iommu, &mut self.memory, at, segments, Attributes::READ_WRITE);
        mapped.map_err(|error| error.kind)
    }

    fn unmap(&mut self, span: Span) -> Result<(), HardwareErrorKind> {
        self.space.unmap(&mut self.iommu, &mut self.memory, span).map_err(|error| error.kind)
    }

    /// Nothing is left of anything.
    fn end(mut self) {
        self.space.destroy(&mut self.iommu, &mut self.memory).map_err(|(_, error)| error).unwrap();
        assert_eq!(self.memory.tables(), 0, "tables are left");
        assert_eq!(self.iommu.domains(), 0, "a domain is left");
    }
}

#[test]
fn what_is_mapped_is_found_in_every_format() {
    for way in ways() {
        let mut rig = Rig::new(way);
        let format = AddressSpace::format(&rig.iommu, 7).unwrap();
        assert_eq!((format.id, format.addresses.first()), (7, 0), "{way:?}");
        let at = (format.addresses.last() - (8 * PAGE - 1)) & !(PAGE - 1);
        rig.map(at, 0x4000_0000, 3 * PAGE).unwrap();
        assert_eq!(rig.map(at + PAGE, 0x5000_0000, PAGE), Err(HardwareErrorKind::Occupied), "{way:?}");
        let leads = |rig: &Rig, at| rig.space.walk(&rig.memory, at).map(PhysicalAddress::raw);
        assert_eq!(leads(&rig, at + 2 * PAGE + 5), Some(0x4000_0000 + 2 * PAGE + 5), "{way:?}");
        assert_eq!(leads(&rig, at + 3 * PAGE), None, "{way:?}");
        let bytes: u64 =
            rig.space.leaves(&rig.memory, span(at, 8 * PAGE)).iter().map(|(size, n)| size * n).sum();
        assert_eq!(bytes, 3 * PAGE, "{way:?}");
        let reason = |at| rig.space.reason(&rig.memory, at, FaultReason::Permission);
        assert_eq!(reason(at), FaultReason::Permission);
        assert_eq!(reason(at + 3 * PAGE), FaultReason::Translation);
        assert_eq!(rig.space.reason(&rig.memory, at, FaultReason::Bus), FaultReason::Bus);
        rig.unmap(span(at, 8 * PAGE)).unwrap();
        assert_eq!(leads(&rig, at), None, "{way:?}");
        rig.end();
    }
}

/// Attributes that a format has no encoding for are refused by it, and nothing is mapped.
#[test]
fn attributes_are_expressed_or_refused() {
    for way in ways() {
        let mut rig = Rig::new(way);
        let blocks = block(0x4000_0000, PAGE);
        let secure = Attributes::READ_WRITE.with_security(vcm::Security::Secure);
        let segments = Segments::new(&blocks, 0, PAGE);
        let mapped = rig.space.map(&mut rig.iommu, &mut rig.memory, 0, segments.clone(), secure);
        match mapped {
            Ok(()) => {
                assert!(matches!(way, Way::Tables(TableFormat::ArmShort)), "{way:?} lets secure memory pass")
            }
            Err(error) => {
                assert_eq!(error.kind, HardwareErrorKind::Attributes, "{way:?}");
                let blamed = error.at.as_str() == "page table (secure memory)";
                assert_eq!(blamed, matches!(way, Way::Tables(_)), "{way:?}: {error}");
            }
        }
        rig.unmap(span(0, PAGE)).unwrap();
        let read_only = Attributes::READ_WRITE.with_access(Access::READ);
        rig.space.map(&mut rig.iommu, &mut rig.memory, 0, segments, read_only).unwrap();
        rig.end();
    }
}

/// An unmapping that the hardware did not acknowledge keeps its tables until it does.
#[test]
fn tables_wait_for_the_invalidation() {
    for way in ways() {
        let Way::Tables(_) = way else { continue };
        let mut rig = Rig::new(way);
        rig.map(0, 0x4000_0000, PAGE).unwrap();
        let before = rig.memory.tables();
        rig.iommu.fail_at(1);
        assert_eq!(rig.unmap(span(0, PAGE)), Err(HardwareErrorKind::Unresponsive), "{way:?}");
        assert_eq!(rig.memory.tables(), before, "{way:?} freed tables on hope");
        rig.iommu.repair();
        rig.unmap(span(0, PAGE)).unwrap();
        assert!(rig.memory.tables() < before, "{way:?}");
        assert!(rig.iommu.invalidated(rig.space.domain(), 0), "{way:?}");
        rig.end();
    }
}

/// What takes the place of something that caches may still hold would not be seen: the invalidation comes first.
#[test]
fn nothing_is_mapped_while_an_invalidation_is_due() {
    for way in ways() {
        let Way::Tables(_) = way else { continue };
        let mut rig = Rig::new(way);
        rig.map(0, 0x4000_0000, PAGE).unwrap();
        rig.iommu.fail_at(1);
        assert_eq!(rig.unmap(span(0, PAGE)), Err(HardwareErrorKind::Unresponsive), "{way:?}");
        assert_eq!(rig.map(0, 0x5000_0000, PAGE), Err(HardwareErrorKind::Unresponsive), "{way:?}");
        assert_eq!(rig.space.walk(&rig.memory, 0), None, "{way:?}");
        rig.iommu.repair();
        rig.map(0, 0x5000_0000, PAGE).unwrap();
        assert!(rig.iommu.invalidated(rig.space.domain(), 0), "{way:?}");
        rig.end();
    }
}

#[test]
fn a_space_that_cannot_be_destroyed_comes_back() {
    for way in ways() {
        let mut rig = Rig::new(way);
        for stream in [3, 9] {
            rig.space.attach(&mut rig.iommu, StreamId(stream)).unwrap();
        }
        rig.map(0, 0x4000_0000, PAGE).unwrap();
        let Rig { mut iommu, mut memory, mut space } = rig;
        // Two detachments and the domain.
        for step in 1..=3 {
            iommu.fail_at(step);
            let (back, error) = space.destroy(&mut iommu, &mut memory).unwrap_err();
            assert_eq!(error.kind, HardwareErrorKind::Unresponsive, "{way:?}");
            iommu.repair();
            space = back;
            // As before, but for those who are gone already.
            assert_eq!(space.walk(&memory, 5).map(PhysicalAddress::raw), Some(0x4000_0005), "{way:?}");
            for stream in [3, 9] {
                space.attach(&mut iommu, StreamId(stream)).unwrap();
            }
        }
        Rig { iommu, memory, space }.end();
    }
}

/// A mapping of several blocks of which the IOMMU refuses one is not there at all.
#[test]
fn requests_are_whole_or_not_at_all() {
    let way = *ways().last().unwrap();
    for step in 1..=3 {
        let mut rig = Rig::new(way);
        let blocks: Vec<Segment> = (0..3).map(|n| block(0x4000_0000 + n * 3 * PAGE, PAGE)[0]).collect();
        let segments = Segments::new(&blocks, 0, 3 * PAGE);
        rig.iommu.refuse_at(step);
        let mapped =
            rig.space.map(&mut rig.iommu, &mut rig.memory, 0, segments.clone(), Attributes::READ_WRITE);
        assert_eq!(mapped.unwrap_err().kind, HardwareErrorKind::OutOfMemory);
        for page in 0..3 {
            assert_eq!(rig.space.walk(&rig.memory, page * PAGE), None);
        }
        rig.space.map(&mut rig.iommu, &mut rig.memory, 0, segments, Attributes::READ_WRITE).unwrap();
        assert_eq!(rig.space.leaves(&rig.memory, span(0, 3 * PAGE)).total(), 3);
        rig.end();
    }
}

/// A mapping whose answer is lost may be there: it is taken back, or the error says so and it is unmapped later.
#[test]
fn requests_that_are_not_answered_are_not_forgotten() {
    let way = *ways().last().unwrap();
    for (step, afterwards) in
        (1..=3).flat_map(|step| [(step, Afterwards::Answers), (step, Afterwards::Silent)])
    {
        let mut rig = Rig::new(way);
        let blocks: Vec<Segment> = (0..3).map(|n| block(0x4000_0000 + n * 3 * PAGE, PAGE)[0]).collect();
        let segments = Segments::new(&blocks, 0, 3 * PAGE);
        rig.iommu.lose_at(step, afterwards);
        let mapped =
            rig.space.map(&mut rig.iommu, &mut rig.memory, PAGE, segments.clone(), Attributes::READ_WRITE);
        let there = rig.iommu.mapped(rig.space.domain());
        match afterwards {
            Afterwards::Answers => {
                assert_eq!(mapped.unwrap_err().kind, HardwareErrorKind::Unresponsive);
                assert_eq!(there, 0, "mapping {step} is left");
            }
            Afterwards::Silent => {
                assert_eq!(mapped.unwrap_err().kind, HardwareErrorKind::HalfDone);
                assert_eq!(there, step as usize);
                assert_eq!(rig.unmap(span(0, 8 * PAGE)), Err(HardwareErrorKind::Unresponsive));
                rig.iommu.repair();
                rig.unmap(span(0, 8 * PAGE)).unwrap();
                assert_eq!(rig.iommu.mapped(rig.space.domain()), 0, "mapping {step} is left");
            }
        }
        rig.space.map(&mut rig.iommu, &mut rig.memory, PAGE, segments, Attributes::READ_WRITE).unwrap();
        rig.end();
    }
}

/// What does not fit below the end of the space does not go on at its start.
#[test]
fn requests_end_where_the_addresses_end() {
    let way = *ways().last().unwrap();
    let mut rig = Rig::new(way);
    let blocks = [block(0x4000_0000, PAGE)[0], block(0x5000_0000, PAGE)[0]];
    let at = u64::MAX - (PAGE - 1);
    let both = Segments::new(&blocks, 0, 2 * PAGE);
    let mapped = rig.space.map(&mut rig.iommu, &mut rig.memory, at, both, Attributes::READ_WRITE);
    assert_eq!(mapped.unwrap_err().kind, HardwareErrorKind::Address);
    assert_eq!(rig.iommu.mapped(rig.space.domain()), 0);
    rig.map(at, 0x4000_0000, PAGE).unwrap();
    assert_eq!(rig.space.walk(&rig.memory, u64::MAX).map(PhysicalAddress::raw), Some(0x4000_0000 + PAGE - 1));
    rig.unmap(span(at, PAGE)).unwrap();
    rig.end();
}

#[test]
fn limits_take_page_sizes_away() {
    let small =
        TableLimits { page_sizes: PageSizes::from_mask(0x1000 | 1 << 21).unwrap(), ..TableLimits::NONE };
    for format in formats() {
        let all = vcm_iommu::AnyTable::describe(format, TableLimits::NONE).unwrap().0;
        let fewer = vcm_iommu::AnyTable::describe(format, small).unwrap().0;
        assert_eq!(all.intersection(fewer), Some(fewer), "{format}");
        match format {
            TableFormat::VtdFirstStage { .. } | TableFormat::VtdSecondStage { .. } => {
                assert!(!fewer.contains(1 << 30), "{format}");
            }
            TableFormat::RiscvFirstStage { .. } | TableFormat::RiscvSecondStage { .. } => {
                assert!(all.contains(1 << 16) && !fewer.contains(1 << 16), "{format}");
            }
            _ => {}
        }
    }
}

/// Formats that there are not are refused, whatever numbers they have, and can be told of.
#[test]
fn formats_that_cannot_be_are_refused() {
    let granules = [Granule::Size4K, Granule::Size16K, Granule::Size64K];
    for number in 0..=u8::MAX {
        let [levels, input_bits, output_bits, start_level] = [number; 4];
        let mut formats = vec![
            TableFormat::VtdFirstStage { levels },
            TableFormat::VtdSecondStage { levels },
            TableFormat::AmdV1 { levels },
            TableFormat::RiscvFirstStage { levels },
            TableFormat::RiscvSecondStage { levels },
        ];
        for granule in granules {
            formats.push(TableFormat::Aarch64Stage1 { granule, input_bits, output_bits: 48 });
            formats.push(TableFormat::Aarch64Stage1 { granule, input_bits: 39, output_bits });
            let second = |input_bits, output_bits, start_level| TableFormat::Aarch64Stage2 {
                granule,
                input_bits,
                output_bits,
                start_level,
            };
            formats.extend([
                second(input_bits, 48, 1),
                second(40, output_bits, 1),
                second(40, 48, start_level),
            ]);
        }
        for format in formats {
            let described = vcm_iommu::AnyTable::describe(format, TableLimits::NONE);
            assert!(described.is_err() || number <= 64, "{format}");
            let mut iommu = Fake::new(Way::Tables(format));
            let mut memory = Memory::default();
            match AddressSpace::new(&mut iommu, &mut memory) {
                Ok(space) => space.destroy(&mut iommu, &mut memory).map_err(|(_, error)| error).unwrap(),
                Err(error) => assert_eq!(error.kind, HardwareErrorKind::NotSupported, "{format}"),
            }
            assert_eq!((memory.tables(), iommu.domains()), (0, 0), "{format}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any sequence of mapping and unmapping whole pages leads where a map of pages leads.
    #[test]
    fn spaces_do_what_a_map_of_pages_does(
        which in 0..100_usize,
        steps in prop::collection::vec((any::<bool>(), 0..48_u64, 1..12_u64, 0..64_u64), 1..40),
    ) {
        let ways = ways();
        let way = ways[which % ways.len()];
        let mut rig = Rig::new(way);
        let mut model: BTreeMap<u64, u64> = BTreeMap::new();
        // What was mapped together: a device that keeps its own tables lets it go only together.
        let mut mapped: Vec<(u64, u64)> = Vec::new();
        for (mapping, first, count, physical) in steps {
            let pages = first..first + count;
            if mapping {
                let free = pages.clone().all(|page| !model.contains_key(&page));
                let result = rig.map(first * PAGE, 0x4000_0000 + physical * PAGE, count * PAGE);
                prop_assert_eq!(result.is_ok(), free, "{:?}: {:?}", way, result);
                if free {
                    model.extend(pages.clone().zip(physical..));
                    mapped.push((first, count));
                }
            } else {
                let whole = mapped.iter().all(|&(at, len)| {
                    at + len <= pages.start || pages.end <= at || (pages.start <= at && at + len <= pages.end)
                });
                let done = rig.unmap(span(first * PAGE, count * PAGE));
                if matches!(way, Way::Requests { .. }) && !whole {
                    prop_assert_eq!(done, Err(HardwareErrorKind::Address));
                    continue;
                }
                prop_assert_eq!(done, Ok(()));
                model.retain(|page, _| !pages.contains(page));
                mapped.retain(|&(at, _)| !pages.contains(&at));
            }
            for page in 0..64 {
                let found = rig.space.walk(&rig.memory, page * PAGE + 0x123).map(PhysicalAddress::raw);
                let expected = model.get(&page).map(|physical| 0x4000_0000 + physical * PAGE + 0x123);
                prop_assert_eq!(found, expected, "{:?} page {}", way, page);
            }
        }
        rig.end();
    }
}
