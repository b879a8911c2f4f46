//! The order of memory and registers, as a device sees it.
//!
//! Ordinary fences order what other CPUs see. A device is another observer: on Arm it is in the outer shareable domain, on
//! RISC-V its registers are another kind of access than memory.
#![allow(unsafe_code, reason = "barriers that the language has no name for")]

/// What was written to memory is seen by the device before the register write that comes.
pub(super) fn before_write() {
    order();
}

/// What is read of memory from now on is not older than the register read that was.
pub(super) fn after_read() {
    order();
}

#[cfg(target_arch = "aarch64")]
fn order() {
    // SAFETY: a barrier.
    unsafe { std::arch::asm!("dmb osh", options(nostack, preserves_flags)) };
}

#[cfg(any(target_arch = "riscv32", target_arch = "riscv64"))]
fn order() {
    // SAFETY: a barrier.
    unsafe { std::arch::asm!("fence iorw, iorw", options(nostack, preserves_flags)) };
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn order() {
    // Uncached accesses are in order with all others (Intel SDM 3A, 9.2); the compiler has to keep it.
    std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
}

#[cfg(not(any(
    target_arch = "aarch64",
    target_arch = "riscv32",
    target_arch = "riscv64",
    target_arch = "x86",
    target_arch = "x86_64"
)))]
fn order() {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}
