//! Pools of physical memory, which give it in blocks of 16M, 1M, 64K and 4K or in contiguous ranges.
//!
//! ```
//! use vcm::pool::{BlockRequest, Freed, Policy, Pool, PoolError};
//! use vcm::{Bytes, List, PageSizes, Span};
//!
//! let memory = Span::new(0x8000_0000, 64 << 20).unwrap();
//! let mut pool = Pool::new(memory, Policy::Splitting)?;
//! // 17M and 68K: the largest blocks that fit, and not a page more than asked.
//! let request = BlockRequest { len: (17 << 20) + (68 << 10), sizes: PageSizes::ARM_SHORT, alignment: 4096 };
//! let mut blocks = List::new();
//! pool.allocate(&request, &mut blocks)?;
//! let sizes: Vec<String> = blocks.iter().map(|block| Bytes(block.len).to_string()).collect();
//! assert_eq!(sizes, ["16M", "1M", "64K", "4K"]);
//! for block in &blocks {
//!     assert_eq!(pool.free(*block), Freed::Yes);
//! }
//! assert_eq!(pool.largest_block(), Some(16 << 20));
//! # Ok::<(), PoolError>(())
//! ```
//!
//! The tables of a pool are allocated when it is made: 3.2 bits for each page of 4K. After that only the
//! caller's list grows, so that giving back never fails. Taking or giving back a block takes a few steps
//! whatever the pool's size (the summaries of what is free grow by one level for 64 times the memory);
//! neighbouring pages are taken and given back in bulk, 64 to a word. A contiguous range that fits into a
//! free block is found as fast; one that lies across blocks is searched for through the whole memory.

mod blocks;
mod contiguous;
mod frames;
mod give_back;
mod request;
mod tail;

pub use request::{BlockRequest, FixedCounts, Freed, Policy, PoolError};

use crate::{List, OutOfMemory, SIZE_4K, Segment, Span};
use frames::{Frames, LEVELS, bytes_of, level_of};

/// All sizes of blocks.
const KNOWN: u64 = bytes_of(0) | bytes_of(1) | bytes_of(2) | bytes_of(3);

/// Physical memory, from which blocks are taken and to which they are given back.
#[derive(Debug)]
pub struct Pool {
    memory: Span,
    policy: Policy,
    total: u64,
    blocks: Option<Frames>,
    /// The memory of contiguous ranges, if it is apart from that of the blocks.
    contiguous: Option<Frames>,
}

impl Pool {
    /// A pool of `memory`, whose two ends are multiples of 4K. All of it is free.
    ///
    /// With fixed counts the blocks lie from the start of the memory on, each at a multiple of its size, the
    /// largest first. A pool may have no blocks of some size, or none at all.
    ///
    /// # Errors
    /// [`PoolError::MisalignedMemory`]; [`PoolError::DoesNotFit`]: fewer blocks of the sizes and at the
    /// alignment of [`FixedCounts`] than it says fit in front of the contiguous range;
    /// [`PoolError::OutOfMemory`].
    pub fn new(memory: Span, policy: Policy) -> Result<Self, PoolError> {
        if !memory.is_aligned(SIZE_4K) {
            return Err(PoolError::MisalignedMemory { memory });
        }
        let (blocks, contiguous) = match policy {
            Policy::Splitting => (Some(Frames::new(memory)?), None),
            Policy::FixedCounts(counts) => Self::fixed(memory, counts)?,
        };
        let mut pool = Self { memory, policy, total: 0, blocks, contiguous };
        pool.total = pool.free_bytes();
        Ok(pool)
    }

    fn fixed(memory: Span, counts: FixedCounts) -> Result<(Option<Frames>, Option<Frames>), PoolError> {
        let does_not_fit = PoolError::DoesNotFit { counts, memory };
        if u128::from(counts.contiguous) > memory.len() || !counts.contiguous.is_multiple_of(SIZE_4K) {
            return Err(does_not_fit);
        }
        let front = memory.len() - u128::from(counts.contiguous);
        let blocks = if front == 0 {
            None
        } else {
            Span::inclusive(memory.first(), memory.first() + (front - 1) as u64)
        };
        let contiguous = if counts.contiguous == 0 {
            None
        } else {
            Span::new(memory.last() - (counts.contiguous - 1), counts.contiguous)
        };
        let levels = [counts.of_4k, counts.of_64k, counts.of_1m, counts.of_16m];
        let blocks = match blocks {
            _ if levels == [0; LEVELS] => None,
            None => return Err(does_not_fit),
            Some(span) => Some(Frames::with_counts(span, levels)?.ok_or(does_not_fit)?),
        };
        Ok((blocks, contiguous.map(Frames::new).transpose()?))
    }

    /// The memory that the pool is of.
    pub const fn memory(&self) -> Span {
        self.memory
    }

    /// How the pool divides its memory.
    pub const fn policy(&self) -> Policy {
        self.policy
    }

    /// The bytes that the pool gave when all were free. With fixed counts some of the memory may be neither
    /// in a block nor in the contiguous range, and is not counted.
    pub const fn total_bytes(&self) -> u64 {
        self.total
    }

    /// The free bytes, in blocks and contiguous ranges.
    pub fn free_bytes(&self) -> u64 {
        [&self.blocks, &self.contiguous].into_iter().flatten().map(Frames::free_bytes).sum()
    }

    /// The size of the largest free block, in bytes; `None` when no block is free. A contiguous range may be
    /// longer, where free blocks touch.
    pub fn largest_block(&self) -> Option<u64> {
        (0..LEVELS).rev().map(bytes_of).find(|size| self.free_blocks(*size) > 0)
    }

    /// The number of free blocks of `size` bytes as they lie now: a free block of 16M is not sixteen of 1M.
    pub fn free_blocks(&self, size: u64) -> u64 {
        match (&self.blocks, level_of(size)) {
            (Some(frames), Some(level)) => frames.count(level),
            _ => 0,
        }
    }

    /// Takes exactly `request.len` bytes and appends the blocks to `out`: as many of the largest size
    /// allowed as fit and are there, then of the next, down to the smallest.
    ///
    /// # Errors
    /// [`PoolError::BadLength`], [`PoolError::BadSizes`], [`PoolError::BadAlignment`]: the request makes no
    /// sense. [`PoolError::NoBlocks`]; [`PoolError::OutOfMemory`]: `out` could not grow. Pool and `out` are
    /// as before.
    pub fn allocate(&mut self, request: &BlockRequest, out: &mut List<Segment>) -> Result<(), PoolError> {
        if self.take_one(request, out)? {
            return Ok(());
        }
        let before = out.len();
        let taken = self.take(request, out)?;
        if taken == request.len {
            return Ok(());
        }
        self.give_back_from(before, out);
        Err(PoolError::NoBlocks {
            asked: request.len,
            sizes: request.sizes,
            available: taken,
            free: self.free_bytes(),
        })
    }

    /// As [`Pool::allocate`], but takes what there is when that is less; returns the bytes taken, a multiple
    /// of the smallest size allowed, or 0. So several pools can serve one request in turn.
    ///
    /// # Errors
    /// As [`Pool::allocate`], but for [`PoolError::NoBlocks`].
    pub fn take(&mut self, request: &BlockRequest, out: &mut List<Segment>) -> Result<u64, PoolError> {
        if self.take_one(request, out)? {
            return Ok(request.len);
        }
        Self::check(request)?;
        let Some(frames) = &mut self.blocks else { return Ok(0) };
        if request.alignment > request.sizes.smallest() {
            return self.take_aligned(request, out);
        }
        let (plan, left) = frames.plan(request.sizes, request.len / SIZE_4K);
        let blocks = usize::try_from(plan.iter().sum::<u64>()).unwrap_or(usize::MAX);
        out.reserve(blocks)?;
        for level in (0..LEVELS).rev() {
            if plan[level] > 0 {
                frames.take(level, plan[level], out);
            }
        }
        Ok(request.len - left * SIZE_4K)
    }

    /// Serves the most frequent request by far: one block of a size allowed, of which there is one. `false`
    /// when it is something else.
    #[inline(always)]
    fn take_one(&mut self, request: &BlockRequest, out: &mut List<Segment>) -> Result<bool, OutOfMemory> {
        // One of the pool's sizes, one of those allowed, and nothing wrong with the others.
        if let Some(level) = level_of(request.len)
            && request.sizes.mask() & (request.len | !KNOWN) == request.len
            && request.alignment.is_power_of_two()
            && request.alignment <= request.sizes.smallest()
            && let Some(frames) = &mut self.blocks
            && frames.count(level) > 0
        {
            out.reserve(1)?;
            if let Some(block) = frames.take_one(level) {
                out.push_reserved(block);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// [`Pool::take`] for blocks at multiples of more than their size. How many there are is only known when
    /// they are taken.
    fn take_aligned(&mut self, request: &BlockRequest, out: &mut List<Segment>) -> Result<u64, PoolError> {
        let before = out.len();
        let mut left = request.len;
        for level in (0..LEVELS).rev().filter(|level| request.sizes.contains(bytes_of(*level))) {
            let mut from = 0;
            while left >= bytes_of(level) {
                if let Err(error) = out.reserve(1) {
                    self.give_back_from(before, out);
                    return Err(error.into());
                }
                let block = self
                    .blocks
                    .as_mut()
                    .and_then(|frames| frames.take_aligned(level, request.alignment, &mut from));
                let Some(block) = block else { break };
                out.push_reserved(block);
                left -= bytes_of(level);
            }
        }
        Ok(request.len - left)
    }

    /// Whether the request makes sense.
    fn check(request: &BlockRequest) -> Result<(), PoolError> {
        if request.sizes.mask() & !KNOWN != 0 {
            return Err(PoolError::BadSizes { sizes: request.sizes });
        }
        let unit = request.sizes.smallest();
        if request.len == 0 || request.len & (unit - 1) != 0 {
            return Err(PoolError::BadLength { asked: request.len, unit });
        }
        if !request.alignment.is_power_of_two() {
            return Err(PoolError::BadAlignment { asked: request.alignment });
        }
        Ok(())
    }

    fn give_back_from(&mut self, before: usize, out: &mut List<Segment>) {
        let strangers = self.free_all(&out[before..]);
        debug_assert_eq!(strangers, 0);
        out.truncate(before);
    }

    /// Takes `len` bytes, a multiple of 4K, in one piece that starts at a multiple of `alignment` bytes (a
    /// power of two). With fixed counts it is taken from the contiguous range.
    ///
    /// # Errors
    /// [`PoolError::BadLength`], [`PoolError::BadAlignment`]: the request makes no sense.
    /// [`PoolError::NoContiguous`]. The pool is as before.
    pub fn allocate_contiguous(&mut self, len: u64, alignment: u64) -> Result<Segment, PoolError> {
        if len == 0 || !len.is_multiple_of(SIZE_4K) {
            return Err(PoolError::BadLength { asked: len, unit: SIZE_4K });
        }
        if !alignment.is_power_of_two() {
            return Err(PoolError::BadAlignment { asked: alignment });
        }
        let frames = match self.policy {
            Policy::Splitting => &mut self.blocks,
            Policy::FixedCounts(_) => &mut self.contiguous,
        };
        let taken = frames.as_mut().and_then(|frames| frames.take_run(len / SIZE_4K, alignment));
        let free = frames.as_ref().map_or(0, Frames::free_bytes);
        taken.ok_or(PoolError::NoContiguous { asked: len, alignment, free })
    }

    /// Gives back a block or a contiguous range, as a whole. It cannot fail and allocates nothing.
    pub fn free(&mut self, block: Segment) -> Freed {
        let owner = match (&mut self.blocks, &mut self.contiguous) {
            (Some(blocks), _) if blocks.contains(block.base.raw()) => blocks,
            (_, Some(contiguous)) if contiguous.contains(block.base.raw()) => contiguous,
            _ => return Freed::NotOurs,
        };
        if owner.free(block) { Freed::Yes } else { Freed::NotOurs }
    }

    /// Gives back many blocks, runs of neighbouring pages at once; returns how many of them were not
    /// allocated from here. It cannot fail and allocates nothing.
    pub fn free_all(&mut self, blocks: &[Segment]) -> usize {
        let mut strangers = 0;
        let mut rest = blocks;
        while let Some((first, after)) = rest.split_first() {
            let run = match &mut self.blocks {
                Some(frames) => frames.free_pages(rest),
                None => 0,
            };
            if run > 0 {
                rest = &rest[run..];
                continue;
            }
            if self.free(*first) == Freed::NotOurs {
                strangers += 1;
            }
            rest = after;
        }
        strangers
    }
}
