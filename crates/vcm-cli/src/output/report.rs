//! The report: one HTML file that needs nothing else.

use super::chart::charts;
use super::escape::escape;
use super::interrupt_bars::interrupt_bars;
use super::interrupt_layers::interrupt_layers;
use super::svg::svg;
use crate::run::{Leaks, Run};
use std::fmt::Write;
use vcm::Bytes;

const LOOK: &str = "
:root { color-scheme: light dark; --ink: #1f2733; --soft: #5b6675; --line: #dde2e8; --page: #ffffff; --card: #f6f8fa;
  --good: #1c8552; --bad: #c8322b; --bar0: #b7d0f5; --bar1: #7fabec; --bar2: #4a83dc; --bar3: #1e50a8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf2; --soft: #9aa6b5; --line: #2b3440; --page: #0b0f14;
  --card: #10151c; --good: #57c78d; --bad: #ff7b72; --bar0: #27497f; --bar1: #3b6fc4; --bar2: #6ea2ff; --bar3: #b4cfff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1220px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 40px 0 12px; }
p { margin: 0 0 8px; } .soft { color: var(--soft); }
.badge { display: inline-block; margin-left: 12px; padding: 2px 12px; border-radius: 999px; font-size: 14px;
  vertical-align: 4px; color: var(--page); background: var(--good); } .badge.bad { background: var(--bad); }
.facts { display: flex; flex-wrap: wrap; gap: 10px; margin: 20px 0 0; padding: 0; list-style: none; }
.facts li { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 8px 16px; min-width: 116px; }
.facts b { display: block; font-size: 20px; font-variant-numeric: tabular-nums; } .facts span { color: var(--soft); font-size: 13px; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; font-weight: 600; color: var(--soft); background: var(--card); white-space: nowrap; }
th, td { padding: 7px 12px; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; } .number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
code { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.good { color: var(--good); font-weight: 600; } .fail { color: var(--bad); font-weight: 600; }
.warning { margin: 12px 0 0; border-left: 4px solid var(--bad); background: var(--card); padding: 8px 14px; border-radius: 4px; }
.vcm-graph { width: 100%; min-width: 900px; height: auto; display: block; } .drawing { overflow-x: auto; }
.legend { display: flex; gap: 20px; color: var(--soft); font-size: 14px; }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px; vertical-align: -1px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(440px, 1fr)); gap: 16px; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 14px 16px 8px; }
figcaption { font-weight: 600; margin-bottom: 6px; } figure svg { width: 100%; height: auto; display: block; }
figure text { font: 11px system-ui, sans-serif; fill: var(--soft); } .grid { stroke: var(--line); } .axis { stroke: var(--soft); }
.tick { text-anchor: end; } .group { text-anchor: middle; } .value { text-anchor: middle; font-size: 9.5px; }
.bar0 { fill: var(--bar0); background: var(--bar0); } .bar1 { fill: var(--bar1); background: var(--bar1); }
.bar2 { fill: var(--bar2); background: var(--bar2); } .bar3 { fill: var(--bar3); background: var(--bar3); }
";

/// The report of a run.
pub fn report(run: &Run) -> String {
    let record = &run.record;
    let mut out = String::new();
    let (scenario, machine) = (escape(&record.scenario), escape(&record.machine));
    let (badge, verdict) = if record.ok { ("badge", "holds") } else { ("badge bad", "does not hold") };
    let _ = writeln!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\
         <title>{scenario} on {machine}</title>\n<style>{LOOK}</style></head>\n<body><main>\n\
         <h1>{scenario} <span class=\"{badge}\">{verdict}</span></h1>\n<p>{}</p>\n\
         <p class=\"soft\">On machine {machine}, seed {}.</p>",
        escape(&record.about),
        record.seed
    );
    facts(&mut out, run);
    for warning in &record.warnings {
        let _ = writeln!(out, "<p class=\"warning\">{}</p>", escape(warning));
    }
    if !run.fullest.regions.is_empty() {
        let _ = writeln!(
            out,
            "<h2>Who maps what</h2>\n<p class=\"soft\">The graph when most was mapped. A dashed line is an association \
             that was not active at that moment.</p>\n<div class=\"drawing\">{}</div>",
            svg(&run.fullest)
        );
    }
    if !record.interrupts.is_empty() {
        let _ = writeln!(
            out,
            "<h2>Interrupts</h2>\n<p class=\"soft\">The way of each through the layers, to its guest and back. The              upper line is the device asking, the lower one the guest being done with it.</p>\n             <div class=\"drawing\">{}</div>\n",
            interrupt_layers(&record.interrupts)
        );
        out.push_str(&interrupt_bars(&record.interrupts));
    }
    if !record.measurements.is_empty() {
        let _ = writeln!(
            out,
            "<h2>TLB misses by block size</h2>\n<p class=\"soft\">Logarithmic. Fewer is better; every bar is a read \
             whose bytes were checked.</p>\n{}",
            charts(&record.measurements)
        );
    }
    checks(&mut out, run);
    interrupts(&mut out, run);
    faults(&mut out, run);
    buffers(&mut out, run);
    transfers(&mut out, run);
    measurements(&mut out, run);
    out.push_str("</main></body></html>\n");
    out
}

fn facts(out: &mut String, run: &Run) {
    let record = &run.record;
    let held = record.checks.len() - record.failed().count();
    let moved: u64 = record.transfers.iter().map(|one| one.bytes_read + one.bytes_written).sum();
    let moved = moved + record.measurements.iter().map(|one| one.bytes).sum::<u64>();
    let leaks = &record.leaks;
    let delivered: u64 = record.interrupts.iter().map(|one| one.delivered).sum();
    let mut facts = vec![
        (format!("{held} / {}", record.checks.len()), "checks hold"),
        (mebibytes(moved), "moved"),
        (record.faults.len().to_string(), "faults"),
        (leaks.total().to_string(), if *leaks == Leaks::default() { "leaks" } else { "LEAKS" }),
    ];
    if !record.interrupts.is_empty() {
        facts.insert(3, (delivered.to_string(), "interrupts delivered"));
    }
    out.push_str("<ul class=\"facts\">");
    for (number, what) in facts {
        let _ = write!(out, "<li><b>{number}</b><span>{what}</span></li>");
    }
    out.push_str("</ul>\n");
}

fn mebibytes(bytes: u64) -> String {
    match bytes {
        0 => "0".into(),
        1..=1_048_575 => format!("{:.0} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// A table. Cells are HTML already; columns whose heading ends in `#` hold numbers.
fn table(out: &mut String, title: &str, headings: &[&str], rows: &[Vec<String>]) {
    if rows.is_empty() {
        return;
    }
    let class = |heading: &str| if heading.ends_with('#') { " class=\"number\"" } else { "" };
    let _ = write!(out, "<h2>{title}</h2>\n<div class=\"scroll\"><table><thead><tr>");
    for heading in headings {
        let _ = write!(out, "<th{}>{}</th>", class(heading), heading.trim_end_matches('#'));
    }
    out.push_str("</tr></thead><tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for (cell, heading) in row.iter().zip(headings) {
            let _ = write!(out, "<td{}>{cell}</td>", class(heading));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
}

fn code(text: &str) -> String {
    format!("<code>{}</code>", escape(text))
}

fn checks(out: &mut String, run: &Run) {
    let mark =
        |ok: bool| if ok { "<span class=\"good\">ok</span>" } else { "<span class=\"fail\">FAIL</span>" };
    let rows: Vec<_> = run
        .record
        .checks
        .iter()
        .map(|check| vec![mark(check.ok).into(), escape(&check.name), escape(&check.detail)])
        .collect();
    table(out, "What was checked", &["", "what had to hold", "what was found"], &rows);
}

fn interrupts(out: &mut String, run: &Run) {
    let rows: Vec<_> = run
        .record
        .interrupts
        .iter()
        .map(|one| {
            let guest = if one.killed { format!("{}, killed", one.guest) } else { one.guest.clone() };
            let numbers = [
                one.asked,
                one.delivered,
                one.lost,
                one.spurious,
                one.shut,
                one.exits,
                one.maintenance_exits,
                one.mmio,
            ];
            let mut cells = vec![
                escape(&one.name),
                code(&one.device),
                one.host.to_string(),
                escape(&guest),
                one.gsi.to_string(),
                one.mode.to_owned(),
            ];
            cells.extend(numbers.map(|number| number.to_string()));
            cells
        })
        .collect();
    let headings = [
        "interrupt",
        "device",
        "host#",
        "guest",
        "GSI#",
        "mode",
        "asked#",
        "delivered#",
        "lost#",
        "spurious#",
        "shut#",
        "exits#",
        "of them maintenance#",
        "register accesses#",
    ];
    table(out, "Interrupts, counted", &headings, &rows);
}

fn faults(out: &mut String, run: &Run) {
    let rows: Vec<_> = run
        .record
        .faults
        .iter()
        .map(|fault| {
            vec![
                code(&fault.device),
                code(&fault.address),
                escape(&fault.access),
                escape(&fault.reason),
                escape(fault.region.as_deref().unwrap_or("none")),
                escape(&fault.answer),
                escape(&fault.by),
            ]
        })
        .collect();
    let headings = ["device", "address", "access", "reason", "region", "answer", "answered by"];
    table(out, "Faults", &headings, &rows);
}

fn buffers(out: &mut String, run: &Run) {
    let mut rows = Vec::new();
    for buffer in &run.record.buffers {
        let size = Bytes(buffer.bytes).to_string();
        let own = [
            escape(&buffer.name),
            size,
            escape(&buffer.blocks.to_string()),
            escape(&buffer.memories.join(", ")),
        ];
        if buffer.mappers.is_empty() {
            rows.push(own.clone().into_iter().chain(std::iter::repeat_n(String::new(), 5)).collect());
        }
        for (index, mapper) in buffer.mappers.iter().enumerate() {
            let own = if index == 0 { own.clone() } else { Default::default() };
            rows.push(
                own.into_iter()
                    .chain([
                        escape(&mapper.region),
                        code(mapper.device.as_deref().unwrap_or("none")),
                        code(&mapper.address),
                        escape(&mapper.leaves.to_string()),
                        escape(&mapper.attributes),
                    ])
                    .collect(),
            );
        }
    }
    let headings =
        ["buffer", "size#", "blocks", "memory", "region", "device", "address", "leaves", "attributes"];
    table(out, "Buffers and who maps them", &headings, &rows);
}

fn transfers(out: &mut String, run: &Run) {
    let rows: Vec<_> = run
        .record
        .transfers
        .iter()
        .map(|one| {
            vec![
                escape(&one.name),
                code(&one.device),
                one.outcome.to_string(),
                one.bytes_read.to_string(),
                one.bytes_written.to_string(),
                one.tlb_lookups.to_string(),
                one.tlb_misses.to_string(),
                one.faults.to_string(),
            ]
        })
        .collect();
    let headings = [
        "transfer",
        "device",
        "outcome",
        "bytes read#",
        "bytes written#",
        "TLB lookups#",
        "TLB misses#",
        "faults#",
    ];
    table(out, "Transfers", &headings, &rows);
}

fn measurements(out: &mut String, run: &Run) {
    let rows: Vec<_> = run
        .record
        .measurements
        .iter()
        .map(|one| {
            vec![
                escape(&one.pattern),
                one.tlb_entries.map_or_else(|| "its own".into(), |entries| entries.to_string()),
                escape(&one.block),
                one.leaves.to_string(),
                one.bytes.to_string(),
                one.tlb_lookups.to_string(),
                one.tlb_misses.to_string(),
            ]
        })
        .collect();
    let headings = ["pattern", "TLB entries#", "blocks#", "leaves#", "bytes#", "TLB lookups#", "TLB misses#"];
    table(out, "Measurements", &headings, &rows);
}
