//! How the fake unit finds an address: walks, and caches that never forget by themselves.

use crate::device::Unit;
use crate::fake::Memory;
use std::collections::BTreeMap;

/// How a requester translates, as a context entry or PASID-table entry says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum How {
    PassThrough,
    Stage { root: u64, levels: u32, first: bool },
}

/// Whose translations: a domain's, first stage or not.
type Tag = (u16, bool);

#[derive(Default, Debug)]
pub(crate) struct Caches {
    /// Context entries: legacy ones with their domain, scalable ones with the PASID directory.
    contexts: BTreeMap<u16, [u64; 2]>,
    /// PASID-table entries by directory, with their domain.
    pasids: BTreeMap<u64, [u64; 3]>,
    /// Pages: where they lead, and whether they may be written.
    pages: BTreeMap<(Tag, u64), (u64, bool)>,
    /// Tables of 4 KiB pages, by bits 63:21 of the address.
    tables: BTreeMap<(Tag, u64), u64>,
}

impl Caches {
    pub(crate) fn forget_contexts(&mut self) {
        self.contexts.clear();
    }

    /// In legacy mode an entry is found by its domain as well.
    pub(crate) fn forget_context(&mut self, did: u16, sid: u16) {
        let legacy_of_other = self
            .contexts
            .get(&sid)
            .is_some_and(|entry| entry[1] != u64::MAX && (entry[1] >> 8) as u16 != did);
        if !legacy_of_other {
            self.contexts.remove(&sid);
        }
    }

    pub(crate) fn forget_pasids(&mut self, did: Option<u16>) {
        self.pasids.retain(|_, entry| did.is_some_and(|did| entry[1] as u16 != did));
    }

    pub(crate) fn forget_iotlb(&mut self) {
        self.pages.clear();
        self.tables.clear();
    }

    pub(crate) fn forget_domain(&mut self, did: u16, first: bool) {
        self.pages.retain(|(tag, _), _| *tag != (did, first));
        self.tables.retain(|(tag, _), _| *tag != (did, first));
    }

    pub(crate) fn forget_pages(&mut self, did: u16, first: bool, address: u64, mask: u64, hint: bool) {
        let last = address + ((0x1000 << mask) - 1);
        let within = |tag: Tag, from: u64, to: u64| tag == (did, first) && from <= last && to >= address;
        self.pages.retain(|&(tag, page), _| !within(tag, page << 12, page << 12 | 0xfff));
        if !hint {
            self.tables.retain(|&(tag, table), _| !within(tag, table << 21, table << 21 | 0x1f_ffff));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.contexts.len() + self.pasids.len() + self.pages.len() + self.tables.len()
    }
}

impl Unit {
    /// Where an access leads; `None` where it was refused, and recorded.
    pub(crate) fn access(&mut self, memory: &mut Memory, sid: u16, address: u64, write: bool) -> Option<u64> {
        if !self.translates() {
            return Some(address);
        }
        match self.translate(memory, sid, address, write) {
            Ok(physical) => Some(physical),
            Err(reason) => {
                self.record(address & !0xfff, u64::from(sid) | reason << 32 | u64::from(!write) << 62);
                None
            }
        }
    }

    pub(crate) fn translate(
        &mut self,
        memory: &Memory,
        sid: u16,
        address: u64,
        write: bool,
    ) -> Result<u64, u64> {
        let scalable = self.root >> 10 & 3 == 1;
        let entry = match self.caches.contexts.get(&sid) {
            Some(&entry) => entry,
            None => {
                let entry = self.context(memory, sid, scalable)?;
                self.caches.contexts.insert(sid, entry);
                entry
            }
        };
        let (did, how) = if scalable { self.pasid(memory, entry[0])? } else { legacy(entry)? };
        let How::Stage { root, levels, first } = how else {
            return Ok(address);
        };
        let width = 12 + 9 * levels;
        if first && (address as i64) << (64 - width) >> (64 - width) != address as i64 {
            return Err(0x80);
        }
        if !first && address >> width != 0 {
            return Err(0x04);
        }
        let tag = (did, first);
        let page = match self.caches.pages.get(&(tag, address >> 12)) {
            Some(&page) => page,
            None => self.walk(memory, tag, root, levels, address)?,
        };
        if write && !page.1 {
            return Err(if first { 0x85 } else { 0x05 });
        }
        Ok(page.0 | address & 0xfff)
    }

    fn walk(
        &mut self,
        memory: &Memory,
        tag: Tag,
        root: u64,
        levels: u32,
        address: u64,
    ) -> Result<(u64, bool), u64> {
        let missing = if tag.1 { 0x71 } else { 0x06 };
        let table = match self.caches.tables.get(&(tag, address >> 21)) {
            Some(&table) => table,
            None => {
                let mut table = root;
                for level in (1..levels).rev() {
                    let entry = memory.word(table + 8 * (address >> (12 + 9 * level) & 0x1ff));
                    if entry & 1 == 0 {
                        return Err(missing);
                    }
                    table = entry & !0xfff;
                }
                self.caches.tables.insert((tag, address >> 21), table);
                table
            }
        };
        let entry = memory.word(table + 8 * (address >> 12 & 0x1ff));
        if entry & 1 == 0 {
            return Err(missing);
        }
        let page = (entry & 0x000f_ffff_ffff_f000, entry >> 1 & 1 == 1);
        self.caches.pages.insert((tag, address >> 12), page);
        Ok(page)
    }

    /// What a requester's context entry is, were it not cached.
    pub(crate) fn look(&self, memory: &Memory, sid: u16) -> Result<(), u64> {
        let scalable = self.root >> 10 & 3 == 1;
        let entry = self.context(memory, sid, scalable)?;
        if scalable { Ok(()) } else { legacy(entry).map(drop) }
    }

    fn context(&self, memory: &Memory, sid: u16, scalable: bool) -> Result<[u64; 2], u64> {
        let (bus, function) = (u64::from(sid >> 8), u64::from(sid & 0xff));
        let half = if scalable { function >> 7 } else { 0 };
        let root = memory.word((self.root & !0xfff) + 16 * bus + 8 * half);
        if root & 1 == 0 {
            return Err(if scalable { 0x39 } else { 0x01 });
        }
        if root & 0xffe != 0 {
            return Err(if scalable { 0x3a } else { 0x0a });
        }
        let at = (root & !0xfff) + if scalable { 32 * (function & 0x7f) } else { 16 * function };
        let low = memory.word(at);
        if low & 1 == 0 {
            return Err(if scalable { 0x41 } else { 0x02 });
        }
        if scalable && (low & 0x1fe != 0 || (1..4).any(|word| memory.word(at + 8 * word) != 0)) {
            return Err(0x42);
        }
        // All ones tell a scalable entry from a legacy one.
        Ok([low, if scalable { u64::MAX } else { memory.word(at + 8) }])
    }

    fn pasid(&mut self, memory: &Memory, context: u64) -> Result<(u16, How), u64> {
        let directory = context & !0xfff;
        let entry = match self.caches.pasids.get(&directory) {
            Some(&entry) => entry,
            None => {
                let table = memory.word(directory);
                if table & 1 == 0 {
                    return Err(0x51);
                }
                let word = |index: u64| memory.word((table & !0xfff) + 8 * index);
                if word(0) & 1 == 0 {
                    return Err(0x59);
                }
                if (3..8).any(|index| word(index) != 0) {
                    return Err(0x5a);
                }
                let entry = [word(0), word(1), word(2)];
                self.caches.pasids.insert(directory, entry);
                entry
            }
        };
        // PWSNP is reserved where it is not reported.
        if entry[1] >> 23 & 1 == 1 && self.ecap >> 48 & 1 == 0 {
            return Err(0x5a);
        }
        let how = match entry[0] >> 6 & 7 {
            1 => How::Stage { root: entry[2] & !0xfff, levels: 4 + (entry[2] >> 2 & 3) as u32, first: true },
            2 => How::Stage { root: entry[0] & !0xfff, levels: 2 + (entry[0] >> 2 & 7) as u32, first: false },
            4 => How::PassThrough,
            _ => return Err(0x5b),
        };
        Ok((entry[1] as u16, how))
    }
}

fn legacy(entry: [u64; 2]) -> Result<(u16, How), u64> {
    if entry[0] & 0xff2 != 0 || entry[1] & !0xff_ff07 != 0 {
        return Err(0x0b);
    }
    let levels = 2 + (entry[1] & 7) as u32;
    // No table has two levels, and domain 0 is nobody's.
    if !(3..=5).contains(&levels) || entry[1] >> 8 == 0 {
        return Err(0x03);
    }
    match entry[0] >> 2 & 3 {
        0 => Ok(((entry[1] >> 8) as u16, How::Stage { root: entry[0] & !0xfff, levels, first: false })),
        2 => Ok(((entry[1] >> 8) as u16, How::PassThrough)),
        _ => Err(0x03),
    }
}
