//! A device's memory, handed over as a dma-buf.

use rustix::fd::BorrowedFd;

/// A dma-buf that VFIO exported: memory of a device (a part of a BAR) that others may reach, peer to peer.
///
/// iommufd maps these only (`VFIO_DEVICE_FEATURE_DMA_BUF`, in one piece), not those of other exporters: the kernel itself
/// checks what the descriptor is, and how long. Source: include/uapi/linux/iommufd.h, `IOMMU_IOAS_MAP_FILE`.
#[derive(Clone, Copy, Debug)]
pub struct DmaBuf<'fd> {
    descriptor: BorrowedFd<'fd>,
    len: u64,
}

impl<'fd> DmaBuf<'fd> {
    /// The dma-buf behind `descriptor`, of `len` bytes.
    pub const fn new(descriptor: BorrowedFd<'fd>, len: u64) -> Self {
        Self { descriptor, len }
    }

    /// The descriptor.
    pub const fn descriptor(&self) -> BorrowedFd<'fd> {
        self.descriptor
    }

    /// Its length in bytes.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes; then it cannot be mapped.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}
