//! The interrupts of one control.

use super::line::Line;
use super::poll::Poll;
use super::source::InterruptSource;
use crate::kvm::vm::Vm;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vcm_irq::DeviceInterrupt;

/// Which way an interrupt that is assigned goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Way {
    /// Through this process.
    Automasked,
    /// Through the kernel alone.
    Forwarded,
}

/// What a control and its relays share.
#[derive(Debug)]
pub(super) struct Shared<S: InterruptSource> {
    pub(super) vm: Vm,
    pub(super) poll: Poll,
    /// Never taken by who has a line's lock.
    table: Mutex<Table<S>>,
}

/// A line has a lock of its own, so that switching one does not hold up the others.
type Locked<S> = Arc<Mutex<Line<S>>>;

#[derive(Debug)]
pub(super) struct Table<S: InterruptSource> {
    lines: BTreeMap<u64, Locked<S>>,
    by_interrupt: HashMap<(usize, DeviceInterrupt), u64>,
    by_gsi: HashMap<u32, u64>,
    next: u64,
}

impl<S: InterruptSource> Shared<S> {
    pub(super) fn new(vm: Vm, poll: Poll) -> Self {
        let table =
            Table { lines: BTreeMap::new(), by_interrupt: HashMap::new(), by_gsi: HashMap::new(), next: 0 };
        Self { vm, poll, table: Mutex::new(table) }
    }

    /// A panic while a lock was held leaves a table that is complete: each change of it is one insertion or removal.
    pub(super) fn table(&self) -> MutexGuard<'_, Table<S>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: InterruptSource> Table<S> {
    pub(super) fn of(&self, source: &Arc<S>, interrupt: DeviceInterrupt) -> Option<Locked<S>> {
        let number = self.by_interrupt.get(&(Arc::as_ptr(source).addr(), interrupt))?;
        self.lines.get(number).map(Arc::clone)
    }

    pub(super) fn numbered(&self, number: u64) -> Option<Locked<S>> {
        self.lines.get(&number).map(Arc::clone)
    }

    pub(super) fn is_used(&self, gsi: u32) -> bool {
        self.by_gsi.contains_key(&gsi)
    }

    /// The number for the next line. None is used twice, so that a late wake-up cannot mean another line.
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn insert(&mut self, number: u64, line: Line<S>) -> Locked<S> {
        self.by_interrupt.insert((Arc::as_ptr(line.source()).addr(), line.interrupt()), number);
        self.by_gsi.insert(line.gsi(), number);
        let line = Arc::new(Mutex::new(line));
        self.lines.insert(number, Arc::clone(&line));
        line
    }

    /// Forgets a line. The caller closes it.
    pub(super) fn remove(&mut self, source: &Arc<S>, interrupt: DeviceInterrupt) -> Option<Locked<S>> {
        let number = self.by_interrupt.remove(&(Arc::as_ptr(source).addr(), interrupt))?;
        self.by_gsi.retain(|_, line| *line != number);
        self.lines.remove(&number)
    }

    pub(super) fn all(&self) -> Vec<Locked<S>> {
        self.lines.values().map(Arc::clone).collect()
    }
}

/// As for the table: a line's state is changed by one assignment after the calls.
pub(super) fn lock<S: InterruptSource>(line: &Mutex<Line<S>>) -> MutexGuard<'_, Line<S>> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}
