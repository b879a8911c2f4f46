//! Names for masters and contexts.

use super::context::Context;
use core::fmt;
use vcm::Key;

/// A master id (MID): the number that a bus master's transactions carry into the SMMU. The stream id of a
/// device tree's `iommus` property.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MasterId(pub u16);

impl fmt::Display for MasterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "master {}", self.0)
    }
}

/// Names a virtual context of one [`Smmu`](super::Smmu). It stays invalid once the context is destroyed, even
/// when another takes its place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ContextId(pub(super) Key<Context>);

impl fmt::Display for ContextId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "context {}", self.0)
    }
}
