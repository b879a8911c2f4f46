//! Random sequences of operations on short-descriptor tables, against the naive model and an independent walker.

mod support;

use proptest::prelude::*;
use support::model::{PAGE, Step, Window};
use support::walkers::{ShortRegisters, short};
use vcm::{Access, Attributes, CachePolicy, MemoryType, Privilege, Shareability};
use vcm_pagetable::Format;
use vcm_pagetable::arm_short::{self, AccessModel, ArmShort, Remap, Split};

const MIB: u64 = 1 << 20;

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
    support::model::run(
        ArmShort::new(config).unwrap(),
        short_window(start, remap),
        steps,
        |table, memory, at| {
            let registers = ShortRegisters {
                ttbr: table.root().raw(),
                ttbcr_n: u32::from(split.n()),
                upper: matches!(split, Split::High { .. }),
                prrr: remap.prrr,
                nmrr: remap.nmrr,
            };
            short(registers, |address| memory.walker_reads(address), at as u32)
        },
    )
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
