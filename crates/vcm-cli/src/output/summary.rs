//! What a run found out, on a page of text.

use super::picture;
use crate::run::{Interrupted, Leaks, Measured, Run, per};
use std::fmt::Write;

/// How a summary looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// Letters only.
    Plain,
    /// With colours, for a terminal.
    Coloured,
}

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.into(),
            Self::Coloured => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

/// The summary of a run.
pub fn summary(run: &Run, style: Style) -> String {
    let record = &run.record;
    let mut text = String::new();
    let title =
        style.paint("1", &format!("{} on {}", printable(&record.scenario), printable(&record.machine)));
    let _ = writeln!(text, "{title}");
    if !record.about.is_empty() {
        let _ = writeln!(text, "{}", printable(&record.about));
    }
    if !run.fullest.buffers.is_empty() {
        let _ = writeln!(text, "\n{}", style.paint("1", "Who maps what, when most was mapped"));
        for line in picture(&run.fullest).lines() {
            let _ = writeln!(text, "  {}", printable(line));
        }
    }
    if !record.measurements.is_empty() {
        let _ = writeln!(text, "\n{}", style.paint("1", "TLB misses"));
        text.push_str(&misses(&record.measurements));
    }
    if !record.interrupts.is_empty() {
        let _ = writeln!(text, "\n{}", style.paint("1", "Interrupts"));
        text.push_str(&interrupts(&record.interrupts));
    }
    if !record.faults.is_empty() {
        let _ = writeln!(text, "\n{}", style.paint("1", "Faults"));
        for fault in &record.faults {
            let _ = writeln!(
                text,
                "  {} {} at {}: {} -> {} (by {})",
                printable(&fault.device),
                fault.access,
                fault.address,
                fault.reason,
                fault.answer,
                fault.by
            );
        }
    }
    let _ = writeln!(text, "\n{}", style.paint("1", "What was checked"));
    let width = record.checks.iter().map(|check| printable(&check.name).chars().count()).max().unwrap_or(0);
    let width = width.min(56);
    for check in &record.checks {
        let mark = if check.ok { style.paint("32", "ok  ") } else { style.paint("31;1", "FAIL") };
        let (name, detail) = (printable(&check.name), printable(&check.detail));
        if name.chars().count() > width {
            let _ = writeln!(text, "  {mark}  {name}\n        {:width$}  {detail}", "");
        } else {
            let _ = writeln!(text, "  {mark}  {name:<width$}  {detail}");
        }
    }
    let failed = record.failed().count();
    let leaked = if record.leaks == Leaks::default() { "nothing leaked" } else { "something leaked" };
    let verdict = match failed {
        0 => format!("All {} checks hold, {leaked}.", record.checks.len()),
        _ => format!("{failed} of {} checks FAILED, {leaked}.", record.checks.len()),
    };
    let _ = writeln!(text, "\n{}", style.paint(if record.ok { "32" } else { "31;1" }, &verdict));
    text
}

/// A table: a row for each interrupt. Costs are for each time that it was delivered.
fn interrupts(rows: &[Interrupted]) -> String {
    let ways = rows.iter().map(|row| {
        let guest = if row.killed { format!("{} (killed)", row.guest) } else { row.guest.clone() };
        printable(&format!("{}: {} -> {} -> {} of {guest}", row.name, row.device, row.host, row.gsi))
    });
    let ways: Vec<String> = ways.collect();
    let width = ways.iter().map(|way| way.chars().count()).max().unwrap_or(0).max(5);
    let mut text = format!(
        "  {:<width$}  {:<10} {:>9} {:>9} {:>5} {:>10} {:>13} {:>10}\n",
        "way", "mode", "asked", "delivered", "lost", "exits/each", "maintenance", "mmio/each"
    );
    for (row, way) in rows.iter().zip(&ways) {
        let _ = write!(
            text,
            "  {way:<width$}  {:<10} {:>9} {:>9} {:>5} {:>10} {:>13} {:>10}",
            row.mode,
            row.asked,
            row.delivered,
            row.lost,
            per(row.exits, row.delivered),
            per(row.maintenance_exits, row.delivered),
            per(row.mmio, row.delivered)
        );
        if row.spurious > 0 {
            let _ = write!(text, "  {} spurious", row.spurious);
        }
        match row.shut {
            0 => {}
            1 => text.push_str("  shut once"),
            count => {
                let _ = write!(text, "  shut {count} times");
            }
        }
        if let Some(why) = &row.fallback {
            let _ = write!(text, "  not forwarded: {why}");
        }
        text.push('\n');
    }
    text
}

/// A table: a row for each way and size of the TLB, a column for each block size.
fn misses(rows: &[Measured]) -> String {
    let mut blocks: Vec<&str> = Vec::new();
    for row in rows {
        if !blocks.contains(&row.block.as_str()) {
            blocks.push(&row.block);
        }
    }
    let mut text = format!("  {:<14} {:>11}", "pattern", "TLB entries");
    for block in &blocks {
        let _ = write!(text, " {:>12}", format!("{block} blocks"));
    }
    text.push('\n');
    let mut seen: Vec<(&str, Option<u32>)> = Vec::new();
    for row in rows {
        let key = (row.pattern.as_str(), row.tlb_entries);
        if !seen.contains(&key) {
            seen.push(key);
        }
    }
    for (pattern, entries) in seen {
        let entries_text = entries.map_or_else(|| "own".into(), |entries| entries.to_string());
        let _ = write!(text, "  {:<14} {entries_text:>11}", printable(pattern));
        for block in &blocks {
            let found = rows
                .iter()
                .find(|row| row.pattern == pattern && row.tlb_entries == entries && row.block == *block);
            let _ = write!(text, " {:>12}", found.map_or_else(String::new, |row| row.tlb_misses.to_string()));
        }
        text.push('\n');
    }
    text
}

/// Text without what would move a terminal's cursor.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}
