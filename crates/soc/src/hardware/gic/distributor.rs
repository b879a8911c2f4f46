//! The distributor: the state of every interrupt.

use super::Config;
use super::interface::{Candidate, Group};
use super::registers::distributor::{CTLR_ENABLE_GROUP_0, CTLR_ENABLE_GROUP_1};
use crate::hardware::Level;

/// Software-generated interrupts have numbers below this.
pub(super) const SGIS: u32 = 16;
/// Interrupts that each CPU has for itself have numbers below this.
pub(super) const PRIVATE: u32 = 32;
/// The bits of SGIs in a word of their CPU.
pub(super) const SGI_BITS: u32 = 0xffff;

/// Thirty-two interrupts, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Word {
    pub(super) group: u32,
    pub(super) enabled: u32,
    /// Made pending by an edge or by `GICD_ISPENDRn`; an acknowledgement or `GICD_ICPENDRn` takes it back.
    pub(super) latched: u32,
    pub(super) active: u32,
    /// The input line is high.
    pub(super) line: u32,
    /// Edge-triggered, else level-sensitive.
    pub(super) edge: u32,
}

impl Word {
    /// The pending ones. A level-sensitive one is pending while its line is high, whatever was written (4.3.8,
    /// figure 4-10).
    pub(super) const fn pending(&self) -> u32 {
        self.latched | self.line & !self.edge
    }

    fn set_line(&mut self, bit: u32, level: Level) {
        match level {
            Level::Low => self.line &= !bit,
            Level::High => {
                self.latched |= bit & self.edge & !self.line;
                self.line |= bit;
            }
        }
    }
}

/// The interrupts of one CPU: SGIs and PPIs.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Bank {
    /// The latched bit of an SGI is set exactly when it has a source.
    pub(super) word: Word,
    pub(super) priority: [u8; PRIVATE as usize],
    /// Who sent each SGI that is pending, one bit a CPU.
    pub(super) sources: [u8; SGIS as usize],
}

impl Bank {
    /// SGIs are always enabled and edge-triggered, as in a GIC-400.
    const fn new() -> Self {
        let word = Word { group: 0, enabled: SGI_BITS, latched: 0, active: 0, line: 0, edge: SGI_BITS };
        Self { word, priority: [0; PRIVATE as usize], sources: [0; SGIS as usize] }
    }

    /// Sets who sent the SGI `index`.
    pub(super) fn set_sources(&mut self, index: usize, sources: u8) {
        let bit = 1 << index;
        self.sources[index] = sources;
        self.word.latched = if sources == 0 { self.word.latched & !bit } else { self.word.latched | bit };
    }
}

/// What an interrupt was before it was deactivated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Was {
    Active,
    NotActive,
}

/// The distributor.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Distributor {
    pub(super) ctlr: u32,
    pub(super) interrupts: u32,
    pub(super) banks: Vec<Bank>,
    /// SPIs, from interrupt 32.
    pub(super) shared: Vec<Word>,
    /// By SPI, from interrupt 32.
    pub(super) priority: Vec<u8>,
    /// By SPI, from interrupt 32: one bit a CPU.
    pub(super) targets: Vec<u8>,
}

impl Distributor {
    /// A distributor after reset: nothing enabled but the SGIs, all in group 0, all level-sensitive but the SGIs.
    pub(super) fn new(config: &Config) -> Self {
        let shared = config.interrupts.saturating_sub(PRIVATE) as usize;
        // With one CPU every interrupt goes there, and the registers read as zero (4.3.12).
        let target = u8::from(config.cpus == 1);
        Self {
            ctlr: 0,
            interrupts: config.interrupts,
            banks: vec![Bank::new(); config.cpus],
            shared: vec![Word::default(); shared.div_ceil(32)],
            priority: vec![0; shared],
            targets: vec![target; shared],
        }
    }

    /// One bit for each CPU that there is.
    pub(super) const fn cpus(&self) -> u8 {
        (0xff_u32 >> (8 - self.banks.len())) as u8
    }

    /// Whether there is an interrupt of this number.
    pub(super) const fn exists(&self, id: u32) -> bool {
        id < self.interrupts
    }

    /// The word with interrupts 32 * `index` and following, as `cpu` sees it.
    pub(super) fn word(&self, cpu: usize, index: usize) -> Option<&Word> {
        match index.checked_sub(1) {
            None => self.banks.get(cpu).map(|bank| &bank.word),
            Some(index) => self.shared.get(index),
        }
    }

    pub(super) fn word_mut(&mut self, cpu: usize, index: usize) -> Option<&mut Word> {
        match index.checked_sub(1) {
            None => self.banks.get_mut(cpu).map(|bank| &mut bank.word),
            Some(index) => self.shared.get_mut(index),
        }
    }

    fn of(&self, cpu: usize, id: u32) -> Option<(&Word, u32)> {
        self.word(cpu, (id / 32) as usize).filter(|_| self.exists(id)).map(|word| (word, 1 << (id % 32)))
    }

    pub(super) fn is_active(&self, cpu: usize, id: u32) -> bool {
        self.of(cpu, id).is_some_and(|(word, bit)| word.active & bit != 0)
    }

    pub(super) fn group(&self, cpu: usize, id: u32) -> Group {
        Group::from_bit(self.of(cpu, id).map_or(0, |(word, bit)| u32::from(word.group & bit != 0)))
    }

    pub(super) fn line(&self, cpu: usize, id: u32) -> Level {
        match self.of(cpu, id) {
            Some((word, bit)) if word.line & bit != 0 => Level::High,
            _ => Level::Low,
        }
    }

    /// Sets an input line: of an SPI, or of a PPI of `cpu`.
    pub(super) fn set_line(&mut self, cpu: usize, id: u32, level: Level) {
        if let Some(word) = self.word_mut(cpu, (id / 32) as usize) {
            word.set_line(1 << (id % 32), level);
        }
    }

    /// The most urgent interrupt that is pending for `cpu`, not active, enabled, and of a group that is forwarded.
    /// Of equally urgent ones the lowest number: which is the implementation's choice (3.3), and so is that a group
    /// which is not forwarded hides nothing.
    pub(super) fn highest_pending(&self, cpu: usize) -> Option<Candidate> {
        let bank = self.banks.get(cpu)?;
        let mut best: Option<Candidate> = None;
        for (index, word) in std::iter::once(&bank.word).chain(&self.shared).enumerate() {
            let zero = if self.ctlr & CTLR_ENABLE_GROUP_0 != 0 { !word.group } else { 0 };
            let one = if self.ctlr & CTLR_ENABLE_GROUP_1 != 0 { word.group } else { 0 };
            let mut left = word.pending() & word.enabled & !word.active & (zero | one);
            while left != 0 {
                let bit = left.trailing_zeros();
                left &= left - 1;
                let id = index as u32 * 32 + bit;
                let priority = match id.checked_sub(PRIVATE) {
                    None => bank.priority[id as usize],
                    Some(spi) if self.targets[spi as usize] >> cpu & 1 != 0 => self.priority[spi as usize],
                    Some(_) => continue,
                };
                if best.is_none_or(|best| priority < best.priority) {
                    best = Some(Candidate { id, priority, group: Group::from_bit(word.group >> bit) });
                }
            }
        }
        best
    }

    /// From pending to active. What is pending in a way that this does not end, a line that is high or another
    /// source of an SGI, becomes pending and active. Gives the number, for an SGI with its source in bits 10 to 12.
    pub(super) fn acknowledge(&mut self, cpu: usize, id: u32) -> u32 {
        let mut source = 0;
        if id < SGIS {
            let bank = &mut self.banks[cpu];
            let sources = bank.sources[id as usize];
            // Which source is first is the implementation's choice: the lowest.
            source = sources.trailing_zeros() & 7;
            bank.set_sources(id as usize, sources & sources.wrapping_sub(1));
        }
        if let Some(word) = self.word_mut(cpu, (id / 32) as usize) {
            let bit = 1 << (id % 32);
            word.active |= bit;
            if id >= SGIS {
                word.latched &= !bit;
            }
        }
        id | source << 10
    }

    /// From active to inactive, or from pending and active to pending.
    pub(super) fn deactivate(&mut self, cpu: usize, id: u32) -> Was {
        let was = if self.is_active(cpu, id) { Was::Active } else { Was::NotActive };
        if let Some(word) = self.word_mut(cpu, (id / 32) as usize).filter(|_| was == Was::Active) {
            word.active &= !(1 << (id % 32));
        }
        was
    }

    /// Makes the SGI `id` pending on each of `targets`, one bit a CPU, from `cpu`.
    pub(super) fn send(&mut self, cpu: usize, id: u32, targets: u8) {
        for (target, bank) in self.banks.iter_mut().enumerate() {
            if targets >> target & 1 != 0 {
                bank.set_sources(id as usize, bank.sources[id as usize] | 1 << cpu);
            }
        }
    }
}
