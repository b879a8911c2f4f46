//! What must hold for interrupts at some point of a scenario.

use super::{mode_name, seam};
use crate::problem::{Name, Place};
use crate::run::failure::Failure;
use crate::run::interrupts::Said;
use crate::run::world::World;
use crate::scenario::{Cost, Counted, Limit};
use vcm_irq::kvm::Mode;
use vcm_platform::{InterruptCounts, InterruptRemains, Way};

/// `12.34`: hundredths of a number for each.
pub(crate) fn per(number: u64, each: u64) -> String {
    if each == 0 {
        return "-".into();
    }
    let hundredths = (u128::from(number) * 100 + u128::from(each) / 2) / u128::from(each);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

impl World<'_> {
    fn counts(&mut self, interrupt: &Name, place: &Place) -> Result<InterruptCounts, Failure> {
        let handle = self.guests.given(interrupt)?.handle;
        Ok(seam(self.platform, place)?.counts(handle))
    }

    pub(super) fn expect_interrupt(
        &mut self,
        interrupt: &Name,
        expected: &[(Counted, Limit)],
        way: Option<Way>,
        place: &Place,
    ) -> Result<Said, Failure> {
        let counts = self.counts(interrupt, place)?;
        let handle = self.guests.given(interrupt)?.handle;
        let mode = seam(self.platform, place)?.mode(handle);
        let (mut right, mut wrong) = (Vec::new(), Vec::new());
        if let Some(way) = way {
            let found = mode.map_or("nobody's", mode_name);
            let (holds, expected) = match way {
                Way::Forwarded => (mode == Some(Mode::Forwarded), "forwarded"),
                Way::Automasked => (matches!(mode, Some(Mode::Automasked(_))), "automasked"),
            };
            if holds {
                right.push(found.to_owned());
            } else {
                wrong.push(format!("{found}, and had to be {expected}"));
            }
        }
        for (counted, limit) in expected {
            let found = counted.of(&counts);
            if limit.allows(found) {
                right.push(format!("{counted} {found}"));
            } else {
                wrong.push(format!("{counted} {found}, and had to be {limit}"));
            }
        }
        let result = if wrong.is_empty() { Ok(right.join(", ")) } else { Err(wrong.join("; ")) };
        Ok(Said::Found(format!("what became of {interrupt}"), result))
    }

    pub(super) fn expect_remains(
        &mut self,
        expected: &InterruptRemains,
        place: &Place,
    ) -> Result<Said, Failure> {
        let found = seam(self.platform, place)?.remains();
        let text = remains_text(&found);
        let result = if found == *expected {
            Ok(text)
        } else {
            Err(format!("{text}; it had to be {}", remains_text(expected)))
        };
        Ok(Said::Found("what is held for interrupts".into(), result))
    }

    pub(super) fn compare_interrupts(
        &mut self,
        fewer: &Name,
        than: &Name,
        by: u64,
        cost: Cost,
        place: &Place,
    ) -> Result<Said, Failure> {
        let counted = cost.counted();
        let (a, b) = (self.counts(fewer, place)?, self.counts(than, place)?);
        let (a_cost, b_cost) = (counted.of(&a), counted.of(&b));
        let texts = [(fewer, a_cost, a.delivered), (than, b_cost, b.delivered)]
            .map(|(name, cost, delivered)| format!("{name} {} {counted}", per(cost, delivered)));
        let text = format!("{} for each interrupt", texts.join(", "));
        // a / delivered a * by <= b / delivered b, without the divisions.
        let left = u128::from(a_cost).saturating_mul(b.delivered.into()).saturating_mul(by.into());
        let right = u128::from(b_cost).saturating_mul(a.delivered.into());
        let result = if a.delivered == 0 || b.delivered == 0 {
            Err(format!("{text}: one of them was never delivered"))
        } else if left <= right {
            Ok(text)
        } else {
            Err(format!("{text}, and had to be {by} times fewer"))
        };
        Ok(Said::Found(format!("{fewer} costs fewer {counted} than {than}"), result))
    }
}

/// What is held, in words.
pub(super) fn remains_text(remains: &InterruptRemains) -> String {
    let InterruptRemains { enabled, active, references, list_registers, late } = remains;
    format!(
        "{enabled} enabled, {active} active, {references} references on devices, {list_registers} list registers in \
         use, {late} late events"
    )
}

#[cfg(test)]
mod tests {
    use super::per;

    #[test]
    fn averages_have_two_digits() {
        assert_eq!((per(0, 3), per(2, 3), per(7, 2)), ("0.00".into(), "0.67".into(), "3.50".into()));
        assert_eq!((per(u64::MAX, 1), per(5, 0)), ("18446744073709551615.00".into(), "-".into()));
    }
}
