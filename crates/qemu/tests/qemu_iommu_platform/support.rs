//! A machine with a graph over it, and what the tests ask of both.

pub(crate) use crate::qemu_iommu::{noise, without_qemu_iommus};
pub(crate) use vcm::{
    Access, AllocationId, Answer, AssociationId, Attributes, Fault, FaultAccess, FaultReason, Graph,
    Hardware, RegionId, ReservationId, Teardown,
};
pub(crate) use vcm_platform::{Event, Outcome, Platform, PlatformError, Transfer, TransferReport};
pub(crate) use vcm_qemu::{Device, Emulated, IommuModel};

use std::sync::{Arc, Mutex};
use vcm::{
    AllocationRequest, DeviceHandle, DeviceId, Part, PhysicalAddress, Privilege, RegionKind, RegionRequest,
    Span,
};
use vcm_platform::{Checksum, Inventory, Layout, Surface, pattern};
use vcm_qemu::Ram;

/// Every machine with an IOMMU.
pub(crate) const MODELS: [IommuModel; 9] = [
    IommuModel::Smmuv3,
    IommuModel::VtdLegacy,
    IommuModel::VtdScalable,
    IommuModel::VtdScalableFirstStage,
    IommuModel::Riscv,
    IommuModel::RiscvPci,
    IommuModel::AmdVi,
    IommuModel::VirtioOnArm,
    IommuModel::VirtioOnPc,
];

/// Addresses that regions of devices are made of.
const WINDOW: (u64, u64) = (0x1000_0000, 0x7fff_ffff);

/// As much of the memory is looked at at once.
const LOOK: usize = 1 << 20;

/// Whether the IOMMU tells what it refused. QEMU's AMD-Vi never does: for an entry that is 0 it has no event, and those
/// that it has go to a log whose tail never moves (`amdvi_page_walk` and `amdvi_log_event` in hw/i386/amd_iommu.c, 10.0).
pub(crate) fn tells_faults(model: IommuModel) -> bool {
    model != IommuModel::AmdVi
}

/// Whether it keeps translations. QEMU's virtio-iommu looks each one up in its tree of mappings.
pub(crate) fn has_tlb(model: IommuModel) -> bool {
    !matches!(model, IommuModel::VirtioOnArm | IommuModel::VirtioOnPc)
}

/// Runs `test` on each of `models`, unless there shall be no QEMU. A failure says which one it was.
pub(crate) fn on(models: &[IommuModel], devices: &[Device], test: impl Fn(&mut World)) {
    if without_qemu_iommus() {
        return;
    }
    for &model in models {
        let _named = Named(model);
        test(&mut World::start(model, devices));
    }
}

/// Says which model was at work when a test failed.
struct Named(IommuModel);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed on {:?}", self.0);
        }
    }
}

/// A machine, and the graph that knows its devices and its memory.
pub(crate) struct World {
    pub(crate) model: IommuModel,
    pub(crate) emulated: Emulated,
    pub(crate) graph: Graph,
    inventory: Inventory,
}

/// A reservation with the memory behind it.
#[derive(Clone, Copy)]
pub(crate) struct Buffer {
    pub(crate) reservation: ReservationId,
    pub(crate) memory: AllocationId,
    /// Where devices find it.
    pub(crate) at: u64,
}

/// The faults that a hook was told.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<Fault>>>);

impl Told {
    /// Those since the last call.
    pub(crate) fn take(&self) -> Vec<Fault> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// The one that there was since the last call.
    #[track_caller]
    pub(crate) fn one(&self) -> Fault {
        let all = self.take();
        assert_eq!(all.len(), 1, "{all:?}");
        all[0]
    }

    pub(crate) fn add(&self, fault: &Fault) {
        self.0.lock().unwrap().push(*fault);
    }
}

impl World {
    pub(crate) fn start(model: IommuModel, devices: &[Device]) -> Self {
        let emulated = Emulated::start_with("qemu", model, devices).unwrap_or_else(|error| {
            panic!("{model:?}: {error}. Install QEMU 10.0 or newer, or set VCM_WITHOUT_QEMU_IOMMUS")
        });
        let mut graph = Graph::new();
        let inventory = Inventory::register(&mut graph, &emulated).unwrap();
        Self { model, emulated, graph, inventory }
    }

    pub(crate) fn handle(&self, device: &str) -> DeviceHandle {
        self.emulated.devices().iter().find(|found| found.name == device).unwrap().handle
    }

    pub(crate) fn device(&self, device: &str) -> DeviceId {
        self.inventory.device(device).unwrap()
    }

    pub(crate) fn ram(&self) -> &Ram {
        self.emulated.machine().ram()
    }

    /// A region with active associations with `devices`.
    pub(crate) fn region(&mut self, label: &str, devices: &[&str]) -> (RegionId, Vec<AssociationId>) {
        let window = Span::inclusive(WINDOW.0, WINDOW.1).unwrap();
        let request = RegionRequest::new(label, RegionKind::Translated, window);
        let region = self.graph.create_region(&request).unwrap();
        let links = devices.iter().map(|device| self.activate(region, device)).collect();
        (region, links)
    }

    pub(crate) fn activate(&mut self, region: RegionId, device: &str) -> AssociationId {
        let device = self.device(device);
        let link = self.graph.associate(region, device, Part::Whole, &mut self.emulated).unwrap();
        self.graph.activate(link, &mut self.emulated).unwrap();
        link
    }

    /// Memory that holds [`noise`].
    pub(crate) fn memory(&mut self, label: &str, len: u64, seed: u64) -> AllocationId {
        let request = AllocationRequest::new(label, len);
        let target = self.inventory.target();
        let memory = self.graph.allocate(target, &request, &mut self.emulated).unwrap();
        self.put(memory, &noise(seed, len as usize));
        memory
    }

    pub(crate) fn target(&self) -> vcm::TargetId {
        self.inventory.target()
    }

    /// Memory that holds [`noise`], reserved for and backed.
    pub(crate) fn buffer(&mut self, region: RegionId, len: u64, attributes: Attributes, seed: u64) -> Buffer {
        let memory = self.memory("buffer", len, seed);
        let reservation = self.graph.reserve(region, len, attributes).unwrap();
        self.graph.back(reservation, memory, &mut self.emulated).unwrap();
        let at = self.graph.device_address(reservation).unwrap().raw();
        Buffer { reservation, memory, at }
    }

    #[track_caller]
    pub(crate) fn unback(&mut self, reservation: ReservationId) {
        assert_eq!(self.graph.unback(reservation, &mut self.emulated), Teardown::Done);
    }

    #[track_caller]
    pub(crate) fn deactivate(&mut self, link: AssociationId) {
        assert_eq!(self.graph.deactivate(link, &mut self.emulated), Teardown::Done);
    }

    /// Has faults of `device` told and answered with [`Answer::Terminate`].
    pub(crate) fn watch(&mut self, device: &str) -> Told {
        let told = Told::default();
        let noted = told.clone();
        let hook = move |fault: &Fault, _: &mut Graph, _: &mut dyn Hardware| {
            noted.add(fault);
            Answer::Terminate
        };
        self.graph.hook(self.device(device), Box::new(hook)).unwrap();
        told
    }

    /// Writes past every mapping, in the order of the allocation's blocks.
    pub(crate) fn put(&self, memory: AllocationId, bytes: &[u8]) {
        let mut rest = bytes;
        for block in self.graph.allocation(memory).unwrap().blocks {
            let (now, later) = rest.split_at(rest.len().min(block.len as usize));
            self.ram().write_bytes(block.base, now).unwrap();
            rest = later;
        }
    }

    /// Reads past every mapping.
    pub(crate) fn get(&self, memory: AllocationId) -> Vec<u8> {
        let mut bytes = Vec::new();
        for block in self.graph.allocation(memory).unwrap().blocks {
            let mut part = vec![0; block.len as usize];
            self.ram().read_bytes(block.base, &mut part).unwrap();
            bytes.extend(part);
        }
        bytes
    }

    /// Compares every byte of the machine's pools: what is in none of `known` was never written.
    #[track_caller]
    pub(crate) fn assert_memory(&self, known: &[(AllocationId, &[u8])]) {
        let mut pieces: Vec<(u64, &[u8])> = Vec::new();
        for (memory, bytes) in known {
            let mut rest = *bytes;
            for block in self.graph.allocation(*memory).unwrap().blocks {
                let (now, later) = rest.split_at(block.len as usize);
                pieces.push((block.base.raw(), now));
                rest = later;
            }
            assert!(rest.is_empty());
        }
        pieces.sort_unstable();
        let zeros = vec![0; LOOK];
        for pool in self.emulated.memories() {
            let mut at = pool.span.first();
            for (start, bytes) in &pieces {
                self.compare(at, *start, |_| &zeros);
                self.compare(*start, start + bytes.len() as u64, |done| &bytes[done..]);
                at = start + bytes.len() as u64;
            }
            self.compare(at, pool.span.last() + 1, |_| &zeros);
        }
    }

    #[track_caller]
    fn compare<'b>(&self, first: u64, end: u64, expected: impl Fn(usize) -> &'b [u8]) {
        let mut found = vec![0; LOOK.min((end - first) as usize)];
        let mut at = first;
        while at < end {
            let len = LOOK.min((end - at) as usize);
            self.ram().read_bytes(PhysicalAddress::new(at), &mut found[..len]).unwrap();
            let expected = &expected((at - first) as usize)[..len];
            if found[..len] != *expected {
                let unlike = found.iter().zip(expected).position(|(found, wanted)| found != wanted).unwrap();
                panic!(
                    "the memory at {:#x} holds {:#x}, not {:#x}",
                    at + unlike as u64,
                    found[unlike],
                    expected[unlike]
                );
            }
            at += len as u64;
        }
    }

    pub(crate) fn begin(&mut self, device: &str, transfer: &Transfer) {
        let handle = self.handle(device);
        self.emulated.start(handle, transfer, Privilege::User).unwrap();
    }

    /// Goes on to the next event. Faults go to the graph, and its answer to the machine.
    pub(crate) fn event(&mut self) -> Result<Option<Event>, PlatformError> {
        let event = self.emulated.next_event()?;
        if let Some(Event::Fault { token, fault }) = event {
            let verdict = self.graph.handle_fault(&fault, &mut self.emulated);
            assert_eq!(verdict.handled, vcm::Handled::ByHook, "{fault}");
            self.emulated.answer(token, verdict.answer);
        }
        Ok(event)
    }

    /// Goes on until the transfer of `device` is over.
    pub(crate) fn finish(&mut self, device: &str) -> Result<TransferReport, PlatformError> {
        let handle = self.handle(device);
        loop {
            match self.event()?.expect("the transfer was lost") {
                Event::Completed { device, report } if device == handle => return Ok(report),
                _ => {}
            }
        }
    }

    pub(crate) fn run(&mut self, device: &str, transfer: &Transfer) -> TransferReport {
        self.begin(device, transfer);
        self.finish(device).unwrap()
    }
}

pub(crate) const fn linear(address: u64, len: u64) -> Surface {
    Surface { address, layout: Layout::Linear { len } }
}

pub(crate) const fn write(address: u64, len: u64, seed: u64) -> Transfer {
    Transfer::Write { to: linear(address, len), seed }
}

pub(crate) const fn read(address: u64, len: u64) -> Transfer {
    Transfer::Read { from: linear(address, len) }
}

/// What a master writes.
pub(crate) fn written(seed: u64, len: u64) -> Vec<u8> {
    (0..len).map(|index| pattern(seed, index)).collect()
}

/// What a master that reads `bytes` reports.
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    let mut sum = Checksum::new();
    sum.update(bytes);
    sum.value()
}
