//! A dma-buf: memory that other drivers take by descriptor (Documentation/driver-api/dma-buf.rst).
#![allow(unsafe_code, reason = "a dma-buf's ioctl is made")]

use super::{MemoryFile, Trust};
use crate::{Error, ioctl};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, opcode};
use vcm::Access;

/// Memory by a descriptor that GPUs, video codecs, displays and other drivers import.
#[derive(Debug)]
pub struct DmaBuf {
    descriptor: OwnedFd,
    len: u64,
}

// include/uapi/linux/dma-buf.h: struct dma_buf_sync is one word of flags.
const SYNC: Opcode = opcode::write::<u64>(b'b', 0);
const SYNC_READ: u64 = 1;
const SYNC_WRITE: u64 = 2;
const SYNC_END: u64 = 4;

impl DmaBuf {
    pub(super) const fn new(descriptor: OwnedFd, len: u64) -> Self {
        Self { descriptor, len }
    }

    /// Its length in bytes.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes. It never is so.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Says that the CPU will read or write its mapping, as `access` says: until the answer is dropped, what devices have
    /// written is seen, and afterwards devices see what the CPU has written.
    ///
    /// # Errors
    /// [`Error::Argument`] for an access that neither reads nor writes. The kernel's.
    pub fn begin_cpu_access(&self, access: Access) -> Result<CpuAccess<'_>, Error> {
        let flags = [(Access::READ, SYNC_READ), (Access::WRITE, SYNC_WRITE)];
        let flags =
            flags.into_iter().filter(|(asked, _)| access.contains(*asked)).fold(0, |all, (_, bit)| all | bit);
        if flags == 0 {
            return Err(Error::argument("the CPU's access to a dma-buf", "neither reading nor writing"));
        }
        self.sync(flags).map_err(|errno| Error::system("DMA_BUF_IOCTL_SYNC", "dma-buf", errno))?;
        Ok(CpuAccess { buffer: self, flags })
    }

    fn sync(&self, mut flags: u64) -> Result<(), Errno> {
        loop {
            // SAFETY: the call takes the structure, one word, which it reads.
            match unsafe { ioctl::with_structure(self, SYNC, &mut flags) } {
                // The exporter was interrupted by a signal, or wants to be asked again.
                Err(Errno::INTR | Errno::AGAIN) => {}
                other => return other.map(drop),
            }
        }
    }

    /// Maps it into this process.
    ///
    /// # Errors
    /// The kernel's.
    pub fn map(&self) -> Result<MemoryFile, Error> {
        let copy = self.descriptor.try_clone().map_err(|error| {
            Error::system("F_DUPFD_CLOEXEC", "dma-buf", Errno::from_io_error(&error).unwrap_or(Errno::MFILE))
        })?;
        MemoryFile::wrap("dma-buf", copy, Trust::Kernel)
    }

    /// The descriptor, to hand on.
    pub fn into_descriptor(self) -> OwnedFd {
        self.descriptor
    }
}

impl AsFd for DmaBuf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// The CPU is using a dma-buf's mapping, until this is dropped.
#[derive(Debug)]
#[must_use = "the access ends when this is dropped"]
pub struct CpuAccess<'b> {
    buffer: &'b DmaBuf,
    flags: u64,
}

impl Drop for CpuAccess<'_> {
    fn drop(&mut self) {
        // There is nothing to do about an error.
        let _ = self.buffer.sync(self.flags | SYNC_END);
    }
}
