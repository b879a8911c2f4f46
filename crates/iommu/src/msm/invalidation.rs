//! What is to go from the TLB.

use vcm::Span;
use vcm_pagetable::Gather;

/// What is to go from the TLB.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Invalidation<'a> {
    /// All of a context's entries.
    Everything,
    /// The entries of some addresses.
    Addresses {
        /// The addresses, in bytes of the context's space. What lies above 4 GiB is passed over.
        spans: &'a [Span],
        /// The smallest page that was mapped there, a power of two in bytes; less than 4 KiB counts as 4 KiB.
        /// One invalidation is made for each page of this size, so that it must not be larger than what was
        /// mapped.
        granule: u64,
    },
}

impl<'a> From<&'a Gather> for Invalidation<'a> {
    fn from(gather: &'a Gather) -> Self {
        Self::Addresses { spans: gather.spans(), granule: gather.granule() }
    }
}
