//! A device and its addresses, by the best way there is.

use super::{Stage, Tally, Word};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use vcm::{Access, Iova, PhysicalAddress, Span};
use vcm_linux::dma::DmaSpace;
use vcm_linux::iommufd::{Ioas, Iommufd, Library, SharedIoas};
use vcm_linux::memory::{MemoryFile, MemoryRequest, PageKind};
use vcm_linux::vfio::{Container, Device, DeviceName, Opening, Verdict, Way, probe};

/// A device, and where its DMA goes.
pub struct Opened {
    // The device is closed before its addresses go.
    pub device: Arc<Device>,
    pub space: Space,
}

/// Opens it. It may not do DMA yet.
pub fn open(device: &str, tally: &Tally) -> Opened {
    tally.reach(Stage::Opening);
    let name = DeviceName::new(device).unwrap();
    let candidates = probe(&name).unwrap();
    let best = candidates.iter().find(|candidate| candidate.verdict == Verdict::Open);
    let (device, space) = match best.unwrap_or_else(|| panic!("no way: {candidates:?}")).way {
        Way::Cdev => {
            let iommufd = Iommufd::open().unwrap();
            let device = Device::open(&name, Opening::Cdev { iommufd: iommufd.as_fd() }).unwrap();
            let ioas = Ioas::new(&iommufd).unwrap();
            device.attach_ioas(&ioas).unwrap();
            let library = Arc::new(Library::new(&iommufd).unwrap());
            let dma: Box<dyn DmaSpace> = Box::new(SharedIoas::new(ioas, Arc::clone(&library)));
            (device, Space { dma: Mutex::new(dma), library: Some(library), next: AtomicU64::new(1 << 40) })
        }
        Way::Group => {
            let container = Container::new().unwrap();
            let device = Device::open(&name, Opening::Group { container: &container }).unwrap();
            (device, Space { dma: Mutex::new(Box::new(container)), library: None, next: AtomicU64::new(0) })
        }
        Way::NoIommu => panic!("it is behind no IOMMU"),
    };
    tally.reach(Stage::Opened);
    Opened { device: Arc::new(device), space }
}

/// The addresses that a device sees: copies from the library with iommufd, a container else.
pub struct Space {
    dma: Mutex<Box<dyn DmaSpace>>,
    library: Option<Arc<Library>>,
    next: AtomicU64,
}

impl Space {
    fn dma(&self) -> MutexGuard<'_, Box<dyn DmaSpace>> {
        self.dma.lock().unwrap()
    }

    /// Takes a memory into the library, if there is one. Where it is there.
    pub fn take_in(&self, memory: &MemoryFile) -> PhysicalAddress {
        let at = self.next.fetch_add(memory.len(), Ordering::Relaxed);
        let at = PhysicalAddress::new(at);
        if let Some(library) = &self.library {
            library.add(at, memory).unwrap();
        }
        at
    }

    pub fn let_go(&self, at: PhysicalAddress) {
        if let Some(library) = &self.library {
            library.remove(at);
        }
    }

    pub fn map(&self, at: u64, memory: &MemoryFile) {
        let range = memory.range(0, memory.len()).unwrap();
        self.dma().map(Iova::new(at), range, Access::READ_WRITE).unwrap();
    }

    pub fn unmap(&self, at: u64, len: u64) {
        self.dma().unmap(Span::new(at, len).unwrap()).unwrap();
    }

    /// Maps and unmaps new memory for ever, from `at` on: each memory at four addresses, by turns of huge pages.
    pub fn churn(&self, at: u64, tally: &Tally) -> ! {
        for round in 0_u64.. {
            let (pages, len) =
                if round % 4 == 0 { (PageKind::Huge2M, 4 << 20) } else { (PageKind::Ordinary, 256 << 10) };
            let memory = MemoryRequest::new("churn", len).pages(pages).create().unwrap();
            // Before they are pinned: huge pages that the kernel allocates in order to pin them are counted off when they are
            // freed, but not on (mm/memfd.c, `memfd_alloc_folio`), and it says that a counter is negative.
            (0..len).step_by(2 << 20).for_each(|page| memory.write(page, &[1]).unwrap());
            let taken = self.take_in(&memory);
            let places = [0, 1, 2, 3].map(|place| at + place * (64 << 20));
            places.iter().for_each(|place| self.map(*place, &memory));
            places.iter().for_each(|place| self.unmap(*place, len));
            self.let_go(taken);
            tally.add(Word::Mappings, 4);
        }
        unreachable!("numbers do not end")
    }
}
