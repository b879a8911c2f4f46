//! Guests and interrupts in scenarios, on the flat machine.

use crate::flat::FlatFactory;
use crate::guests::Flaw;
use crate::pictures::assert_well_formed;
use crate::running::on;
use vcm_cli::output::{Style, interrupt_bars, interrupt_layers, report, summary};
use vcm_cli::run::{Leaks, Run};
use vcm_cli::scenario::shipped;

/// Two devices, one forwarded and one not; each asks ten times.
pub(crate) const GUESTS: &str = r#"
[[guest]]
name = "linux"
vcpus = 2
[[interrupt]]
name = "codec done"
device = "codec"
guest = "linux"
[[interrupt]]
device = "display"
index = 1
guest = "linux"
forwarded = false
[[step]]
do = "ask"
interrupt = "codec done"
times = 10
[[step]]
do = "ask"
interrupt = "display.1"
times = 10
[[step]]
do = "settle"
"#;

fn flawed(flaw: Flaw, text: &str) -> Run {
    on(&FlatFactory { flaw, ..FlatFactory::default() }, text)
}

pub(crate) fn on_flat(text: &str) -> Run {
    flawed(Flaw::None, text)
}

pub(crate) fn failed(run: &Run) -> Vec<(&str, &str)> {
    run.record.failed().map(|check| (check.name.as_str(), check.detail.as_str())).collect()
}

#[test]
fn the_record_says_what_became_of_every_interrupt() {
    let run = on_flat(GUESTS);
    assert_eq!(failed(&run), []);
    let json: serde_json::Value = serde_json::from_str(&run.record.to_json().unwrap()).unwrap();
    let expected = serde_json::json!([
        {
            "name": "codec done", "device": "codec", "role": "codec", "index": 0, "subindex": 0, "sense": "level",
            "host": 40, "guest": "linux", "gsi": 0, "killed": false, "mode": "forwarded", "fallback": null,
            "asked": 10, "delivered": 10, "spurious": 0, "lost": 0,
            "exits": 10, "maintenance_exits": 0, "mmio": 20, "shut": 0,
        },
        {
            "name": "display.1", "device": "display", "role": "display", "index": 1, "subindex": 0, "sense": "edge",
            "host": 45, "guest": "linux", "gsi": 1, "killed": false, "mode": "automasked", "fallback": null,
            "asked": 10, "delivered": 10, "spurious": 0, "lost": 0,
            "exits": 20, "maintenance_exits": 10, "mmio": 60, "shut": 0,
        },
    ]);
    assert_eq!(json["interrupts"], expected);
    let names: Vec<_> = run.record.checks.iter().map(|check| check.name.as_str()).collect();
    assert!(names.contains(&"no interrupt is lost"), "{names:?}");
    assert!(names.contains(&"the guests are gone, and nothing of their interrupts is left"), "{names:?}");
}

#[test]
fn the_summary_shows_way_and_cost() {
    let text = summary(&on_flat(GUESTS), Style::Plain);
    let expected = "\
Interrupts
  way                                     mode           asked delivered  lost exits/each   maintenance  mmio/each
  codec done: codec -> 40 -> 0 of linux   forwarded         10        10     0       1.00          0.00       2.00
  display.1: display -> 45 -> 1 of linux  automasked        10        10     0       2.00          1.00       6.00
";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn the_report_draws_ways_and_costs() {
    let mut killed = on_flat(&format!("{GUESTS}[[step]]\ndo = \"kill\"\nguest = \"linux\"\n"));
    assert!(killed.record.ok && killed.record.interrupts[0].killed);
    killed.record.interrupts[0].shut = 1;
    let html = report(&killed);
    assert_well_formed(&html);
    for text in ["<h2>Interrupts</h2>", "1 masks the line", "5 unmasks", "linux, killed", "shut once"] {
        assert!(html.contains(text), "{text}");
    }
    let rows = &killed.record.interrupts;
    assert_well_formed(&interrupt_layers(rows));
    // Only one of the two ways has stops.
    assert_eq!(interrupt_layers(&rows[..1]).matches("class=\"says\"").count(), 1);
    assert!(!interrupt_layers(&rows[..1]).contains("masks the line"));
    assert!(interrupt_bars(rows).contains(">2.00</text>"));
    // What was never delivered has no cost for each.
    killed.record.interrupts[0].delivered = 0;
    assert!(interrupt_bars(&killed.record.interrupts[..1]).is_empty());
    assert_eq!(interrupt_bars(&[]), "");
    for word in ["https://", "src=", "url(", "<script"] {
        assert!(!html.contains(word), "{word}");
    }
}

#[test]
fn a_name_cannot_get_out_of_its_place() {
    let nasty = "</text><script>alert('x')</script>&";
    let html = report(&on_flat(&GUESTS.replace("\"linux\"", &format!("\"{nasty}\""))));
    assert_well_formed(&html);
    assert!(!html.contains("<script"));
    let text = GUESTS.replace("\"linux\"", "\"a\\u001bb\"");
    assert!(!summary(&on_flat(&text), Style::Plain).contains('\u{1b}'));
}

#[test]
fn what_is_lost_or_left_fails_the_run() {
    let run = flawed(Flaw::Loses, GUESTS);
    assert!(!run.record.ok);
    let expected = "1 of codec done lost; 1 of display.1 lost";
    assert_eq!(failed(&run), [("no interrupt is lost", expected)]);
    let run = flawed(Flaw::Leaks, GUESTS);
    assert!(!run.record.ok);
    let expected = "2 enabled, 0 active, 0 references on devices, 2 list registers in use, 0 late events";
    assert_eq!(failed(&run), [("the guests are gone, and nothing of their interrupts is left", expected)]);
    let leaks = Leaks { interrupts_enabled: 2, list_registers: 2, ..Leaks::default() };
    assert_eq!((run.record.leaks, leaks.total()), (leaks, 4));
}

/// A machine that cannot forward says so; that is no error.
#[test]
fn a_fallback_is_reported() {
    let run = flawed(Flaw::NeverForwards, GUESTS);
    assert!(run.record.ok, "{:?}", failed(&run));
    let row = &run.record.interrupts[0];
    assert_eq!((row.mode, row.fallback.as_deref()), ("automasked", Some("the guest completes in software")));
    // The other one was not to be forwarded.
    assert_eq!(run.record.interrupts[1].fallback, None);
    assert!(summary(&run, Style::Plain).contains("not forwarded: the guest completes in software"));
}

#[test]
fn a_wrong_expectation_fails() {
    let steps = r#"
[[step]]
about = "mode"
do = "expect-interrupt"
interrupt = "codec done"
mode = "automasked"
[[step]]
about = "counts"
do = "expect-interrupt"
interrupt = "codec done"
delivered = 9
asked-at-most = 9
exits-at-least = 11
spurious = 0
[[step]]
about = "good"
do = "expect-interrupt"
interrupt = "codec done"
delivered = 10
asked-at-most = 10
exits-at-least = 10
[[step]]
about = "remains"
do = "expect-remains"
enabled = 2
[[step]]
about = "too much"
do = "compare"
fewer = "codec done"
than = "display.1"
by = 3
[[step]]
about = "the wrong way"
do = "compare"
fewer = "display.1"
than = "codec done"
by = 1
cost = "mmio"
[[step]]
about = "just so"
do = "compare"
fewer = "codec done"
than = "display.1"
by = 2
[[step]]
about = "never comes"
do = "run-until"
interrupt = "codec done"
stage = "pending"
[[step]]
about = "errno"
do = "forward"
interrupt = "codec done"
refused = "EAGAIN"
[[step]]
about = "refused as it has to be"
do = "forward"
interrupt = "codec done"
refused = { errno = "EINVAL", naming = ["already"] }
[[step]]
about = "not refused"
do = "forward"
interrupt = "display.1"
refused = "EINVAL"
[[step]]
about = "not done"
do = "settle"
"#;
    let run = on_flat(&format!("{GUESTS}{steps}"));
    let expected = [
        ("mode", "forwarded, and had to be automasked"),
        (
            "counts",
            "asked 10, and had to be at most 9; delivered 10, and had to be 9; exits 10, and had to be at least 11",
        ),
        (
            "remains",
            "2 enabled, 0 active, 2 references on devices, 0 list registers in use, 0 late events; it had to be 2 \
             enabled, 0 active, 0 references on devices, 0 list registers in use, 0 late events",
        ),
        (
            "too much",
            "codec done 1.00 exits, display.1 2.00 exits for each interrupt, and had to be 3 times fewer",
        ),
        (
            "the wrong way",
            "display.1 6.00 register accesses, codec done 2.00 register accesses for each interrupt, and had to be 1 \
             times fewer",
        ),
        ("never comes", "that never comes"),
        (
            "errno",
            "it was refused with EINVAL, and had to be with EAGAIN: forward: EINVAL: it is forwarded already (test.toml:73)",
        ),
        ("not refused", "it was not refused: from now on it is forwarded (test.toml:83)"),
    ];
    assert_eq!(failed(&run), expected);
    for name in ["good", "just so", "refused as it has to be"] {
        assert!(run.record.checks.iter().any(|check| check.name == name && check.ok), "{name}");
    }
    assert!(run.record.checks.iter().all(|check| check.name != "not done"));
}

#[test]
fn the_end_of_a_transfer_is_an_interrupt() {
    let shared = crate::running::SHARED;
    let (settle, read) =
        ("[[step]]\ndo = \"settle\"\n", "[[step]]\ndo = \"read\"\ndevice = \"codec\"\nfrom = \"frame\"\n");
    let run = on_flat(&format!("{shared}{settle}{read}{settle}{GUESTS}"));
    assert!(run.record.ok, "{:?}", failed(&run));
    assert_eq!(run.record.interrupts[0].delivered, 12);
    // Two ends that nobody has come for are one interrupt, and nothing is lost by that.
    let run = on_flat(&format!("{shared}{read}{settle}{GUESTS}"));
    assert!(run.record.ok, "{:?}", failed(&run));
    assert_eq!((run.record.interrupts[0].asked, run.record.interrupts[0].delivered), (12, 11));
}

/// GSIs that are not said are the lowest that are free, whichever of them come first in the file.
#[test]
fn free_gsis_are_taken_in_order() {
    let interrupt = |name: &str, device: &str, guest: &str, rest: &str| {
        format!("[[interrupt]]\nname = \"{name}\"\ndevice = \"{device}\"\nguest = \"{guest}\"\n{rest}\n")
    };
    let text = [
        "[[guest]]\nname = \"g\"\n[[guest]]\nname = \"h\"\n".to_owned(),
        interrupt("a", "codec", "g", ""),
        interrupt("b", "display", "g", "gsi = 0"),
        interrupt("c", "dma", "g", ""),
        interrupt("d", "camera", "h", "gsi = 987"),
        interrupt("e", "rotator", "h", ""),
        interrupt("f", "scaler", "g", "given = \"later\""),
    ];
    let run = on_flat(&text.concat());
    assert!(run.record.ok, "{:?}", failed(&run));
    let found: Vec<_> = run.record.interrupts.iter().map(|row| (row.name.as_str(), row.gsi)).collect();
    assert_eq!(found, [("a", 1), ("b", 0), ("c", 2), ("d", 987), ("e", 0)]);
}

#[test]
fn a_killed_guest_loses_what_it_had() {
    let steps = r#"
[[step]]
do = "ask"
interrupt = "codec done"
times = 5
[[step]]
do = "run-until"
interrupt = "codec done"
stage = "in-service"
[[step]]
do = "kill"
guest = "linux"
[[step]]
about = "mode"
do = "expect-interrupt"
interrupt = "codec done"
mode = "forwarded"
[[step]]
about = "given to the dead"
do = "give"
interrupt = "codec done"
refused = "EBADF"
"#;
    let run = on_flat(&format!("{GUESTS}{steps}"));
    assert_eq!(failed(&run), [("mode", "nobody's, and had to be forwarded")]);
    let check = run.record.checks.iter().find(|check| check.name == "no interrupt is lost").unwrap();
    let expected =
        "0 asked, 0 delivered (the guest of codec done was killed, the guest of display.1 was killed)";
    assert_eq!(check.detail, expected);
}

#[test]
fn the_shipped_scenarios_hold() {
    for name in ["forward", "unforward-live", "kill", "storm"] {
        let run = on_flat(shipped(name).unwrap());
        assert!(run.record.ok, "{name}: {:#?}", failed(&run));
        assert!(!run.record.interrupts.is_empty());
    }
}
