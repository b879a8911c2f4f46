//! The one place where this crate makes ioctls.
//!
//! The modules that know an interface's numbers and structures wrap each call in a safe or a private function.
#![allow(unsafe_code, reason = "an ioctl is whatever its number says")]

use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl};
use std::ffi::c_void;

struct Call {
    opcode: Opcode,
    argument: *mut c_void,
}

// SAFETY: it passes on the number and the argument that it was made with; whoever made it, through the unsafe functions below,
// answers for the two going together. `IS_MUTATING` is true, so that nothing is assumed of what the argument points to.
unsafe impl Ioctl for Call {
    type Output = i32;

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.argument
    }

    unsafe fn output_from_ptr(output: IoctlOutput, _: *mut c_void) -> rustix::io::Result<i32> {
        Ok(output)
    }
}

/// Makes an ioctl whose argument is a structure that the kernel reads and may write.
///
/// # Safety
/// `opcode` takes a pointer to `T`, whose size field, if it has one, does not pass `T` and what the caller has behind it; and
/// every address inside is one that the kernel may use as the call does.
pub(crate) unsafe fn with_structure<T>(
    descriptor: impl AsFd,
    opcode: Opcode,
    argument: &mut T,
) -> Result<i32, Errno> {
    let call = Call { opcode, argument: std::ptr::from_mut(argument).cast() };
    // SAFETY: the caller's promise. The structure lives until the call returns.
    unsafe { ioctl(descriptor, call) }
}

/// Makes an ioctl whose argument is a number, or nothing.
///
/// # Safety
/// `opcode` takes a number, and what it does with it breaks nothing that others rely on.
pub(crate) unsafe fn with_number(
    descriptor: impl AsFd,
    opcode: Opcode,
    argument: usize,
) -> Result<i32, Errno> {
    let call = Call { opcode, argument: std::ptr::without_provenance_mut(argument) };
    // SAFETY: the caller's promise.
    unsafe { ioctl(descriptor, call) }
}
