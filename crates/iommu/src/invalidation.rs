//! What is to go from an IOMMU's caches.

use vcm::Span;
use vcm_pagetable::Gather;

/// What is to go from an IOMMU's caches of one domain or context.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Invalidation<'a> {
    /// Everything that belongs to it.
    Everything,
    /// The entries of some addresses.
    Addresses {
        /// The addresses, in bytes of the domain's space. What lies beyond it is passed over.
        spans: &'a [Span],
        /// The smallest page that was mapped there, a power of two in bytes; less than the hardware's smallest page
        /// counts as that. Where a page is invalidated at a time, there is one invalidation for each of this size.
        granule: u64,
        /// How deep to go.
        reach: Reach,
    },
}

/// Whether caches of table pointers are concerned, too.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reach {
    /// Only pages changed: entries of the last level are enough.
    Pages,
    /// Tables were removed: the caches of what leads to them must go as well.
    Tables,
}

impl<'a> From<&'a Gather> for Invalidation<'a> {
    fn from(gather: &'a Gather) -> Self {
        let reach = if gather.tables_removed() { Reach::Tables } else { Reach::Pages };
        Self::Addresses { spans: gather.spans(), granule: gather.granule(), reach }
    }
}
