//! TLB misses as bars: a chart for each way through the buffer, a group for each size of the TLB, a bar for each block
//! size. The scale is logarithmic, since misses differ by powers of ten.

use super::escape::escape;
use crate::run::Measured;
use std::fmt::Write;

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 48.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 44.0;

/// One chart for each pattern, in the order of the measurements.
pub(super) fn charts(rows: &[Measured]) -> String {
    let most = rows.iter().map(|row| row.tlb_misses).max().unwrap_or(1);
    let (mut patterns, mut blocks): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for row in rows {
        if !patterns.contains(&row.pattern.as_str()) {
            patterns.push(&row.pattern);
        }
        if !blocks.contains(&row.block.as_str()) {
            blocks.push(&row.block);
        }
    }
    let mut out = String::from("<p class=\"legend\">");
    for (index, block) in blocks.iter().enumerate() {
        let _ = write!(
            out,
            "<span><i class=\"bar{}\"></i>{} blocks</span>",
            shade(index, blocks.len()),
            escape(block)
        );
    }
    out.push_str("</p>\n<div class=\"charts\">\n");
    for pattern in patterns {
        let of: Vec<&Measured> = rows.iter().filter(|row| row.pattern == pattern).collect();
        chart(&mut out, pattern, &of, &blocks, most);
    }
    out.push_str("</div>\n");
    out
}

/// The shade of a block size, 0 (the smallest, lightest) to 3.
const fn shade(index: usize, of: usize) -> usize {
    if of <= 1 { 1 } else { index * 3 / (of - 1) }
}

fn scale(value: u64, most: u64) -> f64 {
    let log = |value: u64| ((value + 1) as f64).log10();
    (HEIGHT - TOP - BOTTOM) * log(value) / log(most.max(9))
}

fn chart(out: &mut String, pattern: &str, rows: &[&Measured], blocks: &[&str], most: u64) {
    let mut entries: Vec<Option<u32>> = rows.iter().map(|row| row.tlb_entries).collect();
    entries.sort_unstable();
    entries.dedup();
    let _ = writeln!(
        out,
        "<figure><figcaption>{}</figcaption>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"TLB misses, {}\">",
        escape(pattern),
        escape(pattern)
    );
    let floor = HEIGHT - BOTTOM;
    let mut tick = 1;
    while tick <= most.max(9) {
        let y = floor - scale(tick, most);
        let label = match tick {
            1_000_000.. => format!("{}M", tick / 1_000_000),
            1000.. => format!("{}k", tick / 1000),
            _ => tick.to_string(),
        };
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{WIDTH}\" y2=\"{y:.1}\"/>\
             <text class=\"tick\" x=\"{}\" y=\"{:.1}\">{label}</text>",
            LEFT - 8.0,
            y + 4.0
        );
        tick *= 10;
    }
    let group = (WIDTH - LEFT) / entries.len().max(1) as f64;
    let bar = (group * 0.78 / blocks.len().max(1) as f64).min(34.0);
    for (index, entry) in entries.iter().enumerate() {
        let middle = LEFT + group * (index as f64 + 0.5);
        let start = middle - bar * blocks.len() as f64 / 2.0;
        for (position, block) in blocks.iter().enumerate() {
            let Some(row) = rows.iter().find(|row| row.tlb_entries == *entry && row.block == *block) else {
                continue;
            };
            let height = scale(row.tlb_misses, most).max(1.0);
            let x = start + bar * position as f64;
            let _ = writeln!(
                out,
                "<rect class=\"bar{}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\" rx=\"1.5\">\
                 <title>{} blocks: {} misses in {} lookups</title></rect>\
                 <text class=\"value\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                shade(position, blocks.len()),
                x + 1.0,
                floor - height,
                bar - 2.0,
                escape(block),
                row.tlb_misses,
                row.tlb_lookups,
                x + bar / 2.0,
                floor - height - 4.0,
                compact(row.tlb_misses)
            );
        }
        let label = entry.map_or_else(|| "its own TLB".into(), |entry| entry.to_string());
        let _ =
            writeln!(out, "<text class=\"group\" x=\"{middle:.1}\" y=\"{:.1}\">{label}</text>", floor + 17.0);
    }
    let _ = writeln!(
        out,
        "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{floor}\" x2=\"{WIDTH}\" y2=\"{floor}\"/>\
         <text class=\"group\" x=\"{:.1}\" y=\"{:.1}\">TLB entries</text></svg></figure>",
        LEFT + (WIDTH - LEFT) / 2.0,
        HEIGHT - 8.0
    );
}

/// A number in at most four letters, more or less.
fn compact(value: u64) -> String {
    match value {
        0..=9999 => value.to_string(),
        10_000..=999_999 => format!("{}k", value / 1000),
        _ => format!("{:.1}M", value as f64 / 1e6),
    }
}
