//! Pools, memory targets and allocations.

mod support;

use support::world::{FAST, MAIN, RW, World, span};
use vcm::pool::{FixedCounts, Policy};
use vcm::{
    AllocationRequest, Bytes, Coherence, Error, Holder, PageSizes, PhysicalAddress, RegionKind, SIZE_1M,
    SIZE_2M, SIZE_4K, SIZE_16M, SIZE_64K, Segment, errno,
};

fn request(len: u64) -> AllocationRequest {
    AllocationRequest::new("memory", len)
}

fn only(sizes: u64) -> PageSizes {
    PageSizes::from_mask(sizes).unwrap()
}

fn blocks(world: &World, id: vcm::AllocationId) -> Vec<Segment> {
    world.graph.allocation(id).unwrap().blocks.to_vec()
}

/// The original took a length of zero for granted.
#[test]
fn a_length_of_zero_or_without_end_is_refused() {
    let mut world = World::new();
    for len in [0, u64::MAX, u64::MAX - 0xffe] {
        let error = world.graph.allocate(world.target, &request(len), &mut world.machine).unwrap_err();
        assert_eq!(error, Error::BadLength { start: 0, len: u128::from(len), page: SIZE_4K });
        assert_eq!(error.errno(), errno::EINVAL);
    }
    let wrapped = world.graph.wrap_physical("none", PhysicalAddress::new(0x1000), 0);
    assert_eq!(wrapped, Err(Error::BadLength { start: 0x1000, len: 0, page: SIZE_4K }));
}

#[test]
fn exactly_the_bytes_asked_for_are_taken_in_the_fewest_blocks() {
    let mut world = World::new();
    let before = world.free();
    let len = SIZE_1M + 2 * SIZE_64K + 3 * SIZE_4K;
    let memory = world.allocate("odd", len - 100);
    let info = world.graph.allocation(memory).unwrap();
    assert_eq!((info.len, info.target, info.mappers), (len, Some(world.target), 0));
    let sizes: Vec<_> = info.blocks.iter().map(|block| block.len).collect();
    assert_eq!(sizes, [SIZE_1M, SIZE_64K, SIZE_64K, SIZE_4K, SIZE_4K, SIZE_4K]);
    assert!(info.blocks.iter().all(|block| block.base.is_aligned(block.len)), "{:?}", info.blocks);
    assert_eq!(before - world.free(), len);
    assert_eq!(world.machine.taken.len() as u64, len / SIZE_4K, "the hardware heard of every page");
    world.graph.free(memory, &mut world.machine).unwrap();
    assert_eq!(world.free(), before);
    assert!(world.machine.taken.is_empty());
    assert_eq!(world.graph.free(memory, &mut world.machine), Err(Error::UnknownAllocation(memory)));
}

#[test]
fn contiguous_memory_is_in_one_piece() {
    let mut world = World::new();
    let len = SIZE_2M + SIZE_4K;
    let memory = world.contiguous("piece", len);
    assert_eq!(blocks(&world, memory).len(), 1);
    assert_eq!(blocks(&world, memory)[0].len, len);
    let aligned = AllocationRequest { alignment: SIZE_2M, ..request(SIZE_64K).contiguous() };
    let memory = world.graph.allocate(world.target, &aligned, &mut world.machine).unwrap();
    assert!(world.memory_at(memory).is_aligned(SIZE_2M));
}

#[test]
fn block_sizes_and_alignment_are_kept() {
    let mut world = World::new();
    for size in [SIZE_4K, SIZE_64K, SIZE_1M] {
        let ask = AllocationRequest { sizes: only(size), ..request(2 * SIZE_1M) };
        let memory = world.graph.allocate(world.target, &ask, &mut world.machine).unwrap();
        assert!(blocks(&world, memory).iter().all(|block| block.len == size), "only {}", Bytes(size));
        assert_eq!(blocks(&world, memory).len() as u64, 2 * SIZE_1M / size);
    }
    let ask = AllocationRequest { alignment: SIZE_64K, ..request(3 * SIZE_4K) };
    let memory = world.graph.allocate(world.target, &ask, &mut world.machine).unwrap();
    assert!(blocks(&world, memory).iter().all(|block| block.base.is_aligned(SIZE_64K)), "every block");

    let cannot = AllocationRequest { sizes: only(SIZE_64K), ..request(SIZE_64K + SIZE_4K) };
    let error = world.graph.allocate(world.target, &cannot, &mut world.machine).unwrap_err();
    assert_eq!(error, Error::BadBlocks { len: SIZE_64K + SIZE_4K, sizes: only(SIZE_64K) });
    let foreign = AllocationRequest { sizes: only(SIZE_2M), ..request(SIZE_2M) };
    let error = world.graph.allocate(world.target, &foreign, &mut world.machine).unwrap_err();
    assert_eq!(error, Error::BadBlocks { len: SIZE_2M, sizes: only(SIZE_2M) });
    for alignment in [0, 3, 0x3000] {
        let ask = AllocationRequest { alignment, ..request(SIZE_4K) };
        let error = world.graph.allocate(world.target, &ask, &mut world.machine).unwrap_err();
        assert_eq!(error, Error::BadAlignment { value: alignment, unit: SIZE_4K });
    }
}

#[test]
fn the_first_pool_is_used_up_before_the_next() {
    let mut world = World::new();
    let memory = world.allocate("both", SIZE_16M + SIZE_1M);
    let blocks = blocks(&world, memory);
    assert_eq!(blocks[0], Segment { base: PhysicalAddress::new(FAST), len: SIZE_16M });
    assert!(blocks[1..].iter().all(|block| block.base.raw() >= MAIN), "{blocks:?}");
    assert_eq!(world.graph.pools().next().unwrap().free, 0);
    world.graph.free(memory, &mut world.machine).unwrap();
    // Contiguous memory comes from the first pool that has it in one piece.
    let piece = world.contiguous("piece", 2 * SIZE_16M);
    assert!(world.memory_at(piece).raw() >= MAIN);
    let small = world.contiguous("small", SIZE_4K);
    assert_eq!(world.memory_at(small).raw(), FAST);
}

/// In the original a request that was too long kept what it had got so far.
#[test]
fn what_cannot_be_given_whole_is_not_given_at_all() {
    let mut world = World::new();
    let held = world.allocate("held", SIZE_1M);
    let free = world.free();
    let error = world.graph.allocate(world.target, &request(6 * SIZE_16M), &mut world.machine).unwrap_err();
    let Error::NoMemory { target, len, free: said, largest } = error else { panic!("{error}") };
    assert_eq!((target, len, said, largest), (world.target, 6 * SIZE_16M, free, SIZE_16M));
    assert_eq!(error.errno(), errno::ENOMEM);
    assert_eq!(world.free(), free);
    assert_eq!(world.machine.taken.len() as u64, SIZE_1M / SIZE_4K);
    let all = world.allocate("all", free);
    assert_eq!(world.free(), 0);
    for memory in [all, held] {
        world.graph.free(memory, &mut world.machine).unwrap();
    }
    assert_eq!(world.graph.pools().map(|pool| pool.largest).collect::<Vec<_>>(), [SIZE_16M, SIZE_16M]);
}

/// The original's pools were of fixed counts: the last block was lost to an off-by-one, and a size of which a
/// pool had none failed every request.
#[test]
fn pools_of_fixed_counts_give_their_last_block() {
    let mut world = World::new();
    let counts =
        FixedCounts { of_1m: 2, of_64k: 0, of_4k: 16, contiguous: SIZE_64K, ..FixedCounts::default() };
    let memory = span(0x1_0000_0000, SIZE_16M);
    let pool = world.graph.add_pool("fixed", memory, Policy::FixedCounts(counts)).unwrap();
    let target = world.graph.add_target("fixed", &[pool]).unwrap();
    let total = 2 * SIZE_1M + 16 * SIZE_4K + SIZE_64K;
    let info = world.graph.pools().find(|found| found.id == pool).unwrap();
    assert_eq!((info.total, info.free), (total, total));
    let all = world.graph.allocate(target, &request(2 * SIZE_1M + 16 * SIZE_4K), &mut world.machine).unwrap();
    assert_eq!(blocks(&world, all).len(), 18);
    let more = world.graph.allocate(target, &request(SIZE_4K), &mut world.machine);
    assert!(matches!(more, Err(Error::NoMemory { .. })), "{more:?}: the contiguous range is not for blocks");
    let piece = world.graph.allocate(target, &request(SIZE_64K).contiguous(), &mut world.machine).unwrap();
    assert_eq!(world.memory_at(piece).raw(), memory.last() - (SIZE_64K - 1));
    world.graph.free(all, &mut world.machine).unwrap();
    // Blocks of 1M are not split.
    let pages = world.graph.allocate(target, &request(17 * SIZE_4K), &mut world.machine);
    assert!(matches!(pages, Err(Error::NoMemory { .. })), "{pages:?}");
    world.graph.free(piece, &mut world.machine).unwrap();
    let info = world.graph.pools().find(|found| found.id == pool).unwrap();
    assert_eq!(info.free, total);
}

#[test]
fn memory_belongs_to_one_pool_or_to_one_wrapped_range() {
    let mut world = World::new();
    let overlap = span(FAST + SIZE_16M - SIZE_4K, SIZE_16M);
    let error = world.graph.add_pool("twice", overlap, Policy::Splitting).unwrap_err();
    assert_eq!(error, Error::MemoryHeld { asked: overlap, holder: Holder::Pool(world.fast) });
    let base = PhysicalAddress::new(MAIN + SIZE_1M);
    let error = world.graph.wrap_physical("in a pool", base, SIZE_4K).unwrap_err();
    let asked = span(MAIN + SIZE_1M, SIZE_4K);
    assert_eq!(error, Error::MemoryHeld { asked, holder: Holder::Pool(world.main) });
    assert_eq!(error.errno(), errno::EBUSY);

    let registers = PhysicalAddress::new(0x1000_0000);
    let wrapped = world.graph.wrap_physical("registers", registers, SIZE_64K).unwrap();
    let asked = span(0x1000_f000, SIZE_64K);
    let holder = Holder::Allocation(wrapped);
    let error = world.graph.wrap_physical("again", PhysicalAddress::new(0x1000_f000), SIZE_64K).unwrap_err();
    assert_eq!(error, Error::MemoryHeld { asked, holder });
    assert_eq!(
        world.graph.add_pool("over", asked, Policy::Splitting),
        Err(Error::MemoryHeld { asked, holder })
    );
    assert!(world.graph.wrap_physical("beside", PhysicalAddress::new(0x1001_0000), SIZE_4K).is_ok());

    world.graph.free(wrapped, &mut world.machine).unwrap();
    assert!(world.graph.wrap_physical("again", registers, SIZE_64K).is_ok());
}

#[test]
fn wrapped_memory_is_whole_pages() {
    let mut world = World::new();
    let at = PhysicalAddress::new;
    let misaligned = world.graph.wrap_physical("misaligned", at(0x1800), SIZE_4K);
    assert_eq!(misaligned, Err(Error::BadAlignment { value: 0x1800, unit: SIZE_4K }));
    for (base, len) in [(0x1000, 0x800), (u64::MAX - 0xfff, 2 * SIZE_4K)] {
        let refused = world.graph.wrap_physical("bad", at(base), len);
        assert_eq!(refused, Err(Error::BadLength { start: base, len: u128::from(len), page: SIZE_4K }));
    }
    assert!(world.graph.wrap_physical("last page", at(u64::MAX - 0xfff), SIZE_4K).is_ok());
    let pool = world.graph.add_pool("odd", span(0x1234, SIZE_4K), Policy::Splitting);
    assert_eq!(pool, Err(Error::BadLength { start: 0x1234, len: 0x1000, page: SIZE_4K }));
}

/// A wrapped range backs reservations, and tells its segments.
#[test]
fn wrapped_registers_can_be_mapped() {
    let mut world = World::new();
    let base = PhysicalAddress::new(0x1000_0000);
    let registers = world.graph.wrap_physical("registers", base, SIZE_64K).unwrap();
    let info = world.graph.allocation(registers).unwrap();
    assert_eq!((info.target, info.blocks), (None, &[Segment { base, len: SIZE_64K }][..]));
    let cpu = world.region("cpu", RegionKind::Cpu, 0, SIZE_16M);
    world.activate(cpu, world.devices.cpu);
    let device = RW.with_memory_type(vcm::MemoryType::Device);
    let reservation = world.graph.reserve(cpu, SIZE_64K, device).unwrap();
    world.back(reservation, registers).unwrap();
    let at = world.at(reservation);
    assert_eq!(world.machine.access(support::machine::CPU, at + 4), Ok(0x1000_0004));
    let free = world.free();
    world.graph.unback(reservation, &mut world.machine);
    world.graph.free(registers, &mut world.machine).unwrap();
    assert_eq!(world.free(), free, "no pool got it");
}

/// The original freed memory under the device: a use after free by DMA.
#[test]
fn mapped_memory_is_not_freed() {
    let mut world = World::new();
    let (one, two) = (world.translated("one"), world.translated("two"));
    let (first, memory) = world.buffer(one, SIZE_64K);
    let second = world.reserve(two, SIZE_64K);
    world.back(second, memory).unwrap();
    let error = world.graph.free(memory, &mut world.machine).unwrap_err();
    assert_eq!(error, Error::Mapped { allocation: memory, first, count: 2 });
    assert_eq!(error.errno(), errno::EBUSY);
    let text = world.graph.explain(error).to_string();
    assert!(text.contains("\"one\"") && text.contains("\"two\""), "{text}");
    world.graph.unback(first, &mut world.machine);
    let error = world.graph.free(memory, &mut world.machine).unwrap_err();
    assert_eq!(error, Error::Mapped { allocation: memory, first: second, count: 1 });
    world.graph.unback(second, &mut world.machine);
    world.graph.free(memory, &mut world.machine).unwrap();
    assert!(world.machine.taken.is_empty());
}

#[test]
fn pools_and_targets_go_when_nobody_uses_them() {
    let mut world = World::new();
    let memory = world.allocate("held", SIZE_4K);
    let busy = world.graph.remove_pool(world.fast);
    assert_eq!(busy, Err(Error::PoolInUse { pool: world.fast, targets: 1, allocated: SIZE_4K }));
    world.graph.remove_target(world.target).unwrap();
    assert_eq!(world.graph.remove_target(world.target), Err(Error::UnknownTarget(world.target)));
    let gone = world.graph.allocate(world.target, &request(SIZE_4K), &mut world.machine);
    assert_eq!(gone, Err(Error::UnknownTarget(world.target)));
    let busy = world.graph.remove_pool(world.fast);
    assert_eq!(busy, Err(Error::PoolInUse { pool: world.fast, targets: 0, allocated: SIZE_4K }));
    // The allocation outlives its target.
    world.graph.free(memory, &mut world.machine).unwrap();
    world.graph.remove_pool(world.fast).unwrap();
    assert_eq!(world.graph.remove_pool(world.fast), Err(Error::UnknownPool(world.fast)));
    let unknown = world.graph.add_target("unknown", &[world.main, world.fast]);
    assert_eq!(unknown, Err(Error::UnknownPool(world.fast)));
    assert_eq!(world.graph.targets().count(), 0);
    assert!(world.graph.add_pool("again", span(FAST, SIZE_16M), Policy::Splitting).is_ok());
}

#[test]
fn a_target_that_names_a_pool_twice_has_it_once() {
    let mut world = World::new();
    let pools = [world.fast, world.fast];
    let target = world.graph.add_target("twice", &pools).unwrap();
    let found = world.graph.targets().find(|found| found.id == target).unwrap();
    assert_eq!(found.pools, [world.fast]);
    let error = world.graph.allocate(target, &request(2 * SIZE_16M), &mut world.machine).unwrap_err();
    assert_eq!(error, Error::NoMemory { target, len: 2 * SIZE_16M, free: SIZE_16M, largest: SIZE_16M });
}

#[test]
fn a_physical_address_leads_to_its_allocation() {
    let mut world = World::new();
    let memory = world.allocate("blocks", SIZE_1M + SIZE_4K);
    let found = blocks(&world, memory);
    let second = PhysicalAddress::new(found[1].base.raw() + 7);
    assert_eq!(world.graph.allocation_at(second), Some((memory, SIZE_1M + 7)));
    assert_eq!(world.graph.allocation_at(PhysicalAddress::new(0)), None);
    let request = AllocationRequest { coherence: Coherence::Coherent, ..request(SIZE_4K) };
    let coherent = world.graph.allocate(world.target, &request, &mut world.machine).unwrap();
    assert_eq!(world.graph.allocation(coherent).unwrap().coherence, Coherence::Coherent);
    assert_eq!(world.graph.allocations().count(), 2);
}
