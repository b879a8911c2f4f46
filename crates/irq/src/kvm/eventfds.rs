//! Which eventfd interrupts which guest: looked up with an interrupt acknowledged, so without a lock and in
//! constant time.

use super::bypass::RegisterError;
use crate::host::Taken;
use crate::storage::{OutOfMemory, table};
use crate::sync::{AtomicU64, Ordering};
use crate::vgic::{Machine, Vm, VmId, Wanted};
use crate::{GuestInterrupt, Token};
use alloc::vec::Vec;

/// Whether the guest's end of an interrupt completes the producer's line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Resample {
    /// No: the interrupt is signalled once each time, as an edge.
    No,
    /// It does, and if the device still asks, the interrupt comes again: for lines that are level-sensitive.
    Producer,
}

/// A guest interrupt that an eventfd raises.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Irqfd {
    /// Which virtual machine.
    pub vm: VmId,
    /// Which of its interrupts.
    pub guest: GuestInterrupt,
    /// How it ends.
    pub resample: Resample,
}

impl Irqfd {
    /// Interrupts the guest. `vm` is the virtual machine of this number. [`Taken::No`] if the interrupt is
    /// forwarded from a line.
    pub fn interrupt<M: Machine>(self, vm: &Vm<M>) -> Taken {
        match self.resample {
            Resample::Producer => vm.signal(self.guest),
            Resample::No => match vm.pulse(self.guest) {
                Ok(()) => Taken::Yes,
                Err(_) => Taken::No,
            },
        }
    }
}

const USED: u64 = 1 << 63;
const RESAMPLES: u64 = 1 << 62;
/// It was signalled, and nobody took it.
const SIGNALLED: u64 = 1;

/// The table: one word for each eventfd, by its number.
#[derive(Debug)]
pub struct Eventfds {
    words: Vec<AtomicU64>,
}

impl Eventfds {
    /// A table for the eventfds 1 to `count`.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new(count: usize) -> Result<Self, OutOfMemory> {
        Ok(Self { words: table(count, |_| AtomicU64::new(0))? })
    }

    /// Whether `token` is an eventfd of this table.
    pub fn has(&self, token: Token) -> bool {
        self.word(token).is_some()
    }

    /// Signals an eventfd: whom it interrupts. If it is nobody yet, that it was signalled is kept for who comes.
    pub fn signal(&self, token: Token) -> Option<Irqfd> {
        let word = self.word(token)?;
        let mut now = word.load(Ordering::Acquire);
        loop {
            if let Some(irqfd) = unpack(now) {
                return Some(irqfd);
            }
            match word.compare_exchange_weak(now, SIGNALLED, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return None,
                Err(changed) => now = changed,
            }
        }
    }

    /// Whom an eventfd interrupts.
    pub fn consumer(&self, token: Token) -> Option<Irqfd> {
        unpack(self.word(token)?.load(Ordering::Acquire))
    }

    /// Takes, as the user who reads the eventfd, that it was signalled.
    pub fn read(&self, token: Token) -> Wanted {
        let Some(word) = self.word(token) else { return Wanted::No };
        Wanted::when(word.compare_exchange(SIGNALLED, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok())
    }

    /// Makes an eventfd interrupt a guest. Whether it was signalled before, which is for the caller to pass on.
    pub(super) fn assign(&self, token: Token, irqfd: Irqfd) -> Result<Wanted, RegisterError> {
        let word = self.word(token).ok_or(RegisterError::NoEventfd(token))?;
        let mut now = word.load(Ordering::Relaxed);
        loop {
            if let Some(Irqfd { vm, guest, .. }) = unpack(now) {
                return Err(RegisterError::Consumer { token, vm, guest });
            }
            match word.compare_exchange_weak(now, pack(irqfd), Ordering::AcqRel, Ordering::Relaxed) {
                Ok(before) => return Ok(Wanted::when(before == SIGNALLED)),
                Err(changed) => now = changed,
            }
        }
    }

    /// Makes it interrupt nobody.
    pub(super) fn clear(&self, token: Token) {
        if let Some(word) = self.word(token) {
            word.store(0, Ordering::Release);
        }
    }

    fn word(&self, token: Token) -> Option<&AtomicU64> {
        self.words.get(usize::try_from(token.number()).ok()?.checked_sub(1)?)
    }
}

fn pack(irqfd: Irqfd) -> u64 {
    let resamples = if irqfd.resample == Resample::Producer { RESAMPLES } else { 0 };
    USED | resamples | u64::from(irqfd.vm.0) << 32 | u64::from(irqfd.guest.0)
}

fn unpack(word: u64) -> Option<Irqfd> {
    let resample = if word & RESAMPLES != 0 { Resample::Producer } else { Resample::No };
    (word & USED != 0).then_some(Irqfd {
        vm: VmId((word >> 32) as u16),
        guest: GuestInterrupt(word as u32),
        resample,
    })
}
