//! The one call of the mock.
#![allow(unsafe_code, reason = "calls the kernel with a structure")]

use crate::Error;
use crate::iommufd::Iommufd;
use crate::iommufd::command::Command;
use rustix::io::Errno;
use rustix::ioctl::opcode;

/// `IOMMU_TEST_CMD`.
const COMMAND: Command =
    Command { name: "IOMMU_TEST_CMD", opcode: opcode::none(iommufd_bindings::IOMMUFD_TYPE, 0x80 + 32) };

/// Bytes of the union in the middle of `struct iommu_test_cmd`.
const BODY: usize = 48;

/// `IOMMU_TEST_OP_*`.
pub(super) mod operation {
    pub(in super::super) const ADD_RESERVED: u32 = 1;
    pub(in super::super) const CHECK_MAP: u32 = 3;
    pub(in super::super) const CHECK_REFERENCES: u32 = 4;
    pub(in super::super) const CREATE_ACCESS: u32 = 5;
    pub(in super::super) const DESTROY_ACCESS_PAGES: u32 = 6;
    pub(in super::super) const ACCESS_PAGES: u32 = 7;
    pub(in super::super) const ACCESS_READ_WRITE: u32 = 8;
    pub(in super::super) const SET_TEMPORARY_LIMIT: u32 = 9;
    pub(in super::super) const MOCK_DOMAIN_REPLACE: u32 = 10;
    pub(in super::super) const ACCESS_REPLACE_IOAS: u32 = 11;
    pub(in super::super) const MOCK_DOMAIN_FLAGS: u32 = 12;
    pub(in super::super) const DIRTY: u32 = 13;
    pub(in super::super) const TRIGGER_FAULT: u32 = 15;
    pub(in super::super) const DMA_BUF_GET: u32 = 22;
    pub(in super::super) const DMA_BUF_REVOKE: u32 = 23;
}

/// `struct iommu_test_cmd`, with the union as bytes.
#[repr(C, align(8))]
pub(super) struct Request {
    size: u32,
    operation: u32,
    id: u32,
    reserved: u32,
    body: [u8; BODY],
    last: u32,
}

impl Request {
    pub(super) const fn new(operation: u32, id: u32) -> Self {
        Self { size: size_of::<Self>() as u32, operation, id, reserved: 0, body: [0; BODY], last: 0 }
    }

    /// Puts a number of 32 bits at `offset` of the union.
    pub(super) fn word(mut self, offset: usize, value: u32) -> Self {
        self.body[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    /// Puts a number of 64 bits at `offset` of the union. What is an address must be good for what the operation does with it.
    pub(super) fn long(mut self, offset: usize, value: u64) -> Self {
        self.body[offset..offset + 8].copy_from_slice(&value.to_ne_bytes());
        self
    }

    /// Makes the call.
    pub(super) fn make(mut self, iommufd: &Iommufd) -> Result<Answer, Error> {
        // SAFETY: the structure of the call. Addresses in it are of slices and memory ranges that the callers in this folder
        // borrow until it returns.
        match unsafe { iommufd.call(COMMAND, &mut self) } {
            Ok(value) => Ok(Answer { value, body: self.body }),
            Err(Errno::NOTTY) => Err(Error::not_supported(
                "the mock of iommufd",
                "this kernel is built without CONFIG_IOMMUFD_TEST",
            )),
            Err(errno) => Err(Error::system(
                COMMAND.name,
                format!("operation {} on {}", self.operation, self.id),
                errno,
            )),
        }
    }
}

/// What the kernel answered.
pub(super) struct Answer {
    /// The call's own value.
    pub(super) value: i32,
    body: [u8; BODY],
}

impl Answer {
    pub(super) fn word(&self, offset: usize) -> u32 {
        u32::from_ne_bytes([0, 1, 2, 3].map(|byte| self.body[offset + byte]))
    }

    pub(super) fn long(&self, offset: usize) -> u64 {
        u64::from_ne_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|byte| self.body[offset + byte]))
    }
}

/// Turns one refusal into a no.
pub(super) fn yes_unless(no: Errno, answer: Result<Answer, Error>) -> Result<bool, Error> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if error.errno() == no => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    /// 16 bytes, a union of 48 with alignment 8, a number, padding.
    #[test]
    fn the_layout_is_that_of_the_kernels_structure() {
        assert_eq!(offset_of!(Request, body), 16);
        assert_eq!(offset_of!(Request, last), 64);
        assert_eq!(size_of::<Request>(), 72);
    }
}
