//! A topology for other programs. Addresses are strings in hexadecimal, since JSON's numbers end at 2^53; sizes are
//! numbers of bytes.

use super::{
    Attachment, Context, Cpu, Interrupt, InterruptController, InterruptControllerKind, InterruptKind, Iommu,
    Master, Memory, MemoryKind, PassedOver, PhysicalRange, Reserved, ReservedWindow, Topology, Trigger,
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

fn hexadecimal(address: u64) -> String {
    format!("{address:#x}")
}

impl Serialize for Topology {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let masters: Vec<_> =
            self.masters.iter().map(|master| NamedMaster { topology: self, master }).collect();
        fields!(serializer, "Topology",
            "name": self.name,
            "compatible": self.compatible,
            "iommus": self.iommus,
            "masters": masters,
            "memories": self.memories,
            "cpus": self.cpus,
            "interrupt_controllers": self.interrupt_controllers,
            "passed_over": self.passed_over,
        )
    }
}

impl Serialize for Iommu {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fields!(serializer, "Iommu",
            "name": self.name,
            "path": self.path,
            "compatible": self.compatible,
            "base": hexadecimal(self.base.raw()),
            "size": self.size,
            "global_offset": self.global_offset,
            "interrupts": self.interrupts,
            "context_banks": self.context_banks,
            "contexts": self.contexts,
            "tlb_entries": self.tlb_entries,
            "coherent_walk": self.coherent_walk,
        )
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
