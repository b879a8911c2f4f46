//! Ranges and pools whose n-th allocation of bookkeeping memory fails: the error comes back, nothing changes,
//! and giving back allocates nothing at all.
#![allow(unsafe_code)] // A global allocator cannot be written without.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use vcm::pool::{BlockRequest, FixedCounts, Policy, Pool, PoolError};
use vcm::range::{Alignment, RangeError, RangeKey, Ranges, Request};
use vcm::{List, OutOfMemory, PageSizes, SIZE_4K, SIZE_64K, Span};

struct Failing;

thread_local! {
    /// The allocations of this thread until one fails; `None`: none fails.
    static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
    /// The allocations of this thread.
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// Whether this allocation is the one to fail.
fn fails() -> bool {
    COUNT.set(COUNT.get() + 1);
    match LEFT.get() {
        Some(0) => true,
        Some(left) => {
            LEFT.set(Some(left - 1));
            false
        }
        None => false,
    }
}

// SAFETY: everything is passed on to the system's allocator; a null pointer is its word for failure.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promised.
        if fails() { core::ptr::null_mut() } else { unsafe { System.alloc(layout) } }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        // SAFETY: as the caller promised.
        if fails() { core::ptr::null_mut() } else { unsafe { System.realloc(pointer, layout, len) } }
    }
}

#[global_allocator]
static ALLOCATOR: Failing = Failing;

/// Runs `operation` with every allocation from the `left`-th on failing.
fn failing<R>(left: usize, operation: impl FnOnce() -> R) -> R {
    LEFT.set(Some(left));
    let result = operation();
    LEFT.set(None);
    result
}

/// How many allocations `operation` makes.
fn allocations<R>(operation: impl FnOnce() -> R) -> usize {
    let before = COUNT.get();
    operation();
    COUNT.get() - before
}

/// Everything that can be seen of the ranges.
fn seen(ranges: &Ranges<u64>) -> (Vec<(RangeKey, Span, u64)>, u128, Option<Span>) {
    let all = ranges.iter().map(|(key, span, value)| (key, span, *value)).collect();
    (all, ranges.free_bytes(), ranges.largest_gap())
}

#[test]
fn a_range_whose_bookkeeping_fails_is_not_placed() {
    let window = Span::ALL;
    let upper = Span::inclusive(1 << 40, u64::MAX).unwrap();
    let request = Request { len: 0x3000, alignment: Alignment::Preferring(0x2000), within: upper };
    let mut ranges = Ranges::new(window, 0x1000);
    let mut failures = 0;
    for value in 0..5000u64 {
        // Scattered, so that full nodes split everywhere.
        let first = (value * 7919 % 5000) << 20 | 0x8_0000;
        let at = Span::new(first, 0x1000).unwrap();
        for left in 0.. {
            let before = (value % 100 == 0).then(|| seen(&ranges));
            let free = ranges.free_bytes();
            let placed = failing(left, || match value % 2 {
                0 => ranges.place(&request, value),
                _ => ranges.place_at(at, value),
            });
            match placed {
                Ok(_) => break,
                Err(error) => assert_eq!(error, RangeError::OutOfMemory(OutOfMemory)),
            }
            failures += 1;
            assert_eq!((ranges.len() as u64, ranges.free_bytes()), (value, free));
            if let Some(before) = before {
                assert_eq!(seen(&ranges), before);
            }
        }
    }
    // The growth of each table, many times over.
    assert!(failures > 20, "{failures}");
    let keys: Vec<_> = ranges.iter().map(|(key, ..)| key).collect();
    let made = allocations(|| keys.iter().filter(|key| ranges.remove(**key).is_some()).count());
    assert_eq!((made, ranges.len(), ranges.free_bytes()), (0, 0, 1 << 64));
}

#[test]
fn a_copy_of_ranges_fails_as_a_whole() {
    let mut ranges = Ranges::new(Span::ALL, 0x1000);
    for value in 0..500 {
        ranges.place_at(Span::new(value << 20, 0x1000).unwrap(), value).unwrap();
    }
    let mut failures = 0;
    let copy = loop {
        match failing(failures, || ranges.try_clone()) {
            Ok(copy) => break copy,
            Err(OutOfMemory) => failures += 1,
        }
    };
    // Slots, leaves, inner nodes, cache.
    assert_eq!(failures, 4);
    assert_eq!(seen(&copy), seen(&ranges));
}

#[test]
fn new_ranges_allocate_nothing() {
    assert_eq!(allocations(|| Ranges::<u64>::new(Span::ALL, 0x1000)), 0);
}

#[test]
fn a_pool_is_made_whole_or_not_at_all() {
    let memory = Span::new(0, 256 << 20).unwrap();
    let counts = FixedCounts { of_16m: 1, of_1m: 1, of_64k: 1, of_4k: 1, contiguous: SIZE_64K };
    for (policy, least) in [(Policy::Splitting, 8), (Policy::FixedCounts(counts), 15)] {
        let mut failures = 0;
        let pool = loop {
            match failing(failures, || Pool::new(memory, policy)) {
                Ok(pool) => break pool,
                Err(error) => assert_eq!(error, PoolError::OutOfMemory(OutOfMemory)),
            }
            failures += 1;
        };
        assert_eq!(failures, least);
        assert_eq!(pool.free_bytes(), pool.total_bytes());
    }
    // More memory than tables can be made for.
    assert!(matches!(Pool::new(Span::ALL, Policy::Splitting), Err(PoolError::OutOfMemory(_))));
}

#[test]
fn blocks_whose_list_cannot_grow_stay_in_the_pool() {
    let mut pool = Pool::new(Span::new(0, 64 << 20).unwrap(), Policy::Splitting).unwrap();
    let mut kept = List::new();
    pool.allocate(&BlockRequest { len: SIZE_4K, sizes: PageSizes::ARM_SHORT, alignment: 1 }, &mut kept)
        .unwrap();
    for alignment in [1, SIZE_64K] {
        let request =
            BlockRequest { len: 100 * SIZE_4K, sizes: PageSizes::from_mask(SIZE_4K).unwrap(), alignment };
        let before = format!("{:?}", pool.free_blocks(SIZE_4K));
        let mut failures = 0;
        let mut out = List::new();
        loop {
            match failing(failures, || pool.allocate(&request, &mut out)) {
                Ok(()) => break,
                Err(error) => assert_eq!(error, PoolError::OutOfMemory(OutOfMemory)),
            }
            failures += 1;
            assert_eq!(format!("{:?}", pool.free_blocks(SIZE_4K)), before);
            assert_eq!((pool.free_bytes(), out.len()), (pool.total_bytes() - SIZE_4K, 0));
            out = List::new();
        }
        assert!(failures > 0);
        assert_eq!(out.len(), 100);
        assert_eq!(allocations(|| assert_eq!(pool.free_all(&out), 0)), 0);
    }
    let made = allocations(|| pool.allocate_contiguous(5 * SIZE_4K, 1).map(|block| pool.free(block)));
    assert_eq!(made, 0);
    assert_eq!(pool.free_bytes(), pool.total_bytes() - SIZE_4K);
}
