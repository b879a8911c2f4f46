//! Pools against a naive model (one flag per page), and the cases that the original got wrong.

use proptest::prelude::*;
use vcm::pool::{BlockRequest, FixedCounts, Freed, Policy, Pool, PoolError};
use vcm::{List, PageSizes, PhysicalAddress, SIZE_1M, SIZE_2M, SIZE_4K, SIZE_16M, SIZE_64K, Segment, Span};

const SIZES: [u64; 4] = [SIZE_16M, SIZE_1M, SIZE_64K, SIZE_4K];

fn block(base: u64, len: u64) -> Segment {
    Segment { base: PhysicalAddress::new(base), len }
}

fn request(len: u64, sizes: u64, alignment: u64) -> BlockRequest {
    BlockRequest { len, sizes: PageSizes::from_mask(sizes).unwrap(), alignment }
}

fn any_sizes(len: u64) -> BlockRequest {
    request(len, PageSizes::ARM_SHORT.mask(), 1)
}

fn lens(blocks: &[Segment]) -> Vec<u64> {
    blocks.iter().map(|block| block.len).collect()
}

/// One flag per page: whether it is free.
#[derive(Clone)]
struct Model {
    first: u64,
    free: Vec<bool>,
}

impl Model {
    fn new(memory: Span) -> Self {
        Self { first: memory.first(), free: vec![true; (memory.len() / u128::from(SIZE_4K)) as usize] }
    }

    fn pages(&self, base: u64, len: u64) -> Option<core::ops::Range<usize>> {
        let first = base.checked_sub(self.first)? / SIZE_4K;
        let end = first + len / SIZE_4K;
        (end <= self.free.len() as u64).then_some(first as usize..end as usize)
    }

    fn is_free(&self, base: u64, len: u64) -> bool {
        self.pages(base, len).is_some_and(|pages| self.free[pages].iter().all(|free| *free))
    }

    fn set(&mut self, base: u64, len: u64, free: bool) {
        let pages = self.pages(base, len).unwrap();
        assert!(self.free[pages.clone()].iter().all(|page| *page != free));
        self.free[pages].fill(free);
    }

    fn bytes(&self) -> u64 {
        self.free.iter().filter(|free| **free).count() as u64 * SIZE_4K
    }

    /// The lowest free `len` bytes at a multiple of `alignment`.
    fn find(&self, len: u64, alignment: u64) -> Option<u64> {
        let last = self.first + (self.free.len() as u64 - 1) * SIZE_4K;
        let mut base = self.first.checked_next_multiple_of(alignment)?;
        while base <= last {
            if self.is_free(base, len) {
                return Some(base);
            }
            base = base.checked_add(alignment)?;
        }
        None
    }

    /// The lengths of the blocks that come together, the largest first.
    fn munch(&self, request: &BlockRequest) -> Vec<u64> {
        let mut model = self.clone();
        let mut left = request.len;
        let mut lens = Vec::new();
        for size in SIZES.into_iter().filter(|size| request.sizes.contains(*size)) {
            while left >= size
                && let Some(base) = model.find(size, size.max(request.alignment))
            {
                model.set(base, size, false);
                lens.push(size);
                left -= size;
            }
        }
        lens
    }

    /// Free blocks as they lie: the largest that are aligned and free.
    fn blocks(&self, size: u64) -> u64 {
        let mut count = 0;
        let mut next = self.first.checked_next_multiple_of(size);
        while let Some(base) = next
            && self.pages(base, size).is_some()
        {
            let parent = base & !(size * 16 - 1);
            if self.is_free(base, size) && (size == SIZE_16M || !self.is_free(parent, size * 16)) {
                count += 1;
            }
            next = base.checked_add(size);
        }
        count
    }
}

#[derive(Clone, Debug)]
enum Op {
    Allocate { pages: u64, sizes: usize, order: u32, partly: bool },
    Contiguous { pages: u64, order: u32 },
    Free(prop::sample::Index),
    FreeMany { from: prop::sample::Index, count: usize },
    Stranger { page: u64, pages: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let pages = prop_oneof![4 => 1..40u64, 4 => 200..800u64, 1 => 3000..9000u64];
    let order = prop_oneof![6 => Just(0u32), 1 => 13..26u32];
    prop_oneof![
        6 => (pages.clone(), 0..6usize, order.clone(), any::<bool>())
            .prop_map(|(pages, sizes, order, partly)| Op::Allocate { pages, sizes, order, partly }),
        3 => (pages, order).prop_map(|(pages, order)| Op::Contiguous { pages, order }),
        20 => any::<prop::sample::Index>().prop_map(Op::Free),
        4 => (any::<prop::sample::Index>(), 1..2000usize).prop_map(|(from, count)| Op::FreeMany { from, count }),
        2 => (0..12_000u64, 1..300u64).prop_map(|(page, pages)| Op::Stranger { page, pages }),
    ]
}

fn run(memory: Span, ops: &[Op]) {
    const ALLOWED: [u64; 6] = [
        SIZE_4K,
        SIZE_16M | SIZE_1M | SIZE_64K | SIZE_4K,
        SIZE_64K | SIZE_4K,
        SIZE_16M | SIZE_64K,
        SIZE_1M | SIZE_4K,
        SIZE_1M,
    ];
    let mut pool = Pool::new(memory, Policy::Splitting).unwrap();
    let mut model = Model::new(memory);
    let mut out = List::new();
    assert_eq!(u128::from(pool.total_bytes()), memory.len());
    for op in ops {
        match op {
            Op::Allocate { pages, sizes, order, partly } => {
                let request = request(pages * SIZE_4K, ALLOWED[*sizes], 1 << order);
                let unit = request.sizes.smallest();
                let before = out.len();
                let expected = model.munch(&request);
                let available: u64 = expected.iter().sum();
                if !request.len.is_multiple_of(unit) {
                    let refused = PoolError::BadLength { asked: request.len, unit };
                    assert_eq!(pool.allocate(&request, &mut out), Err(refused));
                    continue;
                }
                let taken = if *partly {
                    pool.take(&request, &mut out)
                } else {
                    pool.allocate(&request, &mut out).map(|()| request.len)
                };
                match taken {
                    Ok(taken) => {
                        assert_eq!((taken, lens(&out[before..])), (available, expected));
                        for block in &out[before..] {
                            assert_eq!(block.base.raw() % block.len.max(request.alignment), 0);
                            model.set(block.base.raw(), block.len, false);
                        }
                    }
                    Err(error) => {
                        let (asked, sizes, free) = (request.len, request.sizes, model.bytes());
                        assert_eq!(error, PoolError::NoBlocks { asked, sizes, available, free });
                        assert!(available < asked && out.len() == before);
                    }
                }
            }
            Op::Contiguous { pages, order } => {
                let (len, alignment) = (pages * SIZE_4K, 1 << order);
                let there = model.find(len, SIZE_4K.max(alignment)).is_some();
                match pool.allocate_contiguous(len, alignment) {
                    Ok(taken) => {
                        assert_eq!((taken.len, taken.base.raw() % alignment), (len, 0));
                        model.set(taken.base.raw(), len, false);
                        out.push(taken).unwrap();
                    }
                    Err(error) => {
                        assert_eq!(
                            error,
                            PoolError::NoContiguous { asked: len, alignment, free: model.bytes() }
                        );
                        assert!(!there);
                    }
                }
            }
            Op::Free(pick) => {
                if !out.is_empty() {
                    let index = pick.index(out.len());
                    let gone = out.remove(index);
                    assert_eq!(pool.free(gone), Freed::Yes);
                    model.set(gone.base.raw(), gone.len, true);
                    assert_eq!(pool.free(gone), Freed::NotOurs);
                }
            }
            Op::FreeMany { from, count } => {
                if !out.is_empty() {
                    let from = from.index(out.len());
                    let mut some: Vec<_> = out[from..].iter().copied().take(*count).collect();
                    let gone = some.clone();
                    out.retain(|block| !gone.contains(block));
                    gone.iter().for_each(|block| model.set(block.base.raw(), block.len, true));
                    // Some of them twice.
                    some.extend_from_slice(&gone[..gone.len().min(3)]);
                    assert_eq!(pool.free_all(&some), gone.len().min(3));
                }
            }
            Op::Stranger { page, pages } => {
                let first = memory.first().saturating_sub(20 * SIZE_4K).saturating_add(page * SIZE_4K);
                let stranger = block(first, pages * SIZE_4K);
                if !out.contains(&stranger) {
                    assert_eq!(pool.free(stranger), Freed::NotOurs);
                }
            }
        }
        assert_eq!(pool.free_bytes(), model.bytes());
    }
    let check = |pool: &Pool, model: &Model| {
        let counts = SIZES.map(|size| pool.free_blocks(size));
        assert_eq!(counts, SIZES.map(|size| model.blocks(size)));
        let largest = SIZES.into_iter().zip(counts).find(|(_, count)| *count > 0);
        assert_eq!(pool.largest_block(), largest.map(|(size, _)| size));
    };
    check(&pool, &model);
    assert_eq!(pool.free_all(&out), 0);
    check(&pool, &Model::new(memory));
    assert_eq!(pool.free_bytes(), pool.total_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn splitting_and_merging_do_as_the_model(ops in prop::collection::vec(op(), 1..60)) {
        run(Span::new(0x8000_3000, 40 * SIZE_1M).unwrap(), &ops);
    }

    #[test]
    fn so_they_do_at_the_ends_of_the_64_bit_space(ops in prop::collection::vec(op(), 1..60), high: bool) {
        let len = 33 * SIZE_1M + 5 * SIZE_4K;
        run(if high { Span::new(u64::MAX - len + 1, len).unwrap() } else { Span::new(0, len).unwrap() }, &ops);
    }

    #[test]
    fn fixed_counts_never_split_or_merge(
        counts in [0..3u64, 0..20, 0..40, 0..100],
        ops in prop::collection::vec((0..4usize, any::<bool>(), any::<prop::sample::Index>()), 1..300),
    ) {
        let [of_16m, of_1m, of_64k, of_4k] = counts;
        let fixed = FixedCounts { of_16m, of_1m, of_64k, of_4k, contiguous: 3 * SIZE_4K };
        let memory = Span::new(0x3000, 96 * SIZE_1M).unwrap();
        let mut pool = Pool::new(memory, Policy::FixedCounts(fixed)).unwrap();
        let total: u64 = counts.iter().zip(SIZES).map(|(count, size)| count * size).sum();
        prop_assert_eq!(pool.total_bytes(), total + 3 * SIZE_4K);
        let mut out = List::new();
        let mut held = [0; 4];
        for (kind, take, pick) in ops {
            if take {
                let taken = pool.allocate(&request(SIZES[kind], SIZES[kind], 1), &mut out).is_ok();
                prop_assert_eq!(taken, held[kind] < counts[kind]);
                held[kind] += u64::from(taken);
            } else if !out.is_empty() {
                let gone = out.swap_remove(pick.index(out.len()));
                // Not in parts, and not with what follows.
                if gone.len > SIZE_4K {
                    prop_assert_eq!(pool.free(block(gone.base.raw(), gone.len / 16)), Freed::NotOurs);
                }
                prop_assert_eq!(pool.free(block(gone.base.raw(), gone.len * 16)), Freed::NotOurs);
                prop_assert_eq!(pool.free(gone), Freed::Yes);
                prop_assert_eq!(pool.free(gone), Freed::NotOurs);
                held[SIZES.iter().position(|size| *size == gone.len).unwrap()] -= 1;
            }
            for kind in 0..4 {
                prop_assert_eq!(pool.free_blocks(SIZES[kind]), counts[kind] - held[kind]);
            }
        }
    }
}

#[test]
fn what_was_freed_before_is_told_from_the_rest_of_a_run() {
    let memory = Span::new(0x4000_0000, 16 << 20).unwrap();
    let mut pool = Pool::new(memory, Policy::Splitting).unwrap();
    let pages = PageSizes::from_mask(SIZE_4K).unwrap();
    let mut blocks = List::new();
    pool.allocate(&BlockRequest { len: 256 * SIZE_4K, sizes: pages, alignment: SIZE_4K }, &mut blocks)
        .unwrap();
    for index in [0, 70, 191, 255] {
        assert_eq!(pool.free(blocks[index]), Freed::Yes);
    }
    assert_eq!(pool.free_all(&blocks), 4);
    assert_eq!(pool.free_bytes(), pool.total_bytes());
    assert_eq!(pool.free_all(&blocks), 256);
    assert_eq!(pool.free_blocks(16 << 20), 1);
}

#[test]
fn the_last_block_is_given_too() {
    // The original's test for room was off by one: the last block of each size was never given.
    let counts = FixedCounts { of_16m: 1, of_1m: 2, of_64k: 3, of_4k: 4, contiguous: SIZE_64K };
    let memory = Span::new(SIZE_16M, 2 * SIZE_16M).unwrap();
    let mut pool = Pool::new(memory, Policy::FixedCounts(counts)).unwrap();
    let mut out = List::new();
    let all = SIZE_16M + 2 * SIZE_1M + 3 * SIZE_64K + 4 * SIZE_4K;
    pool.allocate(&any_sizes(all), &mut out).unwrap();
    assert_eq!(
        lens(&out),
        [SIZE_16M, SIZE_1M, SIZE_1M, SIZE_64K, SIZE_64K, SIZE_64K, SIZE_4K, SIZE_4K, SIZE_4K, SIZE_4K]
    );
    let refused = pool.allocate(&any_sizes(SIZE_4K), &mut out);
    let sizes = PageSizes::ARM_SHORT;
    assert_eq!(refused, Err(PoolError::NoBlocks { asked: SIZE_4K, sizes, available: 0, free: SIZE_64K }));
    // The contiguous range is the last bytes of the memory, all of them.
    let range = pool.allocate_contiguous(SIZE_64K, SIZE_4K).unwrap();
    assert_eq!(range.span().unwrap().last(), memory.last());
    assert_eq!(pool.free_bytes(), 0);
    assert_eq!(pool.free_all(&out), 0);
    assert_eq!(pool.free(range), Freed::Yes);
    assert_eq!(pool.free_bytes(), pool.total_bytes());

    let mut pool = Pool::new(memory, Policy::Splitting).unwrap();
    for size in SIZES {
        let mut out = List::new();
        pool.allocate(&request(2 * SIZE_16M, size, 1), &mut out).unwrap();
        assert_eq!(out.len() as u64, 2 * SIZE_16M / size);
        let last = out.iter().map(|block| block.span().unwrap().last()).max();
        assert_eq!(last, Some(memory.last()));
        assert_eq!(pool.free_all(&out), 0);
    }
}

#[test]
fn a_size_without_blocks_fails_no_request() {
    // A pool configured empty failed every request in the original, though the other sizes would have served it.
    let memory = Span::new(SIZE_16M, 2 * SIZE_16M).unwrap();
    for missing in 0..4 {
        let mut counts = [0, 4, 4, 4];
        counts[missing] = 0;
        let [of_16m, of_1m, of_64k, of_4k] = counts;
        let fixed = FixedCounts { of_16m, of_1m, of_64k, of_4k, contiguous: 0 };
        let mut pool = Pool::new(memory, Policy::FixedCounts(fixed)).unwrap();
        let mut out = List::new();
        pool.allocate(&any_sizes(pool.total_bytes()), &mut out).unwrap();
        assert_eq!(pool.free_bytes(), 0);
    }
    let mut empty = Pool::new(memory, Policy::FixedCounts(FixedCounts::default())).unwrap();
    let mut out = List::new();
    assert_eq!((empty.total_bytes(), empty.largest_block()), (0, None));
    assert_eq!(empty.take(&any_sizes(SIZE_4K), &mut out), Ok(0));
    assert!(matches!(empty.allocate(&any_sizes(SIZE_4K), &mut out), Err(PoolError::NoBlocks { .. })));
    assert!(matches!(empty.allocate_contiguous(SIZE_4K, 1), Err(PoolError::NoContiguous { .. })));
    assert_eq!(empty.free(block(SIZE_16M, SIZE_4K)), Freed::NotOurs);
    // Contiguous memory only, to the last page.
    let counts = FixedCounts { contiguous: 2 * SIZE_16M, ..FixedCounts::default() };
    let mut pool = Pool::new(memory, Policy::FixedCounts(counts)).unwrap();
    assert_eq!(pool.allocate_contiguous(2 * SIZE_16M, SIZE_16M), Ok(block(SIZE_16M, 2 * SIZE_16M)));
}

#[test]
fn counts_that_do_not_fit_are_refused() {
    let memory = Span::new(SIZE_4K, SIZE_16M).unwrap();
    let fits = |counts| Pool::new(memory, Policy::FixedCounts(counts)).map(|pool| pool.total_bytes());
    // Sixteen times 1M fit by length, but not at multiples of 1M; what is at the edges holds smaller ones.
    let all = FixedCounts { of_16m: 0, of_1m: 15, of_64k: 15, of_4k: 15, contiguous: SIZE_4K };
    assert_eq!(fits(all), Ok(SIZE_16M));
    for counts in [
        FixedCounts { of_16m: 1, ..FixedCounts::default() },
        FixedCounts { of_1m: 16, ..all },
        FixedCounts { of_64k: 16, ..all },
        FixedCounts { of_4k: 16, ..all },
        FixedCounts { contiguous: 2 * SIZE_4K, ..all },
        FixedCounts { contiguous: SIZE_16M, of_4k: 1, ..FixedCounts::default() },
        FixedCounts { contiguous: SIZE_16M + SIZE_4K, ..FixedCounts::default() },
        FixedCounts { contiguous: 100, ..FixedCounts::default() },
        FixedCounts {
            of_4k: u64::MAX,
            of_1m: u64::MAX,
            of_64k: u64::MAX,
            of_16m: u64::MAX,
            contiguous: u64::MAX,
        },
    ] {
        assert_eq!(fits(counts), Err(PoolError::DoesNotFit { counts, memory }));
    }
    let memory = Span::new(SIZE_4K, SIZE_4K + 1).unwrap();
    let refused = Pool::new(memory, Policy::Splitting).unwrap_err();
    assert_eq!(refused, PoolError::MisalignedMemory { memory });
}

#[test]
fn one_page_is_a_pool() {
    for first in [0, 0x7000, u64::MAX - 0xfff] {
        let mut pool = Pool::new(Span::new(first, SIZE_4K).unwrap(), Policy::Splitting).unwrap();
        let mut out = List::new();
        pool.allocate(&any_sizes(SIZE_4K), &mut out).unwrap();
        assert_eq!(out[..], [block(first, SIZE_4K)]);
        assert!(pool.allocate_contiguous(SIZE_4K, 1).is_err());
        assert_eq!(pool.free(out[0]), Freed::Yes);
        assert_eq!(pool.allocate_contiguous(SIZE_4K, 1), Ok(out[0]));
    }
}

#[test]
fn a_range_as_long_as_the_memory_is_contiguous() {
    for memory in [Span::new(0x3000, 50 * SIZE_1M).unwrap(), Span::new(0, 1 << 30).unwrap()] {
        let mut pool = Pool::new(memory, Policy::Splitting).unwrap();
        let all = pool.allocate_contiguous(memory.len() as u64, 1).unwrap();
        assert_eq!((all.span(), pool.free_bytes()), (Some(memory), 0));
        // Only as a whole does it come back.
        for (skip, len) in
            [(0, SIZE_4K), (0, all.len - SIZE_4K), (SIZE_4K, all.len - SIZE_4K), (SIZE_4K, SIZE_4K)]
        {
            let part = block(memory.first() + skip, len);
            assert_eq!(pool.free(part), Freed::NotOurs);
            assert_eq!(pool.free_all(&[part; 3]), 3);
        }
        assert_eq!(pool.free(all), Freed::Yes);
        assert_eq!(pool.free_bytes(), pool.total_bytes());
    }
}

#[test]
fn a_hole_takes_what_is_as_long_as_the_hole() {
    let memory = Span::new(0, SIZE_16M).unwrap();
    for pages in 1..=130 {
        for start in [1, 63, 64, 65] {
            let mut pool = Pool::new(memory, Policy::Splitting).unwrap();
            let mut out = List::new();
            pool.allocate(&request(SIZE_16M, SIZE_4K, 1), &mut out).unwrap();
            out.sort_by_key(|block| block.base);
            assert_eq!(pool.free_all(&out[start..start + pages]), 0);
            let len = pages as u64 * SIZE_4K;
            assert!(pool.allocate_contiguous(len + SIZE_4K, 1).is_err());
            assert_eq!(pool.allocate_contiguous(len, 1), Ok(block(start as u64 * SIZE_4K, len)));
        }
    }
}

#[test]
fn no_contiguous_range_is_found_behind_the_memory() {
    // The search looks at whole blocks of 16M, and once took the tables behind those of the last page for free
    // pages.
    let memory = Span::new(0, SIZE_16M + SIZE_1M).unwrap();
    let mut pool = Pool::new(memory, Policy::Splitting).unwrap();
    let mut out = List::new();
    pool.allocate(&request(SIZE_16M + SIZE_1M, SIZE_4K, 1), &mut out).unwrap();
    out.sort_by_key(|block| block.base);
    // Every other page is free: two in a row are nowhere.
    for block in out.iter().step_by(2) {
        assert_eq!(pool.free(*block), Freed::Yes);
    }
    let free = (SIZE_16M + SIZE_1M) / 2;
    let refused = pool.allocate_contiguous(2 * SIZE_4K, 1);
    assert_eq!(refused, Err(PoolError::NoContiguous { asked: 2 * SIZE_4K, alignment: 1, free }));
}

#[test]
fn nothing_is_taken_beyond_the_page() {
    let mut pool = Pool::new(Span::new(0, SIZE_16M).unwrap(), Policy::Splitting).unwrap();
    let mut out = List::new();
    pool.allocate(&any_sizes(SIZE_4K * 257), &mut out).unwrap();
    assert_eq!(lens(&out), [SIZE_1M, SIZE_4K]);
    assert_eq!(pool.total_bytes() - pool.free_bytes(), SIZE_4K * 257);
    let range = pool.allocate_contiguous(SIZE_4K * 3, 1).unwrap();
    assert_eq!(pool.total_bytes() - pool.free_bytes(), SIZE_4K * 260);
    assert_eq!(pool.free(range), Freed::Yes);
}

#[test]
fn one_request_over_two_pools_is_whole_or_undone() {
    let at = |first, len| Pool::new(Span::new(first, len).unwrap(), Policy::Splitting).unwrap();
    let mut pools = [at(0, SIZE_1M + SIZE_4K), at(SIZE_16M, SIZE_1M)];
    for (asked, left) in [(2 * SIZE_1M, 0), (2 * SIZE_1M + SIZE_64K, SIZE_64K - SIZE_4K)] {
        let mut out = List::new();
        let mut missing = asked;
        for pool in &mut pools {
            if missing > 0 {
                missing -= pool.take(&any_sizes(missing), &mut out).unwrap();
            }
        }
        assert_eq!(missing, left);
        assert_eq!(lens(&out)[..2], [SIZE_1M, SIZE_4K]);
        for block in &out {
            let owner = pools.iter_mut().find(|pool| pool.memory().contains(block.base.raw())).unwrap();
            assert_eq!(owner.free(*block), Freed::Yes);
        }
        assert!(pools.iter().all(|pool| pool.free_bytes() == pool.total_bytes()));
    }
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let mut pool = Pool::new(Span::new(0, SIZE_16M).unwrap(), Policy::Splitting).unwrap();
    let mut out = List::new();
    let bad = |asked, unit| Err(PoolError::BadLength { asked, unit });
    assert_eq!(pool.allocate(&any_sizes(0), &mut out), bad(0, SIZE_4K));
    assert_eq!(pool.allocate(&any_sizes(100), &mut out), bad(100, SIZE_4K));
    assert_eq!(pool.allocate(&request(SIZE_4K, SIZE_64K | SIZE_1M, 1), &mut out), bad(SIZE_4K, SIZE_64K));
    let sizes = PageSizes::from_mask(SIZE_2M | SIZE_4K).unwrap();
    let refused = pool.allocate(&request(SIZE_2M, sizes.mask(), 1), &mut out);
    assert_eq!(refused, Err(PoolError::BadSizes { sizes }));
    let refused = pool.allocate(&request(SIZE_4K, SIZE_4K, 3), &mut out);
    assert_eq!(refused, Err(PoolError::BadAlignment { asked: 3 }));
    assert_eq!(pool.allocate_contiguous(SIZE_4K, 0), Err(PoolError::BadAlignment { asked: 0 }));
    assert_eq!(pool.allocate_contiguous(0, 1), Err(PoolError::BadLength { asked: 0, unit: SIZE_4K }));
    for stranger in
        [block(1, SIZE_4K), block(0, 1), block(0, 0), block(u64::MAX - 0xfff, SIZE_4K), block(0, !0xfff)]
    {
        assert_eq!(pool.free(stranger), Freed::NotOurs);
    }
    assert_eq!(pool.free_bytes(), SIZE_16M);
}
