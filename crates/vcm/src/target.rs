//! Memory targets: ordered lists of pools, each of one memory.

use crate::error::{Error, Holder};
use crate::id::{PoolId, TargetId};
use crate::pool::{BlockRequest, Policy, Pool, PoolError};
use crate::storage::{Arena, List};
use crate::{Hardware, Label, PageSizes, SIZE_1M, SIZE_4K, SIZE_16M, SIZE_64K, Segment, Span};

/// Whether an allocation has to be in one piece.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Contiguity {
    /// As many blocks as it takes; the fewest and largest there are.
    #[default]
    Blocks,
    /// One piece of physical memory, as devices without an IOMMU need it.
    Contiguous,
}

/// What is asked of a memory target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AllocationRequest {
    /// Its name, for people.
    pub label: Label,
    /// Bytes, rounded up to whole pages of 4 KiB; not a page more is taken.
    pub len: u64,
    /// The block sizes allowed, of 16M, 1M, 64K and 4K. Contiguous memory has no block size.
    pub sizes: PageSizes,
    /// One piece or blocks.
    pub contiguity: Contiguity,
    /// A power of two, in bytes, that every block starts at a multiple of.
    pub alignment: u64,
    /// Whether mappers must keep it coherent.
    pub coherence: crate::Coherence,
}

impl AllocationRequest {
    /// `len` bytes in the largest blocks that fit.
    pub fn new(label: &str, len: u64) -> Self {
        Self {
            label: label.into(),
            len,
            sizes: PageSizes::ARM_SHORT,
            contiguity: Contiguity::Blocks,
            alignment: SIZE_4K,
            coherence: crate::Coherence::Any,
        }
    }

    /// The same, in one piece.
    #[must_use]
    pub const fn contiguous(self) -> Self {
        Self { contiguity: Contiguity::Contiguous, ..self }
    }
}

#[derive(Debug)]
pub struct PoolEntry {
    pub(crate) label: Label,
    pub(crate) pool: Pool,
}

#[derive(Debug)]
pub struct Target {
    pub(crate) label: Label,
    /// The first has priority.
    pub(crate) pools: List<PoolId>,
}

/// All pools and targets: one of the parts that can be locked apart.
#[derive(Debug, Default)]
pub struct Targets {
    pub(crate) pools: Arena<PoolEntry>,
    pub(crate) targets: Arena<Target>,
}

impl Targets {
    /// As [`Graph::add_pool`](crate::Graph::add_pool), allocations left out of account.
    ///
    /// # Errors
    /// As there.
    pub fn add_pool(&mut self, label: &str, memory: Span, policy: Policy) -> Result<PoolId, Error> {
        self.must_not_hold(memory)?;
        let pool = Pool::new(memory, policy).map_err(|error| match error {
            PoolError::OutOfMemory(error) => Error::OutOfMemory(error),
            PoolError::DoesNotFit { counts, memory } => {
                Error::PolicyTooLarge { memory, wanted: counts.bytes() }
            }
            _ => Error::BadLength { start: memory.first(), len: memory.len(), page: SIZE_4K },
        })?;
        Ok(PoolId(self.pools.insert(PoolEntry { label: label.into(), pool })?))
    }

    /// Checks that no pool has a byte of `asked`, physical addresses.
    ///
    /// # Errors
    /// [`Error::MemoryHeld`] naming the pool.
    pub fn must_not_hold(&self, asked: Span) -> Result<(), Error> {
        match self.pools.iter().find(|(_, entry)| entry.pool.memory().overlaps(asked)) {
            Some((key, _)) => Err(Error::MemoryHeld { asked, holder: Holder::Pool(PoolId(key)) }),
            None => Ok(()),
        }
    }

    /// As [`Graph::remove_pool`](crate::Graph::remove_pool).
    ///
    /// # Errors
    /// As there.
    pub fn remove_pool(&mut self, id: PoolId) -> Result<(), Error> {
        let entry = self.pools.get(id.0).ok_or(Error::UnknownPool(id))?;
        let targets = self.targets.iter().filter(|(_, target)| target.pools.contains(&id)).count();
        let allocated = entry.pool.total_bytes() - entry.pool.free_bytes();
        if targets > 0 || allocated > 0 {
            return Err(Error::PoolInUse { pool: id, targets, allocated });
        }
        self.pools.remove(id.0);
        Ok(())
    }

    /// As [`Graph::add_target`](crate::Graph::add_target).
    ///
    /// # Errors
    /// As there.
    pub fn add_target(&mut self, label: &str, pools: &[PoolId]) -> Result<TargetId, Error> {
        let mut list = List::new();
        for pool in pools {
            self.pools.get(pool.0).ok_or(Error::UnknownPool(*pool))?;
            if !list.contains(pool) {
                list.push(*pool)?;
            }
        }
        Ok(TargetId(self.targets.insert(Target { label: label.into(), pools: list })?))
    }

    /// Takes memory: from the first pool as much as it has, from the next what is left. All or nothing.
    ///
    /// # Errors
    /// As [`Graph::allocate`](crate::Graph::allocate).
    pub fn take(
        &mut self,
        id: TargetId,
        request: &AllocationRequest,
        hardware: &mut dyn Hardware,
    ) -> Result<List<Segment>, Error> {
        let blocks = self.take_blocks_or_piece(id, request)?;
        for block in &blocks {
            hardware.memory_taken(*block);
        }
        Ok(blocks)
    }

    fn take_blocks_or_piece(
        &mut self,
        id: TargetId,
        request: &AllocationRequest,
    ) -> Result<List<Segment>, Error> {
        let len = request
            .len
            .checked_next_multiple_of(SIZE_4K)
            .filter(|len| *len > 0)
            .ok_or(Error::BadLength { start: 0, len: u128::from(request.len), page: SIZE_4K })?;
        if !request.alignment.is_power_of_two() {
            return Err(Error::BadAlignment { value: request.alignment, unit: SIZE_4K });
        }
        match request.contiguity {
            Contiguity::Contiguous => self.take_contiguous(id, len, request.alignment.max(SIZE_4K)),
            Contiguity::Blocks => self.take_blocks(id, len, request),
        }
    }

    fn take_contiguous(&mut self, id: TargetId, len: u64, alignment: u64) -> Result<List<Segment>, Error> {
        let mut blocks = List::new();
        blocks.reserve(1)?;
        let target = self.targets.get(id.0).ok_or(Error::UnknownTarget(id))?;
        for pool in &target.pools {
            let Some(entry) = self.pools.get_mut(pool.0) else { continue };
            match entry.pool.allocate_contiguous(len, alignment) {
                Ok(block) => {
                    blocks.push_reserved(block);
                    return Ok(blocks);
                }
                Err(PoolError::OutOfMemory(error)) => return Err(Error::OutOfMemory(error)),
                Err(_) => {}
            }
        }
        Err(self.no_memory(id, len))
    }

    fn take_blocks(
        &mut self,
        id: TargetId,
        len: u64,
        request: &AllocationRequest,
    ) -> Result<List<Segment>, Error> {
        const BLOCKS: u64 = SIZE_16M | SIZE_1M | SIZE_64K | SIZE_4K;
        if request.sizes.mask() & !BLOCKS != 0 || !len.is_multiple_of(request.sizes.smallest()) {
            return Err(Error::BadBlocks { len, sizes: request.sizes });
        }
        let target = self.targets.get(id.0).ok_or(Error::UnknownTarget(id))?;
        let mut blocks = List::new();
        let mut left = len;
        let mut failed = None;
        for pool in &target.pools {
            let Some(entry) = self.pools.get_mut(pool.0) else { continue };
            let part = BlockRequest { len: left, sizes: request.sizes, alignment: request.alignment };
            match entry.pool.take(&part, &mut blocks) {
                Ok(taken) => left -= taken,
                Err(PoolError::OutOfMemory(error)) => {
                    failed = Some(Error::OutOfMemory(error));
                    break;
                }
                // Nothing here: the next pool may have it.
                Err(_) => {}
            }
            if left == 0 {
                return Ok(blocks);
            }
        }
        self.put_back(&blocks);
        Err(failed.unwrap_or_else(|| self.no_memory(id, len)))
    }

    /// Gives blocks back that nobody can reach any more, each to the pool whose memory it is of.
    pub fn give_back(&mut self, blocks: &[Segment], hardware: &mut dyn Hardware) {
        for block in blocks {
            hardware.memory_returned(*block);
        }
        self.put_back(blocks);
    }

    fn put_back(&mut self, blocks: &[Segment]) {
        let mut rest = blocks;
        while let Some(first) = rest.first() {
            let owner =
                self.pools.iter_mut().find(|(_, entry)| entry.pool.memory().contains(first.base.raw()));
            let Some((_, entry)) = owner else {
                debug_assert!(false, "a block of no pool: {first}");
                rest = &rest[1..];
                continue;
            };
            let memory = entry.pool.memory();
            let run = rest.iter().take_while(|block| memory.contains(block.base.raw())).count();
            let strangers = entry.pool.free_all(&rest[..run]);
            debug_assert_eq!(strangers, 0, "blocks that were not allocated");
            rest = &rest[run..];
        }
    }

    fn no_memory(&self, id: TargetId, len: u64) -> Error {
        let (mut free, mut largest) = (0, 0);
        if let Some(target) = self.targets.get(id.0) {
            for entry in target.pools.iter().filter_map(|pool| self.pools.get(pool.0)) {
                free += entry.pool.free_bytes();
                largest = largest.max(entry.pool.largest_block().unwrap_or(0));
            }
        }
        Error::NoMemory { target: id, len, free, largest }
    }
}
