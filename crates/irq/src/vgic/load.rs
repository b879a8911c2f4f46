//! Into the guest: claiming interrupts for list registers.
//!
//! When there are more than list registers, those that are pending come before those that are active, then the more
//! urgent, then the forwarded ones before the others: an active one outside costs an exit when it ends, a pending one
//! outside is late. The hardware then tells when list registers become free, and when something outside is ended.

use super::interface::{Attention, Completion, ListRegister, LrState, MOST_LIST_REGISTERS, VirtualInterface};
use super::vcpu::{Slot, Vcpu};
use super::vm::{Machine, Model, Vm};
use super::word::{
    ACTIVE, EDGE, ENABLED, FORWARDED, GROUP_1, HELD, Kind, LOADED, PENDING, RESAMPLED, State, Word,
};
use crate::sync::Ordering;
use crate::wanted::Wanted;
use crate::{GuestInterrupt, VcpuId};

/// How a vCPU was loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a vCPU that is loaded has to be saved"]
pub struct Loaded {
    /// How many list registers are in use.
    pub list_registers: usize,
    /// How many interrupts wait outside.
    pub waiting: usize,
    /// Whether the guest's writes to its deactivation register have to be trapped and given to
    /// [`Vm::deactivate`]. With a GICv2 the page of `GICV_DIR` is not to be mapped then; on GICv3 the hardware traps.
    pub trap_deactivation: Wanted,
}

/// What became of an attempt to claim an interrupt.
enum Claim {
    /// It is in this vCPU's list registers now.
    Claimed(ListRegister, Slot),
    /// It wants no list register, or is somebody else's.
    Gone,
    /// It waits: for a list register, or because the guest's distributor passes nothing of its group on.
    Later,
}

impl Vcpu {
    /// Puts what there is for the guest into list registers. To be called with the CPU's own interrupts
    /// masked, right before the guest is entered: who interrupts the vCPU from now on [kicks](Machine::kick)
    /// it.
    ///
    /// Takes a time that depends on what is pending and in flight for this vCPU, and not on how many
    /// interrupts exist or are bound.
    pub fn load<M: Machine>(&mut self, vm: &Vm<M>, cpu: &mut impl VirtualInterface) -> Loaded {
        debug_assert!(!self.loaded, "{} is loaded already", self.id);
        if let Some(shared) = vm.vcpus.get(usize::from(self.id.0)) {
            // Before the queue is looked at: who adds to it later sees this.
            shared.running.store(1, Ordering::SeqCst);
            shared.queue.drain(|interrupt| self.wait(interrupt));
        }
        self.loaded = true;
        self.statistics.loads += 1;
        let groups = vm.groups.load(Ordering::Acquire);
        let room = cpu.list_registers().min(MOST_LIST_REGISTERS);
        if self.waiting.len() > room {
            self.order(vm, groups, cpu.taken_groups(&self.guest));
        }
        let (mut used, mut kept) = (0, 0);
        let mut outside = Outside::default();
        for index in 0..self.waiting.len() {
            let one = self.waiting[index];
            let interrupt = one.interrupt;
            let claim = if used < room { self.claim(vm, interrupt, groups) } else { Claim::Later };
            match claim {
                Claim::Claimed(register, slot) => {
                    cpu.write(used, &register);
                    self.slots[used] = slot;
                    used += 1;
                    self.leave(interrupt);
                }
                Claim::Gone => self.leave(interrupt),
                Claim::Later => {
                    outside.note(vm, self.id, interrupt, groups);
                    self.waiting[kept] = one;
                    kept += 1;
                }
            }
        }
        self.waiting.truncate(kept);
        self.used = used;
        self.statistics.list_registers += used as u64;
        self.statistics.overflows += u64::from(outside.pending || outside.active);
        // Another vCPU may deactivate what this one acknowledged, and the hardware would not know what.
        // Whether the guest deactivates apart is not asked: it may begin to without leaving, and one that
        // does not is not trapped either.
        let trap = Wanted::when(outside.active || vm.config.vcpus > 1);
        cpu.set_guest(&self.guest);
        cpu.enable(Attention {
            // With one list register it would be there at once, for ever.
            underflow: Wanted::when(outside.pending && used > 1),
            none_pending: Wanted::when(outside.pending),
            not_present: Wanted::when(outside.active),
            deactivation: trap,
        });
        Loaded { list_registers: used, waiting: self.waiting.len(), trap_deactivation: trap }
    }

    /// Orders those that wait, the most urgent first. Each is looked at once: others change their priorities meanwhile.
    fn order<M: Machine>(&mut self, vm: &Vm<M>, groups: u32, taken: u32) {
        for one in &mut self.waiting {
            let state = vm.word(self.id, one.interrupt).map_or(State(0), Word::load);
            let passed = passes(state, groups);
            let pending = passed && can_be_taken(state, Kind::of(one.interrupt));
            let software = !state.has(FORWARDED);
            one.order = u32::from(!pending) << 11
                | u32::from(!passed) << 10
                | u32::from(!passes(state, taken)) << 9
                | u32::from(state.priority()) << 1
                | u32::from(software);
        }
        self.waiting.sort_unstable();
    }

    fn claim<M: Machine>(&self, vm: &Vm<M>, interrupt: u32, groups: u32) -> Claim {
        let Some(word) = vm.word(self.id, interrupt) else { return Claim::Gone };
        let kind = Kind::of(interrupt);
        let mut later = false;
        let claimed = word.update(|state| {
            let mine = state.destination() == Some(self.id) && !state.has(LOADED);
            let wants = mine && state.wants_register(kind);
            // What is active has to be somewhere whatever the distributor passes on. And if somebody holds
            // it, its end by the guest has to be noticed all the same.
            later = wants && if state.has(ACTIVE) { state.has(HELD) } else { !passes(state, groups) };
            let wants = wants && !state.has(HELD);
            if !wants || later {
                return None;
            }
            let (_, _, taken) = split(state, kind);
            Some(taken.with_holder(self.id))
        });
        match claimed {
            Ok((before, _)) => {
                let (lr_state, source, rest) = split(before, kind);
                let line = vm.line(interrupt);
                let completion = if before.has(FORWARDED) && vm.machine.host().is_open(line) {
                    Completion::Physical(line.interrupt())
                } else if before.has(RESAMPLED)
                    || kind == Kind::Line && !before.has(EDGE)
                    || rest.cpus() != 0 && kind == Kind::Software
                {
                    // Another sender's waits for the end of this one.
                    Completion::Maintenance
                } else {
                    Completion::Silent
                };
                let register = ListRegister {
                    interrupt: GuestInterrupt(interrupt),
                    state: lr_state,
                    priority: before.priority(),
                    group: before.group(),
                    completion,
                    source: if vm.config.model == Model::V2 { source } else { 0 },
                };
                let latched = before.has(PENDING) && lr_state != LrState::Active;
                Claim::Claimed(register, Slot { interrupt, latched, source })
            }
            Err(_) if later => Claim::Later,
            Err(_) => Claim::Gone,
        }
    }
}

/// Whether the guest's distributor passes the interrupt on.
pub(super) const fn passes(state: State, groups: u32) -> bool {
    let bit = if state.has(GROUP_1) { 2 } else { 1 };
    groups & bit != 0
}

/// Whether the guest could acknowledge it. What is active has to be ended first, whatever its line says.
pub(super) const fn can_be_taken(state: State, kind: Kind) -> bool {
    state.has(ENABLED) && !state.has(ACTIVE) && state.is_pending(kind)
}

/// What of a state goes into a list register, the sender if it is software-generated, and what stays in the word.
const fn split(state: State, kind: Kind) -> (LrState, u8, State) {
    let pending = state.has(ENABLED) && state.is_pending(kind);
    match kind {
        Kind::Software => {
            let source = state.cpus().trailing_zeros() as u8;
            if state.has(ACTIVE) {
                // One list register for one number: the next sender's waits until this one is ended.
                (LrState::Active, state.source(), state.without(ACTIVE))
            } else {
                let rest = state.cpus() & state.cpus().wrapping_sub(1);
                (LrState::Pending, source, state.with_cpus(rest))
            }
        }
        Kind::Line if state.has(ACTIVE) => {
            // A physical interrupt cannot be both, and a level is looked at again when this is ended.
            let both = pending && state.has(EDGE) && !state.any(FORWARDED | RESAMPLED);
            if both {
                (LrState::PendingAndActive, 0, state.without(ACTIVE | PENDING))
            } else {
                (LrState::Active, 0, state.without(ACTIVE))
            }
        }
        Kind::Line => (LrState::Pending, 0, state.without(PENDING)),
    }
}

/// What waits outside of the list registers.
#[derive(Default)]
struct Outside {
    pending: bool,
    active: bool,
}

impl Outside {
    fn note<M: Machine>(&mut self, vm: &Vm<M>, vcpu: VcpuId, interrupt: u32, groups: u32) {
        let Some(word) = vm.word(vcpu, interrupt) else { return };
        let state = word.load();
        if state.destination() != Some(vcpu) {
            return;
        }
        self.active |= state.has(ACTIVE);
        let pending = can_be_taken(state, Kind::of(interrupt));
        self.pending |= pending && passes(state, groups) && !state.any(HELD | LOADED);
    }
}
