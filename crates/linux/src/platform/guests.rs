//! Guests that own devices' interrupts: a virtual machine each, in which a small program takes them.

use super::assigned::Assigned;
use crate::Error;
use crate::kvm::forwarding::{Forwarding, InterruptSource, Relay};
use crate::kvm::guest::{
    Acknowledgement, Counts, Guest, GuestProgram, Interrupt, Kind, Order, Status, Value,
};
use crate::kvm::vcpu::Bus;
use crate::kvm::{InterruptController, Kvm, Vm};
use crate::vfio::BarMapping;
use crate::vfio_interrupts::VfioInterrupts;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use vcm::GuestPhysicalAddress;
use vcm_devices::edu::spec;
use vcm_iommu::Registers as _;
use vcm_irq::{DeviceInterrupt, Sense};
use vcm_platform::{GuestRequest, Quieting};
use vmm_sys_util::eventfd::EventFd;

/// Where the guest's program is, and where its devices' registers are, 1 MiB for each. Guest physical addresses.
const PROGRAM: u64 = 0x10_0000;
const REGISTERS: u64 = 0xe000_0000;
const WINDOW: u64 = 1 << 20;
/// The vector of the first interrupt.
const FIRST_VECTOR: u8 = 0x30;
/// How long a guest may take to set itself up. Under emulation that is long.
const SET_UP: Duration = Duration::from_secs(20);
/// How often a relay looks whether it is to end.
const LOOK: Duration = Duration::from_millis(20);

/// The registers of a guest's devices, as it finds them. An access comes out of the guest to this process.
struct Windows {
    bars: Mutex<Vec<BarMapping>>,
}

impl Windows {
    fn with<T>(
        &self,
        at: GuestPhysicalAddress,
        len: usize,
        f: impl FnOnce(&mut BarMapping, u32) -> T,
    ) -> Option<T> {
        let offset = at.raw().checked_sub(REGISTERS)?;
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = bars.get_mut((offset / WINDOW) as usize)?;
        (len == 4).then(|| f(bar, (offset % WINDOW) as u32))
    }
}

impl Bus for Windows {
    fn read(&self, at: GuestPhysicalAddress, into: &mut [u8]) {
        match self.with(at, into.len(), |bar, offset| bar.read(offset)) {
            Some(value) => into.copy_from_slice(&value.to_le_bytes()),
            // As on a bus with nothing there.
            None => into.fill(0xff),
        }
    }

    fn write(&self, at: GuestPhysicalAddress, bytes: &[u8]) {
        if let Ok(bytes) = bytes.try_into() {
            self.with(at, 4, |bar, offset| bar.write(offset, u32::from_le_bytes(bytes)));
        }
    }
}

/// Counts how often this process was needed.
#[derive(Debug)]
pub(super) struct Counted {
    interrupts: Arc<VfioInterrupts>,
    /// Ends of a guest that this process passed on to the device.
    pub(super) unmasked: AtomicU64,
}

impl InterruptSource for Counted {
    fn sense(&self, interrupt: DeviceInterrupt) -> Option<Sense> {
        self.interrupts.sense(interrupt)
    }

    fn lend(&self, interrupt: DeviceInterrupt) -> bool {
        self.interrupts.lend(interrupt)
    }

    fn give_back(&self, interrupt: DeviceInterrupt) {
        self.interrupts.give_back(interrupt);
    }

    fn set_trigger(&self, interrupt: DeviceInterrupt, trigger: Option<&EventFd>) -> Result<(), Error> {
        self.interrupts.set_trigger(interrupt, trigger)
    }

    fn set_unmask(&self, interrupt: DeviceInterrupt, unmask: Option<&EventFd>) -> Result<(), Error> {
        self.interrupts.set_unmask(interrupt, unmask)
    }

    fn unmask(&self, interrupt: DeviceInterrupt) -> Result<(), Error> {
        self.unmasked.fetch_add(1, Ordering::Relaxed);
        self.interrupts.unmask(interrupt)
    }
}

/// A thread that passes on the interrupts of one line while they are not forwarded.
#[derive(Debug)]
struct RelayThread {
    stop: Arc<AtomicBool>,
    passed_on: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl RelayThread {
    fn start(relay: Relay<Counted>) -> Result<Self, Error> {
        let (stop, passed_on) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ends, counts) = (Arc::clone(&stop), Arc::clone(&passed_on));
        let run = move || {
            while !ends.load(Ordering::Acquire) {
                match relay.dispatch(Some(LOOK)) {
                    Ok(relayed) => counts.fetch_add(relayed.passed_on as u64, Ordering::Relaxed),
                    Err(_) => return,
                };
            }
        };
        let thread = std::thread::Builder::new().name("vcm-relay".to_owned()).spawn(run);
        let thread = thread
            .map_err(|error| Error::Missing { what: "a thread".to_owned(), help: error.to_string() })?;
        Ok(Self { stop, passed_on, thread: Some(thread) })
    }
}

impl Drop for RelayThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // It ends within `LOOK`; if it panicked there is nothing left to wait for.
            let _ = thread.join();
        }
    }
}

/// A device's interrupt that a guest has.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) interrupt: DeviceInterrupt,
    pub(super) gsi: u32,
    pub(super) source: Arc<Counted>,
    /// Before the control: a relay that runs on finds no line.
    relay: RelayThread,
    pub(super) control: Forwarding<Counted>,
    /// The device's registers.
    bar: BarMapping,
    /// What guests counted that ran before this one was made anew.
    before: Counts,
}

impl Line {
    /// How often this process was woken for it.
    pub(super) fn wakes(&self) -> u64 {
        self.relay.passed_on.load(Ordering::Relaxed)
    }

    /// Whether the device asks for something now.
    pub(super) fn asks(&self) -> bool {
        self.bar.clone().read(spec::INTERRUPT_STATUS) != 0
    }

    /// Ends of the guest's among them.
    pub(super) fn ends(&self) -> u64 {
        self.source.unmasked.load(Ordering::Relaxed)
    }
}

/// A guest.
#[derive(Debug)]
pub(super) struct GuestMachine {
    pub(super) request: GuestRequest,
    pub(super) lines: Vec<Line>,
    running: Option<Guest>,
    vm: Vm,
}

impl GuestMachine {
    /// A guest without devices, which does not run yet.
    ///
    /// # Errors
    /// There is no KVM.
    pub(super) fn new(request: &GuestRequest) -> Result<Self, Error> {
        let vm = Kvm::open()?.create(InterruptController::Kernel)?;
        Ok(Self { request: request.clone(), lines: Vec::new(), running: None, vm })
    }

    /// Gives an interrupt of a device to it, automasked, and starts it anew with a driver for it. Answers its place.
    ///
    /// # Errors
    /// The device has no such interrupt, or no driver that the guest could have; the GSI cannot be had; the kernel's.
    pub(super) fn give(
        &mut self,
        device: &Assigned,
        interrupt: DeviceInterrupt,
        gsi: u32,
    ) -> Result<usize, Error> {
        let open = device.device().ok_or_else(|| {
            Error::argument(
                format!("an interrupt of {}", device.name()),
                "the device is attached to no region, and so it is closed",
            )
        })?;
        if let Some(other) = self.lines.iter().find(|line| line.gsi == gsi) {
            let why = format!("EBUSY: {} has GSI {gsi}", other.interrupt);
            return Err(Error::argument(format!("an interrupt of {}", device.name()), why));
        }
        let bar = device.registers_of_edu().ok_or_else(|| {
            Error::not_supported(
                format!("an interrupt of {} in a guest", device.name()),
                "our guest has a driver for edu devices only",
            )
        })?;
        let interrupts = Arc::new(VfioInterrupts::new(Arc::clone(open)));
        let source = Arc::new(Counted { interrupts, unmasked: AtomicU64::new(0) });
        let sense = source.sense(interrupt);
        let control = Forwarding::new(&self.vm, vcm_irq::kvm_vfio::GROUP)?;
        let number = match sense {
            Some(Sense::Edge) => {
                return Err(Error::not_supported("a message in a guest of ours", "it takes levels"));
            }
            Some(Sense::Level) => gsi,
            None => {
                return Err(Error::argument(
                    format!("{interrupt} of {}", device.name()),
                    "it has no such interrupt",
                ));
            }
        };
        let refused = |error: crate::kvm::forwarding::ForwardError| match error {
            crate::kvm::forwarding::ForwardError::System(error) => error,
            other => Error::argument(format!("{interrupt} of {}", device.name()), other.to_string()),
        };
        control.assign(&source, interrupt, number).map_err(refused)?;
        let relay = RelayThread::start(control.relay())?;
        self.stop();
        self.lines.push(Line {
            interrupt,
            gsi: number,
            source,
            relay,
            control,
            bar,
            before: Counts::default(),
        });
        if let Err(error) = self.run() {
            self.lines.pop();
            // As it was; what it answers then was true before.
            let _ = self.run();
            return Err(error);
        }
        Ok(self.lines.len() - 1)
    }

    /// Takes the line back that was given last.
    ///
    /// # Errors
    /// The guest does not run without it either.
    pub(super) fn take_last(&mut self) -> Result<(), Error> {
        self.stop();
        self.lines.pop();
        self.run()
    }

    /// What it counted of a line.
    pub(super) fn counts(&self, line: usize) -> Counts {
        let before = self.lines.get(line).map(|line| line.before).unwrap_or_default();
        let now = self.running.as_ref().map(|guest| guest.counts(line)).unwrap_or_default();
        Counts {
            delivered: before.delivered + now.delivered,
            spurious: before.spurious + now.spurious,
            ..now
        }
    }

    /// Why it does not run any more, if it has ended by itself.
    pub(super) fn ended(&self) -> Option<String> {
        self.running.as_ref()?.ended().map(|ended| format!("{ended:?}"))
    }

    fn stop(&mut self) {
        for index in 0..self.lines.len() {
            self.lines[index].before = self.counts(index);
        }
        self.running = None;
    }

    fn run(&mut self) -> Result<(), Error> {
        let order = match self.request.quieting {
            Quieting::BeforeEnd => Order::QuietThenEnd,
            Quieting::AfterEnd => Order::EndThenQuiet,
            Quieting::Oneshot => Order::Oneshot,
        };
        let interrupts = self.lines.iter().enumerate().map(|(index, line)| {
            let at = |register: u32| (REGISTERS + index as u64 * WINDOW) as u32 + register;
            Interrupt {
                kind: Kind::Level { gsi: line.gsi },
                vector: FIRST_VECTOR + index as u8,
                status: Some(Status { at: at(spec::INTERRUPT_STATUS), mask: u32::MAX }),
                acknowledgement: Some(Acknowledgement {
                    at: at(spec::INTERRUPT_ACKNOWLEDGE),
                    value: Value::Status,
                }),
                order,
            }
        });
        let interrupts: Vec<Interrupt> = interrupts.collect();
        let vcpus = u32::from(self.request.vcpus.max(1));
        let program = GuestProgram::new(&self.vm, GuestPhysicalAddress::new(PROGRAM), vcpus, &interrupts)?;
        let bars = self.lines.iter().map(|line| line.bar.clone()).collect();
        let guest = program.start(Arc::new(Windows { bars: Mutex::new(bars) }))?;
        guest.wait_ready(SET_UP)?;
        self.running = Some(guest);
        Ok(())
    }
}
