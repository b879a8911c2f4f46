//! Everything that can be seen of a graph, as one text: equal texts are equal graphs.

use std::fmt::Write;
use vcm::{Graph, ReservationState};

/// All that the look functions say.
pub(crate) fn dump(graph: &Graph) -> String {
    let mut text = format!("{}\n", graph.view());
    #[cfg(feature = "serde")]
    writeln!(text, "{}", serde_json::to_string_pretty(&graph.view()).unwrap()).unwrap();
    for pool in graph.pools() {
        writeln!(text, "{pool:?}").unwrap();
    }
    for target in graph.targets() {
        writeln!(text, "{target:?}").unwrap();
    }
    for device in graph.devices() {
        writeln!(text, "{device:?}").unwrap();
    }
    for link in graph.associations() {
        writeln!(text, "{link:?} {:?}", graph.is_active(link.id)).unwrap();
    }
    for region in graph.regions() {
        writeln!(text, "{region:?}").unwrap();
        for bound in graph.bounds(region.id) {
            writeln!(text, "  {bound:?}").unwrap();
        }
        for found in graph.reservations(region.id) {
            writeln!(text, "  {found:?} at {:?}", graph.device_address(found.id)).unwrap();
            if let (Some(span), ReservationState::Backed { .. }) = (found.span, found.state) {
                let (first, last) = (span.first(), span.last());
                let [to, end] = [first, last].map(|address| graph.physical_at(region.id, address));
                writeln!(text, "    {to:?} {end:?} {:?}", graph.allocation_behind(found.id)).unwrap();
                for other in graph.regions() {
                    writeln!(text, "    {:?}", graph.address_in(region.id, first, other.id)).unwrap();
                }
            }
        }
    }
    for found in graph.allocations() {
        writeln!(text, "{found:?}").unwrap();
        for mapper in graph.mappers(found.id) {
            writeln!(text, "  {mapper:?}").unwrap();
        }
        for block in found.blocks {
            for (id, mapper) in graph.who_maps(block.base) {
                writeln!(text, "  {:?} is mapped by {id} {:?}", block.base, mapper.reservation).unwrap();
            }
        }
    }
    writeln!(text, "quarantined: {}", graph.quarantined()).unwrap();
    text
}
