//! The virtual CPU interface's registers, which a guest has in the place of the physical ones (Arm IHI 0048B.b 5.5).

use super::distributor::{SGIS, Was};
use super::finding::{Deactivation, FindingKind};
use super::interface::{EoiMode, Group, View};
use super::registers::cpu_interface::{
    AEOIR, AHPPIR, AIAR, APR, DIR, EOIR, HPPIR, IAR, IIDR, IIDR_VALUE, SPECIAL,
};
use super::{Gic, State};

/// Whether an end without a list register is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Otherwise {
    Count,
    Nothing,
}

impl Gic {
    pub(super) fn read_virtual_cpu_interface(
        &mut self,
        cpu: usize,
        offset: u32,
    ) -> Result<u32, &'static str> {
        let interface = &self.state.virtual_interfaces[cpu].interface;
        if let Some(value) = interface.read(offset) {
            return Ok(value);
        }
        Ok(match offset {
            IAR => self.acknowledge_virtual(cpu, View::Plain),
            AIAR => self.acknowledge_virtual(cpu, View::Aliased),
            HPPIR => self.highest_virtual(cpu, View::Plain),
            AHPPIR => self.highest_virtual(cpu, View::Aliased),
            APR => interface.active_priorities[Group::Zero as usize],
            IIDR => IIDR_VALUE,
            _ => return Err("no register that can be read"),
        })
    }

    pub(super) fn write_virtual_cpu_interface(
        &mut self,
        cpu: usize,
        offset: u32,
        value: u32,
    ) -> Result<(), &'static str> {
        let interface = &mut self.state.virtual_interfaces[cpu].interface;
        if interface.write(offset, value).is_some() {
            return Ok(());
        }
        match offset {
            EOIR => self.end_virtual(cpu, value & 0x3ff, View::Plain),
            AEOIR => self.end_virtual(cpu, value & 0x3ff, View::Aliased),
            DIR if interface.eoi_mode() != EoiMode::Drop => {
                Err("deactivation while GICV_CTLR.EOImode is clear")
            }
            DIR => {
                if value & 0x3ff < SPECIAL {
                    self.deactivate_virtual(cpu, value & 0x3ff, Otherwise::Count);
                }
                Ok(())
            }
            APR => {
                interface.active_priorities[Group::Zero as usize] = value;
                Ok(())
            }
            _ => Err("no register that can be written"),
        }
    }

    fn acknowledge_virtual(&mut self, cpu: usize, view: View) -> u32 {
        let guest = &mut self.state.virtual_interfaces[cpu];
        match guest.interface.acknowledgeable(guest.highest_pending(), view) {
            Err(special) => special,
            Ok(pending) => {
                guest.interface.start(pending.priority, pending.group, Group::Zero);
                let register = &mut guest.list_registers[pending.id as usize];
                register.acknowledge();
                self.counters[cpu].virtual_acknowledged += 1;
                register.acknowledged_as()
            }
        }
    }

    fn highest_virtual(&self, cpu: usize, view: View) -> u32 {
        let guest = &self.state.virtual_interfaces[cpu];
        match guest.interface.highest(guest.highest_pending(), view) {
            Err(special) => special,
            Ok(pending) => guest.list_registers[pending.id as usize].acknowledged_as(),
        }
    }

    /// `EOIR`: drops the running priority, and deactivates unless `EOImode` is set. An end that drops no priority is
    /// not counted (5.3.1, EOICount).
    fn end_virtual(&mut self, cpu: usize, id: u32, view: View) -> Result<(), &'static str> {
        if id >= SPECIAL {
            return Ok(());
        }
        let guest = &mut self.state.virtual_interfaces[cpu];
        let of_group_zero = |register: &super::list_register::ListRegister| {
            register.is_active() && register.virtual_id() == id && register.group() == Group::Zero
        };
        if view == View::Aliased && guest.list_registers.iter().any(of_group_zero) {
            return Err("the end of a group 0 interrupt at the register of group 1");
        }
        let interface = &mut guest.interface;
        let otherwise = if interface.running().is_some() { Otherwise::Count } else { Otherwise::Nothing };
        interface.drop_priority(Group::Zero);
        if interface.eoi_mode() == EoiMode::DropAndDeactivate {
            self.deactivate_virtual(cpu, id, otherwise);
        }
        Ok(())
    }

    /// Deactivates the virtual interrupt `id` in the list register that has it active, and with the HW bit the
    /// physical one that it stands for. When none has it active it was spilled, and is counted.
    fn deactivate_virtual(&mut self, cpu: usize, id: u32, otherwise: Otherwise) {
        let State { distributor, virtual_interfaces, .. } = &mut self.state;
        let guest = &mut virtual_interfaces[cpu];
        let mut registers = guest.list_registers.iter_mut().enumerate();
        let active = registers.find(|(_, register)| register.is_active() && register.virtual_id() == id);
        let Some((list_register, register)) = active else {
            if otherwise == Otherwise::Count {
                guest.count_end();
            }
            return;
        };
        register.deactivate();
        let interrupt = register.physical_id();
        // Of an SGI or of an interrupt that does not exist, nothing is defined; that was found when it was written.
        if register.is_hardware()
            && (SGIS..distributor.interrupts).contains(&interrupt)
            && distributor.deactivate(cpu, interrupt) == Was::NotActive
        {
            let by = Deactivation::ListRegister { list_register, virtual_id: id };
            self.find(cpu, FindingKind::DeactivatedTwice { interrupt, by });
        }
    }
}
