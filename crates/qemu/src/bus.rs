//! A running QEMU that several owners use.

mod window;

pub use window::{WideAccess, Window};

use crate::batch::Batch;
use crate::error::Error;
use crate::failure::FirstFailure;
use crate::machine::Machine;
use crate::memory::Memory;
use crate::qtest::Width;
use std::sync::{Arc, Mutex, PoisonError};
use vcm::PhysicalAddress;

/// A machine that several use: the drivers' register windows, the bus masters and the test. Cheap to clone; QEMU
/// ends with the last clone.
///
/// Each call has the machine for itself until it returns. They may come from any thread.
#[derive(Clone, Debug)]
pub struct Bus {
    machine: Arc<Mutex<Machine>>,
    memory: Option<Memory>,
    failure: FirstFailure,
}

impl Bus {
    /// Shares `machine`.
    pub fn new(machine: Machine) -> Self {
        let memory = machine.memory().cloned();
        Self { machine: Arc::new(Mutex::new(machine)), memory, failure: FirstFailure::default() }
    }

    /// Gives the machine to `action` alone: for the monitor, interrupt lines and what else [`Machine`] has. `action`
    /// must not use the bus.
    pub fn with<T>(&self, action: impl FnOnce(&mut Machine) -> T) -> T {
        // A panic elsewhere leaves the connection in step, or dead.
        action(&mut self.machine.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The machine's RAM, if it was asked for. It is reached without waiting for others.
    pub fn memory(&self) -> Option<&Memory> {
        self.memory.as_ref()
    }

    /// Reads a value of `width` at `address`.
    ///
    /// # Errors
    ///
    /// Those of the connection: see [`Error`].
    pub fn read(&self, width: Width, address: PhysicalAddress) -> Result<u64, Error> {
        self.with(|machine| machine.qtest.read(width, address))
    }

    /// Writes a value of `width` at `address`.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when `value` does not fit, and those of the connection: see [`Error`].
    pub fn write(&self, width: Width, address: PhysicalAddress, value: u64) -> Result<(), Error> {
        self.with(|machine| machine.qtest.write(width, address, value))
    }

    /// Has `fill` queue accesses, then does all in one round trip and gives the values of the reads, in their order.
    ///
    /// # Errors
    ///
    /// That of `fill`, when nothing was sent; else those of [`Batch::run`].
    pub fn batch(&self, fill: impl FnOnce(&mut Batch<'_>) -> Result<(), Error>) -> Result<Vec<u64>, Error> {
        self.with(|machine| {
            let mut batch = machine.qtest.batch();
            fill(&mut batch)?;
            batch.run()
        })
    }

    /// The registers from `start` on, for a driver.
    pub fn window(&self, start: PhysicalAddress, wide: WideAccess) -> Window {
        Window::new(self.clone(), start, wide)
    }

    /// The first error of a [`Window`] or a [`Ram`](crate::Ram), which have no other way to tell.
    pub fn failure(&self) -> Option<Arc<Error>> {
        self.failure.first()
    }

    /// Forgets the error that [`Self::failure`] gives.
    pub fn forget_failure(&self) {
        self.failure.forget();
    }

    pub(crate) fn first_failure(&self) -> &FirstFailure {
        &self.failure
    }
}
