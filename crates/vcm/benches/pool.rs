//! Allocating and freeing physical blocks, beside the alternatives (which count in pages of 4K).

use std::hint::black_box;

use buddy_system_allocator::FrameAllocator;
use divan::Bencher;
use divan::counter::ItemsCount;
use offset_allocator::Allocator;
use vcm::pool::{BlockRequest, Freed, Policy, Pool};
use vcm::{List, PageSizes, SIZE_1M, SIZE_4K, SIZE_16M, SIZE_64K, Segment, Span};

fn main() {
    divan::main();
}

/// 1 GiB in pages.
const PAGES: u64 = 1 << 18;
/// Allocations and frees per sample.
const ROUNDS: usize = 1000;

/// A small generator of numbers (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (((self.0 >> 32) * limit as u64) >> 32) as usize
    }
}

trait Subject {
    type Held: Copy;
    fn new() -> Self;
    fn allocate(&mut self, pages: u64) -> Option<Self::Held>;
    fn free(&mut self, held: Self::Held);
}

struct Vcm(Pool, List<Segment>);

fn sizes(size: u64) -> PageSizes {
    PageSizes::from_mask(size).unwrap()
}

impl Subject for Vcm {
    type Held = Segment;
    fn new() -> Self {
        let memory = Span::new(0x8000_0000, PAGES * SIZE_4K).unwrap();
        Self(Pool::new(memory, Policy::Splitting).unwrap(), List::new())
    }
    fn allocate(&mut self, pages: u64) -> Option<Segment> {
        let len = pages * SIZE_4K;
        self.0.allocate(&BlockRequest { len, sizes: sizes(len), alignment: SIZE_4K }, &mut self.1).ok()?;
        self.1.pop()
    }
    fn free(&mut self, held: Segment) {
        assert_eq!(self.0.free(held), Freed::Yes);
    }
}

impl Subject for Allocator {
    type Held = offset_allocator::Allocation;
    fn new() -> Self {
        Self::with_max_allocs(PAGES as u32, 1 << 19)
    }
    fn allocate(&mut self, pages: u64) -> Option<Self::Held> {
        Allocator::allocate(self, pages as u32)
    }
    fn free(&mut self, held: Self::Held) {
        Allocator::free(self, held);
    }
}

impl Subject for FrameAllocator<20> {
    type Held = (usize, usize);
    fn new() -> Self {
        let mut frames = FrameAllocator::new();
        frames.add_frame(0, PAGES as usize);
        frames
    }
    fn allocate(&mut self, pages: u64) -> Option<(usize, usize)> {
        Some((self.alloc(pages as usize)?, pages as usize))
    }
    fn free(&mut self, held: (usize, usize)) {
        self.dealloc(held.0, held.1);
    }
}

/// Fills the memory with blocks of one size and frees half of them at random.
fn half_free<S: Subject>(subject: &mut S, numbers: &mut Numbers, pages: u64) -> Vec<S::Held> {
    let mut held: Vec<S::Held> = std::iter::from_fn(|| subject.allocate(pages)).collect();
    for _ in 0..held.len() / 2 {
        subject.free(held.swap_remove(numbers.below(held.len())));
    }
    held
}

/// One block at random goes and one comes.
fn churn<S: Subject>(bencher: Bencher, pages: u64) {
    let mut subject = S::new();
    let mut numbers = Numbers(7);
    let mut held = half_free(&mut subject, &mut numbers, pages);
    bencher.counter(ItemsCount::new(ROUNDS)).bench_local(|| {
        for _ in 0..ROUNDS {
            let index = numbers.below(held.len());
            subject.free(held[index]);
            held[index] = subject.allocate(pages).unwrap();
        }
    });
}

/// 4096 pages come and go.
fn frames<S: Subject>(bencher: Bencher) {
    let mut subject = S::new();
    let mut held = Vec::with_capacity(4096);
    bencher.bench_local(|| {
        for _ in 0..4096 {
            held.push(subject.allocate(1).unwrap());
        }
        while let Some(each) = held.pop() {
            subject.free(black_box(each));
        }
    });
}

macro_rules! group {
    ($name:ident, $($subject:ident: $type:ty),*) => {
        mod $name {
            use super::*;
            $(
                #[divan::bench(args = [1, 16, 256])]
                fn $subject(bencher: Bencher, pages: u64) {
                    churn::<$type>(bencher, pages);
                }
            )*
        }
    };
}

group!(a_churn_half_free_blocks_of_pages, vcm: Vcm, offset_allocator: Allocator, buddy: FrameAllocator<20>);

/// A buffer of 16 MiB in frames of 4K.
mod b_buffer_16m_of_4k {
    use super::*;

    #[divan::bench]
    fn offset_allocator(bencher: Bencher) {
        frames::<Allocator>(bencher);
    }

    #[divan::bench]
    fn buddy(bencher: Bencher) {
        frames::<FrameAllocator<20>>(bencher);
    }

    #[divan::bench]
    fn vcm_one_by_one(bencher: Bencher) {
        frames::<Vcm>(bencher);
    }

    #[divan::bench]
    fn vcm_allocate_and_free_all(bencher: Bencher) {
        let mut subject = Vcm::new();
        let mut out = List::new();
        let request = BlockRequest { len: SIZE_16M, sizes: sizes(SIZE_4K), alignment: SIZE_4K };
        bencher.bench_local(|| {
            subject.0.allocate(&request, &mut out).unwrap();
            assert_eq!(subject.0.free_all(black_box(&out)), 0);
            out.clear();
        });
    }

    #[divan::bench]
    fn vcm_allocate(bencher: Bencher) {
        let mut subject = Vcm::new();
        let mut out = List::new();
        let request = BlockRequest { len: SIZE_16M, sizes: sizes(SIZE_4K), alignment: SIZE_4K };
        subject.0.allocate(&request, &mut out).unwrap();
        let subject = std::cell::RefCell::new((subject, out));
        bencher
            .with_inputs(|| {
                let (subject, out) = &mut *subject.borrow_mut();
                subject.0.free_all(out);
                out.clear();
            })
            .bench_local_values(|()| {
                let (subject, out) = &mut *subject.borrow_mut();
                subject.0.allocate(&request, out).unwrap();
            });
    }

    #[divan::bench]
    fn vcm_half_free_with_holes(bencher: Bencher) {
        let mut subject = Vcm::new();
        half_free(&mut subject, &mut Numbers(7), 1);
        let mut out = List::new();
        let request = BlockRequest { len: SIZE_16M, sizes: sizes(SIZE_4K), alignment: SIZE_4K };
        bencher.bench_local(|| {
            subject.0.allocate(&request, &mut out).unwrap();
            assert_eq!(subject.0.free_all(black_box(&out)), 0);
            out.clear();
        });
    }
}

/// A buffer of 33 MiB and 68 KiB in the largest blocks.
#[divan::bench]
fn c_buffer_33m_of_largest(bencher: Bencher) {
    let mut subject = Vcm::new();
    let mut out = List::new();
    let len = 2 * SIZE_16M + SIZE_1M + SIZE_64K + SIZE_4K;
    let request = BlockRequest { len, sizes: PageSizes::ARM_SHORT, alignment: SIZE_4K };
    bencher.bench_local(|| {
        subject.0.allocate(&request, &mut out).unwrap();
        assert_eq!(subject.0.free_all(black_box(&out)), 0);
        out.clear();
    });
}

/// A contiguous range of 3 MiB, in an empty pool and across the blocks of a fragmented one.
mod d_contiguous_3m {
    use super::*;

    #[divan::bench]
    fn in_a_block(bencher: Bencher) {
        let mut subject = Vcm::new();
        bencher.bench_local(|| {
            let range = subject.0.allocate_contiguous(3 * SIZE_1M, SIZE_1M).unwrap();
            assert_eq!(subject.0.free(black_box(range)), Freed::Yes);
        });
    }

    #[divan::bench]
    fn at_the_end_of_holes(bencher: Bencher) {
        let mut subject = Vcm::new();
        let tail = subject.0.allocate_contiguous(PAGES * SIZE_4K, SIZE_4K).unwrap();
        assert_eq!(subject.0.free(tail), Freed::Yes);
        let mut held: Vec<Segment> = std::iter::from_fn(|| subject.allocate(1)).collect();
        held.sort_by_key(|block| block.base);
        // Every other page, and the last 3 MiB, which start inside a block of 1 MiB.
        let last = held.len() - 768 - 8;
        for block in held[..last].iter().step_by(2).chain(&held[last..held.len() - 8]) {
            subject.free(*block);
        }
        bencher.bench_local(|| {
            let range = subject.0.allocate_contiguous(3 * SIZE_1M, SIZE_4K).unwrap();
            assert_eq!(subject.0.free(black_box(range)), Freed::Yes);
        });
    }
}
