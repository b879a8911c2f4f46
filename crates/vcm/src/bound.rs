//! A sub-range of a region that reservations are made from.

use crate::Span;
use crate::range::{RangeKey, Ranges};
use crate::region::Occupant;

#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) span: Span,
    /// Its place in the region.
    pub(crate) place: RangeKey,
    /// What was reserved from it.
    pub(crate) ranges: Ranges<Occupant>,
    /// How many reservations were made from it, those in quarantine included.
    pub(crate) reservations: usize,
}
