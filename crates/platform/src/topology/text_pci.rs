//! PCI hosts and MSI controllers, for a topology on one page.

use super::pci::Function;
use super::text::{Address, Size};
use super::{MsiController, MsiControllerKind, MsiParent, PciHost, PciSpace, RequesterMap, Topology};
use std::fmt;

/// A host with the topology that its indices are of.
pub(super) struct Host<'a> {
    pub(super) topology: &'a Topology,
    pub(super) host: &'a PciHost,
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topology, host } = *self;
        let (base, size) = (Address(host.ecam.base.raw()), Size(host.ecam.size));
        let coherent = if host.coherent { ", coherent DMA" } else { "" };
        let (first, last) = host.buses.clone().into_inner();
        writeln!(f, "  {:<24} {base} {size:>9}  buses {first:02x}-{last:02x}{coherent}", host.name)?;
        for window in &host.windows {
            let space = match (window.space, window.prefetchable) {
                (PciSpace::Io, _) => "I/O",
                (PciSpace::Memory32, false) => "32-bit memory",
                (PciSpace::Memory32, true) => "32-bit memory, prefetch",
                (PciSpace::Memory64, false) => "64-bit memory",
                (PciSpace::Memory64, true) => "64-bit memory, prefetch",
            };
            let (base, size) = (Address(window.range.base.raw()), Size(window.range.size));
            writeln!(f, "    {space:<22} {base} {size:>9}  at {} on the bus", Address(window.pci_address))?;
        }
        let iommus = |index: usize| topology.iommus.get(index).map_or("", |it| it.name.as_str());
        map(f, "streams", &host.iommu_map, iommus)?;
        let controllers =
            |index: usize| topology.msi_controllers.get(index).map_or("", |it| it.name.as_str());
        map(f, "messages", &host.msi_map, controllers)?;
        if let Some(parent) = host.msi_parent {
            writeln!(f, "    {:<22} otherwise {}", "messages", Parent { topology, parent })?;
        }
        let mut entries = host.interrupt_map.as_slice();
        while let Some(first) = entries.first() {
            let of_one =
                entries.iter().take_while(|entry| entry.from.function == first.from.function).count();
            let (of_one, rest) = entries.split_at(of_one);
            entries = rest;
            write!(f, "    {:<22}", format!("interrupts of {}", Function(first.from.function)))?;
            for entry in of_one {
                match entry.from.pin {
                    pin @ 1..=4 => write!(f, " INT{}", char::from(b'A' + pin - 1))?,
                    pin => write!(f, " pin {pin}")?,
                }
                write!(f, " {}", entry.interrupt.number)?;
            }
            writeln!(f)?;
        }
        if !host.interrupt_map.is_empty() {
            let mask = host.interrupt_mask;
            writeln!(
                f,
                "    {:<22} functions {:#06x}, pins {:#x}",
                "interrupt mask", mask.function, mask.pin
            )?;
        }
        Ok(())
    }
}

/// The ranges of a map, each with the name of where it leads.
fn map<'a>(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    map: &RequesterMap,
    name: impl Fn(usize) -> &'a str,
) -> fmt::Result {
    for range in &map.ranges {
        let (first, last) = (Function(range.first), Function(range.last()));
        let to = name(range.target);
        writeln!(f, "    {what:<22} {first} to {last} at {to} from {:#x}", range.first_id)?;
    }
    if map.mask != u16::MAX {
        writeln!(f, "    {:<22} {:#06x}", format!("{what} mask"), map.mask)?;
    }
    Ok(())
}

/// Where messages go, with the topology that the controller's index is of.
pub(super) struct Parent<'a> {
    pub(super) topology: &'a Topology,
    pub(super) parent: MsiParent,
}

impl fmt::Display for Parent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let controller = self.topology.msi_controllers.get(self.parent.controller);
        write!(f, "to {}", controller.map_or("", |controller| controller.name.as_str()))?;
        self.parent.id.map_or(Ok(()), |id| write!(f, " as {id:#x}"))
    }
}

/// One line about a controller.
pub(super) struct Controller<'a>(pub(super) &'a MsiController);

impl fmt::Display for Controller<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(controller) = self;
        let (base, size) = (Address(controller.registers.base.raw()), Size(controller.registers.size));
        write!(f, "  {:<24} {base} {size:>9}  ", controller.name)?;
        match controller.kind {
            MsiControllerKind::GicV2m { first_interrupt, interrupts } => {
                write!(f, "GICv2m")?;
                first_interrupt.map_or(Ok(()), |first| write!(f, ", interrupts from {first}"))?;
                interrupts.map_or(Ok(()), |count| write!(f, ", {count} of them"))
            }
            MsiControllerKind::GicV3Its => write!(f, "GICv3 ITS"),
        }
    }
}
