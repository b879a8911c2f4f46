//! The graph as a drawing: masters, regions with their reservations, buffers, memories, from left to right.

use super::escape::{escape, fit};
use crate::run::{MappingEdge, Snapshot};
use std::fmt::Write;
use vcm::{Attributes, Bytes, Part, RegionKind};

/// Colours, and how the parts look. The two themes differ in the variables only.
const LOOK: &str = "
.vcm-graph { --ink: #1f2733; --soft: #5b6675; --line: #c5ccd6; --box: #ffffff; --page: #f6f8fa;
  --translated: #2f6fdb; --one-to-one: #c2620b; --cpu: #1c8552; --guest: #8043c9; --remote: #64707f; --memory: #64707f; }
@media (prefers-color-scheme: dark) { .vcm-graph { --ink: #e6ebf2; --soft: #9aa6b5; --line: #3b4553; --box: #1a212b;
  --page: #10151c; --translated: #6ea2ff; --one-to-one: #f09a4a; --cpu: #57c78d; --guest: #bb8df5; --remote: #98a4b3;
  --memory: #98a4b3; } }
.vcm-graph text { font: 12px system-ui, sans-serif; fill: var(--soft); }
.vcm-graph .page { fill: var(--page); }
.vcm-graph .box { fill: var(--box); stroke: var(--line); }
.vcm-graph .name { font-weight: 600; font-size: 13px; fill: var(--ink); }
.vcm-graph .mono { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: 11px; }
.vcm-graph .address { fill: var(--ink); }
.vcm-graph .column { font-size: 11px; letter-spacing: .08em; text-transform: uppercase; }
.vcm-graph .rule { stroke: var(--line); }
.vcm-graph .edge { fill: none; stroke-width: 1.8; }
.vcm-graph .idle { stroke-dasharray: 5 4; opacity: .7; }
.vcm-graph .thin { stroke-width: 1.2; stroke-dasharray: 2 3; }
.vcm-graph .used { fill: var(--memory); }
.vcm-graph .track { fill: var(--line); opacity: .5; }
";

const MARGIN: f64 = 20.0;
/// The left edges of the columns and their widths: masters, regions, buffers, memories.
const COLUMNS: [(f64, f64); 4] = [(20.0, 200.0), (286.0, 348.0), (706.0, 196.0), (958.0, 196.0)];
const WIDTH: f64 = 1174.0;
const TOP: f64 = 44.0;
const GAP: f64 = 18.0;
const HEADER: f64 = 48.0;
const ROW: f64 = 36.0;

const fn colour(kind: RegionKind) -> &'static str {
    match kind {
        RegionKind::Translated => "var(--translated)",
        RegionKind::OneToOne => "var(--one-to-one)",
        RegionKind::Cpu => "var(--cpu)",
        RegionKind::Guest => "var(--guest)",
        RegionKind::Remote => "var(--remote)",
    }
}

/// A column of boxes: where each begins, and how high it is.
struct Column {
    boxes: Vec<(f64, f64)>,
    height: f64,
}

fn column(heights: Vec<f64>) -> Column {
    let mut top = 0.0;
    let mut boxes = Vec::new();
    for height in heights {
        boxes.push((top, height));
        top += height + GAP;
    }
    Column { boxes, height: (top - GAP).max(0.0) }
}

impl Column {
    /// Moves the boxes down so that the column is in the middle.
    fn centre(&mut self, height: f64) {
        let shift = TOP + (height - self.height) / 2.0;
        for (top, _) in &mut self.boxes {
            *top += shift;
        }
    }

    fn middle(&self, index: usize) -> f64 {
        self.boxes[index].0 + self.boxes[index].1 / 2.0
    }
}

/// The graph as a drawing that stands for itself: it brings its colours, light and dark.
pub fn svg(graph: &Snapshot) -> String {
    let rows_of = |region: usize| -> Vec<&MappingEdge> {
        graph.mappings.iter().filter(|mapping| mapping.region == region).collect()
    };
    let region_height = |index: usize| HEADER + ROW * rows_of(index).len() as f64 + 6.0;
    let mut masters = column(vec![62.0; graph.masters.len()]);
    let mut regions = column((0..graph.regions.len()).map(region_height).collect());
    let mut buffers = column(vec![62.0; graph.buffers.len()]);
    let mut memories = column(vec![74.0; graph.memories.len()]);
    let height =
        [masters.height, regions.height, buffers.height, memories.height].into_iter().fold(60.0, f64::max);
    for one in [&mut masters, &mut regions, &mut buffers, &mut memories] {
        one.centre(height);
    }
    let full = height + TOP + MARGIN;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"vcm-graph\" viewBox=\"0 0 {WIDTH} {full}\" \
         role=\"img\" aria-label=\"Who maps what: masters, regions, buffers, memories\">\n<style>{LOOK}</style>\n\
         <rect class=\"page\" width=\"{WIDTH}\" height=\"{full}\" rx=\"10\"/>"
    );
    for ((left, _), title) in COLUMNS.iter().zip(["masters", "regions", "buffers", "memories"]) {
        let _ = writeln!(out, "<text class=\"column\" x=\"{left}\" y=\"28\">{title}</text>");
    }
    for link in &graph.links {
        let kind = graph.regions[link.region].kind;
        let idle = if link.active { "" } else { " idle" };
        let from = (COLUMNS[0].0 + COLUMNS[0].1, masters.middle(link.master));
        let to = (COLUMNS[1].0, regions.boxes[link.region].0 + HEADER / 2.0);
        edge(&mut out, &format!("edge{idle}"), colour(kind), from, to);
    }
    for (index, region) in graph.regions.iter().enumerate() {
        for (row, mapping) in rows_of(index).into_iter().enumerate() {
            let Some(buffer) = mapping.buffer else { continue };
            let y = regions.boxes[index].0 + HEADER + ROW * (row as f64 + 0.5);
            let from = (COLUMNS[1].0 + COLUMNS[1].1, y);
            edge(&mut out, "edge", colour(region.kind), from, (COLUMNS[2].0, buffers.middle(buffer)));
        }
    }
    for (index, buffer) in graph.buffers.iter().enumerate() {
        for memory in &buffer.memories {
            let from = (COLUMNS[2].0 + COLUMNS[2].1, buffers.middle(index));
            let to = (COLUMNS[3].0, memories.middle(*memory));
            edge(&mut out, "edge thin", "var(--memory)", from, to);
        }
    }
    for (index, master) in graph.masters.iter().enumerate() {
        let under = match (&master.iommu, master.kind) {
            (Some(iommu), _) => format!("behind {iommu}"),
            (None, RegionKind::Cpu) => "CPU, by its own MMU".into(),
            (None, RegionKind::OneToOne) => "without an IOMMU".into(),
            (None, _) => master.kind.to_string(),
        };
        let lines = [(master.role.as_str(), "name"), (&master.name, "mono"), (&under, "")];
        node(&mut out, COLUMNS[0], masters.boxes[index], Some(colour(master.kind)), &lines);
    }
    for (index, region) in graph.regions.iter().enumerate() {
        draw_region(&mut out, graph, index, region.kind, regions.boxes[index], &rows_of(index));
    }
    for (index, buffer) in graph.buffers.iter().enumerate() {
        let (size, blocks) = (Bytes(buffer.bytes).to_string(), buffer.blocks.to_string());
        let lines = [(buffer.name.as_str(), "name"), (&size, ""), (&blocks, "mono")];
        node(&mut out, COLUMNS[2], buffers.boxes[index], None, &lines);
    }
    for (index, memory) in graph.memories.iter().enumerate() {
        let used = memory.total - memory.free;
        let (span, text) =
            (memory.span.to_string(), format!("{} of {} used", rounded(used), rounded(memory.total)));
        let lines = [(memory.name.as_str(), "name"), (&span, "mono"), (&text, "")];
        let place = memories.boxes[index];
        node(&mut out, COLUMNS[3], place, None, &lines);
        let (x, y, width) = (COLUMNS[3].0 + 12.0, place.0 + place.1 - 11.0, COLUMNS[3].1 - 24.0);
        // A little that is used is seen as well.
        let part = if used == 0 { 0.0 } else { (used as f64 / memory.total as f64 * width).max(2.0) };
        let _ = writeln!(
            out,
            "<rect class=\"track\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"4\" rx=\"2\"/>\
             <rect class=\"used\" x=\"{x}\" y=\"{y}\" width=\"{part:.1}\" height=\"4\" rx=\"2\"/>"
        );
    }
    out.push_str("</svg>\n");
    out
}

fn edge(out: &mut String, class: &str, stroke: &str, from: (f64, f64), to: (f64, f64)) {
    let bend = (to.0 - from.0) / 2.0;
    let _ = writeln!(
        out,
        "<path class=\"{class}\" style=\"stroke: {stroke}\" d=\"M{:.1} {:.1} C{:.1} {:.1} {:.1} {:.1} {:.1} {:.1}\"/>",
        from.0,
        from.1,
        from.0 + bend,
        from.1,
        to.0 - bend,
        to.1,
        to.0,
        to.1
    );
}

fn frame(out: &mut String, (left, width): (f64, f64), (top, height): (f64, f64), bar: Option<&str>) {
    let _ = writeln!(
        out,
        "<rect class=\"box\" x=\"{left}\" y=\"{top:.1}\" width=\"{width}\" height=\"{height:.1}\" rx=\"7\"/>"
    );
    if let Some(colour) = bar {
        let _ = writeln!(
            out,
            "<rect style=\"fill: {colour}\" x=\"{left}\" y=\"{:.1}\" width=\"4\" height=\"{:.1}\" rx=\"2\"/>",
            top + 6.0,
            height - 12.0
        );
    }
}

fn text(out: &mut String, class: &str, (x, y): (f64, f64), text: &str, width: f64) {
    // Letters of the two fonts are about so wide.
    let letter = if class.contains("mono") {
        6.7
    } else if class == "name" {
        7.4
    } else {
        6.4
    };
    let short = fit(text, (width / letter) as usize);
    let _ = writeln!(
        out,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}<title>{}</title></text>",
        escape(&short),
        escape(text)
    );
}

fn node(out: &mut String, place: (f64, f64), span: (f64, f64), bar: Option<&str>, lines: &[(&str, &str)]) {
    frame(out, place, span, bar);
    let mut y = span.0 + 20.0;
    for (line, class) in lines {
        text(out, class, (place.0 + 14.0, y), line, place.1 - 22.0);
        y += 17.0;
    }
}

fn draw_region(
    out: &mut String,
    graph: &Snapshot,
    index: usize,
    kind: RegionKind,
    span: (f64, f64),
    rows: &[&MappingEdge],
) {
    let region = &graph.regions[index];
    let (left, width) = COLUMNS[1];
    frame(out, COLUMNS[1], span, Some(colour(kind)));
    let x = left + 14.0;
    let mut notes = vec![kind.to_string()];
    for link in graph.links.iter().filter(|link| link.region == index) {
        if link.part != Part::Whole {
            notes.push(link.part.to_string());
        }
        if !link.active {
            notes.push(format!("inactive for {}", graph.masters[link.master].role));
        }
    }
    text(out, "name", (x, span.0 + 20.0), &region.name, width - 28.0);
    let window = format!("{} {}", region.window, notes.join(", "));
    text(out, "mono", (x, span.0 + 37.0), &window, width - 22.0);
    let mut y = span.0 + HEADER;
    for mapping in rows {
        let right = left + width - 10.0;
        let _ = writeln!(out, "<line class=\"rule\" x1=\"{x}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\"/>");
        let address = match mapping.address {
            Some(address) => format!("{address:#x}"),
            None => "no address yet".into(),
        };
        let leaves = match (mapping.buffer, kind) {
            (None, _) => "no memory yet".into(),
            (_, RegionKind::OneToOne) => "its own physical address".into(),
            _ => mapping.leaves.to_string(),
        };
        text(out, "mono address", (x, y + 15.0), &address, 120.0);
        text(out, "mono", (x + 118.0, y + 15.0), &leaves, width - 140.0);
        text(out, "mono", (x, y + 29.0), &attributes(mapping), width - 22.0);
        y += ROW;
    }
}

/// A number of bytes of which three digits matter.
fn rounded(bytes: u64) -> String {
    let exact = Bytes(bytes).to_string();
    if exact.len() <= 5 { exact } else { format!("{:.1}M", bytes as f64 / 1_048_576.0) }
}

/// What is permitted, to whom if not to all, and how the memory behaves.
fn attributes(mapping: &MappingEdge) -> String {
    let (attributes, usual) = (mapping.attributes, Attributes::READ_WRITE);
    let mut words = vec![attributes.access.to_string()];
    if attributes.privilege != usual.privilege {
        words.push("supervisor".into());
    }
    if attributes.security != usual.security {
        words.push("secure".into());
    }
    words.push(attributes.memory_type.to_string());
    words.push(attributes.shareability.to_string());
    words.join(" ")
}
