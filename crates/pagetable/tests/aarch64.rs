//! The AArch64 format with the 4K granule and without contiguous pages, by hand: levels, blocks, attributes of both
//! stages.

mod support;

use support::Pool;
use support::model::{canonical, fewest_pages, words};
use support::walkers::{LongRegisters, LongStage, Walked, long};
use vcm::{
    Access, Attributes, CachePolicy, MemoryType, PageSizes, PhysicalAddress, Privilege, SIZE_1G, SIZE_2M,
    SIZE_4K, Security, Shareability, Span,
};
use vcm_pagetable::aarch64::{Contiguous, MAIR, Stage1, Stage1Config, Stage2, Stage2Config};
use vcm_pagetable::{ConfigError, Format, Gather, MapError, PageTable, Segment, Unrepresentable};

struct Fixture<F: Format> {
    memory: Pool<u64>,
    table: PageTable<F>,
    stage: LongStage,
    bits: u8,
    sl0: Option<u32>,
}

fn stage1(bits: u8, world: Security) -> Fixture<Stage1> {
    let mut memory = Pool::new(0x8000_0000);
    let config = Stage1Config { input_bits: bits, output_bits: 48, world };
    let format = Stage1::new(config).unwrap().with_contiguous(Contiguous::NotUsed);
    let table = PageTable::of_format(format, &mut memory).unwrap();
    let stage = LongStage::One { mair: MAIR, secure: world == Security::Secure };
    Fixture { memory, table, stage, bits, sl0: None }
}

fn stage2(bits: u8) -> Fixture<Stage2> {
    let mut memory = Pool::new(0x8000_0000);
    let config = Stage2Config { input_bits: bits, output_bits: 44 };
    let format = Stage2::new(config).unwrap().with_contiguous(Contiguous::NotUsed);
    let table = PageTable::of_format(format, &mut memory).unwrap();
    let sl0 = Some(format.sl0());
    Fixture { memory, table, stage: LongStage::Two, bits, sl0 }
}

impl<F: Format<Word = u64>> Fixture<F> {
    fn map(&mut self, at: u64, physical: u64, len: u64, attributes: Attributes) -> Result<(), MapError> {
        let segment = Segment { physical: PhysicalAddress::new(physical), len };
        self.table.map(&mut self.memory, at, [segment].into_iter(), attributes)
    }

    fn unmap(&mut self, at: u64, len: u64) -> Gather {
        let mut gather = Gather::new();
        self.table.unmap(&mut self.memory, Span::new(at, len).unwrap(), &mut gather).unwrap();
        gather
    }

    fn walk(&self, at: u64) -> Option<Walked> {
        let (t0sz, root) = (64 - u32::from(self.bits), self.table.root().raw());
        let registers = LongRegisters { stage: self.stage, granule: 12, t0sz, sl0: self.sl0, root };
        long(registers, |address| self.memory.walker_reads(address), at)
    }

    /// How many pages of 4K, 2M and 1G there are.
    fn census(&self) -> [usize; 3] {
        let mut census = [0; 3];
        self.table.leaves(&self.memory, Span::ALL, |leaf| {
            census[[SIZE_4K, SIZE_2M, SIZE_1G].iter().position(|&size| size == leaf.size).unwrap()] += 1;
        });
        census
    }

    fn assert_mapped(&self, at: u64, physical: u64, len: u64) {
        for offset in (0..len).step_by(SIZE_4K as usize) {
            assert_eq!(self.walk(at + offset).map(|walked| walked.physical), Some(physical + offset));
        }
    }
}

#[test]
fn each_size_arises_in_tables_of_three_and_four_levels() {
    for bits in [32, 36, 39, 40, 48] {
        for (at, physical, len) in [
            (0x1000, 0x4000_3000, SIZE_4K),
            (SIZE_2M, 0x4020_0000, SIZE_2M),
            (SIZE_1G, SIZE_1G, SIZE_1G),
            (SIZE_2M - SIZE_4K, 0x401f_f000, 3 * SIZE_2M),
            (SIZE_1G - SIZE_2M - SIZE_4K, 3 * SIZE_1G - SIZE_2M - SIZE_4K, SIZE_1G),
            (0x1000, SIZE_2M, 2 * SIZE_2M),
        ] {
            let mut fixture = stage1(bits, Security::NonSecure);
            fixture.map(at, physical, len, Attributes::READ_WRITE).unwrap();
            fixture.assert_mapped(at, physical, len);
            let pages: usize = fixture.census().iter().sum();
            assert_eq!(pages, fewest_pages(PageSizes::AARCH64_4K, at, physical, len));
            assert_eq!((fixture.walk(at - 1), fixture.walk(at + len)), (None, None));
        }
    }
}

#[test]
fn the_last_byte_of_the_input_range_is_mapped_and_unmapped() {
    for bits in [31, 39, 40, 47, 48] {
        for size in [SIZE_4K, SIZE_2M, SIZE_1G] {
            let mut fixture = stage1(bits, Security::NonSecure);
            let (at, physical) = ((1 << bits) - size, (1 << 48) - size);
            fixture.map(at, physical, size, Attributes::READ_WRITE).unwrap();
            let last = fixture.table.translate(&fixture.memory, (1 << bits) - 1).unwrap();
            assert_eq!((last.physical.raw(), last.page_size), ((1 << 48) - 1, size));
            assert_eq!(fixture.table.translate(&fixture.memory, 1 << bits), None);
            let beyond = fixture.map(1 << bits, 0, SIZE_4K, Attributes::READ_WRITE);
            assert!(matches!(beyond, Err(MapError::OutOfRange { .. })));
            let gather = fixture.unmap(at, size);
            assert_eq!((gather.granule(), gather.spans().len()), (size, 1));
            gather.finish(&mut fixture.memory);
            assert_eq!(fixture.memory.live(), 1);
        }
    }
}

#[test]
fn part_of_a_block_goes_and_the_rest_stays() {
    const AT: u64 = 2 * SIZE_1G;
    const TO: u64 = 5 * SIZE_1G;
    // (size mapped, offset and length unmapped, what is left: 4K, 2M, 1G)
    for (size, offset, len, left) in [
        (SIZE_2M, 0, SIZE_4K, [511, 0, 0]),
        (SIZE_2M, 0x8000, 2 * SIZE_4K, [510, 0, 0]),
        (SIZE_2M, SIZE_2M - SIZE_4K, SIZE_4K, [511, 0, 0]),
        (SIZE_1G, 0, SIZE_2M, [0, 511, 0]),
        (SIZE_1G, SIZE_1G - SIZE_2M, SIZE_2M, [0, 511, 0]),
        (SIZE_1G, 0, SIZE_4K, [511, 511, 0]),
        (SIZE_1G, SIZE_1G - SIZE_4K, SIZE_4K, [511, 511, 0]),
        (SIZE_1G, 7 * SIZE_2M + 0x3000, SIZE_4K, [511, 511, 0]),
        (SIZE_1G, 0x1000, SIZE_1G - 0x2000, [2, 0, 0]),
        (SIZE_1G, 3 * SIZE_2M + 0x1000, 2 * SIZE_2M, [512, 509, 0]),
    ] {
        for bits in [39, 48] {
            let mut fixture = stage1(bits, Security::NonSecure);
            fixture.map(AT, TO, size, Attributes::READ_WRITE).unwrap();
            let gather = fixture.unmap(AT + offset, len);
            assert_eq!(gather.spans(), [Span::new(AT, size).unwrap()], "the whole former page");
            assert_eq!(gather.granule(), size);
            gather.finish(&mut fixture.memory);
            assert_eq!(fixture.census(), left, "{size:#x} without {len:#x} at {offset:#x}");
            fixture.assert_mapped(AT, TO, offset);
            fixture.assert_mapped(AT + offset + len, TO + offset + len, size - offset - len);
            assert_eq!((fixture.walk(AT + offset), fixture.walk(AT + offset + len - 1)), (None, None));
            if offset > 0 {
                fixture.unmap(AT, offset).finish(&mut fixture.memory);
            }
            if offset + len < size {
                fixture.unmap(AT + offset + len, size - offset - len).finish(&mut fixture.memory);
            }
            assert_eq!(fixture.memory.live(), 1);
        }
    }
}

#[test]
fn a_table_is_removed_with_its_last_page_and_its_parents_with_it() {
    let mut fixture = stage1(48, Security::NonSecure);
    fixture.map(0x1000, 0x4000_0000, SIZE_4K, Attributes::READ_WRITE).unwrap();
    assert_eq!(fixture.memory.live(), 4);
    let gather = fixture.unmap(0x1000, SIZE_4K);
    assert!(gather.tables_removed());
    assert_eq!(fixture.memory.live(), 4);
    gather.finish(&mut fixture.memory);
    assert_eq!(fixture.memory.live(), 1);
}

#[test]
fn blocks_and_tables_are_never_overwritten() {
    let mut fixture = stage1(48, Security::NonSecure);
    fixture.map(SIZE_1G, SIZE_1G, SIZE_1G, Attributes::READ_WRITE).unwrap();
    fixture.map(SIZE_2M + SIZE_4K, 0, SIZE_4K, Attributes::READ_WRITE).unwrap();
    let before = fixture.memory.clone();
    for (at, len, blamed) in [
        (SIZE_1G + SIZE_4K, SIZE_4K, SIZE_1G + SIZE_4K),
        (SIZE_1G + SIZE_2M, SIZE_2M, SIZE_1G + SIZE_2M),
        (0, SIZE_1G, SIZE_2M + SIZE_4K),
        (SIZE_2M, SIZE_2M, SIZE_2M + SIZE_4K),
        (4 * SIZE_2M, SIZE_1G, SIZE_1G),
    ] {
        let error = fixture.map(at, 0, len, Attributes::READ_WRITE).unwrap_err();
        assert!(matches!(error, MapError::Occupied { at, .. } if at == blamed), "{error}");
    }
    assert_eq!(fixture.memory, before);
}

fn all_attributes() -> impl Iterator<Item = Attributes> {
    let policies = [
        CachePolicy::NotCached,
        CachePolicy::WriteThrough,
        CachePolicy::WriteBackNoWriteAllocate,
        CachePolicy::WriteBackWriteAllocate,
    ];
    let types =
        policies.map(MemoryType::Normal).into_iter().chain([MemoryType::Device, MemoryType::StronglyOrdered]);
    types.flat_map(|memory_type| {
        (0..8 * 2 * 2 * 3_u8).map(move |number| Attributes {
            access: Access::from_bits_truncate(number & 7),
            privilege: if number & 8 == 0 { Privilege::User } else { Privilege::Supervisor },
            security: if number / 16 % 2 == 0 { Security::NonSecure } else { Security::Secure },
            memory_type,
            shareability: [Shareability::NonShareable, Shareability::Inner, Shareability::Outer]
                [usize::from(number / 32)],
        })
    })
}

/// Maps one page of each size with `attributes`, or sees it refused for `refusal`.
fn express<F: Format<Word = u64>>(
    fixture: &mut Fixture<F>,
    attributes: Attributes,
    refusal: Option<Unrepresentable>,
) -> bool {
    for size in [SIZE_4K, SIZE_2M, SIZE_1G] {
        let (at, physical) = (2 * size, 3 * size);
        let result = fixture.map(at, physical, size, attributes);
        if let Some(what) = refusal {
            assert_eq!(result, Err(MapError::Unrepresentable { attributes, what }));
            continue;
        }
        result.unwrap();
        let walked = fixture.walk(at + size - 1).unwrap();
        assert_eq!((walked.physical, walked.page), (physical + size - 1, size));
        assert_eq!(words(walked), canonical(attributes));
        let translation = fixture.table.translate(&fixture.memory, at).unwrap();
        assert_eq!(translation.attributes, canonical(attributes));
        fixture.unmap(at, size).finish(&mut fixture.memory);
    }
    refusal.is_none()
}

#[test]
fn stage_1_expresses_all_attributes_or_refuses() {
    for world in [Security::NonSecure, Security::Secure] {
        let mut fixture = stage1(39, world);
        let mut expressed = 0;
        for attributes in all_attributes() {
            let refusal = match attributes.access {
                access if access.contains(Access::READ) => (attributes.security == Security::Secure
                    && world == Security::NonSecure)
                    .then_some(Unrepresentable::Secure),
                access if access.is_empty() => Some(Unrepresentable::NoAccess),
                Access::WRITE => Some(Unrepresentable::WriteOnly),
                _ => Some(Unrepresentable::ExecuteOnly),
            };
            expressed += usize::from(express(&mut fixture, attributes, refusal));
        }
        let worlds = if world == Security::Secure { 2 } else { 1 };
        assert_eq!(expressed, 6 * 4 * 2 * worlds * 3);
    }
}

#[test]
fn stage_2_expresses_all_attributes_or_refuses() {
    let mut fixture = stage2(40);
    let mut expressed = 0;
    for attributes in all_attributes() {
        let no_allocate = MemoryType::Normal(CachePolicy::WriteBackNoWriteAllocate);
        let refusal = match attributes.access {
            access if access.is_empty() => Some(Unrepresentable::NoAccess),
            access if !access.contains(Access::READ) && access != Access::WRITE => {
                Some(Unrepresentable::ExecuteOnly)
            }
            _ if attributes.privilege == Privilege::Supervisor => Some(Unrepresentable::Supervisor),
            _ if attributes.security == Security::Secure => Some(Unrepresentable::Secure),
            _ if attributes.memory_type == no_allocate => Some(Unrepresentable::MemoryType),
            _ => None,
        };
        expressed += usize::from(express(&mut fixture, attributes, refusal));
    }
    assert_eq!(expressed, 5 * 5 * 3);
}

#[test]
fn sizes_that_the_architecture_does_not_have_are_refused() {
    let mut memory = Pool::new(0);
    for (input_bits, output_bits) in [(24, 48), (49, 48), (39, 31), (39, 52)] {
        let config = Stage1Config { input_bits, output_bits, world: Security::NonSecure };
        let error = PageTable::<Stage1>::new(config, &mut memory).unwrap_err();
        assert!(
            matches!(error, MapError::Config(ConfigError::InputBits { .. } | ConfigError::OutputBits { .. })),
            "{error}"
        );
    }
    let config = Stage2Config { input_bits: 40, output_bits: 36 };
    let mut table = PageTable::<Stage2>::new(config, &mut memory).unwrap();
    let segment = Segment { physical: PhysicalAddress::new((1 << 36) - SIZE_4K), len: 2 * SIZE_4K };
    let beyond = table.map(&mut memory, 0, [segment].into_iter(), Attributes::READ_WRITE);
    assert!(matches!(beyond, Err(MapError::PhysicalOutOfRange { limit: 0xf_ffff_ffff, .. })));
    table.destroy(&mut memory);
    assert_eq!(memory.live(), 0);
}
