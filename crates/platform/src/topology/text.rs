//! A topology on one page.

use super::pci::Function;
use super::text_pci::{Controller, Host, Parent};
use super::{Attachment, Interrupt, IommuKind, IommuPlace, MemoryKind, Topology};
use std::fmt;

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.name)?;
        heading(f, "memory", self.memories.len())?;
        for memory in &self.memories {
            let kind = match memory.kind {
                MemoryKind::Main => "main",
                MemoryKind::OnPackage => "on package",
                MemoryKind::OnChip => "on chip",
            };
            let usable: u64 = memory.usable.iter().map(|range| range.size).sum();
            write!(
                f,
                "  {:<24} {} {:>9}  {kind}",
                memory.name,
                Address(memory.base.raw()),
                Size(memory.size)
            )?;
            if usable != memory.size {
                write!(f, ", {} usable", Size(usable))?;
            }
            writeln!(f)?;
        }
        heading(f, "IOMMUs", self.iommus.len())?;
        for iommu in &self.iommus {
            write!(f, "  {:<24} ", iommu.name)?;
            match iommu.place {
                IommuPlace::Registers(range) => {
                    write!(f, "{} {:>9}", Address(range.base.raw()), Size(range.size))?;
                }
                IommuPlace::Pci { host, function } => {
                    let host = self.pci_hosts.get(host).map_or("", |host| host.name.as_str());
                    write!(f, "{} of {host}", Function(function))?;
                }
            }
            match &iommu.kind {
                IommuKind::MsmV0(smmu) => write!(f, "  {} banks", smmu.context_banks)?,
                IommuKind::ArmSmmuV3 => write!(f, "  SMMUv3")?,
                IommuKind::RiscvIommu | IommuKind::RiscvPciIommu => write!(f, "  RISC-V IOMMU")?,
                IommuKind::VirtioPciIommu | IommuKind::VirtioMmioIommu => write!(f, "  virtio-iommu")?,
            }
            write!(f, "{}", Interrupts(&iommu.interrupts))?;
            if let Some(parent) = iommu.msi_parent {
                write!(f, ", messages {}", Parent { topology: self, parent })?;
            }
            if iommu.msm().is_none() && iommu.coherent_walk {
                write!(f, ", coherent walks")?;
            }
            writeln!(f)?;
            for context in iommu.msm().into_iter().flat_map(|smmu| &smmu.contexts) {
                let bank = context.number.map_or("any bank".into(), |number| format!("bank {number}"));
                writeln!(f, "    {:<22} {bank:<8} streams {}", context.name, Ids(&context.stream_ids))?;
            }
        }
        heading(f, "masters", self.masters.len())?;
        for master in &self.masters {
            write!(f, "  {:<24} ", master.name)?;
            match &master.attachment {
                Attachment::Direct => write!(f, "direct")?,
                Attachment::Translated(_) => {
                    for (position, (iommu, ids)) in self.streams_by_iommu(master).into_iter().enumerate() {
                        let separator = if position == 0 { "" } else { ", " };
                        write!(f, "{separator}{} streams {}", self.iommus[iommu].name, Ids(&ids))?;
                    }
                }
            }
            writeln!(f, "{}", Interrupts(&master.interrupts))?;
        }
        if !self.pci_hosts.is_empty() {
            heading(f, "PCI hosts", self.pci_hosts.len())?;
            self.pci_hosts.iter().try_for_each(|host| write!(f, "{}", Host { topology: self, host }))?;
        }
        heading(f, "processors", self.cpus.len())?;
        for cpu in &self.cpus {
            writeln!(f, "  {:<24} {}", cpu.name, cpu.compatible.first().map_or("", String::as_str))?;
        }
        heading(f, "interrupt controllers", self.interrupt_controllers.len())?;
        for controller in &self.interrupt_controllers {
            let compatible = controller.compatible.first().map_or("", String::as_str);
            writeln!(f, "  {:<24} {compatible}", controller.name)?;
        }
        if !self.msi_controllers.is_empty() {
            heading(f, "MSI controllers", self.msi_controllers.len())?;
            self.msi_controllers.iter().try_for_each(|it| writeln!(f, "{}", Controller(it)))?;
        }
        if !self.passed_over.is_empty() {
            heading(f, "passed over", self.passed_over.len())?;
            for passed in &self.passed_over {
                writeln!(f, "  {}: {}", passed.path, passed.reason)?;
            }
        }
        Ok(())
    }
}

impl Topology {
    /// The stream ids of a master, by the IOMMU that they are at, in the order of the tree.
    pub(super) fn streams_by_iommu(&self, master: &super::Master) -> Vec<(usize, Vec<u32>)> {
        let mut groups: Vec<(usize, Vec<u32>)> = Vec::new();
        for stream in master.streams().iter().filter(|stream| stream.iommu < self.iommus.len()) {
            match groups.last_mut() {
                Some((iommu, ids)) if *iommu == stream.iommu => ids.push(stream.id),
                _ => groups.push((stream.iommu, vec![stream.id])),
            }
        }
        groups
    }
}

fn heading(f: &mut fmt::Formatter<'_>, what: &str, count: usize) -> fmt::Result {
    writeln!(f, "\n{what} ({count})")
}

/// A physical address in the eight digits that 32-bit machines need, or more.
pub(super) struct Address(pub(super) u64);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

/// A size in the largest unit that gives a whole number.
pub(super) struct Size(pub(super) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        let text = match units.iter().find(|(unit, _)| self.0 != 0 && self.0.is_multiple_of(*unit)) {
            Some((unit, name)) => format!("{} {name}", self.0 / unit),
            None => format!("{} B", self.0),
        };
        f.pad(&text)
    }
}

/// Ids, with runs of three and more shortened: `0-2 6-15`.
struct Ids<'a>(&'a [u32]);

impl fmt::Display for Ids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return write!(f, "none");
        }
        let mut rest = self.0;
        let mut separator = "";
        while let Some(&first) = rest.first() {
            let run =
                (0u32..).zip(rest).take_while(|(step, id)| first.checked_add(*step) == Some(**id)).count();
            let run = if run < 3 { 1 } else { run };
            write!(f, "{separator}{first}")?;
            if run > 1 {
                write!(f, "-{}", rest[run - 1])?;
            }
            separator = " ";
            rest = &rest[run..];
        }
        Ok(())
    }
}

/// The numbers of interrupts, with the words before them; nothing for none.
struct Interrupts<'a>(&'a [Interrupt]);

impl fmt::Display for Interrupts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        let numbers: Vec<u32> = self.0.iter().map(|interrupt| interrupt.number).collect();
        write!(f, ", interrupts {}", Ids(&numbers))
    }
}
