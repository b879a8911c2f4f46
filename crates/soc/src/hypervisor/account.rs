//! What interrupts cost the host, by the interrupt that caused it.

use std::collections::BTreeMap;

/// What one interrupt has cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Account {
    /// Times that a vCPU left the guest.
    pub(crate) exits: u64,
    /// Those of them that were maintenance interrupts.
    pub(crate) maintenance_exits: u64,
    /// Accesses to registers of the interrupt controller.
    pub(crate) mmio: u64,
}

/// The interrupts that caused something, by their number at the host; none for what no interrupt of a device caused.
pub(super) type Causes = Vec<u32>;

/// Why a vCPU leaves the guest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Reason {
    /// Because of these.
    pub(super) causes: Causes,
    /// Of these, the ones whose end raised the maintenance interrupt.
    pub(super) ended: Causes,
}

impl Reason {
    pub(super) const fn of(causes: Causes) -> Self {
        Self { causes, ended: Vec::new() }
    }
}

/// Every interrupt's account.
#[derive(Debug, Default)]
pub(super) struct Accounts(BTreeMap<u32, Account>);

impl Accounts {
    /// Begins anew for an interrupt.
    pub(super) fn reset(&mut self, interrupt: u32) {
        self.0.remove(&interrupt);
    }

    pub(super) fn get(&self, interrupt: u32) -> Account {
        self.0.get(&interrupt).copied().unwrap_or_default()
    }

    pub(super) fn exit(&mut self, reason: &Reason) {
        for cause in &reason.causes {
            self.0.entry(*cause).or_default().exits += 1;
        }
        for cause in &reason.ended {
            self.0.entry(*cause).or_default().maintenance_exits += 1;
        }
    }

    /// Shares accesses among those that caused them; what cannot be shared is the first one's.
    pub(super) fn accesses(&mut self, causes: &[u32], count: u64) {
        let sharers = causes.len() as u64;
        for (index, cause) in causes.iter().enumerate() {
            let rest = if index == 0 { count % sharers } else { 0 };
            self.0.entry(*cause).or_default().mmio += count / sharers + rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_are_shared_among_those_that_caused_them() {
        let mut accounts = Accounts::default();
        accounts.accesses(&[40, 41], 7);
        accounts.accesses(&[], 100);
        accounts.exit(&Reason { causes: vec![40, 41], ended: vec![41] });
        assert_eq!(accounts.get(40), Account { exits: 1, maintenance_exits: 0, mmio: 4 });
        assert_eq!(accounts.get(41), Account { exits: 1, maintenance_exits: 1, mmio: 3 });
        accounts.reset(40);
        assert_eq!(accounts.get(40), Account::default());
    }
}
