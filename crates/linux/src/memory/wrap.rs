//! Memory that somebody else has made.
#![allow(unsafe_code, reason = "a mapping of the caller's is taken over")]

use super::kind::FileKind;
use super::stretch::Stretch;
use super::{MemoryFile, file, maps};
use crate::Error;
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, SealFlags, SeekFrom, fcntl_get_seals, fstat, seek};
use std::ptr::NonNull;

/// Who sees to it that a file that somebody else made keeps its size. Where it becomes shorter, an access by this process
/// behind its end is a SIGBUS.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Trust {
    /// The kernel, or it is refused: a memfd that is sealed against shrinking, a dma-buf, a `memfd_secret`.
    #[default]
    Kernel,
    /// Those who hold it; the caller knows them. A file on a hugetlbfs or tmpfs has no seals, for example.
    Holders,
}

impl MemoryFile {
    /// Wraps a memory that somebody else made, by its descriptor: a memfd, a file of a hugetlbfs or tmpfs, a dma-buf. All of
    /// it is mapped into this process.
    ///
    /// # Errors
    /// [`Error::Argument`] when it is not a file that holds memory, when nothing keeps its size and `trust` does not vouch for
    /// it, or when its length is not a multiple of its page size. EACCES, EPERM when it may not be read and written.
    pub fn wrap(name: &str, descriptor: OwnedFd, trust: Trust) -> Result<Self, Error> {
        let (known, len) = inspect(name, &descriptor, trust)?;
        Self::map(name, descriptor, known, len)
    }

    /// Wraps a memory of which this process has a mapping, by both: its descriptor, and the place of a mapping of all of it
    /// from the first byte on. No other is made. The mapping is removed when the memory is dropped.
    ///
    /// # Errors
    /// As [`wrap`](Self::wrap), and [`Error::Argument`] when at `address` this file is not mapped from its first to its last
    /// byte, shared, for reading and writing: pinning a private mapping would double its memory. The mapping is the caller's
    /// still.
    ///
    /// # Safety
    /// From now on until the memory is dropped nobody else unmaps, moves or protects the mapping, or maps over it; and no
    /// reference to what is in it is used any more, by anybody: devices and other processes write it. When it is dropped,
    /// nobody uses addresses in it any more.
    pub unsafe fn adopt(
        name: &str,
        descriptor: OwnedFd,
        address: NonNull<u8>,
        trust: Trust,
    ) -> Result<Self, Error> {
        let (known, len) = inspect(name, &descriptor, trust)?;
        file::check_len(name, len, known.1)?;
        let size = usize::try_from(len).map_err(|_| Error::argument(name, "longer than an address space"))?;
        maps::check_whole(name, &descriptor, address.addr().get() as u64, len)?;
        // SAFETY: the caller gives the mapping up, and the kernel says that it is there.
        let stretch = unsafe { Stretch::adopt(address, size) };
        Ok(Self::with_mapping(name, descriptor, known, stretch, len))
    }
}

/// What `descriptor` is, and its length in bytes.
fn inspect(name: &str, descriptor: &OwnedFd, trust: Trust) -> Result<((FileKind, u64), u64), Error> {
    let (kind, page_len) = FileKind::of(descriptor, name)?;
    let status = fstat(descriptor).map_err(|errno| Error::system("fstat", name, errno))?;
    let file_type = FileType::from_raw_mode(status.st_mode);
    let is_dma_buf = matches!(kind, FileKind::DmaBuf { .. });
    if file_type != FileType::RegularFile && !is_dma_buf {
        let why = format!("it is {kind} of type {file_type:?}, which holds no memory");
        return Err(Error::argument(format!("wrapping `{name}`"), why));
    }
    if trust == Trust::Kernel && !kind.has_fixed_size() {
        let seals = fcntl_get_seals(descriptor).unwrap_or(SealFlags::empty());
        if !seals.contains(SealFlags::SHRINK) {
            let why =
                "it can become shorter under our feet: seal it with F_SEAL_SHRINK, or say Trust::Holders";
            return Err(Error::argument(format!("wrapping `{name}`, {kind}"), why));
        }
    }
    let len = if is_dma_buf {
        // Documentation/driver-api/dma-buf.rst: the way to ask for its size.
        seek(descriptor, SeekFrom::End(0)).map_err(|errno| Error::system("lseek", name, errno))?
    } else {
        u64::try_from(status.st_size).unwrap_or(0)
    };
    Ok(((kind, page_len), len))
}
