//! Type 1 containers: an address space for the devices of one or several IOMMU groups.

use super::call;
use super::chain::{Answer, ask};
use super::group::{Group, Kind};
use super::node::{interrupts_not_isolated, open_node};
use super::probe::in_the_way;
use super::sysfs::Tree;
use crate::Error;
use crate::dma::{DmaSpace, piece_by_piece};
use crate::ioctl::with_structure;
use crate::iommufd::Accounting;
use crate::iommufd::locked::LockedMemory;
use crate::memory::{MemoryPiece, MemoryRange, Stitched};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::mem::offset_of;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vcm::{Access, Iova, PageSizes, SIZE_2M, Span};
use vfio_bindings::bindings::vfio::{
    VFIO_API_VERSION, VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE, VFIO_DMA_UNMAP_FLAG_ALL,
    VFIO_IOMMU_INFO_CAPS, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
    VFIO_TYPE1v2_IOMMU, VFIO_UNMAP_ALL, vfio_iommu_type1_dma_map, vfio_iommu_type1_dma_unmap,
    vfio_iommu_type1_info, vfio_iommu_type1_info_cap_iova_range, vfio_iommu_type1_info_dma_avail,
    vfio_iova_range,
};

/// A container of VFIO with an IOMMU of type 1, version 2.
///
/// It becomes an address space when the first device [joins](super::Device::open) with its group, and what is usable then
/// shrinks with each other group. The kernel forgets all mappings when the last group leaves; that is why groups stay when
/// their devices are closed, until [`Self::close_unused_groups`], or until their last device is taken away by the kernel.
#[derive(Debug)]
pub struct Container {
    pub(super) descriptor: OwnedFd,
    tree: Tree,
    groups: Mutex<BTreeMap<u32, Arc<Group>>>,
    /// What the kernel knows by addresses that are nobody else's, by the address that it is mapped at.
    stitched: BTreeMap<u64, Arc<Stitched>>,
}

pub(super) const OBJECT: &str = "container";
/// Pieces of so many bytes each are no danger to the limit of mappings: 128 GiB of them meet the usual one, which is 65,535.
const LARGE_PIECE: u64 = SIZE_2M;

impl Container {
    /// A container without groups.
    ///
    /// # Errors
    /// The kernel's; [`Error::NotSupported`] when it has another interface or no IOMMU of this type.
    pub fn new() -> Result<Self, Error> {
        let container = Self::open(&Tree::default())?;
        // SAFETY: it takes nothing.
        if container.number(call::GET_API_VERSION, 0)? != VFIO_API_VERSION as i32 {
            return Err(Error::not_supported(
                "a container",
                "the kernel has another version of VFIO's interface",
            ));
        }
        if container.number(call::CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU as usize)? == 0 {
            return Err(Error::not_supported(
                "a container",
                "the kernel has no IOMMU of type 1: modprobe vfio_iommu_type1",
            ));
        }
        Ok(container)
    }

    /// One whose interface is yet to be checked: without an IOMMU there is none of type 1.
    pub(super) fn open(tree: &Tree) -> Result<Self, Error> {
        let descriptor = open_node(&tree.node("vfio/vfio"))?;
        Ok(Self { descriptor, tree: tree.clone(), groups: Mutex::default(), stitched: BTreeMap::new() })
    }

    /// One of the calls that take a number and change nothing but this container.
    #[allow(unsafe_code, reason = "an ioctl")]
    pub(super) fn number(&self, call: call::Call, number: usize) -> Result<i32, Error> {
        // SAFETY: GET_API_VERSION, CHECK_EXTENSION and SET_IOMMU are called by this, which take a number.
        unsafe { call.with_number(&self.descriptor, OBJECT, number) }
    }

    fn groups(&self) -> MutexGuard<'_, BTreeMap<u32, Arc<Group>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The group `number`, a member of this container from now on.
    pub(super) fn group(&self, number: u32) -> Result<Arc<Group>, Error> {
        let mut groups = self.groups();
        // The kernel itself takes a group out when the last of its devices goes.
        groups.retain(|_, group| group.is_alive());
        if let Some(group) = groups.get(&number) {
            return Ok(Arc::clone(group));
        }
        let group = Group::open(&self.tree, number, Kind::Real)?;
        let explain = |error: Error| match error.errno() {
            Errno::PERM => {
                let members = self.tree.members(number);
                let others: Vec<_> = members.into_iter().filter(|member| member.is_in_the_way()).collect();
                error.with_help(if others.is_empty() {
                    interrupts_not_isolated("vfio_iommu_type1")
                } else {
                    in_the_way(number, &others)
                })
            }
            _ => error,
        };
        group.join(self.descriptor.as_fd()).map_err(explain)?;
        if groups.is_empty() {
            // When this fails the group is dropped, and leaves.
            self.number(call::SET_IOMMU, VFIO_TYPE1v2_IOMMU as usize).map_err(explain)?;
        }
        let group = Arc::new(group);
        groups.insert(number, Arc::clone(&group));
        Ok(group)
    }

    /// The numbers of the groups that have joined.
    pub fn group_numbers(&self) -> Vec<u32> {
        self.groups().values().map(|group| group.number()).collect()
    }

    /// Lets the groups go that have no open device, for others to use. Answers how many. When none stays, all mappings
    /// are gone.
    pub fn close_unused_groups(&self) -> usize {
        let mut groups = self.groups();
        let before = groups.len();
        groups.retain(|_, group| Arc::strong_count(group) > 1);
        before - groups.len()
    }

    pub(super) fn check_in_use(&self, what: &str) -> Result<(), Error> {
        if self.groups().is_empty() {
            return Err(Error::argument(format!("{what} of a container"), "no device has joined it yet"));
        }
        Ok(())
    }

    /// What the kernel tells about it.
    #[allow(unsafe_code, reason = "an ioctl")]
    pub(super) fn information(&self) -> Result<Answer, Error> {
        self.check_in_use(call::IOMMU_GET_INFO.name)?;
        // SAFETY: its structure begins with its size, and the kernel fills in the rest.
        unsafe { ask(call::IOMMU_GET_INFO, &self.descriptor, OBJECT, &[]) }
    }

    pub(super) fn first_capability(answer: &Answer) -> Result<u32, Error> {
        if answer.head(offset_of!(vfio_iommu_type1_info, flags))? & VFIO_IOMMU_INFO_CAPS == 0 {
            return Ok(0);
        }
        answer.head(offset_of!(vfio_iommu_type1_info, cap_offset))
    }

    fn try_mappings_left(&self) -> Result<Option<u64>, Error> {
        let answer = self.information()?;
        let capabilities = answer.capabilities(Self::first_capability(&answer)?)?;
        let available =
            capabilities.iter().find(|found| u32::from(found.id) == VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL);
        Ok(available
            .and_then(|found| found.u32_at(offset_of!(vfio_iommu_type1_info_dma_avail, avail)))
            .map(u64::from))
    }

    /// What the kernel means by EINVAL, if that can be found out. Asked afterwards only: to look before each call would make
    /// each two.
    fn why_invalid(&self, what: &str, span: Span) -> Result<(), Error> {
        self.check_in_use(what)?;
        let page = self.page_sizes()?.smallest();
        if span.is_aligned(page) {
            return Ok(());
        }
        Err(Error::argument(format!("{what} of {span:?}"), format!("the pages have {page:#x} bytes")))
    }

    /// Unmaps everything.
    ///
    /// # Errors
    /// The kernel's.
    pub fn unmap_all(&mut self) -> Result<(), Error> {
        self.check_in_use(call::IOMMU_UNMAP_DMA.name)?;
        if self.number(call::CHECK_EXTENSION, VFIO_UNMAP_ALL as usize)? == 0 {
            // Before Linux 5.12. The last page of the addresses is beyond any IOMMU.
            self.unmap_span(0, u64::MAX - 0xfff, 0)?;
        } else {
            self.unmap_span(0, 0, VFIO_DMA_UNMAP_FLAG_ALL)?;
        }
        self.stitched.clear();
        Ok(())
    }

    #[allow(unsafe_code, reason = "an ioctl")]
    fn unmap_span(&self, iova: u64, size: u64, flags: u32) -> Result<(), Error> {
        let mut unmap = vfio_iommu_type1_dma_unmap {
            argsz: size_of::<vfio_iommu_type1_dma_unmap>() as u32,
            flags,
            iova,
            size,
            ..Default::default()
        };
        let call = call::IOMMU_UNMAP_DMA;
        // SAFETY: the call's structure, with its size. What is unmapped becomes unreachable for devices, no more.
        match unsafe { with_structure(&self.descriptor, call.opcode, &mut unmap) } {
            Ok(_) => Ok(()),
            Err(errno) => {
                if let Some(span) = Span::new(iova, size).filter(|_| errno == Errno::INVAL) {
                    self.why_invalid(call.name, span)?;
                }
                let error = call.failed(&format!("{size:#x} bytes from {iova:#x} on"), errno);
                Err(match errno {
                    Errno::INVAL => error.with_help("a mapping is unmapped whole, as it was made"),
                    _ => error,
                })
            }
        }
    }

    /// Maps all of `memory` at `at`: one mapping, however scattered it is. It is held until it is unmapped here.
    ///
    /// # Errors
    /// As [`DmaSpace::map`].
    pub fn map_stitched(&mut self, at: Iova, memory: Arc<Stitched>, access: Access) -> Result<(), Error> {
        self.map_address(at, memory.address(), memory.len(), access)?;
        self.stitched.insert(at.raw(), memory);
        Ok(())
    }

    /// `address` is that of a memory's bytes, mapped in this process.
    #[allow(unsafe_code, reason = "an ioctl that is given an address")]
    fn map_address(&self, at: Iova, address: NonNull<u8>, len: u64, access: Access) -> Result<(), Error> {
        let object = || format!("{len:#x} bytes at {:#x}", at.raw());
        let span = Span::new(at.raw(), len)
            .ok_or_else(|| Error::argument(object(), "that passes the end of the addresses"))?;
        let mut flags = 0;
        for (allowed, flag) in
            [(Access::READ, VFIO_DMA_MAP_FLAG_READ), (Access::WRITE, VFIO_DMA_MAP_FLAG_WRITE)]
        {
            flags |= if access.contains(allowed) { flag } else { 0 };
        }
        if flags == 0 {
            return Err(Error::argument(object(), "a mapping that is neither read nor written"));
        }
        if access.contains(Access::EXECUTE) {
            return Err(Error::not_supported("a mapping to execute from", "VFIO has no such thing"));
        }
        let mut map = vfio_iommu_type1_dma_map {
            argsz: size_of::<vfio_iommu_type1_dma_map>() as u32,
            flags,
            vaddr: address.as_ptr().expose_provenance() as u64,
            iova: at.raw(),
            size: len,
        };
        let call = call::IOMMU_MAP_DMA;
        // SAFETY: the call's structure, with its size. The bytes are mapped in this process as long as whoever calls borrows
        // or holds them, and the kernel pins the pages behind them, which are a file's: no memory of Rust's own.
        match unsafe { with_structure(&self.descriptor, call.opcode, &mut map) } {
            Ok(_) => Ok(()),
            Err(errno) => {
                if errno == Errno::INVAL {
                    self.why_invalid(call.name, span)?;
                }
                Err(self.explain(call.failed(&object(), errno), len))
            }
        }
    }

    fn forget_stitched(&mut self, span: Span) {
        while let Some((&at, _)) = self.stitched.range(span.first()..=span.last()).next() {
            self.stitched.remove(&at);
        }
    }

    /// Says more about why a mapping was not made.
    fn explain(&self, error: Error, len: u64) -> Error {
        match error.errno() {
            Errno::NOSPC => {
                let left = self.mappings_left().unwrap_or(0);
                error.with_help(format!(
                    "{left} mappings are left: map longer stretches, or raise the limit at boot: \
                     vfio_iommu_type1.dma_entry_limit=N"
                ))
            }
            Errno::NOMEM => locked_memory(len).unwrap_or(error),
            Errno::EXIST => error.with_help("something is mapped there"),
            Errno::INVAL => error.with_help("is that outside of the usable addresses?"),
            _ => error,
        }
    }
}

/// The error that says what limit was met, if the limit of locked memory was. Type 1 counts what it pins as locked by this
/// process.
fn locked_memory(needed: u64) -> Option<Error> {
    LockedMemory::now(Accounting::Process).ok()?.allows(needed).err()
}

impl AsFd for Container {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl DmaSpace for Container {
    fn name(&self) -> String {
        OBJECT.into()
    }

    fn usable(&self) -> Result<Vec<Span>, Error> {
        let answer = self.information()?;
        let capabilities = answer.capabilities(Self::first_capability(&answer)?)?;
        let ranges = capabilities
            .iter()
            .find(|found| u32::from(found.id) == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE)
            .ok_or_else(|| {
                Error::not_supported(
                    "the usable addresses of a container",
                    "the kernel does not tell them before 5.4",
                )
            })?;
        let garbage = || answer.garbage("ranges of addresses that are none");
        let count =
            ranges.u32_at(offset_of!(vfio_iommu_type1_info_cap_iova_range, nr_iovas)).ok_or_else(garbage)?;
        let first = offset_of!(vfio_iommu_type1_info_cap_iova_range, iova_ranges);
        (0..count as usize)
            .map(|index| {
                let at = first + index * size_of::<vfio_iova_range>();
                let start = ranges.u64_at(at + offset_of!(vfio_iova_range, start))?;
                let end = ranges.u64_at(at + offset_of!(vfio_iova_range, end))?;
                Span::inclusive(start, end)
            })
            .collect::<Option<Vec<_>>>()
            .ok_or_else(garbage)
    }

    fn page_sizes(&self) -> Result<PageSizes, Error> {
        let answer = self.information()?;
        let mask = answer.head64(offset_of!(vfio_iommu_type1_info, iova_pgsizes))?;
        PageSizes::from_mask(mask).ok_or_else(|| answer.garbage("no page size at all"))
    }

    fn mappings_left(&self) -> Option<u64> {
        self.try_mappings_left().ok().flatten()
    }

    fn map(&mut self, at: Iova, memory: MemoryRange<'_>, access: Access) -> Result<(), Error> {
        self.map_address(at, memory.address(), memory.len(), access)
    }

    /// One mapping for small pieces, where they can be mapped side by side in this process (parts of huge pages cannot): there is a
    /// limit to mappings. Large pieces are mapped one by one, unless they meet the limit: the kernel finds their pages several
    /// times faster at the addresses that the file has been used by than at new ones, where it takes a fault for each page.
    fn map_all(&mut self, at: Iova, pieces: &[MemoryPiece], access: Access) -> Result<(), Error> {
        let stitch = || Stitched::new(pieces.to_vec()).map(Arc::new);
        let len = pieces.iter().fold(0_u64, |len, piece| len.saturating_add(piece.len()));
        let is_fine = pieces.len() > 1 && len / (pieces.len() as u64) < LARGE_PIECE;
        if is_fine && let Ok(stitched) = stitch() {
            return self.map_stitched(at, stitched, access);
        }
        match piece_by_piece(self, at, pieces, access) {
            Err(error) if !is_fine && pieces.len() > 1 && error.errno() == Errno::NOSPC => match stitch() {
                Ok(stitched) => self.map_stitched(at, stitched, access),
                Err(_) => Err(error),
            },
            done => done,
        }
    }

    fn unmap(&mut self, span: Span) -> Result<(), Error> {
        let Ok(len) = u64::try_from(span.len()) else {
            return self.unmap_all();
        };
        self.unmap_span(span.first(), len, 0)?;
        self.forget_stitched(span);
        Ok(())
    }
}
