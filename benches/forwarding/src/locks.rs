//! The locks that `arm_vgic` needs of its user, at their cheapest: one exchange to take, one store to give
//! back. Interrupts and preemption, which it wants off meanwhile, cost nothing here.

use ax_sync::interface::{AcquireResult, ContextOps, LockMetadata, SpinOps};
use core::panic::Location;
use core::sync::atomic::{AtomicBool, Ordering};

struct Context;

#[ax_crate_interface::impl_interface]
impl ContextOps for Context {
    fn enter(_context: u8) -> usize {
        0
    }

    fn exit(_context: u8, _state: usize) {}

    fn exit_preempt_from_irq_return(_state: usize) {}
}

struct Spin;

#[ax_crate_interface::impl_interface]
impl SpinOps for Spin {
    fn acquire(
        locked: &AtomicBool,
        _metadata: &LockMetadata,
        _lock_addr: usize,
        _context: u8,
        _subclass: u32,
        is_try: bool,
        _caller: &'static Location<'static>,
    ) -> AcquireResult {
        while locked.swap(true, Ordering::Acquire) {
            if is_try {
                return AcquireResult::new(false, 0);
            }
            while locked.load(Ordering::Relaxed) {
                core::hint::spin_loop();
            }
        }
        AcquireResult::new(true, 0)
    }

    fn release(locked: &AtomicBool, _lock_addr: usize, _context: u8, _context_state: usize) {
        locked.store(false, Ordering::Release);
    }

    fn force_release(locked: &AtomicBool, _lock_addr: usize, _context: u8) {
        locked.store(false, Ordering::Release);
    }

    fn is_locked(locked: &AtomicBool) -> bool {
        locked.load(Ordering::Relaxed)
    }
}
