//! What moves bytes for a device: the little that our drivers have to know of it.

use super::own_pages::OwnPages;
use std::fmt;
use vcm_platform::Run;

/// Why bytes were not moved.
#[derive(Debug)]
pub(super) enum EngineError {
    /// The device says that its access was refused.
    Refused,
    /// Something else is wrong.
    Broken(String),
}

/// A device's own DMA engine.
pub(super) trait Engine: fmt::Debug + Send {
    /// Accesses are made of so many bytes at least, and are multiples of it.
    fn unit(&self) -> u64;

    /// The device reads memory: `from`, as it addresses it, into its own pages, `place` bytes behind where data are.
    ///
    /// # Errors
    /// [`EngineError`].
    fn fetch(&mut self, own: &OwnPages, place: u64, from: Run) -> Result<(), EngineError>;

    /// The device writes memory: from its own pages to `to`.
    ///
    /// # Errors
    /// [`EngineError`].
    fn store(&mut self, own: &OwnPages, place: u64, to: Run) -> Result<(), EngineError>;

    /// Has the device interrupt at the end of a DMA, as one does that tells its driver of the end of a transfer. Whether it can.
    ///
    /// # Errors
    /// [`EngineError`].
    fn tell_end(&mut self, own: &OwnPages) -> Result<bool, EngineError> {
        let _ = own;
        Ok(false)
    }

    /// Stops it: it makes no access any more, until it is asked to.
    fn stop(&mut self);
}
