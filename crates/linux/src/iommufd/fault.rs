//! Page faults that devices wait in: read, and answered.
#![allow(unsafe_code, reason = "takes over a descriptor that the kernel made")]

use super::object::{BoundDevice, Object};
use super::{Iommufd, command};
use crate::Error;
use iommufd_bindings as uapi;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::{Errno, read, write};
use std::sync::Arc;
use std::time::Duration;

bitflags::bitflags! {
    /// What a device wanted. Source: include/uapi/linux/iommufd.h, `enum iommu_hwpt_pgfault_perm`.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct FaultPermissions: u32 {
        /// To read.
        const READ = uapi::iommu_hwpt_pgfault_perm_IOMMU_PGFAULT_PERM_READ;
        /// To write.
        const WRITE = uapi::iommu_hwpt_pgfault_perm_IOMMU_PGFAULT_PERM_WRITE;
        /// To execute; with a PASID only.
        const EXECUTE = uapi::iommu_hwpt_pgfault_perm_IOMMU_PGFAULT_PERM_EXEC;
        /// As a supervisor; with a PASID only.
        const PRIVILEGED = uapi::iommu_hwpt_pgfault_perm_IOMMU_PGFAULT_PERM_PRIV;
    }
}

/// One page that a device waits for. Source: `struct iommu_hwpt_pgfault`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageFault {
    /// The device.
    pub device: BoundDevice,
    /// Its process address space, if it named one.
    pub pasid: Option<u32>,
    /// The address, an IOVA as a rule.
    pub address: u64,
    /// How many bytes it expects to need, if it says so: a hint.
    pub len: Option<u32>,
    /// What it wanted to do.
    pub permissions: FaultPermissions,
}

/// The faults that a device wants one answer to. Not to be copied: it is answered once.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "the device waits for an answer"]
pub struct FaultGroup {
    cookie: u32,
    /// The device's own number for the group.
    pub index: u32,
    /// The faults, at least one; the last was the last that came.
    pub faults: Vec<PageFault>,
}

/// What a device is told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FaultAnswer {
    /// The pages are there now: it tries again.
    Retry,
    /// They will not be: it gives up.
    Invalid,
}

/// A queue of page faults: of the devices that are attached to page tables made with it ([`HwptRequest`](super::HwptRequest)).
/// Clones are the same one. Its descriptor is readable when a fault waits.
#[derive(Clone, Debug)]
pub struct FaultQueue {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    // Dropped in this order: the kernel does not give up a queue that is open.
    descriptor: OwnedFd,
    object: Object,
}

const RECORD: usize = size_of::<uapi::iommu_hwpt_pgfault>();

impl FaultQueue {
    /// Makes one.
    ///
    /// # Errors
    /// [`Error::NotSupported`] when the kernel has none (Linux 6.11); the kernel's.
    pub fn new(iommufd: &Arc<Iommufd>) -> Result<Self, Error> {
        let name = command::FAULT_QUEUE_ALLOC.name;
        let mut request = uapi::iommu_fault_alloc {
            size: size_of::<uapi::iommu_fault_alloc>() as u32,
            ..Default::default()
        };
        // SAFETY: the structure of the call, without addresses.
        unsafe { iommufd.call(command::FAULT_QUEUE_ALLOC, &mut request) }.map_err(|errno| match errno {
            Errno::NOTTY | Errno::OPNOTSUPP => Error::not_supported(
                "page faults of devices",
                format!("this kernel has no {name} (Linux 6.11)"),
            ),
            errno => Error::system(name, "iommufd", errno),
        })?;
        let number = i32::try_from(request.out_fault_fd).map_err(|_| Error::Garbage {
            object: name.into(),
            what: format!("descriptor {}", request.out_fault_fd),
        })?;
        // SAFETY: the kernel has just opened it for this call, and nobody else knows of it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
        let object = Object::new(Arc::clone(iommufd), request.out_fault_id);
        Ok(Self { inner: Arc::new(Inner { descriptor, object }) })
    }

    /// Its number in iommufd.
    pub fn id(&self) -> u32 {
        self.inner.object.id()
    }

    /// Waits until a fault is there; false when `timeout` passed before.
    ///
    /// # Errors
    /// The kernel's.
    pub fn wait(&self, timeout: Duration) -> Result<bool, Error> {
        let timeout = Timespec::try_from(timeout).ok();
        let mut waiting = [PollFd::new(&self.inner.descriptor, PollFlags::IN)];
        match poll(&mut waiting, timeout.as_ref()) {
            Ok(count) => Ok(count > 0),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(self.failed("poll", errno)),
        }
    }

    /// Takes the groups of faults that wait. Never blocks; there may be none.
    ///
    /// # Errors
    /// The kernel's.
    pub fn take(&self) -> Result<Vec<FaultGroup>, Error> {
        let mut buffer = vec![0_u8; 64 * RECORD];
        loop {
            match read(&self.inner.descriptor, &mut buffer) {
                Ok(len) => return Ok(decode(&buffer[..len])),
                // The first group is longer than this. Groups are limited by what an IOMMU's queue holds.
                Err(Errno::INVAL) if buffer.len() < 1 << 22 => buffer.resize(buffer.len() * 4, 0),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.failed("read", errno)),
            }
        }
    }

    /// Answers a group: its device goes on.
    ///
    /// # Errors
    /// The kernel's: EINVAL when nobody waits for this any more, because the device was detached.
    pub fn answer(&self, group: FaultGroup, answer: FaultAnswer) -> Result<(), Error> {
        let code = match answer {
            FaultAnswer::Retry => uapi::iommufd_page_response_code_IOMMUFD_PAGE_RESP_SUCCESS,
            FaultAnswer::Invalid => uapi::iommufd_page_response_code_IOMMUFD_PAGE_RESP_INVALID,
        };
        // `struct iommu_hwpt_page_response`: the cookie, then the code.
        let mut bytes = [0; size_of::<uapi::iommu_hwpt_page_response>()];
        bytes[..4].copy_from_slice(&group.cookie.to_ne_bytes());
        bytes[4..].copy_from_slice(&code.to_ne_bytes());
        write(&self.inner.descriptor, &bytes).map(drop).map_err(|errno| {
            let error = self.failed("write", errno);
            match errno {
                Errno::INVAL => error.with_help("nobody waits for this answer: the device was detached, say"),
                _ => error,
            }
        })
    }

    fn failed(&self, call: &'static str, errno: Errno) -> Error {
        Error::system(call, format!("fault queue {}", self.id()), errno)
    }
}

impl AsFd for FaultQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.descriptor.as_fd()
    }
}

/// Takes the kernel's records apart. Those of a group follow each other and have one cookie; the kernel never splits a group.
fn decode(bytes: &[u8]) -> Vec<FaultGroup> {
    let mut groups: Vec<FaultGroup> = Vec::new();
    for record in bytes.chunks_exact(RECORD) {
        let word = |offset: usize| u32::from_ne_bytes([0, 1, 2, 3].map(|byte| record[offset + byte]));
        let (flags, index, cookie) = (word(0), word(12), word(36));
        let fault = PageFault {
            device: BoundDevice(word(4)),
            pasid: (flags & uapi::iommu_hwpt_pgfault_flags_IOMMU_PGFAULT_FLAGS_PASID_VALID != 0)
                .then(|| word(8)),
            address: u64::from_ne_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|byte| record[24 + byte])),
            len: Some(word(32)).filter(|len| *len > 0),
            permissions: FaultPermissions::from_bits_truncate(word(16)),
        };
        match groups.last_mut().filter(|group| group.cookie == cookie) {
            Some(group) => group.faults.push(fault),
            None => groups.push(FaultGroup { cookie, index, faults: vec![fault] }),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn the_offsets_are_those_of_the_structure() {
        type Record = uapi::iommu_hwpt_pgfault;
        let offsets = [
            (offset_of!(Record, flags), 0),
            (offset_of!(Record, dev_id), 4),
            (offset_of!(Record, pasid), 8),
            (offset_of!(Record, grpid), 12),
            (offset_of!(Record, perm), 16),
            (offset_of!(Record, addr), 24),
            (offset_of!(Record, length), 32),
            (offset_of!(Record, cookie), 36),
        ];
        assert!(offsets.iter().all(|(is, used)| is == used), "{offsets:?}");
        assert_eq!(offset_of!(uapi::iommu_hwpt_page_response, code), 4);
    }

    fn record(flags: u32, pasid: u32, index: u32, address: u64, cookie: u32) -> Vec<u8> {
        let mut bytes: Vec<u8> =
            [flags, 3, pasid, index, 0b11, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
        bytes.extend(address.to_ne_bytes());
        bytes.extend([0, cookie].into_iter().flat_map(u32::to_ne_bytes));
        bytes
    }

    #[test]
    fn records_of_one_cookie_are_one_group() {
        let bytes =
            [record(1, 7, 5, 0x1000, 40), record(3, 7, 5, 0x2000, 40), record(2, 7, 6, 0x9000, 41)].concat();
        let groups = decode(&bytes);
        assert_eq!(groups.len(), 2);
        assert_eq!((groups[0].index, groups[0].faults.len()), (5, 2));
        assert_eq!(groups[0].faults[1].address, 0x2000);
        assert_eq!(groups[0].faults[0].pasid, Some(7));
        assert_eq!(groups[1].faults[0].pasid, None, "not said to be valid");
        assert_eq!(groups[1].faults[0].permissions, FaultPermissions::READ | FaultPermissions::WRITE);
        assert_eq!(groups[1].faults[0].len, None);
        assert!(decode(&bytes[..RECORD - 1]).is_empty());
    }
}
