//! Dma-bufs as VFIO would export them.
#![allow(unsafe_code, reason = "takes over a descriptor that the kernel made")]

use super::request::{Request, operation};
use crate::Error;
use crate::iommufd::Iommufd;
use rustix::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// Makes a dma-buf of `len` bytes, 2 MiB at most.
///
/// # Errors
/// The kernel's.
pub fn mock_dma_buf(iommufd: &Iommufd, len: u32) -> Result<OwnedFd, Error> {
    const CLOEXEC: u32 = rustix::fs::OFlags::CLOEXEC.bits();
    let lowest = lowest_free(iommufd)?;
    let answer = Request::new(operation::DMA_BUF_GET, 0).word(0, len).word(4, CLOEXEC).make(iommufd)?;
    // Linux 7.3 opens the descriptor and answers 0 all the same: it is the lowest number that was free.
    let number = if answer.value == 0 { lowest } else { answer.value };
    // SAFETY: a descriptor that the kernel has just opened, and nobody else knows of it. Where its number is not told, that
    // holds as long as no other thread opens one meanwhile; this is for tests.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The number that the next descriptor will have.
fn lowest_free(any: &Iommufd) -> Result<i32, Error> {
    let clone = any.as_fd().try_clone_to_owned();
    let clone = clone.map_err(|error| Error::Garbage {
        object: "the table of descriptors".into(),
        what: error.to_string(),
    })?;
    // It is closed when this returns.
    Ok(clone.as_raw_fd())
}

/// Takes the memory of a mock dma-buf away from those that mapped it, or lets it be mapped again.
///
/// # Errors
/// The kernel's.
pub fn set_revoked(iommufd: &Iommufd, descriptor: impl AsFd, revoked: Revoked) -> Result<(), Error> {
    let flag = match revoked {
        Revoked::Yes => 1,
        Revoked::No => 0,
    };
    let number = descriptor.as_fd().as_raw_fd().unsigned_abs();
    Request::new(operation::DMA_BUF_REVOKE, 0).word(0, number).word(4, flag).make(iommufd)?;
    Ok(())
}

/// Whether a dma-buf's memory is taken away.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Revoked {
    /// It is.
    Yes,
    /// It is not.
    No,
}
