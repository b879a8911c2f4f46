//! A driver's queues and data through the graph: what an NVMe controller writes and reads is where the graph says.

use crate::support::*;
use std::time::Instant;
use vcm::{Iova, PhysicalAddress};
use vcm_platform::splitmix64;
use vcm_qemu::{DmaPage, Nvme, NvmeConfig, NvmeQueueConfig};

const SLOT: u8 = 20;
const MEBIBYTES: u32 = 64;
const PAGE: u64 = 0x1000;
const QUEUE: NvmeQueueConfig = NvmeQueueConfig { entries: 64, in_flight: 8, vector: None };
/// The driver's queues and lists.
const PAGES: u64 = (NvmeConfig::PAGES + QUEUE.pages(PAGE)) as u64;

fn random(seed: u64, len: usize) -> Vec<u8> {
    (0..len as u64 / 8).flat_map(|index| splitmix64(seed, index).to_le_bytes()).collect()
}

/// Backs a new allocation of `len` bytes at `at`.
fn backed_at(world: &mut World, region: RegionId, label: &str, at: u64, len: u64) -> Buffer {
    let request = vcm::AllocationRequest::new(label, len);
    let memory = world.graph.allocate(world.target(), &request, &mut world.emulated).unwrap();
    let reservation = world.graph.reserve_at(region, at, len, Attributes::READ_WRITE).unwrap();
    world.graph.back(reservation, memory, &mut world.emulated).unwrap();
    for page in (0..len).step_by(1 << 20) {
        assert_ne!(world.graph.physical_at(region, at + page), Some(PhysicalAddress::new(at + page)));
    }
    Buffer { reservation, memory, at }
}

fn faults(world: &mut World) -> Vec<(u64, FaultAccess, FaultReason)> {
    let mut all = Vec::new();
    while let Some(fault) = world.emulated.iommu().next_fault().unwrap() {
        all.push((fault.address, fault.access, fault.reason));
    }
    all
}

/// Writes and reads `mebibytes`, and tells how quickly.
fn a_disk_is_written_and_read(models: &[IommuModel], mebibytes: u64) {
    on(models, &[Device::Nvme { slot: SLOT, mebibytes: MEBIBYTES }], |world| {
        let len = mebibytes << 20;
        let (region, _) = world.region("nvme", &["slot20"]);
        let queues = backed_at(world, region, "queues", 0x1100_3000, PAGES * PAGE);
        let source = backed_at(world, region, "source", 0x2000_0000, len);
        let data = random(mebibytes, len as usize);
        world.put(source.memory, &data);
        let mut pages = (0..PAGES).map(|index| queues.at + index * PAGE);
        let mut page = || {
            let device = pages.next()?;
            let memory = world.graph.physical_at(region, device)?;
            Some(DmaPage { device: Iova::new(device), memory })
        };
        let registers = world.emulated.machine().nvme_registers(SLOT).unwrap();
        let ram = world.ram().clone();
        let mut nvme = Nvme::start(registers.clone(), ram.clone(), NvmeConfig::default(), &mut page).unwrap();
        let mut queue = nvme.create_queue(registers, ram, QUEUE, &mut page).unwrap();
        assert_eq!(nvme.information().model, "QEMU NVMe Ctrl");
        assert_eq!(nvme.information().blocks, u64::from(MEBIBYTES) << 20 >> 9);
        let begun = Instant::now();
        queue.write(0, Iova::new(source.at), len).unwrap();
        queue.flush().unwrap();
        let wrote = begun.elapsed();
        assert_eq!(faults(world), []);
        world.unback(source.reservation);

        let target = backed_at(world, region, "target", 0x3456_7000, len);
        assert!(world.get(target.memory) != data);
        let begun = Instant::now();
        queue.read(0, Iova::new(target.at), len).unwrap();
        let took = begun.elapsed();
        assert!(world.get(target.memory) == data, "the bytes come back");
        assert!(world.get(source.memory) == data, "and what was unbacked is as it was");
        assert_eq!(faults(world), []);
        let rate = |time: std::time::Duration| mebibytes as f64 * 1.048_576 / time.as_secs_f64();
        println!(
            "{:?}: NVMe through the graph, {mebibytes} MiB: {:.0} MB/s written, {:.0} MB/s read",
            world.model,
            rate(wrote),
            rate(took)
        );

        // What is taken away is read to no more: the controller says nothing of it, the IOMMU does.
        queue.read(0, Iova::new(target.at), 64 * PAGE).unwrap(); // The TLB has it last.
        world.unback(target.reservation);
        let other = noise(9, len as usize);
        for memory in [source.memory, target.memory] {
            world.put(memory, &other);
        }
        queue.read(0, Iova::new(target.at), 64 * PAGE).unwrap();
        let found = faults(world);
        if tells_faults(world.model) {
            let (address, _, reason) = found[0];
            assert!((target.at..target.at + 64 * PAGE).contains(&address), "{address:#x}");
            // A second-stage entry of VT-d that is absent is one without permissions, and is told as such (Intel VT-d
            // specification, 3.7 "Second-Stage Translation").
            let absent = match world.model {
                IommuModel::VtdLegacy | IommuModel::VtdScalable => FaultReason::Permission,
                _ => FaultReason::Translation,
            };
            assert_eq!(reason, absent);
        } else {
            assert_eq!(found, [], "QEMU tells AMD-Vi's faults now");
        }
        for memory in [source.memory, target.memory] {
            assert!(world.get(memory) == other, "nothing arrived");
        }
        // The queues still are where they were.
        world.graph.back(target.reservation, target.memory, &mut world.emulated).unwrap();
        queue.read(0, Iova::new(target.at), PAGE).unwrap();
        assert_eq!(world.get(target.memory)[..PAGE as usize], data[..PAGE as usize]);
        nvme.stop().unwrap();
    });
}

#[test]
fn a_large_disk_through_an_smmuv3() {
    a_disk_is_written_and_read(&[IommuModel::Smmuv3], MEBIBYTES.into());
}

#[test]
fn a_large_disk_through_a_vtd() {
    a_disk_is_written_and_read(&[IommuModel::VtdLegacy], MEBIBYTES.into());
}

#[test]
fn a_disk_through_every_iommu() {
    let others: Vec<_> = MODELS
        .into_iter()
        .filter(|model| !matches!(model, IommuModel::Smmuv3 | IommuModel::VtdLegacy))
        .collect();
    a_disk_is_written_and_read(&others, 4);
}
