//! What was measured, for people and for programs.

use crate::count::Counts;
use crate::measure::Bench;

pub(crate) fn print(bench: &Bench, json: bool) {
    if json { for_programs(bench) } else { for_people(bench) }
}

fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        small if small < 10_000.0 => format!("{small:.0} ns"),
        middle if middle < 10_000_000.0 => format!("{:.1} us", middle / 1e3),
        large => format!("{:.1} ms", large / 1e6),
    }
}

fn total(counts: Option<&Counts>) -> String {
    counts.map_or_else(|| "?".to_owned(), |counts| counts.total().to_string())
}

fn for_people(bench: &Bench) {
    for note in &bench.notes {
        println!("{note}");
    }
    println!("medians, less the {:.0} ns that it takes to read the clock\n", bench.clock);
    println!(
        "{:<58} {:>10} {:>10} {:>10} {:>8} {:>7}  system calls",
        "", "bare", "ours", "overhead", "ratio", "noise"
    );
    for row in &bench.rows {
        let calls = row.calls.as_ref();
        println!(
            "{:<58} {:>10} {:>10} {:>10} {:>7.1}% {:>6.1}%  {}, {}",
            row.what,
            time(row.bare),
            time(row.ours),
            format!("{:.0} ns", row.ours - row.bare),
            (row.ours / row.bare - 1.0) * 100.0,
            row.noise / row.bare * 100.0,
            total(calls.map(|[bare, _]| bare)),
            calls.map_or_else(|| "?".to_owned(), |[_, ours]| ours.names()),
        );
    }
    println!(
        "\n{:<34} {:>7} {:>10} {:>10}  system calls: back; unback",
        "a buffer in regions", "blocks", "back", "unback"
    );
    for row in &bench.shared {
        let calls = row.calls.as_ref();
        let names = calls
            .map_or_else(|| "?".to_owned(), |[back, unback]| format!("{}; {}", back.names(), unback.names()));
        println!(
            "{:<34} {:>7} {:>10} {:>10}  {names}",
            row.regions,
            row.blocks,
            time(row.back.as_nanos() as f64),
            time(row.unback.as_nanos() as f64),
        );
    }
}

fn quoted(text: &str) -> String {
    let escaped: String = text
        .chars()
        .flat_map(|letter| match letter {
            '"' | '\\' => vec!['\\', letter],
            control if control.is_control() => vec![' '],
            other => vec![other],
        })
        .collect();
    format!("\"{escaped}\"")
}

fn number(counts: Option<&Counts>) -> String {
    counts.map_or_else(|| "null".to_owned(), |counts| counts.total().to_string())
}

fn for_programs(bench: &Bench) {
    let notes: Vec<String> = bench.notes.iter().map(|note| quoted(note)).collect();
    let rows: Vec<String> = bench
        .rows
        .iter()
        .map(|row| {
            let calls = row.calls.as_ref();
            format!(
                "{{\"what\":{},\"bare_ns\":{:.1},\"ours_ns\":{:.1},\"noise_ns\":{:.1},\"bare_calls\":{},\"our_calls\":{}}}",
                quoted(&row.what),
                row.bare,
                row.ours,
                row.noise,
                number(calls.map(|[bare, _]| bare)),
                number(calls.map(|[_, ours]| ours)),
            )
        })
        .collect();
    let shared: Vec<String> = bench
        .shared
        .iter()
        .map(|row| {
            let calls = row.calls.as_ref();
            format!(
                "{{\"regions\":{},\"blocks\":{},\"back_ns\":{},\"unback_ns\":{},\"back_calls\":{},\"unback_calls\":{}}}",
                quoted(&row.regions),
                row.blocks,
                row.back.as_nanos(),
                row.unback.as_nanos(),
                number(calls.map(|[back, _]| back)),
                number(calls.map(|[_, unback]| unback)),
            )
        })
        .collect();
    println!(
        "{{\"clock_ns\":{:.1},\"notes\":[{}],\"steps\":[{}],\"buffers\":[{}]}}",
        bench.clock,
        notes.join(","),
        rows.join(","),
        shared.join(",")
    );
}
