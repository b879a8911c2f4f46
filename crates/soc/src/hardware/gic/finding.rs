//! The oracle: what software did to the GIC that the architecture forbids.

use super::Gic;
use super::distributor::SGIS;
use super::list_register::ListRegister;
use std::fmt;

/// The model keeps this many findings; the first one matters.
const FINDINGS: usize = 64;

/// How an interrupt was deactivated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deactivation {
    /// By a write to `GICC_DIR`.
    Register,
    /// By a guest's end of the virtual interrupt of a list register with the HW bit.
    ListRegister {
        /// Its index.
        list_register: usize,
        /// The virtual interrupt's number.
        virtual_id: u32,
    },
}

/// What is wrong. Rules on list registers are those of Arm IHI 0048B.b 5.3.8.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FindingKind {
    /// A list register with the HW bit is pending and active, which it cannot be: an interrupt that is active cannot
    /// be taken again.
    HardwarePendingAndActive {
        /// The list register's index.
        list_register: usize,
        /// The virtual interrupt's number.
        virtual_id: u32,
        /// The physical interrupt's number.
        physical_id: u32,
    },
    /// A list register with the HW bit is pending or active on an enabled virtual interface, and the physical
    /// interrupt is not active: it can be taken a second time, and the guest's end deactivates nothing.
    HardwareNotActive {
        /// The list register's index.
        list_register: usize,
        /// The virtual interrupt's number.
        virtual_id: u32,
        /// The physical interrupt's number.
        physical_id: u32,
    },
    /// A list register with the HW bit stands for an SGI or for an interrupt that does not exist.
    HardwareWithoutInterrupt {
        /// The list register's index.
        list_register: usize,
        /// The virtual interrupt's number.
        virtual_id: u32,
        /// The physical interrupt's number.
        physical_id: u32,
    },
    /// Two list registers of a CPU that are pending or active have one virtual interrupt.
    Duplicate {
        /// The index of the one.
        first: usize,
        /// The index of the other.
        second: usize,
        /// The virtual interrupt's number.
        virtual_id: u32,
    },
    /// An interrupt was deactivated that was not active.
    DeactivatedTwice {
        /// Its number.
        interrupt: u32,
        /// How.
        by: Deactivation,
    },
    /// `GICC_EOIR` ended another interrupt than the one that ran.
    EndOutOfOrder {
        /// What was ended, as it was written.
        ended: u32,
        /// What ran, as `GICC_IAR` gave it.
        running: Option<u32>,
    },
}

/// Something that software did and must not do, with its story.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The access to the GIC that made it so, counted from one.
    pub access: u64,
    /// Whose interface it is about.
    pub cpu: usize,
    /// What is wrong.
    pub kind: FindingKind,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gic: cpu {}, at access {}: ", self.cpu, self.access)?;
        match self.kind {
            FindingKind::HardwarePendingAndActive { list_register, virtual_id, physical_id } => write!(
                f,
                "list register {list_register} has virtual interrupt {virtual_id} pending and active, with the HW \
                 bit and physical interrupt {physical_id}"
            ),
            FindingKind::HardwareNotActive { list_register, virtual_id, physical_id } => write!(
                f,
                "list register {list_register} has virtual interrupt {virtual_id} for a guest, and its physical \
                 interrupt {physical_id} is not active"
            ),
            FindingKind::HardwareWithoutInterrupt { list_register, virtual_id, physical_id } => write!(
                f,
                "list register {list_register} has virtual interrupt {virtual_id} with the HW bit and physical \
                 interrupt {physical_id}, which is none that can be forwarded"
            ),
            FindingKind::Duplicate { first, second, virtual_id } => {
                write!(f, "list registers {first} and {second} both have virtual interrupt {virtual_id}")
            }
            FindingKind::DeactivatedTwice { interrupt, by: Deactivation::Register } => {
                write!(f, "interrupt {interrupt} was deactivated by GICC_DIR and was not active")
            }
            FindingKind::DeactivatedTwice {
                interrupt,
                by: Deactivation::ListRegister { list_register, virtual_id },
            } => write!(
                f,
                "interrupt {interrupt} was deactivated by the end of virtual interrupt {virtual_id} in list \
                 register {list_register} and was not active"
            ),
            FindingKind::EndOutOfOrder { ended, running: Some(running) } => {
                write!(f, "{ended:#x} was ended while {running:#x} ran")
            }
            FindingKind::EndOutOfOrder { ended, running: None } => {
                write!(f, "{ended:#x} was ended while nothing ran")
            }
        }
    }
}

impl std::error::Error for Finding {}

/// What is wrong with a CPU's list registers now, one bit each: a thing is told once, when it becomes so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Standing {
    pending_and_active: u16,
    not_active: u16,
    without_interrupt: u16,
    duplicate: u16,
}

impl Gic {
    /// Notes a finding.
    pub(super) fn find(&mut self, cpu: usize, kind: FindingKind) {
        if self.findings.len() < FINDINGS {
            self.findings.push(Finding { access: self.access, cpu, kind });
        }
    }

    /// Looks at every list register, after an access.
    pub(super) fn audit(&mut self) {
        for cpu in 0..self.state.virtual_interfaces.len() {
            let before = self.standing[cpu];
            let mut now = Standing::default();
            for list_register in 0..self.state.virtual_interfaces[cpu].list_registers.len() {
                let register = self.state.virtual_interfaces[cpu].list_registers[list_register];
                if register.is_valid() {
                    self.audit_list_register(cpu, list_register, register, &before, &mut now);
                }
            }
            self.standing[cpu] = now;
        }
    }

    fn audit_list_register(
        &mut self,
        cpu: usize,
        list_register: usize,
        register: ListRegister,
        before: &Standing,
        now: &mut Standing,
    ) {
        let bit = 1 << list_register;
        let guest = &self.state.virtual_interfaces[cpu];
        let distributor = &self.state.distributor;
        let (virtual_id, physical_id) = (register.virtual_id(), register.physical_id());
        let second = guest.list_registers.iter().enumerate().skip(list_register + 1);
        let second = second.filter(|(_, other)| other.is_valid() && other.virtual_id() == virtual_id);
        let duplicate = second.map(|(second, _)| second).next();
        let exists = (SGIS..distributor.interrupts).contains(&physical_id);
        let active = distributor.is_active(cpu, physical_id);
        let visible = guest.is_enabled();
        let mut tell = |now: &mut u16, before: u16, finding: Option<FindingKind>| {
            if let Some(kind) = finding {
                *now |= bit;
                if before & bit == 0 {
                    self.find(cpu, kind);
                }
            }
        };
        let kind =
            duplicate.map(|second| FindingKind::Duplicate { first: list_register, second, virtual_id });
        tell(&mut now.duplicate, before.duplicate, kind);
        if register.is_hardware() {
            let kind = FindingKind::HardwarePendingAndActive { list_register, virtual_id, physical_id };
            let kind = register.is_pending_and_active().then_some(kind);
            tell(&mut now.pending_and_active, before.pending_and_active, kind);
            let kind = FindingKind::HardwareWithoutInterrupt { list_register, virtual_id, physical_id };
            tell(&mut now.without_interrupt, before.without_interrupt, (!exists).then_some(kind));
            let kind = FindingKind::HardwareNotActive { list_register, virtual_id, physical_id };
            let kind = (exists && visible && !active).then_some(kind);
            tell(&mut now.not_active, before.not_active, kind);
        }
    }
}
