//! A virtual machine's interrupts, shared by its vCPUs and by everybody who interrupts it.

use super::queue::Queue;
use super::word::{State, Word};
use crate::host::{Controller, Host, OpenLine};
use crate::storage::{OutOfMemory, table};
use crate::sync::{AtomicU32, AtomicU64, Ordering, relax};
use crate::{FIRST_SPI, GuestInterrupt, HostInterrupt, SPI_END, VcpuId};
use alloc::vec::Vec;

/// What a virtual machine's interrupts need of the machine that runs it.
pub trait Machine {
    /// The host's interrupt controller.
    type Controller: Controller;

    /// The host's interrupts.
    fn host(&self) -> &Host<Self::Controller>;

    /// Makes a vCPU look: one that is in the guest leaves it soon, one that waits for an interrupt wakes up.
    /// Called from any CPU, with host interrupts acknowledged: it must not wait.
    fn kick(&self, vcpu: VcpuId);

    /// Waits a moment for a vCPU that was kicked to leave the guest and be [saved](super::Vcpu::save). Called again
    /// and again until it was, and never for a vCPU that is not loaded.
    ///
    /// A machine of one thread makes the vCPU leave and saves it here, and does no more: what the guest had
    /// trapped for is done later. The caller may hold an interrupt or switch a line, and whoever needs the
    /// same would wait for ever.
    fn wait_for(&self, vcpu: VcpuId);
}

impl<M: Machine + ?Sized> Machine for &M {
    type Controller = M::Controller;
    fn host(&self) -> &Host<M::Controller> {
        (**self).host()
    }
    fn kick(&self, vcpu: VcpuId) {
        (**self).kick(vcpu);
    }
    fn wait_for(&self, vcpu: VcpuId) {
        (**self).wait_for(vcpu);
    }
}

/// Whose programming model the guest sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Model {
    /// `GICv2`: at most 8 vCPUs, targets by mask, software-generated interrupts with their sender.
    V2,
    /// `GICv3`: targets by affinity.
    V3,
}

/// Names a virtual machine among those of a host.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VmId(pub u16);

/// Who completes interrupts that come from devices.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum CompletionBy {
    /// The guest, through the hardware, wherever an interrupt can be forwarded.
    #[default]
    Guest,
    /// The host, always: to compare, or where the hardware's forwarding does not work.
    Host,
}

/// Why an interrupt is not forwarded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fallback {
    /// The host's interrupt has no active state that the guest's could stand for (an LPI).
    NoActiveState,
    /// The virtual machine was [told](Config::completion) to complete in software.
    Configured,
}

/// The shape of a virtual interrupt controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// Which virtual machine it is: no other has this number as long as a line is joined with one of them.
    pub id: VmId,
    /// What the guest sees.
    pub model: Model,
    /// Who completes interrupts that come from devices.
    pub completion: CompletionBy,
    /// vCPUs: 1 to 8 with [`Model::V2`], to 512 with [`Model::V3`].
    pub vcpus: u16,
    /// Interrupts, private and shared: a multiple of 32, 64 to 1024. The last four of 1024 do not exist.
    pub interrupts: u32,
}

/// Why there cannot be such a virtual machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// More vCPUs than the model has, or none (EINVAL).
    #[error("{0} vCPUs: the model takes 1 to {1}")]
    Vcpus(u16, u16),
    /// A number of interrupts that no distributor can have (EINVAL).
    #[error("{0} interrupts: a multiple of 32 from 64 to 1024 is needed")]
    Interrupts(u32),
    /// ENOMEM.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
}

/// What a vCPU shares with those who interrupt it.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct SharedVcpu {
    pub(super) queue: Queue,
    /// 1 from before its queue is drained for the guest until its list registers are saved.
    pub(super) running: AtomicU32,
    /// Interrupts 0 to 31.
    words: [Word; FIRST_SPI as usize],
}

/// A shared interrupt. In a cache line of its own: neighbours may be different vCPUs'.
#[derive(Debug)]
#[repr(align(64))]
struct SharedInterrupt {
    word: Word,
    /// The line that it is bound to, while its word has a binding.
    line: AtomicU64,
}

/// A virtual machine's interrupts.
///
/// What takes an interrupt out of use, or changes one that a vCPU has in a list register, waits for that vCPU
/// to be saved, and for others that change the same one. So a vCPU that was loaded has to be saved before it
/// is dropped, and he who calls is not to be preempted for long. What is called by a
/// [trigger](crate::host::Trigger) waits for nobody: [`deliver`](Self::deliver), [`signal`](Self::signal),
/// [`set_line`](Self::set_line), [`pulse`](Self::pulse).
///
/// Everything takes `&self`: vCPUs, host interrupt handlers and the control interface use it at the same time. Memory
/// is allocated when it is made, and never after.
#[derive(Debug)]
pub struct Vm<M> {
    pub(super) machine: M,
    pub(super) config: Config,
    pub(super) vcpus: Vec<SharedVcpu>,
    shared: Vec<SharedInterrupt>,
    /// The groups that the guest's distributor passes on, as bits 0 and 1 of its control register.
    pub(super) groups: AtomicU32,
    pub(super) frames: super::frame::Frames,
}

impl<M: Machine> Vm<M> {
    /// The interrupts of a virtual machine, as after reset: all disabled, and those that are shared go to vCPU 0.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn new(machine: M, config: Config) -> Result<Self, ConfigError> {
        let most = match config.model {
            Model::V2 => 8,
            Model::V3 => 512,
        };
        if config.vcpus == 0 || config.vcpus > most {
            return Err(ConfigError::Vcpus(config.vcpus, most));
        }
        if !(64..=1024).contains(&config.interrupts) || !config.interrupts.is_multiple_of(32) {
            return Err(ConfigError::Interrupts(config.interrupts));
        }
        let vcpus = table(usize::from(config.vcpus), |vcpu| SharedVcpu {
            queue: Queue::new(),
            running: AtomicU32::new(0),
            words: core::array::from_fn(|_| Word::new(State::reset(Some(VcpuId(vcpu as u16))))),
        })?;
        let shared = (config.interrupts.min(SPI_END) - FIRST_SPI) as usize;
        let reset = match config.model {
            Model::V2 => State::reset(Some(VcpuId(0))).with_cpus(1),
            Model::V3 => State::reset(Some(VcpuId(0))),
        };
        Ok(Self {
            machine,
            config,
            vcpus,
            shared: table(shared, |_| SharedInterrupt { word: Word::new(reset), line: AtomicU64::new(0) })?,
            groups: AtomicU32::new(0),
            frames: super::frame::Frames::new(config.model, shared)?,
        })
    }

    /// The machine that runs it.
    pub const fn machine(&self) -> &M {
        &self.machine
    }

    /// Its shape.
    pub const fn config(&self) -> Config {
        self.config
    }

    /// The number after that of the last interrupt.
    pub const fn end(&self) -> u32 {
        if self.config.interrupts < SPI_END { self.config.interrupts } else { SPI_END }
    }

    /// The word of an interrupt as `vcpu` sees it; `None` if there is none.
    pub(super) fn word(&self, vcpu: VcpuId, interrupt: u32) -> Option<&Word> {
        match interrupt.checked_sub(FIRST_SPI) {
            Some(shared) => self.shared.get(shared as usize).map(|shared| &shared.word),
            None => self.vcpus.get(usize::from(vcpu.0))?.words.get(interrupt as usize),
        }
    }

    /// The word of a shared interrupt.
    pub(super) fn shared_word(&self, interrupt: GuestInterrupt) -> Option<&Word> {
        self.shared.get(interrupt.0.checked_sub(FIRST_SPI)? as usize).map(|shared| &shared.word)
    }

    /// The line that an interrupt is bound to. To be asked only while its word says that it is bound.
    pub(super) fn line(&self, interrupt: u32) -> OpenLine {
        let shared = interrupt.wrapping_sub(FIRST_SPI) as usize;
        OpenLine::unpack(self.shared.get(shared).map_or(0, |shared| shared.line.load(Ordering::Acquire)))
    }

    /// Notes the line; before the word says that it is bound.
    pub(super) fn set_line_of(&self, interrupt: GuestInterrupt, line: OpenLine) {
        if let Some(shared) = self.shared.get(interrupt.0.wrapping_sub(FIRST_SPI) as usize) {
            shared.line.store(line.pack(), Ordering::Release);
        }
    }

    /// Does something at the host's controller with the interrupt that a guest interrupt is bound to, unless
    /// its line was closed.
    pub(super) fn at_host<R>(
        &self,
        interrupt: u32,
        act: impl FnOnce(&M::Controller, HostInterrupt) -> R,
    ) -> Option<R> {
        self.machine.host().at_hardware(self.line(interrupt), act)
    }

    pub(super) fn physical(&self, interrupt: u32) -> HostInterrupt {
        self.line(interrupt).interrupt()
    }

    /// Why a host interrupt cannot be forwarded to this virtual machine.
    pub(crate) fn fallback(&self, interrupt: HostInterrupt) -> Option<Fallback> {
        if !self.machine.host().controller().has_active_state(interrupt) {
            Some(Fallback::NoActiveState)
        } else if self.config.completion == CompletionBy::Host {
            Some(Fallback::Configured)
        } else {
            None
        }
    }

    /// Gives an interrupt to a vCPU to look at.
    pub(super) fn queue(&self, vcpu: VcpuId, interrupt: u32) {
        let Some(shared) = self.vcpus.get(usize::from(vcpu.0)) else { return };
        shared.queue.add(interrupt);
        self.machine.kick(vcpu);
    }

    /// Whether a vCPU has list registers loaded, or is about to.
    pub fn is_running(&self, vcpu: VcpuId) -> bool {
        self.vcpus.get(usize::from(vcpu.0)).is_some_and(|shared| shared.running.load(Ordering::SeqCst) != 0)
    }

    /// Whether there is an interrupt for a vCPU to take: it should not wait for one then.
    ///
    /// Interrupts that the vCPU itself put aside are not counted here: [`Vcpu::has_waiting`](super::Vcpu::has_waiting).
    pub fn has_queued(&self, vcpu: VcpuId) -> bool {
        self.vcpus.get(usize::from(vcpu.0)).is_some_and(|shared| shared.queue.has_some())
    }

    /// Lets others go on while something short is waited for.
    pub(super) fn relax(&self) {
        relax();
    }
}
