//! The library: all memory files, each mapped once and whole.

use super::{Ioas, Iommufd};
use crate::Error;
use crate::memory::{MemoryFile, MemoryRange};
use rustix::fd::AsFd;
use rustix::fs::fstat;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vcm::{Access, Iova, PhysicalAddress, Span};

/// How a mapping came about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Way {
    /// It is a copy from the library: pinned and counted once for all.
    Copied,
    /// It was made anew: its memory is pinned and counted for itself.
    Anew {
        /// Why it could not be copied.
        why: String,
    },
}

/// An I/O address space to which no device is attached, with every memory file in it at an address of its own: the address that
/// the file's bytes have in the mapping graph. Nothing is pinned by that.
///
/// Each mapping of a device's space is one copy from here (`IOMMU_IOAS_COPY`), whose memory the kernel pins once and counts
/// once, when the first device needs it, however many copies there are.
#[derive(Debug)]
pub struct Library {
    ioas: Ioas,
    /// Where each file is. A file is known by its device and inode: while it is mapped here, no other can have that number.
    files: Mutex<HashMap<Identity, Span>>,
}

type Identity = (u64, u64);

impl Library {
    /// An empty one.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(iommufd: &Arc<Iommufd>) -> Result<Self, Error> {
        Ok(Self { ioas: Ioas::new(iommufd)?, files: Mutex::default() })
    }

    /// Takes all of `file` in, its first byte at `at`.
    ///
    /// # Errors
    /// [`Error::Argument`] when the file is here already; the kernel's: EEXIST when another file is there.
    pub fn add(&self, at: PhysicalAddress, file: &MemoryFile) -> Result<(), Error> {
        let mut files = self.files();
        let identity = identity(file)?;
        if let Some(span) = files.get(&identity) {
            return Err(Error::argument(
                format!("a memory file at {at}"),
                format!("it is here already, at {span}"),
            ));
        }
        let memory = file.range(0, file.len())?;
        let span = Span::new(at.raw(), file.len()).ok_or_else(|| {
            Error::argument(format!("a memory file at {at}"), "it passes the end of the address space")
        })?;
        self.ioas.map_memory(Iova::new(at.raw()), memory, Access::READ_WRITE)?;
        files.insert(identity, span);
        Ok(())
    }

    /// Lets go of the file at `at`. Copies of it stay until they are unmapped.
    pub fn remove(&self, at: PhysicalAddress) {
        let mut files = self.files();
        let found = files.iter().find(|(_, span)| span.first() == at.raw());
        let Some((identity, span)) = found.map(|(identity, span)| (*identity, *span)) else { return };
        // Nothing can hold a mapping of a space that nothing is attached to. If it were so all the same, the file is still here.
        if self.ioas.unmap_span(span).is_ok() {
            files.remove(&identity);
        }
    }

    /// The number of files.
    pub fn len(&self) -> usize {
        self.files().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.files().is_empty()
    }

    /// Where `memory` begins here, if its file is.
    ///
    /// # Errors
    /// The kernel's.
    pub fn find(&self, memory: MemoryRange<'_>) -> Result<Option<PhysicalAddress>, Error> {
        let file = identity(memory.file())?;
        let files = self.files();
        Ok(files.get(&file).map(|span| PhysicalAddress::new(span.first() + memory.offset())))
    }

    /// Maps at `at` of `ioas` what the library has at `from`: one call. This is the way for who knows the addresses.
    ///
    /// # Errors
    /// As [`Ioas::copy`].
    pub fn copy(&self, ioas: &Ioas, at: Iova, from: Span, access: Access) -> Result<(), Error> {
        ioas.copy(&self.ioas, from, at, access)
    }

    /// Maps `memory` at `at` of `ioas`: as a copy where its file is here, else for itself.
    ///
    /// # Errors
    /// As [`Ioas::map_memory`].
    pub fn map(&self, ioas: &Ioas, at: Iova, memory: MemoryRange<'_>, access: Access) -> Result<Way, Error> {
        let anew = |why: &str| {
            ioas.map_memory(at, memory, access)?;
            Ok(Way::Anew { why: why.into() })
        };
        if !Arc::ptr_eq(ioas.iommufd(), self.ioas.iommufd()) {
            return anew("the library is of another opening of iommufd");
        }
        let from = self.find(memory)?.and_then(|address| Span::new(address.raw(), memory.len()));
        let Some(from) = from else { return anew("its file is not in the library") };
        self.copy(ioas, at, from, access)?;
        Ok(Way::Copied)
    }

    fn files(&self) -> MutexGuard<'_, HashMap<Identity, Span>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn identity(file: &MemoryFile) -> Result<Identity, Error> {
    let status = fstat(file.as_fd()).map_err(|errno| Error::system("fstat", "a memory file", errno))?;
    Ok((status.st_dev as u64, status.st_ino as u64))
}
