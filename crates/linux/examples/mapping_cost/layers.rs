//! The modules of the crate, used alone.

use crate::measure::{Bench, Contestant};
use crate::options::Options;
use crate::{Outcome, Size, bare};
use rustix::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;
use vcm::{Access, Iova, PhysicalAddress, Span};
use vcm_irq::DeviceInterrupt;
use vcm_linux::dma::DmaSpace;
use vcm_linux::host::{self, Bound, Host, InUse};
use vcm_linux::iommufd::{Ioas, Iommufd, Library, SharedIoas};
use vcm_linux::memory::{MemoryPiece, MemoryRequest};
use vcm_linux::vfio::{Container, Device, DeviceName, Interrupt, MSI, MSIX, Opening, Way};

/// Where a device finds what is measured.
pub(crate) const AT: u64 = 1 << 32;
/// Where the library has it.
const LIBRARY: u64 = 1 << 38;
const STEPS: [&str; 2] = ["map", "unmap"];
const PATIENCE: Duration = Duration::from_secs(20);

/// A device that is VFIO's while this lives.
pub(crate) struct BoundDevice(Option<Bound>);

impl BoundDevice {
    pub(crate) fn new(address: &str) -> Outcome<Self> {
        let name = host::DeviceName::parse(address)?;
        Ok(Self(Some(Host::here().bind_to_vfio(&name, InUse::Refuse, PATIENCE)?)))
    }
}

impl Drop for BoundDevice {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.take().map(|bound| bound.restore(PATIENCE)) {
            eprintln!("mapping_cost: {error}");
        }
    }
}

pub(crate) fn measure(options: &Options, sizes: &[Size], ways: &[Way], bench: &mut Bench) -> Outcome<()> {
    let Some(device) = &options.device else {
        return match Iommufd::open() {
            Ok(iommufd) => by_iommufd(&iommufd, None, sizes, bench),
            Err(error) => {
                bench.note(format!("no iommufd: {error}"));
                Ok(())
            }
        };
    };
    let _bound = BoundDevice::new(device)?;
    let name = DeviceName::new(device)?;
    for way in ways {
        if *way == Way::Cdev {
            let iommufd = Iommufd::open()?;
            let device = Device::open(&name, Opening::Cdev { iommufd: iommufd.as_fd() })?;
            by_iommufd(&iommufd, Some(&device), sizes, bench)?;
            interrupt(&device, "/dev/vfio/devices/", bench)?;
        } else {
            let mut container = Container::new()?;
            let device = Device::open(&name, Opening::Group { container: &container })?;
            by_container(&mut container, sizes, bench)?;
            interrupt(&device, "anon_inode:[vfio-device]", bench)?;
        }
    }
    Ok(())
}

fn piece(size: Size) -> Outcome<MemoryPiece> {
    // A page of its own: the file has as much again before it.
    let file = Arc::new(MemoryRequest::new("measured", size.len).pages(size.pages).create()?);
    Ok(MemoryPiece::whole(file))
}

fn by_iommufd(
    iommufd: &Arc<Iommufd>,
    device: Option<&Device>,
    sizes: &[Size],
    bench: &mut Bench,
) -> Outcome<()> {
    let ioas = Ioas::new(iommufd)?;
    if let Some(device) = device {
        device.attach_ioas(&ioas)?;
    }
    let attached = if device.is_some() { "attached" } else { "nothing attached" };
    for size in sizes {
        let piece = piece(*size)?;
        let library = Arc::new(Library::new(iommufd)?);
        library.add(PhysicalAddress::new(LIBRARY), piece.file())?;
        let mut bare = bare::Ioas::new(bare::descriptor_of("/dev/iommu")?, ioas.id(), AT, &piece)?;
        let mut copied = Copied { library: Arc::clone(&library), ioas: ioas.clone(), len: size.len };
        let what = |how| format!("iommufd ({attached}), {}, {how}", size.name);
        bench.compare(&what("Library::copy"), &STEPS, &mut bare, &mut copied)?;
        let mut found = Space { space: SharedIoas::new(ioas.clone(), library), piece };
        bench.compare(&what("SharedIoas"), &STEPS, &mut bare, &mut found)?;
    }
    if let Some(device) = device {
        device.detach()?;
    }
    Ok(())
}

fn by_container(container: &mut Container, sizes: &[Size], bench: &mut Bench) -> Outcome<()> {
    for size in sizes {
        let piece = piece(*size)?;
        let descriptor = bare::descriptor_of("/dev/vfio/vfio")?;
        let mut bare = bare::Container { descriptor, at: AT, piece: piece.clone() };
        let mut ours = Space { space: &mut *container, piece };
        bench.compare(&format!("container, {}, Container", size.name), &STEPS, &mut bare, &mut ours)?;
    }
    Ok(())
}

/// Who knows where the library has it.
struct Copied {
    library: Arc<Library>,
    ioas: Ioas,
    len: u64,
}

impl Contestant for Copied {
    fn step(&mut self, number: usize) -> Outcome<()> {
        if number == 0 {
            let from = Span::new(LIBRARY, self.len).ok_or("no such addresses")?;
            return Ok(self.library.copy(&self.ioas, Iova::new(AT), from, Access::READ_WRITE)?);
        }
        Ok(self.ioas.unmap_span(Span::new(AT, self.len).ok_or("no such addresses")?)?)
    }
}

/// Any space, by the trait.
struct Space<S> {
    space: S,
    piece: MemoryPiece,
}

impl Contestant for Space<SharedIoas> {
    fn step(&mut self, number: usize) -> Outcome<()> {
        through(&mut self.space, &self.piece, number)
    }
}

impl Contestant for Space<&mut Container> {
    fn step(&mut self, number: usize) -> Outcome<()> {
        through(self.space, &self.piece, number)
    }
}

fn through(space: &mut dyn DmaSpace, piece: &MemoryPiece, number: usize) -> Outcome<()> {
    if number == 0 {
        return Ok(space.map(Iova::new(AT), piece.range(), Access::READ_WRITE)?);
    }
    Ok(space.unmap(Span::new(AT, piece.len()).ok_or("no such addresses")?)?)
}

fn interrupt(device: &Device, descriptor: &str, bench: &mut Bench) -> Outcome<()> {
    let kinds = [(MSIX, "MSI-X"), (MSI, "MSI")];
    let found =
        kinds.into_iter().find(|(index, _)| device.interrupt_info(*index).is_ok_and(|info| info.count > 0));
    let Some((index, name)) = found else {
        bench.note("the device has no messages: no interrupt was measured");
        return Ok(());
    };
    let interrupt = device.interrupt(DeviceInterrupt { index, subindex: 0 })?;
    let mut bare =
        bare::Interrupt { device: bare::descriptor_of(descriptor)?, event: interrupt.as_fd(), index };
    let way = if descriptor.starts_with("anon") { "group" } else { "own node" };
    bench.compare(&format!("{name}, by its {way}"), &["raise and wait"], &mut bare, &mut Raised(&interrupt))
}

struct Raised<'a>(&'a Interrupt);

impl Contestant for Raised<'_> {
    fn step(&mut self, _: usize) -> Outcome<()> {
        self.0.raise()?;
        match self.0.wait(Some(PATIENCE))? {
            1 => Ok(()),
            count => Err(format!("it came {count} times").into()),
        }
    }
}
