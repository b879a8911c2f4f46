//! What is made in iommufd: a number, which is given up at the end.

use super::Iommufd;
use rustix::io::Errno;
use std::sync::Arc;

/// An object of iommufd's, owned: it is destroyed when this is dropped. Where the kernel still uses it, it is counted
/// ([`Iommufd::not_destroyed`]).
#[derive(Debug)]
pub(crate) struct Object {
    iommufd: Arc<Iommufd>,
    id: u32,
    destroyed: bool,
}

impl Object {
    /// Owns the object `id`, which the kernel has just made.
    pub(crate) const fn new(iommufd: Arc<Iommufd>, id: u32) -> Self {
        Self { iommufd, id, destroyed: false }
    }

    pub(crate) const fn id(&self) -> u32 {
        self.id
    }

    pub(crate) const fn iommufd(&self) -> &Arc<Iommufd> {
        &self.iommufd
    }

    /// Destroys it now. Afterwards dropping does nothing more, whatever the kernel said.
    pub(crate) fn destroy(&mut self) -> Result<(), Errno> {
        if std::mem::replace(&mut self.destroyed, true) {
            return Ok(());
        }
        self.iommufd.destroy(self.id)
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // What was refused is counted.
        let _ = self.destroy();
    }
}

/// The number that iommufd gave a device when it was bound: what `VFIO_DEVICE_BIND_IOMMUFD` answers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BoundDevice(pub u32);

impl std::fmt::Display for BoundDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "device {} of iommufd", self.0)
    }
}
