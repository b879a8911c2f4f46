//! The virtual interface control's registers (Arm IHI 0048B.b 5.3).

use super::Gic;
use super::interface::{Candidate, Group, Signal};
use super::list_register::ListRegister;
use super::registers::cpu_interface::{
    ABPR, BPR, CTLR, CTLR_ENABLE_GROUP_0, CTLR_ENABLE_GROUP_1, CTLR_MASK, PMR,
};
use super::registers::virtual_interface::{
    APR, EISR0, EISR1, ELRSR0, ELRSR1, HCR, HCR_ENABLE, HCR_EOI_COUNT, HCR_GROUP_0_DISABLED,
    HCR_GROUP_0_ENABLED, HCR_GROUP_1_DISABLED, HCR_GROUP_1_ENABLED, HCR_MASK, HCR_NO_PENDING,
    HCR_NOT_PRESENT, HCR_UNDERFLOW, LR, MISR, MISR_EOI, VMCR, VMCR_ABPR, VMCR_BPR, VMCR_PMR, VTR,
};
use super::state::VirtualInterface;
use crate::hardware::Level;

/// `GICH_VTR.PRIbits` and `PREbits`: five bits each, less one.
const VTR_BITS: u32 = 4 << 29 | 4 << 26;

impl VirtualInterface {
    pub(super) const fn is_enabled(&self) -> bool {
        self.hcr & HCR_ENABLE != 0
    }

    /// One bit for each list register of which `which` is true.
    fn list_register_bits(&self, which: impl Fn(ListRegister) -> bool) -> u32 {
        let bits = self.list_registers.iter().enumerate();
        bits.fold(0, |bits, (index, register)| bits | u32::from(which(*register)) << index)
    }

    /// `GICH_MISR`, which is what it is whether or not the interface is enabled.
    fn maintenance_status(&self) -> u32 {
        let ctlr = self.interface.ctlr;
        let (zero, one) = (ctlr & CTLR_ENABLE_GROUP_0 != 0, ctlr & CTLR_ENABLE_GROUP_1 != 0);
        let causes = [
            (HCR_UNDERFLOW, self.list_register_bits(ListRegister::is_valid).count_ones() < 2),
            (HCR_NOT_PRESENT, self.hcr >> HCR_EOI_COUNT != 0),
            (HCR_NO_PENDING, self.list_register_bits(ListRegister::is_pending) == 0),
            (HCR_GROUP_0_ENABLED, zero),
            (HCR_GROUP_0_DISABLED, !zero),
            (HCR_GROUP_1_ENABLED, one),
            (HCR_GROUP_1_DISABLED, !one),
        ];
        let ended = if self.list_register_bits(ListRegister::has_ended) == 0 { 0 } else { MISR_EOI };
        // The enable bits are at the same places.
        causes.into_iter().filter(|(_, holds)| *holds).fold(ended, |status, (bit, _)| status | self.hcr & bit)
    }

    /// The maintenance interrupt.
    pub(super) fn maintenance(&self) -> Level {
        if self.is_enabled() && self.maintenance_status() != 0 { Level::High } else { Level::Low }
    }

    /// The most urgent pending list register, by its index; of equally urgent ones the first. With the interface
    /// disabled there is none.
    pub(super) fn highest_pending(&self) -> Option<Candidate> {
        if !self.is_enabled() {
            return None;
        }
        let pending =
            self.list_registers.iter().enumerate().filter(|(_, register)| register.is_deliverable());
        pending.min_by_key(|(_, register)| register.priority()).map(|(index, register)| Candidate {
            id: index as u32,
            priority: register.priority(),
            group: register.group(),
        })
    }

    pub(super) fn signal(&self) -> Signal {
        self.interface.signal(self.highest_pending())
    }

    /// Counts the end of an interrupt that no list register has; past 31 comes 0.
    pub(super) const fn count_end(&mut self) {
        self.hcr = self.hcr.wrapping_add(1 << HCR_EOI_COUNT);
    }

    fn read_vmcr(&self) -> u32 {
        let interface = &self.interface;
        interface.ctlr
            | u32::from(interface.abpr) << VMCR_ABPR
            | u32::from(interface.bpr) << VMCR_BPR
            | u32::from(interface.pmr >> 3) << VMCR_PMR
    }

    fn write_vmcr(&mut self, value: u32) {
        let fields = [
            (CTLR, value & CTLR_MASK),
            (ABPR, value >> VMCR_ABPR & 7),
            (BPR, value >> VMCR_BPR & 7),
            (PMR, value >> VMCR_PMR << 3),
        ];
        for (offset, value) in fields {
            self.interface.write(offset, value);
        }
    }
}

impl Gic {
    pub(super) fn read_virtual_interface(&self, cpu: usize, offset: u32) -> Result<u32, &'static str> {
        let interface = &self.state.virtual_interfaces[cpu];
        Ok(match offset {
            HCR => interface.hcr,
            VTR => VTR_BITS | (interface.list_registers.len() as u32 - 1),
            VMCR => interface.read_vmcr(),
            MISR => interface.maintenance_status(),
            EISR0 => interface.list_register_bits(ListRegister::has_ended),
            ELRSR0 => interface.list_register_bits(ListRegister::is_free),
            // There are never more than 16 list registers.
            EISR1 | ELRSR1 => 0,
            APR => interface.interface.active_priorities[Group::Zero as usize],
            LR.. => {
                let index = (offset - LR) / 4;
                interface.list_registers.get(index as usize).ok_or("no such list register")?.bits()
            }
            _ => return Err("no register that can be read"),
        })
    }

    pub(super) fn write_virtual_interface(
        &mut self,
        cpu: usize,
        offset: u32,
        value: u32,
    ) -> Result<(), &'static str> {
        let interface = &mut self.state.virtual_interfaces[cpu];
        match offset {
            HCR => interface.hcr = value & HCR_MASK,
            VMCR => interface.write_vmcr(value),
            APR => interface.interface.active_priorities[Group::Zero as usize] = value,
            LR.. => {
                let index = ((offset - LR) / 4) as usize;
                let place = interface.list_registers.get_mut(index).ok_or("no such list register")?;
                *place = ListRegister::new(value);
            }
            _ => return Err("no register that can be written"),
        }
        Ok(())
    }
}
