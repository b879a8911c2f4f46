//! What a reservation permits, and how its memory behaves.

use core::fmt;

bitflags::bitflags! {
    /// What a mapping lets its user do.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Access: u8 {
        /// Reads pass.
        const READ = 1;
        /// Writes pass.
        const WRITE = 1 << 1;
        /// Instruction fetches pass.
        const EXECUTE = 1 << 2;
    }
}

impl Access {
    /// Reads and writes pass, instruction fetches do not.
    pub const READ_WRITE: Self = Self::READ.union(Self::WRITE);
}

/// As `rwx`, with `-` for what is not permitted.
impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (flag, letter) in [(Self::READ, "r"), (Self::WRITE, "w"), (Self::EXECUTE, "x")] {
            f.write_str(if self.contains(flag) { letter } else { "-" })?;
        }
        Ok(())
    }
}

/// Who may use a mapping.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Privilege {
    /// User and supervisor transactions pass.
    #[default]
    User,
    /// Only supervisor (privileged) transactions pass.
    Supervisor,
}

/// Which world a mapping's physical addresses belong to (Arm `TrustZone`'s NS bit).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Security {
    /// The non-secure world.
    #[default]
    NonSecure,
    /// The secure world.
    Secure,
}

/// How normal memory is cached.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum CachePolicy {
    /// Not cached.
    NotCached,
    /// Write-back, allocating on reads and writes.
    #[default]
    WriteBackWriteAllocate,
    /// Write-back, allocating on reads only.
    WriteBackNoWriteAllocate,
    /// Write-through.
    WriteThrough,
}

/// What the architecture may do with accesses to a mapping.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MemoryType {
    /// Memory without side effects: accesses may be merged, repeated and speculated.
    Normal(CachePolicy),
    /// A device's registers: each access is made once, in order with others to the device.
    Device,
    /// As `Device`, and every access is complete before the next begins.
    StronglyOrdered,
}

impl MemoryType {
    /// Whether a cache may hold the memory.
    pub const fn is_cached(self) -> bool {
        match self {
            Self::Normal(CachePolicy::NotCached) | Self::Device | Self::StronglyOrdered => false,
            Self::Normal(_) => true,
        }
    }
}

impl Default for MemoryType {
    fn default() -> Self {
        Self::Normal(CachePolicy::default())
    }
}

impl fmt::Display for MemoryType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normal(CachePolicy::NotCached) => "not-cached",
            Self::Normal(CachePolicy::WriteBackWriteAllocate) => "write-back/write-allocate",
            Self::Normal(CachePolicy::WriteBackNoWriteAllocate) => "write-back/no-write-allocate",
            Self::Normal(CachePolicy::WriteThrough) => "write-through",
            Self::Device => "device",
            Self::StronglyOrdered => "strongly-ordered",
        })
    }
}

/// Between whom caches are kept coherent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Shareability {
    /// With nobody: software cleans and invalidates.
    NonShareable,
    /// Within the inner domain, as a rule the CPUs of one cluster.
    Inner,
    /// Within the outer domain: CPUs and coherent devices.
    #[default]
    Outer,
}

impl fmt::Display for Shareability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NonShareable => "non-shareable",
            Self::Inner => "inner-shareable",
            Self::Outer => "outer-shareable",
        })
    }
}

/// All attributes of a mapping. Each takes effect in the page tables of every format that can express it;
/// a format that cannot refuses the mapping.
///
/// The default is readable and writable by users, non-secure, write-back cached and outer shareable.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Attributes {
    /// What transactions may do.
    pub access: Access,
    /// Who may do it.
    pub privilege: Privilege,
    /// Which world the memory belongs to.
    pub security: Security,
    /// How the memory behaves.
    pub memory_type: MemoryType,
    /// Between whom caches are coherent.
    pub shareability: Shareability,
}

impl Attributes {
    /// Readable and writable, otherwise the defaults.
    pub const READ_WRITE: Self = Self {
        access: Access::READ_WRITE,
        privilege: Privilege::User,
        security: Security::NonSecure,
        memory_type: MemoryType::Normal(CachePolicy::WriteBackWriteAllocate),
        shareability: Shareability::Outer,
    };

    /// The same, with another access.
    #[must_use]
    pub const fn with_access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// The same, for users or for supervisors only.
    #[must_use]
    pub const fn with_privilege(self, privilege: Privilege) -> Self {
        Self { privilege, ..self }
    }

    /// The same, in the other world.
    #[must_use]
    pub const fn with_security(self, security: Security) -> Self {
        Self { security, ..self }
    }

    /// The same, with another memory type.
    #[must_use]
    pub const fn with_memory_type(self, memory_type: MemoryType) -> Self {
        Self { memory_type, ..self }
    }

    /// The same, with another shareability.
    #[must_use]
    pub const fn with_shareability(self, shareability: Shareability) -> Self {
        Self { shareability, ..self }
    }

    /// Whether two mappings of one physical page with these attributes may exist at the same time.
    ///
    /// The architecture makes aliases with different memory type, cache policy or shareability
    /// unpredictable (Arm ARM DDI 0406C A3.5.7, "Mismatched memory attributes"); who may do what, and
    /// from which world, may differ. Shareability says nothing of device and strongly-ordered memory.
    pub fn may_alias(self, other: Self) -> bool {
        self.memory_type == other.memory_type
            && (self.shareability == other.shareability || !matches!(self.memory_type, MemoryType::Normal(_)))
    }
}

impl Default for Attributes {
    fn default() -> Self {
        Self::READ_WRITE
    }
}

/// As `rw- user non-secure write-back/write-allocate outer-shareable`.
impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let privilege = match self.privilege {
            Privilege::User => "user",
            Privilege::Supervisor => "supervisor",
        };
        let security = match self.security {
            Security::NonSecure => "non-secure",
            Security::Secure => "secure",
        };
        write!(f, "{} {privilege} {security} {} {}", self.access, self.memory_type, self.shareability)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn aliases_may_differ_in_permission_only() {
        let base = Attributes::READ_WRITE;
        assert!(base.may_alias(base.with_access(Access::READ)));
        assert!(base.may_alias(base.with_privilege(Privilege::Supervisor)));
        assert!(!base.may_alias(base.with_memory_type(MemoryType::Normal(CachePolicy::WriteThrough))));
        assert!(!base.may_alias(base.with_shareability(Shareability::Inner)));
        let device = base.with_memory_type(MemoryType::Device);
        assert!(device.may_alias(device.with_shareability(Shareability::NonShareable)));
        assert!(!device.may_alias(device.with_memory_type(MemoryType::StronglyOrdered)));
    }

    #[test]
    fn attributes_print_in_words() {
        assert_eq!(
            format!("{}", Attributes::READ_WRITE),
            "rw- user non-secure write-back/write-allocate outer-shareable"
        );
    }
}
