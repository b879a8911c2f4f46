//! After the steps: every interrupt that was asked for has arrived, and when the guests are gone nothing of
//! them is left.

use super::expect::remains_text;
use super::{GivenEntry, Life, mode_name, why_not};
use crate::run::log::Log;
use crate::run::many;
use crate::run::record::Interrupted;
use crate::run::world::World;
use vcm_irq::Sense;
use vcm_irq::kvm::Mode;
use vcm_platform::{InterruptCounts, InterruptRemains, Way};

impl World<'_> {
    /// Lets guests come to rest, looks at what became of their interrupts, shuts them down, and looks at what is left.
    pub(in crate::run) fn end_interrupts(&mut self, log: &mut Log<'_>) {
        if self.guests.guests.is_empty() {
            return;
        }
        let at_rest = self.rest(log);
        self.note_modes();
        self.record_interrupts(log);
        if at_rest {
            self.nothing_lost(log);
        }
        self.shut_guests_down(log);
    }

    /// Whether they come to rest.
    fn rest(&mut self, log: &mut Log<'_>) -> bool {
        let Some(interrupts) = self.platform.interrupts() else { return false };
        match interrupts.settle() {
            Ok(()) => true,
            Err(error) => {
                log.check("at the end the guests come to rest", false, error.to_string());
                false
            }
        }
    }

    fn record_interrupts(&mut self, log: &mut Log<'_>) {
        for (entry, counts) in self.entries_with_counts() {
            let fallback = match (entry.spec.way, entry.mode) {
                (Way::Forwarded, Mode::Automasked(fallback)) => Some(why_not(fallback).to_owned()),
                _ => None,
            };
            log.record.interrupts.push(Interrupted {
                name: entry.spec.name.text.clone(),
                device: entry.device.clone(),
                role: entry.spec.device.text.clone(),
                index: entry.spec.interrupt.index,
                subindex: entry.spec.interrupt.subindex,
                sense: match entry.sense {
                    Sense::Level => "level",
                    Sense::Edge => "edge",
                },
                host: entry.host.0,
                guest: entry.spec.guest.text.clone(),
                gsi: entry.spec.gsi,
                killed: self.guests.life(&entry.spec.guest.text) == Some(Life::Killed),
                mode: mode_name(entry.mode),
                fallback,
                asked: counts.asked,
                delivered: counts.delivered,
                spurious: counts.spurious,
                lost: counts.lost,
                exits: counts.exits,
                maintenance_exits: counts.maintenance_exits,
                mmio: counts.mmio,
                shut: counts.shut,
            });
        }
    }

    fn entries_with_counts(&mut self) -> Vec<(GivenEntry, InterruptCounts)> {
        let Some(interrupts) = self.platform.interrupts() else { return Vec::new() };
        let entries = self.guests.given.iter();
        entries.map(|entry| (entry.clone(), interrupts.counts(entry.handle))).collect()
    }

    /// Whoever still has an interrupt got all of it.
    fn nothing_lost(&mut self, log: &mut Log<'_>) {
        let (mut asked, mut delivered, mut wrong, mut aside) = (0, 0, Vec::new(), Vec::new());
        for (entry, counts) in self.entries_with_counts() {
            let name = &entry.spec.name;
            if self.guests.life(&entry.spec.guest.text) == Some(Life::Killed) {
                aside.push(format!("the guest of {name} was killed"));
                continue;
            }
            if counts.shut > 0 {
                aside.push(format!("{name} was shut"));
                continue;
            }
            asked += counts.asked;
            delivered += counts.delivered;
            let merged = self.guests.merging.contains(&(entry.line, entry.spec.interrupt));
            if counts.lost > 0 {
                wrong.push(format!("{} of {name} lost", counts.lost));
            } else if !merged && counts.delivered < counts.asked {
                wrong.push(format!("{name} asked {} times, {} delivered", counts.asked, counts.delivered));
            } else if counts.asked > 0 && counts.delivered == 0 {
                wrong.push(format!("{name} asked {} times, never delivered", counts.asked));
            }
        }
        if self.guests.given.is_empty() {
            return;
        }
        let mut detail =
            if wrong.is_empty() { format!("{asked} asked, {delivered} delivered") } else { wrong.join("; ") };
        if !aside.is_empty() {
            detail.push_str(&format!(" ({})", aside.join(", ")));
        }
        log.check("no interrupt is lost", wrong.is_empty(), detail);
    }

    fn shut_guests_down(&mut self, log: &mut Log<'_>) {
        let Some(interrupts) = self.platform.interrupts() else { return };
        for guest in &self.guests.guests {
            if guest.life == Life::Running {
                interrupts.kill(guest.handle);
            }
        }
        let remains = interrupts.remains();
        let shut = many(self.guests.guests.len() as u64, "guest");
        let nothing = remains == InterruptRemains::default();
        let detail = if nothing { shut } else { remains_text(&remains) };
        log.check("the guests are gone, and nothing of their interrupts is left", nothing, detail);
        let leaks = &mut log.record.leaks;
        leaks.interrupts_enabled += remains.enabled;
        leaks.interrupts_active += remains.active;
        leaks.device_references += remains.references;
        leaks.list_registers += remains.list_registers;
        leaks.late_events += remains.late;
    }
}
