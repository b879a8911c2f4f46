//! What the fake makes of commands and structures in memory (Arm IHI 0070, chapters 4 and 5).

use crate::fake::{Fetched, Hardware};

const fn bits(word: u64, from: u32, count: u32) -> u64 {
    word >> from & (u64::MAX >> (64 - count))
}

impl Hardware {
    fn has_stage1(&self) -> bool {
        self.get(0) >> 1 & 1 == 1
    }

    fn has_stage2(&self) -> bool {
        self.get(0) & 1 == 1
    }

    /// Carries one command out; false when there is none or processing is halted.
    pub(crate) fn consume(&mut self) -> bool {
        let halted = (self.get(0x60) ^ self.get(0x64)) & 1 == 1;
        if self.get(0x20) & 8 == 0 || halted {
            return false;
        }
        let base = self.get64(0x90);
        let log2 = base as u32 & 0x1f;
        let mask = (2 << log2) - 1;
        let consumer = self.get(0x9c) & 0xf_ffff;
        if consumer == self.get(0x98) & mask {
            return false;
        }
        if self.fetch_aborts > 0 {
            self.fetch_aborts -= 1;
            return self.fail(2);
        }
        let at = (base & 0x000f_ffff_ffff_ffe0) + 16 * u64::from(consumer & ((1 << log2) - 1));
        if self.corrupt.remove(&self.consumed) {
            self.words.insert(at, 0xff);
        }
        let command = [self.word(at), self.word(at + 8)];
        if !self.carry_out(command) {
            return self.fail(1);
        }
        self.log.push(command[0] as u8);
        self.consumed += 1;
        // The error field keeps its value.
        let error = self.get(0x9c) & 0x7f00_0000;
        self.set(0x9c, consumer.wrapping_add(1) & mask | error);
        true
    }

    fn fail(&mut self, error: u32) -> bool {
        let consumer = self.get(0x9c) & 0xf_ffff;
        self.set(0x9c, consumer | error << 24);
        self.set(0x60, self.get(0x60) ^ 1);
        false
    }

    /// False when the command is illegal.
    fn carry_out(&mut self, [first, second]: [u64; 2]) -> bool {
        let stream = (first >> 32) as u32;
        let (vmid, asid) = (bits(first, 32, 16) as u16, (first >> 48) as u16);
        let stalls = bits(u64::from(self.get(0)), 24, 2) != 1;
        match first as u8 {
            0x03 => drop(self.configurations.remove(&stream)),
            0x04 => {
                let count = 2_u64 << bits(second, 0, 5);
                let start = u64::from(stream) & !(count - 1);
                self.configurations.retain(|&id, _| u64::from(id) < start || u64::from(id) >= start + count);
            }
            0x05 | 0x06 if self.has_stage1() => drop(self.configurations.remove(&stream)),
            0x10 if self.has_stage1() => self.tlb.retain(|it| it.0 != vmid || it.1.is_none()),
            0x11 if self.has_stage1() => self.tlb.retain(|it| it.0 != vmid || it.1 != Some(asid)),
            0x12 if self.has_stage1() => {
                let Some((first, last)) = range(first, second) else { return false };
                let gone = |page: u64| page >= first && page <= last;
                self.tlb.retain(|it| it.0 != vmid || it.1 != Some(asid) || !gone(it.2));
            }
            0x28 if self.has_stage2() => self.tlb.retain(|it| it.0 != vmid),
            0x2a if self.has_stage2() => {
                let Some((first, last)) = range(first, second) else { return false };
                let gone = |page: u64| page >= first && page <= last;
                self.tlb.retain(|it| it.0 != vmid || it.1.is_some() || !gone(it.2));
            }
            0x30 => self.tlb.clear(),
            0x44 if stalls => {
                let tag = second as u16;
                if self.stalled.remove(&(stream, tag)) {
                    self.answered.push((stream, tag, bits(first, 12, 2) as u8));
                }
            }
            0x45 if stalls => self.stalled.retain(|it| it.0 != stream),
            0x46 => {}
            _ => return false,
        }
        true
    }

    fn ste(&self, stream: u32) -> Option<[u64; 4]> {
        let (base, shape) = (self.get64(0x80) & 0x000f_ffff_ffff_ffc0, self.get(0x88));
        let log2 = shape & 0x3f;
        if u64::from(stream) >= 1 << log2 {
            return None;
        }
        let at = if shape >> 16 & 3 == 1 {
            let split = shape >> 6 & 0x1f;
            let descriptor = self.word(base + 8 * u64::from(stream >> split));
            let span = bits(descriptor, 0, 5);
            let index = u64::from(stream) & ((1 << split) - 1);
            if span == 0 || index >= 1 << (span - 1) {
                return None;
            }
            (descriptor & 0x000f_ffff_ffff_ffc0) + 64 * index
        } else {
            base + 64 * u64::from(stream)
        };
        Some([0, 8, 16, 24].map(|offset| self.word(at + offset)))
    }

    pub(crate) fn fetch(&self, stream: u32) -> Fetched {
        let Some(ste) = self.ste(stream) else {
            // CR2.RECINVSID
            return if self.get(0x2c) >> 1 & 1 == 1 { Fetched::Event(2) } else { Fetched::Abort };
        };
        let config = bits(ste[0], 1, 3);
        let (one, two) = (config & 1 == 1, config & 2 == 2);
        if ste[0] & 1 == 0 || (one && !self.has_stage1()) || (two && !self.has_stage2()) {
            return Fetched::Event(4);
        }
        match config {
            0..=3 => return Fetched::Abort,
            4 => return Fetched::Bypass,
            _ => {}
        }
        let vmid = if self.has_stage2() { ste[2] as u16 } else { 0 };
        let stalls = bits(u64::from(self.get(0)), 24, 2);
        let stall_is_wrong = |stall: u64| (stalls == 1 && stall == 1) || (stalls == 2 && stall == 0);
        let mut root2 = None;
        if two {
            // S2AA64, S2R, S2S, S2T0SZ
            let (aa64, record, stall) = (bits(ste[2], 51, 1), bits(ste[2], 58, 1), bits(ste[2], 57, 1));
            if aa64 == 0 || record == 0 || stall_is_wrong(stall) || bits(ste[2], 32, 6) < 16 {
                return Fetched::Event(4);
            }
            root2 = Some(ste[3] & 0x000f_ffff_ffff_fff0);
        }
        let (mut root1, mut asid) = (None, 0);
        if one {
            if bits(ste[0], 59, 5) != 0 {
                return Fetched::Event(8);
            }
            let at = ste[0] & 0x000f_ffff_ffff_ffc0;
            let cd = self.word(at);
            let valid = bits(cd, 31, 1) == 1 && bits(cd, 41, 1) == 1 && bits(cd, 46, 1) == 1;
            if !valid || stall_is_wrong(bits(cd, 44, 1)) || bits(cd, 32, 3) > 5 || bits(cd, 0, 6) < 16 {
                return Fetched::Event(10);
            }
            root1 = Some(self.word(at + 8) & 0x000f_ffff_ffff_fff0);
            asid = (cd >> 48) as u16;
        }
        Fetched::Translate { root1, root2, asid, vmid }
    }
}

/// The first and the last page of 4 KiB that an invalidation by address is about; `None` for fields that make no sense.
fn range(first: u64, second: u64) -> Option<(u64, u64)> {
    let (num, scale) = (bits(first, 12, 5), bits(first, 20, 5));
    let (ttl, tg, page) = (bits(second, 8, 2), bits(second, 10, 2), second >> 12);
    if tg == 0 {
        return (num == 0 && scale == 0 && ttl == 0).then_some((page, page));
    }
    let unit = 1 << (2 * (tg - 1));
    if (num == 0 && scale == 0 && ttl == 0) || page % unit != 0 {
        return None;
    }
    Some((page, page + (((num + 1) << scale) * unit) - 1))
}
