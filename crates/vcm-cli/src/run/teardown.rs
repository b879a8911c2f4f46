//! Everything is taken down, by what the graph knows rather than by the scenario's names, and what is left is counted.

use super::log::Log;
use super::record::Leaks;
use super::world::World;
use vcm::{AssociationState, ReservationState};

/// How often the reaper runs before something counts as leaked.
const REAPER_RUNS: usize = 8;

impl World<'_> {
    /// Takes everything down and counts what is left. `when` goes before the check's name.
    pub fn tear_down(mut self, when: &str, log: &mut Log<'_>) {
        let mut refused = Vec::new();
        for master in &self.masters {
            // Hooks hold nothing, but nobody is to answer any more.
            if let Err(error) = self.graph.unhook(master.id) {
                refused.push(error.to_string());
            }
        }
        let regions: Vec<_> = self.graph.regions().map(|region| region.id).collect();
        for region in &regions {
            let reservations: Vec<_> = self.graph.reservations(*region).collect();
            for reservation in reservations {
                if reservation.state != ReservationState::Unbacked {
                    self.graph.unback(reservation.id, &mut *self.platform);
                }
            }
        }
        let links: Vec<_> = self.graph.associations().collect();
        for link in links {
            if let AssociationState::Active(count) = link.state {
                for _ in 0..count {
                    self.graph.deactivate(link.id, &mut *self.platform);
                }
            }
        }
        for _ in 0..REAPER_RUNS {
            if self.graph.quarantined() == 0 {
                break;
            }
            self.graph.reap(&mut *self.platform);
        }
        let quarantined = self.graph.quarantined();
        let links: Vec<_> = self.graph.associations().map(|link| link.id).collect();
        for link in links {
            refused.extend(self.graph.deassociate(link, &mut *self.platform).err().map(|e| e.to_string()));
        }
        for region in &regions {
            let reservations: Vec<_> = self.graph.reservations(*region).map(|found| found.id).collect();
            for reservation in reservations {
                refused.extend(self.graph.unreserve(reservation).err().map(|error| error.to_string()));
            }
            let bounds: Vec<_> = self.graph.bounds(*region).map(|(bound, _)| bound).collect();
            for bound in bounds {
                refused.extend(self.graph.free_bound(bound).err().map(|error| error.to_string()));
            }
        }
        let buffers: Vec<_> = self.graph.allocations().map(|found| found.id).collect();
        for buffer in buffers {
            refused.extend(self.graph.free(buffer, &mut *self.platform).err().map(|e| e.to_string()));
        }
        let leaks = Leaks {
            allocations: self.graph.allocations().count(),
            mappings: self.graph.allocations().map(|found| found.mappers).sum(),
            quarantined,
            ..Leaks::default()
        };
        for region in &regions {
            refused.extend(self.graph.free_region(*region).err().map(|error| error.to_string()));
        }
        let unequal: Vec<_> = self
            .graph
            .pools()
            .filter(|pool| pool.free != pool.total)
            .map(|pool| format!("{} lacks {} bytes", pool.label, pool.total - pool.free))
            .collect();
        let mut left = refused;
        left.extend(unequal);
        if leaks != Leaks::default() {
            left.push(format!(
                "{} allocations, {} mappings, {} in quarantine",
                leaks.allocations, leaks.mappings, leaks.quarantined
            ));
        }
        let ok = left.is_empty();
        let detail = if ok { "every pool has all its memory back".into() } else { left.join("; ") };
        log.check(format!("{when}everything is taken down, and nothing is left"), ok, detail);
        let sum = &mut log.record.leaks;
        sum.allocations += leaks.allocations;
        sum.mappings += leaks.mappings;
        sum.quarantined += leaks.quarantined;
    }
}
