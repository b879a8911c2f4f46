//! An allocator that fails on demand: the n-th allocation of this thread, or that and every later one.
//!
//! A test binary installs it with `#[global_allocator]`. What the fake hardware allocates is exempt: it stands
//! for a machine that is not short of memory.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Which allocations fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shortage {
    /// Only the n-th.
    Once,
    /// The n-th and all after it.
    Lasting,
}

#[derive(Clone, Copy)]
struct Countdown {
    /// Allocations that still succeed; `None` when none is to fail.
    left: Option<u64>,
    shortage: Shortage,
    /// How often an allocation was refused.
    refused: u64,
    /// Whether the code that runs is exempt.
    exempt: bool,
}

const IDLE: Countdown = Countdown { left: None, shortage: Shortage::Once, refused: 0, exempt: false };

thread_local! {
    static COUNTDOWN: Cell<Countdown> = const { Cell::new(IDLE) };
}

/// Whether this allocation is to fail.
fn refuses() -> bool {
    let refuse = |cell: &Cell<Countdown>| {
        let mut now = cell.get();
        if now.exempt {
            return false;
        }
        match now.left {
            None => false,
            Some(0) => {
                now.refused += 1;
                if now.shortage == Shortage::Once {
                    now.left = None;
                }
                cell.set(now);
                true
            }
            Some(left) => {
                now.left = Some(left - 1);
                cell.set(now);
                false
            }
        }
    };
    COUNTDOWN.try_with(refuse).unwrap_or(false)
}

/// The system's allocator, with a countdown in each thread.
pub(crate) struct FailingAllocator;

// SAFETY: every call is passed on to the system's allocator as it is, or answered with null, which an allocator
// may do at any time. The countdown is a plain thread-local cell that allocates nothing.
unsafe impl GlobalAlloc for FailingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if refuses() {
            return core::ptr::null_mut();
        }
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on; every pointer came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if refuses() {
            return core::ptr::null_mut();
        }
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if refuses() {
            return core::ptr::null_mut();
        }
        // SAFETY: the caller's promise, passed on; every pointer came from `System`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Runs `work` with its `nth` allocation (counted from 1) failing; answers what it answered, and how many
/// allocations were refused.
pub(crate) fn with_shortage<R>(nth: u64, shortage: Shortage, work: impl FnOnce() -> R) -> (R, u64) {
    /// Ends the shortage also when `work` panics, so that the message can be printed.
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            COUNTDOWN.set(IDLE);
        }
    }
    COUNTDOWN.set(Countdown { left: Some(nth - 1), shortage, ..IDLE });
    let end = End;
    let answer = work();
    let refused = COUNTDOWN.get().refused;
    drop(end);
    (answer, refused)
}

/// Runs `work` as if there were no shortage.
pub(crate) fn exempt<R>(work: impl FnOnce() -> R) -> R {
    let before = COUNTDOWN.get();
    COUNTDOWN.set(Countdown { exempt: true, ..before });
    let answer = work();
    let now = COUNTDOWN.get();
    COUNTDOWN.set(Countdown { exempt: before.exempt, ..now });
    answer
}
