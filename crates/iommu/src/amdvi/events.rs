//! The event log, and what its events mean.

use super::Interrupts;
use super::port::Port;
use super::spec::{self, BufferBase, Event, Status};
use crate::{FaultRecord, Registers, SharedMemory, StreamId, Unresponsive};
use vcm::{FaultAccess, FaultReason, FaultState, PhysicalAddress};

/// The event log.
#[derive(Debug)]
pub(super) struct EventLog {
    base: PhysicalAddress,
    log2: u8,
    /// Index of the next event.
    head: u64,
    /// The tail when it was read last, as an index.
    tail: u64,
    /// How often the hardware said that it lost events, or was caught at it.
    pub(super) overflows: u64,
    /// Events that tell of commands.
    pub(super) command_errors: u64,
}

/// What an event tells of.
enum Told {
    /// A transaction.
    Fault(FaultRecord),
    /// A command.
    Command,
    /// Nothing that concerns anybody.
    Nothing,
}

impl EventLog {
    pub(super) const fn new(base: PhysicalAddress, log2: u8) -> Self {
        Self { base, log2, head: 0, tail: 0, overflows: 0, command_errors: 0 }
    }

    const fn entries(&self) -> u64 {
        1 << self.log2
    }

    const fn at(&self, index: u64) -> u64 {
        self.base.raw() + index * spec::EVENT_BYTES
    }

    /// Empties a log that is off, so that it can be switched on.
    pub(super) fn reset<R: Registers, M: SharedMemory>(
        &mut self,
        port: &mut Port<R, M>,
    ) -> Result<(), Unresponsive> {
        let base = BufferBase::new().with_page(self.base.raw() >> 12).with_log2(self.log2);
        port.set(spec::EVENT_BASE, base.into_bits(), "the event base does not keep what is written")?;
        port.registers.write64(spec::EVENT_HEAD, 0);
        port.registers.write64(spec::EVENT_TAIL, 0);
        (self.head, self.tail) = (0, 0);
        for index in 0..self.entries() {
            // What has no code was not written yet.
            port.memory.write64(PhysicalAddress::new(self.at(index)), 0);
        }
        let flags = Status::new().with_event_overflow(true).with_event_log_int(true).with_com_wait_int(true);
        port.registers.write64(spec::STATUS, flags.into_bits());
        Ok(())
    }

    /// Takes events until one tells of a transaction.
    pub(super) fn next<R: Registers, M: SharedMemory>(
        &mut self,
        port: &mut Port<R, M>,
    ) -> Result<Option<FaultRecord>, Unresponsive> {
        // One wait for all events that are announced and do not come.
        let mut polls = port.config.polls;
        // What comes meanwhile can wait for the next call: this one ends.
        for _ in 0..self.entries() {
            if self.head == self.tail {
                self.look(port)?;
                if self.head == self.tail {
                    return Ok(None);
                }
            }
            match self.take(port, &mut polls) {
                Some(Told::Fault(record)) => return Ok(Some(record)),
                Some(Told::Command) => self.command_errors = self.command_errors.saturating_add(1),
                Some(Told::Nothing) => {}
                None => self.overflows = self.overflows.saturating_add(1),
            }
        }
        Ok(None)
    }

    /// Takes one event. `None`: it was announced, and never came, for `polls` reads.
    fn take<R: Registers, M: SharedMemory>(
        &mut self,
        port: &mut Port<R, M>,
        polls: &mut u32,
    ) -> Option<Told> {
        let at = PhysicalAddress::new(self.at(self.head));
        // Some hardware moves the tail before it writes the event, as Linux's driver notes.
        let mut event = Event::from_bits(port.memory.read64(at));
        while event.code() == 0 && *polls > 0 {
            *polls -= 1;
            event = Event::from_bits(port.memory.read64(at));
        }
        let address = port.memory.read64(PhysicalAddress::new(at.raw() + 8));
        port.memory.write64(at, 0);
        self.head = (self.head + 1) % self.entries();
        port.registers.write64(spec::EVENT_HEAD, self.head * spec::EVENT_BYTES);
        (event.code() != 0).then(|| decode(event, address))
    }

    /// Looks for new events.
    fn look<R: Registers, M: SharedMemory>(&mut self, port: &mut Port<R, M>) -> Result<(), Unresponsive> {
        self.read_tail(port)?;
        if self.tail != self.head {
            return Ok(());
        }
        // All are taken: there is room for what comes after an overflow.
        let status = port.status()?;
        if status.event_overflow() {
            self.overflows = self.overflows.saturating_add(1);
            // The specification: clear the flag, then write EventLogEn as 1. Hardware wants it written as 0 first,
            // as Linux's driver found.
            let control = port.control()?;
            port.set_control(control.with_event_log_en(false).with_event_int_en(false));
            port.wait(|status| !status.event_log_run(), "logging events does not stop")?;
            port.registers.write64(spec::STATUS, Status::new().with_event_overflow(true).into_bits());
            let interrupts = port.config.interrupts == Interrupts::On;
            port.set_control(control.with_event_log_en(true).with_event_int_en(interrupts));
            port.wait(|status| status.event_log_run(), "logging events does not start")?;
        } else if !status.event_log_run() {
            return Err(port.unresponsive("events are not logged"));
        }
        if status.event_log_int() {
            // Before the tail is read again: an event that comes after that interrupts again.
            port.registers.write64(spec::STATUS, Status::new().with_event_log_int(true).into_bits());
        }
        self.read_tail(port)
    }

    fn read_tail<R: Registers, M: SharedMemory>(
        &mut self,
        port: &mut Port<R, M>,
    ) -> Result<(), Unresponsive> {
        let tail = (port.read(spec::EVENT_TAIL)? & spec::OFFSET_MASK) / spec::EVENT_BYTES;
        if tail >= self.entries() {
            return Err(port.unresponsive("the event tail is beyond the log"));
        }
        self.tail = tail;
        Ok(())
    }
}

fn decode(event: Event, address: u64) -> Told {
    use FaultReason::{Bus, Configuration, Permission, TableWalk, Translation};
    // Whether the address is the transaction's, or a physical one.
    let (name, reason, address) = match event.code() {
        spec::EVENT_ILLEGAL_DEV_TABLE_ENTRY => ("ILLEGAL_DEV_TABLE_ENTRY", Configuration, address),
        spec::EVENT_IO_PAGE_FAULT => {
            let reason = match (event.rz(), event.pr()) {
                (true, _) => Configuration,
                (false, true) => Permission,
                (false, false) => Translation,
            };
            ("IO_PAGE_FAULT", reason, address)
        }
        spec::EVENT_DEV_TAB_HARDWARE_ERROR => ("DEV_TAB_HARDWARE_ERROR", TableWalk, 0),
        spec::EVENT_PAGE_TAB_HARDWARE_ERROR => ("PAGE_TAB_HARDWARE_ERROR", TableWalk, 0),
        spec::EVENT_ILLEGAL_COMMAND_ERROR
        | spec::EVENT_COMMAND_HARDWARE_ERROR
        | spec::EVENT_IOTLB_INV_TIMEOUT => return Told::Command,
        spec::EVENT_INVALID_DEVICE_REQUEST => ("INVALID_DEVICE_REQUEST", Permission, address),
        spec::EVENT_INVALID_PPR_REQUEST => ("INVALID_PPR_REQUEST", Configuration, address),
        spec::EVENT_EVENT_COUNTER_ZERO => return Told::Nothing,
        spec::EVENT_RMP_PAGE_FAULT => ("RMP_PAGE_FAULT", Permission, address),
        spec::EVENT_RMP_HARDWARE_ERROR => ("RMP_HW_ERROR", TableWalk, 0),
        _ => ("unknown event", Bus, 0),
    };
    let pasid = u32::from(event.pasid_high()) << 16 | u32::from(event.domain_or_pasid());
    Told::Fault(FaultRecord {
        stream: StreamId(event.device().into()),
        substream: event.gn().then_some(pasid),
        address,
        access: if event.rw() { FaultAccess::Write } else { FaultAccess::Read },
        reason,
        state: FaultState::Terminated,
        name,
        code: event.code().into(),
        stall: None,
    })
}
