//! Getting a memory's pages before they are touched.
#![allow(unsafe_code, reason = "the kernel is advised about a mapping")]

use super::{FileKind, MemoryFile};
use crate::Error;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use rustix::mm::{Advice, madvise};

/// How far long work is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Bytes so far.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Bytes between two reports: some ten milliseconds of work.
const STEP: u64 = 64 << 20;

impl MemoryFile {
    /// Gets all its pages from the kernel, so that later nothing waits for them or fails for want of them. `progress` hears of
    /// every 64 MiB, or of every page that is larger.
    ///
    /// # Errors
    /// The kernel's: ENOMEM. It keeps the pages that it has got.
    pub fn populate(&self, progress: &mut dyn FnMut(Progress)) -> Result<(), Error> {
        let step = STEP.max(self.page_len());
        let mut done = 0;
        while done < self.len() {
            let len = step.min(self.len() - done);
            self.populate_part(done, len)?;
            done += len;
            progress(Progress { done, total: self.len() });
        }
        Ok(())
    }

    fn populate_part(&self, offset: u64, len: u64) -> Result<(), Error> {
        if matches!(self.kind(), FileKind::DmaBuf { .. }) {
            // Its exporter has got them.
            return Ok(());
        }
        let range = self.range(offset, len)?;
        let at = range.address().as_ptr().cast();
        // SAFETY: it changes no byte of the mapping, which is this value's own: pages are got as if they were written.
        match unsafe { madvise(at, len as usize, Advice::LinuxPopulateWrite) } {
            // Unknown before 5.14: then the file at least has its pages.
            Err(Errno::INVAL) => fallocate(self, FallocateFlags::empty(), offset, len)
                .map_err(|errno| Error::system("fallocate", self.name(), errno)),
            // Huge pages that are gone by the time they are touched: the control group's limit.
            Err(Errno::FAULT) => Err(Error::system("MADV_POPULATE_WRITE", self.name(), Errno::FAULT)
                .with_help("touching it would end in SIGBUS: see the control group's limits of memory and of huge pages")),
            other => other.map_err(|errno| Error::system("MADV_POPULATE_WRITE", self.name(), errno)),
        }
    }

    /// Asks for transparent huge pages.
    pub(super) fn advise_huge(&self) -> Result<(), Error> {
        let at = self.base().as_ptr().cast();
        // SAFETY: advice about this value's own mapping; it changes no byte.
        unsafe { madvise(at, self.len() as usize, Advice::LinuxHugepage) }
            .map_err(|errno| Error::system("MADV_HUGEPAGE", self.name(), errno))
    }
}
