//! What the hypervisor consists of: the host's interrupts, its CPUs, and the guests.

use super::account::{Accounts, Causes, Reason};
use super::meter::Meter;
use super::seat::{NOWHERE, Place, Seat};
use super::window::{Current, Window};
use crate::hardware::gic::{Frame, MAINTENANCE};
use crate::hardware::guest::Software;
use crate::hardware::{CPUS, Level};
use crate::soc::Shared;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vcm_irq::gic::{InitError, v2};
use vcm_irq::host::{Controller as _, Host, StormLimit, Taken, Trigger};
use vcm_irq::kvm::{Eventfds, Route};
use vcm_irq::vfio::Signals;
use vcm_irq::vgic::{Group, Vcpu, Vm, VmId};
use vcm_irq::{HostInterrupt, OutOfMemory, Token, VcpuId};

/// The host's own CPU, on which no guest runs.
pub(crate) const HOST: usize = 0;
/// Eventfds that there are: one for each interrupt that a guest is given, from the first one on.
const EVENTFDS: usize = 1 << 12;
/// The most interrupts of a line in a period of steps: more than devices ask for that work in between, and less than
/// what one asks for that does not.
const LIMIT: StormLimit = StormLimit { interrupts: 160, period: 2048 };

pub(super) type Controller = v2::Distributor<Window>;

/// Locks; what another thread left behind when it panicked is as good as any state.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why there is no hypervisor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HypervisorError {
    /// Memory is short.
    OutOfMemory(OutOfMemory),
    /// A CPU interface cannot do what is needed.
    Interface(InitError),
}

impl std::fmt::Display for HypervisorError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OutOfMemory(error) => error.fmt(f),
            Self::Interface(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for HypervisorError {}

/// A guest.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) vm: Arc<Vm<Seat>>,
    pub(super) software: Mutex<Software>,
    pub(super) vcpus: Vec<Mutex<Vcpu>>,
    pub(super) places: Arc<[Place]>,
    /// The devices that its software knows, in the order in which they were plugged: the line each has at the host.
    pub(super) plugged: Mutex<Vec<Plugged>>,
}

/// A device that a guest has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plugged {
    /// The interrupt at the host.
    pub(super) host: u32,
    /// The guest's number for it.
    pub(super) number: u32,
    /// The bus master, and which of its interrupts.
    pub(super) request: (crate::hardware::MasterId, usize),
    /// Whether the guest's driver has enabled it.
    pub(super) set_up: bool,
    /// Whether the host has taken it, and the guest has not acknowledged it.
    pub(super) taken: bool,
}

/// A vCPU of a guest.
#[derive(Clone, Debug)]
pub(super) struct Runner {
    pub(super) guest: Arc<Guest>,
    pub(super) vcpu: u16,
}

impl Runner {
    pub(super) fn place(&self) -> &Place {
        &self.guest.places[usize::from(self.vcpu)]
    }

    pub(super) fn id(&self) -> VcpuId {
        VcpuId(self.vcpu)
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.guest, &other.guest) && self.vcpu == other.vcpu
    }

    /// Whether it has nothing to do before an interrupt comes.
    pub(super) fn waits(&self) -> bool {
        lock(&self.guest.software).waits(self.vcpu)
            && !self.place().kicked.load(SeqCst)
            && !self.guest.vm.has_queued(self.id())
            && !lock(&self.guest.vcpus[usize::from(self.vcpu)]).has_waiting(&self.guest.vm)
    }
}

/// What a CPU is about.
#[derive(Debug, Default)]
pub(super) struct Duty {
    /// The vCPU that it has.
    pub(super) current: Option<Runner>,
    /// Those that belong to it, the next one first.
    pub(super) queue: VecDeque<Runner>,
    /// Accesses that its vCPU makes before another one's turn comes.
    pub(super) slice: u32,
    /// Who caused the vCPU to leave the guest: the way back is theirs too.
    pub(super) causes: Causes,
}

/// A CPU.
pub(super) struct Cpu {
    pub(super) interface: Mutex<v2::CpuInterface<Window>>,
    pub(super) virtual_interface: Mutex<v2::VirtualInterface<Window>>,
    pub(super) duty: Mutex<Duty>,
}

/// The hypervisor.
pub(crate) struct World {
    pub(super) machine: Shared,
    pub(super) current: Current,
    pub(super) meter: Arc<Meter>,
    pub(super) host: Arc<Host<Controller>>,
    pub(super) cpus: Vec<Cpu>,
    pub(super) guests: Mutex<BTreeMap<VmId, Arc<Guest>>>,
    pub(super) eventfds: Arc<Eventfds>,
    pub(super) accounts: Mutex<Accounts>,
    /// On whose behalf the host works now.
    pub(super) cause: Mutex<Causes>,
    /// Events that came for a guest that was gone.
    pub(super) late: AtomicU64,
    /// Steps so far.
    pub(super) now: AtomicU64,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("guests", &self.guests).finish_non_exhaustive()
    }
}

impl World {
    pub(super) fn new(machine: Shared) -> Result<Self, HypervisorError> {
        let current: Current = Arc::new(AtomicUsize::new(HOST));
        let meter = Arc::new(Meter::default());
        let window = |frame| Window {
            machine: machine.clone(),
            frame,
            cpu: Arc::clone(&current),
            meter: Arc::clone(&meter),
        };
        let distributor = v2::Distributor::new(window(Frame::Distributor), Group::Zero);
        distributor.init();
        let mut cpus = Vec::new();
        for cpu in 0..CPUS {
            current.store(cpu, SeqCst);
            distributor.init_private();
            distributor.enable(HostInterrupt(MAINTENANCE));
            let mut interface = v2::CpuInterface::new(window(Frame::CpuInterface), Group::Zero);
            interface.init().map_err(HypervisorError::Interface)?;
            let mut virtual_interface = v2::VirtualInterface::new(window(Frame::VirtualInterface));
            virtual_interface.init();
            cpus.push(Cpu {
                interface: Mutex::new(interface),
                virtual_interface: Mutex::new(virtual_interface),
                duty: Mutex::default(),
            });
        }
        current.store(HOST, SeqCst);
        Ok(Self {
            host: Arc::new(Host::new(distributor, LIMIT).map_err(HypervisorError::OutOfMemory)?),
            eventfds: Arc::new(Eventfds::new(EVENTFDS).map_err(HypervisorError::OutOfMemory)?),
            machine,
            current,
            meter,
            cpus,
            guests: Mutex::default(),
            accounts: Mutex::default(),
            cause: Mutex::default(),
            late: AtomicU64::new(0),
            now: AtomicU64::new(0),
        })
    }

    pub(super) fn guest(&self, id: VmId) -> Option<Arc<Guest>> {
        lock(&self.guests).get(&id).cloned()
    }

    /// Does something on behalf of interrupts.
    pub(super) fn on_behalf<T>(&self, causes: Causes, act: impl FnOnce() -> T) -> T {
        let before = std::mem::replace(&mut *lock(&self.cause), causes);
        let done = act();
        *lock(&self.cause) = before;
        done
    }

    /// Does something as `cpu` does it.
    pub(super) fn as_cpu<T>(&self, cpu: usize, act: impl FnOnce() -> T) -> T {
        let before = self.current.swap(cpu, SeqCst);
        let done = act();
        self.current.store(before, SeqCst);
        done
    }

    /// Accesses of the host to the interrupt controller until now.
    pub(super) fn accesses(&self) -> u64 {
        let machine = self.machine.lock();
        let gic = machine.board.gic();
        let of = |cpu| {
            let counted = gic.counters(cpu);
            counted.distributor + counted.cpu_interface + counted.virtual_interface
        };
        (0..CPUS).map(of).sum()
    }

    /// Whether an interrupt waits for `cpu`.
    pub(super) fn signalled(&self, cpu: usize) -> bool {
        self.machine.lock().board.gic().irq(cpu) == Level::High
    }

    /// Notes on whose behalf a vCPU is kicked.
    pub(super) fn blame(&self, place: &Place) {
        let causes = lock(&self.cause);
        let mut noted = lock(&place.kicked_by);
        for cause in causes.iter() {
            if !noted.contains(cause) {
                noted.push(*cause);
            }
        }
    }

    /// A vCPU leaves the guest because somebody waits for that.
    pub(super) fn evict(&self, id: VmId, vcpu: VcpuId) {
        let Some(guest) = self.guest(id) else {
            self.late.fetch_add(1, SeqCst);
            return;
        };
        let causes = lock(&self.cause).clone();
        self.leave(&Runner { guest, vcpu: vcpu.0 }, &Reason::of(causes));
    }

    /// A vCPU, if it is in the guest, leaves it.
    pub(super) fn leave(&self, runner: &Runner, reason: &Reason) {
        let place = runner.place();
        let cpu = place.on.load(SeqCst);
        let Some(unit) = self.cpus.get(cpu).filter(|_| place.inside.swap(false, SeqCst)) else { return };
        let before = self.accesses();
        self.as_cpu(cpu, || {
            self.on_behalf(reason.causes.clone(), || {
                let mut vcpu = lock(&runner.guest.vcpus[usize::from(runner.vcpu)]);
                let mut interface = lock(&unit.virtual_interface);
                self.meter.host(|| vcpu.save(&runner.guest.vm, &mut *interface));
            });
        });
        let mut accounts = lock(&self.accounts);
        accounts.exit(reason);
        accounts.accesses(&reason.causes, self.accesses() - before);
        lock(&unit.duty).causes.clone_from(&reason.causes);
    }

    /// Notes that the host has taken an interrupt for a guest.
    fn note_taken(&self, guest: &Guest, number: u32, taken: Taken) -> Taken {
        if taken == Taken::Yes {
            for plugged in lock(&guest.plugged).iter_mut().filter(|plugged| plugged.number == number) {
                plugged.taken = true;
            }
        }
        taken
    }

    /// No vCPU of a guest is anywhere any more.
    pub(super) fn stop(&self, guest: &Arc<Guest>) {
        for vcpu in 0..guest.vcpus.len() as u16 {
            let runner = Runner { guest: Arc::clone(guest), vcpu };
            self.leave(&runner, &Reason::default());
            runner.place().on.store(NOWHERE, SeqCst);
        }
        for cpu in &self.cpus {
            let mut duty = lock(&cpu.duty);
            let ours = |runner: &Runner| Arc::ptr_eq(&runner.guest, guest);
            duty.queue.retain(|runner| !ours(runner));
            if duty.current.as_ref().is_some_and(ours) {
                duty.current = None;
            }
        }
    }
}

impl Trigger for World {
    fn signal(&self, token: Token) -> Taken {
        let late = || {
            self.late.fetch_add(1, SeqCst);
            Taken::No
        };
        match Route::of(token) {
            Route::Forwarded { vm, guest } => match self.guest(vm) {
                Some(found) => self.note_taken(&found, guest.0, found.vm.deliver(guest)),
                None => late(),
            },
            Route::Injected { vm, guest } => match self.guest(vm) {
                Some(found) => self.note_taken(&found, guest.0, found.vm.signal(guest)),
                None => late(),
            },
            Route::Eventfd(_) => {
                let Some(irqfd) = self.eventfds.signal(token) else { return Taken::No };
                match self.guest(irqfd.vm) {
                    Some(found) => self.note_taken(&found, irqfd.guest.0, irqfd.interrupt(&found.vm)),
                    None => late(),
                }
            }
        }
    }
}

impl Signals for World {}
