//! This machine, as its Linux lends it to us.

use super::{Bindings, Description, Machine};
use crate::problem::Problem;
use crate::scenario::Table;
use vcm_linux::memory::PageKind;
use vcm_linux::platform::{Blocks, DeviceRequest, Interface, Linux, MachineRequest, MemorySpec, View};
use vcm_platform::Platform;

/// What a machine's file calls pages.
const PAGES: [(&str, PageKind); 4] = [
    ("4K", PageKind::Ordinary),
    ("transparent", PageKind::TransparentHuge),
    ("2M", PageKind::Huge2M),
    ("1G", PageKind::Huge1G),
];

/// What it calls a device's view of memory.
const VIEWS: [(&str, View); 2] = [("translated", View::Translated), ("one-to-one", View::OneToOne)];

/// What it calls the kernel's interfaces.
const INTERFACES: [(&str, Interface); 4] = [
    ("any", Interface::Any),
    ("iommufd", Interface::Iommufd),
    ("container", Interface::Container),
    ("no-iommu", Interface::NoIommu),
];

/// Real devices, memory of this machine, and KVM.
#[derive(Clone, Debug)]
pub struct LinuxMachine {
    request: MachineRequest,
    bindings: Bindings,
}

impl LinuxMachine {
    pub(super) fn described(description: Description, request: MachineRequest) -> Self {
        let request = MachineRequest { name: description.name, ..request };
        Self { request, bindings: description.bindings }
    }
}

/// Reads what a machine's file says of this machine: `[[memory]]`, `[[device]]`, `guests`.
pub(super) fn read(top: &mut Table<'_>) -> Result<MachineRequest, Problem> {
    let mut memories = Vec::new();
    for mut table in top.tables("memory")? {
        let memory = MemorySpec {
            name: table.required_text("name")?.text,
            len: table.required_number("size")?,
            pages: table.choice("pages", &PAGES)?.unwrap_or_default(),
        };
        table.finish()?;
        memories.push(memory);
    }
    let mut devices = Vec::new();
    for mut table in top.tables("device")? {
        let overwrites = match table.table("overwrites")? {
            None => None,
            Some(mut blocks) => {
                let found = Blocks {
                    first: blocks.required_number("first")?,
                    count: blocks.required_number("count")?,
                };
                blocks.finish()?;
                Some(found)
            }
        };
        let device = DeviceRequest {
            name: table.required_text("name")?.text,
            address: table.required_text("address")?.text,
            view: table.choice("view", &VIEWS)?.unwrap_or_default(),
            interface: table.choice("interface", &INTERFACES)?.unwrap_or_default(),
            overwrites,
        };
        table.finish()?;
        devices.push(device);
    }
    let guests = top.texts("guests")?.unwrap_or_default();
    let guests = guests.into_iter().map(|name| name.text).collect();
    Ok(MachineRequest { name: String::new(), memories, devices, guests })
}

impl Machine for LinuxMachine {
    fn name(&self) -> &str {
        &self.request.name
    }

    fn bindings(&self) -> &Bindings {
        &self.bindings
    }

    fn bindings_mut(&mut self) -> &mut Bindings {
        &mut self.bindings
    }

    fn records_no_faults(&self) -> Option<&str> {
        Linux::records_no_faults()
    }

    fn switch_on(&self, tlb_entries: Option<u32>) -> Result<Box<dyn Platform>, Problem> {
        if tlb_entries.is_some() {
            let what =
                "the size of its TLB is the hardware's and cannot be chosen, nor can its misses be counted";
            let problem = Problem::new(format!("machine {}: {what}", self.request.name));
            return Err(problem.with_help("`vcm machines` lists others"));
        }
        match Linux::start(&self.request) {
            Ok(machine) => Ok(Box::new(machine)),
            Err(error) => Err(Problem::new(format!("machine {}: {error}", self.request.name))
                .with_help("`vcm doctor` says what this machine can do, and what is missing")),
        }
    }
}
