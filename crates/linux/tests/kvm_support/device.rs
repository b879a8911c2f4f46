//! A device in software: registers on the guest's bus, and interrupts as VFIO has them.

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use vcm::GuestPhysicalAddress;
use vcm_irq::{DeviceInterrupt, Sense};
use vcm_linux::Error;
use vcm_linux::kvm::forwarding::{InterruptSource, Lending};
use vcm_linux::kvm::guest::{Acknowledgement, Interrupt, Kind, Order, Status, Value};
use vcm_linux::kvm::vcpu::Bus;
use vmm_sys_util::eventfd::EventFd;

/// Where its registers are in the guest: a page for each interrupt, status at 0, acknowledgement at 4.
pub const REGISTERS: u32 = 0xd000_0000;

pub fn status(interrupt: u32) -> Option<Status> {
    Some(Status { at: REGISTERS + interrupt * 0x1000, mask: 1 })
}

pub fn acknowledgement(interrupt: u32) -> Option<Acknowledgement> {
    Some(Acknowledgement { at: REGISTERS + interrupt * 0x1000 + 4, value: Value::Status })
}

/// A level-sensitive interrupt, as the guest's program wants it.
pub fn level(interrupt: u32, gsi: u32, order: Order) -> Interrupt {
    Interrupt {
        kind: Kind::Level { gsi },
        vector: 0x40 + interrupt as u8,
        status: status(interrupt),
        acknowledgement: acknowledgement(interrupt),
        order,
    }
}

/// A message.
pub fn message(interrupt: u32) -> Interrupt {
    Interrupt { kind: Kind::Message, ..level(interrupt, 0, Order::QuietThenEnd) }
}

#[derive(Debug, Default)]
struct Line {
    asks: bool,
    masked: bool,
    trigger: Option<EventFd>,
    unmask: Option<EventFd>,
    /// How often it was signalled.
    signalled: u64,
    /// Whether the guest has quieted it since it was signalled.
    served: bool,
    /// How often it was unmasked before the guest had quieted it.
    early: u64,
}

impl Line {
    fn unmask(&mut self) {
        self.early += u64::from(self.masked && !self.served);
        self.masked = false;
        self.look();
    }

    /// A level: it is signalled and masks itself.
    fn look(&mut self) {
        if self.asks
            && !self.masked
            && let Some(trigger) = &self.trigger
        {
            self.masked = true;
            self.signalled += 1;
            self.served = false;
            trigger.write(1).unwrap();
        }
    }
}

/// Interrupts by index 0 (levels) and index 1 (messages), one sub-index for each.
#[derive(Debug)]
pub struct SoftDevice {
    senses: Vec<Sense>,
    lines: Vec<Mutex<Line>>,
    lending: Lending,
    epoll: Arc<OwnedFd>,
    /// Whether `set_unmask` is to fail.
    pub refuses: AtomicBool,
}

fn borrow(eventfd: &EventFd) -> BorrowedFd<'_> {
    // SAFETY: open as long as it is borrowed.
    #[allow(unsafe_code, reason = "an EventFd does not lend its descriptor by a safe function")]
    unsafe {
        BorrowedFd::borrow_raw(eventfd.as_raw_fd())
    }
}

impl SoftDevice {
    pub fn new(senses: &[Sense]) -> Arc<Self> {
        let device = Arc::new(Self {
            senses: senses.to_vec(),
            lines: senses.iter().map(|_| Mutex::default()).collect(),
            lending: Lending::default(),
            epoll: Arc::new(epoll::create(CreateFlags::CLOEXEC).unwrap()),
            refuses: AtomicBool::new(false),
        });
        let (epoll, weak) = (Arc::clone(&device.epoll), Arc::downgrade(&device));
        std::thread::spawn(move || unmask_loop(&epoll, &weak));
        device
    }

    /// The name of an interrupt.
    pub fn name(&self, interrupt: u32) -> DeviceInterrupt {
        match self.senses[interrupt as usize] {
            Sense::Level => DeviceInterrupt { index: 0, subindex: interrupt },
            Sense::Edge => DeviceInterrupt { index: 1, subindex: interrupt },
        }
    }

    fn line(&self, interrupt: u32) -> MutexGuard<'_, Line> {
        self.lines[interrupt as usize].lock().unwrap()
    }

    /// The device wants something.
    pub fn raise(&self, interrupt: u32) {
        let mut line = self.line(interrupt);
        assert!(!line.asks, "it was not quieted");
        line.asks = true;
        match self.senses[interrupt as usize] {
            Sense::Level => line.look(),
            Sense::Edge => {
                if let Some(trigger) = &line.trigger {
                    trigger.write(1).unwrap();
                    line.signalled += 1;
                }
            }
        }
    }

    pub fn is_quiet(&self, interrupt: u32) -> bool {
        !self.line(interrupt).asks
    }

    /// It wants nothing any more.
    pub fn quiet(&self, interrupt: u32) {
        self.line(interrupt).asks = false;
    }

    pub fn is_connected(&self, interrupt: u32) -> bool {
        let line = self.line(interrupt);
        line.trigger.is_some() || line.unmask.is_some()
    }

    pub fn is_masked(&self, interrupt: u32) -> bool {
        self.line(interrupt).masked
    }

    /// How often it was signalled.
    pub fn signalled(&self, interrupt: u32) -> u64 {
        self.line(interrupt).signalled
    }

    /// How often the guest's end of it came before the guest had quieted it.
    ///
    /// With a guest that quiets first, never, but for a KVM that emulates a guest whole without hardware (the
    /// out-of-tree `kvm_pvm`) and ends an interrupt as it delivers it. The device is signalled once more for each,
    /// and finds the guest's handler with nothing to do.
    pub fn ended_early(&self, interrupt: u32) -> u64 {
        self.line(interrupt).early
    }

    fn known(&self, interrupt: DeviceInterrupt) -> Option<u32> {
        let sense = self.senses.get(interrupt.subindex as usize)?;
        let index = if *sense == Sense::Level { 0 } else { 1 };
        (interrupt.index == index).then_some(interrupt.subindex)
    }

    /// What VFIO does when an eventfd that unmasks is signalled.
    fn unmask_by_eventfd(&self, interrupt: u32) {
        let mut line = self.line(interrupt);
        if line.unmask.as_ref().is_some_and(|unmask| unmask.read().is_ok()) {
            line.unmask();
        }
    }
}

/// Holds the device only while there is something to do.
fn unmask_loop(epoll: &OwnedFd, device: &Weak<SoftDevice>) {
    while device.strong_count() > 0 {
        let mut events = [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 8];
        let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: 2_000_000 };
        let count = epoll::wait(epoll, &mut events, Some(&timeout)).unwrap_or(0);
        for event in &events[..count] {
            if let Some(device) = device.upgrade() {
                device.unmask_by_eventfd(event.data.u64() as u32);
            }
        }
    }
}

impl InterruptSource for SoftDevice {
    fn sense(&self, interrupt: DeviceInterrupt) -> Option<Sense> {
        Some(self.senses[self.known(interrupt)? as usize])
    }

    fn lend(&self, interrupt: DeviceInterrupt) -> bool {
        self.lending.lend(interrupt)
    }

    fn give_back(&self, interrupt: DeviceInterrupt) {
        self.lending.give_back(interrupt);
    }

    fn set_trigger(&self, interrupt: DeviceInterrupt, trigger: Option<&EventFd>) -> Result<(), Error> {
        let number = self.known(interrupt).unwrap();
        let mut line = self.line(number);
        line.trigger = trigger.map(|trigger| trigger.try_clone().unwrap());
        match self.senses[number as usize] {
            Sense::Level if line.trigger.is_none() => line.masked = false,
            Sense::Level => line.look(),
            Sense::Edge => {}
        }
        Ok(())
    }

    fn set_unmask(&self, interrupt: DeviceInterrupt, unmask: Option<&EventFd>) -> Result<(), Error> {
        let number = self.known(interrupt).unwrap();
        if unmask.is_some() && self.refuses.load(Ordering::Relaxed) {
            return Err(Error::System {
                call: "VFIO_DEVICE_SET_IRQS",
                object: "the device in software".into(),
                errno: rustix::io::Errno::NODEV,
                help: None,
            });
        }
        let mut line = self.line(number);
        if let Some(before) = line.unmask.take() {
            epoll::delete(&*self.epoll, borrow(&before)).unwrap();
        }
        if let Some(unmask) = unmask {
            let unmask = unmask.try_clone().unwrap();
            epoll::add(&*self.epoll, borrow(&unmask), EventData::new_u64(u64::from(number)), EventFlags::IN)
                .unwrap();
            line.unmask = Some(unmask);
        }
        Ok(())
    }

    fn unmask(&self, interrupt: DeviceInterrupt) -> Result<(), Error> {
        self.line(self.known(interrupt).unwrap()).unmask();
        Ok(())
    }
}

impl Bus for SoftDevice {
    fn read(&self, at: GuestPhysicalAddress, into: &mut [u8]) {
        into.fill(0);
        let offset = at.raw() as u32 - REGISTERS;
        if offset & 0xfff == 0 {
            into[0] = u8::from(self.line(offset >> 12).asks);
        }
    }

    fn write(&self, at: GuestPhysicalAddress, bytes: &[u8]) {
        let offset = at.raw() as u32 - REGISTERS;
        if offset & 0xfff == 4 && bytes[0] & 1 == 1 {
            let mut line = self.line(offset >> 12);
            line.asks = false;
            line.served = true;
        }
    }
}
