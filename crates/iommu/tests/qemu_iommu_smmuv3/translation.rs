//! Bytes arrive through tables of all granules and both stages.

use crate::support::*;
use vcm::{Iova, PhysicalAddress, SIZE_2M};
use vcm_iommu::smmuv3::{Config, Stage, StreamTable};
use vcm_iommu::{Iommu, TableFormat, Tables, Translation, Way};
use vcm_pagetable::aarch64::{Granule4K, Granule16K, Granule64K, Stage1, Stage2, TypedGranule};
use vcm_pagetable::{Format, PageTable};

/// Maps single pages, groups of contiguous ones and, if they are not too large, blocks, and reads through each. An entry
/// of the root covers 2^`root_shift` bytes.
fn arrives<F: Format<Word = u64>>(
    bench: &mut Bench,
    mut table: PageTable<F>,
    tables: Tables,
    granule: u64,
    root_shift: u32,
) {
    let what = tables.format.to_string();
    bench.map(&mut table, OUT, bench.out, granule);
    // Neighbours that are apart in memory: a transfer over their border is two translations.
    let pages = [bench.page(), bench.page()];
    for (index, page) in pages.into_iter().rev().enumerate() {
        bench.map(&mut table, AT + index as u64 * granule, page, granule);
    }
    let domain = bench.domain(tables);
    bench.iommu.attach(STREAM, domain).unwrap();
    let whole = pattern(7);
    let border = pages[1].raw() + granule - 2048;
    bench.ram.write_bytes(PhysicalAddress::new(border), &whole[..2048]).unwrap();
    bench.ram.write_bytes(pages[0], &whole[2048..]).unwrap();
    assert!(bench.reads(&bench.edu, AT + granule - 2048, 7), "{what}: over a border");
    // 2 MiB: a block, or a group of contiguous pages, and then less than that.
    let large = bench.ram.allocate(SIZE_2M, SIZE_2M).unwrap();
    for (base, len) in [(0x3000_0000, SIZE_2M), (0x3800_0000, 0x8_0000)] {
        bench.map(&mut table, base, large, len);
        for offset in [0, 0x1_3000, len - 0x1000] {
            bench.put(PhysicalAddress::new(large.raw() + offset), 9);
            assert!(bench.reads(&bench.edu, base + offset, 9), "{what}: {offset:#x} of {len:#x}");
        }
    }
    // The last page of the addresses, of a root of several tables of those of the first: see below.
    let one_root = (granule / 8) << root_shift;
    let last = table.input_span().last().min(one_root - 1) - granule + 1;
    bench.map(&mut table, last, pages[0], granule);
    bench.put(pages[0], 11);
    assert!(bench.reads(&bench.edu, last, 11), "{what}: the last page");
    assert_eq!(bench.faults(), [], "{what}");
    bench.iommu.detach(STREAM).unwrap();
    bench.iommu.destroy_domain(domain).unwrap();
    table.destroy(&mut bench.ram.clone());
}

/// log2 of what an entry at `level` covers.
fn entry_shift<G: TypedGranule>(level: u32) -> u32 {
    let shift = G::GRANULE.shift();
    shift + (shift - 3) * (3 - level)
}

fn stage1<G: TypedGranule>(bench: &mut Bench, input_bits: u8)
where
    Stage1<G>: Format<Word = u64>,
{
    let table = bench.first::<G>(input_bits);
    let tables = first_tables(&table);
    let shift = entry_shift::<G>(table.format().root_level());
    arrives(bench, table, tables, G::GRANULE.bytes(), shift);
}

fn stage2<G: TypedGranule>(bench: &mut Bench, input_bits: u8, level: u8)
where
    Stage2<G>: Format<Word = u64>,
{
    let table = bench.second::<G>(input_bits, level);
    let tables = second_tables(&table);
    let shift = entry_shift::<G>(level.into());
    arrives(bench, table, tables, G::GRANULE.bytes(), shift);
}

#[test]
fn stage_1_of_all_granules() {
    on_qemu(config(), |bench| {
        stage1::<Granule4K>(bench, 31);
        stage1::<Granule4K>(bench, 39);
        stage1::<Granule4K>(bench, 48);
        stage1::<Granule16K>(bench, 36);
        stage1::<Granule16K>(bench, 47);
        stage1::<Granule16K>(bench, 48);
        stage1::<Granule64K>(bench, 42);
        stage1::<Granule64K>(bench, 48);
    });
}

#[test]
fn stage_2_of_all_granules_with_roots_of_one_and_more_tables() {
    on_qemu(config(), |bench| {
        stage2::<Granule4K>(bench, 39, 1);
        stage2::<Granule4K>(bench, 40, 1);
        stage2::<Granule4K>(bench, 43, 1);
        stage2::<Granule4K>(bench, 44, 0);
        stage2::<Granule4K>(bench, 34, 2);
        stage2::<Granule16K>(bench, 40, 2);
        stage2::<Granule16K>(bench, 44, 1);
        stage2::<Granule64K>(bench, 42, 2);
        stage2::<Granule64K>(bench, 44, 1);
    });
}

/// QEMU takes the bits of the address that choose one of the tables beside each other out of the root's address, since it
/// aligns that to all of them, and looks into the first one whatever they are (`smmu_ptw_64_s2`).
#[test]
fn of_a_root_of_several_tables_qemu_walks_the_first() {
    on_qemu(config(), |bench| {
        let mut table = bench.second::<Granule4K>(40, 1);
        assert_eq!(table.format().root_tables(), 2);
        let (page, other_page) = (bench.page(), bench.page());
        bench.put(page, 1);
        bench.put(other_page, 2);
        bench.map(&mut table, AT, page, 0x1000);
        bench.map(&mut table, AT + (1 << 39), other_page, 0x1000);
        bench.map(&mut table, OUT, bench.out, 0x1000);
        let domain = bench.domain(second_tables(&table));
        bench.iommu.attach(STREAM, domain).unwrap();
        assert!(bench.reads(&bench.edu, AT, 1));
        assert!(bench.reads(&bench.edu, AT + (1 << 39), 1), "should be 2");
    });
}

#[test]
fn what_the_driver_prefers_works() {
    for stage in [Stage::First, Stage::Second] {
        on_qemu(Config { stage, ..config() }, |bench| {
            let Way::Tables(format) = bench.iommu.preferred() else { panic!() };
            match format {
                TableFormat::Aarch64Stage1 { input_bits, .. } => stage1::<Granule4K>(bench, input_bits),
                TableFormat::Aarch64Stage2 { input_bits, start_level, .. } => {
                    stage2::<Granule4K>(bench, input_bits, start_level);
                }
                other => panic!("{other}"),
            }
        });
    }
}

#[test]
fn stream_tables_of_both_shapes_translate_pass_through_and_refuse() {
    for (stream_table, stream_bits) in
        [(StreamTable::TwoLevel, None), (StreamTable::Linear, Some(5)), (StreamTable::Linear, Some(9))]
    {
        on_qemu(Config { stream_table, stream_bits, ..config() }, |bench| {
            assert_eq!(bench.iommu.is_two_level(), stream_table == StreamTable::TwoLevel);
            let (page, other_page) = (bench.page(), bench.page());
            bench.put(page, 1);
            bench.put(other_page, 2);
            let (one, _one) = bench.domain_to(page);
            let (two, _two) = bench.domain_to(other_page);
            let identity = bench.iommu.create_domain(Translation::Identity).unwrap();
            let (edu, other) = (bench.edu.clone(), bench.other.clone());

            // Two streams in one domain, then each in its own.
            bench.iommu.attach(STREAM, one).unwrap();
            bench.iommu.attach(OTHER_STREAM, one).unwrap();
            assert!(bench.reads(&edu, AT, 1) && bench.reads(&other, AT, 1));
            bench.iommu.attach(OTHER_STREAM, two).unwrap();
            assert!(bench.reads(&edu, AT, 1) && bench.reads(&other, AT, 2));

            // One passes through, the other does not.
            bench.iommu.attach(STREAM, identity).unwrap();
            edu.copy(Iova::new(other_page.raw()), Iova::new(page.raw()), 4096).unwrap();
            assert!(bench.holds(page, 2) && bench.reads(&other, AT, 2));
            assert_eq!(bench.faults(), []);
            bench.iommu.attach(STREAM, two).unwrap();
            assert!(bench.reads(&edu, AT, 2));
            bench.iommu.detach(OTHER_STREAM).unwrap();
            assert!(!bench.reads(&other, AT, 2) && bench.reads(&edu, AT, 2));
            assert!(bench.faults().iter().all(|fault| fault.stream == OTHER_STREAM));
        });
    }
}
