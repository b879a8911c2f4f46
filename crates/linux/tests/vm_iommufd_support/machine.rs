//! A machine for the mapping graph whose spaces are I/O address spaces of the kernel's, and whose devices are its mocks.
//!
//! Memory is one file, in the library at addresses that the graph's pool hands out. The kernel is asked what its page tables
//! lead to: [`MockMachine::agrees_at`] is the judge.

use super::{PAGE, iova, memory, span};
use std::collections::BTreeMap;
use std::sync::Arc;
use vcm::{
    Attributes, DeviceHandle, Format, Hardware, HardwareError, HardwareErrorKind, LeafCount, PageSizes, Part,
    PhysicalAddress, Quiesced, RegionKind, SIZE_4K, Segment, Segments, SpaceHandle, Span, Unfinished,
};
use vcm_linux::Error;
use vcm_linux::iommufd::mock::{APERTURE, Abilities, MockAccess, MockDevice, Needs};
use vcm_linux::iommufd::{Ioas, Iommufd, Library};
use vcm_linux::memory::MemoryFile;

/// Where the memory begins, in the graph's physical addresses.
pub(crate) const BASE: u64 = 0x10_0000_0000;

#[derive(Debug)]
struct Space {
    ioas: Ioas,
    /// Looks at the space from within the kernel, whether a device is attached or not.
    access: MockAccess,
}

#[derive(Debug)]
pub(crate) struct MockMachine {
    // Dropped in this order.
    attached: Vec<(DeviceHandle, SpaceHandle, MockDevice)>,
    spaces: BTreeMap<SpaceHandle, Space>,
    library: Library,
    pub(crate) memory: MemoryFile,
    iommufd: Arc<Iommufd>,
    next: u32,
    /// The kernel's refusals, for the messages of tests.
    pub(crate) refusals: Vec<Error>,
}

fn error(kind: HardwareErrorKind) -> HardwareError {
    HardwareError { kind, at: "iommufd".into() }
}

fn kind_of(refusal: &Error) -> HardwareErrorKind {
    match refusal.errno().raw_os_error() {
        12 => HardwareErrorKind::OutOfMemory,
        17 => HardwareErrorKind::Occupied,
        22 => HardwareErrorKind::Address,
        95 => HardwareErrorKind::NotSupported,
        _ => HardwareErrorKind::Unresponsive,
    }
}

impl MockMachine {
    pub(crate) fn new(pages: u64) -> Self {
        let iommufd = super::iommufd();
        let library = Library::new(&iommufd).unwrap();
        let memory = memory(pages);
        library.add(PhysicalAddress::new(BASE), &memory).unwrap();
        let (attached, spaces, refusals) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { attached, spaces, library, memory, iommufd, next: 0, refusals }
    }

    /// All of the memory, for a pool.
    pub(crate) fn memory_span(&self) -> Span {
        span(BASE, self.memory.len())
    }

    /// Whether the kernel's tables, in every device that is attached to `space` and in the space itself, lead from `page` to
    /// `expected`, or nowhere.
    pub(crate) fn agrees_at(
        &self,
        space: SpaceHandle,
        page: u64,
        expected: Option<u64>,
    ) -> Result<(), String> {
        let found = &self.spaces[&space];
        let mut byte = [0];
        let read = found.access.read(iova(page), &mut byte);
        let Some(physical) = expected else {
            return match read {
                Ok(()) => Err(format!("{space:?}: {page:#x} leads somewhere")),
                Err(_) => Ok(()),
            };
        };
        read.map_err(|error| format!("{space:?}: {page:#x} leads nowhere: {error}"))?;
        let memory = self.memory.range(physical - BASE, PAGE).unwrap();
        let first = super::bytes(self.memory.range(physical - BASE, 1).unwrap());
        if first != byte {
            return Err(format!("{space:?}: {page:#x} has {byte:?} instead of {first:?}"));
        }
        for (device, _, mock) in self.attached.iter().filter(|(_, of, _)| *of == space) {
            if !mock.sees(iova(page), memory).unwrap() {
                return Err(format!("{device:?}: {page:#x} does not lead to {physical:#x}"));
            }
        }
        Ok(())
    }

    /// Writes through the space as a driver in the kernel would.
    pub(crate) fn write(&self, space: SpaceHandle, address: u64, bytes: &[u8]) -> Result<(), Error> {
        self.spaces[&space].access.write(iova(address), bytes)
    }

    /// The spaces that there are.
    pub(crate) fn spaces(&self) -> Vec<SpaceHandle> {
        self.spaces.keys().copied().collect()
    }

    /// The space that `device` is attached to.
    pub(crate) fn space_of(&self, device: DeviceHandle) -> Option<SpaceHandle> {
        self.attached.iter().find(|(who, ..)| *who == device).map(|(_, space, _)| *space)
    }

    /// The number of mappings in `space`.
    pub(crate) fn mappings(&self, space: SpaceHandle) -> usize {
        self.spaces[&space].ioas.mappings()
    }

    fn refused(&mut self, refusal: Error) -> HardwareError {
        let kind = kind_of(&refusal);
        self.refusals.push(refusal);
        error(kind)
    }
}

impl Hardware for MockMachine {
    fn format(&self, _: DeviceHandle, part: Part) -> Result<Format, HardwareError> {
        if part != Part::Whole {
            return Err(error(HardwareErrorKind::NotSupported));
        }
        let addresses = Span::inclusive(APERTURE.0, APERTURE.1).unwrap();
        Ok(Format { id: 1, name: "mock of iommufd", page_sizes: PageSizes::AARCH64_4K, addresses })
    }

    fn create_space(&mut self, _: RegionKind, _: Format, _: Span) -> Result<SpaceHandle, HardwareError> {
        let made = Ioas::new(&self.iommufd).and_then(|ioas| {
            let access = MockAccess::new(&ioas, Needs::Nothing)?;
            Ok(Space { ioas, access })
        });
        let space = made.map_err(|refusal| self.refused(refusal))?;
        self.next += 1;
        let handle = SpaceHandle(self.next);
        self.spaces.insert(handle, space);
        Ok(handle)
    }

    fn destroy_space(&mut self, space: SpaceHandle) {
        assert!(self.attached.iter().all(|(_, of, _)| *of != space), "{space:?} is attached");
        self.spaces.remove(&space);
    }

    fn map(
        &mut self,
        space: SpaceHandle,
        at: u64,
        segments: Segments<'_>,
        attributes: Attributes,
    ) -> Result<(), HardwareError> {
        let ioas = self.spaces[&space].ioas.clone();
        let mut next = at;
        for Segment { base, len } in segments {
            let copied = self.library.copy(&ioas, iova(next), span(base.raw(), len), attributes.access);
            if let Err(refusal) = copied {
                let undone = next == at || ioas.unmap_span(span(at, next - at)).is_ok();
                let refused = self.refused(refusal);
                return Err(if undone { refused } else { error(HardwareErrorKind::HalfDone) });
            }
            next += len;
        }
        Ok(())
    }

    fn unmap(&mut self, space: SpaceHandle, span: Span) -> Result<Quiesced, Unfinished> {
        match self.spaces[&space].ioas.unmap_span(span) {
            Ok(()) => Ok(Quiesced::after_invalidation(space, span)),
            Err(refusal) => Err(Unfinished { error: self.refused(refusal) }),
        }
    }

    fn attach(&mut self, space: SpaceHandle, device: DeviceHandle, _: Part) -> Result<(), HardwareError> {
        let ioas = self.spaces[&space].ioas.clone();
        let mock = MockDevice::attach(&ioas, Abilities::All).map_err(|refusal| self.refused(refusal))?;
        self.attached.push((device, space, mock));
        Ok(())
    }

    fn detach(&mut self, space: SpaceHandle, device: DeviceHandle, _: Part) -> Result<Quiesced, Unfinished> {
        self.attached.retain(|(who, of, _)| (*who, *of) != (device, space));
        Ok(Quiesced::after_invalidation(space, Span::inclusive(APERTURE.0, APERTURE.1).unwrap()))
    }

    fn translate(&mut self, device: DeviceHandle, address: u64) -> Result<PhysicalAddress, HardwareError> {
        let mock = self.attached.iter().find(|(who, ..)| *who == device).map(|(.., mock)| mock);
        let mock = mock.ok_or(error(HardwareErrorKind::Unknown))?;
        let page = address & !(SIZE_4K - 1);
        // The mock tells only whether it is this page: all are asked for.
        let mut pages = (0..self.memory.len()).step_by(PAGE as usize);
        let found = pages.find(|offset| {
            mock.sees(iova(page), self.memory.range(*offset, PAGE).unwrap()).expect("the mock answers")
        });
        let offset = found.ok_or(error(HardwareErrorKind::Address))?;
        Ok(PhysicalAddress::new(BASE + offset + (address - page)))
    }

    fn walk(&self, _: SpaceHandle, _: u64) -> Option<PhysicalAddress> {
        None
    }

    fn leaves(&self, _: SpaceHandle, _: Span) -> LeafCount {
        LeafCount::default()
    }
}
