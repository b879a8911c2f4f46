//! What KVM can say of a mapping.

use crate::Error;
use vcm::{Access, Attributes, MemoryType, Privilege, Security};

/// What a guest may do with memory: all that KVM distinguishes. It executes whatever it reads.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Protection {
    /// It reads and writes.
    ReadWrite,
    /// It reads; its writes come to the VMM as accesses to a device (`KVM_MEM_READONLY`).
    ReadOnly,
}

impl Protection {
    /// What attributes come to. How memory is cached, and who of the guest uses it, is what the guest's own page
    /// tables say: attributes that ask for something else are refused, not dropped.
    ///
    /// # Errors
    /// [`Error::NotSupported`].
    pub fn of(attributes: Attributes) -> Result<Self, Error> {
        let refuse =
            |what: &str, why: &str| Err(Error::not_supported(format!("{what} for guest memory"), why));
        if !attributes.access.contains(Access::EXECUTE) {
            return refuse(
                &format!("access {}", attributes.access),
                "KVM cannot keep a guest from executing what it reads: ask for execute as well",
            );
        }
        if attributes.privilege != Privilege::default() {
            return refuse(
                "supervisor only",
                "KVM's slots do not distinguish who of the guest makes an access",
            );
        }
        if attributes.security != Security::default() {
            return refuse("secure memory", "KVM's slots are non-secure");
        }
        if attributes.memory_type != MemoryType::default() {
            return refuse(
                &attributes.memory_type.to_string(),
                "how it is cached is what the guest's page tables say",
            );
        }
        if attributes.shareability != Attributes::READ_WRITE.shareability {
            return refuse(
                &attributes.shareability.to_string(),
                "KVM keeps a guest's memory coherent with all",
            );
        }
        let data = attributes.access.difference(Access::EXECUTE);
        match (data.contains(Access::READ), data.contains(Access::WRITE)) {
            (true, true) => Ok(Self::ReadWrite),
            (true, false) => Ok(Self::ReadOnly),
            _ => refuse(&format!("access {}", attributes.access), "it is read and write, or read"),
        }
    }

    /// As an access.
    pub const fn access(self) -> Access {
        match self {
            Self::ReadWrite => Access::READ_WRITE.union(Access::EXECUTE),
            Self::ReadOnly => Access::READ.union(Access::EXECUTE),
        }
    }
}
