//! Accesses of a driver in the kernel, as mediated devices make them.
#![allow(unsafe_code, reason = "takes over a descriptor that the kernel made")]

use super::request::{Request, operation};
use crate::Error;
use crate::iommufd::Ioas;
use crate::memory::MemoryRange;
use rustix::fd::{AsRawFd, FromRawFd, OwnedFd};
use rustix::io::Errno;
use vcm::{Access, Iova};

/// Whether an access pins pages.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Needs {
    /// It reads and writes only.
    Nothing,
    /// It pins pages: addresses are multiples of the kernel's page.
    Pages,
}

/// Pages that an access pinned. They are unpinned by [`MockAccess::unpin`], or when they are unmapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pinned(u32);

/// An access to an address space from within the kernel.
#[derive(Debug)]
pub struct MockAccess {
    // Dropped in this order: as long as it is open the space is in use.
    descriptor: OwnedFd,
    ioas: Ioas,
}

impl MockAccess {
    /// An access to `ioas`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(ioas: &Ioas, needs: Needs) -> Result<Self, Error> {
        let flags = match needs {
            Needs::Nothing => 0,
            // MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES
            Needs::Pages => 1,
        };
        let answer = Request::new(operation::CREATE_ACCESS, ioas.id()).word(4, flags).make(ioas.iommufd())?;
        let number = i32::try_from(answer.word(0)).map_err(|_| Error::Garbage {
            object: "mock access".into(),
            what: "a descriptor below 0".into(),
        })?;
        // SAFETY: the kernel has just opened it for this call, and nobody else knows of it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
        Ok(Self { descriptor, ioas: ioas.clone() })
    }

    fn request(&self, operation: u32) -> Request {
        // Open descriptors are not negative.
        Request::new(operation, self.descriptor.as_raw_fd().unsigned_abs())
    }

    /// Pins the pages from `at` on, and compares them with those of `memory`, whose length it takes.
    ///
    /// # Errors
    /// The kernel's: EBADE when they are others.
    pub fn pin(&self, at: Iova, memory: MemoryRange<'_>, access: Access) -> Result<Pinned, Error> {
        // MOCK_FLAGS_ACCESS_WRITE
        let flags = u32::from(access.contains(Access::WRITE));
        let answer = self
            .request(operation::ACCESS_PAGES)
            .word(0, flags)
            .long(8, at.raw())
            .long(16, memory.len())
            .long(24, memory.address().as_ptr().expose_provenance() as u64)
            .make(self.ioas.iommufd())?;
        Ok(Pinned(answer.word(4)))
    }

    /// Unpins; false when the kernel had done so already.
    ///
    /// # Errors
    /// The kernel's.
    pub fn unpin(&self, pinned: Pinned) -> Result<bool, Error> {
        let answer =
            self.request(operation::DESTROY_ACCESS_PAGES).word(0, pinned.0).make(self.ioas.iommufd());
        super::request::yes_unless(Errno::NOENT, answer)
    }

    /// Reads from `at` on.
    ///
    /// # Errors
    /// The kernel's: ENOENT when not all of it is mapped.
    pub fn read(&self, at: Iova, bytes: &mut [u8]) -> Result<(), Error> {
        self.transfer(at, bytes.as_mut_ptr().expose_provenance() as u64, bytes.len(), 0)
    }

    /// Writes from `at` on.
    ///
    /// # Errors
    /// The kernel's: ENOENT when not all of it is mapped, EPERM when it is not writable.
    pub fn write(&self, at: Iova, bytes: &[u8]) -> Result<(), Error> {
        // MOCK_ACCESS_RW_WRITE
        self.transfer(at, bytes.as_ptr().expose_provenance() as u64, bytes.len(), 1)
    }

    fn transfer(&self, at: Iova, address: u64, len: usize, flags: u32) -> Result<(), Error> {
        self.request(operation::ACCESS_READ_WRITE)
            .long(0, at.raw())
            .long(8, len as u64)
            .long(16, address)
            .word(24, flags)
            .make(self.ioas.iommufd())?;
        Ok(())
    }

    /// Accesses another space from now on. What was pinned is unpinned.
    ///
    /// # Errors
    /// The kernel's.
    pub fn replace(&mut self, ioas: &Ioas) -> Result<(), Error> {
        self.request(operation::ACCESS_REPLACE_IOAS).word(0, ioas.id()).make(ioas.iommufd())?;
        self.ioas = ioas.clone();
        Ok(())
    }
}
