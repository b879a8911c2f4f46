//! The pages that a device needs for itself: its queues, and the bytes that it moves.

use crate::Error;
use crate::memory::{DriverMemory, MemoryFile, MemoryPiece, MemoryRequest, PageKind, physical_spans};
use std::sync::Arc;
use vcm::{Iova, PhysicalAddress, SIZE_2M};
use vcm_platform::job::CHUNK;

/// Bytes of a device's own pages: what it moves, and then queues.
pub(super) const OWN_PAGES: u64 = 128 << 10;

/// A device's own pages. They are mapped at the same addresses in every space, where nobody else is given addresses.
#[derive(Clone, Debug)]
pub(super) struct OwnPages {
    file: Arc<MemoryFile>,
    /// Where the device finds them.
    at: Iova,
}

impl OwnPages {
    /// Pages that the device will find at `at`.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn new(name: &str, at: Iova) -> Result<Self, Error> {
        let file = MemoryRequest::new(name, OWN_PAGES).create()?;
        Ok(Self { file: Arc::new(file), at })
    }

    /// Pages at their physical address, for a device without an IOMMU.
    ///
    /// # Errors
    /// The kernel's: it takes a huge page, and the right to know where it is.
    pub(super) fn physical(name: &str) -> Result<Self, Error> {
        let file = MemoryRequest::new(name, SIZE_2M).pages(PageKind::Huge2M).create()?;
        let spans = physical_spans(&file)?;
        let at = spans.first().map(|span| Iova::new(span.first())).ok_or_else(|| Error::Garbage {
            object: name.to_owned(),
            what: "a huge page that is nowhere".to_owned(),
        })?;
        Ok(Self { file: Arc::new(file), at })
    }

    /// Where they are.
    pub(super) const fn file(&self) -> &Arc<MemoryFile> {
        &self.file
    }

    /// Where the device finds the bytes that it moves, from `place` on.
    pub(super) const fn data(&self, place: u64) -> Iova {
        Iova::new(self.at.raw() + place)
    }

    /// The offsets of the pages behind the data.
    pub(super) fn pages() -> impl Iterator<Item = u64> {
        (CHUNK..OWN_PAGES).step_by(4096)
    }

    /// Reads what the device moved.
    ///
    /// # Errors
    /// More than it moves at once.
    pub(super) fn read(&self, bytes: &mut [u8]) -> Result<(), Error> {
        self.file.read(0, bytes)
    }

    /// Writes what the device is to move.
    ///
    /// # Errors
    /// More than it moves at once.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write(0, bytes)
    }
}

impl OwnPages {
    /// The pages for a driver, by the addresses at which the device finds them.
    ///
    /// # Errors
    /// None in practice: they are aligned.
    pub(super) fn memory(&self) -> Result<DriverMemory, Error> {
        DriverMemory::new(MemoryPiece::whole(Arc::clone(&self.file)), PhysicalAddress::new(self.at.raw()))
    }
}
