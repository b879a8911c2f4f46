//! What the physical and the virtual CPU interface have in common: enables, priorities, preemption.

use super::registers::cpu_interface::{
    ABPR, ABPR_LEAST, BPR, BPR_LEAST, CTLR, CTLR_ACKNOWLEDGE, CTLR_COMMON_BINARY_POINT, CTLR_ENABLE_GROUP_0,
    CTLR_ENABLE_GROUP_1, CTLR_EOI_MODE, CTLR_FIQ, CTLR_MASK, GROUP_1_PENDING, PMR, RPR, SPURIOUS,
};
use crate::hardware::Level;

/// The bits of a priority that exist: the upper five, as in a GIC-400. The others read as zero.
pub(super) const PRIORITY_MASK: u8 = 0xf8;
/// Bits of a priority that do not exist.
const PRIORITY_SHIFT: u32 = 3;
/// What `RPR` gives when nothing runs.
const IDLE: u32 = 0xff;

/// An interrupt's group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Group {
    Zero,
    One,
}

impl Group {
    /// The group that a bit of `GICD_IGROUPRn` or of a list register names.
    pub(super) const fn from_bit(bit: u32) -> Self {
        if bit & 1 == 0 { Self::Zero } else { Self::One }
    }
}

/// Which of a pair of registers was used: `IAR`, `EOIR`, `HPPIR`, or the same of group 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum View {
    Plain,
    Aliased,
}

/// Whether ending an interrupt deactivates it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum EoiMode {
    DropAndDeactivate,
    Drop,
}

/// The most urgent pending interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Candidate {
    /// The interrupt's number, or for the virtual interface the list register's.
    pub(super) id: u32,
    pub(super) priority: u8,
    pub(super) group: Group,
}

/// Which signal an interface drives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Signal {
    None,
    Irq,
    Fiq,
}

impl Signal {
    /// The level of the signal `which`.
    pub(super) const fn level(self, which: Self) -> Level {
        match (self, which) {
            (Self::Irq, Self::Irq) | (Self::Fiq, Self::Fiq) => Level::High,
            _ => Level::Low,
        }
    }
}

/// A CPU interface.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Interface {
    pub(super) ctlr: u32,
    pub(super) pmr: u8,
    pub(super) bpr: u8,
    pub(super) abpr: u8,
    /// One bit for each group priority that runs, by group. The virtual interface uses the first for both.
    pub(super) active_priorities: [u32; 2],
}

impl Interface {
    /// An interface after reset.
    pub(super) const fn new() -> Self {
        Self { ctlr: 0, pmr: 0, bpr: BPR_LEAST, abpr: ABPR_LEAST, active_priorities: [0; 2] }
    }

    pub(super) const fn eoi_mode(&self) -> EoiMode {
        if self.ctlr & CTLR_EOI_MODE == 0 { EoiMode::DropAndDeactivate } else { EoiMode::Drop }
    }

    /// The bits of a priority that decide on preemption (3.3.3, table 3-2). `ABPR` counts from one more than `BPR`.
    fn group_priority_mask(&self, group: Group) -> u8 {
        let common = self.ctlr & CTLR_COMMON_BINARY_POINT != 0;
        let point = if group == Group::One && !common { self.abpr.saturating_sub(1) } else { self.bpr };
        (0xff00_u32 >> (7 - u32::from(point.min(7)))) as u8
    }

    /// The group priority of what runs.
    pub(super) fn running(&self) -> Option<u8> {
        let [zero, one] = self.active_priorities;
        let all = zero | one;
        (all != 0).then(|| (all.trailing_zeros() << PRIORITY_SHIFT) as u8)
    }

    fn group_is_enabled(&self, group: Group) -> bool {
        let bit = match group {
            Group::Zero => CTLR_ENABLE_GROUP_0,
            Group::One => CTLR_ENABLE_GROUP_1,
        };
        self.ctlr & bit != 0
    }

    /// `pending`, if it is signalled: its group is enabled, it is more urgent than the mask, and its group priority
    /// is more urgent than what runs.
    pub(super) fn signalled(&self, pending: Option<Candidate>) -> Option<Candidate> {
        pending.filter(|pending| {
            let mask = self.group_priority_mask(pending.group);
            self.group_is_enabled(pending.group)
                && pending.priority < self.pmr
                && self.running().is_none_or(|running| pending.priority & mask < running & mask)
        })
    }

    /// The signal for `pending`.
    pub(super) fn signal(&self, pending: Option<Candidate>) -> Signal {
        match self.signalled(pending) {
            None => Signal::None,
            Some(pending) if pending.group == Group::Zero && self.ctlr & CTLR_FIQ != 0 => Signal::Fiq,
            Some(_) => Signal::Irq,
        }
    }

    /// `pending` as a register that is seen through `view` shows it, or the special number that it gives instead.
    fn seen(&self, pending: Option<Candidate>, view: View) -> Result<Candidate, u32> {
        let pending = pending.ok_or(SPURIOUS)?;
        match (pending.group, view) {
            (Group::One, View::Plain) if self.ctlr & CTLR_ACKNOWLEDGE == 0 => Err(GROUP_1_PENDING),
            (Group::Zero, View::Aliased) => Err(SPURIOUS),
            _ => Ok(pending),
        }
    }

    /// What `IAR` acknowledges (4.4.4, 4.4.9).
    pub(super) fn acknowledgeable(&self, pending: Option<Candidate>, view: View) -> Result<Candidate, u32> {
        self.seen(self.signalled(pending), view)
    }

    /// What `HPPIR` shows (4.4.7, 4.4.11): neither the mask nor what runs matters.
    pub(super) fn highest(&self, pending: Option<Candidate>, view: View) -> Result<Candidate, u32> {
        self.seen(pending.filter(|pending| self.group_is_enabled(pending.group)), view)
    }

    /// Notes that an interrupt of `priority` runs, in the active priorities of `bank`.
    pub(super) fn start(&mut self, priority: u8, group: Group, bank: Group) {
        let level = u32::from(priority & self.group_priority_mask(group)) >> PRIORITY_SHIFT;
        self.active_priorities[bank as usize] |= 1 << level;
    }

    /// Drops the most urgent running priority of `bank`.
    pub(super) fn drop_priority(&mut self, bank: Group) {
        let active = &mut self.active_priorities[bank as usize];
        *active &= active.wrapping_sub(1);
    }

    /// Reads one of the registers that both interfaces keep.
    pub(super) fn read(&self, offset: u32) -> Option<u32> {
        Some(match offset {
            CTLR => self.ctlr,
            PMR => u32::from(self.pmr),
            BPR => u32::from(self.bpr),
            ABPR => u32::from(self.abpr),
            RPR => self.running().map_or(IDLE, u32::from),
            _ => return None,
        })
    }

    /// Writes one of the registers that both interfaces keep.
    pub(super) fn write(&mut self, offset: u32, value: u32) -> Option<()> {
        match offset {
            CTLR => self.ctlr = value & CTLR_MASK,
            PMR => self.pmr = value as u8 & PRIORITY_MASK,
            BPR => self.bpr = (value as u8 & 7).max(BPR_LEAST),
            ABPR => self.abpr = (value as u8 & 7).max(ABPR_LEAST),
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enabled() -> Interface {
        let mut interface = Interface::new();
        interface.ctlr = CTLR_ENABLE_GROUP_0 | CTLR_ENABLE_GROUP_1;
        interface.pmr = 0xf8;
        interface
    }

    fn pending(priority: u8, group: Group) -> Option<Candidate> {
        Some(Candidate { id: 40, priority, group })
    }

    #[test]
    fn the_binary_point_says_how_much_of_a_priority_preempts() {
        let mut interface = enabled();
        let masks = |interface: &Interface| {
            (interface.group_priority_mask(Group::Zero), interface.group_priority_mask(Group::One))
        };
        assert_eq!(masks(&interface), (0xf8, 0xf8));
        interface.write(BPR, 4);
        interface.write(ABPR, 7);
        assert_eq!(masks(&interface), (0xe0, 0x80));
        interface.write(BPR, 7);
        interface.ctlr |= CTLR_COMMON_BINARY_POINT;
        assert_eq!(masks(&interface), (0, 0));
    }

    #[test]
    fn only_a_more_urgent_group_priority_preempts() {
        let mut interface = enabled();
        interface.write(BPR, 4);
        interface.start(0x88, Group::Zero, Group::Zero);
        assert_eq!(interface.read(RPR), Some(0x80));
        assert_eq!(interface.signalled(pending(0x80, Group::Zero)), None);
        assert_eq!(interface.signalled(pending(0x78, Group::Zero)), pending(0x78, Group::Zero));
        // The running priority has finer steps than the group of what is pending.
        interface.active_priorities = [1 << 3, 0];
        assert_eq!(interface.signalled(pending(0x10, Group::Zero)), None);
        interface.drop_priority(Group::Zero);
        assert_eq!(interface.read(RPR), Some(0xff));
    }

    #[test]
    fn special_numbers_say_what_is_in_the_way() {
        let mut interface = enabled();
        assert_eq!(interface.acknowledgeable(None, View::Plain), Err(1023));
        let one = pending(0x10, Group::One);
        assert_eq!(interface.acknowledgeable(one, View::Plain), Err(1022));
        assert_eq!(interface.acknowledgeable(one, View::Aliased).ok(), one);
        assert_eq!(interface.acknowledgeable(pending(0x10, Group::Zero), View::Aliased), Err(1023));
        interface.ctlr |= CTLR_ACKNOWLEDGE;
        assert_eq!(interface.acknowledgeable(one, View::Plain).ok(), one);
        interface.pmr = 0x10;
        assert_eq!(interface.acknowledgeable(one, View::Plain), Err(1023));
        assert_eq!(interface.highest(one, View::Plain).ok(), one);
        interface.ctlr &= !CTLR_ENABLE_GROUP_1;
        assert_eq!(interface.highest(one, View::Plain), Err(1023));
    }
}
