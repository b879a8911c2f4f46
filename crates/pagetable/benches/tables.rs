//! What an operation costs, beside other Rust crates for page tables, in one run: `cargo bench -p vcm-pagetable`.
//!
//! Map and unmap must alternate and are timed apart, and the ratios belong into the same table: that is why this is
//! a harness of its own. Each number is the median of many samples, in nanoseconds per call.
//!
//! What the columns do differs, and in nobody's favour but the reader's: the crate here checks that the whole range
//! is free (or mapped) before it writes, frees empty tables, and keeps them until the gather is finished. x86_64 and
//! page_table_multiarch check page by page and keep tables for ever, aarch64-paging does not check at all.
//!
//! All tables are reached by raw pointers at a fixed offset, as in a kernel. The rows with a hot page or
//! block are where the crate here finds the table that it worked in last; "each in another table" is where it
//! never does.

mod linear;
mod peers;

use linear::Linear;
use peers::{Aarch64Paging, PageTableMultiarch, X86};
use std::hint::black_box;
use std::marker::PhantomData;
use std::time::Instant;
use vcm::{
    Attributes, PhysicalAddress, SIZE_1M, SIZE_2M, SIZE_4K, SIZE_16M, SIZE_64K, Security, Shareability, Span,
};
use vcm_pagetable::aarch64::{Contiguous, Stage1, Stage1Config};
use vcm_pagetable::arm_short::{ArmShort, Config};
use vcm_pagetable::{Format, Gather, PageTable, Segment, amd, riscv, vtd};

/// One call.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub(crate) at: u64,
    pub(crate) physical: u64,
    pub(crate) len: u64,
}

/// A page table under test.
pub(crate) trait Subject {
    fn map(&mut self, call: Call);
    fn unmap(&mut self, call: Call);
    fn translate(&self, at: u64) -> u64;
}

/// What is mapped: a constant, as it is to the other crates.
trait Shared {
    const ATTRIBUTES: Attributes;
}

/// Inner shareable.
struct Inner;
/// Outer shareable, for formats that know nothing else.
struct Outer;

impl Shared for Inner {
    const ATTRIBUTES: Attributes = Attributes::READ_WRITE.with_shareability(Shareability::Inner);
}

impl Shared for Outer {
    const ATTRIBUTES: Attributes = Attributes::READ_WRITE;
}

/// A table of this crate.
struct Ours<F: Format, S> {
    memory: Linear<F::Word>,
    table: PageTable<F>,
    shared: PhantomData<S>,
}

impl<F: Format, S: Shared> Ours<F, S> {
    fn new(config: F::Config) -> Self {
        Self::of_format(F::new(config).expect("the format has it"))
    }

    fn of_format(format: F) -> Self {
        let mut memory = Linear::new();
        let table = PageTable::of_format(format, &mut memory).expect("there is memory for a root");
        Self { memory, table, shared: PhantomData }
    }
}

impl<F: Format, S: Shared> Subject for Ours<F, S> {
    #[inline(never)]
    fn map(&mut self, call: Call) {
        let segment = Segment { physical: PhysicalAddress::new(call.physical), len: call.len };
        self.table
            .map(&mut self.memory, call.at, [segment].into_iter(), S::ATTRIBUTES)
            .expect("the range is free");
    }

    #[inline(never)]
    fn unmap(&mut self, call: Call) {
        let mut gather = Gather::new();
        let span = Span::new(call.at, call.len).expect("no range is empty");
        self.table.unmap(&mut self.memory, span, &mut gather).expect("the range is mapped");
        black_box(&gather);
        gather.finish(&mut self.memory);
    }

    #[inline(never)]
    fn translate(&self, at: u64) -> u64 {
        self.table.translate(&self.memory, at).map_or(0, |translation| translation.physical.raw())
    }
}

/// Whom a row is about: like is compared with like only.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    /// All, each with blocks of its own second-smallest size where it is about blocks.
    All,
    /// Those of this crate with pages of 64K: of 16 equal entries, and of 16 that are marked as contiguous.
    Groups,
}

/// Something to do, over and over.
struct Row {
    name: &'static str,
    who: Who,
    /// Mapped before, and left: keeps tables alive.
    kept: Vec<Call>,
    calls: Vec<Call>,
}

/// The median time of one call, mapping and unmapping.
fn map_and_unmap(subject: &mut impl Subject, row: &Row) -> [f64; 2] {
    const SAMPLES: usize = 400;
    for &call in &row.kept {
        subject.map(call);
    }
    let mut times = [const { Vec::new() }; 2];
    for _ in 0..SAMPLES {
        let start = Instant::now();
        for &call in &row.calls {
            subject.map(black_box(call));
        }
        times[0].push(start.elapsed());
        let start = Instant::now();
        for &call in &row.calls {
            subject.unmap(black_box(call));
        }
        times[1].push(start.elapsed());
    }
    for &call in &row.kept {
        subject.unmap(call);
    }
    times.map(|mut times| {
        times.sort_unstable();
        times[SAMPLES / 2].as_secs_f64() * 1e9 / row.calls.len() as f64
    })
}

/// The median time of a translation: of many that are independent, and of a chain.
fn translate(subject: &mut impl Subject) -> [f64; 2] {
    const PAGES: u64 = 512;
    const ROUNDS: u64 = 4096;
    let call = Call { at: BASE, physical: MEMORY + SIZE_4K, len: PAGES * SIZE_4K };
    subject.map(call);
    let mut times = [const { Vec::new() }; 2];
    for _ in 0..200 {
        for (chained, which) in [(0, 0), (u64::MAX, 1)] {
            let times = &mut times[which];
            let start = Instant::now();
            let mut last = 0;
            for round in 0..ROUNDS {
                // In a chain the next address depends on the last answer, by nothing.
                let page = (round.wrapping_mul(7919) + (last & chained & 1)) % PAGES;
                last = black_box(subject.translate(BASE + page * SIZE_4K));
            }
            times.push(start.elapsed());
        }
    }
    subject.unmap(call);
    times.map(|mut times| {
        times.sort_unstable();
        times[100].as_secs_f64() * 1e9 / ROUNDS as f64
    })
}

const BASE: u64 = 0x4000_0000;
const MEMORY: u64 = 0x8000_0000;

/// What is measured, of a format in which a table of pages covers `block` bytes, which may also be one page.
fn rows(block: u64) -> Vec<Row> {
    let page = |at: u64| Call { at, physical: MEMORY, len: SIZE_4K };
    let each = |range: std::ops::Range<u64>, len: u64| {
        range
            .map(|index| Call { at: BASE + index * len, physical: MEMORY + index * len, len })
            .collect::<Vec<_>>()
    };
    let small = |count: u64, len: u64, stride: u64, offset: u64| {
        // One page off, so that no larger page fits.
        (0..count)
            .map(|index| Call { at: BASE + index * stride + offset, physical: MEMORY + SIZE_4K, len })
            .collect::<Vec<_>>()
    };
    let row = |name, kept, calls| Row { name, who: Who::All, kept, calls };
    let ends = |count: u64| {
        (0..count)
            .flat_map(|index| [page(BASE + index * SIZE_2M), page(BASE + index * SIZE_2M + 0x1f_f000)])
            .collect::<Vec<_>>()
    };
    vec![
        row(
            "one 4K page, hot",
            vec![page(BASE)],
            (1..256)
                .map(|index| Call {
                    at: BASE + index * SIZE_4K,
                    physical: MEMORY + (index * 7919 % 65536) * SIZE_4K,
                    len: SIZE_4K,
                })
                .collect(),
        ),
        row("one 4K page, each in another table", ends(64), small(64, SIZE_4K, SIZE_2M, SIZE_4K)),
        row("one 4K page, alone in its table", vec![], small(64, SIZE_4K, SIZE_2M, 0x8_0000)),
        Row {
            name: "one 64K page (16 entries)",
            who: Who::Groups,
            kept: vec![page(BASE)],
            calls: each(1..16, SIZE_64K),
        },
        row("16 x 4K in one call", vec![page(BASE)], small(14, SIZE_64K, SIZE_64K, SIZE_4K)),
        row(
            "one block (2M, ArmShort 1M)",
            vec![Call { at: BASE, physical: MEMORY, len: block }],
            each(1..256, block),
        ),
        row("256 x 4K in one call", ends(16), small(16, 256 * SIZE_4K, SIZE_2M, 0x8_0000)),
        row("16 MiB of 4K, new tables", vec![], small(4, SIZE_16M, SIZE_16M, 0)),
        row(
            "512 blocks, new table",
            vec![],
            vec![Call { at: BASE, physical: MEMORY + block, len: 512 * block }],
        ),
        row(
            "511 blocks beside another",
            vec![Call { at: BASE, physical: MEMORY, len: block }],
            vec![Call { at: BASE + block, physical: MEMORY + 2 * block, len: 511 * block }],
        ),
    ]
}

fn main() {
    // `cargo test` runs benches too, to see that they work.
    let quick = std::env::args().any(|argument| argument == "--test");
    let config = Stage1Config { input_bits: 48, output_bits: 48, world: Security::NonSecure };
    // The others do not mark entries as contiguous, or were told not to.
    let stage1 = |who| {
        let format = Stage1::new(config).expect("the architecture has it");
        Ours::<Stage1, Inner>::of_format(format.with_contiguous(match who {
            Who::All => Contiguous::NotUsed,
            Who::Groups => Contiguous::Used,
        }))
    };
    println!("ns per call, map / unmap; the ratio is the best of the others to Stage1\n");
    println!(
        "{:<36}{:>18}{:>18}{:>18}{:>18}{:>18}   ratio",
        "", "ArmShort", "Stage1 (4 levels)", "pt_multiarch", "x86_64", "aarch64-paging"
    );
    let print = |name: &str, times: [Option<[f64; 2]>; 5]| {
        print!("{name:<36}");
        for times in times {
            print!("{:>18}", times.map_or("-".to_owned(), |[map, unmap]| format!("{map:.1} / {unmap:.1}")));
        }
        let best = |which: usize| times[2..].iter().flatten().map(|time| time[which]).reduce(f64::min);
        match (times[1], best(0), best(1)) {
            (Some(ours), Some(map), Some(unmap)) => {
                println!("   {:.2} / {:.2}", map / ours[0], unmap / ours[1])
            }
            _ => println!(),
        }
    };
    // Any argument that is not an option chooses the rows with that text in their name.
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|text| name.contains(text.as_str()));
    for (arm_short, row) in rows(SIZE_1M).iter().zip(&rows(SIZE_2M)) {
        if quick || !is_wanted(row.name) {
            continue;
        }
        let all = row.who == Who::All;
        print(
            row.name,
            [
                Some(map_and_unmap(&mut Ours::<ArmShort, Inner>::new(Config::default()), arm_short)),
                Some(map_and_unmap(&mut stage1(row.who), row)),
                all.then(|| map_and_unmap(&mut PageTableMultiarch::new(), row)),
                all.then(|| map_and_unmap(&mut X86::new(), row)),
                all.then(|| map_and_unmap(&mut Aarch64Paging::new(), row)),
            ],
        );
    }
    if !quick {
        other_formats(is_wanted);
    }
    if !quick && !is_wanted("translate") {
        return;
    }
    print(
        "translate: throughput / latency",
        [
            Some(translate(&mut Ours::<ArmShort, Inner>::new(Config::default()))),
            Some(translate(&mut stage1(Who::All))),
            Some(translate(&mut PageTableMultiarch::new())),
            Some(translate(&mut X86::new())),
            Some(translate(&mut Aarch64Paging::new())),
        ],
    );
}

/// The formats of other IOMMUs. VT-d's first stage has the entries that the crate x86_64 writes.
fn other_formats(is_wanted: impl Fn(&str) -> bool) {
    println!("\nns per call, map / unmap, tables of 4 levels; the ratio is x86_64 to VT-d's first stage\n");
    println!(
        "{:<36}{:>18}{:>18}{:>18}{:>18}{:>18}   ratio",
        "", "VT-d first", "VT-d second", "RISC-V Sv48", "AMD v1", "x86_64"
    );
    let first = vtd::FirstStageConfig {
        levels: vtd::FirstStageLevels::Four,
        host_bits: 48,
        largest_page: vtd::LargestPage::Size1G,
        memory_types: vtd::MemoryTypes::Ignored,
    };
    let second = vtd::SecondStageConfig::new(vtd::SecondStageLevels::Four, 48);
    let sv48 = riscv::FirstStageConfig {
        mode: riscv::FirstStageMode::Sv48,
        physical_bits: 48,
        svnapot: riscv::Svnapot::Absent,
        svpbmt: riscv::Svpbmt::Absent,
    };
    let amd = amd::Config { mode: amd::Mode::Four, physical_bits: 48, no_snoop: amd::NoSnoop::Honoured };
    for row in rows(SIZE_2M).iter().filter(|row| row.who == Who::All && is_wanted(row.name)) {
        let times = [
            map_and_unmap(&mut Ours::<vtd::FirstStage, Outer>::new(first), row),
            map_and_unmap(&mut Ours::<vtd::SecondStage, Outer>::new(second), row),
            map_and_unmap(&mut Ours::<riscv::FirstStage, Outer>::new(sv48), row),
            map_and_unmap(&mut Ours::<amd::AmdV1, Outer>::new(amd), row),
            map_and_unmap(&mut X86::new(), row),
        ];
        print!("{:<36}", row.name);
        for [map, unmap] in times {
            print!("{:>18}", format!("{map:.1} / {unmap:.1}"));
        }
        println!("   {:.2} / {:.2}", times[4][0] / times[0][0], times[4][1] / times[0][1]);
    }
    println!();
}
