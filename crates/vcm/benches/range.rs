//! Allocating and freeing address ranges, beside the alternatives.
//!
//! Each figure is of 1000 allocations and frees. Our lengths are aligned to the largest page of 4K, 64K or 1M that
//! they hold, and every range can be found by any of its addresses; `offset_allocator`, `range_alloc` and
//! `buddy` know no alignment and find nothing. Lengths of more than 256 pages are not cached: they measure the
//! tree alone.

use std::hint::black_box;
use std::ops::Range;

use buddy_system_allocator::FrameAllocator;
use divan::Bencher;
use divan::counter::ItemsCount;
use offset_allocator::Allocator;
use range_alloc::RangeAllocator;
use vcm::Span;
use vcm::range::{Alignment, RangeKey, Ranges, Request};
use vm_allocator::{AddressAllocator, AllocPolicy, RangeInclusive};

fn main() {
    divan::main();
}

/// The window: 2^32 pages; what knows only 32 bits counts in pages.
const PAGES: u64 = (1 << 32) - 1;
/// Allocations and frees per sample.
const ROUNDS: usize = 1000;

/// A small generator of numbers (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (((self.next() >> 32) * limit as u64) >> 32) as usize
    }
}

/// The lengths asked for, in pages.
#[derive(Clone, Copy)]
enum Lengths {
    One,
    /// 4K to 4M, powers of two, small ones more often.
    Powers,
    /// 1 to 256 pages, all as often.
    Any,
    /// 257 to 511 pages: nothing that is cached.
    Uncached,
}

impl Lengths {
    fn next(self, numbers: &mut Numbers) -> u64 {
        match self {
            Self::One => 1,
            Self::Powers => 1 << numbers.below(11).min(numbers.below(11)),
            Self::Any => 1 + numbers.below(256) as u64,
            Self::Uncached => 257 + numbers.below(255) as u64,
        }
    }
}

trait Subject {
    type Held: Copy;
    fn new() -> Self;
    fn allocate(&mut self, pages: u64) -> Self::Held;
    fn free(&mut self, held: Self::Held);
}

struct Vcm(Ranges<u32>, Span);

impl Subject for Vcm {
    type Held = RangeKey;
    fn new() -> Self {
        let window = Span::new(0, PAGES << 12).unwrap();
        Self(Ranges::new(window, 4096), window)
    }
    fn allocate(&mut self, pages: u64) -> RangeKey {
        // As large as a page of the table can be for this length: 4K, 64K, 1M.
        let alignment = 4096 << (pages.ilog2() / 4 * 4).min(12);
        let request = Request {
            len: u128::from(pages) << 12,
            alignment: Alignment::Preferring(alignment),
            within: self.1,
        };
        self.0.place(&request, 1).unwrap()
    }
    fn free(&mut self, held: RangeKey) {
        self.0.remove(held).unwrap();
    }
}

impl Subject for Allocator {
    type Held = offset_allocator::Allocation;
    fn new() -> Self {
        Self::with_max_allocs(PAGES as u32, 1 << 18)
    }
    fn allocate(&mut self, pages: u64) -> Self::Held {
        Allocator::allocate(self, pages as u32).unwrap()
    }
    fn free(&mut self, held: Self::Held) {
        Allocator::free(self, held);
    }
}

/// The range of a `RangeAllocator`, to copy.
#[derive(Clone, Copy)]
struct Pair(u64, u64);

impl Subject for RangeAllocator<u64> {
    type Held = Pair;
    fn new() -> Self {
        RangeAllocator::new(0..PAGES)
    }
    fn allocate(&mut self, pages: u64) -> Pair {
        let Range { start, end } = self.allocate_range(pages).unwrap();
        Pair(start, end)
    }
    fn free(&mut self, held: Pair) {
        self.free_range(held.0..held.1);
    }
}

impl Subject for AddressAllocator {
    type Held = RangeInclusive;
    fn new() -> Self {
        AddressAllocator::new(0, PAGES << 12).unwrap()
    }
    fn allocate(&mut self, pages: u64) -> RangeInclusive {
        AddressAllocator::allocate(self, pages << 12, 4096, AllocPolicy::FirstMatch).unwrap()
    }
    fn free(&mut self, held: RangeInclusive) {
        AddressAllocator::free(self, &held).unwrap();
    }
}

impl Subject for FrameAllocator<33> {
    type Held = (usize, usize);
    fn new() -> Self {
        let mut frames = FrameAllocator::new();
        frames.add_frame(0, PAGES as usize);
        frames
    }
    fn allocate(&mut self, pages: u64) -> (usize, usize) {
        (self.alloc(pages as usize).unwrap(), pages as usize)
    }
    fn free(&mut self, held: (usize, usize)) {
        self.dealloc(held.0, held.1);
    }
}

/// One range of one length comes and goes.
fn one<S: Subject>(bencher: Bencher, lengths: Lengths) {
    let mut subject = S::new();
    let mut numbers = Numbers(7);
    let lengths: Vec<u64> = (0..ROUNDS).map(|_| lengths.next(&mut numbers)).collect();
    let keep = subject.allocate(1);
    bencher.counter(ItemsCount::new(ROUNDS)).bench_local(|| {
        for pages in &lengths {
            let held = subject.allocate(*pages);
            subject.free(black_box(held));
        }
    });
    subject.free(keep);
}

/// `live` ranges, after as many have gone at random: then one at random goes and one comes.
fn churn<S: Subject>(bencher: Bencher, lengths: Lengths, live: usize) {
    let mut subject = S::new();
    let mut numbers = Numbers(7);
    let mut held: Vec<S::Held> =
        (0..2 * live).map(|_| subject.allocate(lengths.next(&mut numbers))).collect();
    for _ in 0..live {
        subject.free(held.swap_remove(numbers.below(held.len())));
    }
    bencher.counter(ItemsCount::new(ROUNDS)).bench_local(|| {
        for _ in 0..ROUNDS {
            let place = &mut held[numbers.below(live)];
            subject.free(*place);
            *place = subject.allocate(lengths.next(&mut numbers));
        }
    });
}

macro_rules! group {
    ($name:ident, $run:expr, [$($subject:ident: $type:ty),*]) => {
        mod $name {
            use super::*;
            $(
                #[divan::bench]
                fn $subject(bencher: Bencher) {
                    let run: fn(Bencher) = |bencher| $run(bencher, std::marker::PhantomData::<$type>);
                    run(bencher);
                }
            )*
        }
    };
}

type Of<S> = std::marker::PhantomData<S>;

fn one_page<S: Subject>(bencher: Bencher, _: Of<S>) {
    one::<S>(bencher, Lengths::One);
}
fn one_uncached<S: Subject>(bencher: Bencher, _: Of<S>) {
    one::<S>(bencher, Lengths::Uncached);
}
fn churn_1k<S: Subject>(bencher: Bencher, _: Of<S>) {
    churn::<S>(bencher, Lengths::Any, 1000);
}
fn churn_pages<S: Subject>(bencher: Bencher, _: Of<S>) {
    churn::<S>(bencher, Lengths::One, 100_000);
}
fn churn_powers<S: Subject>(bencher: Bencher, _: Of<S>) {
    churn::<S>(bencher, Lengths::Powers, 100_000);
}
fn churn_any<S: Subject>(bencher: Bencher, _: Of<S>) {
    churn::<S>(bencher, Lengths::Any, 100_000);
}
fn churn_uncached<S: Subject>(bencher: Bencher, _: Of<S>) {
    churn::<S>(bencher, Lengths::Uncached, 100_000);
}

group!(a_one_page, one_page, [
    vcm: Vcm, offset_allocator: Allocator, range_alloc: RangeAllocator<u64>, vm_allocator: AddressAllocator,
    buddy: FrameAllocator<33>
]);
group!(b_one_uncached_length, one_uncached, [
    vcm: Vcm, offset_allocator: Allocator, range_alloc: RangeAllocator<u64>, vm_allocator: AddressAllocator,
    buddy: FrameAllocator<33>
]);
group!(c_churn_1_to_256_pages_1000_live, churn_1k, [
    vcm: Vcm, offset_allocator: Allocator, range_alloc: RangeAllocator<u64>, vm_allocator: AddressAllocator,
    buddy: FrameAllocator<33>
]);
// range-alloc and vm-allocator take tens of microseconds each here.
group!(d_churn_pages_100k_live, churn_pages, [vcm: Vcm, offset_allocator: Allocator, buddy: FrameAllocator<33>]);
group!(e_churn_powers_100k_live, churn_powers, [vcm: Vcm, offset_allocator: Allocator, buddy: FrameAllocator<33>]);
group!(f_churn_1_to_256_pages_100k_live, churn_any, [
    vcm: Vcm, offset_allocator: Allocator, buddy: FrameAllocator<33>
]);
group!(g_churn_uncached_lengths_100k_live, churn_uncached, [
    vcm: Vcm, offset_allocator: Allocator, buddy: FrameAllocator<33>
]);

/// Finding the range of an address, among 100,000.
#[divan::bench]
fn h_find_100k(bencher: Bencher) {
    let mut subject = Vcm::new();
    let mut numbers = Numbers(7);
    let keys: Vec<_> = (0..100_000).map(|_| subject.allocate(Lengths::Any.next(&mut numbers))).collect();
    let spans: Vec<_> = keys.iter().map(|key| subject.0.span_of(*key).unwrap()).collect();
    bencher.counter(ItemsCount::new(ROUNDS)).bench_local(|| {
        for _ in 0..ROUNDS {
            black_box(subject.0.find(spans[numbers.below(spans.len())].last())).unwrap();
        }
    });
}

/// A request that none of 50,000 gaps takes, though each is as long. They start a page behind a multiple of 2M:
/// no subtree has an aligned block (for an alignment of 1M) or an aligned address (2M).
#[divan::bench(args = [1 << 20, 2 << 20])]
fn i_none_of_50k_gaps_is_aligned(bencher: Bencher, alignment: u64) {
    refused(bencher, alignment, 4096);
}

/// The worst case: the gaps start a page before a multiple of 2M, so that each has an aligned address, but not
/// enough room behind it. Each is looked at.
#[divan::bench]
fn i_none_of_50k_gaps_has_room_where_it_is_aligned(bencher: Bencher) {
    refused(bencher, 2 << 20, (2 << 20) - 4096);
}

/// A request for 300 pages where gaps of as many start `offset` bytes behind each multiple of 2M.
fn refused(bencher: Bencher, alignment: u64, offset: u64) {
    const LEN: u64 = 300 << 12;
    let window = Span::new(0, 50_001 << 21).unwrap();
    let mut ranges = Ranges::new(window, 4096);
    let mut end = 0;
    for number in 0..50_000u64 {
        let gap = (number << 21) + offset;
        ranges.place_at(Span::inclusive(end, gap - 1).unwrap(), 0).unwrap();
        end = gap + LEN;
    }
    ranges.place_at(Span::inclusive(end, window.last()).unwrap(), 0).unwrap();
    let request = Request { len: u128::from(LEN), alignment: Alignment::Exactly(alignment), within: window };
    bencher.bench_local(|| ranges.place(black_box(&request), 0).unwrap_err());
}

/// The cache alone: one page comes and goes.
#[divan::bench]
fn j_cached_pair(bencher: Bencher) {
    let mut subject = Vcm::new();
    bencher.bench_local(|| {
        let held = subject.allocate(1);
        subject.free(held);
    });
}
