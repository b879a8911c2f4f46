//! The bare system calls: no more than the kernel needs.
#![allow(unsafe_code, reason = "this is what is compared with: ioctls and mappings by hand")]

use crate::Outcome;
use crate::measure::Contestant;
use iommufd_bindings as iommufd;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd};
use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use std::ffi::c_void;
use vcm_linux::memory::MemoryPiece;
use vfio_bindings::bindings::vfio;

const fn iommufd_call(number: u32) -> Opcode {
    opcode::none(iommufd::IOMMUFD_TYPE, number as u8)
}

/// Calls from here on are numbered so in include/uapi/linux/vfio.h.
const fn vfio_call(number: u8) -> Opcode {
    opcode::none(vfio::VFIO_TYPE, vfio::VFIO_BASE as u8 + number)
}

const COPY: Opcode = iommufd_call(iommufd::IOMMUFD_CMD_IOAS_COPY);
const UNMAP: Opcode = iommufd_call(iommufd::IOMMUFD_CMD_IOAS_UNMAP);
const ALLOC: Opcode = iommufd_call(iommufd::IOMMUFD_CMD_IOAS_ALLOC);
const DESTROY: Opcode = iommufd_call(iommufd::IOMMUFD_CMD_DESTROY);
const MAP: Opcode = iommufd_call(iommufd::IOMMUFD_CMD_IOAS_MAP);
const MAP_FILE: Opcode = iommufd_call(iommufd::IOMMUFD_CMD_IOAS_MAP_FILE);
const SET_IRQS: Opcode = vfio_call(10);
const MAP_DMA: Opcode = vfio_call(13);
const UNMAP_DMA: Opcode = vfio_call(14);

struct Call(Opcode, *mut c_void);

// SAFETY: number and argument are passed on as they are; `call` has both.
unsafe impl Ioctl for Call {
    type Output = ();
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.0
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.1
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> Result<(), Errno> {
        Ok(())
    }
}

/// # Safety
/// The call takes a `T`, and the addresses in it are such as the call may use.
unsafe fn call<T>(descriptor: BorrowedFd<'_>, opcode: Opcode, argument: &mut T) -> Result<(), Errno> {
    // SAFETY: the caller's promise.
    unsafe { ioctl(descriptor, Call(opcode, std::ptr::from_mut(argument).cast())) }
}

/// A descriptor that somebody in this process has, by what `/proc/self/fd` says that it is. There has to be one of the kind.
pub(crate) fn descriptor_of(name: &str) -> Outcome<BorrowedFd<'static>> {
    let mut found: Vec<i32> = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let path = entry?.path();
        let is_it = std::fs::read_link(&path).is_ok_and(|target| target.to_string_lossy().starts_with(name));
        let number =
            path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<i32>().ok());
        found.extend(number.filter(|_| is_it));
    }
    match found[..] {
        // SAFETY: it is open now. Whoever asks uses it only as long as the machine or the device lives that has opened it.
        [number] => Ok(unsafe { BorrowedFd::borrow_raw(number) }),
        _ => Err(format!("{} descriptors of {name} are open", found.len()).into()),
    }
}

/// `IOMMU_IOAS_COPY` and `IOMMU_IOAS_UNMAP`, from a space of its own that has the memory.
pub(crate) struct Ioas {
    descriptor: BorrowedFd<'static>,
    source: u32,
    target: u32,
    at: u64,
    len: u64,
    _piece: MemoryPiece,
}

impl Ioas {
    pub(crate) fn new(
        descriptor: BorrowedFd<'static>,
        target: u32,
        at: u64,
        piece: &MemoryPiece,
    ) -> Outcome<Self> {
        let size = size_of::<iommufd::iommu_ioas_alloc>() as u32;
        let mut alloc = iommufd::iommu_ioas_alloc { size, ..Default::default() };
        // SAFETY: the call's structure.
        unsafe { call(descriptor, ALLOC, &mut alloc) }?;
        let (source, len) = (alloc.out_ioas_id, piece.len());
        let made = Self { descriptor, source, target, at, len, _piece: piece.clone() };
        let flags = FIXED | READ | WRITE;
        let mut map = iommufd::iommu_ioas_map_file {
            size: size_of::<iommufd::iommu_ioas_map_file>() as u32,
            flags,
            ioas_id: source,
            fd: piece.file().as_fd().as_raw_fd(),
            start: piece.offset(),
            length: len,
            iova: 0,
        };
        // SAFETY: the call's structure.
        match unsafe { call(descriptor, MAP_FILE, &mut map) } {
            Err(Errno::NOTTY) => {}
            other => return Ok(other.map(|()| made)?),
        }
        let mut map = iommufd::iommu_ioas_map {
            size: size_of::<iommufd::iommu_ioas_map>() as u32,
            flags,
            ioas_id: source,
            user_va: piece.range().address().as_ptr().expose_provenance() as u64,
            length: len,
            iova: 0,
            ..Default::default()
        };
        // SAFETY: the addresses are mapped as long as the piece is held, and not Rust's own.
        unsafe { call(descriptor, MAP, &mut map) }?;
        Ok(made)
    }
}

const FIXED: u32 = iommufd::iommufd_ioas_map_flags_IOMMU_IOAS_MAP_FIXED_IOVA;
const READ: u32 = iommufd::iommufd_ioas_map_flags_IOMMU_IOAS_MAP_READABLE;
const WRITE: u32 = iommufd::iommufd_ioas_map_flags_IOMMU_IOAS_MAP_WRITEABLE;

impl Contestant for Ioas {
    fn step(&mut self, number: usize) -> Outcome<()> {
        if number == 0 {
            let mut copy = iommufd::iommu_ioas_copy {
                size: size_of::<iommufd::iommu_ioas_copy>() as u32,
                flags: FIXED | READ | WRITE,
                dst_ioas_id: self.target,
                src_ioas_id: self.source,
                length: self.len,
                dst_iova: self.at,
                src_iova: 0,
            };
            // SAFETY: the call's structure.
            return Ok(unsafe { call(self.descriptor, COPY, &mut copy) }?);
        }
        let mut unmap = iommufd::iommu_ioas_unmap {
            size: size_of::<iommufd::iommu_ioas_unmap>() as u32,
            ioas_id: self.target,
            iova: self.at,
            length: self.len,
        };
        // SAFETY: the call's structure.
        Ok(unsafe { call(self.descriptor, UNMAP, &mut unmap) }?)
    }
}

impl Drop for Ioas {
    fn drop(&mut self) {
        let size = size_of::<iommufd::iommu_destroy>() as u32;
        let mut unmap = iommufd::iommu_ioas_unmap {
            size: size_of::<iommufd::iommu_ioas_unmap>() as u32,
            ioas_id: self.source,
            iova: 0,
            length: u64::MAX,
        };
        // SAFETY: the calls' structures. What is not given up is when iommufd is closed.
        unsafe {
            let _ = call(self.descriptor, UNMAP, &mut unmap);
            let _ = call(self.descriptor, DESTROY, &mut iommufd::iommu_destroy { size, id: self.source });
        }
    }
}

/// `VFIO_IOMMU_MAP_DMA` and `VFIO_IOMMU_UNMAP_DMA`.
pub(crate) struct Container {
    pub(crate) descriptor: BorrowedFd<'static>,
    pub(crate) at: u64,
    pub(crate) piece: MemoryPiece,
}

impl Contestant for Container {
    fn step(&mut self, number: usize) -> Outcome<()> {
        let (iova, size) = (self.at, self.piece.len());
        if number == 0 {
            let mut map = vfio::vfio_iommu_type1_dma_map {
                argsz: size_of::<vfio::vfio_iommu_type1_dma_map>() as u32,
                flags: vfio::VFIO_DMA_MAP_FLAG_READ | vfio::VFIO_DMA_MAP_FLAG_WRITE,
                vaddr: self.piece.range().address().as_ptr().expose_provenance() as u64,
                iova,
                size,
            };
            // SAFETY: the addresses are mapped as long as the piece is held, and not Rust's own.
            return Ok(unsafe { call(self.descriptor, MAP_DMA, &mut map) }?);
        }
        let argsz = size_of::<vfio::vfio_iommu_type1_dma_unmap>() as u32;
        let mut unmap = vfio::vfio_iommu_type1_dma_unmap { argsz, iova, size, ..Default::default() };
        // SAFETY: the call's structure.
        Ok(unsafe { call(self.descriptor, UNMAP_DMA, &mut unmap) }?)
    }
}

/// As many addresses as the machine lends to the graph: what the kernel needs for a mapping depends on what is around it.
const STRETCH: usize = 64 << 30;

/// `mmap` over reserved addresses of this process, with a file and with nothing.
pub(crate) struct Process {
    base: *mut c_void,
    piece: MemoryPiece,
    len: usize,
    skipped: usize,
}

impl Process {
    pub(crate) fn new(piece: MemoryPiece) -> Outcome<Self> {
        let len = STRETCH;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: at a place that the kernel chooses.
        let base = unsafe { mmap_anonymous(std::ptr::null_mut(), 2 * len, ProtFlags::empty(), flags) }?;
        let skipped = base.addr().next_multiple_of(len) - base.addr();
        Ok(Self { base, piece, len, skipped })
    }
}

impl Contestant for Process {
    fn step(&mut self, number: usize) -> Outcome<()> {
        let len = self.piece.len() as usize;
        // SAFETY: inside of what was reserved, which is twice as long.
        let at = unsafe { self.base.byte_add(self.skipped) };
        if number == 0 {
            let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::FIXED);
            let file = self.piece.file().as_fd();
            // SAFETY: the addresses are this value's own, and no reference points there.
            unsafe { mmap(at, len, access, flags, file, self.piece.offset()) }?;
        } else {
            let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
            // SAFETY: as above.
            unsafe { mmap_anonymous(at, len, ProtFlags::empty(), flags) }?;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SAFETY: what `new` has reserved.
        let _ = unsafe { munmap(self.base, 2 * self.len) };
    }
}

/// `VFIO_DEVICE_SET_IRQS` that signals an eventfd, and `read` of that.
pub(crate) struct Interrupt<'a> {
    pub(crate) device: BorrowedFd<'static>,
    pub(crate) event: BorrowedFd<'a>,
    pub(crate) index: u32,
}

impl Contestant for Interrupt<'_> {
    fn step(&mut self, _: usize) -> Outcome<()> {
        let mut set = vfio::vfio_irq_set {
            argsz: size_of::<vfio::vfio_irq_set>() as u32,
            flags: vfio::VFIO_IRQ_SET_DATA_NONE | vfio::VFIO_IRQ_SET_ACTION_TRIGGER,
            index: self.index,
            start: 0,
            count: 1,
            ..Default::default()
        };
        // SAFETY: the call's structure, without data.
        unsafe { call(self.device, SET_IRQS, &mut set) }?;
        let mut count = [0; 8];
        rustix::io::read(self.event, &mut count)?;
        Ok(())
    }
}
