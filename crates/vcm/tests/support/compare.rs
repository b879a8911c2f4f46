//! Compares everything that can be seen of a graph and of its machine with the model.

use super::machine::FakeMachine;
use super::model::{Backing, Model, Pages, State, pages_of};
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use vcm::{AssociationState, Graph, PhysicalAddress, RegionId, ReservationState, SIZE_4K, Span};

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.sort();
    items
}

fn key(span: Option<Span>) -> Option<(u64, u64)> {
    span.map(|span| (span.first(), span.last()))
}

/// Panics at the first difference.
pub(crate) fn compare(graph: &Graph, machine: &FakeMachine, model: &Model) {
    regions(graph, model);
    reservations(graph, model);
    allocations(graph, model);
    associations(graph, model);
    tables(machine, model);
    assert_eq!(graph.quarantined(), model.quarantined(), "in quarantine");
    let free: Vec<_> = graph.pools().map(|pool| pool.free).collect();
    let wanted: Vec<_> = model.pools.iter().map(|pool| pool.free.len() as u64 * SIZE_4K).collect();
    assert_eq!(free, wanted, "free bytes of the pools");
}

fn regions(graph: &Graph, model: &Model) {
    let live = || model.regions.iter().enumerate().filter(|(_, region)| region.exists);
    let ids = sorted(graph.regions().map(|info| info.id));
    assert_eq!(ids, sorted(live().map(|(_, region)| region.id)), "the regions");
    for (number, region) in live() {
        let info = graph.region(region.id).unwrap();
        assert_eq!(info.usable, region.usable);
        assert_eq!(info.free, model.free_in(number), "free bytes of {}", region.id);
        assert_eq!(info.reservations, model.reservations_of(number).count(), "reservations of {}", region.id);
        let links = model.associations.iter().filter(|link| link.exists && link.region == number).count();
        assert_eq!(info.associations, links, "associations of {}", region.id);
        let stuck = model.reservations_of(number).filter(|r| matches!(r.backing, Backing::Stuck(..))).count();
        assert_eq!(info.quarantined, stuck, "quarantine of {}", region.id);
        let bounds = sorted(graph.bounds(region.id).map(|(id, span)| (id, key(Some(span)))));
        let wanted = sorted(model.bounds_of(number).map(|(_, bound)| (bound.id, key(Some(bound.span)))));
        assert_eq!(bounds, wanted, "bounds of {}", region.id);
    }
}

fn reservations(graph: &Graph, model: &Model) {
    for (number, region) in model.regions.iter().enumerate() {
        let listed = sorted(graph.reservations(region.id).map(|info| info.id));
        assert_eq!(listed, sorted(model.reservations_of(number).map(|found| found.id)), "of {}", region.id);
        for info in graph.reservations(region.id) {
            let found = model.reservations_of(number).find(|found| found.id == info.id).unwrap();
            let id = |number: usize| model.allocations[number].id;
            let state = match found.backing {
                Backing::None => ReservationState::Unbacked,
                Backing::Mapped(of, offset) => ReservationState::Backed { allocation: id(of), offset },
                Backing::Stuck(of, offset) => ReservationState::Quarantined { allocation: id(of), offset },
            };
            assert_eq!(
                (info.span, info.len, info.attributes, info.state),
                (found.span, u128::from(found.len), found.attributes, state),
                "{}",
                info.id
            );
            assert_eq!(
                info.bound,
                found.bound.map(|bound| model.bounds[bound].id),
                "the bound of {}",
                info.id
            );
            let held = graph.reservation(info.id).is_ok();
            assert_eq!(held, found.held, "whether {} is known", info.id);
            if let Some(span) = found.span {
                addresses(graph, model, region.id, number, span);
            }
        }
    }
}

/// What the look functions say of a reservation's first page, last byte, and of the byte before it.
fn addresses(graph: &Graph, model: &Model, region: RegionId, number: usize, span: Span) {
    for address in [span.first(), span.last(), span.first().saturating_sub(1)] {
        let here =
            model.reservations_of(number).find(|found| found.span.is_some_and(|s| s.contains(address)));
        let held = here.filter(|found| found.held).map(|found| found.id);
        assert_eq!(graph.reservation_at(region, address), held, "at {address:#x} of {region}");
        let byte = here.and_then(|found| match found.backing {
            Backing::Mapped(of, offset) => Some((of, offset + (address - found.span?.first()))),
            _ => None,
        });
        let to = byte.and_then(|(of, offset)| model.byte(of, offset));
        let said = graph.physical_at(region, address);
        assert_eq!(said.map(PhysicalAddress::raw), to, "{address:#x} of {region} leads to");
        for (other, there) in model.regions.iter().enumerate().filter(|(_, there)| there.exists) {
            let places = byte.into_iter().flat_map(|(of, offset)| {
                let mappers = model.mappers(of).into_iter();
                mappers.filter_map(move |(found, start, stuck)| {
                    let into = offset.checked_sub(start).filter(|into| *into < found.len)?;
                    let mapped = !stuck && found.region == other;
                    mapped.then(|| found.span.unwrap().first() + into)
                })
            });
            let said = graph.address_in(region, address, there.id);
            let kind = there.kind;
            assert_eq!(
                said,
                places.min().map(|at| kind.address(at)),
                "{address:#x} of {region} in {}",
                there.id
            );
        }
        if let Some(to) = to {
            let who = sorted(graph.who_maps(PhysicalAddress::new(to)).map(|(_, mapper)| mapper.reservation));
            let (of, offset) = byte.unwrap();
            let wanted = model
                .mappers(of)
                .into_iter()
                .filter(|(found, start, _)| offset.checked_sub(*start).is_some_and(|into| into < found.len));
            assert_eq!(who, sorted(wanted.map(|(found, ..)| found.id)), "who maps {to:#x}");
            assert_eq!(
                graph.allocation_at(PhysicalAddress::new(to)),
                Some((model.allocations[of].id, offset))
            );
        }
    }
}

fn allocations(graph: &Graph, model: &Model) {
    let live = || model.allocations.iter().enumerate().filter(|(_, found)| found.exists);
    let ids = sorted(graph.allocations().map(|info| info.id));
    assert_eq!(ids, sorted(live().map(|(_, found)| found.id)), "the allocations");
    for (number, found) in live() {
        let info = graph.allocations().find(|info| info.id == found.id).unwrap();
        assert_eq!((info.len, info.blocks), (found.len, &found.blocks[..]), "{}", found.id);
        assert_eq!(info.waits_for_reaper, !found.held, "whether {} waits", found.id);
        assert_eq!(graph.allocation(found.id).is_ok(), found.held, "whether {} is known", found.id);
        let seen = sorted(graph.mappers(found.id).map(|mapper| {
            let address = mapper.address.map(vcm::RegionAddress::raw);
            (mapper.reservation, address, mapper.offset, mapper.len, mapper.quarantined)
        }));
        let wanted = model.mappers(number).into_iter().map(|(mapper, offset, stuck)| {
            (mapper.id, mapper.span.map(Span::first), offset, mapper.len, stuck)
        });
        assert_eq!(seen, sorted(wanted), "the mappers of {}", found.id);
        assert_eq!(info.mappers, seen.len());
    }
}

fn associations(graph: &Graph, model: &Model) {
    let live: Vec<_> = model.associations.iter().filter(|link| link.exists).collect();
    let ids = sorted(graph.associations().map(|link| link.id));
    assert_eq!(ids, sorted(live.iter().map(|link| link.id)), "the associations");
    for info in graph.associations() {
        let link = live.iter().find(|link| link.id == info.id).unwrap();
        let state = match link.state {
            State::Inactive => AssociationState::Inactive,
            State::Active(count) => AssociationState::Active(count),
            State::Stuck => AssociationState::Quarantined,
        };
        let (region, device) = (model.regions[link.region].id, model.devices[link.device].id);
        assert_eq!((info.region, info.device, info.part, info.state), (region, device, link.part, state));
        assert_eq!(
            graph.is_active(info.id).ok(),
            link.held.then_some(matches!(link.state, State::Active(_)))
        );
    }
}

/// The machine's page tables and the pages that it believes to be allocated.
fn tables(machine: &FakeMachine, model: &Model) {
    // Any order will do, as long as it depends on the contents alone.
    let order = |tables: &mut Vec<(u32, &Pages)>| {
        tables.sort_by_cached_key(|table| {
            let mut hasher = DefaultHasher::new();
            table.hash(&mut hasher);
            hasher.finish()
        });
    };
    let mut real: Vec<_> = machine.spaces.values().map(|space| (space.format.id, &space.pages)).collect();
    let live = model.regions.iter().filter(|region| region.exists);
    let mut wanted: Vec<(u32, &Pages)> =
        live.flat_map(|region| region.tables.iter().map(|(format, (_, pages))| (*format, pages))).collect();
    order(&mut real);
    order(&mut wanted);
    assert!(real == wanted, "the page tables\nare     {real:x?}\nwanted: {wanted:x?}");
    let owned = model.allocations.iter().filter(|found| found.exists && !found.wrapped);
    let taken: BTreeSet<u64> = owned
        .flat_map(|found| found.blocks.iter())
        .flat_map(|block| pages_of(block.span().unwrap()))
        .collect();
    assert_eq!(machine.taken, taken, "the pages that are allocated");
}
