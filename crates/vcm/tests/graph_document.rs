//! The example of the 2010 document: one buffer of 2M + 4K, seen by a device behind an IOMMU, by one without,
//! and by the CPU. Its reviewer asked twice: "error handling?" Here every step has it.

mod support;

use support::machine;
use support::world::{FAST, RW, World, span};
use vcm::{
    AllocationRequest, Contiguity, Error, Part, RegionAddress, RegionKind, RegionRequest, SIZE_2M, SIZE_4K,
    SIZE_16M, Teardown,
};

/// `SZ_2MB + SZ_4K`.
const LEN: u64 = SIZE_2M + SIZE_4K;

#[test]
fn three_mappings_of_one_buffer() -> Result<(), Error> {
    let World { mut graph, mut machine, devices, fast, target, .. } = World::new();
    let free: u64 = graph.pools().map(|pool| pool.free).sum();

    // The user allocates physical memory.
    let request = AllocationRequest::new("frame", LEN).contiguous();
    assert_eq!(request.contiguity, Contiguity::Contiguous);
    let memory = graph.allocate(target, &request, &mut machine)?;

    // Creates an IOMMU region, a one-to-one region over the contiguous pool, and one over the CPU's VMM.
    let iommu =
        graph.create_region(&RegionRequest::new("iommu", RegionKind::Translated, span(0x400, SIZE_16M)))?;
    let pool = graph.pools().find(|pool| pool.id == fast).unwrap().memory;
    let direct = graph.create_region(&RegionRequest::new("one-to-one", RegionKind::OneToOne, pool))?;
    let vmm = graph.create_prebuilt_region("vmm", devices.cpu, span(0xffff_0000_0000_0000, 2 * SIZE_16M))?;

    // Associates and activates all three to their respective devices.
    let mut links = Vec::new();
    for (region, device) in [(iommu, devices.codec_a), (direct, devices.ethernet), (vmm, devices.cpu)] {
        let link = graph.associate(region, device, Part::Whole, &mut machine)?;
        graph.activate(link, &mut machine)?;
        assert_eq!(graph.is_active(link), Ok(true));
        links.push(link);
    }

    // Creates and backs reservations on all three, such that they all point to the same memory.
    let mut reservations = Vec::new();
    for region in [iommu, direct, vmm] {
        let reservation = graph.reserve(region, LEN, RW)?;
        graph.back(reservation, memory, &mut machine)?;
        reservations.push(reservation);
    }

    let addresses: Vec<_> = reservations.iter().map(|id| graph.device_address(*id).unwrap()).collect();
    let [RegionAddress::Iova(iova), RegionAddress::Physical(physical), RegionAddress::Cpu(cpu)] =
        addresses[..]
    else {
        panic!("{addresses:?}")
    };
    assert!(iova.is_aligned(SIZE_2M) && cpu.is_aligned(SIZE_2M), "aligned for the largest page");
    assert!(physical.raw() >= FAST && physical.raw() + LEN <= FAST + SIZE_16M, "one-to-one is physical");
    for into in [0, 1, SIZE_2M - 1, SIZE_2M, LEN - 1] {
        let to = physical.raw() + into;
        assert_eq!(machine.access(machine::CODEC_A, iova.raw() + into), Ok(to));
        assert_eq!(machine.access(machine::CPU, cpu.raw() + into), Ok(to));
        for (from, address) in [(iommu, iova.raw()), (direct, physical.raw()), (vmm, cpu.raw())] {
            assert_eq!(graph.physical_at(from, address + into).unwrap().raw(), to);
            assert_eq!(graph.address_in(from, address + into, direct).unwrap().raw(), to);
            assert_eq!(graph.address_in(from, address + into, vmm).unwrap().raw(), cpu.raw() + into);
        }
    }
    assert_eq!(graph.who_maps(physical).count(), 3);
    assert_eq!(graph.leaves(reservations[0], &machine).total(), 3, "two sections of 1M and a page");
    assert_eq!(graph.leaves(reservations[2], &machine).total(), 2, "a block of 2M and a page");
    assert_eq!(graph.leaves(reservations[1], &machine).total(), 0, "no table at all");

    // And all the way back.
    assert!(matches!(graph.free(memory, &mut machine), Err(Error::Mapped { count: 3, .. })));
    for reservation in reservations {
        assert_eq!(graph.unback(reservation, &mut machine), Teardown::Done);
        graph.unreserve(reservation)?;
    }
    assert_eq!(machine.tlb_len(), 0);
    graph.free(memory, &mut machine)?;
    for (link, region) in links.into_iter().zip([iommu, direct, vmm]) {
        assert_eq!(graph.deactivate(link, &mut machine), Teardown::Done);
        graph.deassociate(link, &mut machine)?;
        graph.free_region(region)?;
    }
    assert_eq!(graph.pools().map(|pool| pool.free).sum::<u64>(), free);
    assert_eq!((graph.quarantined(), machine.spaces.len(), machine.attached.len()), (0, 0, 0));
    Ok(())
}

/// The document's "detailed walk through": stage 1 maps for a device, stage 2 lets the CPU in later.
#[test]
fn the_cpu_joins_later() -> Result<(), Error> {
    let World { mut graph, mut machine, devices, target, .. } = World::new();
    let region =
        graph.create_region(&RegionRequest::new("device", RegionKind::Translated, span(0, SIZE_16M)))?;
    let link = graph.associate(region, devices.codec_a, Part::Whole, &mut machine)?;
    graph.activate(link, &mut machine)?;
    let reservation = graph.reserve(region, LEN, RW)?;
    let memory = graph.allocate(target, &AllocationRequest::new("frame", LEN), &mut machine)?;
    graph.back(reservation, memory, &mut machine)?;

    let vmm = graph.create_prebuilt_region("vmm", devices.cpu, span(0xc000_0000, SIZE_16M))?;
    let link = graph.associate(vmm, devices.cpu, Part::Whole, &mut machine)?;
    graph.activate(link, &mut machine)?;
    let seen = graph.reserve(vmm, LEN, RW)?;
    graph.back(seen, memory, &mut machine)?;
    let [device, cpu] = [reservation, seen].map(|id| graph.device_address(id).unwrap().raw());
    for into in (0..LEN).step_by(0x1_0000) {
        let arrived = machine.access(machine::CODEC_A, device + into);
        assert_eq!(machine.access(machine::CPU, cpu + into), arrived);
        assert!(arrived.is_ok());
    }
    Ok(())
}
