//! What others have for a vCPU to look at: a set of interrupt numbers that everybody may add to.

use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Words of 64 numbers: 0 to 1023. loom gets those below 128 only: it follows every atomic.
const WORDS: usize = if cfg!(loom) { 2 } else { 16 };

/// The set. A number in it is a hint; the interrupt's word is the truth.
#[derive(Debug)]
pub(super) struct Queue {
    /// Which words have something.
    summary: AtomicU32,
    words: [AtomicU64; WORDS],
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { summary: AtomicU32::new(0), words: core::array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// Adds `number`, below 1024.
    #[inline]
    pub(super) fn add(&self, number: u32) {
        let word = number as usize / 64 % WORDS;
        self.words[word].fetch_or(1 << (number % 64), Ordering::AcqRel);
        self.summary.fetch_or(1 << word, Ordering::SeqCst);
    }

    /// Whether there is something in it.
    #[inline]
    pub(super) fn has_some(&self) -> bool {
        self.summary.load(Ordering::SeqCst) != 0
    }

    /// Takes all numbers out.
    #[inline]
    pub(super) fn drain(&self, mut take: impl FnMut(u32)) {
        // Mostly there is nothing, and then nothing has to be written.
        if self.summary.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut summary = self.summary.swap(0, Ordering::SeqCst);
        while summary != 0 {
            let word = summary.trailing_zeros();
            summary &= summary - 1;
            let mut bits = self.words[word as usize % WORDS].swap(0, Ordering::AcqRel);
            while bits != 0 {
                take(word * 64 + bits.trailing_zeros());
                bits &= bits - 1;
            }
        }
    }
}
