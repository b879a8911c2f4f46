//! The kernel's own mock of a device and its IOMMU, for tests: it shows what hardware would see.
//!
//! Only kernels with `CONFIG_IOMMUFD_TEST` have it. Source: drivers/iommu/iommufd/iommufd_test.h and selftest.c.

mod access;
mod device;
mod dma_buf;
mod request;

pub use access::{MockAccess, Needs, Pinned};
pub use device::{Abilities, MockDevice};
pub use dma_buf::{Revoked, mock_dma_buf, set_revoked};

use super::{Ioas, Iommufd};
use crate::Error;
use crate::memory::MemoryRange;
use request::{Request, operation};
use vcm::Span;

/// The addresses that the mock IOMMU translates.
pub const APERTURE: (u64, u64) = (1 << 24, (1 << 31) - 1);

/// The smallest page of the mock IOMMU in bytes: less than the kernel's own.
pub const PAGE: u64 = 2048;

/// Takes addresses of a space away, as a device with a reserved window would.
///
/// # Errors
/// The kernel's: EADDRINUSE when something is mapped or promised there.
pub fn add_reserved(ioas: &Ioas, span: Span) -> Result<(), Error> {
    Request::new(operation::ADD_RESERVED, ioas.id())
        .long(0, span.first())
        .long(8, span.len() as u64)
        .make(ioas.iommufd())?;
    Ok(())
}

/// Whether every page of `memory` is pinned `count` times.
///
/// # Errors
/// The kernel's.
pub fn is_pinned(iommufd: &Iommufd, memory: MemoryRange<'_>, count: u32) -> Result<bool, Error> {
    let answer = Request::new(operation::CHECK_REFERENCES, 0)
        .long(0, memory.len())
        .long(8, memory.address().as_ptr().expose_provenance() as u64)
        .word(16, count)
        .make(iommufd);
    request::yes_unless(rustix::io::Errno::IO, answer)
}

/// Limits the memory that the kernel uses for a batch of pages, to see more of its ways. 64 KiB is what it uses otherwise.
///
/// # Errors
/// The kernel's.
pub fn set_batch_limit(iommufd: &Iommufd, bytes: u32) -> Result<(), Error> {
    Request::new(operation::SET_TEMPORARY_LIMIT, 0).word(0, bytes).make(iommufd)?;
    Ok(())
}

/// Lets `iommufd` behave as on a kernel without `IOMMU_IOAS_MAP_FILE`: memory is mapped by address. False when something was
/// mapped already.
pub fn do_without_map_file(iommufd: &Iommufd) -> bool {
    iommufd.do_without_map_file()
}
