//! Making a machine: its memory, its devices, what each can translate.

use super::Linux;
use super::assigned::{Assigned, BoundDevices, Usable};
use super::device::{Device, Unit};
use super::hardware::connect;
use super::kernel_log::KernelLog;
use super::mappings::Piece;
use super::own_pages::{OWN_PAGES, OwnPages};
use super::request::{DeviceRequest, Interface, MachineRequest, View};
use super::space::{OwnMapping, Space};
use crate::Error;
use crate::iommufd::{Iommufd, Library};
use crate::memory::{CpuSpace, Layout, MemoryPiece, MemoryRequest, PageKind};
use crate::vfio::Way;
use std::collections::BTreeMap;
use std::sync::Arc;
use vcm::{
    Access, Attributes, DeviceHandle, Format, Iova, PageSizes, PhysicalAddress, RegionKind, SIZE_1G, SIZE_2M,
    SIZE_4K, Span,
};
use vcm_platform::{DeviceDescription, MemoryDescription, Transfers};

/// The addresses of this process that are lent to the graph: they cost nothing until they are backed.
const CPU_LEN: u64 = 64 << 30;
/// A device's own pages are looked for below this, downwards: what has 32 bits finds them, and interrupts are above.
const OWN_BELOW: u64 = 0xf000_0000;
/// What is tried next.
const OWN_STEP: u64 = 16 << 20;
/// The guest physical addresses that a guest's region can have: what x86 guests and KVM's tables have at least.
const GUEST_BITS: u32 = 40;

/// The physical addresses that processors have at most.
const PHYSICAL: Span = match Span::inclusive(0, (1 << 52) - 1) {
    Some(span) => span,
    None => Span::ALL,
};

/// Every power of two from 4K on.
const ALL_SIZES: PageSizes = match PageSizes::from_mask(!0xfff) {
    Some(sizes) => sizes,
    None => PageSizes::AARCH64_4K,
};

impl Linux {
    /// Sets memory aside, binds the devices to VFIO and finds out what they can translate.
    ///
    /// # Errors
    /// What cannot be had, and what would help. Devices that were bound by then are given back.
    pub fn start(request: &MachineRequest) -> Result<Self, Error> {
        let mut machine = Self {
            name: request.name.clone(),
            transfers: Transfers::new(),
            #[cfg(target_arch = "x86_64")]
            guests: Vec::new(),
            #[cfg(target_arch = "x86_64")]
            assignments: Vec::new(),
            #[cfg(target_arch = "x86_64")]
            lines: Vec::new(),
            devices: Vec::new(),
            descriptions: Vec::new(),
            notes: Vec::new(),
            warnings: Vec::new(),
            spaces: BTreeMap::new(),
            identity: Vec::new(),
            next_space: 1,
            formats: Vec::new(),
            own: Vec::new(),
            iommufd: None,
            cpu: CpuSpace::reserve(CPU_LEN, SIZE_1G)?,
            memory: Layout::default(),
            memories: Vec::new(),
            page_lens: Vec::new(),
            whole_pages: request.memories.iter().map(|memory| whole_page(memory.pages)).collect(),
            bound: BoundDevices::default(),
            log: KernelLog::open().ok(),
            refusal: None,
        };
        let unprotected = request.devices.iter().any(|device| device.interface == Interface::NoIommu);
        if unprotected {
            machine.memory = Layout::within(PHYSICAL)?;
            request.memories.iter().try_for_each(|memory| machine.add_physical(memory))?;
        }
        for memory in request.memories.iter().filter(|_| !unprotected) {
            let file = Arc::new(MemoryRequest::new(&memory.name, memory.len).pages(memory.pages).create()?);
            let span = machine.memory.add(file)?;
            machine.page_lens.push((span, page_len(memory.pages)));
            machine.memories.push(MemoryDescription { name: memory.name.clone(), span });
        }
        machine.add_devices(request)?;
        let cpu = machine.cpu.span();
        machine.add_played("cpu", RegionKind::Cpu, "addresses of this process", cpu);
        let guest = Span::inclusive(0, (1 << GUEST_BITS) - 1).unwrap_or(Span::ALL);
        for name in &request.guests {
            machine.add_played(name, RegionKind::Guest, "KVM memory slots", guest);
        }
        #[cfg(target_arch = "x86_64")]
        machine.describe_interrupts();
        Ok(machine)
    }

    fn add_played(&mut self, name: &str, kind: RegionKind, format: &'static str, addresses: Span) {
        let sizes = self.useful(ALL_SIZES);
        // A process maps huge pages that were set aside whole or not at all.
        let smallest = self.whole_pages.iter().min().copied().unwrap_or(SIZE_4K);
        let sizes = PageSizes::from_mask(sizes.mask() & !(smallest - 1)).unwrap_or(sizes);
        let format = self.format_number(format, sizes, addresses);
        self.add(name, kind, Unit::Played, format, None, Vec::new());
    }

    /// The page sizes that a mapping of this machine's memory can be made of: what is larger than the pages of the memory is
    /// nowhere to be had for certain.
    fn useful(&self, sizes: PageSizes) -> PageSizes {
        let largest = self.page_lens.iter().map(|(_, len)| *len).max().unwrap_or(sizes.smallest());
        let mask = sizes.mask() & ((largest << 1) - 1);
        PageSizes::from_mask(mask).unwrap_or(sizes)
    }

    /// The number of a format: that of an equal one, if there is one.
    fn format_number(&mut self, name: &'static str, page_sizes: PageSizes, addresses: Span) -> u32 {
        let same =
            |known: &Format| (known.name, known.page_sizes, known.addresses) == (name, page_sizes, addresses);
        if let Some(known) = self.formats.iter().find(|known| same(known)) {
            return known.id;
        }
        let id = self.formats.len() as u32;
        self.formats.push(Format { id, name, page_sizes, addresses });
        id
    }

    fn add(
        &mut self,
        name: &str,
        kind: RegionKind,
        unit: Unit,
        format: u32,
        iommu: Option<String>,
        reserved: Vec<Span>,
    ) {
        let handle = DeviceHandle(self.devices.len() as u32);
        self.descriptions.push(DeviceDescription { handle, name: name.to_owned(), kind, iommu, reserved });
        self.devices.push(Device { kind, unit, attached: Vec::new(), format });
    }

    /// Reaches every device, gives it pages of its own, and makes it known.
    fn add_devices(&mut self, request: &MachineRequest) -> Result<(), Error> {
        let mut found = Vec::new();
        for device in &request.devices {
            let (assigned, usable) = self.reach(device)?;
            found.push((device, assigned, usable));
        }
        let own_len = (found.len() as u64).max(1) * OWN_PAGES;
        let Some(own_at) = own_address(own_len, found.iter().map(|(.., usable)| usable)) else {
            return Err(Error::not_supported(
                "transfers of these devices",
                "there are no addresses below 4 GiB that all of them can translate, for their own pages",
            ));
        };
        for (index, (device, assigned, _)) in found.iter_mut().enumerate() {
            let at = Iova::new(own_at + index as u64 * OWN_PAGES);
            assigned.own = Some(self.own_pages(&device.name, assigned.way, at)?);
        }
        for (device, assigned, usable) in found {
            let mut reserved = gaps(&usable.spans);
            reserved.extend(Span::new(own_at, own_len));
            self.add_device(device, assigned, &usable, reserved)?;
        }
        Ok(())
    }

    /// Binds a device to VFIO, opens it and finds out what it can translate.
    fn reach(&mut self, device: &DeviceRequest) -> Result<(Assigned, Usable), Error> {
        let (mut assigned, bound) = Assigned::bind(device)?;
        self.bound.add(bound);
        if assigned.way == Way::Cdev && self.iommufd.is_none() {
            self.open_iommufd()?;
        }
        if assigned.way == Way::NoIommu && device.view == View::Translated {
            return Err(Error::argument(
                format!("device `{}`", device.name),
                "it is behind no IOMMU, and sees physical memory: `view = \"one-to-one\"`",
            ));
        }
        let usable = assigned.usable(self.iommufd.as_ref().map(|(iommufd, _)| iommufd))?;
        self.warnings.extend(assigned.warning());
        self.notes
            .push(format!("{} is {}, by {}: {}", device.name, device.address, assigned.way, assigned.reason));
        Ok((assigned, usable))
    }

    /// The pages that a device needs for itself, which it finds at `at`, or where they are if nobody translates.
    fn own_pages(&mut self, name: &str, way: Way, at: Iova) -> Result<OwnPages, Error> {
        if way == Way::NoIommu {
            return OwnPages::physical(name);
        }
        let own = OwnPages::new(name, at)?;
        if let Some((_, library)) = &self.iommufd {
            // Anywhere: nobody but the library knows it.
            let span = self.memory.add(Arc::clone(own.file()))?;
            library.add(PhysicalAddress::new(span.first()), own.file())?;
        }
        self.own.push(OwnMapping { at, memory: MemoryPiece::whole(Arc::clone(own.file())) });
        Ok(own)
    }

    fn add_device(
        &mut self,
        request: &DeviceRequest,
        mut assigned: Assigned,
        usable: &Usable,
        reserved: Vec<Span>,
    ) -> Result<(), Error> {
        let addresses = around(&usable.spans).ok_or_else(|| Error::Garbage {
            object: request.address.clone(),
            what: "it can translate no address at all".to_owned(),
        })?;
        let iommu = Some(format!("Linux, {}", assigned.way));
        let (kind, format) = match request.view {
            View::Translated => {
                let name = match assigned.way {
                    Way::Cdev => "the kernel's, by iommufd",
                    _ => "the kernel's, by a container",
                };
                let sizes = self.useful(usable.page_sizes);
                (RegionKind::Translated, self.format_number(name, sizes, addresses))
            }
            View::OneToOne => {
                let format = self.format_number("physical addresses", ALL_SIZES, Span::ALL);
                let space = self.identity_for(&mut assigned, format, addresses)?;
                self.identity.push(space);
                (RegionKind::OneToOne, format)
            }
        };
        self.add(&request.name, kind, Unit::Assigned(Box::new(assigned)), format, iommu, reserved);
        Ok(())
    }

    /// A space with all of memory at its own addresses, and a device in it: where nobody translates, it is a note of what is there.
    fn identity_for(
        &mut self,
        assigned: &mut Assigned,
        format: u32,
        addresses: Span,
    ) -> Result<Space, Error> {
        let mut space = self.device_space(assigned.way, format, addresses)?;
        for memory in &self.memories {
            let first = memory.span.first();
            let piece = Piece {
                at: first,
                len: memory.span.len() as u64,
                physical: PhysicalAddress::new(first),
                access: Access::READ_WRITE,
                whole: first,
            };
            space.map(&self.memory, &mut self.cpu, &[piece], Attributes::READ_WRITE)?;
        }
        if assigned.way != Way::NoIommu {
            connect(&mut space, assigned, &self.memory, &self.own)?;
        }
        Ok(space)
    }

    /// Opens iommufd, and a library that has all memory.
    fn open_iommufd(&mut self) -> Result<(), Error> {
        let iommufd = Iommufd::open()?;
        let library = Library::new(&iommufd)?;
        for (span, file) in self.memory.windows() {
            library.add(PhysicalAddress::new(span.first()), file)?;
        }
        self.iommufd = Some((iommufd, Arc::new(library)));
        Ok(())
    }
}

/// The size in bytes of the pages that a memory can be mapped with.
pub(super) const fn page_len(pages: PageKind) -> u64 {
    match pages {
        PageKind::Ordinary => SIZE_4K,
        // Where the kernel had huge pages at hand.
        PageKind::TransparentHuge | PageKind::Huge2M => SIZE_2M,
        PageKind::Huge1G => SIZE_1G,
    }
}

/// The size in bytes of the least that a process can map of a memory.
const fn whole_page(pages: PageKind) -> u64 {
    match pages {
        PageKind::Ordinary | PageKind::TransparentHuge => SIZE_4K,
        PageKind::Huge2M => SIZE_2M,
        PageKind::Huge1G => SIZE_1G,
    }
}

/// Addresses for `len` bytes of the devices' own pages, which all of them can translate.
fn own_address<'u>(len: u64, all: impl Iterator<Item = &'u Usable> + Clone) -> Option<u64> {
    let free = |at: u64| {
        let Some(wanted) = Span::new(at, len) else { return false };
        all.clone().all(|usable| usable.spans.iter().any(|span| span.covers(wanted)))
    };
    (1..OWN_BELOW / OWN_STEP).rev().map(|step| step * OWN_STEP).find(|at| free(*at))
}

/// From the first address to the last.
fn around(spans: &[Span]) -> Option<Span> {
    Span::inclusive(spans.first()?.first(), spans.last()?.last())
}

/// What is between the spans.
fn gaps(spans: &[Span]) -> Vec<Span> {
    let between = spans.windows(2).filter_map(|pair| {
        let first = pair[0].last().checked_add(1)?;
        Span::inclusive(first, pair[1].first().checked_sub(1)?)
    });
    between.collect()
}
