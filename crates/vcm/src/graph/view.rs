//! The graph as text and as JSON, and errors with the names of what they blame.

use super::{AssociationState, Graph, ReservationState};
use crate::error::Error;
use crate::id::{AllocationId, DeviceId, RegionId};
use crate::region::Occupant;
use crate::{Bytes, Label};
use core::fmt;

/// The graph, to be printed. With the feature `serde` it can be serialized as well.
#[derive(Clone, Copy, Debug)]
pub struct View<'g>(pub(super) &'g Graph);

impl Graph {
    /// The graph, to be printed as text, or serialized with the feature `serde`.
    pub const fn view(&self) -> View<'_> {
        View(self)
    }

    /// An error with the names of the objects that it blames, where they still exist.
    pub const fn explain(&self, error: Error) -> Explained<'_> {
        Explained { graph: self, error }
    }

    fn region_label(&self, id: RegionId) -> Option<Label> {
        self.regions.get(id.0).map(|region| region.label)
    }

    fn device_label(&self, id: DeviceId) -> Option<Label> {
        self.devices.devices.get(id.0).map(|device| device.label)
    }

    /// The bytes of a region that no reservation is made from, because a device must never be given them.
    fn kept_out(&self, id: RegionId) -> u128 {
        let Some(region) = self.regions.get(id.0) else { return 0 };
        let bounds = region.bounds.iter().flat_map(|(_, bound)| bound.ranges.iter());
        let windows = region.ranges.iter().chain(bounds);
        windows.filter(|(_, _, held)| **held == Occupant::ReservedWindow).map(|(_, span, _)| span.len()).sum()
    }

    fn allocation_label(&self, id: AllocationId) -> Option<Label> {
        self.allocations.get(id.0).map(|allocation| allocation.label)
    }
}

/// A name in quotes, or a mark for an object that is gone.
struct Named(Option<Label>);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(label) => write!(f, "\"{label}\""),
            None => f.write_str("(gone)"),
        }
    }
}

impl fmt::Display for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let graph = self.0;
        for pool in graph.pools() {
            writeln!(
                f,
                "{} \"{}\" {}: {} of {} free",
                pool.id,
                pool.label,
                pool.memory,
                Bytes(pool.free),
                Bytes(pool.total)
            )?;
        }
        for region in graph.regions() {
            writeln!(f, "{} \"{}\" {} {}", region.id, region.label, region.kind, region.window)?;
            for link in graph.associations().filter(|link| link.region == region.id) {
                let state = match link.state {
                    AssociationState::Inactive => "inactive",
                    AssociationState::Active(_) => "active",
                    AssociationState::Quarantined => "in quarantine",
                };
                writeln!(
                    f,
                    "  {} device {} {} {state}",
                    link.id,
                    Named(graph.device_label(link.device)),
                    link.part
                )?;
            }
            for found in graph.reservations(region.id) {
                match found.span {
                    Some(span) => write!(f, "  {span} [{}]", found.attributes)?,
                    None => write!(f, "  {} bytes without an address [{}]", found.len, found.attributes)?,
                }
                match found.state {
                    ReservationState::Unbacked => writeln!(f, " unbacked")?,
                    ReservationState::Backed { allocation, offset } => {
                        writeln!(f, " -> {}+{offset:#x}", Named(graph.allocation_label(allocation)))?;
                    }
                    ReservationState::Quarantined { allocation, offset } => writeln!(
                        f,
                        " -> {}+{offset:#x} in quarantine",
                        Named(graph.allocation_label(allocation))
                    )?,
                }
            }
        }
        for found in graph.allocations() {
            writeln!(
                f,
                "{} \"{}\" {} in {} blocks",
                found.id,
                found.label,
                Bytes(found.len),
                found.blocks.len()
            )?;
            for mapper in graph.mappers(found.id) {
                let region = Named(graph.region_label(mapper.reservation.region()));
                match mapper.address {
                    Some(address) => write!(f, "  mapped in {region} at {address}")?,
                    None => write!(f, "  mapped in {region}")?,
                }
                writeln!(f, " [{}]", mapper.attributes)?;
            }
        }
        Ok(())
    }
}

/// An error and the names of what it blames.
#[derive(Clone, Copy, Debug)]
pub struct Explained<'g> {
    graph: &'g Graph,
    error: Error,
}

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)?;
        let graph = self.graph;
        let region = |id: RegionId| (id, Named(graph.region_label(id)));
        match self.error {
            Error::Conflict { with, reservation, allocation, .. } => {
                let ((with_id, with_name), (id, name)) =
                    (region(with.region()), region(reservation.region()));
                write!(f, " ({id} is {name}, {with_id} is {with_name}, ")?;
                write!(f, "{allocation} is {})", Named(graph.allocation_label(allocation)))
            }
            Error::DeviceBusy { device, holder, .. } => {
                let (id, name) = region(holder);
                write!(f, " ({device} is {}, {id} is {name})", Named(graph.device_label(device)))
            }
            Error::Mapped { allocation, .. } => {
                write!(f, " ({allocation} is {}; mapped in", Named(graph.allocation_label(allocation)))?;
                for mapper in graph.mappers(allocation) {
                    write!(f, " {}", Named(graph.region_label(mapper.reservation.region())))?;
                }
                f.write_str(")")
            }
            Error::Occupied { region: id, .. }
            | Error::RegionInUse { region: id, .. }
            | Error::OutsideRegion { region: id, .. } => write!(f, " ({id} is {})", region(id).1),
            Error::NoSpace { region: id, .. } => {
                write!(f, " ({id} is {}", region(id).1)?;
                match graph.kept_out(id) {
                    0 => f.write_str(")"),
                    bytes => write!(f, ", {bytes} bytes of it are reserved windows of its devices)"),
                }
            }
            Error::KindMismatch { region: id, device, .. }
            | Error::AlreadyAssociated { region: id, device, .. }
            | Error::NotTranslatable { region: id, device, .. }
            | Error::Active { region: id, device, .. } => {
                write!(f, " ({id} is {}, {device} is {})", region(id).1, Named(graph.device_label(device)))
            }
            _ => Ok(()),
        }
    }
}
