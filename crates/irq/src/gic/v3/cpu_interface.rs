//! The CPU interface.

use super::spec::{
    ICC_CTLR_CBPR, ICC_CTLR_EOI_MODE, ICC_CTLR_PRI_BITS, ICC_IAR_INTERRUPT_ID, ICC_IGRPEN1_ENABLE,
    ICC_SRE_ENABLE, ICC_SRE_SRE,
};
use super::{
    EXTENDED_PPI_END, EXTENDED_SPI_END, FIRST_EXTENDED_PPI, FIRST_EXTENDED_SPI, FIRST_LPI, SystemRegister,
    SystemRegisters, active_priority_registers,
};
use crate::gic::{AnyAcknowledged, InitError, PRIORITY_MASK, SoftwareGenerated};
use crate::host::Acknowledged;
use crate::{HostInterrupt, SPI_END};

/// The CPU interface of the CPU that runs this code, for group 1.
pub struct CpuInterface<S> {
    registers: S,
    unclaimed: u32,
}

impl<S: SystemRegisters> CpuInterface<S> {
    /// The CPU interface behind these system registers.
    pub const fn new(registers: S) -> Self {
        Self { registers, unclaimed: 0 }
    }

    /// Switches the interface on, with priority drop and deactivation apart. Active priorities that a predecessor left
    /// are forgotten, since they would keep interrupts from being signalled for ever.
    ///
    /// # Errors
    ///
    /// [`InitError::NoSystemRegisters`] and [`InitError::NoPriorityDrop`]: the interface was left switched off.
    pub fn init(&mut self) -> Result<(), InitError> {
        let registers = &self.registers;
        let wanted = ICC_SRE_SRE.put_wide(1) | ICC_SRE_ENABLE.put_wide(1);
        registers.write(SystemRegister::IccSre, registers.read(SystemRegister::IccSre) | wanted);
        let read = registers.read(SystemRegister::IccSre);
        if ICC_SRE_SRE.get_wide(read) == 0 {
            return Err(InitError::NoSystemRegisters(read));
        }
        registers.write(SystemRegister::IccIgrpen1, 0);
        registers.write(SystemRegister::IccPmr, PRIORITY_MASK.into());
        let control = registers.read(SystemRegister::IccCtlr) & !ICC_CTLR_CBPR.put_wide(1);
        registers.write(SystemRegister::IccCtlr, control | ICC_CTLR_EOI_MODE.put_wide(1));
        let read = registers.read(SystemRegister::IccCtlr);
        if ICC_CTLR_EOI_MODE.get_wide(read) == 0 {
            return Err(InitError::NoPriorityDrop(read));
        }
        registers.write(SystemRegister::IccBpr1, 0);
        let count = active_priority_registers(ICC_CTLR_PRI_BITS.get_wide(read) + 1);
        for &register in &SystemRegister::ACTIVE_PRIORITIES[..count] {
            registers.write(register, 0);
        }
        registers.write(SystemRegister::IccIgrpen1, ICC_IGRPEN1_ENABLE.put_wide(1));
        Ok(())
    }

    /// Acknowledges the pending interrupt of the highest priority, of whichever kind. `None`: there is none, or the
    /// hardware answered with a reserved number.
    pub fn acknowledge_any(&mut self) -> Option<AnyAcknowledged> {
        let number = ICC_IAR_INTERRUPT_ID.get_wide(self.registers.read(SystemRegister::IccIar1));
        match number {
            0..16 => Some(AnyAcknowledged::SoftwareGenerated(SoftwareGenerated {
                number: number as u8,
                source: None,
                raw: number,
            })),
            16..SPI_END
            | FIRST_EXTENDED_PPI..EXTENDED_PPI_END
            | FIRST_EXTENDED_SPI..EXTENDED_SPI_END
            | FIRST_LPI.. => {
                Some(AnyAcknowledged::Interrupt(Acknowledged::new(HostInterrupt(number), number)))
            }
            _ => None,
        }
    }

    /// Ends a software-generated interrupt: drops the priority, and deactivates it.
    pub fn end(&mut self, interrupt: SoftwareGenerated) {
        self.registers.write(SystemRegister::IccEoir1, interrupt.raw.into());
        self.registers.write(SystemRegister::IccDir, interrupt.raw.into());
    }

    /// How many software-generated interrupts [`acknowledge`](crate::host::CpuInterface::acknowledge) met and ended
    /// without anybody handling them. A host that sends any takes them by [`acknowledge_any`](Self::acknowledge_any).
    pub const fn unclaimed(&self) -> u32 {
        self.unclaimed
    }
}

impl<S: SystemRegisters> crate::host::CpuInterface for CpuInterface<S> {
    fn acknowledge(&mut self) -> Option<Acknowledged> {
        match self.acknowledge_any()? {
            AnyAcknowledged::Interrupt(acknowledged) => Some(acknowledged),
            // Left as it is, it would block its CPU's interrupts for ever.
            AnyAcknowledged::SoftwareGenerated(interrupt) => {
                self.unclaimed = self.unclaimed.saturating_add(1);
                self.end(interrupt);
                None
            }
        }
    }

    fn drop_priority(&mut self, acknowledged: &Acknowledged) {
        self.registers.write(SystemRegister::IccEoir1, acknowledged.raw().into());
    }

    /// Deactivates the interrupt. A message-signalled one is not active; nothing is written for it.
    fn deactivate(&mut self, acknowledged: Acknowledged) {
        if acknowledged.interrupt().0 < FIRST_LPI {
            self.registers.write(SystemRegister::IccDir, acknowledged.raw().into());
        }
    }
}
