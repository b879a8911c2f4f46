//! The physical CPU interface's registers (Arm IHI 0048B.b 4.4).

use super::distributor::{SGIS, Was};
use super::finding::{Deactivation, FindingKind};
use super::interface::{EoiMode, Group, View};
use super::registers::cpu_interface::{
    AEOIR, AHPPIR, AIAR, APR, DIR, EOIR, HPPIR, IAR, IIDR, IIDR_VALUE, NSAPR, SPECIAL,
};
use super::{Gic, State};

/// Interrupts nest at most this deep: each is of another priority, of which there are 32. Only forced active
/// priorities can lead past it; then the oldest is forgotten.
const NESTED: usize = 32;

/// `APR1` to `APR3` and `NSAPR1` to `NSAPR3`: they are for more priorities than there are here, and a driver
/// that does not know how many there are clears them all (4.4.12).
fn is_unused_priorities(offset: u32) -> bool {
    offset.is_multiple_of(4) && (APR..NSAPR + 0x10).contains(&offset)
}

impl Gic {
    pub(super) fn read_cpu_interface(&mut self, cpu: usize, offset: u32) -> Result<u32, &'static str> {
        let interface = &self.state.physical[cpu].interface;
        if let Some(value) = interface.read(offset) {
            return Ok(value);
        }
        Ok(match offset {
            IAR => self.acknowledge(cpu, View::Plain),
            AIAR => self.acknowledge(cpu, View::Aliased),
            HPPIR => self.highest(cpu, View::Plain),
            AHPPIR => self.highest(cpu, View::Aliased),
            APR => interface.active_priorities[0],
            NSAPR => interface.active_priorities[1],
            _ if is_unused_priorities(offset) => 0,
            IIDR => IIDR_VALUE,
            _ => return Err("no register that can be read"),
        })
    }

    pub(super) fn write_cpu_interface(
        &mut self,
        cpu: usize,
        offset: u32,
        value: u32,
    ) -> Result<(), &'static str> {
        let physical = &mut self.state.physical[cpu];
        if physical.interface.write(offset, value).is_some() {
            return Ok(());
        }
        match offset {
            EOIR => return self.end(cpu, value, View::Plain),
            AEOIR => return self.end(cpu, value, View::Aliased),
            DIR => return self.deactivate(cpu, value),
            APR | NSAPR => {
                physical.interface.active_priorities[usize::from(offset == NSAPR)] = value;
                // What runs now was saved before, and whose priorities these are is not known.
                physical.acknowledged.clear();
            }
            _ if is_unused_priorities(offset) => {}
            _ => return Err("no register that can be written"),
        }
        Ok(())
    }

    fn acknowledge(&mut self, cpu: usize, view: View) -> u32 {
        let State { distributor, physical, .. } = &mut self.state;
        let physical = &mut physical[cpu];
        match physical.interface.acknowledgeable(distributor.highest_pending(cpu), view) {
            Err(special) => special,
            Ok(pending) => {
                physical.interface.start(pending.priority, pending.group, pending.group);
                let id = distributor.acknowledge(cpu, pending.id);
                if physical.acknowledged.len() == NESTED {
                    physical.acknowledged.remove(0);
                }
                physical.acknowledged.push(id);
                self.counters[cpu].acknowledged += 1;
                id
            }
        }
    }

    /// `HPPIR`: an SGI comes with its first source.
    fn highest(&self, cpu: usize, view: View) -> u32 {
        let distributor = &self.state.distributor;
        let interface = &self.state.physical[cpu].interface;
        match interface.highest(distributor.highest_pending(cpu), view) {
            Err(special) => special,
            Ok(pending) if pending.id < SGIS => {
                let sources = distributor.banks[cpu].sources[pending.id as usize];
                pending.id | (sources.trailing_zeros() & 7) << 10
            }
            Ok(pending) => pending.id,
        }
    }

    /// `EOIR`: drops the running priority of the interrupt's group, and deactivates unless `EOImode` is set. What the
    /// architecture leaves open when the number is not that of what runs: the same is done.
    fn end(&mut self, cpu: usize, value: u32, view: View) -> Result<(), &'static str> {
        let id = value & 0x3ff;
        if id >= SPECIAL {
            return Ok(());
        }
        if !self.state.distributor.exists(id) {
            return Err("the end of an interrupt that does not exist");
        }
        let group = self.state.distributor.group(cpu, id);
        if view == View::Aliased && group == Group::Zero {
            return Err("the end of a group 0 interrupt at the register of group 1");
        }
        let ended = if id < SGIS { value & 0x1fff } else { id };
        let physical = &mut self.state.physical[cpu];
        let running = physical.acknowledged.last().copied();
        // Without a record, what runs was restored by software.
        let known = running.is_some() || physical.interface.running().is_none();
        let finding =
            (known && running != Some(ended)).then_some(FindingKind::EndOutOfOrder { ended, running });
        if physical.interface.running().is_some() {
            let place = physical.acknowledged.iter().rposition(|id| *id == ended);
            if let Some(place) = place.or(physical.acknowledged.len().checked_sub(1)) {
                physical.acknowledged.remove(place);
            }
            physical.interface.drop_priority(group);
            if physical.interface.eoi_mode() == EoiMode::DropAndDeactivate {
                self.state.distributor.deactivate(cpu, id);
            }
        }
        if let Some(finding) = finding {
            self.find(cpu, finding);
        }
        Ok(())
    }

    /// `DIR`. The effect without `EOImode`, and on an interrupt that is not active, is left open: none.
    fn deactivate(&mut self, cpu: usize, value: u32) -> Result<(), &'static str> {
        let interrupt = value & 0x3ff;
        if self.state.physical[cpu].interface.eoi_mode() != EoiMode::Drop {
            return Err("deactivation while GICC_CTLR.EOImode is clear");
        }
        if !self.state.distributor.exists(interrupt) {
            return Err("deactivation of an interrupt that does not exist");
        }
        if self.state.distributor.deactivate(cpu, interrupt) == Was::NotActive {
            self.find(cpu, FindingKind::DeactivatedTwice { interrupt, by: Deactivation::Register });
        }
        Ok(())
    }
}
