//! The distributor.

use super::spec::{
    GICD_CTLR, GICD_CTLR_ENABLE_GRP0, GICD_CTLR_ENABLE_GRP1, GICD_ICACTIVER, GICD_ICENABLER, GICD_ICFGR,
    GICD_ICPENDR, GICD_IGROUPR, GICD_IPRIORITYR, GICD_ISACTIVER, GICD_ISENABLER, GICD_ISPENDR,
    GICD_ITARGETSR, GICD_TYPER, GICD_TYPER_IT_LINES_NUMBER,
};
use crate::gic::{Arrays, DEFAULT_PRIORITY, Lock, Place, Registers};
use crate::host::Controller;
use crate::vgic::Group;
use crate::{FIRST_SPI, HostInterrupt, SPI_END, Sense};

/// Where the interrupts' states are.
const ARRAYS: Arrays = Arrays {
    group: GICD_IGROUPR,
    set_enable: GICD_ISENABLER,
    clear_enable: GICD_ICENABLER,
    set_pending: GICD_ISPENDR,
    clear_pending: GICD_ICPENDR,
    set_active: GICD_ISACTIVER,
    clear_active: GICD_ICACTIVER,
    priority: GICD_IPRIORITYR,
    configuration: GICD_ICFGR,
};

/// The bits of private peripheral interrupts, 16 to 31, in the first word of an array.
const PRIVATE: u32 = 0xFFFF_0000;

/// The distributor, which all CPUs share.
///
/// Interrupts 0 to 31 are each CPU's own: a call reaches those of the CPU that makes it.
///
/// [`set_sense`](Controller::set_sense) and [`set_group`](Self::set_group) change words that several interrupts share,
/// under a spin lock; they must not be called from an interrupt handler that could interrupt such a call.
pub struct Distributor<R> {
    registers: R,
    group: Group,
    interrupts: u32,
    lock: Lock,
}

impl<R: Registers> Distributor<R> {
    /// The distributor behind this window of 4 KiB, whose type is read here; host interrupts are in `group` (see
    /// [the module](super)).
    pub fn new(registers: R, group: Group) -> Self {
        let lines = GICD_TYPER_IT_LINES_NUMBER.get(registers.read(GICD_TYPER));
        Self { registers, group, interrupts: (32 * (lines + 1)).min(SPI_END), lock: Lock::new() }
    }

    /// Puts all shared interrupts into a known state and switches the distributor on: disabled, not pending, inactive,
    /// level-sensitive, in the group of host interrupts, of [`DEFAULT_PRIORITY`], for the CPU that calls this.
    ///
    /// To be called once, by one CPU; then [`init_private`](Self::init_private) by each.
    pub fn init(&self) {
        let registers = &self.registers;
        registers.write(GICD_CTLR, 0);
        let target = self.own_target();
        ARRAYS.reset(registers, FIRST_SPI, self.interrupts, self.group_word());
        for word in FIRST_SPI / 4..self.interrupts / 4 {
            registers.write(GICD_ITARGETSR + 4 * word, u32::from_le_bytes([target; 4]));
        }
        registers.write(
            GICD_CTLR,
            match self.group {
                Group::Zero => GICD_CTLR_ENABLE_GRP0.put(1),
                Group::One => GICD_CTLR_ENABLE_GRP1.put(1),
            },
        );
    }

    /// Puts the interrupts of the CPU that calls this into a known state: software-generated ones enabled, private
    /// peripheral ones disabled, not pending, inactive, all in the group of host interrupts and of
    /// [`DEFAULT_PRIORITY`].
    pub fn init_private(&self) {
        let registers = &self.registers;
        registers.write(GICD_ICENABLER, PRIVATE);
        registers.write(GICD_ICPENDR, PRIVATE);
        registers.write(GICD_ICACTIVER, !0);
        registers.write(GICD_IGROUPR, self.group_word());
        for word in 0..FIRST_SPI / 4 {
            registers.write(GICD_IPRIORITYR + 4 * word, u32::from_le_bytes([DEFAULT_PRIORITY; 4]));
        }
        registers.write(GICD_ISENABLER, !PRIVATE);
    }

    /// Whether the interrupt may be signalled.
    pub fn is_enabled(&self, interrupt: HostInterrupt) -> bool {
        self.is_set(interrupt, ARRAYS.set_enable)
    }

    /// Sets the interrupt's priority, 0 the most urgent. The hardware may keep the upper bits only.
    pub fn set_priority(&self, interrupt: HostInterrupt, priority: u8) {
        if let Some(place) = self.place(interrupt) {
            self.registers.write_byte(place.byte(ARRAYS.priority), priority);
        }
    }

    /// The interrupt's priority, as the hardware keeps it; 0 for a number that it does not implement.
    pub fn priority(&self, interrupt: HostInterrupt) -> u8 {
        self.place(interrupt).map_or(0, |place| place.read_byte(&self.registers, ARRAYS.priority))
    }

    /// Sets which CPU interfaces a shared interrupt goes to: bit n is interface n, at most 8 of them. That of an
    /// interrupt below 32 cannot be set.
    pub fn set_targets(&self, interrupt: HostInterrupt, targets: u8) {
        if let Some(place) = self.place(interrupt)
            && interrupt.0 >= FIRST_SPI
        {
            self.registers.write_byte(place.byte(GICD_ITARGETSR), targets);
        }
    }

    /// Which CPU interfaces the interrupt goes to. 0 on a GIC with one CPU, to which all go.
    pub fn targets(&self, interrupt: HostInterrupt) -> u8 {
        self.place(interrupt).map_or(0, |place| place.read_byte(&self.registers, GICD_ITARGETSR))
    }

    /// Sets the interrupt's group. From the Non-secure state this changes nothing.
    pub fn set_group(&self, interrupt: HostInterrupt, group: Group) {
        if let Some(place) = self.place(interrupt) {
            place.write_bit(&self.registers, &self.lock, ARRAYS.group, group == Group::One);
        }
    }

    /// The CPU that calls this, as a target: the read-only bytes of the interrupts below 32 tell. The first CPU where
    /// they tell nothing.
    fn own_target(&self) -> u8 {
        let told = (0..FIRST_SPI / 4)
            .map(|word| self.registers.read(GICD_ITARGETSR + 4 * word))
            .find(|&word| word != 0)
            .unwrap_or(1);
        told.to_le_bytes().into_iter().find(|&byte| byte != 0).unwrap_or(1)
    }

    const fn group_word(&self) -> u32 {
        match self.group {
            Group::Zero => 0,
            Group::One => !0,
        }
    }

    fn place(&self, interrupt: HostInterrupt) -> Option<Place> {
        (interrupt.0 < self.interrupts).then_some(Place { arrays: &ARRAYS, index: interrupt.0 })
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

    /// The read makes sure that the write, which may be posted, has reached the distributor.
    fn disable_at(&self, place: Place) {
        place.write_one(&self.registers, ARRAYS.clear_enable);
        self.registers.read(place.word(ARRAYS.clear_enable));
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
        self.write_one_through(interrupt, ARRAYS.set_enable);
    }

    fn disable(&self, interrupt: HostInterrupt) {
        if let Some(place) = self.place(interrupt) {
            self.disable_at(place);
        }
    }

    fn deactivate(&self, interrupt: HostInterrupt) {
        self.write_one_through(interrupt, ARRAYS.clear_active);
    }

    fn set_active(&self, interrupt: HostInterrupt) {
        self.write_one_through(interrupt, ARRAYS.set_active);
    }

    fn set_pending(&self, interrupt: HostInterrupt) {
        self.write_one(interrupt, ARRAYS.set_pending);
    }

    fn clear_pending(&self, interrupt: HostInterrupt) {
        self.write_one(interrupt, ARRAYS.clear_pending);
    }

    fn is_pending(&self, interrupt: HostInterrupt) -> bool {
        self.is_set(interrupt, ARRAYS.set_pending)
    }

    fn is_active(&self, interrupt: HostInterrupt) -> bool {
        self.is_set(interrupt, ARRAYS.set_active)
    }

    fn set_sense(&self, interrupt: HostInterrupt, sense: Sense) {
        if let Some(place) = self.place(interrupt) {
            place.set_sense(&self.registers, &self.lock, sense, || self.disable_at(place));
        }
    }
}
