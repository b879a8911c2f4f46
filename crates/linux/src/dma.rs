//! Address spaces that the kernel keeps for devices, whichever interface they come through.

use crate::Error;
use crate::memory::{MemoryPiece, MemoryRange};
use vcm::{Access, Iova, PageSizes, Span};

/// The translation of one or several devices: an IOAS of iommufd, or a type1 container.
///
/// # Contract
/// - [`map`](Self::map) is all or nothing. The memory stays pinned until it is unmapped, whatever becomes of the range.
/// - When [`unmap`](Self::unmap) answered `Ok`, the kernel has invalidated what it must: no device reaches the memory through
///   these addresses any more.
pub trait DmaSpace: std::fmt::Debug + Send {
    /// What it is, for messages: `IOAS 2`, `container`.
    fn name(&self) -> String;

    /// The addresses that can be mapped, in order: what the IOMMUs of the devices here translate, without the windows that
    /// the kernel reserves. They can change when a device comes.
    ///
    /// # Errors
    /// The kernel's.
    fn usable(&self) -> Result<Vec<Span>, Error>;

    /// The page sizes that mappings are made of. The smallest is what addresses, offsets and lengths are multiples of.
    ///
    /// # Errors
    /// The kernel's.
    fn page_sizes(&self) -> Result<PageSizes, Error>;

    /// How many more mappings there can be. `None` when the kernel sets no limit.
    fn mappings_left(&self) -> Option<u64>;

    /// Maps `memory` at `at`, for the accesses of `access`.
    ///
    /// # Errors
    /// [`Error::LockedMemory`], the kernel's. EEXIST when something is mapped there.
    fn map(&mut self, at: Iova, memory: MemoryRange<'_>, access: Access) -> Result<(), Error>;

    /// Maps `pieces` side by side from `at` on, all or none, in as few mappings as this kind of space can: they go together.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    fn map_all(&mut self, at: Iova, pieces: &[MemoryPiece], access: Access) -> Result<(), Error> {
        piece_by_piece(self, at, pieces, access)
    }

    /// Unmaps everything in `span`: whole mappings, none or several. Holes are passed over.
    ///
    /// # Errors
    /// The kernel's: a mapping that is only partly in `span` cannot be unmapped.
    fn unmap(&mut self, span: Span) -> Result<(), Error>;
}

/// Maps `pieces` side by side from `at` on, each for itself: all, or none.
pub(crate) fn piece_by_piece<S: DmaSpace + ?Sized>(
    space: &mut S,
    at: Iova,
    pieces: &[MemoryPiece],
    access: Access,
) -> Result<(), Error> {
    let len = pieces.iter().fold(0_u64, |len, piece| len.saturating_add(piece.len()));
    if len != 0 && Span::new(at.raw(), len).is_none() {
        let what = format!("{} pieces, {len:#x} bytes, at {at}", pieces.len());
        return Err(Error::argument(what, "that passes the end of the addresses"));
    }
    let mut done = 0;
    for piece in pieces {
        if let Err(error) = space.map(Iova::new(at.raw() + done), piece.range(), access) {
            let undone = Span::new(at.raw(), done).map_or(Ok(()), |mapped| space.unmap(mapped));
            return Err(error.after_undoing(undone));
        }
        done += piece.len();
    }
    Ok(())
}
