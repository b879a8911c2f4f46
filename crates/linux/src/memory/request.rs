//! Making memory.

use super::kind::FileKind;
use super::{MemoryFile, file, huge_pages, transparent};
use crate::Error;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::Errno;
use vcm::{Bytes, SIZE_1G, SIZE_2M};

/// The pages that a memory is made of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum PageKind {
    /// The kernel's smallest.
    #[default]
    Ordinary,
    /// Huge ones wherever the kernel has some at hand, else ordinary ones.
    TransparentHuge,
    /// Huge pages of 2 MiB that were set aside for this.
    Huge2M,
    /// Huge pages of 1 GiB that were set aside for this.
    Huge1G,
}

impl PageKind {
    /// The size in bytes of huge pages that are set aside.
    const fn reserved_len(self) -> Option<u64> {
        match self {
            Self::Ordinary | Self::TransparentHuge => None,
            Self::Huge2M => Some(SIZE_2M),
            Self::Huge1G => Some(SIZE_1G),
        }
    }
}

/// What a memory's other holders can do to it. No seal can be taken off or added later.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Sealing {
    /// Its size stays as it is.
    #[default]
    Size,
    /// Besides, nobody who is given the descriptor can write it, or map it for writing; this process's own mapping of the
    /// whole, and devices, still write. It cannot be backed in a [`CpuSpace`](super::CpuSpace) for writing, be stitched, or
    /// exported.
    SizeAndNewWriters,
}

/// What memory to make.
///
/// ```
/// use vcm_linux::memory::{MemoryRequest, PageKind};
///
/// let memory = MemoryRequest::new("frames", 1 << 20).create()?;
/// memory.write(0x1000, b"frame")?;
/// # Ok::<(), vcm_linux::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub struct MemoryRequest<'n> {
    name: &'n str,
    len: u64,
    pages: PageKind,
    sealing: Sealing,
}

impl<'n> MemoryRequest<'n> {
    /// `len` bytes of ordinary pages. The name, at most 249 bytes, is for people: /proc/PID/maps shows it as `/memfd:NAME`.
    pub const fn new(name: &'n str, len: u64) -> Self {
        Self { name, len, pages: PageKind::Ordinary, sealing: Sealing::Size }
    }

    /// The same of other pages.
    pub const fn pages(self, pages: PageKind) -> Self {
        Self { pages, ..self }
    }

    /// The same with other seals.
    pub const fn sealing(self, sealing: Sealing) -> Self {
        Self { sealing, ..self }
    }

    /// Makes it. Huge pages that were set aside are this memory's from now on, others come when they are first touched:
    /// [`MemoryFile::populate`].
    ///
    /// # Errors
    /// [`Error::Argument`] when the length is not a multiple of the page size. [`Error::NotSupported`] when this machine has
    /// no such pages. ENOMEM with what to do when too few huge pages were set aside. The kernel's.
    pub fn create(self) -> Result<MemoryFile, Error> {
        if self.pages == PageKind::TransparentHuge {
            transparent::check()?;
        }
        let page_len = self.pages.reserved_len();
        file::check_len(self.name, self.len, page_len.unwrap_or(0))?;
        let descriptor = self.open()?;
        ftruncate(&descriptor, self.len).map_err(|errno| Error::system("ftruncate", self.name, errno))?;
        let known = FileKind::of(&descriptor, self.name)?;
        let mut seals = SealFlags::SHRINK | SealFlags::GROW;
        if self.sealing == Sealing::Size {
            seals |= SealFlags::SEAL;
        }
        self.seal(&descriptor, seals)?;
        let memory =
            MemoryFile::map(self.name, descriptor, known, self.len).map_err(|error| match page_len {
                Some(page_len) => huge_pages::explain(error, page_len, self.len / page_len),
                None => error,
            })?;
        if self.sealing == Sealing::SizeAndNewWriters {
            // Only now: the seal lets no mapping for writing be made any more.
            self.seal(&memory, SealFlags::FUTURE_WRITE | SealFlags::SEAL)?;
        }
        if self.pages == PageKind::TransparentHuge {
            memory.advise_huge()?;
        }
        Ok(memory)
    }

    fn open(&self) -> Result<OwnedFd, Error> {
        let pages = match self.pages {
            PageKind::Ordinary | PageKind::TransparentHuge => MemfdFlags::empty(),
            PageKind::Huge2M => MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB,
            PageKind::Huge1G => MemfdFlags::HUGETLB | MemfdFlags::HUGE_1GB,
        };
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | pages;
        // NOEXEC_SEAL says that nobody will run it as a program, which newer kernels like to know; before 6.3 it is unknown.
        let opened = match memfd_create(self.name, flags | MemfdFlags::NOEXEC_SEAL) {
            Err(Errno::INVAL) => memfd_create(self.name, flags),
            other => other,
        };
        opened.map_err(|errno| match (errno, self.pages.reserved_len()) {
            (Errno::INVAL | Errno::NODEV | Errno::OPNOTSUPP | Errno::NOENT, Some(len))
                if !huge_pages::exist(len) =>
            {
                let what = format!("memory of huge pages of {}", Bytes(len));
                Error::not_supported(what, "this machine or its kernel has no pages of that size")
            }
            _ => Error::system("memfd_create", self.name, errno),
        })
    }

    fn seal(&self, descriptor: impl AsFd, seals: SealFlags) -> Result<(), Error> {
        fcntl_add_seals(descriptor, seals).map_err(|errno| Error::system("F_ADD_SEALS", self.name, errno))
    }
}
