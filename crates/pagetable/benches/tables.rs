//! What an operation costs, beside other Rust crates for page tables, in one run: `cargo bench -p vcm-pagetable`.
//!
//! Map and unmap must alternate and are timed apart, and the ratios belong into the same table: that is why this is
//! a harness of its own. Each number is the median of many samples, in nanoseconds per call.
//!
//! What the columns do differs, and in nobody's favour but the reader's: the crate here checks that the whole range
//! is free (or mapped) before it writes, frees empty tables, and keeps them until the gather is finished. x86_64 and
//! page_table_multiarch check page by page and keep tables for ever, aarch64-paging does not check at all.

mod peers;

use peers::{Aarch64Paging, PageTableMultiarch, X86};
use std::hint::black_box;
use std::ops::Range;
use std::time::Instant;
use vcm::{Attributes, PhysicalAddress, SIZE_2M, SIZE_4K, SIZE_16M, SIZE_64K, Security, Shareability, Span};
use vcm_pagetable::aarch64::{Stage1, Stage1Config};
use vcm_pagetable::arm_short::{ArmShort, Config};
use vcm_pagetable::{
    Format, Gather, PageTable, Segment, TableError, TableMemory, Word, fill_slice, first_unlike_in_slice,
};

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

/// Tables in one slice; freed ones are zeroed and used again.
struct Words<W> {
    words: Vec<W>,
    next: u64,
    free: Vec<(u64, PhysicalAddress)>,
}

const TABLES: u64 = 0x1000_0000;

impl<W: Word> Words<W> {
    fn new() -> Self {
        Self { words: vec![W::ZERO; (16 << 20) / W::BYTES as usize], next: TABLES, free: Vec::new() }
    }

    #[inline]
    fn start(table: PhysicalAddress) -> usize {
        ((table.raw() - TABLES) / W::BYTES) as usize
    }
}

impl<W: Word> TableMemory<W> for Words<W> {
    fn allocate(&mut self, size: u64, align: u64) -> Result<PhysicalAddress, TableError> {
        if let Some(index) = self.free.iter().rposition(|free| free.0 == size) {
            let table = self.free.swap_remove(index).1;
            let start = Self::start(table);
            self.words[start..start + (size / W::BYTES) as usize].fill(W::ZERO);
            return Ok(table);
        }
        let table = self.next.next_multiple_of(align);
        if Self::start(PhysicalAddress::new(table + size)) > self.words.len() {
            return Err(TableError::OutOfMemory { size });
        }
        self.next = table + size;
        Ok(PhysicalAddress::new(table))
    }

    fn free(&mut self, table: PhysicalAddress, size: u64) {
        self.free.push((size, table));
    }

    #[inline]
    fn read(&self, table: PhysicalAddress, index: usize) -> W {
        self.words[Self::start(table) + index]
    }

    #[inline]
    fn write(&mut self, table: PhysicalAddress, index: usize, value: W) {
        self.words[Self::start(table) + index] = value;
    }

    #[inline]
    fn fill(&mut self, table: PhysicalAddress, index: usize, count: usize, first: W, step: W) {
        let start = Self::start(table) + index;
        fill_slice(&mut self.words[start..start + count], first, step);
    }

    #[inline]
    fn first_unlike(&self, table: PhysicalAddress, words: Range<usize>, mask: W, value: W) -> Option<usize> {
        let start = Self::start(table);
        let found = first_unlike_in_slice(&self.words[start + words.start..start + words.end], mask, value);
        found.map(|index| words.start + index)
    }
}

/// A table of this crate.
struct Ours<F: Format> {
    memory: Words<F::Word>,
    table: PageTable<F>,
}

const ATTRIBUTES: Attributes = Attributes::READ_WRITE.with_shareability(Shareability::Inner);

impl<F: Format> Ours<F> {
    fn new(config: F::Config) -> Self {
        let mut memory = Words::new();
        let table = PageTable::new(config, &mut memory).expect("there is memory for a root");
        Self { memory, table }
    }
}

impl<F: Format> Subject for Ours<F> {
    #[inline(never)]
    fn map(&mut self, call: Call) {
        let segment = Segment { physical: PhysicalAddress::new(call.physical), len: call.len };
        self.table
            .map(&mut self.memory, call.at, [segment].into_iter(), ATTRIBUTES)
            .expect("the range is free");
    }

    #[inline(never)]
    fn unmap(&mut self, call: Call) {
        let mut gather = Gather::new();
        let span = Span::new(call.at, call.len).expect("no range is empty");
        self.table.unmap(&mut self.memory, span, &mut gather).expect("the range is mapped");
        black_box(gather.spans());
        gather.finish(&mut self.memory);
    }

    #[inline(never)]
    fn translate(&self, at: u64) -> u64 {
        self.table.translate(&self.memory, at).map_or(0, |translation| translation.physical.raw())
    }
}

/// Something to do, over and over.
struct Row {
    name: &'static str,
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

fn rows() -> Vec<Row> {
    let page = |at: u64| Call { at, physical: MEMORY, len: SIZE_4K };
    let small = |count: u64, len: u64, stride: u64, offset: u64| {
        // One page off, so that no larger page fits.
        (0..count)
            .map(|index| Call { at: BASE + index * stride + offset, physical: MEMORY + SIZE_4K, len })
            .collect::<Vec<_>>()
    };
    vec![
        Row {
            name: "one 4K page, hot",
            kept: vec![page(BASE)],
            calls: (1..256)
                .map(|index| Call {
                    at: BASE + index * SIZE_4K,
                    physical: MEMORY + (index * 7919 % 65536) * SIZE_4K,
                    len: SIZE_4K,
                })
                .collect(),
        },
        Row {
            name: "one 4K page, alone in its table",
            kept: vec![],
            calls: small(64, SIZE_4K, SIZE_2M, 0x8_0000),
        },
        Row {
            name: "one 64K page (16 entries)",
            kept: vec![page(BASE)],
            calls: (1..16)
                .map(|index| Call {
                    at: BASE + index * SIZE_64K,
                    physical: MEMORY + index * SIZE_64K,
                    len: SIZE_64K,
                })
                .collect(),
        },
        Row {
            name: "one 2M block (or two 1M)",
            kept: vec![Call { at: BASE, physical: MEMORY, len: SIZE_2M }],
            calls: (1..256)
                .map(|index| Call { at: BASE + index * SIZE_2M, physical: MEMORY, len: SIZE_2M })
                .collect(),
        },
        Row {
            name: "256 x 4K in one call",
            kept: (0..16)
                .flat_map(|index| [page(BASE + index * SIZE_2M), page(BASE + index * SIZE_2M + 0x1f_f000)])
                .collect(),
            calls: small(16, 256 * SIZE_4K, SIZE_2M, 0x8_0000),
        },
        Row { name: "16 MiB of 4K, new tables", kept: vec![], calls: small(4, SIZE_16M, SIZE_16M, 0) },
        Row {
            name: "1 GiB of 2M (or 1M), new table",
            kept: vec![],
            calls: vec![Call { at: BASE, physical: MEMORY + SIZE_2M, len: 1 << 30 }],
        },
        Row {
            name: "511 x 2M beside another",
            kept: vec![Call { at: BASE, physical: MEMORY, len: SIZE_2M }],
            calls: vec![Call {
                at: BASE + SIZE_2M,
                physical: MEMORY + 2 * SIZE_2M,
                len: (1 << 30) - SIZE_2M,
            }],
        },
    ]
}

fn main() {
    // `cargo test` runs benches too, to see that they work.
    let quick = std::env::args().any(|argument| argument == "--test");
    let stage1 = Stage1Config { input_bits: 48, output_bits: 48, world: Security::NonSecure };
    println!("ns per call, map / unmap; the ratio is the best of the others to Stage1\n");
    println!(
        "{:<32}{:>18}{:>18}{:>18}{:>18}{:>18}   ratio",
        "", "ArmShort", "Stage1 (4 levels)", "pt_multiarch", "x86_64", "aarch64-paging"
    );
    let print = |name: &str, times: [[f64; 2]; 5]| {
        print!("{name:<32}");
        for [map, unmap] in times {
            print!("{:>18}", format!("{map:.1} / {unmap:.1}"));
        }
        let best = |which: usize| times[2..].iter().map(|time| time[which]).fold(f64::INFINITY, f64::min);
        println!("   {:.2} / {:.2}", best(0) / times[1][0], best(1) / times[1][1]);
    };
    for row in rows() {
        if quick {
            continue;
        }
        print(
            row.name,
            [
                map_and_unmap(&mut Ours::<ArmShort>::new(Config::default()), &row),
                map_and_unmap(&mut Ours::<Stage1>::new(stage1), &row),
                map_and_unmap(&mut PageTableMultiarch::new(), &row),
                map_and_unmap(&mut X86::new(), &row),
                map_and_unmap(&mut Aarch64Paging::new(), &row),
            ],
        );
    }
    print(
        "translate: throughput / latency",
        [
            translate(&mut Ours::<ArmShort>::new(Config::default())),
            translate(&mut Ours::<Stage1>::new(stage1)),
            translate(&mut PageTableMultiarch::new()),
            translate(&mut X86::new()),
            translate(&mut Aarch64Paging::new()),
        ],
    );
}
