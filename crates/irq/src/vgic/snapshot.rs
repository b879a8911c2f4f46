//! Keeping the state of a virtual machine's interrupts, and putting it back: here, or on another host.

use super::bind::detached;
use super::interface::GuestCpuInterface;
use super::vcpu::Vcpu;
use super::vm::{Config, Machine, Model, Vm};
use super::word::{
    ACTIVE, EDGE, ENABLED, FORWARDED, GROUP_1, Kind, LINE, LOADED, PENDING, RESAMPLED, RESTORED, SAMPLED,
    State,
};

use crate::storage::{OutOfMemory, table};
use crate::wanted::Wanted;
use crate::{FIRST_SPI, VcpuId};
use alloc::vec::Vec;

/// The version of [`Snapshot`] that this writes and reads.
pub const SNAPSHOT_VERSION: u16 = 1;

/// The state of a virtual machine's interrupts. Plain data; with the feature `serde` it can be serialized.
///
/// What a device had in flight is marked. Where the guest goes on, [`kvm::join`](crate::kvm::join) takes it
/// over: the physical interrupt of the new line becomes active without having been signalled, and the guest's
/// end of the interrupt deactivates it. An interrupt that was pending arrives once.
///
/// The steps, with all vCPUs out of the guest: [`Vm::snapshot`] and [`Vcpu::snapshot`] for each; then on a
/// new [`Vm`] of the same shape [`Vm::restore`], [`Vcpu::restore`] for each, and `join` for each line; then
/// the guest may run.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Snapshot {
    /// [`SNAPSHOT_VERSION`] of who wrote it.
    pub version: u16,
    /// The version of the architecture that the guest sees: 2 or 3.
    pub architecture: u8,
    /// How many interrupts there are, as in [`Config::interrupts`].
    pub interrupts: u32,
    /// The groups that the distributor passes on: bits 0 and 1.
    pub groups: u8,
    /// What belongs to each vCPU.
    pub vcpus: Vec<SavedVcpu>,
    /// The shared interrupts, from number 32 on.
    pub shared: Vec<SavedInterrupt>,
}

/// What belongs to one vCPU.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SavedVcpu {
    /// [`GuestCpuInterface::control`]: laid out as the host's hardware has it.
    pub control: u32,
    /// [`GuestCpuInterface::active_priorities`].
    pub active_priorities: [u32; 8],
    /// Interrupts 0 to 31.
    pub private: [SavedInterrupt; FIRST_SPI as usize],
}

/// One interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SavedInterrupt {
    /// Whether the guest has it enabled.
    pub enabled: bool,
    /// Whether it is in group 1.
    pub group_1: bool,
    /// Whether it reacts to edges.
    pub edge: bool,
    /// Whether it is pending by a latch.
    pub pending: bool,
    /// Whether software holds its line high.
    pub line: bool,
    /// Whether it is active.
    pub active: bool,
    /// Whether it is pending or active because of a device, whose line will be joined to it again.
    pub in_flight: bool,
    /// Its priority.
    pub priority: u8,
    /// Of a software-generated interrupt: who sent it. Of a `GICv2` guest's shared interrupt: its targets. A bit for
    /// each vCPU.
    pub cpus: u8,
    /// The vCPU that it goes to.
    pub target: Option<u16>,
    /// The vCPU that has it active.
    pub owner: Option<u16>,
    /// Who sent the software-generated interrupt that is active, 0 to 7.
    pub source: u8,
    /// What `GICD_IROUTER` of a `GICv3` guest says.
    pub route: u32,
}

/// Why a snapshot cannot be restored. Nothing has changed then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RestoreError {
    /// Another version wrote it (EINVAL).
    #[error("the snapshot has version {0}, this restores version {SNAPSHOT_VERSION}")]
    Version(u16),
    /// It is of a virtual machine with another model, or another number of vCPUs or interrupts (EINVAL).
    #[error("the snapshot is of a virtual machine with another shape than {0:?}")]
    Shape(Config),
    /// It says of an interrupt what cannot be (EINVAL).
    #[error(
        "the snapshot's interrupt {interrupt} of vCPU {vcpu} contradicts itself or names a vCPU that there is not"
    )]
    Malformed {
        /// Of a private interrupt: whose; else 0.
        vcpu: u16,
        /// Which.
        interrupt: u32,
    },
    /// The virtual machine has it bound to a line, or in a list register (EBUSY).
    #[error("interrupt {interrupt} of vCPU {vcpu} is in use")]
    InUse {
        /// Of a private interrupt: whose; else 0.
        vcpu: u16,
        /// Which.
        interrupt: u32,
    },
}

const fn architecture(model: Model) -> u8 {
    match model {
        Model::V2 => 2,
        Model::V3 => 3,
    }
}

impl<M: Machine> Vm<M> {
    /// The state of all interrupts. A vCPU that has some in list registers leaves the guest for that; the
    /// state is that of one moment if none runs and no host interrupt is handled meanwhile. The vCPUs' own
    /// part comes with [`Vcpu::snapshot`]. Nothing changes: the guest may go on here as well.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn snapshot(&self) -> Result<Snapshot, OutOfMemory> {
        let vcpus = table(usize::from(self.config.vcpus), |vcpu| {
            let interface = GuestCpuInterface::default();
            SavedVcpu {
                control: interface.control,
                active_priorities: interface.active_priorities,
                private: core::array::from_fn(|interrupt| self.saved(VcpuId(vcpu as u16), interrupt as u32)),
            }
        })?;
        let shared = table((self.end() - FIRST_SPI) as usize, |place| {
            self.saved(VcpuId(0), FIRST_SPI + place as u32)
        })?;
        let [zero, one] = self.groups().map(|group| u8::from(group.is_yes()));
        Ok(Snapshot {
            version: SNAPSHOT_VERSION,
            architecture: architecture(self.config.model),
            interrupts: self.config.interrupts,
            groups: zero | one << 1,
            vcpus,
            shared,
        })
    }

    /// Puts back what [`snapshot`](Self::snapshot) gave, into a virtual machine of the same shape that has no
    /// line joined and no vCPU in the guest. The snapshot may come from anywhere: what cannot be is refused.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn restore(&self, snapshot: &Snapshot) -> Result<(), RestoreError> {
        if snapshot.version != SNAPSHOT_VERSION {
            return Err(RestoreError::Version(snapshot.version));
        }
        if snapshot.architecture != architecture(self.config.model)
            || snapshot.interrupts != self.config.interrupts
            || snapshot.vcpus.len() != usize::from(self.config.vcpus)
            || snapshot.shared.len() != (self.end() - FIRST_SPI) as usize
            || snapshot.groups > 3
        {
            return Err(RestoreError::Shape(self.config));
        }
        for (vcpu, interrupt, saved) in each(snapshot) {
            if !self.can_be(vcpu, interrupt, saved) {
                return Err(RestoreError::Malformed { vcpu: vcpu.0, interrupt });
            }
            if self.word(vcpu, interrupt).is_some_and(|word| word.load().any(FORWARDED | RESAMPLED | LOADED))
            {
                return Err(RestoreError::InUse { vcpu: vcpu.0, interrupt });
            }
        }
        for (vcpu, interrupt, saved) in each(snapshot) {
            if interrupt >= FIRST_SPI && self.config.model == Model::V3 {
                self.write_route(interrupt, u64::from(saved.route));
            }
            let Some(held) = self.hold(vcpu, interrupt) else { continue };
            let restored = saved.state();
            self.change(&held, |state| restored.with(state.0 & super::word::HELD));
            self.release(held);
        }
        let group = |bit: u8| Wanted::when(snapshot.groups & bit != 0);
        self.set_groups(group(1), group(2));
        Ok(())
    }

    fn saved(&self, vcpu: VcpuId, interrupt: u32) -> SavedInterrupt {
        let Some(word) = self.word(vcpu, interrupt) else { return SavedInterrupt::default() };
        let mut state = word.load();
        if state.holder().is_some()
            && let Some(held) = self.hold(vcpu, interrupt)
        {
            (state, _) = self.change(&held, |state| state);
            self.release(held);
        }
        // An edge that the host's controller remembers is this guest's. A level is asked of the device again.
        if state.has(FORWARDED) && !state.has(SAMPLED) && super::save::withstands(self, interrupt) {
            state = state.with(PENDING);
        }
        let state = detached(state);
        let shared = interrupt >= FIRST_SPI && self.config.model == Model::V3;
        SavedInterrupt {
            enabled: state.has(ENABLED),
            group_1: state.has(GROUP_1),
            edge: state.has(EDGE),
            pending: state.has(PENDING),
            line: state.has(LINE),
            active: state.has(ACTIVE),
            in_flight: state.has(RESTORED) && state.any(PENDING | ACTIVE),
            priority: state.priority(),
            cpus: state.cpus(),
            target: state.target().map(|vcpu| vcpu.0),
            owner: if state.has(ACTIVE) { state.destination().map(|vcpu| vcpu.0) } else { None },
            source: if state.has(ACTIVE) { state.source() } else { 0 },
            route: if shared { self.read_route(interrupt) as u32 } else { 0 },
        }
    }

    /// Whether an interrupt of this virtual machine can be in such a state.
    fn can_be(&self, vcpu: VcpuId, interrupt: u32, saved: &SavedInterrupt) -> bool {
        let exists = |vcpu: Option<u16>| vcpu.is_none_or(|vcpu| vcpu < self.config.vcpus);
        let private = interrupt < FIRST_SPI;
        let everybody = u8::MAX.checked_shr(u32::from(8 - self.config.vcpus.min(8))).unwrap_or(0);
        let cpus = match (self.config.model, Kind::of(interrupt)) {
            (Model::V2, Kind::Line) if private => 0,
            (Model::V2, _) => everybody,
            (Model::V3, Kind::Software) => 1,
            (Model::V3, Kind::Line) => 0,
        };
        let sent = Kind::of(interrupt) == Kind::Software && saved.active;
        exists(saved.target)
            && saved.source < if sent { 8 } else { 1 }
            && exists(saved.owner)
            && saved.active == saved.owner.is_some()
            && saved.cpus & !cpus == 0
            && (!saved.in_flight || !private && !saved.line && (saved.pending || saved.active))
            && (!private || saved.target == Some(vcpu.0) && saved.owner.is_none_or(|owner| owner == vcpu.0))
            && (Kind::of(interrupt) == Kind::Line || !saved.pending && !saved.line && !saved.edge)
    }
}

impl SavedInterrupt {
    fn state(&self) -> State {
        let (target, owner) = (self.target.map(VcpuId), VcpuId(self.owner.unwrap_or(0)));
        let flag = |set: bool, flag: u64| if set { flag } else { 0 };
        State::reset(target)
            .owned_by(owner)
            .with_priority(self.priority)
            .with_cpus(self.cpus)
            .with_source(self.source)
            .with(flag(self.enabled, ENABLED))
            .with(flag(self.group_1, GROUP_1))
            .with(flag(self.edge, EDGE))
            .with(flag(self.pending, PENDING))
            .with(flag(self.line, LINE))
            .with(flag(self.active, ACTIVE))
            .with(flag(self.in_flight, RESTORED))
    }
}

impl Vcpu {
    /// Adds what belongs to this vCPU, as of its last save. Passed over if the snapshot has no such vCPU.
    pub fn snapshot(&self, snapshot: &mut Snapshot) {
        if let Some(saved) = snapshot.vcpus.get_mut(usize::from(self.id.0)) {
            saved.control = self.guest.control;
            saved.active_priorities = self.guest.active_priorities;
        }
    }

    /// Takes what belongs to this vCPU. Passed over if the snapshot has no such vCPU.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        if let Some(saved) = snapshot.vcpus.get(usize::from(self.id.0)) {
            self.guest =
                GuestCpuInterface { control: saved.control, active_priorities: saved.active_priorities };
        }
    }
}

/// Every interrupt, with whose it is.
fn each(snapshot: &Snapshot) -> impl Iterator<Item = (VcpuId, u32, &SavedInterrupt)> {
    let private = snapshot.vcpus.iter().enumerate().flat_map(|(vcpu, saved)| {
        (0..).zip(&saved.private).map(move |(interrupt, saved)| (VcpuId(vcpu as u16), interrupt, saved))
    });
    private.chain((FIRST_SPI..).zip(&snapshot.shared).map(|(interrupt, saved)| (VcpuId(0), interrupt, saved)))
}
