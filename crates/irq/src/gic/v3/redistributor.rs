//! A redistributor: the part of the distributor that each CPU has for itself.

use super::settling::Settling;
use super::spec::{
    GICR_ARRAYS, GICR_CTLR, GICR_CTLR_RWP, GICR_TYPER, GICR_TYPER_LAST, GICR_TYPER_PPI_NUM,
    GICR_TYPER_PROCESSOR_NUMBER, GICR_WAKER, GICR_WAKER_CHILDREN_ASLEEP, GICR_WAKER_PROCESSOR_SLEEP,
};
use super::{Affinity, FIRST_EXTENDED_PPI};
use crate::gic::{DEFAULT_PRIORITY, InitError, Lock, Place, Registers};
use crate::host::Controller;
use crate::{FIRST_SPI, HostInterrupt, Sense};

/// The bits of private peripheral interrupts, 16 to 31, in the first word of an array.
const PRIVATE: u32 = 0xFFFF_0000;

/// The redistributor of one CPU: its interrupts 0 to 31, and extended private ones from 1056 to 1119. Other
/// CPUs may call this too.
///
/// [`interrupts`](Controller::interrupts) is 32; extended ones are beyond it, and served.
/// [`set_sense`](Controller::set_sense) takes a spin lock, as the [`Distributor`](super::Distributor)'s does.
pub struct Redistributor<R> {
    registers: R,
    extended: u32,
    lock: Lock,
    settling: Settling,
}

impl<R: Registers> Redistributor<R> {
    /// The redistributor behind this window of 128 KiB, whose type is read here.
    pub fn new(registers: R) -> Self {
        let extended = match GICR_TYPER_PPI_NUM.get(registers.read(GICR_TYPER)) {
            1 => 32,
            2 => 64,
            _ => 0,
        };
        Self { registers, extended, lock: Lock::new(), settling: Settling::new() }
    }

    /// The place of its CPU.
    pub fn affinity(&self) -> Affinity {
        Affinity(self.registers.read(GICR_TYPER + 4))
    }

    /// The number of its CPU.
    pub fn processor_number(&self) -> u16 {
        GICR_TYPER_PROCESSOR_NUMBER.get(self.registers.read(GICR_TYPER)) as u16
    }

    /// Whether it is the last of a row of redistributors.
    pub fn is_last(&self) -> bool {
        GICR_TYPER_LAST.get(self.registers.read(GICR_TYPER)) != 0
    }

    /// How many extended private interrupts there are, from 1056 on.
    pub const fn extended_interrupts(&self) -> u32 {
        self.extended
    }

    /// How many times the hardware did not do in [`PATIENCE`](super::PATIENCE) reads what was waited for.
    pub fn timeouts(&self) -> u32 {
        self.settling.timeouts()
    }

    /// Wakes it up. To be called by its CPU, before anything else.
    ///
    /// # Errors
    ///
    /// [`InitError::Asleep`].
    pub fn wake(&self) -> Result<(), InitError> {
        let children_asleep =
            |wanted| self.settling.wait(&self.registers, GICR_WAKER, GICR_WAKER_CHILDREN_ASLEEP, wanted);
        let waker = self.registers.read(GICR_WAKER);
        if GICR_WAKER_PROCESSOR_SLEEP.get(waker) != 0 {
            // Waking one that is still on its way to sleep is unpredictable (12.11, GICR_WAKER).
            children_asleep(1).map_err(InitError::Asleep)?;
            self.registers.write(GICR_WAKER, waker & !GICR_WAKER_PROCESSOR_SLEEP.put(1));
        }
        children_asleep(0).map_err(InitError::Asleep)
    }

    /// Puts all its interrupts into a known state: software-generated ones enabled, private peripheral ones disabled,
    /// not pending, inactive, all in group 1 and of [`DEFAULT_PRIORITY`].
    ///
    /// # Errors
    ///
    /// [`InitError::WritePending`].
    pub fn init(&self) -> Result<(), InitError> {
        let registers = &self.registers;
        registers.write(GICR_ARRAYS.clear_enable, PRIVATE);
        registers.write(GICR_ARRAYS.clear_pending, PRIVATE);
        registers.write(GICR_ARRAYS.clear_active, !0);
        registers.write(GICR_ARRAYS.group, !0);
        for word in 0..FIRST_SPI / 4 {
            registers.write(GICR_ARRAYS.priority + 4 * word, u32::from_le_bytes([DEFAULT_PRIORITY; 4]));
        }
        GICR_ARRAYS.reset(registers, FIRST_SPI, FIRST_SPI + self.extended, !0);
        self.settle()?;
        registers.write(GICR_ARRAYS.set_enable, !PRIVATE);
        Ok(())
    }

    /// Whether the interrupt may be signalled.
    pub fn is_enabled(&self, interrupt: HostInterrupt) -> bool {
        self.is_set(interrupt, GICR_ARRAYS.set_enable)
    }

    /// Sets the interrupt's priority, 0 the most urgent. The hardware may keep the upper bits only.
    pub fn set_priority(&self, interrupt: HostInterrupt, priority: u8) {
        if let Some(place) = self.place(interrupt) {
            self.registers.write_byte(place.byte(GICR_ARRAYS.priority), priority);
        }
    }

    /// The interrupt's priority, as the hardware keeps it; 0 for a number that it does not implement.
    pub fn priority(&self, interrupt: HostInterrupt) -> u8 {
        self.place(interrupt).map_or(0, |place| place.read_byte(&self.registers, GICR_ARRAYS.priority))
    }

    /// Extended interrupts follow the others in every array.
    fn place(&self, interrupt: HostInterrupt) -> Option<Place> {
        let index = match interrupt.0.checked_sub(FIRST_EXTENDED_PPI) {
            Some(beyond) if beyond < self.extended => FIRST_SPI + beyond,
            None if interrupt.0 < FIRST_SPI => interrupt.0,
            _ => return None,
        };
        Some(Place { arrays: &GICR_ARRAYS, index })
    }

    fn write_one(&self, interrupt: HostInterrupt, array: u32) {
        if let Some(place) = self.place(interrupt) {
            place.write_one(&self.registers, array);
        }
    }

    fn write_one_through(&self, interrupt: HostInterrupt, array: u32) {
        if let Some(place) = self.place(interrupt) {
            place.write_one_through(&self.registers, array);
        }
    }

    fn is_set(&self, interrupt: HostInterrupt, array: u32) -> bool {
        self.place(interrupt).is_some_and(|place| place.is_set(&self.registers, array))
    }

    fn settle(&self) -> Result<(), InitError> {
        self.settling.wait(&self.registers, GICR_CTLR, GICR_CTLR_RWP, 0).map_err(InitError::WritePending)
    }

    fn disable_at(&self, place: Place) {
        place.write_one(&self.registers, GICR_ARRAYS.clear_enable);
        // What did not settle is counted; there is nothing else to do about it here.
        let _ = self.settle();
    }
}

impl<R: Registers> Controller for Redistributor<R> {
    fn interrupts(&self) -> u32 {
        FIRST_SPI
    }

    fn has_active_state(&self, interrupt: HostInterrupt) -> bool {
        super::completes(interrupt) && self.place(interrupt).is_some()
    }

    fn enable(&self, interrupt: HostInterrupt) {
        self.write_one_through(interrupt, GICR_ARRAYS.set_enable);
    }

    fn disable(&self, interrupt: HostInterrupt) {
        if let Some(place) = self.place(interrupt) {
            self.disable_at(place);
        }
    }

    fn deactivate(&self, interrupt: HostInterrupt) {
        self.write_one_through(interrupt, GICR_ARRAYS.clear_active);
    }

    fn set_active(&self, interrupt: HostInterrupt) {
        self.write_one_through(interrupt, GICR_ARRAYS.set_active);
    }

    fn set_pending(&self, interrupt: HostInterrupt) {
        self.write_one(interrupt, GICR_ARRAYS.set_pending);
    }

    fn clear_pending(&self, interrupt: HostInterrupt) {
        self.write_one(interrupt, GICR_ARRAYS.clear_pending);
    }

    fn is_pending(&self, interrupt: HostInterrupt) -> bool {
        self.is_set(interrupt, GICR_ARRAYS.set_pending)
    }

    fn is_active(&self, interrupt: HostInterrupt) -> bool {
        self.is_set(interrupt, GICR_ARRAYS.set_active)
    }

    fn set_sense(&self, interrupt: HostInterrupt, sense: Sense) {
        if let Some(place) = self.place(interrupt) {
            place.set_sense(&self.registers, &self.lock, sense, || self.disable_at(place));
        }
    }
}
