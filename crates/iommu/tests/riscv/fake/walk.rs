//! Transactions: directory, caches, tables, and the fault queue.

use super::Device;

const CAUSE_OFF: u64 = 256;
const CAUSE_INVALID: u64 = 258;
const CAUSE_DISALLOWED: u64 = 260;

impl Device {
    /// Where the directory in memory has a device's context, if it does.
    pub(crate) fn place(&self, device: u32) -> Result<u64, u64> {
        let ddtp = self.get64(0x10);
        let leaf_bits = if self.extended() { 6 } else { 7 };
        let levels = match ddtp & 0xf {
            0 => return Err(CAUSE_OFF),
            mode => mode as u32 - 1,
        };
        let bits = if levels == 3 { 24 } else { leaf_bits + 9 * (levels - 1) };
        if device >> bits != 0 {
            return Err(CAUSE_DISALLOWED);
        }
        let mut page = ddtp >> 10 << 12;
        for level in (1..levels).rev() {
            let index = u64::from(device >> (leaf_bits + 9 * (level - 1)) & 0x1ff);
            let entry = self.memory.word(page + index * 8);
            assert_eq!(entry & (0x1ff << 1 | 0x3ff << 54), 0, "reserved bits of a directory entry");
            if entry & 1 == 0 {
                return Err(CAUSE_INVALID);
            }
            page = entry >> 10 << 12;
        }
        Ok(page + u64::from(device % (1 << leaf_bits)) * (4096 >> leaf_bits))
    }

    fn context(&mut self, device: u32) -> Result<[u64; 4], u64> {
        if self.get(0x10) & 0xf == 0 {
            return Err(CAUSE_OFF);
        }
        if let Some(context) = self.contexts.get(&device) {
            return Ok(*context);
        }
        let at = self.place(device)?;
        let context = [0, 8, 16, 24].map(|offset| self.memory.word(at + offset));
        if context[0] & 1 == 0 {
            return Err(CAUSE_INVALID);
        }
        assert_eq!(context[0], 1, "translation control");
        assert_eq!(
            (context[2] & (0xfff | 0xffff_ffff << 32), context[3] >> 44 & 0xffff),
            (0, 0),
            "reserved bits"
        );
        assert!(context[1] >> 60 == 0 || context[1] & 3 == 0, "the root of a second stage");
        for offset in (32..if self.extended() { 64 } else { 32 }).step_by(8) {
            assert_eq!(self.memory.word(at + offset), 0, "interrupts are not translated");
        }
        self.contexts.insert(device, context);
        Ok(context)
    }

    /// A transaction of a device: where it goes, or the cause why not, which is recorded.
    pub(crate) fn access(&mut self, device: u32, address: u64, write: bool) -> Result<u64, u64> {
        let result = self.translate(device, address, write);
        if let Err(cause) = result {
            let kind = if write { 3 } else { 2 };
            self.record([cause | kind << 34 | u64::from(device) << 40, 0, address, 0]);
        }
        result
    }

    fn translate(&mut self, device: u32, address: u64, write: bool) -> Result<u64, u64> {
        let [_, iohgatp, ta, fsc] = self.context(device)?;
        let guest = (iohgatp >> 60 != 0).then_some(iohgatp >> 44 & 0xffff);
        let process = if fsc >> 60 == 0 { 0 } else { ta >> 12 };
        if guest.is_none() && fsc >> 60 == 0 {
            return Ok(address);
        }
        let page = address >> 12;
        let tag = (guest, process, page);
        if let Some(to) = self.translations.get(&tag) {
            return Ok(to << 12 | address & 0xfff);
        }
        let root = |atp: u64| (atp & 0xfff_ffff_ffff) << 12;
        let mut to = page;
        for (atp, cause) in [(fsc, 13_u64), (iohgatp, 21)] {
            if atp >> 60 != 0 {
                to = *self.tables.get(&(root(atp), to)).ok_or(cause + if write { 2 } else { 0 })?;
            }
        }
        self.translations.insert(tag, to);
        Ok(to << 12 | address & 0xfff)
    }

    /// Writes a fault record.
    pub(crate) fn record(&mut self, words: [u64; 4]) {
        let csr = self.get(0x4c);
        if csr & 1 << 16 == 0 || csr & 0x300 != 0 {
            return;
        }
        let entries = 2 << (self.get(0x28) & 0x1f);
        let tail = self.get(0x34);
        if (tail + 1) % entries == self.get(0x30) {
            self.set(0x4c, csr | 1 << 9);
        } else {
            let at = (self.get64(0x28) >> 10 << 12) + u64::from(tail) * 32;
            for (word, index) in words.into_iter().zip(0..) {
                self.memory.set_word(at + index * 8, word);
            }
            self.set(0x34, (tail + 1) % entries);
        }
        if csr & 2 != 0 {
            self.set(0x54, self.get(0x54) | 2);
        }
    }

    pub(super) fn request(&mut self, low: u32) {
        self.set(0x260, low);
        if low & 1 == 0 || self.deaf {
            return;
        }
        let device = self.get(0x264) >> 8;
        let address = self.get64(0x258);
        let response = match self.access(device, address, low & 8 == 0) {
            Err(_) => 1,
            Ok(to) => to >> 12 << 10,
        };
        self.set(0x268, response as u32);
        self.set(0x26c, (response >> 32) as u32);
        self.set(0x260, low & !1);
    }
}
