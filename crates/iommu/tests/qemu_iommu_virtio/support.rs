//! A machine with the device and two bus masters.

use crate::left_out::left_out;
use vcm::{Attributes, Iova, PhysicalAddress, Span};
use vcm_iommu::virtio::{Config, PciTransport, PciWindows, VirtioIommu};
use vcm_iommu::{DomainId, FaultRecord, Iommu, StreamId, Translation};
use vcm_pagetable::Segment;
use vcm_qemu::{
    Decoding, Device, Edu, IommuMachine, IommuModel, Ram, VirtioStructureKind, WideAccess, Window,
};

pub(crate) type Driver = VirtioIommu<PciTransport<Window>, Ram>;

pub(crate) const PAGE: u64 = 0x1000;

pub(crate) struct Bench {
    pub(crate) machine: IommuMachine,
    pub(crate) edus: [Edu; 2],
}

/// Runs a test, unless `VCM_WITHOUT_QEMU_IOMMUS=1` says that it is meant to be left out.
pub(crate) fn on(model: IommuModel, test: impl FnOnce(Bench)) {
    if left_out() {
        return;
    }
    let machine = IommuMachine::start(model, &[Device::Edu { slot: 2 }, Device::Edu { slot: 3 }]).unwrap();
    let edus = [machine.edu(2).unwrap(), machine.edu(3).unwrap()];
    let bench = Bench { machine, edus };
    let bus = bench.machine.bus().clone();
    test(bench);
    let failure = bus.failure();
    assert!(failure.is_none(), "{failure:?}");
}

impl Bench {
    /// The device's windows, with DMA switched on: its queues are in memory.
    pub(crate) fn transport(&self) -> PciTransport<Window> {
        let function = self.machine.iommu_function().unwrap();
        let mut ecam = self.machine.ecam();
        function.set_decoding(&mut ecam, Decoding::MemoryAndBusMaster).unwrap();
        let structures = function.virtio_structures(&mut ecam).unwrap();
        let find = |wanted: fn(&VirtioStructureKind) -> bool| {
            structures.iter().find(|structure| wanted(&structure.kind)).copied().unwrap()
        };
        let window = |address| self.machine.bus().window(address, WideAccess::Halves);
        let notify = find(|kind| matches!(kind, VirtioStructureKind::Notify { .. }));
        let VirtioStructureKind::Notify { multiplier } = notify.kind else { unreachable!() };
        PciTransport::new(PciWindows {
            common: window(find(|kind| *kind == VirtioStructureKind::Common).address),
            notify: window(notify.address),
            notify_len: notify.len,
            notify_multiplier: multiplier,
            interrupt: window(find(|kind| *kind == VirtioStructureKind::InterruptStatus).address),
            device: window(find(|kind| *kind == VirtioStructureKind::Device).address),
        })
    }

    pub(crate) fn driver(&self) -> Driver {
        self.driver_with(Config::new("virtio"))
    }

    pub(crate) fn driver_with(&self, config: Config) -> Driver {
        VirtioIommu::probe(self.transport(), self.machine.ram().clone(), config).unwrap()
    }

    pub(crate) fn stream(&self, edu: usize) -> StreamId {
        StreamId(self.edus[edu].function().address.requester_id().into())
    }

    /// Pages of memory, filled with something that `seed` tells apart.
    pub(crate) fn pages(&self, pages: u64, seed: u8) -> (PhysicalAddress, Vec<u8>) {
        let address = self.machine.ram().allocate(pages * PAGE, PAGE).unwrap();
        let data: Vec<u8> =
            (0..pages * PAGE).map(|i| (i.wrapping_mul(31) >> 3) as u8 ^ (i as u8) ^ seed).collect();
        self.machine.ram().write_bytes(address, &data).unwrap();
        (address, data)
    }

    pub(crate) fn memory(&self, address: PhysicalAddress, len: u64) -> Vec<u8> {
        let mut bytes = vec![0; len as usize];
        self.machine.ram().read_bytes(address, &mut bytes).unwrap();
        bytes
    }

    pub(crate) fn copy(&self, edu: usize, from: u64, to: u64, len: u64) {
        self.edus[edu].copy(Iova::new(from), Iova::new(to), len).unwrap();
    }
}

pub(crate) fn requests(driver: &mut Driver) -> DomainId {
    driver.create_domain(Translation::Requests).unwrap()
}

pub(crate) fn segment(physical: PhysicalAddress, len: u64) -> Segment {
    Segment { physical, len }
}

pub(crate) fn map(driver: &mut Driver, domain: DomainId, at: u64, physical: PhysicalAddress, len: u64) {
    driver.map(domain, at, segment(physical, len), Attributes::READ_WRITE).unwrap();
}

pub(crate) fn span(first: u64, len: u64) -> Span {
    Span::new(first, len).unwrap()
}

/// All faults that are recorded now.
pub(crate) fn faults(driver: &mut Driver) -> Vec<FaultRecord> {
    core::iter::from_fn(|| driver.next_fault().unwrap()).collect()
}

/// Says where bytes differ, and not what they all are.
#[track_caller]
pub(crate) fn assert_bytes(found: &[u8], expected: &[u8], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let different = found.iter().zip(expected).position(|(found, expected)| found != expected);
    assert_eq!(different, None, "{what}: the first byte that differs");
}
