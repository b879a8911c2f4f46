//! QEMU's Arm CPU as the judge of short-descriptor tables: address, page size and permission of every query, as the
//! address translation operations of a Cortex-A15 see them.
//!
//! Without `qemu-system-arm` the test fails, unless `VCM_WITHOUT_QEMU=1` says that this is meant.

#[path = "qemu_arm/judge.rs"]
mod judge;
mod support;

use judge::{
    ACCESS_FLAG_1, ACCESS_FLAG_2, Job, PERMISSION_1, PERMISSION_2, TABLES, TRANSLATION_1, TRANSLATION_2,
    Verdict, judge, without_qemu,
};
use support::Pool;
use vcm::{
    Access, Attributes, MemoryType, PhysicalAddress, Privilege, SIZE_1M, SIZE_4K, SIZE_16M, SIZE_64K,
    Shareability, Span,
};
use vcm_pagetable::arm_short::{AccessModel, ArmShort, Config, Remap, Split};
use vcm_pagetable::{Gather, PageTable, Segment};

/// What the CPU must say if `translate` is right.
fn expected(tables: &[&PageTable<ArmShort>], memory: &Pool<u32>, address: u32) -> [Option<Verdict>; 4] {
    let at = u64::from(address);
    let Some(table) = tables.iter().find(|table| table.input_span().contains(at)) else {
        panic!("{address:#x} is in none of the tables");
    };
    let Some(found) = table.translate(memory, at) else {
        // A hole, at whichever level.
        return [None; 4];
    };
    let denied = if found.page_size >= SIZE_1M { PERMISSION_1 } else { PERMISSION_2 };
    let attributes = found.attributes;
    [
        (Access::READ, true),
        (Access::WRITE, true),
        (Access::READ, attributes.privilege == Privilege::User),
        (Access::WRITE, attributes.privilege == Privilege::User),
    ]
    .map(|(access, allowed)| {
        Some(if allowed && attributes.access.contains(access) {
            Verdict::Passes(found.physical.raw() as u32, found.page_size == SIZE_16M)
        } else {
            Verdict::Faults(denied)
        })
    })
}

/// Compares, and counts the queries that passed, by page size.
fn compare(
    verdicts: &[[Verdict; 4]],
    addresses: &[u32],
    tables: &[&PageTable<ArmShort>],
    memory: &Pool<u32>,
    passed: &mut [usize; 4],
) {
    for (verdicts, &address) in verdicts.iter().zip(addresses) {
        let expected = expected(tables, memory, address);
        for (kind, (&verdict, expected)) in verdicts.iter().zip(expected).enumerate() {
            let agrees = match expected {
                Some(expected) => verdict == expected,
                None => matches!(verdict, Verdict::Faults(TRANSLATION_1 | TRANSLATION_2)),
            };
            assert!(
                agrees,
                "{address:#x}, access {kind}: the CPU says {verdict:x?}, the table {expected:x?}"
            );
            if let Verdict::Passes(..) = verdict {
                let table =
                    tables.iter().find(|table| table.input_span().contains(u64::from(address))).unwrap();
                let size = table.translate(memory, u64::from(address)).unwrap().page_size;
                passed[[SIZE_4K, SIZE_64K, SIZE_1M, SIZE_16M]
                    .iter()
                    .position(|&each| each == size)
                    .unwrap()] += 1;
            }
        }
    }
}

/// A small generator of numbers, the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % below
    }
}

fn attributes(random: &mut Random, remap: Remap) -> Attributes {
    let accesses = [Access::READ, Access::READ_WRITE, Access::READ | Access::EXECUTE, Access::all()];
    let shared = if remap == Remap::INNER { Shareability::Inner } else { Shareability::Outer };
    let types = [MemoryType::default(), MemoryType::Device, MemoryType::StronglyOrdered];
    Attributes::READ_WRITE
        .with_access(accesses[random.next(4) as usize])
        .with_privilege([Privilege::User, Privilege::Supervisor][random.next(2) as usize])
        .with_memory_type(types[random.next(3) as usize])
        .with_shareability(shared)
}

/// Maps, unmaps and protects at random, near the ends of the table and in a few places between, and returns the
/// addresses worth asking for.
fn exercise(
    random: &mut Random,
    table: &mut PageTable<ArmShort>,
    memory: &mut Pool<u32>,
    remap: Remap,
) -> Vec<u32> {
    let input = table.input_span();
    let mut addresses = vec![input.first() as u32, input.last() as u32];
    let units = [SIZE_4K, SIZE_64K, SIZE_1M, SIZE_16M];
    for _ in 0..60 {
        let unit = units[random.next(4) as usize];
        let base = match random.next(3) {
            0 => input.first(),
            1 => input.last() - (2 * SIZE_16M - 1),
            _ => input.first() + ((input.len() as u64 / 2) & !(SIZE_16M - 1)),
        };
        let at = base + random.next(2 * SIZE_16M / unit) * unit;
        let len = unit * (1 + random.next(3));
        let Some(span) = Span::new(at, len).filter(|&span| input.covers(span)) else { continue };
        addresses.extend([span.first() as u32, span.last() as u32]);
        addresses.push((span.first() + random.next(len)) as u32);
        if let Some(before) = span.first().checked_sub(1).filter(|&before| input.contains(before)) {
            addresses.push(before as u32);
        }
        let attributes = attributes(random, remap);
        let mut gather = Gather::new();
        // Many are refused, since something is in the way or missing: what counts is the tables that come of it.
        match random.next(5) {
            0..3 => {
                let physical = PhysicalAddress::new(random.next(0x1_0000_0000 / unit - 3) * unit);
                let _ = table.map(memory, at, [Segment { physical, len }].into_iter(), attributes);
            }
            3 => drop(table.unmap(memory, span, &mut gather)),
            _ => drop(table.protect(memory, span, attributes, &mut gather)),
        }
        gather.finish(memory);
    }
    addresses
}

#[test]
fn the_cpu_agrees_on_random_tables() {
    if without_qemu() {
        return;
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut memory = Pool::new(TABLES);
    let mut jobs = Vec::new();
    let mut tables = Vec::new();
    for case in 0..40_u8 {
        let n = case % 8;
        let access_model = if case % 3 == 0 { AccessModel::AccessFlag } else { AccessModel::Full };
        let remap = if case % 5 < 3 { Remap::INNER } else { Remap::OUTER };
        let splits = if n == 0 { vec![Split::Whole] } else { vec![Split::Low { n }, Split::High { n }] };
        let mut addresses = Vec::new();
        let mut both = Vec::new();
        for split in splits {
            let config = Config { split, access_model, remap };
            let mut table = PageTable::<ArmShort>::new(config, &mut memory).unwrap();
            addresses.extend(exercise(&mut random, &mut table, &mut memory, remap));
            both.push(table);
        }
        let root = |index: usize| both.get(index).or(both.first()).unwrap().root().raw();
        let config = Config { split: Split::Whole, access_model, remap };
        jobs.push(Job { ttbr: [root(0), root(1)], n, config, addresses });
        tables.push(both);
    }
    let verdicts = judge("random", &memory, &jobs);
    let mut passed = [0; 4];
    for ((verdicts, job), tables) in verdicts.iter().zip(&jobs).zip(&tables) {
        let tables: Vec<_> = tables.iter().collect();
        compare(verdicts, &job.addresses, &tables, &memory, &mut passed);
    }
    // The sample must be worth its name.
    assert!(passed.iter().all(|&count| count > 100), "passed by size: {passed:?}");
    println!(
        "{} addresses asked for, passed by size: {passed:?}",
        jobs.iter().map(|job| job.addresses.len()).sum::<usize>()
    );
}

#[test]
fn the_cpu_agrees_on_each_page_size_and_permission() {
    if without_qemu() {
        return;
    }
    let mut memory = Pool::new(TABLES);
    let mut jobs = Vec::new();
    let mut tables = Vec::new();
    for access_model in [AccessModel::Full, AccessModel::AccessFlag] {
        for (split, n) in [
            (Split::Whole, 0),
            (Split::Low { n: 1 }, 1),
            (Split::High { n: 1 }, 1),
            (Split::High { n: 7 }, 7),
        ] {
            let config = Config { split, access_model, remap: Remap::INNER };
            let mut table = PageTable::<ArmShort>::new(config, &mut memory).unwrap();
            let empty =
                PageTable::<ArmShort>::new(Config { split: Split::Whole, ..config }, &mut memory).unwrap();
            let input = table.input_span();
            let mut addresses = Vec::new();
            let mut place = 0;
            for privilege in [Privilege::User, Privilege::Supervisor] {
                for access in [Access::READ, Access::READ_WRITE, Access::all()] {
                    for size in [SIZE_4K, SIZE_64K, SIZE_1M, SIZE_16M] {
                        let attributes = Attributes::READ_WRITE
                            .with_shareability(Shareability::Inner)
                            .with_privilege(privilege)
                            .with_access(access);
                        // From the last byte of the range downwards, each in 16 MiB of its own.
                        place += SIZE_16M;
                        let at = input.last() - place + 1;
                        let physical = PhysicalAddress::new(0xfedc_0000_u64 & !(size - 1));
                        table
                            .map(&mut memory, at, [Segment { physical, len: size }].into_iter(), attributes)
                            .unwrap();
                        addresses.extend([at as u32, (at + size - 1) as u32, (at + size / 2 + 0x123) as u32]);
                        if size < SIZE_16M {
                            addresses.push((at + size) as u32);
                        }
                        if place + SIZE_16M > input.len() as u64 {
                            place = 0;
                            break;
                        }
                    }
                }
            }
            let ttbr = match split {
                Split::High { .. } => [empty.root().raw(), table.root().raw()],
                Split::Whole | Split::Low { .. } => [table.root().raw(), empty.root().raw()],
            };
            jobs.push(Job { ttbr, n, config, addresses });
            tables.push((table, empty));
        }
    }
    let verdicts = judge("sizes", &memory, &jobs);
    let mut passed = [0; 4];
    for ((verdicts, job), (table, _)) in verdicts.iter().zip(&jobs).zip(&tables) {
        compare(verdicts, &job.addresses, &[table], &memory, &mut passed);
    }
    assert!(passed.iter().all(|&count| count > 50), "passed by size: {passed:?}");
}

/// All eight values of AP in both models, four of which this crate never writes, against the manual (DDI
/// 0406C, chapter B3, "Access permissions") and, as far as attributes have words for it, against what
/// `translate` reads out of them.
#[test]
fn the_cpu_agrees_on_every_value_of_ap() {
    if without_qemu() {
        return;
    }
    let mut memory = Pool::new(TABLES);
    let mut jobs = Vec::new();
    let mut tables = Vec::new();
    for access_model in [AccessModel::Full, AccessModel::AccessFlag] {
        let config = Config { split: Split::Whole, access_model, remap: Remap::INNER };
        let mut table = PageTable::<ArmShort>::new(config, &mut memory).unwrap();
        // A table to put small pages into by hand.
        let page = Segment { physical: PhysicalAddress::new(0x5000_0000), len: SIZE_4K };
        let plain = Attributes::READ_WRITE.with_shareability(Shareability::Inner);
        table.map(&mut memory, 0x200_0000, [page].into_iter(), plain).unwrap();
        let level2 = memory.walker_reads(table.root().raw() + 4 * 0x20) & !0x3ff;
        let mut addresses = Vec::new();
        for ap in 0..8_u32 {
            let section = 0x6000_0000 | (ap >> 2) << 15 | (ap & 3) << 10 | 0b10;
            memory.poke(table.root(), 0x10 + ap as usize, section);
            let small = 0x7000_0000 | (ap >> 2) << 9 | (ap & 3) << 4 | 0b10;
            memory.poke(PhysicalAddress::new(u64::from(level2)), 0x10 + ap as usize, small);
            addresses.extend([0x100_0000 + (ap << 20) + 0x45, 0x200_0000 + ((0x10 + ap) << 12) + 0x45]);
        }
        jobs.push(Job { ttbr: [table.root().raw(); 2], n: 0, config, addresses });
        tables.push(table);
    }
    let verdicts = judge("ap", &memory, &jobs);
    for ((verdicts, job), table) in verdicts.iter().zip(&jobs).zip(&tables) {
        for (index, (verdicts, &address)) in verdicts.iter().zip(&job.addresses).enumerate() {
            let (ap, level) = (index / 2, index % 2);
            // Privileged read and write, user read and write.
            let permitted = match (job.config.access_model, ap) {
                (AccessModel::AccessFlag, ap) if ap & 1 == 0 => None,
                (_, 0b000 | 0b100) => Some([false, false, false, false]),
                (_, 0b001) => Some([true, true, false, false]),
                (_, 0b010) => Some([true, true, true, false]),
                (_, 0b011) => Some([true, true, true, true]),
                (_, 0b101) => Some([true, false, false, false]),
                (_, _) => Some([true, false, true, false]),
            };
            let physical = if level == 0 { 0x6000_0045 } else { 0x7000_0045 };
            let expected = match permitted {
                None => [Verdict::Faults([ACCESS_FLAG_1, ACCESS_FLAG_2][level]); 4],
                Some(permitted) => permitted.map(|permitted| {
                    if permitted {
                        Verdict::Passes(physical, false)
                    } else {
                        Verdict::Faults([PERMISSION_1, PERMISSION_2][level])
                    }
                }),
            };
            assert_eq!(*verdicts, expected, "{:?}, AP {ap:#05b}", job.config.access_model);
            // What everybody may do is what `translate` reports.
            let found = table.translate(&memory, u64::from(address)).unwrap().attributes;
            let passes = |kind: usize| matches!(verdicts[kind], Verdict::Passes(..));
            let user = found.privilege == Privilege::User;
            let (read, write) = if user { (2, 3) } else { (0, 1) };
            assert_eq!(found.access.contains(Access::READ), passes(read));
            assert_eq!(found.access.contains(Access::WRITE), passes(write));
        }
    }
}
