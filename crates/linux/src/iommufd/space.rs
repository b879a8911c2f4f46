//! I/O address spaces as [`DmaSpace`]s: mapping directly, or through the library.

use super::{Ioas, Library};
use crate::Error;
use crate::dma::DmaSpace;
use crate::memory::MemoryRange;
use std::sync::Arc;
use vcm::{Access, Iova, PageSizes, Span};

/// The page sizes that reservations in an IOAS profit from: `alignment` is what the kernel demands, in bytes.
///
/// iommufd says the smallest page only. The larger ones here are those of tables with 8 bytes for each entry, one level after
/// the other: 4K, 2M and 1G. An IOMMU that has more sizes uses them unasked.
fn page_sizes(alignment: u64) -> PageSizes {
    let smallest = alignment.max(rustix::param::page_size() as u64);
    let bits = smallest.trailing_zeros();
    let entries = bits - 3;
    let mask = [bits, bits + entries, bits + 2 * entries]
        .into_iter()
        .filter(|bit| *bit < 64)
        .fold(smallest, |mask, bit| mask | 1 << bit);
    PageSizes::from_mask(mask).unwrap_or(PageSizes::AARCH64_4K)
}

impl DmaSpace for Ioas {
    fn name(&self) -> String {
        self.name_for_people()
    }

    fn usable(&self) -> Result<Vec<Span>, Error> {
        Ok(self.iova_ranges()?.0)
    }

    fn page_sizes(&self) -> Result<PageSizes, Error> {
        Ok(page_sizes(self.iova_ranges()?.1))
    }

    fn mappings_left(&self) -> Option<u64> {
        None
    }

    fn map(&mut self, at: Iova, memory: MemoryRange<'_>, access: Access) -> Result<(), Error> {
        self.map_memory(at, memory, access)
    }

    fn unmap(&mut self, span: Span) -> Result<(), Error> {
        self.unmap_span(span)
    }
}

/// An IOAS whose mappings are copies from a [`Library`]: memory is pinned and counted once, however many spaces see it.
#[derive(Clone, Debug)]
pub struct SharedIoas {
    ioas: Ioas,
    library: Arc<Library>,
}

impl SharedIoas {
    /// `ioas`, with `library` as the source of its mappings.
    pub const fn new(ioas: Ioas, library: Arc<Library>) -> Self {
        Self { ioas, library }
    }

    /// The space.
    pub const fn ioas(&self) -> &Ioas {
        &self.ioas
    }

    /// The library.
    pub const fn library(&self) -> &Arc<Library> {
        &self.library
    }
}

impl DmaSpace for SharedIoas {
    fn name(&self) -> String {
        self.ioas.name()
    }

    fn usable(&self) -> Result<Vec<Span>, Error> {
        self.ioas.usable()
    }

    fn page_sizes(&self) -> Result<PageSizes, Error> {
        self.ioas.page_sizes()
    }

    fn mappings_left(&self) -> Option<u64> {
        None
    }

    fn map(&mut self, at: Iova, memory: MemoryRange<'_>, access: Access) -> Result<(), Error> {
        self.library.map(&self.ioas, at, memory, access).map(drop)
    }

    fn unmap(&mut self, span: Span) -> Result<(), Error> {
        self.ioas.unmap_span(span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_sizes_are_those_of_a_table_with_eight_bytes_for_each_entry() {
        if rustix::param::page_size() == 4096 {
            // Nothing attached; a page of 2K below the kernel's own; the kernel's own.
            for alignment in [1, 2048, 4096] {
                assert_eq!(page_sizes(alignment), PageSizes::AARCH64_4K);
            }
        }
        let large = page_sizes(1 << 16);
        assert_eq!(large.smallest(), 1 << 16);
        assert!(large.contains(1 << 29));
    }
}
