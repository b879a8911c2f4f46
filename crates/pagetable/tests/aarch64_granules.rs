//! AArch64 tables of every granule by hand: where a root is and how long, every size of page at every start level and
//! every size of input, contiguous pages in part and whole, roots of several tables.

mod support;

use support::Pool;
use support::long::{Choice, Long, Root, choices, walk};
use support::model::{fewest_pages, words};
use vcm::{Access, Attributes, PhysicalAddress, SIZE_1G, SIZE_2M, SIZE_4K, SIZE_64K, Span};
use vcm_pagetable::aarch64::{
    Contiguous, Granule, Granule4K, Granule16K, Granule64K, Stage1, Stage2, Stage2Config, TypedGranule,
};
use vcm_pagetable::{ConfigError, Format, Gather, Leaf, PageTable, Segment};

const SIZE_16K: u64 = 16 << 10;
const SIZE_32M: u64 = 32 << 20;
const SIZE_512M: u64 = 512 << 20;
const SIZE_16G: u64 = 16 << 30;

/// By granule and level: the block or page, and the contiguous group of them (Arm ARM DDI 0487, D8.3).
const SIZES: [(Granule, u32, [u64; 2]); 7] = [
    (Granule::Size4K, 1, [SIZE_1G, SIZE_16G]),
    (Granule::Size4K, 2, [SIZE_2M, SIZE_32M]),
    (Granule::Size4K, 3, [SIZE_4K, SIZE_64K]),
    (Granule::Size16K, 2, [SIZE_32M, SIZE_1G]),
    (Granule::Size16K, 3, [SIZE_16K, SIZE_2M]),
    (Granule::Size64K, 2, [SIZE_512M, SIZE_16G]),
    (Granule::Size64K, 3, [SIZE_64K, SIZE_2M]),
];

/// By granule and level: the least and the most bits of input that a root of one table at the level may have.
const ROOTS: [(Granule, u8, [u8; 2]); 10] = [
    (Granule::Size4K, 0, [40, 48]),
    (Granule::Size4K, 1, [31, 39]),
    (Granule::Size4K, 2, [25, 30]),
    (Granule::Size16K, 0, [48, 48]),
    (Granule::Size16K, 1, [37, 47]),
    (Granule::Size16K, 2, [26, 36]),
    (Granule::Size16K, 3, [25, 25]),
    (Granule::Size64K, 1, [43, 48]),
    (Granule::Size64K, 2, [30, 42]),
    (Granule::Size64K, 3, [25, 29]),
];

const INPUTS: std::ops::RangeInclusive<u8> = 25..=48;

struct Fixture<F: Long> {
    memory: Pool<u64>,
    table: PageTable<F>,
}

impl<F: Long> Fixture<F> {
    fn new(choice: Choice) -> Self {
        let mut memory = Pool::new(0x8000_0000);
        let table = PageTable::of_format(F::choose(choice), &mut memory).unwrap();
        Self { memory, table }
    }

    fn map(&mut self, at: u64, physical: u64, len: u64) {
        let segment = Segment { physical: PhysicalAddress::new(physical), len };
        self.table.map(&mut self.memory, at, [segment].into_iter(), Attributes::READ_WRITE).unwrap();
    }

    fn unmap(&mut self, at: u64, len: u64) -> Gather {
        let mut gather = Gather::new();
        self.table.unmap(&mut self.memory, Span::new(at, len).unwrap(), &mut gather).unwrap();
        gather
    }

    fn leaves(&self) -> Vec<Leaf> {
        let mut leaves = Vec::new();
        self.table.leaves(&self.memory, Span::ALL, |leaf| leaves.push(leaf));
        leaves
    }

    /// That the walker finds `at`, in a page of `size` if that is said.
    fn assert_at(&self, at: u64, physical: u64, size: Option<u64>) {
        let walked = walk(&self.table, &self.memory, at).unwrap_or_else(|| panic!("{at:#x} is not mapped"));
        assert_eq!(walked.physical, physical, "{at:#x}");
        assert_eq!(walked.page, size.unwrap_or(walked.page), "{at:#x}");
        let found = self.table.translate(&self.memory, at).unwrap();
        assert_eq!((found.physical.raw(), found.page_size), (walked.physical, walked.page), "{at:#x}");
        assert_eq!(found.attributes, words(walked));
    }

    /// That `len` bytes from `at` on are mapped, in as few pages as can be. Every page is visited by the walker.
    fn assert_mapped(&self, at: u64, physical: u64, len: u64) {
        let pages: Vec<_> =
            self.leaves().into_iter().filter(|leaf| leaf.at >= at && leaf.at - at < len).collect();
        assert_eq!(
            pages.len(),
            fewest_pages(self.table.page_sizes(), at, physical, len),
            "{len:#x} at {at:#x}: {pages:?}"
        );
        assert_eq!(pages.iter().map(|leaf| leaf.size).sum::<u64>(), len);
        for leaf in pages {
            let last = leaf.size - 1;
            self.assert_at(leaf.at, leaf.at - at + physical, Some(leaf.size));
            self.assert_at(leaf.at + last, leaf.at - at + physical + last, Some(leaf.size));
        }
    }

    fn assert_hole(&self, at: u64) {
        assert_eq!(walk(&self.table, &self.memory, at), None, "{at:#x}");
        assert_eq!(self.table.translate(&self.memory, at), None, "{at:#x}");
    }

    fn destroy(mut self) {
        self.table.destroy(&mut self.memory);
        assert_eq!(self.memory.live(), 0);
    }
}

/// The sizes of pages of a table with a root at `level`.
fn sizes(granule: Granule, level: u32, choice: Choice) -> Vec<u64> {
    let of_level = SIZES.iter().filter(|&&(of, at, _)| of == granule && at >= level);
    let all = of_level.flat_map(|&(_, _, [single, group])| match choice.contiguous {
        Contiguous::Used => vec![single, group],
        Contiguous::NotUsed => vec![single],
    });
    all.filter(|&size| size <= 1 << choice.bits).collect()
}

/// The level of a root of one table.
fn root_level(granule: Granule, bits: u8) -> u8 {
    let of =
        |&&(of, _, [least, most]): &&(Granule, u8, [u8; 2])| of == granule && (least..=most).contains(&bits);
    ROOTS.iter().find(of).expect("a root for every input").1
}

fn each_page_once<F: Long>(granule: Granule, choice: Choice, level: u32) {
    let sizes = sizes(granule, level, choice);
    let mut fixture = Fixture::<F>::new(choice);
    let said: Vec<_> = fixture.table.page_sizes().descending().collect();
    let mut expected = sizes.clone();
    expected.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(said, expected, "{granule}, {choice:?}");
    for size in sizes {
        let end = 1 << choice.bits;
        // First, last, and in between; the memory is the last of all and the first.
        for (at, physical) in [(0, (1 << 48) - size), (end - size, size), ((end / 2) & !(size - 1), 0)] {
            fixture.map(at, physical, size);
            for inside in [0, size / 2 + 8, size - 1] {
                fixture.assert_at(at + inside, physical + inside, Some(size));
            }
            assert_eq!(fixture.leaves().len(), 1);
            if at > 0 {
                fixture.assert_hole(at - 1);
            }
            if at + size < end {
                fixture.assert_hole(at + size);
            }
            let gather = fixture.unmap(at, size);
            assert_eq!(gather.spans(), [Span::new(at, size).unwrap()]);
            gather.finish(&mut fixture.memory);
            assert_eq!((fixture.memory.live(), fixture.leaves().len()), (1, 0));
        }
    }
    fixture.destroy();
}

fn each_page_of<G: TypedGranule>() {
    for bits in INPUTS {
        for choice in choices(bits) {
            let plain = root_level(G::GRANULE, bits);
            each_page_once::<Stage1<G>>(G::GRANULE, choice, u32::from(plain));
            let level = Stage2::<G>::choose(choice).root_level();
            each_page_once::<Stage2<G>>(G::GRANULE, choice, level);
        }
    }
}

#[test]
fn each_page_at_each_start_level_and_input_with_4k() {
    each_page_of::<Granule4K>();
}

#[test]
fn each_page_at_each_start_level_and_input_with_16k() {
    each_page_of::<Granule16K>();
}

#[test]
fn each_page_at_each_start_level_and_input_with_64k() {
    each_page_of::<Granule64K>();
}

fn roots_of<G: TypedGranule>() {
    for bits in INPUTS {
        let choice = Choice { bits, contiguous: Contiguous::Used, root: Root::Plain };
        let single = root_level(G::GRANULE, bits);
        let stage1 = Stage1::<G>::choose(choice);
        assert_eq!((stage1.root_level(), stage1.root_bytes()), (u32::from(single), G::GRANULE.bytes()));

        let config = Stage2Config { input_bits: bits, output_bits: 40 };
        let plain = Stage2::<G>::new(config).unwrap();
        // With 16K, stage 2 has no level 0: 48 bits are two tables at level 1.
        let no_level_0 = G::GRANULE == Granule::Size16K && bits == 48;
        let expected = if no_level_0 { (1, 2) } else { (u32::from(single), 1) };
        assert_eq!((plain.root_level(), plain.root_tables()), expected, "{} with {bits} bits", G::GRANULE);

        for level in 0..=5 {
            let root = ROOTS.iter().find(|&&(of, at, _)| of == G::GRANULE && at == level);
            let permitted = root.filter(|&&(granule, level, [least, most])| {
                (granule != Granule::Size16K || level > 0) && (least..=most + 4).contains(&bits)
            });
            let chosen = plain.with_root_level(level);
            let Some(&(_, _, [_, most])) = permitted else {
                assert_eq!(chosen.unwrap_err(), ConfigError::RootLevel { level, bits });
                continue;
            };
            let chosen = chosen.unwrap();
            let tables = if bits > most { 1 << (bits - most) } else { 1 };
            assert_eq!((chosen.root_level(), chosen.root_tables()), (u32::from(level), tables));
            assert_eq!(chosen.root_bytes(), u64::from(tables) * G::GRANULE.bytes());
            assert_eq!(chosen.start(), u32::from(level) - u32::from(G::GRANULE == Granule::Size64K));
            // VTCR_EL2.SL0.
            let sl0 = match (G::GRANULE, level) {
                (Granule::Size4K, 2) | (Granule::Size16K | Granule::Size64K, 3) => 0,
                (Granule::Size4K, 1) | (Granule::Size16K | Granule::Size64K, 2) => 1,
                _ => 2,
            };
            assert_eq!(chosen.sl0(), sl0);
            assert_eq!((chosen.config(), chosen.contiguous()), (config, Contiguous::Used));
        }
    }
}

#[test]
fn a_root_is_where_the_architecture_has_it() {
    roots_of::<Granule4K>();
    roots_of::<Granule16K>();
    roots_of::<Granule64K>();
}

/// A part of a page of `size` goes, of which an entry is `entry` long; the rest stays, in the largest pages.
fn part_of_a_page<F: Long>(choice: Choice, size: u64, entry: u64) {
    let page = 1 << F::GRANULE;
    let (at, physical) = (size, 3 * size);
    let entries = size / entry;
    let mut parts = vec![
        (0, page),
        (size - page, page),
        (size / 2, page),
        (page, size - 2 * page),
        (size / 2 - page, 2 * page),
    ];
    if entries > 1 {
        parts.extend([
            (0, entry),
            (entry, entry),
            (size - entry, entry),
            (0, size / 2),
            (entry, size - entry),
            (entry * (entries / 2 - 1), 2 * entry),
        ]);
    }
    for (offset, len) in parts {
        let mut fixture = Fixture::<F>::new(choice);
        fixture.map(at, physical, size);
        // Neighbours, which must not change.
        fixture.map(at - page, 0, page);
        fixture.map(at + size, 7 * page, page);
        let gather = fixture.unmap(at + offset, len);
        assert_eq!(gather.spans(), [Span::new(at, size).unwrap()], "the whole former page");
        assert_eq!(gather.granule(), entry);
        gather.finish(&mut fixture.memory);
        let rest = offset + len;
        fixture.assert_mapped(at, physical, offset);
        fixture.assert_mapped(at + rest, physical + rest, size - rest);
        for hole in [offset, offset + len / 2, rest - 1] {
            fixture.assert_hole(at + hole);
        }
        fixture.assert_at(at - 1, page - 1, Some(page));
        fixture.assert_at(at + size, 7 * page, Some(page));
        if offset > 0 {
            fixture.unmap(at, offset).finish(&mut fixture.memory);
        }
        if rest < size {
            fixture.unmap(at + rest, size - rest).finish(&mut fixture.memory);
        }
        assert_eq!(fixture.leaves().len(), 2);
        fixture.destroy();
    }
}

fn parts_of<G: TypedGranule>() {
    for contiguous in [Contiguous::Used, Contiguous::NotUsed] {
        for &(_, _, [single, group]) in SIZES.iter().filter(|&&(granule, ..)| granule == G::GRANULE) {
            for bits in [39, 42, 48] {
                for root in [Root::Plain, Root::Lower] {
                    let choice = Choice { bits, contiguous, root };
                    if single > G::GRANULE.bytes() {
                        part_of_a_page::<Stage1<G>>(choice, single, single);
                    }
                    if contiguous == Contiguous::Used {
                        part_of_a_page::<Stage2<G>>(choice, group, single);
                    }
                }
            }
        }
    }
}

#[test]
fn part_of_a_page_goes_and_the_rest_stays_in_the_largest_pages() {
    parts_of::<Granule4K>();
    parts_of::<Granule16K>();
    parts_of::<Granule64K>();
}

fn protected_parts<G: TypedGranule>() {
    for &(_, _, [single, group]) in SIZES.iter().filter(|&&(granule, ..)| granule == G::GRANULE) {
        let choice = Choice { bits: 48, contiguous: Contiguous::Used, root: Root::Plain };
        let read = Attributes::READ_WRITE.with_access(Access::READ);
        let (at, physical) = (group, 2 * group);
        for (offset, len) in [(0, group), (0, single), (single, single), (group - single, single)] {
            let mut fixture = Fixture::<Stage1<G>>::new(choice);
            fixture.map(at, physical, group);
            let mut gather = Gather::new();
            let span = Span::new(at + offset, len).unwrap();
            fixture.table.protect(&mut fixture.memory, span, read, &mut gather).unwrap();
            assert_eq!((gather.covering(), gather.granule()), (Span::new(at, group), single));
            gather.finish(&mut fixture.memory);
            for leaf in fixture.leaves() {
                let inside = span.contains(leaf.at);
                assert_eq!(leaf.attributes, if inside { read } else { Attributes::READ_WRITE });
                fixture.assert_at(leaf.at, leaf.at - at + physical, Some(leaf.size));
            }
            fixture.assert_mapped(at, physical, offset);
            fixture.assert_mapped(at + offset, physical + offset, len);
            fixture.assert_mapped(at + offset + len, physical + offset + len, group - offset - len);
            fixture.destroy();
        }
    }
}

#[test]
fn part_of_a_contiguous_page_is_protected_and_the_whole_stays_one() {
    protected_parts::<Granule4K>();
    protected_parts::<Granule16K>();
    protected_parts::<Granule64K>();
}

/// Ranges that start and end within groups, with memory that is as aligned, or not.
#[test]
fn a_range_takes_as_few_pages_as_can_be() {
    fn ranges<F: Long>(group: u64, block: u64) {
        let page = 1 << F::GRANULE;
        for choice in [34, 36, 48].into_iter().flat_map(choices) {
            for (at, physical, len) in [
                (group - page, group - page, group + 2 * page),
                (group - page, 3 * group - page, 5 * group),
                (group + page, 4 * group, 3 * group),
                (page, page, block),
                (block - group - page, 3 * block - group - page, 2 * block + 3 * group + 5 * page),
                (block - page, 4 * block, block + group),
                (block, 2 * block + group, block),
            ] {
                let mut fixture = Fixture::<F>::new(choice);
                fixture.map(at, physical, len);
                fixture.assert_mapped(at, physical, len);
                fixture.assert_hole(at - 1);
                fixture.assert_hole(at + len);
                fixture.unmap(at, len).finish(&mut fixture.memory);
                assert_eq!(fixture.memory.live(), 1);
                fixture.destroy();
            }
        }
    }
    ranges::<Stage1<Granule4K>>(SIZE_64K, SIZE_2M);
    ranges::<Stage2<Granule4K>>(SIZE_64K, SIZE_2M);
    ranges::<Stage1<Granule16K>>(SIZE_2M, SIZE_32M);
    ranges::<Stage2<Granule16K>>(SIZE_2M, SIZE_32M);
    ranges::<Stage1<Granule64K>>(SIZE_2M, SIZE_512M);
    ranges::<Stage2<Granule64K>>(SIZE_2M, SIZE_512M);
}

/// Tables at the root beside each other are one: ranges go from one into the next.
#[test]
fn a_root_of_several_tables_is_one() {
    fn across<G: TypedGranule>(bits: u8, level: u8, tables: u32) {
        let config = Stage2Config { input_bits: bits, output_bits: 48 };
        let format = Stage2::<G>::new(config).unwrap().with_root_level(level).unwrap();
        assert_eq!(format.root_tables(), tables);
        let mut memory = Pool::new(0x8000_0000);
        let mut fixture = Fixture { table: PageTable::of_format(format, &mut memory).unwrap(), memory };
        assert_eq!(fixture.table.root().raw() % format.root_bytes(), 0);
        let page = G::GRANULE.bytes();
        let reach = (1 << bits) / u64::from(tables);
        for table in 1..u64::from(tables) {
            // Around the seam, in pages that no block can take and in the largest that can be.
            let seam = table * reach;
            fixture.map(seam - 2 * page, 5 * page, 4 * page);
            fixture.assert_mapped(seam - 2 * page, 5 * page, 4 * page);
        }
        let all = fixture.leaves();
        assert_eq!(all.len(), 4 * (tables as usize - 1));
        fixture.assert_hole(0);
        fixture.unmap(reach - page, 2 * page).finish(&mut fixture.memory);
        assert_eq!(fixture.leaves().len(), all.len() - 2);
        fixture.destroy();

        let mut fixture = {
            let mut memory = Pool::new(0x8000_0000);
            Fixture { table: PageTable::of_format(format, &mut memory).unwrap(), memory }
        };
        let largest = fixture.table.page_sizes().largest();
        let (at, len) = (reach - largest, 2 * largest);
        fixture.map(at, at, len);
        fixture.assert_mapped(at, at, len);
        fixture.unmap(at, len).finish(&mut fixture.memory);
        assert_eq!(fixture.memory.live(), 1);
        fixture.destroy();
    }
    for tables_log2 in 1..=4 {
        across::<Granule4K>(30 + tables_log2, 2, 1 << tables_log2);
        across::<Granule4K>(39 + tables_log2, 1, 1 << tables_log2);
        across::<Granule16K>(25 + tables_log2, 3, 1 << tables_log2);
        across::<Granule16K>(36 + tables_log2, 2, 1 << tables_log2);
        across::<Granule64K>(29 + tables_log2, 3, 1 << tables_log2);
        across::<Granule64K>(42 + tables_log2, 2, 1 << tables_log2);
    }
    across::<Granule16K>(48, 1, 2);
}
