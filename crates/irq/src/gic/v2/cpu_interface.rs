//! The CPU interface.

use super::spec::{
    GICC_ABPR, GICC_AEOIR, GICC_AIAR, GICC_APR, GICC_APR_WORDS, GICC_BPR, GICC_CTLR,
    GICC_CTLR_BYPASS_DISABLE, GICC_CTLR_ENABLE_GRP0, GICC_CTLR_ENABLE_GRP1, GICC_CTLR_EOI_MODE,
    GICC_CTLR_FIQ_EN, GICC_DIR, GICC_EOIR, GICC_IAR, GICC_IAR_CPUID, GICC_IAR_INTERRUPT_ID, GICC_NSAPR,
    GICC_PMR,
};
use crate::gic::{AnyAcknowledged, InitError, PRIORITY_MASK, Registers, SoftwareGenerated};
use crate::host::Acknowledged;
use crate::vgic::Group;
use crate::{HostInterrupt, SPI_END};

/// The CPU interface of the CPU that runs this code.
pub struct CpuInterface<R> {
    registers: R,
    group: Group,
    unclaimed: u32,
}

impl<R: Registers> CpuInterface<R> {
    /// The CPU interface behind this window of 8 KiB; host interrupts are in `group` (see [the module](super)).
    pub const fn new(registers: R, group: Group) -> Self {
        Self { registers, group, unclaimed: 0 }
    }

    /// Switches the interface on, with priority drop and deactivation apart. Active priorities that a predecessor left
    /// are forgotten, since they would keep interrupts from being signalled for ever.
    ///
    /// # Errors
    ///
    /// [`InitError::NoPriorityDrop`]: the interface cannot do so, and was left switched off.
    pub fn init(&mut self) -> Result<(), InitError> {
        let registers = &self.registers;
        let kept = GICC_CTLR_BYPASS_DISABLE.put(GICC_CTLR_BYPASS_DISABLE.get(registers.read(GICC_CTLR)));
        registers.write(GICC_CTLR, kept);
        registers.write(GICC_PMR, PRIORITY_MASK.into());
        let (enable, point, priorities) = match self.group {
            Group::Zero => (GICC_CTLR_ENABLE_GRP0.put(1), GICC_BPR, GICC_APR),
            // Group 0 has to go to the FIQ, or both groups would be one to the CPU.
            Group::One => (GICC_CTLR_ENABLE_GRP1.put(1) | GICC_CTLR_FIQ_EN.put(1), GICC_ABPR, GICC_NSAPR),
        };
        registers.write(point, 0);
        for word in 0..GICC_APR_WORDS {
            registers.write(priorities + 4 * word, 0);
        }
        registers.write(GICC_CTLR, kept | enable | GICC_CTLR_EOI_MODE.put(1));
        let read = registers.read(GICC_CTLR);
        if GICC_CTLR_EOI_MODE.get(read) == 0 {
            registers.write(GICC_CTLR, kept);
            return Err(InitError::NoPriorityDrop(read.into()));
        }
        Ok(())
    }

    /// Acknowledges the pending interrupt of the highest priority, of whichever kind. `None`: there is none.
    pub fn acknowledge_any(&mut self) -> Option<AnyAcknowledged> {
        let value = self.registers.read(match self.group {
            Group::Zero => GICC_IAR,
            Group::One => GICC_AIAR,
        });
        let number = GICC_IAR_INTERRUPT_ID.get(value);
        let source = GICC_IAR_CPUID.get(value);
        // What else a register of hardware that is gone may have set is not for the end-of-interrupt register.
        let raw = GICC_IAR_INTERRUPT_ID.put(number) | GICC_IAR_CPUID.put(source);
        match number {
            0..16 => Some(AnyAcknowledged::SoftwareGenerated(SoftwareGenerated {
                number: number as u8,
                source: Some(source as u8),
                raw,
            })),
            16..SPI_END => Some(AnyAcknowledged::Interrupt(Acknowledged::new(HostInterrupt(number), raw))),
            // 1023: nothing is pending; 1022: something of the other group is (Arm IHI 0048B.b 4.4.4).
            _ => None,
        }
    }

    /// Ends a software-generated interrupt: drops the priority, and deactivates it.
    pub fn end(&mut self, interrupt: SoftwareGenerated) {
        self.write_end(interrupt.raw);
        self.registers.write(GICC_DIR, interrupt.raw);
    }

    /// How many software-generated interrupts [`acknowledge`](crate::host::CpuInterface::acknowledge) met and ended
    /// without anybody handling them. A host that sends any takes them by [`acknowledge_any`](Self::acknowledge_any).
    pub const fn unclaimed(&self) -> u32 {
        self.unclaimed
    }

    fn write_end(&self, raw: u32) {
        self.registers.write(
            match self.group {
                Group::Zero => GICC_EOIR,
                Group::One => GICC_AEOIR,
            },
            raw,
        );
    }
}

impl<R: Registers> crate::host::CpuInterface for CpuInterface<R> {
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
        self.write_end(acknowledged.raw());
    }

    fn deactivate(&mut self, acknowledged: Acknowledged) {
        self.registers.write(GICC_DIR, acknowledged.raw());
    }
}
