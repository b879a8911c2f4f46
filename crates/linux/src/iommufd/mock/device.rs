//! A mock device, with a mock IOMMU.

use super::request::{Request, operation, yes_unless};
use crate::Error;
use crate::iommufd::object::Object;
use crate::iommufd::{Attachment, BoundDevice, DirtyBitmap, Hwpt, Ioas};
use crate::memory::MemoryRange;
use rustix::io::Errno;
use std::sync::Arc;
use vcm::{Access, Iova};

/// What a mock device's IOMMU can do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Abilities {
    /// Everything.
    #[default]
    All,
    /// Everything but dirty tracking.
    NoDirtyTracking,
}

/// A device that does nothing, attached to an address space. It is detached and gone when it is dropped.
#[derive(Debug)]
pub struct MockDevice {
    object: Object,
    device: BoundDevice,
    table: u32,
    attachment: Attachment,
}

impl MockDevice {
    /// A device that is attached to `ioas`.
    ///
    /// # Errors
    /// The kernel's, and [`Error::LockedMemory`].
    pub fn attach(ioas: &Ioas, abilities: Abilities) -> Result<Self, Error> {
        Self::attach_to(ioas, ioas.id(), abilities, ioas.attachment())
    }

    /// A device that is attached to a page table.
    ///
    /// # Errors
    /// The kernel's.
    pub fn attach_to_table(table: &Hwpt, abilities: Abilities) -> Result<Self, Error> {
        Self::attach_to(table.ioas(), table.id(), abilities, table.attachment())
    }

    fn attach_to(
        ioas: &Ioas,
        target: u32,
        abilities: Abilities,
        attachment: Attachment,
    ) -> Result<Self, Error> {
        let flags = match abilities {
            Abilities::All => 0,
            // MOCK_FLAGS_DEVICE_NO_DIRTY
            Abilities::NoDirtyTracking => 1,
        };
        let answer = Request::new(operation::MOCK_DOMAIN_FLAGS, target)
            .word(12, flags)
            .make(ioas.iommufd())
            .map_err(|error| ioas.explain_attaching(error))?;
        Ok(Self {
            object: Object::new(Arc::clone(ioas.iommufd()), answer.word(0)),
            table: answer.word(4),
            device: BoundDevice(answer.word(8)),
            attachment,
        })
    }

    /// Its number, as a device that is bound has it.
    pub const fn device(&self) -> BoundDevice {
        self.device
    }

    /// Attaches it to a page table instead, without a moment between.
    ///
    /// # Errors
    /// The kernel's.
    pub fn replace_with_table(&mut self, table: &Hwpt) -> Result<(), Error> {
        self.replace(table.id(), table.attachment())
    }

    /// Attaches it to another address space instead.
    ///
    /// # Errors
    /// The kernel's.
    pub fn replace_with(&mut self, ioas: &Ioas) -> Result<(), Error> {
        self.replace(ioas.id(), ioas.attachment())
    }

    fn replace(&mut self, target: u32, attachment: Attachment) -> Result<(), Error> {
        let request = Request::new(operation::MOCK_DOMAIN_REPLACE, self.object.id()).word(0, target);
        let answer = request.make(self.object.iommufd())?;
        self.table = answer.word(0);
        self.attachment = attachment;
        Ok(())
    }

    /// Whether its page table leads from `at` on to the pages of `memory`: what its transactions would reach.
    ///
    /// # Errors
    /// The kernel's.
    pub fn sees(&self, at: Iova, memory: MemoryRange<'_>) -> Result<bool, Error> {
        let answer = Request::new(operation::CHECK_MAP, self.table)
            .long(0, at.raw())
            .long(8, memory.len())
            .long(16, memory.address().as_ptr().expose_provenance() as u64)
            .make(self.object.iommufd());
        yes_unless(Errno::INVAL, answer)
    }

    /// Writes to the pages of `pages`, as far as its IOMMU is concerned: they are noted as dirty in `table`. Returns how many.
    ///
    /// # Errors
    /// The kernel's: EINVAL when dirty tracking is off.
    pub fn make_dirty(&self, table: &Hwpt, pages: &DirtyBitmap) -> Result<u64, Error> {
        let answer = Request::new(operation::DIRTY, table.id())
            .long(8, pages.span().first())
            .long(16, pages.span().len() as u64)
            .long(24, pages.page())
            .long(32, pages.words().as_ptr().expose_provenance() as u64)
            .make(self.object.iommufd())?;
        Ok(answer.long(40))
    }

    /// Faults at `address`, and waits for an answer in the fault queue.
    ///
    /// # Errors
    /// The kernel's.
    pub fn fault(&self, pasid: Option<u32>, group: u32, access: Access, address: u64) -> Result<(), Error> {
        let permissions = u32::from(access.contains(Access::READ))
            | u32::from(access.contains(Access::WRITE)) << 1
            | u32::from(access.contains(Access::EXECUTE)) << 2;
        Request::new(operation::TRIGGER_FAULT, 0)
            .word(0, self.device.0)
            .word(4, pasid.unwrap_or(0))
            .word(8, group)
            .word(12, permissions)
            .long(16, address)
            .make(self.object.iommufd())?;
        Ok(())
    }
}
