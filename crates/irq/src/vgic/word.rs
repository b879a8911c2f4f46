//! The state of a virtual interrupt, in one word.
//!
//! While the interrupt is in a list register, the register is the truth about pending and active, and the word says
//! only in whose: what the word has pending meanwhile came later.

use super::interface::Group;
use crate::VcpuId;
use crate::sync::{AtomicU64, Ordering};

/// Pending, because of an edge, because the guest or the host said so, or forwarded.
pub(super) const PENDING: u64 = 1;
/// The input is high: asserted in the ordinary way, by software.
pub(super) const LINE: u64 = 1 << 1;
/// Acknowledged by the guest and not deactivated.
pub(super) const ACTIVE: u64 = 1 << 2;
/// Enabled by the guest.
pub(super) const ENABLED: u64 = 1 << 3;
/// In group 1.
pub(super) const GROUP_1: u64 = 1 << 4;
/// The input reacts to edges.
pub(super) const EDGE: u64 = 1 << 5;
/// Bound to a host interrupt that the guest completes: pending and active here means active there.
pub(super) const FORWARDED: u64 = 1 << 6;
/// Bound to a host interrupt that the host completes when the guest has ended this one.
pub(super) const RESAMPLED: u64 = 1 << 7;
/// That binding ends with the next completion.
pub(super) const ONCE: u64 = 1 << 10;
/// Forwarded from a line that is level-sensitive, whatever the guest says of its own.
pub(super) const SAMPLED: u64 = 1 << 11;
/// Was forwarded and in flight when it was saved, and is to be forwarded again.
pub(super) const RESTORED: u64 = 1 << 12;
/// Ended while the guest had it disabled: the host is told when the guest enables it.
pub(super) const OWED: u64 = 1 << 13;
/// The guest itself made the host's interrupt pending: it stays so until it is acknowledged or cleared,
/// whatever the line does.
pub(super) const INSISTED: u64 = 1 << 14;
/// In a list register of the vCPU that `HOLDER` names.
pub(super) const LOADED: u64 = 1 << 8;
/// Somebody changes it; it is not loaded meanwhile.
pub(super) const HELD: u64 = 1 << 9;

const PRIORITY: u32 = 16;
/// Of a shared interrupt: the vCPUs that it may go to, one bit each, as `GICD_ITARGETSR` has them. Of a
/// software-generated interrupt: the vCPUs that sent it.
const CPUS: u32 = 24;
/// The vCPU that a shared interrupt goes to; all ones if to none.
const TARGET: u32 = 32;
/// Whose list registers it is in, or who has it active: 10 bits, more than a model has vCPUs.
const HOLDER: u32 = 48;
const HOLDERS: u64 = 0x3ff;
/// Who sent the software-generated interrupt that is active: on GICv2 the guest ends it by that name too.
const SOURCE: u32 = 60;
const NOBODY: u64 = 0xffff;

/// A value of the word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct State(pub(super) u64);

impl State {
    /// After reset: disabled, priority 0, nothing pending.
    pub(super) const fn reset(target: Option<VcpuId>) -> Self {
        Self(0).with_target(target)
    }

    pub(super) const fn has(self, flags: u64) -> bool {
        self.0 & flags == flags
    }

    pub(super) const fn any(self, flags: u64) -> bool {
        self.0 & flags != 0
    }

    pub(super) const fn with(self, set: u64) -> Self {
        Self(self.0 | set)
    }

    pub(super) const fn without(self, clear: u64) -> Self {
        Self(self.0 & !clear)
    }

    pub(super) const fn priority(self) -> u8 {
        (self.0 >> PRIORITY) as u8
    }

    pub(super) const fn with_priority(self, priority: u8) -> Self {
        Self(self.0 & !(0xff << PRIORITY) | (priority as u64) << PRIORITY)
    }

    pub(super) const fn group(self) -> Group {
        if self.has(GROUP_1) { Group::One } else { Group::Zero }
    }

    /// The targets' or the sources' bits.
    pub(super) const fn cpus(self) -> u8 {
        (self.0 >> CPUS) as u8
    }

    pub(super) const fn with_cpus(self, cpus: u8) -> Self {
        Self(self.0 & !(0xff << CPUS) | (cpus as u64) << CPUS)
    }

    pub(super) const fn target(self) -> Option<VcpuId> {
        let target = (self.0 >> TARGET) & NOBODY;
        if target == NOBODY { None } else { Some(VcpuId(target as u16)) }
    }

    pub(super) const fn with_target(self, target: Option<VcpuId>) -> Self {
        let number = match target {
            Some(vcpu) => vcpu.0 as u64,
            None => NOBODY,
        };
        Self(self.0 & !(NOBODY << TARGET) | number << TARGET)
    }

    /// Whose it is: of the vCPU that acknowledged it, until it is deactivated; else of its target.
    pub(super) const fn destination(self) -> Option<VcpuId> {
        if self.has(ACTIVE) { Some(self.named()) } else { self.target() }
    }

    /// In whose list registers it is.
    pub(super) const fn holder(self) -> Option<VcpuId> {
        if self.has(LOADED) { Some(self.named()) } else { None }
    }

    pub(super) const fn with_holder(self, vcpu: VcpuId) -> Self {
        self.owned_by(vcpu).with(LOADED)
    }

    /// Notes whose it is when it is active.
    pub(super) const fn owned_by(self, vcpu: VcpuId) -> Self {
        Self(self.0 & !(HOLDERS << HOLDER) | (vcpu.0 as u64 & HOLDERS) << HOLDER)
    }

    const fn named(self) -> VcpuId {
        VcpuId(((self.0 >> HOLDER) & HOLDERS) as u16)
    }

    /// Who sent what is active.
    pub(super) const fn source(self) -> u8 {
        (self.0 >> SOURCE) as u8 & 7
    }

    pub(super) const fn with_source(self, source: u8) -> Self {
        Self(self.0 & !(7 << SOURCE) | (source as u64 & 7) << SOURCE)
    }

    /// Pending outside of a list register. A software-generated interrupt is, as long as a sender is noted.
    pub(super) const fn is_pending(self, kind: Kind) -> bool {
        match kind {
            Kind::Software => self.cpus() != 0,
            Kind::Line => self.has(PENDING) || self.has(LINE) && !self.has(EDGE),
        }
    }

    /// Whether a list register is wanted for it.
    pub(super) const fn wants_register(self, kind: Kind) -> bool {
        self.has(ACTIVE) || self.has(ENABLED) && self.is_pending(kind)
    }
}

/// What makes an interrupt pending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// vCPUs do: a software-generated interrupt, 0 to 15.
    Software,
    /// A line does: a private or shared peripheral interrupt.
    Line,
}

impl Kind {
    pub(super) const fn of(interrupt: u32) -> Self {
        if interrupt < 16 { Self::Software } else { Self::Line }
    }
}

/// The word. Its accesses are sequentially consistent: there are places where one side changes this word and
/// then looks at a host line's, and the other side does the reverse.
#[derive(Debug)]
pub(super) struct Word(AtomicU64);

impl Word {
    pub(super) fn new(state: State) -> Self {
        Self(AtomicU64::new(state.0))
    }

    #[inline]
    pub(super) fn load(&self) -> State {
        State(self.0.load(Ordering::SeqCst))
    }

    /// Sets flags; gives the state before.
    #[inline]
    pub(super) fn set(&self, flags: u64) -> State {
        State(self.0.fetch_or(flags, Ordering::SeqCst))
    }

    /// Clears flags; gives the state before.
    #[inline]
    pub(super) fn clear(&self, flags: u64) -> State {
        State(self.0.fetch_and(!flags, Ordering::SeqCst))
    }

    /// Replaces the state by what `next` makes of it, unless that is `None`; gives the states before and after.
    #[inline]
    pub(super) fn update(
        &self,
        mut next: impl FnMut(State) -> Option<State>,
    ) -> Result<(State, State), State> {
        let mut before = self.load();
        loop {
            let after = next(before).ok_or(before)?;
            match self.0.compare_exchange_weak(before.0, after.0, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return Ok((before, after)),
                Err(now) => before = State(now),
            }
        }
    }
}
