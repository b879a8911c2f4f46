//! The command buffer, as the device sees it.

use super::{ADDRESS, COMMAND_BASE, COMMAND_HEAD, COMMAND_TAIL, Device, EXTENDED, STATUS};

impl Device {
    pub(super) fn buffer_bytes(&self, base: u32) -> u64 {
        16 << (self.get(base) >> 56 & 0xf)
    }

    /// Fetches commands until there are none, or one cannot be executed.
    pub(super) fn commands(&mut self) {
        let bytes = self.buffer_bytes(COMMAND_BASE);
        while !self.deaf && self.get(STATUS) & 1 << 4 != 0 && self.get(COMMAND_HEAD) != self.get(COMMAND_TAIL)
        {
            let head = self.get(COMMAND_HEAD);
            assert!(self.get(COMMAND_TAIL) < bytes, "a tail beyond the buffer");
            let at = (self.get(COMMAND_BASE) & ADDRESS) + head;
            if !self.command((self.memory.word(at), self.memory.word(at + 8))) {
                self.pending.clear();
                self.set(STATUS, self.get(STATUS) & !(1 << 4));
                self.log(5 << 60, at);
                return;
            }
            self.set(COMMAND_HEAD, (head + 16) % bytes);
        }
    }

    /// Takes a command, if it is legal.
    fn command(&mut self, command: (u64, u64)) -> bool {
        let opcode = command.0 >> 60;
        if self.unknown == Some(opcode) {
            return false;
        }
        let reserved = match opcode {
            1 => (0xff << 52, 0),
            2 | 5 => (0xfff_ffff_ffff << 16, u64::MAX),
            3 => (0xfff << 20 | 0xfff << 48, 0x1ff << 3),
            8 if self.get(EXTENDED) & 1 << 6 != 0 => (u64::MAX >> 4, u64::MAX),
            _ => return false,
        };
        if command.0 & reserved.0 != 0 || command.1 & reserved.1 != 0 {
            return false;
        }
        if opcode != 1 {
            self.pending.push(command);
            return true;
        }
        for pending in std::mem::take(&mut self.pending) {
            self.execute(pending);
        }
        if command.0 & 1 != 0 && !self.no_store {
            self.memory.set_word(command.0 & 0xf_ffff_ffff_fff8, command.1);
        }
        self.executed.push(command);
        true
    }

    fn execute(&mut self, command: (u64, u64)) {
        self.executed.push(command);
        match command.0 >> 60 {
            2 => drop(self.entries.remove(&(command.0 as u32 & 0xffff))),
            3 => {
                let domain = command.0 >> 32 & 0xffff;
                let page = command.1 >> 12;
                let size = if command.1 & 1 == 0 { 1 } else { 2_u64 << page.trailing_ones() };
                let first = page & !(size - 1);
                self.translations
                    .retain(|(of, _, at), _| *of != domain || !(first..first + size).contains(at));
            }
            8 => {
                self.entries.clear();
                self.translations.clear();
            }
            _ => {}
        }
    }
}
