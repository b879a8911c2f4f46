//! A field of a register: the one notation in which the specifications of both versions give bits.

/// Neighbouring bits of a register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    low: u32,
    width: u32,
}

impl Field {
    /// The field of bits `high` down to `low`, both counted from 0, at most 32 of them.
    pub const fn new(high: u32, low: u32) -> Self {
        debug_assert!(high >= low && high < 64 && high - low < 32);
        Self { low, width: high - low + 1 }
    }

    /// Its value in `register`.
    pub const fn get(self, register: u32) -> u32 {
        self.get_wide(register as u64)
    }

    /// A register in which it has this value, of which the bits that fit count, and the rest is 0.
    pub const fn put(self, value: u32) -> u32 {
        self.put_wide(value) as u32
    }

    /// [`get`](Self::get) of a 64-bit register.
    pub const fn get_wide(self, register: u64) -> u32 {
        ((register >> self.low) & self.mask()) as u32
    }

    /// [`put`](Self::put) for a 64-bit register.
    pub const fn put_wide(self, value: u32) -> u64 {
        (value as u64 & self.mask()) << self.low
    }

    const fn mask(self) -> u64 {
        (1 << self.width) - 1
    }
}
