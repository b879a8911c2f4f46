//! The graph for machines. Addresses are strings of hexadecimal digits: numbers above 2^53 do not survive every
//! JSON reader.

use super::{AssociationState, Graph, ReservationState, View};
use crate::id::{AllocationId, RegionId};
use crate::{Label, LeafCount};
use core::fmt::Display;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

/// Serializes as the text that `Display` makes.
struct Text<T>(T);

impl<T: Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Serializes as hexadecimal digits.
struct Hex(u64);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:#x}", self.0))
    }
}

/// Serializes as the list of what a function makes an iterator of.
struct Each<F>(F);

impl<F, I> Serialize for Each<F>
where
    F: Fn() -> I,
    I: Iterator,
    I::Item: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

#[derive(Serialize)]
struct Pool {
    id: Text<crate::PoolId>,
    name: Text<Label>,
    first: Hex,
    last: Hex,
    free: u64,
    total: u64,
}

#[derive(Serialize)]
struct Region<R: Serialize, A: Serialize> {
    id: Text<RegionId>,
    name: Text<Label>,
    kind: Text<crate::RegionKind>,
    first: Hex,
    last: Hex,
    associations: A,
    reservations: R,
    quarantined: usize,
}

#[derive(Serialize)]
struct Association {
    id: Text<crate::AssociationId>,
    device: Option<Text<Label>>,
    part: Text<crate::Part>,
    state: &'static str,
    format: Option<&'static str>,
}

#[derive(Serialize)]
struct Reservation {
    id: Text<crate::ReservationId>,
    address: Option<Hex>,
    len: Text<u128>,
    attributes: Text<crate::Attributes>,
    state: &'static str,
    allocation: Option<Text<AllocationId>>,
    offset: Option<u64>,
}

#[derive(Serialize)]
struct Allocation<B: Serialize, M: Serialize> {
    id: Text<AllocationId>,
    name: Text<Label>,
    len: u64,
    blocks: B,
    mappers: M,
    waits_for_reaper: bool,
}

#[derive(Serialize)]
struct Block {
    base: Hex,
    len: u64,
}

#[derive(Serialize)]
struct Mapper {
    reservation: Text<crate::ReservationId>,
    address: Option<Hex>,
    offset: u64,
    len: u64,
    attributes: Text<crate::Attributes>,
    quarantined: bool,
}

fn association(graph: &Graph, link: super::AssociationInfo) -> Association {
    let device = graph.devices().find(|device| device.id == link.device);
    Association {
        id: Text(link.id),
        device: device.map(|device| Text(device.label)),
        part: Text(link.part),
        state: match link.state {
            AssociationState::Inactive => "inactive",
            AssociationState::Active(_) => "active",
            AssociationState::Quarantined => "quarantined",
        },
        format: link.format,
    }
}

fn reservation(found: super::ReservationInfo) -> Reservation {
    let (state, allocation, offset) = match found.state {
        ReservationState::Unbacked => ("unbacked", None, None),
        ReservationState::Backed { allocation, offset } => ("backed", Some(Text(allocation)), Some(offset)),
        ReservationState::Quarantined { allocation, offset } => {
            ("quarantined", Some(Text(allocation)), Some(offset))
        }
    };
    Reservation {
        id: Text(found.id),
        address: found.span.map(|span| Hex(span.first())),
        len: Text(found.len),
        attributes: Text(found.attributes),
        state,
        allocation,
        offset,
    }
}

impl Serialize for View<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let graph = self.0;
        let mut map = serializer.serialize_map(Some(4))?;
        let pools = Each(|| {
            graph.pools().map(|pool| Pool {
                id: Text(pool.id),
                name: Text(pool.label),
                first: Hex(pool.memory.first()),
                last: Hex(pool.memory.last()),
                free: pool.free,
                total: pool.total,
            })
        });
        map.serialize_entry("pools", &pools)?;
        let regions = Each(|| {
            graph.regions().map(|region| Region {
                id: Text(region.id),
                name: Text(region.label),
                kind: Text(region.kind),
                first: Hex(region.window.first()),
                last: Hex(region.window.last()),
                associations: Each(move || {
                    let links = graph.associations().filter(move |link| link.region == region.id);
                    links.map(|link| association(graph, link))
                }),
                reservations: Each(move || graph.reservations(region.id).map(reservation)),
                quarantined: region.quarantined,
            })
        });
        map.serialize_entry("regions", &regions)?;
        let allocations = Each(|| {
            graph.allocations().map(|found| Allocation {
                id: Text(found.id),
                name: Text(found.label),
                len: found.len,
                blocks: Each(move || {
                    found.blocks.iter().map(|block| Block { base: Hex(block.base.raw()), len: block.len })
                }),
                mappers: Each(move || {
                    graph.mappers(found.id).map(|mapper| Mapper {
                        reservation: Text(mapper.reservation),
                        address: mapper.address.map(|address| Hex(address.raw())),
                        offset: mapper.offset,
                        len: mapper.len,
                        attributes: Text(mapper.attributes),
                        quarantined: mapper.quarantined,
                    })
                }),
                waits_for_reaper: found.waits_for_reaper,
            })
        });
        map.serialize_entry("allocations", &allocations)?;
        map.serialize_entry("quarantined", &graph.quarantined())?;
        map.end()
    }
}

/// As `{"1M": 2, "4K": 1}`.
impl Serialize for LeafCount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(size, count)| (Text(crate::Bytes(size)), count)))
    }
}
