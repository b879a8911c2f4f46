//! The way of each interrupt through the layers, from the device's line to the guest and back.

use super::escape::{escape, fit};
use crate::run::Interrupted;
use std::fmt::Write;

/// The colours of interrupts, for the pictures of this report: the two themes differ in the variables only.
pub(super) const COLOURS: &str = "
.vcm-interrupts { --ink: #1f2733; --soft: #5b6675; --line: #c5ccd6; --box: #ffffff; --page: #f6f8fa; --band: #e9edf2;
  --forwarded: #1c8552; --automasked: #c2620b; --light: #e8b27a; --bad: #c8322b; }
@media (prefers-color-scheme: dark) { .vcm-interrupts { --ink: #e6ebf2; --soft: #9aa6b5; --line: #3b4553; --box: #1a212b;
  --page: #10151c; --band: #171e27; --forwarded: #57c78d; --automasked: #f09a4a; --light: #8f5a26; --bad: #ff7b72; } }
.vcm-interrupts text { font: 12px system-ui, sans-serif; fill: var(--soft); }
.vcm-interrupts .page { fill: var(--page); } .vcm-interrupts .band { fill: var(--band); }
.vcm-interrupts .box { fill: var(--box); stroke: var(--line); }
.vcm-interrupts .gone { stroke-dasharray: 4 3; opacity: .65; }
.vcm-interrupts .name { font-weight: 600; font-size: 13px; fill: var(--ink); }
.vcm-interrupts .big { font-weight: 700; font-size: 17px; fill: var(--ink); font-variant-numeric: tabular-nums; }
.vcm-interrupts .mono { font: 11px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.vcm-interrupts .column { font-size: 11px; letter-spacing: .08em; text-transform: uppercase; }
.vcm-interrupts .know { font-size: 11px; } .vcm-interrupts .middle { text-anchor: middle; }
.vcm-interrupts .end { text-anchor: end; } .vcm-interrupts .bad { fill: var(--bad); font-weight: 600; }
.vcm-interrupts .forwarded { --way: var(--forwarded); } .vcm-interrupts .automasked { --way: var(--automasked); }
.vcm-interrupts .way { fill: none; stroke: var(--way); stroke-width: 2; }
.vcm-interrupts .back { stroke-dasharray: 7 5; animation: vcm-flow 1.4s linear infinite; }
.vcm-interrupts .head, .vcm-interrupts .dot { fill: var(--way); }
.vcm-interrupts .stop { fill: var(--box); stroke: var(--way); stroke-width: 1.5; }
.vcm-interrupts .does { font-size: 11px; text-anchor: middle; fill: var(--ink); }
.vcm-interrupts .says { font-size: 12px; text-anchor: middle; fill: var(--way); font-weight: 600; }
@keyframes vcm-flow { to { stroke-dashoffset: -24; } }
@media (prefers-reduced-motion: reduce) { .vcm-interrupts .back { animation: none; } }
";

const WIDTH: f64 = 1174.0;
const TOP: f64 = 66.0;
const LANE: f64 = 124.0;
/// The left edges and widths of what is no layer.
const DEVICE: (f64, f64) = (20.0, 170.0);
const HOST: (f64, f64) = (220.0, 76.0);
const GUEST: (f64, f64) = (964.0, 190.0);
/// The first layer's left edge, and the width of each.
const LAYERS: f64 = 314.0;
const LAYER: f64 = 128.0;
/// How far below its lane's top each line is: the device asking, the guest being done.
const ASKS: f64 = 38.0;
const DONE: f64 = 88.0;

/// The layers between the host's interrupt controller and the guest, and what each knows an interrupt as.
const NAMES: [(&str, &str); 5] = [
    ("bus driver", "host interrupt"),
    ("vfio", "device, index"),
    ("kvm-vfio", "device, GSI"),
    ("kvm", "host interrupt, GSI"),
    ("arch", "list register"),
];
const BUS_DRIVER: usize = 0;
const KVM: usize = 3;
const ARCH: usize = 4;

const fn middle(layer: usize) -> f64 {
    LAYERS + LAYER * (layer as f64 + 0.5)
}

/// The ways as a drawing that stands for itself: it brings its colours, light and dark.
pub fn interrupt_layers(rows: &[Interrupted]) -> String {
    let height = TOP + LANE * rows.len() as f64 + 12.0;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"vcm-interrupts vcm-graph\" viewBox=\"0 0 {WIDTH} {height}\" \
         role=\"img\" aria-label=\"The way of each interrupt: device line, host interrupt, bus driver, vfio, kvm-vfio, kvm, \
         arch, guest interrupt\">\n<style>{COLOURS}</style>\n\
         <rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\" rx=\"10\"/>"
    );
    for (layer, (name, knows)) in NAMES.iter().enumerate() {
        let (left, x) = (LAYERS + LAYER * layer as f64 + 3.0, middle(layer));
        let _ = writeln!(
            out,
            "<rect class=\"band\" x=\"{left}\" y=\"12\" width=\"{}\" height=\"{}\" rx=\"8\"/>\
             <text class=\"column middle\" x=\"{x}\" y=\"31\">{name}</text>\
             <text class=\"know middle\" x=\"{x}\" y=\"48\">{knows}</text>",
            LAYER - 6.0,
            height - 24.0
        );
    }
    for (x, name) in [(DEVICE.0, "device line"), (HOST.0, "host"), (GUEST.0, "guest interrupt")] {
        let _ = writeln!(out, "<text class=\"column\" x=\"{x}\" y=\"31\">{name}</text>");
    }
    for (index, row) in rows.iter().enumerate() {
        lane(&mut out, row, TOP + LANE * index as f64);
    }
    out.push_str("</svg>\n");
    out
}

fn lane(out: &mut String, row: &Interrupted, top: f64) {
    let _ = writeln!(out, "<g class=\"{}\">", row.mode);
    if row.mode == "forwarded" {
        forwarded(out, top)
    } else {
        automasked(out, top)
    }
    device(out, row, top);
    host(out, row, top);
    guest(out, row, top);
    out.push_str("</g>\n");
}

/// A line with an arrow's head at its end. `class` is added to the line.
fn arrow(out: &mut String, class: &str, path: &str, (x, y): (f64, f64), turned: &str) {
    let _ = writeln!(
        out,
        "<path class=\"way {class}\" d=\"{path}\"/>\
         <path class=\"head\" transform=\"translate({x:.1} {y:.1}) rotate({turned})\" d=\"M0 0 L-9 -4.5 L-9 4.5 Z\"/>"
    );
}

/// Something that a layer does, on the line.
fn stop(out: &mut String, layer: usize, y: f64, what: &str) {
    let x = middle(layer);
    let _ = writeln!(
        out,
        "<rect class=\"stop\" x=\"{:.1}\" y=\"{:.1}\" width=\"118\" height=\"24\" rx=\"12\"/>\
         <text class=\"does\" x=\"{x:.1}\" y=\"{:.1}\">{what}</text>",
        x - 59.0,
        y - 12.0,
        y + 4.0
    );
}

/// A layer that an interrupt goes through, and what is done there in passing.
fn pass(out: &mut String, layer: usize, y: f64, what: &str) {
    let x = middle(layer);
    let _ = writeln!(
        out,
        "<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>\
         <text class=\"does\" x=\"{x:.1}\" y=\"{:.1}\">{what}</text>",
        y - 11.0
    );
}

fn asks(out: &mut String, y: f64) {
    let (start, end) = (DEVICE.0 + DEVICE.1, GUEST.0);
    arrow(out, "", &format!("M{start} {y:.1} H{:.1}", end - 8.0), (end, y), "0");
}

/// The way of the guest's end back to the host's interrupt.
fn ends(out: &mut String, top: f64) {
    let back = top + DONE;
    let (from, to) = (GUEST.0, HOST.0 + HOST.1 / 2.0);
    let turn = top + ASKS + 19.0;
    let path = format!(
        "M{from} {back:.1} H{:.1} Q{to:.1} {back:.1} {to:.1} {:.1} V{:.1}",
        to + 14.0,
        back - 14.0,
        turn + 8.0
    );
    arrow(out, "back", &path, (to, turn), "-90");
}

/// Straight through; the end goes by the hardware and touches no layer.
fn forwarded(out: &mut String, top: f64) {
    let (y, back) = (top + ASKS, top + DONE);
    asks(out, y);
    pass(out, BUS_DRIVER, y, "drops the priority");
    pass(out, KVM, y, "its route");
    pass(out, ARCH, y, "list register");
    ends(out, top);
    let _ = writeln!(
        out,
        "<text class=\"says\" x=\"{:.1}\" y=\"{:.1}\">the guest's end of interrupt is the physical one's: no exit, no host</text>",
        middle(2),
        back - 8.0
    );
}

/// Masked and injected on the way there, an exit and an unmasking on the way back.
fn automasked(out: &mut String, top: f64) {
    let (y, back) = (top + ASKS, top + DONE);
    asks(out, y);
    stop(out, BUS_DRIVER, y, "1 masks the line");
    stop(out, KVM, y, "2 injects");
    pass(out, ARCH, y, "list register");
    ends(out, top);
    stop(out, ARCH, back, "3 maintenance exit");
    stop(out, KVM, back, "4 sees the end");
    stop(out, BUS_DRIVER, back, "5 unmasks");
}

fn frame(out: &mut String, (left, width): (f64, f64), top: f64, class: &str) {
    let _ = writeln!(
        out,
        "<rect class=\"{class}\" x=\"{left}\" y=\"{:.1}\" width=\"{width}\" height=\"{}\" rx=\"7\"/>",
        top + 12.0,
        LANE - 24.0
    );
}

fn line(out: &mut String, class: &str, (x, y): (f64, f64), text: &str, most: usize) {
    let _ = writeln!(
        out,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}<title>{}</title></text>",
        escape(&fit(text, most)),
        escape(text)
    );
}

fn device(out: &mut String, row: &Interrupted, top: f64) {
    frame(out, DEVICE, top, "box");
    let x = DEVICE.0 + 14.0;
    line(out, "name", (x, top + 34.0), &row.name, 20);
    line(out, "mono", (x, top + 52.0), &row.device, 22);
    let which = match row.subindex {
        0 => format!("interrupt {}, {}", row.index, row.sense),
        subindex => format!("interrupt {}.{subindex}, {}", row.index, row.sense),
    };
    line(out, "", (x, top + 70.0), &which, 22);
    line(out, "", (x, top + 92.0), &format!("asked {}", times(row.asked)), 22);
}

fn host(out: &mut String, row: &Interrupted, top: f64) {
    let (left, width) = HOST;
    let x = left + width / 2.0;
    let _ = writeln!(
        out,
        "<rect class=\"stop\" x=\"{left}\" y=\"{:.1}\" width=\"{width}\" height=\"36\" rx=\"18\"/>\
         <text class=\"big middle\" x=\"{x}\" y=\"{:.1}\">{}</text>",
        top + ASKS - 18.0,
        top + ASKS + 6.0,
        row.host
    );
    if row.shut > 0 {
        line(out, "bad middle", (x, top + 14.0), &format!("shut {}", times(row.shut)), 14);
    }
}

fn guest(out: &mut String, row: &Interrupted, top: f64) {
    frame(out, GUEST, top, if row.killed { "box gone" } else { "box" });
    let x = GUEST.0 + 14.0;
    let name = if row.killed { format!("{}, killed", row.guest) } else { row.guest.clone() };
    line(out, "name", (x, top + 34.0), &name, 22);
    line(out, "", (x, top + 52.0), &format!("interrupt {}, {}", row.gsi, row.mode), 26);
    let _ = writeln!(out, "<text class=\"big\" x=\"{x}\" y=\"{:.1}\">{}</text>", top + 76.0, row.delivered);
    let end = GUEST.0 + GUEST.1 - 14.0;
    let _ = writeln!(out, "<text class=\"end\" x=\"{end}\" y=\"{:.1}\">delivered</text>", top + 76.0);
    let lost = format!("{} lost, {} spurious", row.lost, row.spurious);
    line(out, if row.lost > 0 { "bad" } else { "" }, (x, top + 96.0), &lost, 26);
}

fn times(count: u64) -> String {
    match count {
        0 => "never".into(),
        1 => "once".into(),
        count => format!("{count} times"),
    }
}
