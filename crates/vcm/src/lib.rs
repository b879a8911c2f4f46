//! One mapping graph for every bus master of a machine.
//!
//! Devices behind IOMMUs, devices without one, CPUs with MMUs, virtual machines and remote processors all share
//! the same physical memory. This crate keeps the graph of who maps what, where and with which attributes, and
//! tells the hardware (through the [`Hardware`] trait) what to do about it.
//!
//! ```
//! use vcm::pool::Policy;
//! use vcm::{AllocationRequest, Attributes, DeviceHandle, DeviceRequest, Graph, Part, RegionAddress, RegionKind};
//! use vcm::{PhysicalAddress, RegionRequest, SIZE_2M, SIZE_4K, Span, Teardown, Untranslated};
//!
//! # fn main() -> Result<(), vcm::Error> {
//! // A machine with 64 MiB of memory and a display controller that has no IOMMU.
//! let mut hardware = Untranslated;
//! let mut graph = Graph::new();
//! let memory = Span::new(0x3800_0000, 64 << 20).expect("a span");
//! let pool = graph.add_pool("smi", memory, Policy::Splitting)?;
//! let target = graph.add_target("fast", &[pool])?;
//! let display = graph.add_device(&DeviceRequest {
//!     label: "display".into(),
//!     handle: DeviceHandle(0),
//!     kind: RegionKind::OneToOne,
//!     reserved: &[],
//! })?;
//!
//! // Its address space, as a region of the graph.
//! let region = graph.create_region(&RegionRequest::new("display", RegionKind::OneToOne, memory))?;
//! let association = graph.associate(region, display, Part::Whole, &mut hardware)?;
//! graph.activate(association, &mut hardware)?;
//!
//! // A buffer of 2 MiB + 4 KiB in one piece, and a reservation that it backs.
//! let request = AllocationRequest::new("frame", SIZE_2M + SIZE_4K).contiguous();
//! let frame = graph.allocate(target, &request, &mut hardware)?;
//! let reservation = graph.reserve(region, SIZE_2M + SIZE_4K, Attributes::READ_WRITE)?;
//! graph.back(reservation, frame, &mut hardware)?;
//! let RegionAddress::Physical(address) = graph.device_address(reservation)? else { unreachable!() };
//! assert_eq!(graph.who_maps(address).count(), 1);
//!
//! // Memory that somebody maps is not freed under them.
//! assert!(graph.free(frame, &mut hardware).is_err());
//! assert_eq!(graph.unback(reservation, &mut hardware), Teardown::Done);
//! graph.free(frame, &mut hardware)?;
//! assert_eq!(graph.who_maps(address).count(), 0);
//! # Ok(())
//! # }
//! ```
//!
//! # Principles
//! 1. **Pure.** Data structures with `&mut self`: no lock, no I/O, no unsafe code, no panic on any input. All growth
//!    goes through one module ([`List`], [`Arena`]) and can fail: out of memory is an error, never an abort.
//! 2. **Plan, commit, receipt.** An operation first checks everything and reserves what it needs
//!    ([`Graph::plan_back`]); dropping the plan leaves no trace. Committing talks to the hardware. An operation is
//!    done whole or not at all; where the hardware itself fails half-way, the range is in quarantine, and the
//!    error says so.
//! 3. **Nothing is freed on hope.** Unmapping ends in a [`Quiesced`] receipt, the proof that invalidation has
//!    completed. Only with it does memory go back to its pool, or an address become reusable.
//! 4. **Teardown cannot fail.** [`Graph::unback`] and [`Graph::deactivate`] answer with a [`Teardown`], not with a
//!    `Result`. What the hardware does not finish is in quarantine: counted, shown, and brought back by
//!    [`Graph::reap`].
//! 5. **Every mapper is known.** An allocation knows who maps it, where and with which attributes. A mapping whose
//!    memory type, cache policy or shareability conflicts with another's is refused, and the error names that one.
//! 6. **Large pages by construction.** Pools give the largest blocks that fit, reservations are aligned for the
//!    largest page that fits, and mapping chooses the page for each stretch from both addresses and the length.
//!
//! # From the original names
//! The concepts are those of the Virtual Contiguous Memory Manager (Zach Pfeffer, 2010).
//!
//! | original | here |
//! |---|---|
//! | `vcm_create` | [`Graph::create_region`]; the kind is said, not guessed from the address |
//! | `vcm_create_from_prebuilt` | [`Graph::create_prebuilt_region`] |
//! | `vcm_clone` | [`Graph::clone_region`] |
//! | `vcm_get_start_addr`, `vcm_get_len`, `vcm_get_min_page_size` | [`Graph::region`]: [`RegionInfo`] |
//! | `vcm_free` | [`Graph::free_region`] |
//! | `vcm_reserve`, `vcm_reserve_at` | [`Graph::reserve`], [`Graph::reserve_with`], [`Graph::reserve_at`] |
//! | `vcm_unreserve` | [`Graph::unreserve`] |
//! | `vcm_get_vcm_from_res` | [`ReservationId::region`] |
//! | `vcm_set_res_attr`, `vcm_get_res_attr` | [`Graph::set_reservation_attributes`], [`Graph::reservation_attributes`] |
//! | `vcm_get_num_res`, `vcm_get_next_res`, `vcm_res_copy` | [`Graph::reservations`], [`Graph::reservation`] |
//! | `vcm_create_bound`, `vcm_free_bound`, `vcm_reserve_from_bound`, `vcm_get_bound_start_addr` | [`Graph::create_bound`], [`Graph::free_bound`], [`Graph::reserve_from_bound`], [`Graph::bound_span`] |
//! | `vcm_phys_alloc`, `vcm_phys_free` | [`Graph::allocate`], [`Graph::free`] |
//! | `vcm_get_physmem_from_res`, `vcm_get_memtype_of_physalloc` | [`Graph::allocation_behind`], [`Graph::allocation`] |
//! | `vcm_back`, `vcm_unback` | [`Graph::back`], [`Graph::back_at_offset`], [`Graph::unback`] |
//! | `vcm_map_phys_addr`, `vcm_get_next_phys_addr` | [`Graph::wrap_physical`], [`AllocationInfo::blocks`] |
//! | `vcm_assoc`, `vcm_deassoc` | [`Graph::associate`], [`Graph::deassociate`] |
//! | `vcm_set_assoc_attr`, `vcm_get_assoc_attr` | [`Graph::set_association_part`], [`Graph::association_part`] |
//! | `vcm_activate`, `vcm_deactivate`, `vcm_is_active` | [`Graph::activate`], [`Graph::deactivate`], [`Graph::is_active`] |
//! | `vcm_get_dev_addr` | [`Graph::device_address`] |
//! | `vcm_get_res` | [`Graph::reservation_at`] |
//! | `vcm_translate` | [`Graph::address_in`] |
//! | `vcm_get_phys_num_res`, `vcm_get_next_phys_res` | [`Graph::mappers`], [`Graph::who_maps`] |
//! | `vcm_get_pgtbl_pa` | [`Graph::table_root`] |
//! | `vcm_get_cont_memtype_pa`, `vcm_get_cont_memtype_len` | [`Graph::pools`]: [`PoolInfo::memory`] |
//! | `vcm_dev_addr_to_phys_addr` | [`Graph::translate`]: the graph's word, the tables' and the hardware's |
//! | `vcm_hook` | [`Graph::hook`], [`Graph::unhook`]; the answer is an [`Answer`], not a number |
//! | memory types 0 to 3 | [`Graph::add_target`] |
//! | `VCM_USE_LOW_BASE`, `VCM_USE_HIGH_BASE`, `VCM_SPLIT` | [`Part`] |
//!
//! # Errors and their numbers
//! [`Error::errno`] gives the number that a C interface answers.
//!
//! | errno | errors |
//! |---|---|
//! | `EINVAL` | [`Error::UnknownRegion`] and its like, [`Error::NotBacked`], [`Error::NoAddressYet`], [`Error::BadLength`], [`Error::BadAlignment`], [`Error::LengthMismatch`], [`Error::NotCoherent`], [`Error::NotContiguous`], [`Error::AddressMismatch`], [`Error::KindMismatch`], [`Error::BadBlocks`], [`Error::PolicyTooLarge`]; attributes the hardware cannot express |
//! | `EBUSY` | [`Error::Occupied`], [`Error::RegionInUse`], [`Error::BoundInUse`], [`Error::Backed`], [`Error::Mapped`], [`Error::Conflict`], [`Error::InReservedWindow`], [`Error::Active`], [`Error::DeviceBusy`], [`Error::DeviceInUse`], [`Error::MemoryHeld`], [`Error::PoolInUse`] |
//! | `EEXIST` | [`Error::AlreadyAssociated`]; something mapped in the hardware that the graph does not know of |
//! | `ERANGE` | [`Error::OutsideRegion`], [`Error::NotTranslatable`]; an address that the hardware cannot translate |
//! | `ENOSPC` | [`Error::NoSpace`]; no free hardware context |
//! | `ENOMEM` | [`Error::NoMemory`], [`Error::OutOfMemory`]; no memory for page tables |
//! | `EIO` | [`Error::Quarantined`]; hardware that does not answer |
//! | `EOPNOTSUPP` | hardware that has no such function |
//! | `ENODEV` | a device or space that the machine does not know |
//! | `ENOENT` | [`Teardown::NothingThere`]: deactivating what is inactive, un-backing what is not backed |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod address;
mod allocation;
mod association;
mod attributes;
mod backing;
mod block;
mod bound;
mod clone;
mod device;
mod error;
mod fault;
mod graph;
mod hardware;
mod id;
mod kind;
mod label;
mod lookup;
mod page_sizes;
mod region;
mod reservation;
mod space;
mod span;
mod storage;
mod target;
mod teardown;
mod untranslated;
mod window;

pub mod parts;
pub mod pool;
pub mod range;

pub use address::{CpuAddress, GuestPhysicalAddress, Iova, PhysicalAddress, RegionAddress, RemoteAddress};
pub use allocation::Coherence;
pub use attributes::{Access, Attributes, CachePolicy, MemoryType, Privilege, Security, Shareability};
pub use backing::{BackPlan, Extent};
pub use block::{Segment, Segments};
pub use device::{DeviceRequest, FaultHook};
pub use error::{Error, Holder, errno};
pub use fault::{Answer, Fault, FaultAccess, FaultReason, FaultState, RETRY_LIMIT, Retries};
pub use graph::{
    AllocationInfo, AssociationInfo, AssociationState, DeviceInfo, Explained, Graph, Handled, MapperInfo,
    PoolInfo, RegionInfo, ReservationInfo, ReservationState, TargetInfo, Translation, Verdict, View,
};
pub use hardware::{
    DeviceHandle, Format, Hardware, HardwareError, HardwareErrorKind, LeafCount, Part, Quiesced, SpaceHandle,
    Unfinished,
};
pub use id::{AllocationId, AssociationId, BoundId, DeviceId, PoolId, RegionId, ReservationId, TargetId};
pub use kind::RegionKind;
pub use label::Label;
pub use page_sizes::{Bytes, PageSizes, SIZE_1G, SIZE_1M, SIZE_2M, SIZE_4K, SIZE_16M, SIZE_64K};
pub use region::{RegionRequest, ReservationAlignment, ReservationRequest};
pub use span::Span;
pub use storage::{Arena, Key, List, OutOfMemory};
pub use target::{AllocationRequest, Contiguity};
pub use teardown::{Reaped, Teardown};
pub use untranslated::Untranslated;
