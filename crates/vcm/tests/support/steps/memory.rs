//! Allocations, and what they back.

use super::{FAST, Pair, agree};
use crate::support::model::{Allocation, Backing, pages_of};
use vcm::{
    AllocationRequest, Coherence, Contiguity, Error, PageSizes, PhysicalAddress, SIZE_1M, SIZE_4K, SIZE_64K,
    Span, Teardown,
};

impl Pair {
    pub(super) fn allocate(&mut self, target: u8, len: u64, how: u8, contiguity: Contiguity) {
        let (target, pools) = self.targets[usize::from(target) % self.targets.len()].clone();
        let coherence = if how & 0x40 != 0 { Coherence::Coherent } else { Coherence::Any };
        let sizes = match how % 4 {
            0 | 1 => PageSizes::ARM_SHORT,
            2 => PageSizes::from_mask(SIZE_64K).unwrap(),
            _ => PageSizes::from_mask(SIZE_1M | SIZE_4K).unwrap(),
        };
        let alignment = if how & 8 != 0 && contiguity == Contiguity::Contiguous { SIZE_64K } else { SIZE_4K };
        let base = AllocationRequest::new("memory", len);
        let request = AllocationRequest { sizes, contiguity, alignment, coherence, ..base };
        let result = self.graph.allocate(target, &request, &mut self.machine);

        // How many bytes each pool can give.
        let unit = sizes.smallest();
        let offers: Vec<u64> =
            pools
                .iter()
                .map(|pool| {
                    let free = &self.model.pools[*pool].free;
                    let run = |at: u64, len: u64| {
                        (0..len / SIZE_4K).all(|page| free.contains(&(at + page * SIZE_4K)))
                    };
                    match contiguity {
                        Contiguity::Blocks => {
                            free.iter().filter(|at| **at % unit == 0 && run(**at, unit)).count() as u64 * unit
                        }
                        Contiguity::Contiguous => {
                            if free.iter().any(|at| at % alignment == 0 && run(*at, len)) { len } else { 0 }
                        }
                    }
                })
                .collect();
        let wanted = match contiguity {
            _ if len == 0 => Err("BadLength"),
            Contiguity::Blocks if !len.is_multiple_of(unit) => Err("BadBlocks"),
            _ if offers.iter().sum::<u64>() < len => Err("NoMemory"),
            _ => Ok(()),
        };
        agree(&result, wanted);
        let Ok(id) = result else { return };
        let blocks = self.graph.allocation(id).unwrap().blocks.to_vec();
        assert_eq!(blocks.iter().map(|block| block.len).sum::<u64>(), len, "{blocks:?}");
        let mut given = vec![0; pools.len()];
        for block in &blocks {
            let at = block.base.raw();
            match contiguity {
                Contiguity::Blocks => {
                    assert!(sizes.contains(block.len) && at % block.len == 0, "{block} of {sizes}")
                }
                Contiguity::Contiguous => assert!(blocks.len() == 1 && at % alignment == 0, "{block}"),
            }
            let from = pools
                .iter()
                .position(|pool| self.model.pools[*pool].memory.contains(at))
                .expect("a pool of the target");
            given[from] += block.len;
            for page in pages_of(block.span().unwrap()) {
                assert!(self.model.pools[pools[from]].free.remove(&page), "{page:#x} was not free");
            }
        }
        assert_eq!(given[0], offers[0].min(len), "the first pool comes first");
        self.remember(id, blocks, len, coherence == Coherence::Coherent, false);
    }

    pub(super) fn remember(
        &mut self,
        id: vcm::AllocationId,
        blocks: Vec<vcm::Segment>,
        len: u64,
        coherent: bool,
        wrapped: bool,
    ) {
        self.model.allocations.push(Allocation {
            id,
            exists: true,
            held: true,
            blocks,
            len,
            coherent,
            wrapped,
        });
    }

    pub(super) fn wrap(&mut self, page: u64, len: u64) {
        // Around the end of the first pool.
        let base = FAST + SIZE_1M - 8 * SIZE_4K + page * SIZE_4K;
        let result = self.graph.wrap_physical("wrapped", PhysicalAddress::new(base), len);
        let taken = |span: Span| {
            self.model.pools.iter().any(|pool| pool.memory.overlaps(span))
                || self
                    .model
                    .allocations
                    .iter()
                    .filter(|found| found.exists)
                    .any(|found| found.blocks.iter().any(|block| block.span().unwrap().overlaps(span)))
        };
        let wanted = match Span::new(base, len) {
            None => Err("BadLength"),
            Some(span) if taken(span) => Err("MemoryHeld"),
            Some(_) => Ok(()),
        };
        agree(&result, wanted);
        if let Ok(id) = result {
            let blocks = vec![vcm::Segment { base: PhysicalAddress::new(base), len }];
            self.remember(id, blocks, len, false, true);
        }
    }

    pub(super) fn free(&mut self, number: usize) {
        let result = self.graph.free(self.model.allocations[number].id, &mut self.machine);
        let live = self.model.mappers(number).iter().filter(|(.., stuck)| !stuck).count();
        agree(
            &result,
            self.model.known_allocation(number).and(if live > 0 { Err("Mapped") } else { Ok(()) }),
        );
        match result {
            Ok(()) => {
                self.model.allocations[number].held = false;
                self.model.collect(number);
            }
            Err(Error::Mapped { count, .. }) => assert_eq!(count, live),
            Err(_) => {}
        }
    }

    pub(super) fn back(&mut self, number: usize, memory: usize, offset: Option<u64>) {
        let (id, allocation) = (self.model.reservations[number].id, self.model.allocations[memory].id);
        let result = match offset {
            None => self.graph.back(id, allocation, &mut self.machine),
            Some(offset) => self.graph.back_at_offset(id, allocation, offset, &mut self.machine),
        };
        let start = offset.unwrap_or(0);
        let wanted = self.model.back(number, memory, start, offset.is_none());
        agree(&result, wanted.map(|_| ()));
        match (result, wanted) {
            (Ok(()), Ok(span)) => self.model.backed(number, memory, start, span),
            (Err(Error::Conflict { with, .. }), _) => {
                let (_, conflicts) = self.model.admit(number, memory, start);
                assert!(conflicts.contains(&with), "{with} is blamed, of {conflicts:?}");
            }
            _ => {}
        }
    }

    pub(super) fn unback(&mut self, number: usize) {
        let found = self.model.reservations[number];
        let answer = self.graph.unback(found.id, &mut self.machine);
        let link = match found.backing {
            Backing::Mapped(of, offset) | Backing::Stuck(of, offset)
                if self.model.known_reservation(number).is_ok() =>
            {
                Some((of, offset))
            }
            _ => None,
        };
        let Some((of, offset)) = link else {
            assert_eq!(answer, Teardown::NothingThere);
            return;
        };
        if self.model.broken && !self.model.regions[found.region].tables.is_empty() {
            assert_eq!(answer, Teardown::Quarantined);
            self.model.reservations[number].backing = Backing::Stuck(of, offset);
        } else {
            assert_eq!(answer, Teardown::Done);
            self.model.release(number);
            self.model.collect(of);
        }
    }
}
