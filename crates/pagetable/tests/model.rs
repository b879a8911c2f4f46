//! Random sequences of operations, on every format, against the naive model and an independent walker.

mod support;

use proptest::prelude::*;
use support::Pool;
use support::model::{Model, PAGE, Step, Window, destroy, no_table_is_empty};
use support::walkers::{LongStage, ShortRegisters, Walked, long, short};
use vcm::{Access, Attributes, CachePolicy, MemoryType, Privilege, Security, Shareability};
use vcm_pagetable::aarch64::{MAIR, Stage1, Stage1Config, Stage2, Stage2Config};
use vcm_pagetable::arm_short::{self, AccessModel, ArmShort, Remap, Split};
use vcm_pagetable::{Format, PageTable};

const TABLES: u64 = 0x1000_0000;
const MIB: u64 = 1 << 20;

fn run<F: Format>(
    config: F::Config,
    window: Window,
    steps: &[Step],
    walk: impl Fn(&PageTable<F>, &Pool<F::Word>, u64) -> Option<Walked>,
) -> Result<(), TestCaseError> {
    let mut memory = Pool::new(TABLES);
    let mut table = PageTable::<F>::new(config, &mut memory).unwrap();
    let mut model = Model::new(window);
    for step in steps {
        model.step(&mut table, &mut memory, step)?;
        no_table_is_empty(&memory, table.root());
    }
    model.check(&table, &memory, |memory, at| walk(&table, memory, at))?;
    destroy(table, &mut memory);
    Ok(())
}

fn arm_attributes(shared: Shareability) -> Vec<Attributes> {
    let base = Attributes::READ_WRITE.with_shareability(shared);
    vec![
        base,
        base.with_access(Access::READ),
        base.with_access(Access::all()).with_privilege(Privilege::Supervisor),
        base.with_access(Access::READ | Access::EXECUTE).with_shareability(Shareability::NonShareable),
        base.with_memory_type(MemoryType::Device),
        base.with_memory_type(MemoryType::StronglyOrdered).with_privilege(Privilege::Supervisor),
        base.with_memory_type(MemoryType::Normal(CachePolicy::WriteThrough)),
        base.with_memory_type(MemoryType::Normal(CachePolicy::NotCached)).with_access(Access::READ),
    ]
}

fn short_window(start: u64, remap: Remap) -> Window {
    let shared = if remap == Remap::INNER { Shareability::Inner } else { Shareability::Outer };
    Window {
        start,
        pages: 48 * MIB / PAGE,
        units: vec![1, 16, 256, 4096],
        attributes: arm_attributes(shared),
    }
}

fn short_case(split: Split, start: u64, remap: Remap, steps: &[Step]) -> Result<(), TestCaseError> {
    let config = arm_short::Config { split, access_model: AccessModel::Full, remap };
    run::<ArmShort>(config, short_window(start, remap), steps, |table, memory, at| {
        let registers = ShortRegisters {
            ttbr: table.root().raw(),
            ttbcr_n: u32::from(split.n()),
            upper: matches!(split, Split::High { .. }),
            prrr: remap.prrr,
            nmrr: remap.nmrr,
        };
        short(registers, |address| memory.walker_reads(address), at as u32)
    })
}

fn long_window() -> Window {
    let base = Attributes::READ_WRITE;
    Window {
        // Three gigabytes at the end of the input range of 34 bits.
        start: (1 << 34) - (3 << 30),
        pages: (3 << 30) / PAGE,
        units: vec![1, 7, 512, 512, 1 << 18],
        attributes: vec![
            base,
            base.with_access(Access::READ).with_shareability(Shareability::Inner),
            base.with_access(Access::READ | Access::EXECUTE),
            base.with_memory_type(MemoryType::Device),
            base.with_memory_type(MemoryType::Normal(CachePolicy::WriteThrough)),
            base.with_memory_type(MemoryType::Normal(CachePolicy::NotCached))
                .with_shareability(Shareability::NonShareable),
        ],
    }
}

/// The same window, at the end of a larger input range.
fn long_window_of(bits: u8) -> Window {
    Window { start: (1 << bits) - (3 << 30), ..long_window() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn short_descriptors_at_the_end_of_the_address_space(
        steps in short_window(0, Remap::INNER).steps(40),
    ) {
        short_case(Split::Whole, (1 << 32) - 48 * MIB, Remap::INNER, &steps)?;
    }

    #[test]
    fn short_descriptors_at_the_end_of_the_low_part(
        steps in short_window(0, Remap::OUTER).steps(30),
        n in 1_u8..=6,
    ) {
        short_case(Split::Low { n }, (1 << (32 - n)) - 48 * MIB, Remap::OUTER, &steps)?;
    }

    #[test]
    fn short_descriptors_at_the_start_of_the_high_part(
        steps in short_window(0, Remap::INNER).steps(30),
        n in 1_u8..=7,
    ) {
        short_case(Split::High { n }, 1 << (32 - n), Remap::INNER, &steps)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stage_1_from_either_level(steps in long_window().steps(24), bits in prop::sample::select(vec![34_u8, 39, 40, 48])) {
        let config = Stage1Config { input_bits: bits, output_bits: 48, world: Security::NonSecure };
        run::<Stage1>(config, long_window_of(bits), &steps, |table, memory, at| {
            let stage = LongStage::One { mair: MAIR, secure: false };
            long(stage, u32::from(bits), table.root().raw(), |address| memory.walker_reads(address), at)
        })?;
    }

    #[test]
    fn stage_2_from_either_level(steps in long_window().steps(24), bits in prop::sample::select(vec![34_u8, 39, 40, 48])) {
        let config = Stage2Config { input_bits: bits, output_bits: 40 };
        run::<Stage2>(config, long_window_of(bits), &steps, |table, memory, at| {
            long(LongStage::Two, u32::from(bits), table.root().raw(), |address| memory.walker_reads(address), at)
        })?;
    }
}
