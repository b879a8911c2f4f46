//! Where the state of one interrupt is in a controller's registers. Distributors and redistributors of both versions
//! lay it out alike: a bit in each of seven arrays, a byte of priority, two bits of configuration.

use super::{DEFAULT_PRIORITY, Lock, Registers};
use crate::Sense;

/// The offsets of the arrays that hold the state of a group of interrupts (Arm IHI 0048B.b 4.1.2; Arm IHI 0069H
/// 12.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrays {
    /// A bit each: the interrupt is in group 1.
    pub group: u32,
    /// A bit each: a 1 written enables.
    pub set_enable: u32,
    /// A bit each: a 1 written disables.
    pub clear_enable: u32,
    /// A bit each: a 1 written makes pending.
    pub set_pending: u32,
    /// A bit each: a 1 written ends a latched pending state.
    pub clear_pending: u32,
    /// A bit each: a 1 written makes active.
    pub set_active: u32,
    /// A bit each: a 1 written deactivates.
    pub clear_active: u32,
    /// A byte each: the priority, 0 the most urgent.
    pub priority: u32,
    /// Two bits each, of which the upper one says whether edges count.
    pub configuration: u32,
}

impl Arrays {
    /// Makes the interrupts from position `first`, a multiple of 32, to before `end` disabled, not pending, inactive,
    /// level-sensitive and of the default priority, with `group` as the word of group bits.
    pub(super) fn reset(&self, registers: &impl Registers, first: u32, end: u32, group: u32) {
        for word in first / 32..end.div_ceil(32) {
            registers.write(self.clear_enable + 4 * word, !0);
            registers.write(self.clear_pending + 4 * word, !0);
            registers.write(self.clear_active + 4 * word, !0);
            registers.write(self.group + 4 * word, group);
        }
        for word in first / 16..end.div_ceil(16) {
            registers.write(self.configuration + 4 * word, 0);
        }
        for word in first / 4..end / 4 {
            registers.write(self.priority + 4 * word, u32::from_le_bytes([DEFAULT_PRIORITY; 4]));
        }
    }
}

/// An interrupt's position in [`Arrays`].
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) arrays: &'static Arrays,
    pub(super) index: u32,
}

impl Place {
    /// Writes a 1 for this interrupt, and 0 for its neighbours, into the array that begins at `array`. For arrays
    /// in which a 0 changes nothing.
    pub(super) fn write_one(self, registers: &impl Registers, array: u32) {
        registers.write(self.word(array), self.bit());
    }

    /// The same, and it is done when this returns: a write may be posted, and what another CPU or its guest
    /// does next must not overtake it. (Linux reads active states back for the same reason,
    /// `drivers/irqchip/irq-gic-v3.c`.)
    pub(super) fn write_one_through(self, registers: &impl Registers, array: u32) {
        self.write_one(registers, array);
        registers.read(self.word(array));
    }

    /// Whether this interrupt's bit is set in the array that begins at `array`.
    pub(super) fn is_set(self, registers: &impl Registers, array: u32) -> bool {
        registers.read(self.word(array)) & self.bit() != 0
    }

    /// The offset of the word with this interrupt's bit.
    pub(super) const fn word(self, array: u32) -> u32 {
        array + self.index / 32 * 4
    }

    /// The offset of this interrupt's byte.
    pub(super) const fn byte(self, array: u32) -> u32 {
        array + self.index
    }

    /// The byte of this interrupt in the array that begins at `array`.
    pub(super) fn read_byte(self, registers: &impl Registers, array: u32) -> u8 {
        registers.read(array + self.index / 4 * 4).to_le_bytes()[self.index as usize % 4]
    }

    /// Sets or clears this interrupt's bit in an array of plain bits.
    pub(super) fn write_bit(self, registers: &impl Registers, lock: &Lock, array: u32, bit: bool) {
        lock.hold(|| {
            let word = registers.read(self.word(array)) & !self.bit();
            registers.write(self.word(array), if bit { word | self.bit() } else { word });
            // Who takes the lock next has to read what was written.
            registers.read(self.word(array));
        });
    }

    /// Sets what the input reacts to; `disable` keeps the interrupt from being signalled while that changes.
    pub(super) fn set_sense(
        self,
        registers: &impl Registers,
        lock: &Lock,
        sense: Sense,
        disable: impl FnOnce(),
    ) {
        let word = self.arrays.configuration + self.index / 16 * 4;
        let bit = 2 << (self.index % 16 * 2);
        let wanted = match sense {
            Sense::Level => 0,
            Sense::Edge => bit,
        };
        if registers.read(word) & bit == wanted {
            return;
        }
        let enabled = self.is_set(registers, self.arrays.set_enable);
        if enabled {
            disable();
        }
        lock.hold(|| {
            registers.write(word, registers.read(word) & !bit | wanted);
            // Who takes the lock next has to read what was written.
            registers.read(word);
        });
        if enabled {
            self.write_one_through(registers, self.arrays.set_enable);
        }
    }

    const fn bit(self) -> u32 {
        1 << (self.index % 32)
    }
}
