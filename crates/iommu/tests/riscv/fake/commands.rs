//! The command queue, as the device sees it.

use super::Device;

impl Device {
    /// Fetches commands until there are none, or one cannot be executed.
    pub(super) fn commands(&mut self) {
        let entries = 2 << (self.get(0x18) & 0x1f);
        let base = self.get64(0x18) >> 10 << 12;
        while !self.deaf
            && self.get(0x48) & 1 << 16 != 0
            && self.get(0x48) & 0x700 == 0
            && self.get(0x20) != self.get(0x24)
        {
            let head = self.get(0x20);
            let at = base + u64::from(head) * 16;
            let command = (self.memory.word(at), self.memory.word(at + 8));
            if let Err(error) = self.command(command) {
                // "Previous commands may have completed, timed out, or their execution aborted."
                self.pending.clear();
                self.set(0x48, self.get(0x48) | error);
                return;
            }
            self.set(0x20, (head + 1) % entries);
        }
    }

    fn command(&mut self, command: (u64, u64)) -> Result<(), u32> {
        const ILLEGAL: u32 = 1 << 10;
        let (opcode, function) = (command.0 & 0x7f, command.0 >> 7 & 7);
        // "Unsupported if it is defined but not implemented as determined by the `capabilities` register."
        let no_second_stage = self.get64(0) & 0xf_0000 == 0;
        if self.unknown == Some((opcode, function)) || (opcode, function) == (1, 1) && no_second_stage {
            return Err(ILLEGAL);
        }
        let ranges = self.get64(0) >> 43 & 1;
        let deep = self.get64(0) >> 42 & 1;
        let reserved = match (opcode, function) {
            (1, 0) => {
                (1 << 11 | (1 - deep) << 34 | 0x1ff << 35 | 0xf << 60, 0x1ff | (1 - ranges) << 9 | 3 << 62)
            }
            (1, 1) => (
                1 << 11 | 1 << 32 | (1 - deep) << 34 | 0x1ff << 35 | 0xf << 60,
                0x1ff | (1 - ranges) << 9 | 3 << 62,
            ),
            (2, 0) => (1 << 11 | 0x3ffff << 14, 3 << 62),
            (3, 0) => (0xf_ffff << 12 | 3 << 10 | 1 << 32 | 0x3f << 34, u64::MAX),
            _ => return Err(ILLEGAL),
        };
        if command.0 & reserved.0 != 0 || command.1 & reserved.1 != 0 {
            return Err(ILLEGAL);
        }
        if opcode == 2 {
            if command.0 & 1 << 10 != 0 && self.no_store {
                return Err(1 << 8);
            }
            for pending in std::mem::take(&mut self.pending) {
                self.execute(pending);
            }
            if command.0 & 1 << 10 != 0 {
                self.store32(command.1 << 2, (command.0 >> 32) as u32);
            }
            self.executed.push(command);
        } else {
            self.pending.push(command);
        }
        Ok(())
    }

    fn execute(&mut self, command: (u64, u64)) {
        self.executed.push(command);
        if command.0 & 0x7f == 3 {
            let device = (command.0 >> 40) as u32;
            self.contexts.retain(|id, _| command.0 & 1 << 33 != 0 && *id != device);
            return;
        }
        let second = command.0 >> 7 & 7 == 1;
        let by_address = command.0 & 1 << 10 != 0;
        let page = command.1 >> 10;
        let size = if command.1 & 1 << 9 == 0 { 1 } else { 2 << page.trailing_ones() };
        let pages = page & !(size - 1)..(page & !(size - 1)) + size;
        let process = (command.0 & 1 << 32 != 0).then_some(command.0 >> 12 & 0xf_ffff);
        let guest = (command.0 & 1 << 33 != 0).then_some(command.0 >> 44 & 0xffff);
        self.translations.retain(|(of_guest, of_process, at), _| {
            let of = match (second, guest) {
                (true, None) => of_guest.is_some(),
                _ => *of_guest == guest,
            };
            // By which guest address an entry came is not known here: all of the guest's go, as the specification
            // allows.
            let there = second || !by_address || pages.contains(at);
            !(of && there && process.is_none_or(|process| process == *of_process))
        });
    }
}
