//! Memory of this process that a guest may be given.
#![allow(unsafe_code, reason = "whoever has addresses of this process vouches for them")]

use crate::Error;
use crate::memory::{CpuSpace, MemoryRange, Stitched};
use std::any::Any;
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;
use vcm::{Access, CpuAddress, SIZE_2M};

/// One stretch of this process's addresses, and what keeps it mapped.
///
/// A guest that has it reads and writes it at any time, as another process would. So it is shared memory, or the
/// registers of an assigned device, never memory that Rust thinks is its own.
pub struct HostMapping {
    address: CpuAddress,
    len: u64,
    /// Dropped when no virtual CPU reaches the memory any more.
    owner: Arc<dyn Any + Send + Sync>,
}

impl HostMapping {
    /// Pieces of shared memory, as one stretch in the order given.
    ///
    /// They are mapped once more for this, side by side, so that however many they are, they are one slot. A stretch
    /// of 2 MiB or more begins at a multiple of that, so that a guest physical address that does too can have large
    /// pages.
    ///
    /// # Errors
    /// [`Error::Argument`] for no pieces, and for pieces that are not whole pages; those of [`CpuSpace::back`].
    pub fn new(pieces: &[MemoryRange<'_>]) -> Result<Self, Error> {
        let what = || format!("{} pieces of memory for a guest", pieces.len());
        if let Some(piece) = pieces.iter().find(|piece| !piece.is_whole_pages()) {
            let page = piece.file().page_len();
            let whole = format!(
                "{:#x} bytes from {:#x} on are not whole pages of {page:#x}",
                piece.len(),
                piece.offset()
            );
            return Err(Error::argument(what(), whole));
        }
        let len = pieces.iter().try_fold(0_u64, |sum, piece| sum.checked_add(piece.len()));
        let len =
            len.filter(|&len| len > 0).ok_or_else(|| Error::argument(what(), "no bytes, or too many"))?;
        let page = pieces.iter().map(|piece| piece.file().page_len()).max().unwrap_or(1);
        let alignment = if len >= SIZE_2M { page.max(SIZE_2M) } else { page };
        let mut space = CpuSpace::reserve(len, alignment)?;
        let address = CpuAddress::new(space.span().first());
        space.back(address, pieces, Access::READ_WRITE)?;
        Ok(Self { address, len, owner: Arc::new(space) })
    }

    /// `len` bytes at `address` of this process, which stay mapped as long as `owner`.
    ///
    /// # Safety
    /// Until `owner` is dropped, the addresses are mapped shared, to the same thing all the time or at last to nothing that
    /// could be accessed, and no reference of Rust's ever points into it: the guest's accesses to it are like those of another process.
    pub unsafe fn from_raw(address: NonNull<u8>, len: u64, owner: Arc<dyn Any + Send + Sync>) -> Self {
        Self { address: CpuAddress::new(address.addr().get() as u64), len, owner }
    }

    /// Where it is in this process.
    pub const fn address(&self) -> CpuAddress {
        self.address
    }

    /// How many bytes it has.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl From<Stitched> for HostMapping {
    fn from(stitched: Stitched) -> Self {
        let address = CpuAddress::new(stitched.address().addr().get() as u64);
        Self { address, len: stitched.len(), owner: Arc::new(stitched) }
    }
}

impl fmt::Debug for HostMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostMapping")
            .field("address", &self.address)
            .field("len", &self.len)
            .field("owners", &Arc::strong_count(&self.owner))
            .finish()
    }
}
