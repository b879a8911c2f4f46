//! The distributor's registers.

use super::Width;
use super::distributor::{Distributor, PRIVATE, SGI_BITS};
use super::interface::PRIORITY_MASK;
use super::registers::distributor::{
    CPENDSGIR, CTLR, CTLR_ENABLE_GROUP_0, CTLR_ENABLE_GROUP_1, END, ICACTIVER, ICENABLER, ICFGR, ICFGR_END,
    ICPENDR, IDENTIFICATION, IDENTIFICATION_VALUES, IGROUPR, IIDR, IIDR_VALUE, IPRIORITYR, ISACTIVER,
    ISENABLER, ISPENDR, ITARGETSR, SGIR, SPENDSGIR, SPENDSGIR_END, TYPER,
};

const RESERVED: &str = "no register";
const BEYOND: &str = "of interrupts that do not exist";
const READ_ONLY: &str = "a register that cannot be written";
const WORDS_ONLY: &str = "a register that is accessible by words only";

/// A register, by what it is about.
enum Register {
    Control,
    Type,
    Identity,
    /// One bit an interrupt: which of the eight such registers, and the word in it.
    Bits(u32, usize),
    /// One byte an interrupt.
    Priority(u32),
    Target(u32),
    /// Two bits an interrupt: the interrupts from sixteen times this.
    Configuration(u32),
    Generate,
    /// One byte an SGI.
    ClearSources(usize),
    SetSources(usize),
    Identification(usize),
}

/// Two bits each: the upper one of those that are set in the lower half of `edge`.
fn spread(edge: u32) -> u32 {
    (0..16).fold(0, |value, index| value | (edge >> index & 1) << (2 * index + 1))
}

/// The inverse of [`spread`].
fn gather(value: u32) -> u32 {
    (0..16).fold(0, |edge, index| edge | (value >> (2 * index + 1) & 1) << index)
}

impl Distributor {
    /// The register at `offset`, if an access of `width` to it is possible.
    fn register(&self, offset: u32, width: Width) -> Result<Register, &'static str> {
        let bytes = matches!(offset, IPRIORITYR..ICFGR | CPENDSGIR..SPENDSGIR_END);
        match width {
            Width::Word if !offset.is_multiple_of(4) => return Err("not a multiple of four"),
            Width::Byte if offset < END && !bytes => return Err(WORDS_ONLY),
            _ => {}
        }
        let interrupt = |id: u32| if self.exists(id) { Ok(id) } else { Err(BEYOND) };
        Ok(match offset {
            CTLR => Register::Control,
            TYPER => Register::Type,
            IIDR => Register::Identity,
            IGROUPR..IPRIORITYR => {
                let index = (offset & 0x7f) / 4;
                interrupt(index * 32)?;
                Register::Bits(offset & !0x7f, index as usize)
            }
            IPRIORITYR..ITARGETSR => Register::Priority(interrupt(offset - IPRIORITYR)?),
            ITARGETSR..ICFGR => Register::Target(interrupt(offset - ITARGETSR)?),
            ICFGR..ICFGR_END => {
                let index = (offset - ICFGR) / 4;
                interrupt(index * 16)?;
                Register::Configuration(index)
            }
            SGIR => Register::Generate,
            CPENDSGIR..SPENDSGIR => Register::ClearSources((offset - CPENDSGIR) as usize),
            SPENDSGIR..SPENDSGIR_END => Register::SetSources((offset - SPENDSGIR) as usize),
            IDENTIFICATION..END => Register::Identification(((offset - IDENTIFICATION) / 4) as usize),
            _ => return Err(RESERVED),
        })
    }

    /// The interrupts of a word that exist: 1020 to 1023 do not.
    const fn implemented(&self, index: usize) -> u32 {
        let left = self.interrupts.saturating_sub(index as u32 * 32);
        if left >= 32 { u32::MAX } else { (1 << left) - 1 }
    }

    /// Reads a register for `cpu`.
    ///
    /// # Errors
    /// Why there is nothing to read.
    pub(super) fn read(&self, cpu: usize, offset: u32, width: Width) -> Result<u32, &'static str> {
        let register = self.register(offset, width)?;
        let bytes = |read: &dyn Fn(u32) -> u8| match width {
            Width::Byte => u32::from(read(0)),
            Width::Word => u32::from_le_bytes([read(0), read(1), read(2), read(3)]),
        };
        Ok(match register {
            Register::Control => self.ctlr,
            Register::Type => self.shared.len() as u32 | (self.banks.len() as u32 - 1) << 5,
            Register::Identity => IIDR_VALUE,
            Register::Bits(which, index) => {
                let word = self.word(cpu, index).ok_or(BEYOND)?;
                match which {
                    IGROUPR => word.group,
                    ISENABLER | ICENABLER => word.enabled,
                    ISPENDR | ICPENDR => word.pending(),
                    _ => word.active,
                }
            }
            Register::Priority(id) => bytes(&|add| match (id + add).checked_sub(PRIVATE) {
                None => self.banks[cpu].priority[(id + add) as usize],
                Some(spi) => self.priority.get(spi as usize).copied().unwrap_or(0),
            }),
            // With one CPU the registers read as zero (4.3.12).
            Register::Target(_) if self.banks.len() == 1 => 0,
            Register::Target(id) => bytes(&|add| match (id + add).checked_sub(PRIVATE) {
                None => 1 << cpu,
                Some(spi) => self.targets.get(spi as usize).copied().unwrap_or(0),
            }),
            Register::Configuration(index) => {
                let word = self.word(cpu, index as usize / 2).ok_or(BEYOND)?;
                spread(word.edge >> (index % 2 * 16))
            }
            Register::Generate => return Err("a register that cannot be read"),
            Register::ClearSources(sgi) | Register::SetSources(sgi) => {
                bytes(&|add| self.banks[cpu].sources[(sgi + add as usize) % 16])
            }
            Register::Identification(index) => u32::from(IDENTIFICATION_VALUES[index % 12]),
        })
    }

    /// Writes a register for `cpu`.
    ///
    /// # Errors
    /// Why there is nothing to write.
    pub(super) fn write(
        &mut self,
        cpu: usize,
        offset: u32,
        width: Width,
        value: u32,
    ) -> Result<(), &'static str> {
        let register = self.register(offset, width)?;
        let len = if width == Width::Byte { 1 } else { 4 };
        let bytes = value.to_le_bytes().into_iter().take(len).enumerate();
        match register {
            Register::Control => self.ctlr = value & (CTLR_ENABLE_GROUP_0 | CTLR_ENABLE_GROUP_1),
            Register::Bits(which, index) => self.write_bits(cpu, which, index, value)?,
            Register::Priority(id) => {
                for (add, byte) in bytes {
                    let id = id as usize + add;
                    let place = match id.checked_sub(PRIVATE as usize) {
                        None => self.banks[cpu].priority.get_mut(id),
                        Some(spi) => self.priority.get_mut(spi),
                    };
                    place.into_iter().for_each(|place| *place = byte & PRIORITY_MASK);
                }
            }
            Register::Target(_) if self.banks.len() == 1 => {}
            Register::Target(id) => {
                let cpus = self.cpus();
                let spi = id.checked_sub(PRIVATE).ok_or(READ_ONLY)? as usize;
                for (place, (_, byte)) in self.targets.iter_mut().skip(spi).zip(bytes) {
                    *place = byte & cpus;
                }
            }
            Register::Configuration(index) => {
                let shift = index % 2 * 16;
                let implemented = self.implemented(index as usize / 2);
                let word = self.word_mut(cpu, index as usize / 2).ok_or(BEYOND)?;
                word.edge = (word.edge & !(0xffff << shift) | gather(value) << shift) & implemented;
                // SGIs are edge-triggered, whatever is written (4.3.13).
                self.banks[cpu].word.edge |= SGI_BITS;
            }
            Register::Generate => self.generate(cpu, value)?,
            Register::ClearSources(sgi) => {
                for (add, byte) in bytes {
                    let bank = &mut self.banks[cpu];
                    bank.set_sources((sgi + add) % 16, bank.sources[(sgi + add) % 16] & !byte);
                }
            }
            Register::SetSources(sgi) => {
                let cpus = self.cpus();
                for (add, byte) in bytes {
                    let bank = &mut self.banks[cpu];
                    bank.set_sources((sgi + add) % 16, bank.sources[(sgi + add) % 16] | byte & cpus);
                }
            }
            Register::Type | Register::Identity | Register::Identification(_) => return Err(READ_ONLY),
        }
        Ok(())
    }

    fn write_bits(&mut self, cpu: usize, which: u32, index: usize, value: u32) -> Result<(), &'static str> {
        let value = value & self.implemented(index);
        // SGIs are made pending by their own registers (4.3.7, 4.3.8), and are always enabled.
        let kept = if index == 0 { SGI_BITS } else { 0 };
        let word = self.word_mut(cpu, index).ok_or(BEYOND)?;
        match which {
            IGROUPR => word.group = value,
            ISENABLER => word.enabled |= value,
            ICENABLER => word.enabled &= !value | kept,
            ISPENDR => word.latched |= value & !kept,
            ICPENDR => word.latched &= !value | kept,
            ISACTIVER => word.active |= value,
            ICACTIVER => word.active &= !value,
            _ => return Err(RESERVED),
        }
        Ok(())
    }

    /// `GICD_SGIR` (4.3.15).
    fn generate(&mut self, cpu: usize, value: u32) -> Result<(), &'static str> {
        let own = 1 << cpu;
        let targets = match value >> 24 & 3 {
            0 => (value >> 16) as u8,
            1 => !own,
            2 => own,
            _ => return Err("a reserved target list filter"),
        };
        self.send(cpu, value & 0xf, targets);
        Ok(())
    }
}
