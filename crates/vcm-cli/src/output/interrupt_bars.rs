//! What each interrupt costs its host, forwarded against automasked, as bars.

use super::escape::{escape, fit};
use super::interrupt_layers::COLOURS;
use crate::run::{Interrupted, per};
use std::fmt::Write;

const WIDTH: f64 = 540.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 60.0;
const ROW: f64 = 34.0;
const TOP: f64 = 6.0;

/// A chart of exits and one of register accesses, for each time that an interrupt was delivered. Empty when none was.
pub fn interrupt_bars(rows: &[Interrupted]) -> String {
    let rows: Vec<&Interrupted> = rows.iter().filter(|row| row.delivered > 0).collect();
    if rows.is_empty() {
        return String::new();
    }
    let mut out =
        format!("<style>{COLOURS}{LOOK}</style>\n<div class=\"charts vcm-interrupts vcm-costs\">\n");
    let exits: Vec<_> = rows.iter().map(|row| bar(row, row.exits, row.maintenance_exits)).collect();
    chart(&mut out, "Exits per interrupt", "maintenance exits among them", &exits);
    let mmio: Vec<_> = rows.iter().map(|row| bar(row, row.mmio, 0)).collect();
    chart(&mut out, "The host's register accesses per interrupt", "", &mmio);
    out.push_str("</div>\n");
    out
}

const LOOK: &str = "
.vcm-costs { margin-top: 16px; } .vcm-costs .bar { fill: var(--way); } .vcm-costs .part { fill: var(--light); }
.vcm-costs figure text { font-size: 12px; } .vcm-costs .legend { margin: 4px 0 0; font-size: 12px; flex-wrap: wrap; }
.vcm-costs i.forwarded { background: var(--forwarded); } .vcm-costs i.automasked { background: var(--automasked); }
.vcm-costs i.part { background: var(--light); }
";

/// One bar: all of it, and the part of it that is shaded apart.
struct Bar<'r> {
    row: &'r Interrupted,
    total: u64,
    part: u64,
}

const fn bar(row: &Interrupted, total: u64, part: u64) -> Bar<'_> {
    Bar { row, total, part }
}

impl Bar<'_> {
    fn average(&self, number: u64) -> f64 {
        number as f64 / self.row.delivered as f64
    }
}

fn chart(out: &mut String, title: &str, part: &str, bars: &[Bar<'_>]) {
    let most = bars.iter().map(|bar| bar.average(bar.total)).fold(0.0, f64::max);
    let height = TOP * 2.0 + ROW * bars.len() as f64;
    let _ = writeln!(
        out,
        "<figure><figcaption>{title}</figcaption>\n<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">"
    );
    for (index, bar) in bars.iter().enumerate() {
        let y = TOP + ROW * index as f64;
        let scale = |number: u64| {
            let full = WIDTH - LEFT - RIGHT;
            if most > 0.0 { full * bar.average(number) / most } else { 0.0 }
        };
        let (name, value) = (&bar.row.name, per(bar.total, bar.row.delivered));
        let _ = writeln!(
            out,
            "<g class=\"{}\"><text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}<title>{}</title></text>\
             <rect class=\"bar\" x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"20\" rx=\"3\">\
             <title>{}: {} in {} interrupts</title></rect>",
            bar.row.mode,
            LEFT - 10.0,
            y + 21.0,
            escape(&fit(name, 20)),
            escape(name),
            y + 7.0,
            scale(bar.total).max(2.0),
            escape(name),
            bar.total,
            bar.row.delivered
        );
        if bar.part > 0 {
            let width = scale(bar.part.min(bar.total));
            let _ = writeln!(
                out,
                "<rect class=\"part\" x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"20\" rx=\"3\">\
                 <title>{} of them</title></rect>",
                LEFT + scale(bar.total) - width,
                y + 7.0,
                bar.part
            );
        }
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\">{value}</text></g>",
            LEFT + scale(bar.total) + 8.0,
            y + 21.0
        );
    }
    out.push_str("</svg>\n<p class=\"legend\">");
    for mode in ["forwarded", "automasked"] {
        if bars.iter().any(|bar| bar.row.mode == mode) {
            let _ = write!(out, "<span><i class=\"{mode}\"></i>{mode}</span>");
        }
    }
    if bars.iter().any(|bar| bar.part > 0) {
        let _ = write!(out, "<span><i class=\"part\"></i>{part}</span>");
    }
    out.push_str("</p></figure>\n");
}
