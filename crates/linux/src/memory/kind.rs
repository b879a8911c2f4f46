//! What a descriptor is, and what the kernel lets one do with such memory.

use crate::Error;
use rustix::fd::{AsFd, AsRawFd};
use rustix::fs::fstatfs;

/// What keeps a memory's pages.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FileKind {
    /// A memfd, a file of a tmpfs, shared anonymous memory: ordinary pages, or huge ones where the kernel has some at hand.
    SharedMemory,
    /// A memfd of huge pages, or a file of a hugetlbfs.
    HugePages,
    /// A dma-buf.
    DmaBuf {
        /// Who exports it, as the kernel names it: `udmabuf`, `system`, `vfio_pci_core`.
        exporter: String,
    },
    /// `memfd_secret`: memory that the kernel itself has no mapping of.
    Secret,
    /// A file of another file system.
    OtherFile,
}

/// What memory is wanted for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MemoryUse {
    /// DMA, mapped by descriptor: `IOMMU_IOAS_MAP_FILE`.
    DmaByFile,
    /// DMA, mapped by address: `IOMMU_IOAS_MAP`, `VFIO_IOMMU_MAP_DMA`.
    DmaByAddress,
    /// A virtual machine's memory slot: `KVM_SET_USER_MEMORY_REGION`.
    GuestSlot,
    /// Export as a dma-buf: `UDMABUF_CREATE`.
    Udmabuf,
}

// Magic numbers of include/uapi/linux/magic.h.
const TMPFS: u64 = 0x0102_1994;
const HUGETLBFS: u64 = 0x9584_58f6;
const DMA_BUF: u64 = 0x444d_4142;
const SECRETMEM: u64 = 0x5345_434d;

impl FileKind {
    /// What `descriptor` is, and the size of its pages in bytes.
    pub(super) fn of(descriptor: impl AsFd, name: &str) -> Result<(Self, u64), Error> {
        let status = fstatfs(&descriptor).map_err(|errno| Error::system("fstatfs", name, errno))?;
        // The number is a signed word of which the magic is the low half.
        let kind = match status.f_type as u64 & 0xffff_ffff {
            TMPFS => Self::SharedMemory,
            HUGETLBFS => Self::HugePages,
            DMA_BUF => Self::DmaBuf { exporter: exporter(descriptor) },
            SECRETMEM => Self::Secret,
            _ => Self::OtherFile,
        };
        // A hugetlbfs tells its page size as its block size.
        let page = super::stretch::system_page_len();
        let page_len = if kind == Self::HugePages { status.f_bsize as u64 } else { page };
        if !page_len.is_power_of_two() || page_len < page {
            let what = format!("pages of {page_len:#x} bytes");
            return Err(Error::Garbage { object: name.into(), what });
        }
        Ok((kind, page_len))
    }

    /// Whether the kernel takes such memory for `wanted`.
    ///
    /// # Errors
    /// [`Error::NotSupported`], which says why not.
    pub fn supports(&self, wanted: MemoryUse) -> Result<(), Error> {
        use MemoryUse::{DmaByAddress, DmaByFile, GuestSlot, Udmabuf};
        let why = match (self, wanted) {
            (Self::SharedMemory | Self::HugePages, _) => return Ok(()),
            // drivers/iommu/iommufd/pages.c: a dma-buf's physical addresses are told by VFIO's exporter alone.
            (Self::DmaBuf { exporter }, DmaByFile) if exporter.starts_with("vfio") => return Ok(()),
            (Self::DmaBuf { .. }, GuestSlot) | (Self::OtherFile, GuestSlot) => return Ok(()),
            (Self::DmaBuf { exporter }, DmaByFile) => {
                format!(
                    "iommufd maps dma-bufs of VFIO, not those of `{exporter}`: of a udmabuf, map the memfd that it is made of"
                )
            }
            (Self::DmaBuf { .. }, DmaByAddress) => {
                "the kernel does not pin what is mapped of a dma-buf (EFAULT): of a udmabuf, map the memfd that it is made of"
                    .into()
            }
            (Self::Secret, _) => "the kernel does not pin memory of memfd_secret (EFAULT): use a memfd".into(),
            // mm/gup.c, memfd_pin_folios: shmem and hugetlb only.
            (Self::OtherFile, DmaByFile) => "the kernel pins memfds and files of tmpfs and hugetlbfs only".into(),
            // mm/gup.c, writable_file_mapping_allowed.
            (Self::OtherFile, DmaByAddress) => {
                "the kernel does not pin pages that a file system writes back: use a memfd, tmpfs or hugetlbfs".into()
            }
            (Self::DmaBuf { .. }, Udmabuf) => "it is a dma-buf already: hand its descriptor on".into(),
            (Self::OtherFile, Udmabuf) => "a udmabuf is made of a memfd".into(),
        };
        let what = match wanted {
            DmaByFile => "DMA by descriptor",
            DmaByAddress => "DMA by address",
            GuestSlot => "a guest's memory slot",
            Udmabuf => "a udmabuf",
        };
        Err(Error::not_supported(format!("{what} of {self}"), why))
    }

    /// Whether files of this kind keep their size whatever their other holders do: a dma-buf's is set by its exporter, and
    /// that of `memfd_secret` can be set once (mm/secretmem.c).
    pub(super) const fn has_fixed_size(&self) -> bool {
        matches!(self, Self::DmaBuf { .. } | Self::Secret)
    }
}

/// As it appears in messages: `shared memory`.
impl std::fmt::Display for FileKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SharedMemory => f.write_str("shared memory"),
            Self::HugePages => f.write_str("huge pages"),
            Self::DmaBuf { exporter } => write!(f, "a dma-buf of `{exporter}`"),
            Self::Secret => f.write_str("secret memory"),
            Self::OtherFile => f.write_str("a file"),
        }
    }
}

/// Who exports a dma-buf: the line `exp_name` of its fdinfo (Documentation/filesystems/proc.rst).
fn exporter(descriptor: impl AsFd) -> String {
    let path = format!("/proc/self/fdinfo/{}", descriptor.as_fd().as_raw_fd());
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("exp_name:"));
    name.map_or_else(|| "unknown".into(), |name| name.trim().into())
}
