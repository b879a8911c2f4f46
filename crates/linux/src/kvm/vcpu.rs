//! A thread for each virtual CPU.
//!
//! To get a virtual CPU out of the guest, its thread is sent the real-time signal [`SIGNAL`] until it has seen that
//! it is to end.

use super::open::{errno, refused};
use super::vm::{InterruptController, Vm};
use crate::Error;
use kvm_bindings::{KVM_MP_STATE_RUNNABLE, kvm_mp_state, kvm_regs, kvm_segment};
use kvm_ioctls::{VcpuExit, VcpuFd};
use rustix::io::Errno;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;
use vcm::GuestPhysicalAddress;
use vmm_sys_util::signal::{Killable, SIGRTMIN, register_signal_handler};

/// Which real-time signal gets a virtual CPU out of the guest, counted from the first one. The process is not to use
/// it for anything else.
pub const SIGNAL: c_int = 3;

/// What answers a guest's accesses where there is no memory: devices in software.
///
/// A virtual CPU waits for the answer.
pub trait Bus: Send + Sync {
    /// The guest reads.
    fn read(&self, at: GuestPhysicalAddress, into: &mut [u8]);

    /// The guest writes.
    fn write(&self, at: GuestPhysicalAddress, bytes: &[u8]);
}

// Registers of a local APIC, in bytes (Intel SDM volume 3, table 12-1): what is in service, its trigger mode and what
// is requested come before the errors.
const IN_SERVICE: usize = 0x100;
const ERRORS: usize = 0x280;

/// A bus with nothing on it: reads answer with all bits set, as on PCI.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmptyBus;

impl Bus for EmptyBus {
    fn read(&self, _: GuestPhysicalAddress, into: &mut [u8]) {
        into.fill(0xff);
    }

    fn write(&self, _: GuestPhysicalAddress, _: &[u8]) {}
}

/// How a virtual CPU begins: in 32-bit protected mode without paging, with flat segments, interrupts disabled.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The first instruction.
    pub instruction: u32,
    /// The end of its stack, in ESP and EBP.
    pub stack: u32,
    /// Its descriptor table: code at selector 8, data at 16.
    pub descriptors: u32,
    /// Its interrupt descriptor table, of 256 entries.
    pub interrupts: u32,
    /// What it finds in EDI.
    pub argument: u32,
}

/// A virtual CPU that does not run.
#[derive(Debug)]
pub struct Vcpu {
    /// Taken when it is dropped.
    fd: Option<VcpuFd>,
    number: u32,
    // The memory that the guest sees is the virtual machine's: it lives as long as somebody may run this.
    vm: Vm,
}

impl Vcpu {
    /// Makes one, or takes the one with this number that was dropped before. `number` is that of its local APIC.
    ///
    /// # Errors
    /// The kernel's: EEXIST when somebody has the one with this number.
    pub fn new(vm: &Vm, number: u32) -> Result<Self, Error> {
        let idle = vm.idle().remove(&number);
        let fd = match idle {
            Some(fd) => fd,
            None => vm
                .fd()
                .create_vcpu(u64::from(number))
                .map_err(|error| refused("KVM_CREATE_VCPU", format!("vCPU {number}"), error))?,
        };
        Ok(Self { fd: Some(fd), number, vm: vm.clone() })
    }

    /// The virtual machine that it is of.
    pub const fn vm(&self) -> &Vm {
        &self.vm
    }

    /// Sets it up.
    ///
    /// # Errors
    /// The kernel's.
    pub fn prepare(&self, start: Start) -> Result<(), Error> {
        let failed = |call| move |error| refused(call, format!("vCPU {}", self.number), error);
        // It is there until this is dropped.
        let Some(fd) = &self.fd else { return Ok(()) };
        let mut special = fd.get_sregs().map_err(failed("KVM_GET_SREGS"))?;
        // Intel SDM volume 3, 3.4.5: type 11 is code that is read and accessed, 3 is data that is written and accessed.
        let flat = |selector, type_| kvm_segment {
            base: 0,
            limit: u32::MAX,
            selector,
            type_,
            present: 1,
            db: 1,
            s: 1,
            g: 1,
            ..Default::default()
        };
        special.cs = flat(8, 11);
        [special.ds, special.es, special.fs, special.gs, special.ss] = [flat(16, 3); 5];
        special.gdt.base = u64::from(start.descriptors);
        special.gdt.limit = 3 * 8 - 1;
        special.idt.base = u64::from(start.interrupts);
        special.idt.limit = 256 * 8 - 1;
        // Protection enabled; caching too: its two bits are set after a reset.
        special.cr0 = 1 | 1 << 4;
        fd.set_sregs(&special).map_err(failed("KVM_SET_SREGS"))?;
        let registers = kvm_regs {
            rip: u64::from(start.instruction),
            rsp: u64::from(start.stack),
            rbp: u64::from(start.stack),
            rdi: u64::from(start.argument),
            // Bit 1 is always set.
            rflags: 2,
            ..Default::default()
        };
        fd.set_regs(&registers).map_err(failed("KVM_SET_REGS"))?;
        if self.vm.interrupt_controller() == InterruptController::Kernel {
            // What an earlier run left in progress is over: nothing is requested, in service, or on its way into the
            // CPU. The rest the guest sets up itself.
            let mut apic = fd.get_lapic().map_err(failed("KVM_GET_LAPIC"))?;
            apic.regs[IN_SERVICE..ERRORS].fill(0);
            fd.set_lapic(&apic).map_err(failed("KVM_SET_LAPIC"))?;
        }
        let mut events = fd.get_vcpu_events().map_err(failed("KVM_GET_VCPU_EVENTS"))?;
        events.exception = Default::default();
        events.interrupt = Default::default();
        events.nmi = Default::default();
        fd.set_vcpu_events(&events).map_err(failed("KVM_SET_VCPU_EVENTS"))?;
        // All but the first wait for another CPU to start them.
        let runnable = kvm_mp_state { mp_state: KVM_MP_STATE_RUNNABLE };
        fd.set_mp_state(runnable).map_err(failed("KVM_SET_MP_STATE"))
    }

    /// Runs it in a thread of its own, until it is stopped or cannot go on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn run(self, bus: Arc<dyn Bus>) -> Result<Running, Error> {
        install_signal()?;
        let control = Arc::new(Shared::default());
        let shared = Arc::clone(&control);
        let name = format!("vcpu-{}", self.number);
        let thread = std::thread::Builder::new().name(name.clone()).spawn(move || {
            let mut vcpu = self;
            let why = vcpu.run_here(&shared, &*bus);
            vcpu.finish_access(&*bus);
            shared.why.get_or_init(|| why);
        });
        let thread = thread.map_err(|error| {
            Error::system("clone", name, Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))
        })?;
        Ok(Running { shared: control, thread: Some(thread) })
    }

    /// Lets KVM finish the access that it came out for last. Until then its emulator has half an instruction, and
    /// would go on with it whatever the registers are set to (Documentation/virt/kvm/api.rst, KVM_RUN, of
    /// `immediate_exit`).
    fn finish_access(&mut self, bus: &dyn Bus) {
        let Some(fd) = &mut self.fd else { return };
        fd.set_kvm_immediate_exit(1);
        // An access has two parts where it crosses a page, and no more than that.
        for _ in 0..4 {
            match fd.run() {
                Ok(VcpuExit::MmioRead(at, into)) => bus.read(GuestPhysicalAddress::new(at), into),
                Ok(VcpuExit::MmioWrite(at, bytes)) => bus.write(GuestPhysicalAddress::new(at), bytes),
                Ok(VcpuExit::IoIn(_, into)) => into.fill(0xff),
                Ok(VcpuExit::IoOut(..)) => {}
                _ => break,
            }
        }
        fd.set_kvm_immediate_exit(0);
    }

    fn run_here(&mut self, shared: &Shared, bus: &dyn Bus) -> Ended {
        let Some(fd) = &mut self.fd else { return Ended::Stopped };
        while !shared.stop.load(Ordering::Acquire) {
            let exit = fd.run();
            shared.exits.fetch_add(1, Ordering::Relaxed);
            match exit {
                Ok(VcpuExit::MmioRead(at, into)) => bus.read(GuestPhysicalAddress::new(at), into),
                Ok(VcpuExit::MmioWrite(at, bytes)) => bus.write(GuestPhysicalAddress::new(at), bytes),
                Ok(VcpuExit::IoIn(_, into)) => into.fill(0xff),
                Ok(VcpuExit::IoOut(..) | VcpuExit::Intr | VcpuExit::IrqWindowOpen) => {}
                Ok(VcpuExit::Hlt) => return Ended::Halted,
                Ok(other) => return Ended::Failed(format!("{other:?}")),
                Err(error) if matches!(errno(error), Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return Ended::Failed(format!("KVM_RUN: {error}")),
            }
        }
        Ended::Stopped
    }
}

impl Drop for Vcpu {
    fn drop(&mut self) {
        if let Some(fd) = self.fd.take() {
            self.vm.idle().insert(self.number, fd);
        }
    }
}

/// Why a virtual CPU does not run any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ended {
    /// It was stopped.
    Stopped,
    /// It halted, and nobody can interrupt it: the virtual machine has no interrupt controller.
    Halted,
    /// It cannot go on: what KVM says of it.
    Failed(String),
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    exits: AtomicU64,
    why: OnceLock<Ended>,
}

/// A virtual CPU that runs. Dropping it stops it.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Why it does not run any more. `None` while it runs.
    pub fn ended(&self) -> Option<Ended> {
        self.shared.why.get().cloned()
    }

    /// How often it came out to this process.
    pub fn exits(&self) -> u64 {
        self.shared.exits.load(Ordering::Relaxed)
    }

    /// Stops it. Why it ended.
    pub fn stop(mut self) -> Ended {
        self.end();
        self.shared.why.get().cloned().unwrap_or(Ended::Failed("its thread panicked".into()))
    }

    /// Tells it to stop, without waiting. Several are told first, and then each is stopped.
    pub fn tell(&self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = &self.thread
            && !thread.is_finished()
        {
            let _ = thread.kill(SIGRTMIN() + SIGNAL);
        }
    }

    fn end(&mut self) {
        // A signal that comes between the look at `stop` and the entry into the guest does nothing: so it is sent
        // until the thread is through.
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            self.tell();
            std::thread::sleep(Duration::from_micros(200));
        }
        if let Some(thread) = self.thread.take() {
            // A panic of a bus is told by `stop`.
            let _ = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Does nothing: that a signal comes is what gets a thread out of KVM_RUN.
extern "C" fn come_out<T>(_: c_int, _: *mut T, _: *mut c_void) {}

fn install_signal() -> Result<(), Error> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    let install = || register_signal_handler(SIGRTMIN() + SIGNAL, come_out).map_err(|error| error.errno());
    match INSTALLED.get_or_init(install) {
        Ok(()) => Ok(()),
        Err(number) => Err(Error::system("sigaction", "SIGRTMIN + 3", Errno::from_raw_os_error(*number))),
    }
}
