//! Interrupt lines, from the units that raise them to the interrupt controller.

use super::gic::{Config, Gic};

/// CPUs that the interrupt controller signals: the first is the host's own, the others can run guests.
pub const CPUS: usize = 4;
/// List registers of each CPU, as a GIC-400 has them (Arm DDI 0471B 2.1).
const LIST_REGISTERS: usize = 4;
/// Interrupts: all that a GICv2 can have (Arm IHI 0048B.b 2.2.1).
const INTERRUPTS: u32 = 1020;

/// The state of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// Nothing asks for attention.
    Low,
    /// Something does.
    High,
}

/// One unit's wire to an input of the interrupt controller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wire(usize);

/// The machine's interrupt controller and what is wired to it. An input with several wires is high while one
/// of them is.
#[derive(Debug)]
pub struct Interrupts {
    gic: Gic,
    wires: Vec<(u32, Level)>,
}

impl Default for Interrupts {
    fn default() -> Self {
        Self::new()
    }
}

impl Interrupts {
    /// A controller after reset, with nothing wired to it.
    pub fn new() -> Self {
        let config = Config { cpus: CPUS, interrupts: INTERRUPTS, list_registers: LIST_REGISTERS };
        // The numbers above are ones that a GIC can have, whatever the topology says.
        let gic = Gic::new(config).expect("the shape of a GIC-400");
        Self { gic, wires: Vec::new() }
    }

    /// The interrupt controller.
    pub const fn gic(&self) -> &Gic {
        &self.gic
    }

    /// The interrupt controller.
    pub const fn gic_mut(&mut self) -> &mut Gic {
        &mut self.gic
    }

    /// Wires a unit to the input of interrupt `number`; that of a private one is the first CPU's. Where there is none,
    /// the wire leads nowhere.
    pub fn wire(&mut self, number: u32) -> Wire {
        self.wires.push((number, Level::Low));
        Wire(self.wires.len() - 1)
    }

    /// The number that a wire leads to.
    pub fn number(&self, wire: Wire) -> Option<u32> {
        self.wires.get(wire.0).map(|(number, _)| *number)
    }

    /// Drives a wire.
    pub fn set(&mut self, wire: Wire, level: Level) {
        let Some((number, now)) = self.wires.get_mut(wire.0) else { return };
        let number = *number;
        if std::mem::replace(now, level) != level {
            let level = self.level(number);
            // A number that is no peripheral's has no input.
            let _ = match number {
                ..32 => self.gic.set_private_line(0, number, level),
                _ => self.gic.set_line(number, level),
            };
        }
    }

    /// Raises a wire and lowers it at once.
    pub fn pulse(&mut self, wire: Wire) {
        self.set(wire, Level::High);
        self.set(wire, Level::Low);
    }

    /// The state of the input of interrupt `number`.
    pub fn level(&self, number: u32) -> Level {
        if self.wires.contains(&(number, Level::High)) { Level::High } else { Level::Low }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_high_while_one_of_its_wires_is() {
        let mut interrupts = Interrupts::new();
        let [one, other] = [97, 97].map(|number| interrupts.wire(number));
        interrupts.set(one, Level::High);
        interrupts.set(other, Level::High);
        interrupts.set(one, Level::Low);
        assert_eq!(interrupts.level(97), Level::High);
        interrupts.set(other, Level::Low);
        assert_eq!(interrupts.level(97), Level::Low);
        interrupts.pulse(one);
        assert_eq!(interrupts.level(97), Level::Low);
    }

    #[test]
    fn a_wire_can_lead_nowhere() {
        let mut interrupts = Interrupts::new();
        for number in [0, 16, 25, 1020, u32::MAX] {
            let wire = interrupts.wire(number);
            interrupts.set(wire, Level::High);
            assert_eq!(interrupts.number(wire), Some(number));
        }
        assert_eq!(interrupts.gic().findings(), []);
    }
}
