//! Mapping in I/O address spaces.
//!
//! Memory is pinned when the first page table needs it: at once where something is attached, at attaching otherwise. It is
//! pinned and counted once for all copies of one mapping, and once for each mapping that was made anew
//! (drivers/iommu/iommufd/pages.c: the `iopt_pages` that areas share).
#![allow(unsafe_code, reason = "calls the kernel with structures")]

use super::window::Window;
use super::{DmaBuf, Ioas, command, locked};
use crate::Error;
use crate::memory::{MemoryRange, MemoryUse};
use iommufd_bindings as uapi;
use rustix::fd::{AsFd, AsRawFd};
use rustix::io::Errno;
use std::sync::Arc;
use vcm::{Access, Iova, Span};

/// From this many bytes on it is worth to look at the limit beforehand: the kernel takes much longer to find out.
const WORTH_CHECKING: u64 = 64 << 20;

impl Ioas {
    /// Maps `memory` at `at`, for the accesses of `access`: reading, writing or both.
    ///
    /// Address, length and the memory's offset are multiples of what [`Ioas::iova_ranges`] says.
    ///
    /// # Errors
    /// [`Error::LockedMemory`]; [`Error::Argument`] for an access that an IOMMU has no notion of; the kernel's: EEXIST when
    /// something is mapped there, EINVAL when the addresses are not usable.
    pub fn map_memory(&self, at: Iova, memory: MemoryRange<'_>, access: Access) -> Result<(), Error> {
        let span = span(at, memory.len())?;
        let flags = flags(access)?;
        self.check_pinning(memory.len())?;
        let by_file = memory.file().supports(MemoryUse::DmaByFile);
        if self.iommufd().maps_files() && by_file.is_ok() {
            let descriptor = memory.file().as_fd().as_raw_fd();
            return self.map_descriptor(span, descriptor, memory.offset(), flags);
        }
        memory.file().supports(MemoryUse::DmaByAddress)?;
        let window = Window::new(memory)?;
        let mut mapped = self.mapped_mut();
        let mut request = uapi::iommu_ioas_map {
            size: size_of::<uapi::iommu_ioas_map>() as u32,
            flags,
            ioas_id: self.id(),
            user_va: window.address(),
            length: memory.len(),
            iova: span.first(),
            ..Default::default()
        };
        // SAFETY: the addresses belong to the window, which stays until the kernel has unmapped it, and nothing of Rust's
        // lives there.
        unsafe { self.iommufd().call(command::IOAS_MAP, &mut request) }
            .map_err(|errno| self.not_mapped(command::IOAS_MAP.name, span, errno))?;
        mapped.add(span, vec![Arc::new(window)]);
        Ok(())
    }

    /// Maps a device's memory at `at`: `len` bytes of it from `offset` on. Nothing is pinned by that, and nothing counted. When
    /// its exporter takes the memory away (a reset, a disabled BAR), accesses there fail.
    ///
    /// # Errors
    /// [`Error::NotSupported`] when the kernel maps no dma-bufs, or not this one; otherwise as [`Ioas::map_memory`].
    pub fn map_dma_buf(
        &self,
        at: Iova,
        memory: DmaBuf<'_>,
        offset: u64,
        len: u64,
        access: Access,
    ) -> Result<(), Error> {
        let what = || format!("{len:#x} bytes from {offset:#x} on of a dma-buf of {:#x} bytes", memory.len());
        if offset.checked_add(len).is_none_or(|end| end > memory.len()) {
            return Err(Error::argument(what(), "it has not so much"));
        }
        let (span, flags) = (span(at, len)?, flags(access)?);
        if !self.iommufd().maps_files() {
            return Err(Error::not_supported(
                "a dma-buf in an IOAS",
                "this kernel has no IOMMU_IOAS_MAP_FILE (Linux 6.13)",
            ));
        }
        self.map_descriptor(span, memory.descriptor().as_raw_fd(), offset, flags).map_err(|error| match error
            .errno()
        {
            Errno::OPNOTSUPP | Errno::BADF | Errno::FAULT => Error::not_supported(
                what(),
                format!(
                    "iommufd takes dma-bufs of one piece that VFIO exported, where the kernel can ({error})"
                ),
            ),
            Errno::NODEV => {
                error.with_help("its device has taken the memory away: it is being reset, or its BAR is off")
            }
            _ => error,
        })
    }

    fn map_descriptor(&self, span: Span, descriptor: i32, offset: u64, flags: u32) -> Result<(), Error> {
        let mut mapped = self.mapped_mut();
        let mut request = uapi::iommu_ioas_map_file {
            size: size_of::<uapi::iommu_ioas_map_file>() as u32,
            flags,
            ioas_id: self.id(),
            fd: descriptor,
            start: offset,
            length: span.len() as u64,
            iova: span.first(),
        };
        // SAFETY: no address of this process: the kernel takes a reference to the file, and refuses what is not memory.
        unsafe { self.iommufd().call(command::IOAS_MAP_FILE, &mut request) }
            .map_err(|errno| self.not_mapped(command::IOAS_MAP_FILE.name, span, errno))?;
        mapped.add(span, Vec::new());
        Ok(())
    }

    /// Maps at `at` what `source` (this or another space of the same iommufd) has mapped at `from`, without holes. The memory is
    /// pinned once for all copies.
    ///
    /// # Errors
    /// The kernel's: ENOENT when `from` is not all mapped in `source`, EPERM when it is not writable there; otherwise as
    /// [`Ioas::map_memory`].
    pub fn copy(&self, source: &Self, from: Span, at: Iova, access: Access) -> Result<(), Error> {
        if !Arc::ptr_eq(self.iommufd(), source.iommufd()) {
            return Err(Error::argument(
                format!("a copy from {} to {}", source.name_for_people(), self.name_for_people()),
                "they are of two openings of iommufd",
            ));
        }
        let len = u64::try_from(from.len())
            .map_err(|_| Error::argument("a copy of the whole address space", "no mapping is so long"))?;
        let (span, flags) = (span(at, len)?, flags(access)?);
        self.check_pinning(len)?;
        // Nobody unmaps from the source meanwhile: what the copy needs to stay is known by the source's notes. The locks are taken
        // in the order of the spaces' numbers.
        let (source_mapped, mut mapped) = if self.is(source) {
            (None, self.mapped_mut())
        } else if source.id() < self.id() {
            let source_mapped = source.mapped();
            (Some(source_mapped), self.mapped_mut())
        } else {
            let mapped = self.mapped_mut();
            (Some(source.mapped()), mapped)
        };
        let windows = source_mapped.as_deref().unwrap_or(&mapped).windows(from);
        let mut request = uapi::iommu_ioas_copy {
            size: size_of::<uapi::iommu_ioas_copy>() as u32,
            flags,
            dst_ioas_id: self.id(),
            src_ioas_id: source.id(),
            length: len,
            dst_iova: span.first(),
            src_iova: from.first(),
        };
        // SAFETY: no address of this process. Windows that the source's mappings need stay as long as this copy.
        unsafe { self.iommufd().call(command::IOAS_COPY, &mut request) }.map_err(|errno| {
            let error = self.not_mapped(command::IOAS_COPY.name, span, errno);
            match errno {
                Errno::NOENT => {
                    error.with_help(format!("{} has not all of {from} mapped", source.name_for_people()))
                }
                _ => error,
            }
        })?;
        mapped.add(span, windows);
        Ok(())
    }

    /// Unmaps every mapping in `span`; holes are passed over. When it answers `Ok`, no device reaches the memory here any more.
    ///
    /// # Errors
    /// [`Error::Argument`] when a mapping is only partly in `span`: then nothing was unmapped. The kernel's: EBUSY when somebody
    /// else is at it; then some may be unmapped, and it can be repeated.
    pub fn unmap_span(&self, span: Span) -> Result<(), Error> {
        let mut mapped = self.mapped_mut();
        let inside = mapped.inside(span).map_err(|piece| {
            Error::argument(
                format!("unmapping {span} of {}", self.name_for_people()),
                format!("the mapping {piece} is only partly in it, and cannot be split"),
            )
        })?;
        if inside == 0 {
            return Ok(());
        }
        // All of a 64-bit space has no length that fits; the kernel takes 0 and the largest number for it.
        let (first, length) = match u64::try_from(span.len()) {
            Ok(len) if len < u64::MAX => (span.first(), len),
            _ => (0, u64::MAX),
        };
        let mut request = uapi::iommu_ioas_unmap {
            size: size_of::<uapi::iommu_ioas_unmap>() as u32,
            ioas_id: self.id(),
            iova: first,
            length,
        };
        // SAFETY: no address of this process.
        let answer = unsafe { self.iommufd().call(command::IOAS_UNMAP, &mut request) };
        // ENOENT is an error too: by our notes something is there, and whatever the kernel means, it is not known to be gone.
        answer.map_err(|errno| self.failed(command::IOAS_UNMAP.name, Some(span), errno))?;
        mapped.remove(span);
        Ok(())
    }

    /// Unmaps everything.
    ///
    /// # Errors
    /// As [`Ioas::unmap_span`].
    pub fn unmap_all(&self) -> Result<(), Error> {
        self.unmap_span(Span::ALL)
    }

    /// Says what is behind an error of attaching something to this space, which pins all that is mapped in it.
    pub(crate) fn explain_attaching(&self, error: Error) -> Error {
        let bytes = u64::try_from(self.mapped().bytes()).unwrap_or(u64::MAX);
        locked::explain(self.iommufd().accounting().unwrap_or_default(), bytes, error)
    }

    fn check_pinning(&self, len: u64) -> Result<(), Error> {
        if len < WORTH_CHECKING || !self.is_attached() {
            return Ok(());
        }
        locked::check_certain(self.iommufd().accounting()?, len)
    }

    fn not_mapped(&self, call: &'static str, span: Span, errno: Errno) -> Error {
        let error = self.failed(call, Some(span), errno);
        match errno {
            Errno::NOMEM => {
                let accounting = self.iommufd().accounting().unwrap_or_default();
                locked::explain(accounting, span.len() as u64, error)
            }
            Errno::EXIST => error.with_help("something is mapped there already"),
            Errno::INVAL => error.with_help(
                "the addresses are not usable (see the IOVA ranges), or something is not a multiple of the IOMMU's page",
            ),
            Errno::FAULT => error.with_help("this memory is not of a kind that the kernel pins for devices"),
            _ => error,
        }
    }
}

fn span(at: Iova, len: u64) -> Result<Span, Error> {
    Span::new(at.raw(), len).ok_or_else(|| {
        Error::argument(
            format!("{len:#x} bytes at {at}"),
            "they are none, or pass the end of the address space",
        )
    })
}

/// The permissions, and that the address is ours to choose.
fn flags(access: Access) -> Result<u32, Error> {
    let known = [
        (Access::READ, uapi::iommufd_ioas_map_flags_IOMMU_IOAS_MAP_READABLE),
        (Access::WRITE, uapi::iommufd_ioas_map_flags_IOMMU_IOAS_MAP_WRITEABLE),
    ];
    if access.is_empty() || !Access::READ_WRITE.contains(access) {
        return Err(Error::argument(
            format!("a mapping with the access {access}"),
            "an IOAS knows of reading, writing and both, and of nothing else",
        ));
    }
    let fixed = uapi::iommufd_ioas_map_flags_IOMMU_IOAS_MAP_FIXED_IOVA;
    Ok(known.iter().filter(|(bit, _)| access.contains(*bit)).fold(fixed, |flags, (_, flag)| flags | flag))
}
