//! Base address registers: PCI Local Bus Specification 3.0, 6.2.5.1.

use super::scan::{Skipped, Window};
use super::{ConfigurationSpace, PciAddress};
use crate::error::Error;
use crate::qtest::Width;
use vcm::PhysicalAddress;

/// The first of the six registers.
const BASE: u16 = 0x10;
/// How many there are in a header of type 0.
const COUNT: u8 = 6;

/// Where a function's registers or memory are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bar {
    /// Which register holds it: 0 to 5. One of 64 bits has the next one as well.
    pub index: u8,
    /// Where it was put.
    pub address: PhysicalAddress,
    /// In bytes, a power of two.
    pub len: u64,
    /// Whether reads have no side effects (bit 3).
    pub prefetchable: bool,
}

/// What one register asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wish {
    /// Nothing.
    None,
    /// Ports (bit 0); none are given.
    Io,
    Memory {
        len: u64,
        registers: u8,
        prefetchable: bool,
    },
}

/// Gives every memory BAR of `function` an address in `window`. Decoding must be off.
pub(super) fn assign(
    space: &mut impl ConfigurationSpace,
    function: PciAddress,
    window: &mut Window,
    skipped: &mut impl FnMut(Skipped),
) -> Result<Vec<Bar>, Error> {
    let mut bars = Vec::new();
    let mut index = 0;
    while index < COUNT {
        let bar = index;
        index += 1;
        let Some(wish) = wish(space, function, bar)? else {
            skipped(Skipped::BadBar { bar });
            continue;
        };
        let Wish::Memory { len, registers, prefetchable } = wish else {
            if wish == Wish::Io {
                skipped(Skipped::IoBar { bar });
            }
            continue;
        };
        index = bar + registers;
        let limit = if registers == 1 { u32::MAX.into() } else { u64::MAX };
        let Some(address) = window.take(len, limit) else {
            skipped(Skipped::NoRoom { bar, len });
            continue;
        };
        for half in 0..registers {
            let word = (address >> (32 * u32::from(half))) as u32;
            space.write(function, Width::Bits32, register(bar + half), word)?;
        }
        if value(space, function, bar, registers)? & !0xf != address {
            skipped(Skipped::BadBar { bar });
            continue;
        }
        bars.push(Bar { index: bar, address: PhysicalAddress::new(address), len, prefetchable });
    }
    Ok(bars)
}

const fn register(bar: u8) -> u16 {
    BASE + 4 * bar as u16
}

fn value(
    space: &mut impl ConfigurationSpace,
    function: PciAddress,
    bar: u8,
    registers: u8,
) -> Result<u64, Error> {
    let mut value = 0;
    for half in 0..registers {
        let word = space.read(function, Width::Bits32, register(bar + half))?;
        value |= u64::from(word) << (32 * u32::from(half));
    }
    Ok(value)
}

/// Writes all ones and looks which bits stay; `None` for an answer that makes no sense. The register is zero then.
fn wish(space: &mut impl ConfigurationSpace, function: PciAddress, bar: u8) -> Result<Option<Wish>, Error> {
    space.write(function, Width::Bits32, register(bar), u32::MAX)?;
    let low = space.read(function, Width::Bits32, register(bar))?;
    let registers = match low >> 1 & 3 {
        _ if low & 1 == 1 => {
            space.write(function, Width::Bits32, register(bar), 0)?;
            return Ok(Some(Wish::Io));
        }
        0 => 1,
        2 if bar + 1 < COUNT => 2,
        // 1 was for memory below 1 MiB, 3 is reserved.
        _ => {
            space.write(function, Width::Bits32, register(bar), 0)?;
            return Ok(None);
        }
    };
    if registers == 2 {
        space.write(function, Width::Bits32, register(bar + 1), u32::MAX)?;
    }
    let value = value(space, function, bar, registers)?;
    for half in 0..registers {
        space.write(function, Width::Bits32, register(bar + half), 0)?;
    }
    let mask = value & !0xf;
    if mask == 0 {
        return Ok(if value == 0 { Some(Wish::None) } else { None });
    }
    let len = 1 << mask.trailing_zeros();
    // Above the lowest bit that stays, all must.
    let ones = if registers == 1 { u64::from(u32::MAX) } else { u64::MAX };
    let prefetchable = low >> 3 & 1 == 1;
    let sound = mask == ones & !(len - 1);
    Ok(sound.then_some(Wish::Memory { len, registers, prefetchable }))
}
