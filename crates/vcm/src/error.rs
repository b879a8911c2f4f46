//! Every way in which an operation can be refused: what was asked, where it failed, who holds the thing.

use crate::hardware::{HardwareError, HardwareErrorKind, Part};
use crate::id::{AllocationId, AssociationId, BoundId, DeviceId, PoolId, RegionId, ReservationId, TargetId};
use crate::storage::OutOfMemory;
use crate::{Attributes, Bytes, PhysicalAddress, RegionKind, Span};

/// Who has the thing that was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holder {
    /// A reservation, backed or not.
    Reservation(ReservationId),
    /// A bound.
    Bound(BoundId),
    /// An association.
    Association(AssociationId),
    /// A window of addresses that a device must never be given.
    ReservedWindow,
    /// An allocation.
    Allocation(AllocationId),
    /// A pool.
    Pool(PoolId),
    /// A teardown that the hardware has not completed.
    Quarantine,
}

impl core::fmt::Display for Holder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Reservation(id) => id.fmt(f),
            Self::Bound(id) => id.fmt(f),
            Self::Association(id) => id.fmt(f),
            Self::ReservedWindow => f.write_str("a reserved window of a device"),
            Self::Allocation(id) => id.fmt(f),
            Self::Pool(id) => id.fmt(f),
            Self::Quarantine => f.write_str("the quarantine"),
        }
    }
}

/// Why an operation was refused. Unless the text says otherwise, nothing was changed.
///
/// [`Error::errno`] gives the number that a C interface answers; the table of both is in the crate's
/// documentation.
#[derive(Clone, Copy, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The region is gone, or never was.
    #[error("{0} does not exist")]
    UnknownRegion(RegionId),
    /// The reservation is gone, or never was.
    #[error("{0} does not exist")]
    UnknownReservation(ReservationId),
    /// The bound is gone, or never was.
    #[error("{0} does not exist")]
    UnknownBound(BoundId),
    /// The allocation is gone, or never was.
    #[error("{0} does not exist")]
    UnknownAllocation(AllocationId),
    /// The device is gone, or never was.
    #[error("{0} does not exist")]
    UnknownDevice(DeviceId),
    /// The association is gone, or never was.
    #[error("{0} does not exist")]
    UnknownAssociation(AssociationId),
    /// The memory target is gone, or never was.
    #[error("{0} does not exist")]
    UnknownTarget(TargetId),
    /// The pool is gone, or never was.
    #[error("{0} does not exist")]
    UnknownPool(PoolId),

    /// A length of zero, or one that passes the end of the address space or holds no whole page.
    #[error(
        "a length of {len} bytes at {start:#x} holds no whole page of {page} bytes, or passes the end of the space"
    )]
    BadLength {
        /// Where the range would start.
        start: u64,
        /// The length asked for, in bytes.
        len: u128,
        /// The smallest page, in bytes.
        page: u64,
    },
    /// An address or an alignment that does not fit the smallest page or is no power of two.
    #[error("{value:#x} is not aligned to {unit:#x}, or no power of two")]
    BadAlignment {
        /// What was asked for.
        value: u64,
        /// The unit that it has to be a multiple of.
        unit: u64,
    },
    /// A range outside the region or bound that it was asked of.
    #[error("{asked} is not inside {window} of {region}")]
    OutsideRegion {
        /// The region.
        region: RegionId,
        /// Its addresses, or the bound's.
        window: Span,
        /// What was asked for.
        asked: Span,
    },
    /// No gap is long enough.
    #[error("{region} has no gap for {len} bytes: {free} bytes are free, the longest gap is {largest} bytes")]
    NoSpace {
        /// The region.
        region: RegionId,
        /// The length asked for, in bytes.
        len: u128,
        /// The longest gap, in bytes.
        largest: u128,
        /// All gaps, in bytes.
        free: u128,
    },
    /// The range is taken.
    #[error("{asked} of {region} is held by {holder}")]
    Occupied {
        /// The region.
        region: RegionId,
        /// What was asked for.
        asked: Span,
        /// Who has (part of) it.
        holder: Holder,
    },
    /// The region cannot be freed: things still hang on it.
    #[error(
        "{region} is in use: {reservations} reservations, {bounds} bounds, {associations} associations, \
         {quarantined} ranges in quarantine"
    )]
    RegionInUse {
        /// The region.
        region: RegionId,
        /// How many reservations.
        reservations: usize,
        /// How many bounds.
        bounds: usize,
        /// How many associations, active or not.
        associations: usize,
        /// How many teardowns that the hardware has not completed.
        quarantined: usize,
    },
    /// The bound cannot be freed: it is reserved from.
    #[error("{bound} is in use: {reservations} reservations")]
    BoundInUse {
        /// The bound.
        bound: BoundId,
        /// How many reservations.
        reservations: usize,
    },

    /// The reservation is backed already (or still).
    #[error("{reservation} is backed by {allocation}")]
    Backed {
        /// The reservation.
        reservation: ReservationId,
        /// What backs it.
        allocation: AllocationId,
    },
    /// The reservation is not backed.
    #[error("{0} is not backed")]
    NotBacked(ReservationId),
    /// A one-to-one reservation has no address until it is backed.
    #[error("{0} has no address until it is backed: its device emits physical addresses")]
    NoAddressYet(ReservationId),
    /// The lengths of a reservation and of what is to back it do not agree.
    #[error(
        "{reservation} is {reserved} bytes long, {allocation} offers {offered} from offset {offset:#x} on"
    )]
    LengthMismatch {
        /// The reservation.
        reservation: ReservationId,
        /// Its length, in bytes.
        reserved: u128,
        /// The allocation.
        allocation: AllocationId,
        /// What it has from `offset` on, in bytes.
        offered: u64,
        /// The offset asked for, in bytes.
        offset: u64,
    },
    /// The allocation cannot be freed: reservations map it.
    #[error("{allocation} is mapped by {count} reservations, {first} among them")]
    Mapped {
        /// The allocation.
        allocation: AllocationId,
        /// One of its mappers; [`Graph::mappers`](crate::Graph::mappers) names all.
        first: ReservationId,
        /// How many there are.
        count: usize,
    },
    /// Another mapping of the same memory has another memory type, cache policy or shareability. Such aliases
    /// corrupt data silently; they are refused.
    #[error("{reservation} would map {allocation} as [{wanted}], but {with} maps it as [{held}]")]
    Conflict {
        /// The reservation that was to be backed.
        reservation: ReservationId,
        /// The memory.
        allocation: AllocationId,
        /// What it asked for.
        wanted: Attributes,
        /// The mapper that it conflicts with.
        with: ReservationId,
        /// That mapper's attributes.
        held: Attributes,
    },
    /// Memory that was allocated as coherent would be cached by a mapper without anybody keeping it coherent.
    #[error("{allocation} is coherent, but {reservation} would map it as [{wanted}]")]
    NotCoherent {
        /// The reservation that was to be backed.
        reservation: ReservationId,
        /// The memory.
        allocation: AllocationId,
        /// What it asked for.
        wanted: Attributes,
    },
    /// A one-to-one reservation needs memory in one piece.
    #[error("{allocation} is in pieces, and {reservation} is of a one-to-one region: allocate it contiguous")]
    NotContiguous {
        /// The reservation.
        reservation: ReservationId,
        /// The memory.
        allocation: AllocationId,
    },
    /// A one-to-one reservation was made at an address where the memory is not.
    #[error(
        "{reservation} is at {reserved:#x}, but the memory that is to back it is at {memory}, one-to-one"
    )]
    AddressMismatch {
        /// The reservation.
        reservation: ReservationId,
        /// Where it is.
        reserved: u64,
        /// Where the memory is.
        memory: PhysicalAddress,
    },

    /// The region and the device are of different kinds.
    #[error("{region} is {region_kind}, {device} is {device_kind}")]
    KindMismatch {
        /// The region.
        region: RegionId,
        /// Its kind.
        region_kind: RegionKind,
        /// The device.
        device: DeviceId,
        /// The kind of regions that it takes.
        device_kind: RegionKind,
    },
    /// The region and the device are associated already, in some part.
    #[error("{region} and {device} are associated already, by {association}")]
    AlreadyAssociated {
        /// The region.
        region: RegionId,
        /// The device.
        device: DeviceId,
        /// The association.
        association: AssociationId,
    },
    /// The device cannot translate all addresses of the region in the part asked for.
    #[error("{region} covers {window}, but {device} translates only {translates} ({part})")]
    NotTranslatable {
        /// The region.
        region: RegionId,
        /// Its addresses.
        window: Span,
        /// The device.
        device: DeviceId,
        /// What the device translates in that part.
        translates: Span,
        /// The part.
        part: Part,
    },
    /// A reservation lies in a window that the device must never be given.
    #[error("{reservation} lies in {window}, which {device} must never be given")]
    InReservedWindow {
        /// The reservation.
        reservation: ReservationId,
        /// The device.
        device: DeviceId,
        /// The window.
        window: Span,
    },
    /// The association has to be inactive for this.
    #[error("{association} of {region} with {device} is active")]
    Active {
        /// The association.
        association: AssociationId,
        /// Its region.
        region: RegionId,
        /// Its device.
        device: DeviceId,
    },
    /// The device is held by another region.
    #[error("{device} is held by {holder} ({part}), through {association}")]
    DeviceBusy {
        /// The device.
        device: DeviceId,
        /// The region that has it.
        holder: RegionId,
        /// The part that it has.
        part: Part,
        /// The association that is active (or in quarantine).
        association: AssociationId,
    },
    /// The device cannot be removed: it is associated.
    #[error("{device} is in use by {association}")]
    DeviceInUse {
        /// The device.
        device: DeviceId,
        /// One of its associations.
        association: AssociationId,
    },

    /// The target's pools do not have as much memory as asked for, in the blocks allowed.
    #[error("{target} cannot give {}: {} are free, the largest block has {}", Bytes(*.len), Bytes(*.free), Bytes(*.largest))]
    NoMemory {
        /// The target.
        target: TargetId,
        /// The length asked for, in bytes.
        len: u64,
        /// What its pools have free, in bytes.
        free: u64,
        /// Their largest free block, in bytes.
        largest: u64,
    },
    /// Blocks of the sizes allowed cannot add up to the length, or the sizes are none that pools have.
    #[error("{} cannot be made of the blocks that are allowed, [{sizes}]", Bytes(*.len))]
    BadBlocks {
        /// The length asked for, in bytes.
        len: u64,
        /// The sizes that were allowed.
        sizes: crate::PageSizes,
    },
    /// The blocks of a fixed policy are more than the memory holds.
    #[error("the blocks of the policy, {wanted} bytes, do not fit into {memory}")]
    PolicyTooLarge {
        /// The pool's memory.
        memory: Span,
        /// What the blocks and the contiguous range take, in bytes.
        wanted: u128,
    },
    /// The physical range belongs to a pool or to another allocation already.
    #[error("the physical range {asked} is held by {holder}")]
    MemoryHeld {
        /// The range.
        asked: Span,
        /// Who has (part of) it.
        holder: Holder,
    },
    /// The pool cannot be removed: targets or allocations use it.
    #[error("{pool} is in use: {targets} targets, {} allocated", Bytes(*.allocated))]
    PoolInUse {
        /// The pool.
        pool: PoolId,
        /// How many targets name it.
        targets: usize,
        /// Bytes allocated from it.
        allocated: u64,
    },

    /// The hardware could not do it. Nothing was changed.
    #[error("{doing} failed at {error}")]
    Hardware {
        /// What was being done.
        doing: &'static str,
        /// What the hardware layer said.
        error: HardwareError,
    },
    /// The hardware failed half-way. What is named is in quarantine until the reaper succeeds.
    #[error("{doing} stopped half-way, {what} is in quarantine: {error}")]
    Quarantined {
        /// What was being done.
        doing: &'static str,
        /// The reservation whose range, or the association whose device, is in quarantine.
        what: Holder,
        /// What the hardware layer said.
        error: HardwareError,
    },
    /// There is no memory for the graph's own bookkeeping.
    #[error("{0}")]
    OutOfMemory(OutOfMemory),
}

impl From<OutOfMemory> for Error {
    fn from(error: OutOfMemory) -> Self {
        Self::OutOfMemory(error)
    }
}

/// Error numbers of Linux, `include/uapi/asm-generic/errno-base.h` and `errno.h`.
pub mod errno {
    /// No such object.
    pub const ENOENT: i32 = 2;
    /// The hardware failed.
    pub const EIO: i32 = 5;
    /// Out of memory.
    pub const ENOMEM: i32 = 12;
    /// Somebody holds it.
    pub const EBUSY: i32 = 16;
    /// It is there already.
    pub const EEXIST: i32 = 17;
    /// The machine has no such device.
    pub const ENODEV: i32 = 19;
    /// A bad argument.
    pub const EINVAL: i32 = 22;
    /// No room in the address space, or no free hardware slot.
    pub const ENOSPC: i32 = 28;
    /// A number out of range.
    pub const ERANGE: i32 = 34;
    /// The hardware has no such function.
    pub const EOPNOTSUPP: i32 = 95;
}

impl Error {
    /// The error number that a C interface answers.
    pub const fn errno(&self) -> i32 {
        match self {
            Self::UnknownRegion(_)
            | Self::UnknownReservation(_)
            | Self::UnknownBound(_)
            | Self::UnknownAllocation(_)
            | Self::UnknownDevice(_)
            | Self::UnknownAssociation(_)
            | Self::UnknownTarget(_)
            | Self::UnknownPool(_)
            | Self::NotBacked(_)
            | Self::NoAddressYet(_)
            | Self::BadLength { .. }
            | Self::BadAlignment { .. }
            | Self::LengthMismatch { .. }
            | Self::NotCoherent { .. }
            | Self::NotContiguous { .. }
            | Self::AddressMismatch { .. }
            | Self::KindMismatch { .. }
            | Self::BadBlocks { .. }
            | Self::PolicyTooLarge { .. } => errno::EINVAL,
            Self::OutsideRegion { .. } | Self::NotTranslatable { .. } => errno::ERANGE,
            Self::NoSpace { .. } => errno::ENOSPC,
            Self::Occupied { .. }
            | Self::RegionInUse { .. }
            | Self::BoundInUse { .. }
            | Self::Backed { .. }
            | Self::Mapped { .. }
            | Self::Conflict { .. }
            | Self::InReservedWindow { .. }
            | Self::Active { .. }
            | Self::DeviceBusy { .. }
            | Self::DeviceInUse { .. }
            | Self::MemoryHeld { .. }
            | Self::PoolInUse { .. } => errno::EBUSY,
            Self::AlreadyAssociated { .. } => errno::EEXIST,
            Self::NoMemory { .. } | Self::OutOfMemory(_) => errno::ENOMEM,
            Self::Hardware { error, .. } => hardware_errno(error.kind),
            Self::Quarantined { .. } => errno::EIO,
        }
    }
}

const fn hardware_errno(kind: HardwareErrorKind) -> i32 {
    match kind {
        HardwareErrorKind::OutOfMemory => errno::ENOMEM,
        HardwareErrorKind::NoFreeSlot => errno::ENOSPC,
        HardwareErrorKind::NotSupported => errno::EOPNOTSUPP,
        HardwareErrorKind::Unresponsive | HardwareErrorKind::HalfDone => errno::EIO,
        HardwareErrorKind::Address => errno::ERANGE,
        HardwareErrorKind::Attributes | HardwareErrorKind::MixedSecurity => errno::EINVAL,
        HardwareErrorKind::Occupied => errno::EEXIST,
        HardwareErrorKind::Unknown => errno::ENODEV,
    }
}
