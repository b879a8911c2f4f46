//! Backing: one allocation, many reservations, and who may alias whom.

mod support;

use support::machine::{self, Blocked};
use support::world::{RW, World};
use vcm::{
    Access, AllocationRequest, Attributes, CachePolicy, Coherence, Error, Extent, Holder, MemoryType,
    Privilege, RegionKind, SIZE_1M, SIZE_2M, SIZE_4K, SIZE_16M, SIZE_64K, Security, Shareability, Span,
    Teardown, errno,
};

#[test]
fn the_lengths_have_to_agree() {
    let mut world = World::new();
    let region = world.translated("lengths");
    let reservation = world.reserve(region, SIZE_64K);
    for len in [SIZE_64K - SIZE_4K, SIZE_64K + SIZE_4K] {
        let allocation = world.allocate("other", len);
        let error = world.back(reservation, allocation).unwrap_err();
        let reserved = u128::from(SIZE_64K);
        assert_eq!(
            error,
            Error::LengthMismatch { reservation, reserved, allocation, offered: len, offset: 0 }
        );
        assert_eq!(error.errno(), errno::EINVAL);
    }
    assert_eq!(world.graph.allocation_behind(reservation), Err(Error::NotBacked(reservation)));
}

/// 2^64 bytes are more than any allocation has, and must not be taken for none.
#[test]
fn a_reservation_of_the_whole_space_is_longer_than_any_memory() {
    let mut world = World::new();
    let request = vcm::RegionRequest::new("all", RegionKind::Translated, Span::ALL);
    let region = world.graph.create_region(&request).unwrap();
    let all = world.graph.reserve(region, 1u128 << 64, RW).unwrap();
    let memory = world.allocate("page", SIZE_4K);
    assert!(matches!(world.back(all, memory), Err(Error::LengthMismatch { .. })));
    for offset in [0, SIZE_4K] {
        let part = world.graph.back_at_offset(all, memory, offset, &mut world.machine);
        assert!(matches!(part, Err(Error::LengthMismatch { .. })), "{part:?}");
    }
}

#[test]
fn a_part_of_an_allocation_backs_a_shorter_reservation() {
    let mut world = World::new();
    let region = world.translated("parts");
    world.activate(region, world.devices.codec_a);
    let memory = world.allocate("memory", SIZE_1M + SIZE_64K);
    let reservation = world.reserve(region, 2 * SIZE_64K);
    // Across the end of the first block.
    let offset = SIZE_1M - SIZE_64K;
    world.graph.back_at_offset(reservation, memory, offset, &mut world.machine).unwrap();
    let at = world.at(reservation);
    let blocks = world.graph.allocation(memory).unwrap().blocks.to_vec();
    for (into, to) in [(0, blocks[0].base.raw() + offset), (SIZE_64K, blocks[1].base.raw())] {
        assert_eq!(world.machine.access(machine::CODEC_A, at + into), Ok(to));
        assert_eq!(world.graph.physical_at(region, at + into).unwrap().raw(), to);
    }
    let mapper = world.graph.mappers(memory).next().unwrap();
    assert_eq!((mapper.offset, mapper.len), (offset, 2 * SIZE_64K));

    let other = world.reserve(region, SIZE_64K);
    let back = |world: &mut World, offset| {
        world.graph.back_at_offset(other, memory, offset, &mut world.machine).unwrap_err()
    };
    assert_eq!(back(&mut world, 0x800), Error::BadAlignment { value: 0x800, unit: SIZE_4K });
    for (offset, offered) in
        [(SIZE_1M + SIZE_4K, SIZE_64K - SIZE_4K), (4 * SIZE_1M, 0), (u64::MAX - 0xfff, 0)]
    {
        let reserved = u128::from(SIZE_64K);
        let wanted =
            Error::LengthMismatch { reservation: other, reserved, allocation: memory, offered, offset };
        assert_eq!(back(&mut world, offset), wanted);
    }
    world.graph.back_at_offset(other, memory, SIZE_1M, &mut world.machine).unwrap();
}

/// The original accepted a second backing.
#[test]
fn a_reservation_is_backed_once() {
    let mut world = World::new();
    let region = world.translated("once");
    let (reservation, allocation) = world.buffer(region, SIZE_4K);
    let other = world.allocate("other", SIZE_4K);
    for memory in [allocation, other] {
        let error = world.back(reservation, memory).unwrap_err();
        assert_eq!(error, Error::Backed { reservation, allocation });
    }
    assert_eq!(world.graph.unback(reservation, &mut world.machine), Teardown::Done);
    assert_eq!(world.graph.unback(reservation, &mut world.machine), Teardown::NothingThere);
    assert_eq!(Teardown::NothingThere.errno(), errno::ENOENT);
    world.back(reservation, other).unwrap();
    world.graph.free(allocation, &mut world.machine).unwrap();
}

/// In the original, an association made after backing saw nothing.
#[test]
fn associations_see_what_was_backed_before_and_after_them() {
    let mut world = World::new();
    let region = world.translated("before and after");
    let (before, memory) = world.buffer(region, SIZE_64K);
    let (codec, gpu) = (world.devices.codec_a, world.devices.gpu);
    world.activate(region, codec);
    let (after, _) = world.buffer(region, SIZE_64K);
    world.activate(region, gpu);
    for reservation in [before, after] {
        let at = world.at(reservation);
        let to = world.graph.physical_at(region, at).unwrap().raw();
        assert_eq!(world.machine.access(machine::CODEC_A, at), Ok(to));
        assert_eq!(world.machine.access(machine::GPU, at), Ok(to), "another format, the same memory");
    }
    assert_eq!(world.graph.unback(before, &mut world.machine), Teardown::Done);
    let at = world.at(before);
    for device in [machine::CODEC_A, machine::GPU] {
        assert_eq!(world.machine.access(device, at), Err(Blocked::Translation));
    }
    world.graph.free(memory, &mut world.machine).unwrap();
}

#[test]
fn a_plan_that_is_dropped_leaves_no_trace() {
    let mut world = World::new();
    let region = world.region("one-to-one", RegionKind::OneToOne, 0, u64::MAX);
    let reservation = world.reserve(region, SIZE_64K);
    let memory = world.contiguous("memory", SIZE_64K);
    let before = support::dump::dump(&world.graph);
    let plan = world.graph.plan_back(reservation, memory, Extent::Whole).unwrap();
    let planned = plan.span();
    drop(plan);
    assert_eq!(support::dump::dump(&world.graph), before);
    world.graph.plan_back(reservation, memory, Extent::Whole).unwrap().commit(&mut world.machine).unwrap();
    assert_eq!(world.graph.reservation(reservation).unwrap().span, Some(planned));
}

#[test]
fn one_to_one_reservations_take_the_place_of_their_memory() {
    let mut world = World::new();
    let region = world.region("one-to-one", RegionKind::OneToOne, support::world::MAIN, SIZE_16M);
    let reservation = world.reserve(region, 2 * SIZE_64K);
    assert_eq!(world.graph.reservation(reservation).unwrap().span, None);
    // In pieces.
    let taken: Vec<_> = (0..3).map(|_| world.contiguous("piece", SIZE_64K)).collect();
    world.graph.free(taken[1], &mut world.machine).unwrap();
    let request = AllocationRequest {
        sizes: vcm::PageSizes::from_mask(SIZE_64K).unwrap(),
        ..AllocationRequest::new("pieces", 2 * SIZE_64K)
    };
    let pieces = world.graph.allocate(world.target, &request, &mut world.machine).unwrap();
    let error = world.back(reservation, pieces).unwrap_err();
    assert_eq!(error, Error::NotContiguous { reservation, allocation: pieces });
    // Outside of the region: the fast pool is not in it.
    let fast = world.contiguous("fast", 2 * SIZE_64K);
    let error = world.back(reservation, fast).unwrap_err();
    let asked = world.graph.allocation(fast).unwrap().blocks[0].span().unwrap();
    let window = world.graph.region(region).unwrap().usable;
    assert_eq!(error, Error::OutsideRegion { region, window, asked });
    // Inside.
    let target = world.graph.add_target("main", &[world.main]).unwrap();
    let ask = AllocationRequest::new("main", 2 * SIZE_64K).contiguous();
    let memory = world.graph.allocate(target, &ask, &mut world.machine).unwrap();
    world.back(reservation, memory).unwrap();
    assert_eq!(world.at(reservation), world.memory_at(memory).raw());
    assert_eq!(world.graph.reservation_at(region, world.at(reservation)), Some(reservation));
    // The address is taken now.
    let second = world.reserve(region, 2 * SIZE_64K);
    let error = world.back(second, memory).unwrap_err();
    let asked = world.graph.allocation(memory).unwrap().blocks[0].span().unwrap();
    assert_eq!(error, Error::Occupied { region, asked, holder: Holder::Reservation(reservation) });
    // And free again afterwards.
    assert_eq!(world.graph.unback(reservation, &mut world.machine), Teardown::Done);
    assert_eq!(world.graph.device_address(reservation), Err(Error::NoAddressYet(reservation)));
    world.back(second, memory).unwrap();
}

#[test]
fn a_one_to_one_place_that_was_chosen_has_to_be_the_memorys() {
    let mut world = World::new();
    let region = world.region("one-to-one", RegionKind::OneToOne, 0, u64::MAX);
    let memory = world.contiguous("memory", SIZE_64K);
    let place = world.memory_at(memory);
    let wrong = world.graph.reserve_at(region, place.raw() + SIZE_4K, SIZE_64K, RW).unwrap();
    let error = world.back(wrong, memory).unwrap_err();
    let reserved = place.raw() + SIZE_4K;
    assert_eq!(error, Error::AddressMismatch { reservation: wrong, reserved, memory: place });
    assert_eq!(error.errno(), errno::EINVAL);
    world.graph.unreserve(wrong).unwrap();
    let right = world.graph.reserve_at(region, place.raw(), SIZE_64K, RW).unwrap();
    world.back(right, memory).unwrap();
    world.graph.unback(right, &mut world.machine);
    assert_eq!(world.at(right), place.raw(), "a chosen place stays");
    let too_long = world.region("short", RegionKind::OneToOne, 0, SIZE_64K);
    assert!(matches!(world.graph.reserve(too_long, SIZE_1M, RW), Err(Error::NoSpace { .. })));
}

/// The author of the original promised that mappers are tracked and their attributes compared; none of it
/// existed, and his reviewers said that such aliases corrupt memory silently.
#[test]
fn aliases_that_would_corrupt_memory_are_refused_by_name() {
    let normal = |policy| RW.with_memory_type(MemoryType::Normal(policy));
    let conflicting = [
        normal(CachePolicy::WriteThrough),
        normal(CachePolicy::NotCached),
        normal(CachePolicy::WriteBackNoWriteAllocate),
        RW.with_memory_type(MemoryType::Device),
        RW.with_memory_type(MemoryType::StronglyOrdered),
        RW.with_shareability(Shareability::Inner),
        RW.with_shareability(Shareability::NonShareable),
    ];
    let fine = [
        RW,
        RW.with_access(Access::READ),
        RW.with_privilege(Privilege::Supervisor),
        RW.with_security(Security::Secure),
    ];
    // With a device's mapping, and with the CPU's.
    for kind in [RegionKind::Translated, RegionKind::Cpu, RegionKind::Guest, RegionKind::OneToOne] {
        let mut world = World::new();
        let holder = world.region("holder", kind, 0, 0xffff_ffff);
        let with = world.reserve(holder, SIZE_64K);
        let allocation = world.contiguous("shared", SIZE_64K);
        world.back(with, allocation).unwrap();
        let region = world.translated("newcomer");
        for wanted in conflicting {
            let reservation = world.graph.reserve(region, SIZE_64K, wanted).unwrap();
            let error = world.back(reservation, allocation).unwrap_err();
            assert_eq!(error, Error::Conflict { reservation, allocation, wanted, with, held: RW });
            assert_eq!(error.errno(), errno::EBUSY);
            let text = world.graph.explain(error).to_string();
            for name in ["holder", "newcomer", "shared"] {
                assert!(text.contains(name), "{text}");
            }
        }
        for wanted in fine {
            let reservation = world.graph.reserve(region, SIZE_64K, wanted).unwrap();
            assert_eq!(world.back(reservation, allocation), Ok(()), "{wanted}");
        }
        assert_eq!(world.graph.mappers(allocation).count(), 1 + fine.len());
    }
}

#[test]
fn only_mappers_of_the_same_bytes_conflict() {
    let mut world = World::new();
    let region = world.translated("parts");
    let memory = world.allocate("memory", 2 * SIZE_64K);
    let uncached = RW.with_memory_type(MemoryType::Normal(CachePolicy::NotCached));
    let cached = world.reserve(region, SIZE_64K);
    world.graph.back_at_offset(cached, memory, 0, &mut world.machine).unwrap();
    let other = world.graph.reserve(region, SIZE_64K, uncached).unwrap();
    let overlapping = world.graph.back_at_offset(other, memory, SIZE_64K - SIZE_4K, &mut world.machine);
    assert!(matches!(overlapping, Err(Error::Conflict { with, .. }) if with == cached), "{overlapping:?}");
    world.graph.back_at_offset(other, memory, SIZE_64K, &mut world.machine).unwrap();
    // With the first gone, its bytes may be mapped in another way.
    world.graph.unback(cached, &mut world.machine);
    world.graph.set_reservation_attributes(cached, uncached).unwrap();
    world.graph.back_at_offset(cached, memory, SIZE_64K - SIZE_4K, &mut world.machine).unwrap();
}

/// Until the hardware has let go, the old attributes are still in use somewhere.
#[test]
fn a_mapper_in_quarantine_still_conflicts() {
    let mut world = World::new();
    let region = world.translated("stuck");
    world.associate(region, world.devices.codec_a);
    let (stuck, memory) = world.buffer(region, SIZE_64K);
    world.machine.break_down();
    assert_eq!(world.graph.unback(stuck, &mut world.machine), Teardown::Quarantined);
    let uncached = RW.with_memory_type(MemoryType::Normal(CachePolicy::NotCached));
    let other = world.translated("other");
    let reservation = world.graph.reserve(other, SIZE_64K, uncached).unwrap();
    let error = world.back(reservation, memory).unwrap_err();
    assert!(matches!(error, Error::Conflict { with, .. } if with == stuck), "{error}");
    world.machine.repair();
    world.graph.reap(&mut world.machine);
    world.back(reservation, memory).unwrap();
}

#[test]
fn coherent_memory_is_not_cached_behind_the_others_backs() {
    let mut world = World::new();
    let request =
        AllocationRequest { coherence: Coherence::Coherent, ..AllocationRequest::new("ring", SIZE_4K) };
    let region = world.translated("coherent");
    let own = RW.with_shareability(Shareability::NonShareable);
    let uncached = own.with_memory_type(MemoryType::Normal(CachePolicy::NotCached));
    let tries: [(Attributes, bool); 4] =
        [(own, false), (RW, true), (uncached, true), (RW.with_shareability(Shareability::Inner), true)];
    for (wanted, admitted) in tries {
        let allocation = world.graph.allocate(world.target, &request, &mut world.machine).unwrap();
        let reservation = world.graph.reserve(region, SIZE_4K, wanted).unwrap();
        let result = world.back(reservation, allocation);
        if admitted {
            assert_eq!(result, Ok(()), "{wanted}");
        } else {
            assert_eq!(result, Err(Error::NotCoherent { reservation, allocation, wanted }));
        }
    }
}

/// What the original had as stubs: who maps this, and where is it in the other space?
#[test]
fn every_mapper_is_known_and_addresses_translate_between_regions() {
    let mut world = World::new();
    let (codec, cpu) =
        (world.translated("codec"), world.region("cpu", RegionKind::Cpu, 0x1_0000_0000, SIZE_16M));
    let memory = world.allocate("frame", SIZE_2M);
    let whole = world.reserve(codec, SIZE_2M);
    world.back(whole, memory).unwrap();
    let tail = world.reserve(cpu, SIZE_1M);
    world.graph.back_at_offset(tail, memory, SIZE_1M, &mut world.machine).unwrap();
    let high = world.graph.reserve_at(cpu, 0x1_00f0_0000, SIZE_1M, RW).unwrap();
    world.graph.back_at_offset(high, memory, SIZE_1M, &mut world.machine).unwrap();

    let into = SIZE_1M + 0x123;
    let (from, to) = (world.at(whole) + into, world.at(tail) + 0x123);
    assert_eq!(
        world.graph.address_in(codec, from, cpu),
        Some(RegionKind::Cpu.address(to)),
        "the lowest of two"
    );
    let back = RegionKind::Translated.address(from);
    assert_eq!(world.graph.address_in(cpu, to, codec), Some(back));
    assert_eq!(
        world.graph.address_in(codec, world.at(whole), cpu),
        None,
        "the CPU does not map the first half"
    );
    assert_eq!(world.graph.address_in(codec, 0x3000_0000, cpu), None);

    let byte = world.graph.physical_at(codec, from).unwrap();
    assert_eq!(world.graph.physical_at(cpu, to), Some(byte));
    let who: Vec<_> = world.graph.who_maps(byte).map(|(id, mapper)| (id, mapper.reservation)).collect();
    assert_eq!(who, [(memory, whole), (memory, tail), (memory, high)]);
    let first = world.memory_at(memory);
    assert_eq!(world.graph.who_maps(first).count(), 1);
    let addresses: Vec<_> = world.graph.mappers(memory).map(|mapper| mapper.address.unwrap().raw()).collect();
    assert_eq!(addresses, [world.at(whole), world.at(tail), world.at(high)]);
}

/// The purpose of it all: the fewest TLB entries that the memory allows.
#[test]
fn a_buffer_is_mapped_with_the_largest_pages() {
    let mut world = World::new();
    let region = world.translated("pages");
    world.associate(region, world.devices.codec_a);
    let (reservation, _) = world.buffer(region, SIZE_16M + SIZE_1M + SIZE_64K + SIZE_4K);
    let leaves = world.graph.leaves(reservation, &world.machine);
    assert_eq!(leaves.iter().collect::<Vec<_>>(), [(SIZE_16M, 1), (SIZE_1M, 1), (SIZE_64K, 1), (SIZE_4K, 1)]);
    // In a space of 2M pages the same buffer takes more; the worst space counts.
    world.associate(region, world.devices.gpu);
    let leaves = world.graph.leaves(reservation, &world.machine);
    assert!(leaves.iter().any(|(size, count)| size == SIZE_2M && count == 8), "{leaves:?}");
}
