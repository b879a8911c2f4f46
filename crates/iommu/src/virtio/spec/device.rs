//! What every virtio device has: a status, and features.

/// The device status (2.1): what the driver and the device have told each other so far. Writing 0 resets the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status(pub u8);

impl Status {
    /// As after a reset.
    pub const RESET: Self = Self(0);
    /// Bit 0: the driver has found the device.
    pub const ACKNOWLEDGE: Self = Self(1);
    /// Bit 1: the driver knows how to drive it.
    pub const DRIVER: Self = Self(1 << 1);
    /// Bit 2: the device is live.
    pub const DRIVER_OK: Self = Self(1 << 2);
    /// Bit 3: the features are agreed on. The device leaves it clear when it cannot work with what was accepted.
    pub const FEATURES_OK: Self = Self(1 << 3);
    /// Bit 6: the device has failed and works again only after a reset.
    pub const NEEDS_RESET: Self = Self(1 << 6);
    /// Bit 7: the driver has given up.
    pub const FAILED: Self = Self(1 << 7);
    /// All bits: what a bus answers for a device that is gone.
    pub const GONE: Self = Self(u8::MAX);
    /// Initialised and working.
    pub const LIVE: Self = Self::ACKNOWLEDGE.and(Self::DRIVER).and(Self::FEATURES_OK).and(Self::DRIVER_OK);

    /// The bits of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all bits of `other` are set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What a device offers and a driver accepts (2.2), a bit for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Features(pub u64);

impl Features {
    /// Bit 0: `input_range` tells which addresses can be mapped (5.13.3).
    pub const INPUT_RANGE: Self = Self(1 << 0);
    /// Bit 1: `domain_range` tells which domain numbers there are (5.13.3).
    pub const DOMAIN_RANGE: Self = Self(1 << 1);
    /// Bit 2: there are MAP and UNMAP requests (5.13.3).
    pub const MAP_UNMAP: Self = Self(1 << 2);
    /// Bit 3: when accepted, endpoints of no domain pass untranslated (5.13.3).
    pub const BYPASS: Self = Self(1 << 3);
    /// Bit 4: there is a PROBE request (5.13.3).
    pub const PROBE: Self = Self(1 << 4);
    /// Bit 5: mappings may be of device registers (5.13.3).
    pub const MMIO: Self = Self(1 << 5);
    /// Bit 6: `bypass` says whether endpoints of no domain pass untranslated, and there are domains that do
    /// so (5.13.3).
    pub const BYPASS_CONFIG: Self = Self(1 << 6);
    /// Bit 32: the device follows version 1 of the specification (6).
    pub const VERSION_1: Self = Self(1 << 32);
    /// Bit 33: the device reaches memory by the addresses that the platform gives it, through an IOMMU of its own
    /// if there is one (6).
    pub const ACCESS_PLATFORM: Self = Self(1 << 33);
    /// Bit 36: accesses must be ordered as the platform orders those of hardware (6).
    pub const ORDER_PLATFORM: Self = Self(1 << 36);

    /// The features of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are among them.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The device id of an IOMMU (5.13.1). A PCI function of it has the device id 0x1040 + 23 and the vendor 0x1af4
/// (4.1.2).
pub const DEVICE_ID: u32 = 23;
