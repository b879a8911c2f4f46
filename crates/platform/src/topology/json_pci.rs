//! PCI hosts and MSI controllers for other programs. Requester ids are numbers, functions are written `00:02.0`.

use super::json::{fields, hexadecimal};
use super::pci::Function;
use super::{
    MsiController, MsiControllerKind, MsiParent, PciHost, PciInterrupt, PciPin, PciSpace, PciWindow,
    RequesterMap, Topology,
};
use serde::ser::{Serialize, SerializeStruct, Serializer};

/// A host with the topology that its indices are of, so that IOMMUs and controllers can go by name.
pub(super) struct NamedHost<'a> {
    pub(super) topology: &'a Topology,
    pub(super) host: &'a PciHost,
}

impl Serialize for NamedHost<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { topology, host } = *self;
        let iommu = |index: usize| Some(topology.iommus.get(index)?.name.as_str());
        let controller = |index: usize| Some(topology.msi_controllers.get(index)?.name.as_str());
        fields!(serializer, "PciHost",
            "name": host.name,
            "path": host.path,
            "compatible": host.compatible,
            "ecam": host.ecam,
            "first_bus": host.buses.start(),
            "last_bus": host.buses.end(),
            "windows": host.windows,
            "iommu_map": NamedMap { map: &host.iommu_map, name: iommu },
            "msi_map": NamedMap { map: &host.msi_map, name: controller },
            "msi_parent": host.msi_parent.map(|parent| NamedParent { topology, parent }),
            "interrupt_map": host.interrupt_map,
            "interrupt_mask": Mask(host.interrupt_mask),
            "coherent": host.coherent,
        )
    }
}

/// Where messages go, with the topology that the controller's index is of.
pub(super) struct NamedParent<'a> {
    pub(super) topology: &'a Topology,
    pub(super) parent: MsiParent,
}

impl Serialize for NamedParent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let controller = self.topology.msi_controllers.get(self.parent.controller);
        let name = controller.map(|controller| &controller.name);
        fields!(serializer, "MsiParent", "controller": name, "id": self.parent.id)
    }
}

/// A map from requester ids, with the names of what they lead to.
struct NamedMap<'a, N> {
    map: &'a RequesterMap,
    name: N,
}

impl<'a, N: Fn(usize) -> Option<&'a str>> Serialize for NamedMap<'a, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ranges = self.map.ranges.iter().map(|range| NamedRange {
            first: range.first,
            last: range.last(),
            target: (self.name)(range.target),
            first_id: range.first_id,
        });
        fields!(serializer, "RequesterMap", "mask": self.map.mask, "ranges": ranges.collect::<Vec<_>>())
    }
}

/// A run of requester ids, with the name of what they lead to.
struct NamedRange<'a> {
    first: u16,
    last: u16,
    target: Option<&'a str>,
    first_id: u32,
}

impl Serialize for NamedRange<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fields!(serializer, "RequesterRange",
            "first": self.first,
            "last": self.last,
            "target": self.target,
            "first_id": self.first_id,
        )
    }
}

impl Serialize for PciWindow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let space = match self.space {
            PciSpace::Io => "io",
            PciSpace::Memory32 => "memory-32",
            PciSpace::Memory64 => "memory-64",
        };
        fields!(serializer, "PciWindow",
            "space": space,
            "prefetchable": self.prefetchable,
            "pci_address": hexadecimal(self.pci_address),
            "base": hexadecimal(self.range.base.raw()),
            "size": self.range.size,
        )
    }
}

impl Serialize for PciInterrupt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fields!(serializer, "PciInterrupt",
            "function": Function(self.from.function).to_string(),
            "pin": self.from.pin,
            "interrupt": self.interrupt,
        )
    }
}

/// Which bits of a pin count.
struct Mask(PciPin);

impl Serialize for Mask {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fields!(serializer, "PciPin", "function": self.0.function, "pin": self.0.pin)
    }
}

impl Serialize for MsiController {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, first, count) = match self.kind {
            MsiControllerKind::GicV2m { first_interrupt, interrupts } => {
                ("gicv2m", first_interrupt, interrupts)
            }
            MsiControllerKind::GicV3Its => ("gicv3-its", None, None),
        };
        fields!(serializer, "MsiController",
            "name": self.name,
            "path": self.path,
            "compatible": self.compatible,
            "kind": kind,
            "base": hexadecimal(self.registers.base.raw()),
            "size": self.registers.size,
            "first_interrupt": first,
            "interrupts": count,
        )
    }
}
