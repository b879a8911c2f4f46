//! Transactions: device table, caches, tables, and the event log.

use super::{ADDRESS, DEVICE_TABLE, Device, EVENT_BASE, EVENT_HEAD, EVENT_TAIL, Leads, Refused, STATUS};

impl Device {
    /// A transaction of a device: where it goes, or why not, which is logged.
    pub(crate) fn access(&mut self, device: u32, address: u64, write: bool) -> Result<u64, Refused> {
        if !self.is_on() {
            return Ok(address);
        }
        let table = self.get(DEVICE_TABLE);
        assert!(u64::from(device) < ((table & 0x1ff) + 1) * 128, "no entry for {device:#x}");
        let at = (table & ADDRESS) + u64::from(device) * 32;
        let entry = *self.entries.entry(device).or_insert_with(|| {
            let word = |index: u64| self.memory.word(at + index * 8);
            assert_eq!((word(2), word(3)), (0, 0), "interrupts pass");
            (word(0), word(1))
        });
        let result = self.translate(device, entry, address, write);
        if let Err(refused) = result {
            let flags = match refused {
                Refused::NotPresent => 0,
                Refused::Permission => 1 << 52 | 1 << 54 | u64::from(write) << 53,
            };
            self.log(2 << 60 | flags | (entry.1 & 0xffff) << 32 | u64::from(device), address);
        }
        result
    }

    fn translate(
        &mut self,
        device: u32,
        entry: (u64, u64),
        address: u64,
        write: bool,
    ) -> Result<u64, Refused> {
        let wanted = if write { 2 } else { 1 };
        let domain = entry.1;
        assert_eq!(domain & !0xffff, 0, "second word");
        let tag = (domain, device, address >> 12);
        if let Some(leads) = self.translations.get(&tag) {
            let leads = *leads;
            return if leads.access & wanted != 0 {
                Ok(leads.to << 12 | address & 0xfff)
            } else {
                Err(Refused::Permission)
            };
        }
        assert_eq!(entry.0 & 3, 3, "an entry that lets everything pass");
        let access = entry.0 >> 61 & 3;
        if access & wanted == 0 {
            return Err(Refused::Permission);
        }
        let leads = match entry.0 >> 9 & 7 {
            0 => Leads { to: address >> 12, access },
            _ => *self.tables.get(&(entry.0 & ADDRESS, address >> 12)).ok_or(Refused::NotPresent)?,
        };
        if leads.access & wanted == 0 {
            return Err(Refused::Permission);
        }
        self.translations.insert(tag, leads);
        Ok(leads.to << 12 | address & 0xfff)
    }

    /// Logs an event.
    pub(crate) fn log(&mut self, first: u64, second: u64) {
        let status = self.get(STATUS);
        if status & 1 << 3 == 0 {
            return;
        }
        let bytes = self.buffer_bytes(EVENT_BASE);
        let tail = self.get(EVENT_TAIL);
        if (tail + 16) % bytes == self.get(EVENT_HEAD) {
            self.set(STATUS, status & !(1 << 3) | 1);
            return;
        }
        let at = (self.get(EVENT_BASE) & ADDRESS) + tail;
        self.memory.set_word(at + 8, second);
        if self.late == 0 {
            self.memory.set_word(at, first);
        } else {
            self.coming = Some((at, first, self.late));
        }
        self.set(EVENT_TAIL, (tail + 16) % bytes);
        self.set(STATUS, status | 2);
    }
}
