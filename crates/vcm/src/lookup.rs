//! Finding parts, whoever keeps them.

use crate::allocation::Allocation;
use crate::id::{AllocationId, RegionId};
use crate::region::Region;
use crate::storage::Arena;

/// Finds a part by its identifier, for as long as a visit lasts: a composition with locks takes and gives back the
/// part's lock around it.
pub trait Lookup<Id, Part> {
    /// Calls `visit` with the part, if it exists.
    fn visit(&mut self, id: Id, visit: &mut dyn FnMut(&mut Part));
}

impl Lookup<AllocationId, Allocation> for Arena<Allocation> {
    fn visit(&mut self, id: AllocationId, visit: &mut dyn FnMut(&mut Allocation)) {
        if let Some(allocation) = self.get_mut(id.0) {
            visit(allocation);
        }
    }
}

impl Lookup<RegionId, Region> for Arena<Region> {
    fn visit(&mut self, id: RegionId, visit: &mut dyn FnMut(&mut Region)) {
        if let Some(region) = self.get_mut(id.0) {
            visit(region);
        }
    }
}
