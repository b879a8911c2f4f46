//! A topology for other programs. Addresses are strings in hexadecimal, since JSON's numbers end at 2^53; sizes are
//! numbers of bytes.

use super::json_pci::{NamedHost, NamedParent};
use super::pci::Function;
use super::{
    Attachment, Context, Cpu, Interrupt, InterruptController, InterruptControllerKind, InterruptKind, Iommu,
    IommuKind, IommuPlace, Master, Memory, MemoryKind, PassedOver, PhysicalRange, Reserved, ReservedWindow,
    Topology, Trigger,
};
use serde::ser::{Serialize, SerializeStruct, Serializer};

/// Writes a struct with the given fields.
macro_rules! fields {
    ($serializer:expr, $name:literal, $($field:literal: $value:expr),* $(,)?) => {{
        let mut out = $serializer.serialize_struct($name, [$($field),*].len())?;
        $(out.serialize_field($field, &$value)?;)*
        out.end()
    }};
}

pub(super) use fields;

pub(super) fn hexadecimal(address: u64) -> String {
    format!("{address:#x}")
}

impl Serialize for Topology {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let topology = self;
        let iommus: Vec<_> = self.iommus.iter().map(|iommu| NamedIommu { topology, iommu }).collect();
        let masters: Vec<_> = self.masters.iter().map(|master| NamedMaster { topology, master }).collect();
        let hosts: Vec<_> = self.pci_hosts.iter().map(|host| NamedHost { topology, host }).collect();
        fields!(serializer, "Topology",
            "name": self.name,
            "compatible": self.compatible,
            "iommus": iommus,
            "masters": masters,
            "pci_hosts": hosts,
            "memories": self.memories,
            "cpus": self.cpus,
            "interrupt_controllers": self.interrupt_controllers,
            "msi_controllers": self.msi_controllers,
            "passed_over": self.passed_over,
        )
    }
}

/// An IOMMU with the topology that its indices are of, so that others can go by name.
struct NamedIommu<'a> {
    topology: &'a Topology,
    iommu: &'a Iommu,
}

impl Serialize for NamedIommu<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { topology, iommu } = *self;
        let kind = match &iommu.kind {
            IommuKind::MsmV0(_) => "msm-v0",
            IommuKind::ArmSmmuV3 => "arm-smmu-v3",
            IommuKind::RiscvIommu => "riscv-iommu",
            IommuKind::RiscvPciIommu => "riscv-pci-iommu",
            IommuKind::VirtioPciIommu => "virtio-pci-iommu",
            IommuKind::VirtioMmioIommu => "virtio-mmio-iommu",
        };
        let parent = iommu.msi_parent.map(|parent| NamedParent { topology, parent });
        let mut out = serializer.serialize_struct("Iommu", 14)?;
        out.serialize_field("name", &iommu.name)?;
        out.serialize_field("path", &iommu.path)?;
        out.serialize_field("compatible", &iommu.compatible)?;
        out.serialize_field("kind", kind)?;
        match iommu.place {
            IommuPlace::Registers(range) => {
                out.serialize_field("base", &hexadecimal(range.base.raw()))?;
                out.serialize_field("size", &range.size)?;
            }
            IommuPlace::Pci { host, function } => {
                out.serialize_field("pci_host", &topology.pci_hosts.get(host).map(|host| &host.name))?;
                out.serialize_field("pci_function", &Function(function).to_string())?;
            }
        }
        out.serialize_field("interrupts", &iommu.interrupts)?;
        out.serialize_field("msi_parent", &parent)?;
        if let Some(smmu) = iommu.msm() {
            out.serialize_field("global_offset", &smmu.global_offset)?;
            out.serialize_field("context_banks", &smmu.context_banks)?;
            out.serialize_field("contexts", &smmu.contexts)?;
            out.serialize_field("tlb_entries", &smmu.tlb_entries)?;
        }
        out.serialize_field("coherent_walk", &iommu.coherent_walk)?;
        out.end()
    }
}

impl Serialize for Context {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fields!(serializer, "Context",
            "name": self.name,
            "number": self.number,
            "stream_ids": self.stream_ids,
            "interrupts": self.interrupts,
        )
    }
}

/// A master with the topology that its streams' indices are of, so that the IOMMUs can go by name.
struct NamedMaster<'a> {
    topology: &'a Topology,
    master: &'a Master,
}

impl Serialize for NamedMaster<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { topology, master } = self;
        let context = master.streams().first().and_then(|stream| stream.context.as_deref());
        let groups = topology.streams_by_iommu(master).into_iter();
        let streams =
            groups.map(|(iommu, stream_ids)| Streams { iommu: &topology.iommus[iommu].name, stream_ids });
        fields!(serializer, "Master",
            "name": master.name,
            "path": master.path,
            "compatible": master.compatible,
            "registers": master.registers,
            "interrupts": master.interrupts,
            "direct": matches!(master.attachment, Attachment::Direct),
            "context": context,
            "streams": streams.collect::<Vec<_>>(),
            "reserved_windows": master.reserved_windows,
        )
    }
}

/// What a master has at one IOMMU.
struct Streams<'a> {
    iommu: &'a str,
    stream_ids: Vec<u32>,
}

impl Serialize for Streams<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fields!(serializer, "Streams", "iommu": self.iommu, "stream_ids": self.stream_ids)
    }
}

impl Serialize for Memory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = match self.kind {
            MemoryKind::Main => "main",
            MemoryKind::OnPackage => "on-package",
            MemoryKind::OnChip => "on-chip",
        };
        fields!(serializer, "Memory",
            "name": self.name,
            "path": self.path,
            "kind": kind,
            "base": hexadecimal(self.base.raw()),
            "size": self.size,
            "reserved": self.reserved,
            "usable": self.usable,
        )
    }
}

impl Serialize for Reserved {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let base = hexadecimal(self.range.base.raw());
        fields!(serializer, "Reserved", "name": self.name, "base": base, "size": self.range.size)
    }
}

impl Serialize for PhysicalRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fields!(serializer, "PhysicalRange", "base": hexadecimal(self.base.raw()), "size": self.size)
    }
}

impl Serialize for ReservedWindow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let base = hexadecimal(self.base.raw());
        fields!(serializer, "ReservedWindow", "base": base, "size": self.size, "memory": self.memory)
    }
}

impl Serialize for Cpu {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let id = hexadecimal(self.id);
        fields!(serializer, "Cpu", "name": self.name, "path": self.path, "compatible": self.compatible, "id": id)
    }
}

impl Serialize for InterruptController {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = match self.kind {
            InterruptControllerKind::GicV2 => "gicv2",
            InterruptControllerKind::GicV3 => "gicv3",
        };
        fields!(serializer, "InterruptController",
            "name": self.name,
            "path": self.path,
            "compatible": self.compatible,
            "kind": kind,
            "registers": self.registers,
        )
    }
}

impl Serialize for Interrupt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = match self.kind {
            InterruptKind::Shared => "shared",
            InterruptKind::Private => "private",
        };
        let trigger = match self.trigger {
            Trigger::Unspecified => "unspecified",
            Trigger::EdgeRising => "edge-rising",
            Trigger::EdgeFalling => "edge-falling",
            Trigger::EdgeBoth => "edge-both",
            Trigger::LevelHigh => "level-high",
            Trigger::LevelLow => "level-low",
        };
        fields!(serializer, "Interrupt",
            "name": self.name,
            "kind": kind,
            "number": self.number,
            "trigger": trigger,
        )
    }
}

impl Serialize for PassedOver {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fields!(serializer, "PassedOver", "path": self.path, "reason": self.reason)
    }
}
