//! The fake unit: registers, queue, records of faults. Written from the specification, in plain numbers: it shares
//! nothing with the driver's own layouts.

use crate::fake::Memory;
use crate::walk::Caches;
use std::collections::BTreeMap;

#[derive(Debug)]
pub(crate) struct Unit {
    registers: BTreeMap<u32, u32>,
    pub(crate) cap: u64,
    pub(crate) ecap: u64,
    /// Accesses until the unit falls silent.
    pub(crate) lives: Option<usize>,
    /// What a silent unit reads.
    pub(crate) silence: u32,
    pub(crate) status: u32,
    pub(crate) fsts: u32,
    pub(crate) root: u64,
    interrupt_table: u64,
    head: u64,
    next_record: u64,
    pub(crate) caches: Caches,
    /// Interrupt entries that were used and not invalidated.
    interrupt_cache: BTreeMap<u16, [u64; 2]>,
    /// Translations that must be invalidated before the next wait, since their context was: a domain's, or all (`None`).
    owed: Option<Option<u16>>,
    /// How many waits are not answered.
    pub(crate) lost_waits: usize,
    /// How many descriptors are refused.
    pub(crate) refusals: usize,
    /// The type and granularity of descriptors that are always refused.
    pub(crate) refused: Option<(u64, u64)>,
    /// What `IQH` reads, instead of the truth.
    pub(crate) false_head: Option<u64>,
    /// Commands of `GCMD` that are not followed.
    pub(crate) deaf_to: u32,
    /// The granularity that register-based invalidations tell, instead of what was asked for.
    pub(crate) told: Option<u64>,
    /// Descriptors that were executed.
    pub(crate) executed: Vec<[u64; 2]>,
    pub(crate) write_buffer_flushes: u32,
}

const TE: u32 = 1 << 31;
const SRTP: u32 = 1 << 30;
const WBF: u32 = 1 << 27;
const QIE: u32 = 1 << 26;
const IRE: u32 = 1 << 25;
const SIRTP: u32 = 1 << 24;
const CFI: u32 = 1 << 23;
const PFO: u32 = 1;
const PPF: u32 = 2;
const IQE: u32 = 1 << 4;
const RECORDS: u32 = 0x220;

impl Unit {
    pub(crate) fn new(cap: u64, ecap: u64) -> Self {
        Self {
            registers: BTreeMap::new(),
            cap,
            ecap,
            lives: None,
            silence: u32::MAX,
            status: 0,
            fsts: 0,
            root: 0,
            interrupt_table: 0,
            head: 0,
            next_record: 0,
            caches: Caches::default(),
            interrupt_cache: BTreeMap::new(),
            owed: None,
            lost_waits: 0,
            refusals: 0,
            refused: None,
            false_head: None,
            deaf_to: 0,
            told: None,
            executed: Vec::new(),
            write_buffer_flushes: 0,
        }
    }

    /// Cuts the power for a moment.
    pub(crate) fn reset(&mut self) {
        *self = Self { lives: self.lives, ..Self::new(self.cap, self.ecap) };
    }

    fn wide(&self, offset: u32) -> u64 {
        let half = |offset| u64::from(self.registers.get(&offset).copied().unwrap_or(0));
        half(offset) | half(offset + 4) << 32
    }

    fn records(&self) -> u64 {
        (self.cap >> 40 & 0xff) + 1
    }

    pub(crate) fn translates(&self) -> bool {
        self.status & TE != 0
    }

    fn answers(&mut self) -> bool {
        match &mut self.lives {
            None => true,
            Some(0) => false,
            Some(lives) => {
                *lives -= 1;
                true
            }
        }
    }

    pub(crate) fn read(&mut self, offset: u32) -> u32 {
        assert_eq!(offset % 4, 0, "{offset:#x}");
        if !self.answers() {
            return self.silence;
        }
        match offset {
            0x00 => 0x60,
            0x08 => self.cap as u32,
            0x0c => (self.cap >> 32) as u32,
            0x10 => self.ecap as u32,
            0x14 => (self.ecap >> 32) as u32,
            0x1c => self.status,
            0x34 => self.fsts,
            0x80 => self.false_head.unwrap_or(self.head) as u32,
            0x84 => (self.false_head.unwrap_or(self.head) >> 32) as u32,
            _ => self.registers.get(&offset).copied().unwrap_or(0),
        }
    }

    pub(crate) fn write(&mut self, memory: &mut Memory, offset: u32, value: u32) {
        assert_eq!(offset % 4, 0, "{offset:#x}");
        if !self.answers() {
            return;
        }
        match offset {
            0x18 => self.command(value),
            0x34 => {
                // Everything but PPF is cleared by writing 1.
                self.fsts &= !(value & 0x71);
                self.fetch(memory);
            }
            0x88 => {
                self.registers.insert(offset, value);
                self.fetch(memory);
            }
            _ if (RECORDS..RECORDS + 16 * self.records() as u32).contains(&offset) => {
                assert_eq!(offset % 16, 12, "only F can be written: {offset:#x}");
                let old = self.registers.entry(offset).or_default();
                *old &= !(value & 1 << 31);
                let pending = (0..self.records()).any(|index| self.is_recorded(index));
                self.fsts = self.fsts & !PPF | if pending { PPF } else { 0 };
            }
            _ => {
                self.registers.insert(offset, value);
            }
        }
        // The high half of a register starts it.
        match offset {
            0x2c if value >> 31 == 1 => self.context_command(),
            0xfc if value >> 31 == 1 => self.iotlb_command(),
            _ => {}
        }
    }

    fn command(&mut self, value: u32) {
        let one_shot = value & (SRTP | SIRTP | WBF);
        let changed = (value ^ self.status) & (TE | QIE | IRE | CFI);
        assert!(
            (one_shot | changed).count_ones() <= 1,
            "several commands at once: {value:#x}, {:#x}",
            self.status
        );
        if (one_shot | changed) & self.deaf_to != 0 {
            return;
        }
        match one_shot | changed {
            SRTP => {
                self.root = self.wide(0x20);
                self.status |= SRTP;
            }
            SIRTP => {
                self.interrupt_table = self.wide(0xb8);
                self.status |= SIRTP;
            }
            WBF => self.write_buffer_flushes += 1,
            QIE if value & QIE != 0 => {
                assert_eq!(self.wide(0x88), 0, "the tail is to be 0 when the queue is enabled");
                self.status |= QIE;
                self.head = 0;
            }
            QIE => {
                assert_eq!(self.head, self.wide(0x88), "disabled with descriptors in it");
                self.status &= !QIE;
                self.head = 0;
            }
            TE => {
                assert!(self.status & SRTP != 0, "translation without a root table");
                self.status ^= TE;
            }
            other => self.status ^= other,
        }
    }

    /// Executes the queue up to the tail, or up to an error.
    fn fetch(&mut self, memory: &mut Memory) {
        let address = self.wide(0x90);
        let shift = if address >> 11 & 1 == 1 { 5 } else { 4 };
        let bytes = 4096 << (address & 7);
        let tail = self.wide(0x88);
        if tail >= bytes || !tail.is_multiple_of(1 << shift) {
            self.fsts |= IQE;
        }
        while self.status & QIE != 0 && self.fsts & 0x70 == 0 && self.head != tail {
            let at = (address & !0xfff) + self.head;
            let words: Vec<u64> = (0..1 << (shift - 3)).map(|word| memory.word(at + 8 * word)).collect();
            if self.execute(memory, &words).is_none() {
                self.fsts |= IQE;
                return;
            }
            self.executed.push([words[0], words[1]]);
            self.head = (self.head + (1 << shift)) % bytes;
        }
    }

    /// `None` is a descriptor that is wrong.
    fn execute(&mut self, memory: &mut Memory, words: &[u64]) -> Option<()> {
        let (low, high) = (words[0], words[1]);
        if self.refusals > 0 {
            self.refusals -= 1;
            return None;
        }
        if self.refused == Some((low & 0xf, low >> 4 & 3)) {
            return None;
        }
        if words[2..].iter().any(|&word| word != 0) {
            return None;
        }
        let (granularity, did) = (low >> 4 & 3, (low >> 16) as u16);
        let (address, mask, hint) = (high & !0xfff, high & 0x3f, high >> 6 & 1 == 1);
        if matches!(low & 0xf, 2 | 6)
            && (mask > self.cap >> 48 & 0x3f || address & ((0x1000 << mask) - 1) != 0)
        {
            return None;
        }
        match (low & 0xf, granularity) {
            (1, 1) => self.owed = Some(None),
            (1, 3) => self.owed = Some(Some(did)),
            (2, 1) => self.owed = None,
            (2 | 6, 2) if self.owed == Some(Some(did)) => self.owed = None,
            // Unless it is one that the driver puts in the place of descriptors that are not fetched.
            (5, _) if low >> 32 != 0 => {
                assert_eq!(self.owed, None, "contexts were invalidated, translations not")
            }
            _ => {}
        }
        match (low & 0xf, granularity) {
            (1, 1) => self.caches.forget_contexts(),
            (1, 3) => self.caches.forget_context(did, (low >> 32) as u16),
            (2, 1) => self.caches.forget_iotlb(),
            (2, 2) => self.caches.forget_domain(did, false),
            (2, 3) => self.caches.forget_pages(did, false, address, mask, hint),
            (4, 0 | 2) => self.interrupt_cache.clear(),
            (4, _) => {
                let (mask, first) = (low >> 27 & 0x1f, (low >> 32) as u16);
                if mask > self.ecap >> 20 & 0xf {
                    return None;
                }
                self.interrupt_cache.retain(|&index, _| index >> mask != first >> mask);
            }
            (5, _) => {
                if low >> 5 & 1 == 0 || high % 4 != 0 {
                    return None;
                }
                if self.lost_waits > 0 {
                    self.lost_waits -= 1;
                } else {
                    let (at, shift) = (high & !7, 8 * (high & 4));
                    let word = memory.word(at) & !(0xffff_ffff << shift);
                    memory.set(at, word | (low >> 32) << shift);
                }
            }
            (6, 2) if words.len() == 4 => self.caches.forget_domain(did, true),
            (6, 3) if words.len() == 4 => self.caches.forget_pages(did, true, address, mask, hint),
            (7, 0) if words.len() == 4 => self.caches.forget_pasids(Some(did)),
            (7, 3) if words.len() == 4 => self.caches.forget_pasids(None),
            _ => return None,
        }
        Some(())
    }

    fn context_command(&mut self) {
        assert_eq!(self.status & QIE, 0, "registers while there is a queue");
        let value = self.wide(0x28);
        match value >> 61 & 3 {
            1 => self.caches.forget_contexts(),
            3 => self.caches.forget_context(value as u16, (value >> 16) as u16),
            other => panic!("granularity {other}"),
        }
        let told = self.told.unwrap_or(value >> 61 & 3);
        self.registers.insert(0x2c, (value >> 32) as u32 & !(1 << 31) & !(3 << 27) | (told << 27) as u32);
    }

    fn iotlb_command(&mut self) {
        assert_eq!(self.status & QIE, 0, "registers while there is a queue");
        let (value, pages) = (self.wide(0xf8), self.wide(0xf0));
        let did = (value >> 32) as u16;
        match value >> 60 & 3 {
            1 => self.caches.forget_iotlb(),
            2 => self.caches.forget_domain(did, false),
            3 => self.caches.forget_pages(did, false, pages & !0xfff, pages & 0x3f, pages >> 6 & 1 == 1),
            other => panic!("granularity {other}"),
        }
        let told = self.told.unwrap_or(value >> 60 & 3);
        self.registers.insert(0xfc, (value >> 32) as u32 & !(1 << 31) & !(3 << 25) | (told << 25) as u32);
    }

    fn is_recorded(&self, index: u64) -> bool {
        self.registers.get(&(RECORDS + 16 * index as u32 + 12)).is_some_and(|word| word >> 31 == 1)
    }

    /// Records a fault, if there is room.
    pub(crate) fn record(&mut self, low: u64, high: u64) {
        if self.fsts & PFO != 0 {
            return;
        }
        if self.is_recorded(self.next_record) {
            self.fsts |= PFO;
            return;
        }
        if self.fsts & PPF == 0 {
            self.fsts = self.fsts & !0xff00 | PPF | (self.next_record as u32) << 8;
        }
        let at = RECORDS + 16 * self.next_record as u32;
        let words = [low as u32, (low >> 32) as u32, high as u32, (high >> 32) as u32 | 1 << 31];
        for (step, word) in words.into_iter().enumerate() {
            self.registers.insert(at + 4 * step as u32, word);
        }
        self.next_record = (self.next_record + 1) % self.records();
    }

    /// Remaps an interrupt, or blocks it.
    pub(crate) fn interrupt(
        &mut self,
        memory: &Memory,
        sid: u16,
        address: u64,
        data: u32,
    ) -> Option<(u8, u32)> {
        let blocked = |unit: &mut Self, reason: u64, index: u16| {
            unit.record(u64::from(index) << 48, u64::from(sid) | reason << 32);
            None
        };
        assert_eq!(address >> 20, 0xfee);
        if self.status & IRE == 0 {
            return Some((data as u8, (address >> 12) as u32 & 0xff));
        }
        if address >> 4 & 1 == 0 {
            return blocked(self, 0x25, 0);
        }
        let handle = (address >> 5 & 0x7fff | (address >> 2 & 1) << 15) as u16;
        let index = if address >> 3 & 1 == 1 { handle.wrapping_add(data as u16) } else { handle };
        if u64::from(index) >> ((self.interrupt_table & 0xf) + 1) != 0 {
            return blocked(self, 0x21, index);
        }
        let at = (self.interrupt_table & !0xfff) + 16 * u64::from(index);
        let entry = *self.interrupt_cache.entry(index).or_insert([memory.word(at), memory.word(at + 8)]);
        if entry[0] & 1 == 0 {
            self.interrupt_cache.remove(&index);
            return blocked(self, 0x22, index);
        }
        if entry[1] >> 18 & 3 == 1 && entry[1] as u16 != sid {
            return blocked(self, 0x26, index);
        }
        let destination = (entry[0] >> 32) as u32;
        let wide = self.interrupt_table >> 11 & 1 == 1;
        Some(((entry[0] >> 16) as u8, if wide { destination } else { destination >> 8 }))
    }
}
