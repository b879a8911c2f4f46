//! Who maps what, as text.

use crate::run::{MappingEdge, Snapshot};
use std::fmt::Write;
use vcm::{Attributes, Bytes, Part, RegionKind};

/// The graph as text: every buffer with those who map it.
pub fn picture(graph: &Snapshot) -> String {
    let mut rows: Vec<Row> = Vec::new();
    for (index, buffer) in graph.buffers.iter().enumerate() {
        let memories: Vec<&str> =
            buffer.memories.iter().map(|memory| graph.memories[*memory].name.as_str()).collect();
        let of = memories.join(", ");
        rows.push(Row::Heading(format!(
            "{}, {}: {} of {of}",
            buffer.name,
            Bytes(buffer.bytes),
            buffer.blocks
        )));
        let before = rows.len();
        for mapping in graph.mappings.iter().filter(|mapping| mapping.buffer == Some(index)) {
            mapper_rows(graph, mapping, &mut rows);
        }
        if rows.len() == before {
            rows.push(Row::Remark("nobody maps it".into()));
        }
    }
    let mut unbacked = graph.mappings.iter().filter(|mapping| mapping.buffer.is_none()).peekable();
    if unbacked.peek().is_some() {
        rows.push(Row::Heading("reserved, without memory yet".into()));
        for mapping in unbacked {
            mapper_rows(graph, mapping, &mut rows);
        }
    }
    if rows.is_empty() {
        return "nothing is mapped\n".into();
    }
    layout(&rows)
}

enum Row {
    Heading(String),
    Remark(String),
    /// Device, region, address, leaves, attributes.
    Mapper([String; 5]),
}

fn mapper_rows(graph: &Snapshot, mapping: &MappingEdge, rows: &mut Vec<Row>) {
    let region = &graph.regions[mapping.region];
    let address = mapping.address.map_or_else(|| "no address yet".into(), |address| format!("{address:#x}"));
    let leaves = match region.kind {
        RegionKind::OneToOne => "no page table".into(),
        _ if mapping.leaves.0.is_empty() => String::new(),
        _ => mapping.leaves.to_string(),
    };
    let place = format!("{} ({})", region.name, region.kind);
    let attributes = short(mapping.attributes);
    let mut links = graph.links.iter().filter(|link| link.region == mapping.region).peekable();
    if links.peek().is_none() {
        rows.push(Row::Mapper(["(no device)".into(), place, address, leaves, attributes]));
        return;
    }
    for link in links {
        let master = &graph.masters[link.master];
        let mut device = master.name.clone();
        if master.role != master.name {
            let _ = write!(device, " ({})", master.role);
        }
        if let Some(iommu) = &master.iommu {
            let _ = write!(device, " behind {iommu}");
        }
        if link.part != Part::Whole {
            let _ = write!(device, ", {}", link.part);
        }
        if !link.active {
            device.push_str(", inactive");
        }
        rows.push(Row::Mapper([device, place.clone(), address.clone(), leaves.clone(), attributes.clone()]));
    }
}

/// The attributes, without what is as it mostly is.
pub(super) fn short(attributes: Attributes) -> String {
    let usual = Attributes::READ_WRITE;
    let mut text = attributes.access.to_string();
    if attributes.privilege != usual.privilege {
        text.push_str(" supervisor");
    }
    if attributes.security != usual.security {
        text.push_str(" secure");
    }
    if attributes.memory_type != usual.memory_type {
        let _ = write!(text, " {}", attributes.memory_type);
    }
    if attributes.shareability != usual.shareability {
        let _ = write!(text, " {}", attributes.shareability);
    }
    text
}

fn layout(rows: &[Row]) -> String {
    let mut widths = [0; 5];
    for row in rows {
        if let Row::Mapper(cells) = row {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
    }
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let last = !matches!(rows.get(index + 1), Some(Row::Mapper(_) | Row::Remark(_)));
        let branch = if last { "└─" } else { "├─" };
        let line = match row {
            Row::Heading(heading) => heading.clone(),
            Row::Remark(remark) => format!("{branch} {remark}"),
            Row::Mapper(cells) => {
                let mut line = branch.to_owned();
                for (cell, width) in cells.iter().zip(widths) {
                    // What is empty in every row takes no room.
                    if width > 0 {
                        let _ = write!(line, " {cell:<width$} ");
                    }
                }
                line
            }
        };
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
