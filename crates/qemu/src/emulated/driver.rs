//! The IOMMU of a machine, and the driver for it.

use super::EmulatedError;
use crate::bus::{WideAccess, Window};
use crate::iommu_machine::{IommuMachine, IommuModel, IommuPlace as Place};
use crate::pci::{Decoding, PciFunction, VirtioStructureKind};
use crate::ram::Ram;
use vcm::Span;
use vcm_iommu::{Iommu, StreamId, amdvi, riscv, smmuv3, virtio, vtd};
use vcm_platform::topology::{IommuPlace, PciHost, Topology};

/// An IOMMU with its driver.
pub(super) struct Driven {
    pub(super) iommu: Box<dyn Iommu>,
    /// Addresses that no device is to be given.
    pub(super) reserved: Vec<Span>,
    /// The streams of PCI functions.
    pub(super) streams: Streams,
}

/// What streams the functions of the PCI bus have.
pub(super) enum Streams {
    /// Those that the device tree gives them.
    Mapped(Box<PciHost>),
    /// Their requester ids: what a PC's IOMMUs see.
    RequesterIds,
}

impl Streams {
    /// The stream of a function.
    pub(super) fn of(&self, function: &PciFunction) -> Result<StreamId, EmulatedError> {
        let requester = function.address.requester_id();
        let stream = match self {
            Self::Mapped(host) => host.stream_of(requester).map(|(_, stream)| stream),
            Self::RequesterIds => Some(requester.into()),
        };
        stream.map(StreamId).ok_or(EmulatedError::Lacks("a stream at the IOMMU for one of its functions"))
    }
}

/// Finds the IOMMU of `machine` and takes it over: in the device tree where there is one, else where the machine is
/// known to have it. Its queues and tables go to `ram`. `master` is a device behind it.
pub(super) fn drive(
    machine: &IommuMachine,
    ram: &Ram,
    master: &PciFunction,
) -> Result<Driven, EmulatedError> {
    if let Place::Function { .. } = machine.layout().iommu {
        // It reads and writes its queues and tables by DMA of its own.
        machine.iommu_function()?.set_decoding(&mut machine.ecam(), Decoding::MemoryAndBusMaster)?;
    }
    let (registers, streams) = match machine.device_tree()? {
        Some(tree) => found(machine, &tree)?,
        None => (machine.iommu_registers().ok(), Streams::RequesterIds),
    };
    let registers = || registers.clone().ok_or(EmulatedError::Lacks("registers of an IOMMU"));
    // A PC's interrupt messages are written there, whatever its IOMMU.
    let pc = || vec![vtd::INTERRUPT_ADDRESSES];
    let (iommu, reserved): (Box<dyn Iommu>, Vec<Span>) = match machine.model() {
        IommuModel::Smmuv3 => {
            let config = smmuv3::Config::new("smmuv3");
            (Box::new(smmuv3::Smmu::probe(registers()?, ram.clone(), config)?), Vec::new())
        }
        IommuModel::VtdLegacy => (vtd(registers()?, ram, vtd::Mode::Legacy)?, pc()),
        IommuModel::VtdScalable | IommuModel::VtdScalableFirstStage => {
            (vtd(registers()?, ram, vtd::Mode::Scalable)?, pc())
        }
        IommuModel::Riscv | IommuModel::RiscvPci => {
            let config = riscv::Config::new("riscv");
            (Box::new(riscv::RiscvIommu::probe(registers()?, ram.clone(), config)?), Vec::new())
        }
        IommuModel::AmdVi => {
            let config = amdvi::Config::new("amd-vi");
            (Box::new(amdvi::AmdVi::probe(registers()?, ram.clone(), config)?), pc())
        }
        IommuModel::VirtioOnArm | IommuModel::VirtioOnPc => {
            let transport = virtio_transport(machine)?;
            let config = virtio::Config::new("virtio");
            let mut driver = virtio::VirtioIommu::probe(transport, ram.clone(), config)?;
            let told = driver.reserved(streams.of(master)?)?;
            let reserved = told.iter().map(|window| window.span).collect();
            (Box::new(driver), reserved)
        }
        IommuModel::NoneOnArm => return Err(EmulatedError::Lacks("an IOMMU")),
    };
    Ok(Driven { iommu, reserved, streams })
}

fn vtd(registers: Window, ram: &Ram, mode: vtd::Mode) -> Result<Box<dyn Iommu>, EmulatedError> {
    // QEMU's host address width is that of the tables (`aw-bits`): RAM is far below.
    let config = vtd::Config::new("vt-d").with_mode(mode).with_host_bits(39);
    Ok(Box::new(vtd::Vtd::probe(registers, ram.clone(), config)?))
}

/// What the device tree says: where the IOMMU's registers are, if in memory, and which stream each function has.
fn found(machine: &IommuMachine, tree: &[u8]) -> Result<(Option<Window>, Streams), EmulatedError> {
    let topology = Topology::from_device_tree(tree)?;
    let host =
        topology.pci_hosts.first().cloned().ok_or(EmulatedError::Lacks("a PCI host in its device tree"))?;
    let place = topology.iommus.first().map(|iommu| iommu.place);
    let registers = match (place, machine.layout().iommu) {
        (Some(IommuPlace::Registers(found)), Place::Registers { wide, .. }) => {
            Some(machine.bus().window(found.base, wide))
        }
        // A function, where it was put.
        (Some(IommuPlace::Pci { .. }), Place::Function { .. }) => machine.iommu_registers().ok(),
        _ => return Err(EmulatedError::Lacks("its IOMMU in its device tree")),
    };
    Ok((registers, Streams::Mapped(Box::new(host))))
}

/// The structures of a virtio function, switched on.
fn virtio_transport(machine: &IommuMachine) -> Result<virtio::PciTransport<Window>, EmulatedError> {
    let structures = machine.iommu_function()?.virtio_structures(&mut machine.ecam())?;
    let find = |wanted: fn(VirtioStructureKind) -> bool| {
        let found = structures.iter().find(|structure| wanted(structure.kind));
        found.ok_or(EmulatedError::Lacks("a structure of virtio-iommu"))
    };
    let window = |wanted: fn(VirtioStructureKind) -> bool| {
        find(wanted).map(|structure| machine.bus().window(structure.address, WideAccess::Halves))
    };
    let notify = find(|kind| matches!(kind, VirtioStructureKind::Notify { .. }))?;
    let notify_multiplier = match notify.kind {
        VirtioStructureKind::Notify { multiplier } => multiplier,
        _ => 0,
    };
    Ok(virtio::PciTransport::new(virtio::PciWindows {
        common: window(|kind| kind == VirtioStructureKind::Common)?,
        notify: machine.bus().window(notify.address, WideAccess::Halves),
        notify_len: notify.len,
        notify_multiplier,
        interrupt: window(|kind| kind == VirtioStructureKind::InterruptStatus)?,
        device: window(|kind| kind == VirtioStructureKind::Device)?,
    }))
}
