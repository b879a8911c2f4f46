//! A file in memory, mapped whole into this process.

use super::kind::FileKind;
use super::stretch::{Stretch, system_page_len};
use super::{MemoryRange, MemoryRequest, MemoryUse};
use crate::Error;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::ptr::NonNull;
use vcm::{Access, SIZE_2M};

/// Shared memory that the kernel keeps: what is mapped for devices, guests and this process alike.
///
/// Its length never changes, and it can always be read and written.
#[derive(Debug)]
pub struct MemoryFile {
    name: String,
    descriptor: OwnedFd,
    kind: FileKind,
    stretch: Stretch,
    len: u64,
    page_len: u64,
}

impl MemoryFile {
    /// Makes a memfd of `len` bytes, in the kernel's ordinary pages; its size is sealed. [`MemoryRequest`] has more to choose.
    ///
    /// # Errors
    /// [`Error::Argument`] when `len` is not a multiple of the page size. The kernel's.
    pub fn new(name: &str, len: u64) -> Result<Self, Error> {
        MemoryRequest::new(name, len).create()
    }

    /// Maps `len` bytes of a descriptor of known kind.
    pub(super) fn map(
        name: &str,
        descriptor: OwnedFd,
        (kind, page_len): (FileKind, u64),
        len: u64,
    ) -> Result<Self, Error> {
        check_len(name, len, page_len)?;
        // Where huge pages are possible, addresses and offsets are congruent, so that the CPU's page tables can have them.
        let alignment = if len >= SIZE_2M { page_len.max(SIZE_2M) } else { page_len };
        let stretch = Stretch::reserve(len, alignment)?;
        stretch.map(0, len, &descriptor, 0, Access::READ_WRITE).map_err(|errno| {
            let error = Error::system("mmap", name, errno);
            match errno {
                Errno::ACCESS => error.with_help("open it for reading and writing"),
                Errno::PERM => error.with_help("it is sealed against writing"),
                _ => error,
            }
        })?;
        Ok(Self { name: name.into(), descriptor, kind, stretch, len, page_len })
    }

    /// A memory whose mapping exists.
    pub(super) fn with_mapping(
        name: &str,
        descriptor: OwnedFd,
        (kind, page_len): (FileKind, u64),
        stretch: Stretch,
        len: u64,
    ) -> Self {
        Self { name: name.into(), descriptor, kind, stretch, len, page_len }
    }

    /// Its name, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What keeps its pages.
    pub const fn kind(&self) -> &FileKind {
        &self.kind
    }

    /// Whether the kernel takes it for `wanted`.
    ///
    /// # Errors
    /// [`Error::NotSupported`], which says why not.
    pub fn supports(&self, wanted: MemoryUse) -> Result<(), Error> {
        self.kind.supports(wanted)
    }

    /// Its length in bytes.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes. It never is so.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The size in bytes of the pages that it is made of: what offsets and addresses of mappings are multiples of.
    pub const fn page_len(&self) -> u64 {
        self.page_len
    }

    /// The part of it from `offset` on for `len` bytes.
    ///
    /// # Errors
    /// [`Error::Argument`] when it has not so much, or for no bytes.
    pub fn range(&self, offset: u64, len: u64) -> Result<MemoryRange<'_>, Error> {
        MemoryRange::new(self, offset, len)
    }

    /// Where its first byte is in this process.
    pub(super) const fn base(&self) -> NonNull<u8> {
        self.stretch.base()
    }

    /// Whether it has `len` bytes, more than none, from `offset` on.
    pub(super) fn check(&self, offset: u64, len: u64) -> Result<(), Error> {
        if len == 0 || offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(Error::argument(
                format!("{len:#x} bytes from {offset:#x} on of `{}`", self.name),
                format!("the memory has {:#x} bytes", self.len),
            ));
        }
        Ok(())
    }
}

/// Whether a file can have `len` bytes.
pub(super) fn check_len(name: &str, len: u64, page_len: u64) -> Result<(), Error> {
    let page_len = page_len.max(system_page_len());
    if len == 0 || !len.is_multiple_of(page_len) {
        let why = format!("not a multiple of its pages, which have {page_len:#x}");
        return Err(Error::argument(format!("`{name}` of {len:#x} bytes"), why));
    }
    Ok(())
}

impl AsFd for MemoryFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
