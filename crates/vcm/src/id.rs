//! Identifiers of the graph's objects: typed and generational. One that outlived its object finds nothing.

use crate::allocation::Allocation;
use crate::association::Association;
use crate::bound::Bound;
use crate::device::Device;
use crate::region::Region;
use crate::reservation::Reservation;
use crate::storage::Key;
use crate::target::{PoolEntry, Target};
use core::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($of:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(crate) Key<$of>);

        impl $name {
            /// The identifier of the value with `key`, for whoever keeps the [parts](crate::parts) themselves.
            pub const fn from_key(key: Key<$of>) -> Self {
                Self(key)
            }

            /// The key of the value.
            pub const fn key(self) -> Key<$of> {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, " {}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "#{}"), self.0)
            }
        }
    };
}

id! {
    /// Identifies a region.
    RegionId(Region), "region"
}
id! {
    /// Identifies an allocation of physical memory.
    AllocationId(Allocation), "allocation"
}
id! {
    /// Identifies a device.
    DeviceId(Device), "device"
}
id! {
    /// Identifies an association of a region with a device.
    AssociationId(Association), "association"
}
id! {
    /// Identifies a memory target.
    TargetId(Target), "target"
}
id! {
    /// Identifies a pool of physical memory.
    PoolId(PoolEntry), "pool"
}

macro_rules! id_in_region {
    ($(#[$doc:meta])* $name:ident($of:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            pub(crate) region: RegionId,
            pub(crate) key: Key<$of>,
        }

        impl $name {
            /// The region that it is of.
            pub const fn region(self) -> RegionId {
                self.region
            }

            /// The identifier of the counterpart in `clone`, a clone of the region.
            #[must_use]
            pub const fn in_clone(self, clone: RegionId) -> Self {
                Self { region: clone, ..self }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, " {} of {}"), self.key, self.region)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "#{}@{:?}"), self.key, self.region)
            }
        }
    };
}

id_in_region! {
    /// Identifies a reservation in a region.
    ReservationId(Reservation), "reservation"
}
id_in_region! {
    /// Identifies a bound: a sub-range of a region that reservations are made from.
    BoundId(Bound), "bound"
}
