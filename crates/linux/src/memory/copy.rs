//! Copying from and to memory that devices and other processes write meanwhile.
//!
//! Rust's own copies assume that nobody does. These are made of relaxed atomic accesses, eight bytes at a time where the shared
//! side is aligned for it: whatever arrives meanwhile, each such word is as somebody wrote it, before or after.
#![allow(unsafe_code, reason = "shared memory is reached by raw pointers")]

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// Bytes of a word.
const WORD: usize = 8;
/// Words of a block: as many as are copied in one go where the processor has wide registers.
const BLOCK: usize = 8;

/// Copies `bytes.len()` bytes from `shared` on.
///
/// # Safety
/// They are mapped for reading, and reached by no reference.
pub(super) unsafe fn read(shared: *const u8, bytes: &mut [u8]) {
    let (head, rest) = bytes.split_at_mut(before_multiple(shared, WORD, bytes.len()));
    let (words, tail) = rest.as_chunks_mut::<WORD>();
    let first_word = shared.wrapping_add(head.len());
    let (before, rest) = words.split_at_mut(before_multiple(first_word, 2 * WORD, words.len() * WORD) / WORD);
    let (blocks, after) = rest.as_chunks_mut::<BLOCK>();
    let first_block = first_word.wrapping_add(size_of_val(before));
    let last_words = first_block.wrapping_add(size_of_val(blocks));
    let last_bytes = last_words.wrapping_add(size_of_val(after));
    // SAFETY: the parts are the caller's, one behind the other; words begin at a multiple of eight, blocks of sixteen.
    unsafe {
        read_bytes(shared, head);
        read_words(first_word, before);
        read_blocks(first_block, blocks);
        read_words(last_words, after);
        read_bytes(last_bytes, tail);
    }
}

/// Copies `bytes` to `shared`.
///
/// # Safety
/// As many bytes there are mapped for writing, and reached by no reference.
pub(super) unsafe fn write(shared: *mut u8, bytes: &[u8]) {
    let (head, rest) = bytes.split_at(before_multiple(shared, WORD, bytes.len()));
    let (words, tail) = rest.as_chunks::<WORD>();
    let first_word = shared.wrapping_add(head.len());
    let (before, rest) = words.split_at(before_multiple(first_word, 2 * WORD, words.len() * WORD) / WORD);
    let (blocks, after) = rest.as_chunks::<BLOCK>();
    let first_block = first_word.wrapping_add(size_of_val(before));
    let last_words = first_block.wrapping_add(size_of_val(blocks));
    let last_bytes = last_words.wrapping_add(size_of_val(after));
    // SAFETY: as in `read`.
    unsafe {
        write_bytes(shared, head);
        write_words(first_word, before);
        write_blocks(first_block, blocks);
        write_words(last_words, after);
        write_bytes(last_bytes, tail);
    }
}

/// How many of `len` bytes from `at` on come before the first multiple of `size`.
fn before_multiple(at: *const u8, size: usize, len: usize) -> usize {
    (at.addr().wrapping_neg() % size).min(len)
}

/// # Safety
/// As [`read`].
unsafe fn read_bytes(shared: *const u8, bytes: &mut [u8]) {
    for (index, byte) in bytes.iter_mut().enumerate() {
        // SAFETY: the caller's promise. A load writes nothing, so that a mapping for reading is enough.
        *byte = unsafe { AtomicU8::from_ptr(shared.wrapping_add(index).cast_mut()) }.load(Ordering::Relaxed);
    }
}

/// # Safety
/// As [`read`], and `shared` is a multiple of eight.
unsafe fn read_words(shared: *const u8, words: &mut [[u8; WORD]]) {
    let shared = shared.cast::<u64>();
    for (index, word) in words.iter_mut().enumerate() {
        // SAFETY: as for bytes.
        let shared = unsafe { AtomicU64::from_ptr(shared.wrapping_add(index).cast_mut()) };
        *word = shared.load(Ordering::Relaxed).to_ne_bytes();
    }
}

/// # Safety
/// As [`write`].
unsafe fn write_bytes(shared: *mut u8, bytes: &[u8]) {
    for (index, byte) in bytes.iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { AtomicU8::from_ptr(shared.wrapping_add(index)) }.store(*byte, Ordering::Relaxed);
    }
}

/// # Safety
/// As [`write`], and `shared` is a multiple of eight.
unsafe fn write_words(shared: *mut u8, words: &[[u8; WORD]]) {
    let shared = shared.cast::<u64>();
    for (index, word) in words.iter().enumerate() {
        // SAFETY: the caller's promise.
        let shared = unsafe { AtomicU64::from_ptr(shared.wrapping_add(index)) };
        shared.store(u64::from_ne_bytes(*word), Ordering::Relaxed);
    }
}

// Blocks go through registers of sixteen bytes. To the compiler the assembly is what another processor does: it assumes nothing
// of the memory. Aligned, no such access tears a word of eight bytes. (`rep movs` is faster by a third for pages in the cache,
// but its accesses follow the alignment of one side only: words of the other could be torn.)

/// # Safety
/// As [`read`], and `shared` is a multiple of sixteen if there is a block.
#[cfg(target_arch = "x86_64")]
unsafe fn read_blocks(shared: *const u8, blocks: &mut [[[u8; WORD]; BLOCK]]) {
    if blocks.is_empty() {
        return;
    }
    // SAFETY: the caller's promise for the source; the target is a slice of as many blocks.
    unsafe {
        std::arch::asm!(
            "2:",
            "movdqa {a}, [{from}]",
            "movdqa {b}, [{from} + 16]",
            "movdqa {c}, [{from} + 32]",
            "movdqa {d}, [{from} + 48]",
            "movdqu [{to}], {a}",
            "movdqu [{to} + 16], {b}",
            "movdqu [{to} + 32], {c}",
            "movdqu [{to} + 48], {d}",
            "add {from}, 64",
            "add {to}, 64",
            "dec {count}",
            "jnz 2b",
            from = inout(reg) shared => _,
            to = inout(reg) blocks.as_mut_ptr() => _,
            count = inout(reg) blocks.len() => _,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(xmm_reg) _,
            options(nostack)
        );
    }
}

/// # Safety
/// As [`write`], and `shared` is a multiple of sixteen if there is a block.
#[cfg(target_arch = "x86_64")]
unsafe fn write_blocks(shared: *mut u8, blocks: &[[[u8; WORD]; BLOCK]]) {
    if blocks.is_empty() {
        return;
    }
    // SAFETY: the caller's promise for the target; the source is a slice of as many blocks.
    unsafe {
        std::arch::asm!(
            "2:",
            "movdqu {a}, [{from}]",
            "movdqu {b}, [{from} + 16]",
            "movdqu {c}, [{from} + 32]",
            "movdqu {d}, [{from} + 48]",
            "movdqa [{to}], {a}",
            "movdqa [{to} + 16], {b}",
            "movdqa [{to} + 32], {c}",
            "movdqa [{to} + 48], {d}",
            "add {from}, 64",
            "add {to}, 64",
            "dec {count}",
            "jnz 2b",
            from = inout(reg) blocks.as_ptr() => _,
            to = inout(reg) shared => _,
            count = inout(reg) blocks.len() => _,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(xmm_reg) _,
            options(nostack)
        );
    }
}

/// # Safety
/// As [`read`], and `shared` is a multiple of eight.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn read_blocks(shared: *const u8, blocks: &mut [[[u8; WORD]; BLOCK]]) {
    // SAFETY: the caller's promise.
    unsafe { read_words(shared, blocks.as_flattened_mut()) };
}

/// # Safety
/// As [`write`], and `shared` is a multiple of eight.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn write_blocks(shared: *mut u8, blocks: &[[[u8; WORD]; BLOCK]]) {
    // SAFETY: the caller's promise.
    unsafe { write_words(shared, blocks.as_flattened()) };
}

mod sealed {
    use std::sync::atomic::Ordering;

    pub trait Word: Copy {
        /// # Safety
        /// `at` is a multiple of the word's size, mapped for reading, and reached by no reference.
        unsafe fn load(at: *const u8, ordering: Ordering) -> Self;

        /// # Safety
        /// As `load`, for writing.
        unsafe fn store(self, at: *mut u8, ordering: Ordering);
    }
}

/// A number that memory is accessed by in one piece: `u8`, `u16`, `u32`, `u64`.
pub trait Word: sealed::Word {}

macro_rules! word {
    ($($number:ty, $atomic:ty;)*) => {$(
        impl sealed::Word for $number {
            unsafe fn load(at: *const u8, ordering: Ordering) -> Self {
                // SAFETY: the caller's promise.
                Self::from_le(unsafe { <$atomic>::from_ptr(at.cast_mut().cast()) }.load(ordering))
            }

            unsafe fn store(self, at: *mut u8, ordering: Ordering) {
                // SAFETY: the caller's promise.
                unsafe { <$atomic>::from_ptr(at.cast()) }.store(self.to_le(), ordering);
            }
        }

        impl Word for $number {}
    )*};
}

word! {
    u8, AtomicU8;
    u16, AtomicU16;
    u32, AtomicU32;
    u64, AtomicU64;
}
