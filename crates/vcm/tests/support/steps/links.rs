//! Associations.

use super::{Pair, agree};
use crate::support::model::{Association, State};
use vcm::{Part, SIZE_4K, Span, Teardown};

impl Pair {
    pub(super) fn associate(&mut self, region: usize, device: usize, part: Part) {
        let (id, device_id) = (self.model.regions[region].id, self.model.devices[device].id);
        let result = self.graph.associate(id, device_id, part, &mut self.machine);
        let usable = self.model.regions[region].usable;
        let page = SIZE_4K - 1;
        let windows: Vec<Span> = self.model.devices[device]
            .reserved
            .iter()
            .filter_map(|window| {
                Span::inclusive(window.first() & !page, window.last() | page)?.intersection(usable)
            })
            .collect();
        let blocked = self
            .model
            .reservations_of(region)
            .any(|found| found.span.is_some_and(|span| windows.iter().any(|window| window.overlaps(span))));
        let again = self
            .model
            .associations
            .iter()
            .find(|link| link.exists && (link.region, link.device) == (region, device))
            .map(|link| if link.held { "AlreadyAssociated" } else { "DeviceBusy" });
        let format = self.model.translating(region, device, part);
        let kind = self.model.devices[device].kind == self.model.regions[region].kind;
        let wanted = self.model.known_region(region).and(match format {
            _ if !kind => Err("KindMismatch"),
            _ if again.is_some() => Err(again.unwrap()),
            Err(error) => Err(error),
            Ok(_) if blocked => Err("InReservedWindow"),
            Ok(format) => Ok(format),
        });
        agree(&result, wanted.map(|_| ()));
        if let (Ok(id), Ok(format)) = (result, wanted) {
            self.model.enter_table(region, format);
            self.model.regions[region].windows.extend(windows);
            let (exists, held, state) = (true, true, State::Inactive);
            let link = Association { id, exists, held, region, device, part, format, state };
            self.model.associations.push(link);
        }
    }

    pub(super) fn deassociate(&mut self, number: usize) {
        let link = self.model.associations[number];
        let result = self.graph.deassociate(link.id, &mut self.machine);
        let active = matches!(link.state, State::Active(_));
        agree(&result, self.model.known_association(number).and(if active { Err("Active") } else { Ok(()) }));
        if result.is_ok() {
            self.model.associations[number].held = false;
            if link.state == State::Inactive {
                self.remove_association(number);
            }
        }
    }

    pub(super) fn remove_association(&mut self, number: usize) {
        let link = self.model.associations[number];
        self.model.associations[number].exists = false;
        self.model.leave_table(link.region, link.format);
    }

    pub(super) fn set_part(&mut self, number: usize, part: Part) {
        let link = self.model.associations[number];
        let result = self.graph.set_association_part(link.id, part, &mut self.machine);
        let format = self.model.translating(link.region, link.device, part);
        let wanted = self.model.known_association(number).and(match link.state {
            State::Inactive => format,
            _ => Err("Active"),
        });
        agree(&result, wanted.map(|_| ()));
        if let Ok(format) = wanted {
            self.model.enter_table(link.region, format);
            self.model.leave_table(link.region, link.format);
            self.model.associations[number].part = part;
            self.model.associations[number].format = format;
        }
    }

    pub(super) fn activate(&mut self, number: usize) {
        let link = self.model.associations[number];
        let result = self.graph.activate(link.id, &mut self.machine);
        let counted = self.model.devices[link.device].kind.counts_activations();
        let busy = self.model.associations.iter().any(|other| {
            other.exists
                && other.id != link.id
                && other.device == link.device
                && other.state != State::Inactive
                && !self.model.beside(&link, other)
        });
        let wanted = self.model.known_association(number).and(match link.state {
            State::Active(count) if counted => Ok(State::Active(count + 1)),
            State::Active(_) => Err("Active"),
            State::Stuck => Err("DeviceBusy"),
            State::Inactive if busy => Err("DeviceBusy"),
            State::Inactive => Ok(State::Active(1)),
        });
        agree(&result, wanted.map(|_| ()));
        if let Ok(state) = wanted {
            self.model.associations[number].state = state;
        }
    }

    pub(super) fn deactivate(&mut self, number: usize) {
        let link = self.model.associations[number];
        let answer = self.graph.deactivate(link.id, &mut self.machine);
        let table = self.model.regions[link.region].tables.contains_key(&link.format);
        let (wanted, state) = match link.state {
            _ if self.model.known_association(number).is_err() => (Teardown::NothingThere, link.state),
            State::Inactive => (Teardown::NothingThere, State::Inactive),
            State::Stuck => (Teardown::Quarantined, State::Stuck),
            State::Active(1) if table && self.model.broken => (Teardown::Quarantined, State::Stuck),
            State::Active(1) => (Teardown::Done, State::Inactive),
            State::Active(count) => (Teardown::StillCounted, State::Active(count - 1)),
        };
        assert_eq!(answer, wanted);
        self.model.associations[number].state = state;
    }
}
