//! The distributor.

use super::settling::Settling;
use super::spec::{
    GICD_ARRAYS, GICD_CTLR, GICD_CTLR_ARE, GICD_CTLR_ENABLE_0, GICD_CTLR_ENABLE_1, GICD_CTLR_RWP,
    GICD_EXTENDED_ARRAYS, GICD_IROUTER, GICD_IROUTER_AFF_3, GICD_IROUTER_AFF_LOW, GICD_IROUTER_E,
    GICD_IROUTER_MODE, GICD_TYPER, GICD_TYPER_ESPI, GICD_TYPER_ESPI_RANGE, GICD_TYPER_IT_LINES_NUMBER,
};
use super::{Affinity, FIRST_EXTENDED_SPI, Routing};
use crate::gic::{InitError, Lock, Place, Registers};
use crate::host::Controller;
use crate::vgic::Group;
use crate::{FIRST_SPI, HostInterrupt, SPI_END, Sense};

/// The distributor, which all CPUs share: interrupts 32 to 1019, and extended ones from 4096 to 5119. Those below 32
/// are passed over here; each CPU's [`Redistributor`](super::Redistributor) has them.
///
/// [`interrupts`](Controller::interrupts) counts up to 1020. Extended interrupts are beyond it, and served;
/// [`extended_interrupts`](Self::extended_interrupts) counts them.
///
/// [`set_sense`](Controller::set_sense) and [`set_group`](Self::set_group) change words that several interrupts share,
/// under a spin lock; they must not be called from an interrupt handler that could interrupt such a call.
pub struct Distributor<R> {
    registers: R,
    interrupts: u32,
    extended: u32,
    lock: Lock,
    settling: Settling,
}

impl<R: Registers> Distributor<R> {
    /// The distributor behind this window of 64 KiB, whose type is read here.
    pub fn new(registers: R) -> Self {
        let told = registers.read(GICD_TYPER);
        let extended = match GICD_TYPER_ESPI.get(told) {
            0 => 0,
            _ => 32 * (GICD_TYPER_ESPI_RANGE.get(told) + 1),
        };
        Self {
            registers,
            interrupts: (32 * (GICD_TYPER_IT_LINES_NUMBER.get(told) + 1)).min(SPI_END),
            extended,
            lock: Lock::new(),
            settling: Settling::new(),
        }
    }

    /// Puts all shared interrupts into a known state and switches the distributor on, with affinity routing: disabled,
    /// not pending, inactive, level-sensitive, in group 1, of
    /// [`DEFAULT_PRIORITY`](crate::gic::DEFAULT_PRIORITY), for the CPU at `target`.
    ///
    /// To be called once, by one CPU.
    ///
    /// # Errors
    ///
    /// [`InitError::WritePending`] and [`InitError::NoAffinityRouting`]; the distributor is left switched off.
    pub fn init(&self, target: Affinity) -> Result<(), InitError> {
        let registers = &self.registers;
        // Routing must not change while a group is enabled (12.9, GICD_CTLR).
        // Affinity routing that is on already stays on.
        let routing = GICD_CTLR_ARE.put(1);
        self.control(registers.read(GICD_CTLR) & routing)?;
        self.control(routing)?;
        let read = registers.read(GICD_CTLR);
        if GICD_CTLR_ARE.get(read) == 0 {
            return Err(InitError::NoAffinityRouting(read));
        }
        GICD_ARRAYS.reset(registers, FIRST_SPI, self.interrupts, !0);
        GICD_EXTENDED_ARRAYS.reset(registers, 0, self.extended, !0);
        for interrupt in FIRST_SPI..self.interrupts {
            self.set_route(HostInterrupt(interrupt), Routing::To(target));
        }
        for index in 0..self.extended {
            self.set_route(HostInterrupt(FIRST_EXTENDED_SPI + index), Routing::To(target));
        }
        self.settle()?;
        let enabled = routing | GICD_CTLR_ENABLE_0.put(1) | GICD_CTLR_ENABLE_1.put(1);
        registers.write(GICD_CTLR, enabled);
        Ok(())
    }

    /// How many extended interrupts there are, from 4096 on.
    pub const fn extended_interrupts(&self) -> u32 {
        self.extended
    }

    /// How many times the hardware did not say in [`PATIENCE`](super::PATIENCE) reads that a write has taken effect. An
    /// interrupt disabled at such a time may have been signalled afterwards.
    pub fn timeouts(&self) -> u32 {
        self.settling.timeouts()
    }

    /// Whether the interrupt may be signalled.
    pub fn is_enabled(&self, interrupt: HostInterrupt) -> bool {
        self.place(interrupt).is_some_and(|place| place.is_set(&self.registers, place.arrays.set_enable))
    }

    /// Sets the interrupt's priority, 0 the most urgent. The hardware may keep the upper bits only.
    pub fn set_priority(&self, interrupt: HostInterrupt, priority: u8) {
        if let Some(place) = self.place(interrupt) {
            self.registers.write_byte(place.byte(place.arrays.priority), priority);
        }
    }

    /// The interrupt's priority, as the hardware keeps it; 0 for a number that it does not implement.
    pub fn priority(&self, interrupt: HostInterrupt) -> u8 {
        self.place(interrupt).map_or(0, |place| place.read_byte(&self.registers, place.arrays.priority))
    }

    /// Sets the interrupt's group.
    pub fn set_group(&self, interrupt: HostInterrupt, group: Group) {
        if let Some(place) = self.place(interrupt) {
            place.write_bit(&self.registers, &self.lock, place.arrays.group, group == Group::One);
        }
    }

    /// Sets where the interrupt goes. The register has 64 bits and is written in halves, the upper one first: between
    /// CPUs that differ in affinity level 3 and in another, the interrupt waits at a place that may not exist until the
    /// second write.
    pub fn set_route(&self, interrupt: HostInterrupt, route: Routing) {
        if let Some(offset) = self.router(interrupt) {
            let (low, high) = match route {
                Routing::To(Affinity(levels)) => {
                    (GICD_IROUTER_AFF_LOW.put(levels), GICD_IROUTER_AFF_3.put(levels >> 24))
                }
                Routing::Any => (GICD_IROUTER_MODE.put(1), 0),
            };
            self.registers.write(offset + 4, high);
            self.registers.write(offset, low);
        }
    }

    /// Where the interrupt goes; `None` for a number that the hardware does not implement.
    pub fn route(&self, interrupt: HostInterrupt) -> Option<Routing> {
        let offset = self.router(interrupt)?;
        let low = self.registers.read(offset);
        if GICD_IROUTER_MODE.get(low) != 0 {
            return Some(Routing::Any);
        }
        let level_3 = GICD_IROUTER_AFF_3.get(self.registers.read(offset + 4));
        Some(Routing::To(Affinity(level_3 << 24 | GICD_IROUTER_AFF_LOW.get(low))))
    }

    fn place(&self, interrupt: HostInterrupt) -> Option<Place> {
        if (FIRST_SPI..self.interrupts).contains(&interrupt.0) {
            return Some(Place { arrays: &GICD_ARRAYS, index: interrupt.0 });
        }
        let index = interrupt.0.checked_sub(FIRST_EXTENDED_SPI)?;
        (index < self.extended).then_some(Place { arrays: &GICD_EXTENDED_ARRAYS, index })
    }

    fn router(&self, interrupt: HostInterrupt) -> Option<u32> {
        let index = self.place(interrupt)?.index;
        Some(if interrupt.0 < SPI_END { GICD_IROUTER } else { GICD_IROUTER_E } + 8 * index)
    }

    fn control(&self, value: u32) -> Result<(), InitError> {
        self.registers.write(GICD_CTLR, value);
        self.settle()
    }

    fn settle(&self) -> Result<(), InitError> {
        self.settling.wait(&self.registers, GICD_CTLR, GICD_CTLR_RWP, 0).map_err(InitError::WritePending)
    }

    fn disable_at(&self, place: Place) {
        place.write_one(&self.registers, place.arrays.clear_enable);
        // What did not settle is counted; there is nothing else to do about it here.
        let _ = self.settle();
    }
}

impl<R: Registers> Controller for Distributor<R> {
    fn interrupts(&self) -> u32 {
        self.interrupts
    }

    fn has_active_state(&self, interrupt: HostInterrupt) -> bool {
        super::completes(interrupt) && self.place(interrupt).is_some()
    }

    fn enable(&self, interrupt: HostInterrupt) {
        if let Some(place) = self.place(interrupt) {
            place.write_one_through(&self.registers, place.arrays.set_enable);
        }
    }

    fn disable(&self, interrupt: HostInterrupt) {
        if let Some(place) = self.place(interrupt) {
            self.disable_at(place);
        }
    }

    fn deactivate(&self, interrupt: HostInterrupt) {
        if let Some(place) = self.place(interrupt) {
            place.write_one_through(&self.registers, place.arrays.clear_active);
        }
    }

    fn set_active(&self, interrupt: HostInterrupt) {
        if let Some(place) = self.place(interrupt) {
            place.write_one_through(&self.registers, place.arrays.set_active);
        }
    }

    fn set_pending(&self, interrupt: HostInterrupt) {
        if let Some(place) = self.place(interrupt) {
            place.write_one(&self.registers, place.arrays.set_pending);
        }
    }

    fn clear_pending(&self, interrupt: HostInterrupt) {
        if let Some(place) = self.place(interrupt) {
            place.write_one(&self.registers, place.arrays.clear_pending);
        }
    }

    fn is_pending(&self, interrupt: HostInterrupt) -> bool {
        self.place(interrupt).is_some_and(|place| place.is_set(&self.registers, place.arrays.set_pending))
    }

    fn is_active(&self, interrupt: HostInterrupt) -> bool {
        self.place(interrupt).is_some_and(|place| place.is_set(&self.registers, place.arrays.set_active))
    }

    fn set_sense(&self, interrupt: HostInterrupt, sense: Sense) {
        if let Some(place) = self.place(interrupt) {
            place.set_sense(&self.registers, &self.lock, sense, || self.disable_at(place));
        }
    }
}
