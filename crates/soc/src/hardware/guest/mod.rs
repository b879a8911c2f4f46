//! A guest's software, as far as interrupts go: an operating system that sets up its interrupt controller, takes
//! interrupts, contents devices, and ends interrupts; one register access at a time.
//!
//! It is a state machine that says what a virtual CPU does next ([`Software::next`]) and is told what came of
//! it ([`Software::done`]); whoever runs the CPU makes the access, or traps it. So interrupts and everything
//! that others do can come between any two accesses. It knows the registers of a GICv2 and nothing else: not
//! whether its interrupt controller is virtual, nor how an interrupt reaches it.
//!
//! A handler runs with interrupts masked, as Linux's do. What a handler leaves for later is done in a thread
//! of the same CPU, which interrupts can interrupt.

mod access;
mod driver;
mod operation;

pub use access::{Action, Place};
pub use driver::{Driver, Service};

use super::Level;
use super::gic::Width;
use super::gic::registers::cpu_interface::{
    BPR, CTLR, CTLR_ENABLE_GROUP_0, CTLR_EOI_MODE, DIR, EOIR, IAR, PMR, SPECIAL,
};
use super::gic::registers::distributor::{
    CTLR as GICD_CTLR, CTLR_ENABLE_GROUP_0 as GICD_ENABLE_GROUP_0, ICENABLER, ICFGR, IPRIORITYR, ISENABLER,
    ITARGETSR,
};
use super::request::Signalling;
use operation::Operation;
use std::collections::VecDeque;
use vcm_platform::{GuestEnd, Quieting};

/// The priority mask that lets everything through that can be signalled.
const LET_ALL: u32 = 0xf8;
/// The priority of device interrupts.
const PRIORITY: u32 = 0xa0;
/// The part of an acknowledge register's value that is the interrupt's number.
const NUMBER: u32 = 0x3ff;

/// What one virtual CPU is about.
#[derive(Debug, Default)]
struct Processor {
    /// What its interrupt handler does next; interrupts are masked until it is empty.
    handler: VecDeque<Operation>,
    /// What its threads do next.
    threads: VecDeque<Operation>,
}

/// The software of one guest.
#[derive(Debug)]
pub struct Software {
    quieting: Quieting,
    end: GuestEnd,
    processors: Vec<Processor>,
    drivers: Vec<Driver>,
    /// Acknowledgements that found nothing to acknowledge.
    nothing: u64,
    /// Interrupts that no driver was there for.
    unknown: u64,
}

impl Software {
    /// A guest that starts on `vcpus` virtual CPUs.
    pub fn new(vcpus: u16, quieting: Quieting, end: GuestEnd) -> Self {
        let control = match end {
            GuestEnd::Together => CTLR_ENABLE_GROUP_0,
            GuestEnd::Apart => CTLR_ENABLE_GROUP_0 | CTLR_EOI_MODE,
        };
        let start = |vcpu: u16| {
            let mut threads = VecDeque::new();
            if vcpu == 0 {
                threads.push_back(Operation::distributor(GICD_CTLR, GICD_ENABLE_GROUP_0));
            }
            threads.push_back(Operation::interface(PMR, LET_ALL));
            threads.push_back(Operation::interface(BPR, 0));
            threads.push_back(Operation::interface(CTLR, control));
            Processor { handler: VecDeque::new(), threads }
        };
        let processors = (0..vcpus).map(start).collect();
        Self { quieting, end, processors, drivers: Vec::new(), nothing: 0, unknown: 0 }
    }

    /// A device appears, whose interrupt is `number`: its driver asks for it, and wants it on `vcpu`.
    pub fn plug(&mut self, device: usize, number: u32, signalling: Signalling, vcpu: u16) {
        self.drivers.retain(|driver| driver.number != number);
        self.drivers.push(Driver::new(device, number));
        let Some(processor) = self.processors.get_mut(usize::from(vcpu)) else { return };
        let threads = &mut processor.threads;
        threads.push_back(Operation::byte(IPRIORITYR + number, PRIORITY));
        threads.push_back(Operation::byte(ITARGETSR + number, 1 << (vcpu % 8)));
        if signalling == Signalling::Pulse {
            threads.push_back(Operation::Configure {
                offset: ICFGR + number / 16 * 4,
                bit: 2 << (number % 16 * 2),
            });
        }
        threads.push_back(Operation::enable(ISENABLER, number));
    }

    /// The drivers.
    pub fn drivers(&self) -> &[Driver] {
        &self.drivers
    }

    /// The driver of an interrupt.
    pub fn driver(&self, number: u32) -> Option<&Driver> {
        self.drivers.iter().find(|driver| driver.number == number)
    }

    /// How many acknowledgements found nothing to acknowledge.
    pub const fn nothing(&self) -> u64 {
        self.nothing
    }

    /// How many interrupts came that no driver was there for.
    pub const fn unknown(&self) -> u64 {
        self.unknown
    }

    /// What the virtual CPU `vcpu` does next, with its interrupt signal at `interrupt`. The same until it is
    /// [done](Self::done), unless an interrupt comes before something that a thread does.
    pub fn next(&self, vcpu: u16, interrupt: Level) -> Action {
        let Some(processor) = self.processors.get(usize::from(vcpu)) else { return Action::Wait };
        let operation = match (processor.handler.front(), processor.threads.front()) {
            (Some(operation), _) => *operation,
            (None, _) if interrupt == Level::High => Operation::Acknowledge,
            (None, Some(operation)) => *operation,
            (None, None) => return Action::Wait,
        };
        operation.action()
    }

    /// What `next` answered for the same signal was done; a read gave `value`.
    pub fn done(&mut self, vcpu: u16, interrupt: Level, value: u32) {
        let Some(processor) = self.processors.get_mut(usize::from(vcpu)) else { return };
        if let Some(operation) = processor.handler.pop_front() {
            self.finish(vcpu, operation, value);
        } else if interrupt == Level::High {
            self.finish(vcpu, Operation::Acknowledge, value);
        } else if let Some(operation) = processor.threads.pop_front() {
            self.finish(vcpu, operation, value);
        }
    }

    fn finish(&mut self, vcpu: u16, operation: Operation, value: u32) {
        let quieting = self.quieting;
        let processor = &mut self.processors[usize::from(vcpu)];
        let handler = &mut processor.handler;
        match operation {
            Operation::Acknowledge if value & NUMBER >= SPECIAL => self.nothing += 1,
            Operation::Acknowledge => {
                match self.drivers.iter_mut().find(|driver| driver.number == value & NUMBER) {
                    Some(driver) => {
                        driver.service = Service::Runs;
                        handler.push_back(Operation::Status { device: driver.device, raw: value });
                    }
                    None => {
                        self.unknown += 1;
                        self.end(vcpu, value);
                    }
                }
            }
            Operation::Status { device, raw } => {
                let number = raw & NUMBER;
                if let Some(driver) = self.drivers.iter_mut().find(|driver| driver.number == number) {
                    if value > 0 { driver.delivered += 1 } else { driver.spurious += 1 }
                }
                let content = Operation::Content { device, requests: value };
                match quieting {
                    Quieting::BeforeEnd => {
                        handler.push_back(content);
                        self.end(vcpu, raw);
                    }
                    Quieting::AfterEnd => {
                        self.end(vcpu, raw);
                        self.processors[usize::from(vcpu)].handler.push_back(content);
                    }
                    Quieting::Oneshot => {
                        handler.push_back(Operation::enable(ICENABLER, number));
                        self.end(vcpu, raw);
                        let threads = &mut self.processors[usize::from(vcpu)].threads;
                        threads.push_back(content);
                        threads.push_back(Operation::enable(ISENABLER, number));
                    }
                }
            }
            Operation::Configure { offset, bit } => {
                processor.threads.push_front(Operation::distributor(offset, value | bit));
            }
            Operation::Write { place: Place::Interface { offset }, value } => {
                let ends = match self.end {
                    GuestEnd::Together => offset == EOIR,
                    GuestEnd::Apart => offset == DIR,
                };
                if let Some(driver) = self.drivers.iter_mut().find(|driver| driver.number == value & NUMBER)
                    && ends
                {
                    driver.service = Service::Rests;
                }
            }
            Operation::Write { .. } | Operation::Content { .. } => {}
        }
    }

    /// What ends the interrupt that was acknowledged as `raw`.
    fn end(&mut self, vcpu: u16, raw: u32) {
        let handler = &mut self.processors[usize::from(vcpu)].handler;
        handler.push_back(Operation::interface(EOIR, raw));
        if self.end == GuestEnd::Apart {
            handler.push_back(Operation::interface(DIR, raw));
        }
    }

    /// Whether `vcpu` waits for an interrupt.
    pub fn waits(&self, vcpu: u16) -> bool {
        let processor = self.processors.get(usize::from(vcpu));
        processor.is_none_or(|processor| processor.handler.is_empty() && processor.threads.is_empty())
    }
}

#[cfg(test)]
mod tests;
