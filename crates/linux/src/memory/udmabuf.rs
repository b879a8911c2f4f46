//! Export of memory as a dma-buf: /dev/udmabuf (include/uapi/linux/udmabuf.h).
#![allow(unsafe_code, reason = "udmabuf's ioctl is made")]

use super::{DmaBuf, MemoryRange, MemoryUse};
use crate::{Error, ioctl};
use rustix::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, SealFlags, fcntl_get_seals, open};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, opcode};

const PATH: &str = "/dev/udmabuf";
const PARAMETERS: &str = "/sys/module/udmabuf/parameters";

/// `struct udmabuf_create_list` without its items: flags and count.
type Head = [u32; 2];
/// `UDMABUF_CREATE_LIST`
const CREATE_LIST: Opcode = opcode::write::<Head>(b'u', 0x43);
/// `UDMABUF_FLAGS_CLOEXEC`
const CLOEXEC: u32 = 1;

/// One call's argument, as words of eight bytes: the head, and three words for each item (descriptor and padding, offset,
/// size).
fn argument(memory: &[MemoryRange<'_>]) -> Vec<u64> {
    let pair = |low: u32, high: u32| {
        let ([a, b, c, d], [e, f, g, h]) = (low.to_ne_bytes(), high.to_ne_bytes());
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    };
    let mut words = vec![pair(CLOEXEC, memory.len() as u32)];
    for range in memory {
        // A descriptor that is open is not negative.
        let descriptor = range.file().as_fd().as_raw_fd() as u32;
        words.extend([pair(descriptor, 0), range.offset(), range.len()]);
    }
    words
}

/// Makes one dma-buf of parts of memories, in order. It holds their pages, whatever becomes of the memories.
///
/// # Errors
/// [`Error::Missing`] when the kernel has no udmabuf. [`Error::NotSupported`] when it does not take such memory.
/// [`Error::Argument`] for no parts, for one that is not of whole pages of 4 KiB or whose seals do not fit, for more parts or
/// bytes than udmabuf takes: it says how to raise the limit. The kernel's.
pub fn export(memory: &[MemoryRange<'_>]) -> Result<DmaBuf, Error> {
    let len = check(memory)?;
    let device = open(PATH, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT | Errno::NXIO | Errno::NODEV => Error::Missing {
            what: PATH.into(),
            help: "`modprobe udmabuf`, or a kernel with CONFIG_UDMABUF".into(),
        },
        Errno::ACCESS => Error::system("open", PATH, errno).with_help(
            "udev as a rule gives it to the group kvm: `usermod -a -G kvm USER`, and log in again",
        ),
        _ => Error::system("open", PATH, errno),
    })?;
    let mut words = argument(memory);
    // SAFETY: the call takes the head and as many items behind it as the head says, all of which it reads.
    let made = unsafe { ioctl::with_structure(&device, CREATE_LIST, &mut words[0]) };
    let made =
        made.map_err(|errno| Error::system("UDMABUF_CREATE_LIST", format!("{len:#x} bytes"), errno))?;
    // SAFETY: the call gives a descriptor of the caller's own.
    let descriptor = unsafe { OwnedFd::from_raw_fd(made) };
    Ok(DmaBuf::new(descriptor, len))
}

/// What the driver would refuse with EINVAL alone (drivers/dma-buf/udmabuf.c). Gives the length in bytes.
fn check(memory: &[MemoryRange<'_>]) -> Result<u64, Error> {
    let what = || format!("a dma-buf of {} parts", memory.len());
    let refused = |why: String| Err(Error::argument(what(), why));
    let page = super::stretch::system_page_len();
    let mut len = 0_u64;
    for range in memory {
        let file = range.file();
        file.supports(MemoryUse::Udmabuf)?;
        let seals = fcntl_get_seals(file).unwrap_or(SealFlags::empty());
        if !seals.contains(SealFlags::SHRINK) || seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE)
        {
            return refused(format!(
                "`{}` has the seals {seals:?}, and must be sealed against shrinking but not against writing",
                file.name()
            ));
        }
        if !(range.offset() | range.len()).is_multiple_of(page) {
            return refused(format!("`{}` is not given in whole pages of {page:#x}", file.name()));
        }
        len = len.saturating_add(range.len());
    }
    if len == 0 {
        return refused("there is nothing to export".into());
    }
    limit("list_limit", memory.len() as u64, &what())?;
    limit("size_limit_mb", len.div_ceil(1 << 20), &what())?;
    Ok(len)
}

/// Whether `asked` is within a parameter of the driver; yes where it is not told.
fn limit(name: &str, asked: u64, what: &str) -> Result<(), Error> {
    let path = format!("{PARAMETERS}/{name}");
    let limit = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<u64>().ok());
    match limit {
        Some(limit) if asked > limit => Err(Error::argument(
            what,
            format!("{name} is {limit}, less than {asked}: `echo {asked} > {path}`"),
        )),
        _ => Ok(()),
    }
}
