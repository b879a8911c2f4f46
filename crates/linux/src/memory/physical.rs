//! Where huge pages are on the bus, for devices without an IOMMU.

use super::{FileKind, MemoryFile};
use crate::Error;
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::FileExt;
use vcm::Span;

const PATH: &str = "/proc/self/pagemap";

// Documentation/admin-guide/mm/pagemap.rst: a word of 64 bits for each page of the system's size.
const PRESENT: u64 = 1 << 63;
const FRAME: u64 = (1 << 55) - 1;

/// The real physical addresses of a memory of huge pages: a span for each page, in order. All its pages are got first.
///
/// It is for VFIO's no-iommu mode, where a device's addresses are these. The kernel moves such a page only when an
/// administrator takes memory out, or asks for pages of another node or of a larger size; it does not tell then. Other memory
/// is refused, because its pages move at any time.
///
/// # Errors
/// [`Error::NotSupported`] when it is not of huge pages. [`Error::Missing`] when this kernel does not tell. EPERM without
/// `CAP_SYS_ADMIN`: the kernel hides the addresses. Those of [`MemoryFile::populate`]. The kernel's.
pub fn physical_spans(memory: &MemoryFile) -> Result<Vec<Span>, Error> {
    if *memory.kind() != FileKind::HugePages {
        let why = format!(
            "it is {}, whose pages the kernel moves: use huge pages that are set aside",
            memory.kind()
        );
        return Err(Error::not_supported(format!("physical addresses of `{}`", memory.name()), why));
    }
    memory.populate(&mut |_| {})?;
    let system = |error: std::io::Error| match Errno::from_io_error(&error) {
        Some(Errno::NOENT) => Error::Missing {
            what: PATH.into(),
            help: "a kernel with CONFIG_PROC_PAGE_MONITOR, and procfs at /proc".into(),
        },
        errno => Error::system("read", PATH, errno.unwrap_or(Errno::IO)),
    };
    let file = File::open(PATH).map_err(system)?;
    let (page_len, small) = (memory.page_len(), super::stretch::system_page_len());
    let first = memory.base().addr().get() as u64;
    let mut spans = Vec::new();
    for offset in (0..memory.len()).step_by(page_len as usize) {
        let mut entry = [0; 8];
        file.read_exact_at(&mut entry, (first + offset) / small * 8).map_err(system)?;
        spans.push(decode(u64::from_ne_bytes(entry), page_len, small)?);
    }
    Ok(spans)
}

/// The page of `page_len` bytes whose first part of `small` bytes has this entry.
fn decode(entry: u64, page_len: u64, small: u64) -> Result<Span, Error> {
    let garbage =
        || Error::Garbage { object: PATH.into(), what: format!("the entry {entry:#x} of a huge page") };
    if entry & PRESENT == 0 {
        return Err(garbage());
    }
    let frame = entry & FRAME;
    if frame == 0 {
        return Err(Error::system("read", PATH, Errno::PERM).with_help(
            "page frame numbers are shown with CAP_SYS_ADMIN only: run as root, or `setcap cap_sys_admin=ep`",
        ));
    }
    let first = frame.checked_mul(small).ok_or_else(garbage)?;
    Span::new(first, page_len).filter(|span| span.is_aligned(page_len)).ok_or_else(garbage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_number_makes_a_span_of_a_page() {
        let entry = PRESENT | 1 << 61 | 1 << 55 | 0x400;
        assert_eq!(decode(entry, 1 << 21, 1 << 12).unwrap(), Span::new(0x40_0000, 0x20_0000).unwrap());
    }

    #[test]
    fn hidden_absent_and_misaligned_frames_are_three_errors() {
        assert_eq!(decode(PRESENT, 1 << 21, 1 << 12).unwrap_err().errno(), Errno::PERM);
        assert!(matches!(decode(0x400, 1 << 21, 1 << 12), Err(Error::Garbage { .. })));
        assert!(matches!(decode(PRESENT | 0x401, 1 << 21, 1 << 12), Err(Error::Garbage { .. })));
    }
}
