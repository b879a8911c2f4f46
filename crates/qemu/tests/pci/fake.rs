//! A bus with functions that are made up.
#![allow(unreachable_pub)] // It is a module of a test.

use std::collections::BTreeMap;
use vcm_qemu::{ConfigurationSpace, Error, PciAddress, Width};

/// What a base address register does.
#[derive(Clone, Copy, Debug)]
pub enum Bar {
    /// The first register of memory: the writable bits, and the four lowest bits.
    Memory { mask: u32, low: u32 },
    /// The upper half of an address.
    Upper { mask: u32 },
    /// Asks for ports.
    Io,
    /// Always this.
    Stuck(u32),
    /// Keeps these bits, though they are not in one piece.
    Holes(u32),
    /// Memory of 4 KiB of this type.
    Type(u32),
    /// Tells its size and keeps no address.
    Forgets,
}

impl Bar {
    pub fn memory32(len: u64) -> [Self; 1] {
        [Self::Memory { mask: !(len as u32 - 1), low: 0 }]
    }

    pub fn memory64(len: u64) -> [Self; 2] {
        let mask = !(len - 1);
        [Self::Memory { mask: mask as u32, low: 4 }, Self::Upper { mask: (mask >> 32) as u32 }]
    }

    fn after_write(self, value: u32) -> u32 {
        match self {
            Self::Memory { mask, low } => value & mask & !0xf | low,
            Self::Upper { mask } | Self::Holes(mask) => value & mask,
            Self::Io => value & !0xf | 1,
            Self::Stuck(value) => value,
            Self::Type(kind) => value & !0xfff | kind << 1,
            Self::Forgets => {
                if value == u32::MAX {
                    0xffff_f000
                } else {
                    0
                }
            }
        }
    }
}

/// One register or two.
pub trait Bars {
    fn registers(&self) -> &[Bar];
}

impl Bars for Bar {
    fn registers(&self) -> &[Bar] {
        std::slice::from_ref(self)
    }
}

impl<const N: usize> Bars for [Bar; N] {
    fn registers(&self) -> &[Bar] {
        self
    }
}

pub trait Prefetchable {
    fn prefetchable(self) -> Self;
}

impl<const N: usize> Prefetchable for [Bar; N] {
    fn prefetchable(mut self) -> Self {
        if let Some(Bar::Memory { low, .. }) = self.first_mut() {
            *low |= 8;
        }
        self
    }
}

#[derive(Clone)]
pub struct Function {
    space: [u8; 256],
    bars: [Option<Bar>; 6],
}

impl Function {
    pub fn new(vendor: u16, device: u16) -> Self {
        let new = Self { space: [0; 256], bars: [None; 6] };
        new.bytes(0, &vendor.to_le_bytes()).bytes(2, &device.to_le_bytes())
    }

    pub fn bytes(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.space[offset..offset + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub fn bar(mut self, index: usize, bars: impl Bars) -> Self {
        for (offset, &bar) in bars.registers().iter().enumerate() {
            self.bars[index + offset] = Some(bar);
        }
        self
    }

    pub fn pin(self, pin: u8) -> Self {
        self.bytes(0x3d, &[pin])
    }

    pub fn class(self, class: u32) -> Self {
        self.bytes(9, &class.to_le_bytes()[..3])
    }

    pub fn header(self, kind: u8) -> Self {
        self.bytes(0xe, &[kind])
    }

    pub fn multifunction(self) -> Self {
        self.header(0x80)
    }

    pub fn capabilities_at(self, first: u8) -> Self {
        self.bytes(6, &[0x10]).bytes(0x34, &[first])
    }

    fn word(&self, offset: u16) -> u32 {
        let offset = usize::from(offset & !3);
        let bytes = self.space.get(offset..offset + 4);
        bytes.map_or(0, |bytes| u32::from_le_bytes(bytes.try_into().unwrap()))
    }

    fn set(&mut self, offset: u16, value: u32) {
        let index = (usize::from(offset) / 4).wrapping_sub(4);
        let value = match self.bars.get(index) {
            Some(bar) => bar.map_or(0, |bar| bar.after_write(value)),
            // Status is not written, and neither are identification and class.
            None => match offset {
                4 => value & 0xffff | self.word(4) & 0xffff_0000,
                0 | 8 | 12 => self.word(offset),
                _ => value,
            },
        };
        if let Some(bytes) = self.space.get_mut(usize::from(offset)..usize::from(offset) + 4) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
    }
}

/// The bus.
#[derive(Default)]
pub struct FakeBus(BTreeMap<PciAddress, Function>);

impl FakeBus {
    pub fn add(&mut self, address: PciAddress, function: Function) {
        self.0.insert(address, function);
    }

    pub fn get(&self, address: PciAddress, offset: u16) -> u32 {
        self.0[&address].word(offset)
    }
}

impl ConfigurationSpace for FakeBus {
    fn read(&mut self, function: PciAddress, width: Width, offset: u16) -> Result<u32, Error> {
        let word = self.0.get(&function).map_or(u32::MAX, |function| function.word(offset));
        Ok((u64::from(word) >> (8 * (offset & 3)) & width.max()) as u32)
    }

    fn write(&mut self, function: PciAddress, width: Width, offset: u16, value: u32) -> Result<(), Error> {
        if let Some(function) = self.0.get_mut(&function) {
            let shift = 8 * u32::from(offset & 3);
            let mask = (width.max() as u32) << shift;
            let word = function.word(offset) & !mask | value << shift & mask;
            function.set(offset & !3, word);
        }
        Ok(())
    }
}
