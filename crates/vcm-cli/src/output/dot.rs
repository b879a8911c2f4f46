//! The graph in Graphviz's language.

use super::picture::short;
use crate::run::Snapshot;
use std::fmt::Write;
use vcm::{Bytes, Part};

/// The graph for `dot`.
pub fn dot(graph: &Snapshot) -> String {
    let mut text = String::from(
        "digraph vcm {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\", fontsize=10];\n",
    );
    for (index, master) in graph.masters.iter().enumerate() {
        let iommu = master.iommu.as_ref().map(|iommu| format!("\nbehind {iommu}")).unwrap_or_default();
        let label = quoted(&format!("{}\n{}{iommu}", master.role, master.name));
        let _ = writeln!(text, "  master{index} [label={label}];");
    }
    for (index, region) in graph.regions.iter().enumerate() {
        let label = quoted(&format!("{}\n{}\n{}", region.name, region.kind, region.window));
        let _ = writeln!(text, "  region{index} [label={label}, style=rounded];");
    }
    for (index, buffer) in graph.buffers.iter().enumerate() {
        let label = quoted(&format!("{}\n{}\n{}", buffer.name, Bytes(buffer.bytes), buffer.blocks));
        let _ = writeln!(text, "  buffer{index} [label={label}, shape=box3d];");
        for memory in &buffer.memories {
            let _ = writeln!(text, "  buffer{index} -> memory{memory} [style=dotted];");
        }
    }
    for (index, memory) in graph.memories.iter().enumerate() {
        let label = quoted(&format!("{}\n{}", memory.name, memory.span));
        let _ = writeln!(text, "  memory{index} [label={label}, shape=cylinder];");
    }
    for link in &graph.links {
        let style = if link.active { "solid" } else { "dashed" };
        let part = if link.part == Part::Whole { String::new() } else { link.part.to_string() };
        let _ = writeln!(
            text,
            "  master{} -> region{} [style={style}, label={}];",
            link.master,
            link.region,
            quoted(&part)
        );
    }
    for mapping in &graph.mappings {
        let Some(buffer) = mapping.buffer else { continue };
        let address = mapping.address.map(|address| format!("{address:#x}")).unwrap_or_default();
        let leaves =
            if mapping.leaves.0.is_empty() { String::new() } else { format!("{}\n", mapping.leaves) };
        let label = quoted(&format!("{address}\n{leaves}{}", short(mapping.attributes)));
        let _ = writeln!(text, "  region{} -> buffer{buffer} [label={label}];", mapping.region);
    }
    text.push_str("}\n");
    text
}

/// A quoted string; a line break becomes DOT's own.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            letter if letter.is_control() => out.push('\u{fffd}'),
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_name_cannot_end_its_string() {
        assert_eq!(quoted("a\"b\\\nc"), "\"a\\\"b\\\\\\nc\"");
    }
}
