//! The state of a GIC, as one value that can be kept and compared.

use super::Config;
use super::distributor::Distributor;
use super::interface::Interface;
use super::list_register::ListRegister;

/// A physical CPU interface.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct PhysicalInterface {
    pub(super) interface: Interface,
    /// What was acknowledged and not ended, the latest last, as `IAR` gave it. Hardware does not keep this; it
    /// serves to notice an end that is out of order.
    pub(super) acknowledged: Vec<u32>,
}

/// A virtual CPU interface, with its control.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct VirtualInterface {
    pub(super) hcr: u32,
    pub(super) interface: Interface,
    pub(super) list_registers: Vec<ListRegister>,
}

/// All that decides on how a GIC goes on: its registers, lines and interrupts. Counters, notes of misuse and findings
/// are not in it, so that two GICs with equal states behave alike.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    pub(super) distributor: Distributor,
    pub(super) physical: Vec<PhysicalInterface>,
    pub(super) virtual_interfaces: Vec<VirtualInterface>,
}

impl State {
    /// The state after reset.
    pub(super) fn new(config: &Config) -> Self {
        let physical = PhysicalInterface { interface: Interface::new(), acknowledged: Vec::new() };
        let guest = VirtualInterface {
            hcr: 0,
            interface: Interface::new(),
            list_registers: vec![ListRegister::default(); config.list_registers],
        };
        Self {
            distributor: Distributor::new(config),
            physical: vec![physical; config.cpus],
            virtual_interfaces: vec![guest; config.cpus],
        }
    }
}
