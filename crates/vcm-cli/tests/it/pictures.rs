//! Pictures and reports: well-formed, and nothing in a name gets out of its place.

use crate::running::{SHARED, on_flat};
use vcm_cli::output::{Style, dot, picture, report, summary, svg};

/// Every tag is closed, in order; every attribute is quoted; no bare ampersand.
pub(crate) fn assert_well_formed(text: &str) {
    let mut open: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        for (at, _) in rest[..start].match_indices('&') {
            let entity = &rest[at..];
            let known = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"];
            assert!(known.iter().any(|known| entity.starts_with(known)), "bare & before {entity:.20}");
        }
        assert!(!rest[..start].contains('>') || open.last().is_some_and(|tag| tag == "style"), "bare >");
        let end = start + rest[start..].find('>').expect("a tag that ends");
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if tag.starts_with("!DOCTYPE") {
            continue;
        }
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "closing tag");
            continue;
        }
        let body = tag.trim_end_matches('/');
        assert_eq!(body.matches('"').count() % 2, 0, "quotes of <{tag}>");
        let name = body.split_whitespace().next().expect("a tag's name");
        assert!(name.chars().all(|letter| letter.is_ascii_alphanumeric()), "<{tag}>");
        if !tag.ends_with('/') {
            open.push(name.into());
            if name == "style" {
                let end = rest.find("</style>").expect("the style's end");
                rest = &rest[end..];
            }
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
}

const NASTY: &str = "</text></svg><script>alert('x')</script>&\\\"";

#[test]
fn reports_are_well_formed_and_need_nothing_else() {
    let run = on_flat(SHARED);
    let html = report(&run);
    assert_well_formed(&html);
    assert_well_formed(&svg(&run.fullest));
    for word in ["http://", "https://", "src=", "url(", "@import", "<script", "<link"] {
        // The name space of SVG is a name, not an address that anybody asks.
        let html = html.replace("http://www.w3.org/2000/svg", "");
        assert!(!html.contains(word), "{word}");
    }
    assert_eq!(html.matches("prefers-color-scheme: dark").count(), 2);
}

#[test]
fn a_name_cannot_get_out_of_its_place() {
    let name = NASTY.replace('\\', "\\\\").replace('"', "\\\"");
    let text = format!("about = \"{name}\"\n{}", SHARED)
        .replace("\"codec space\"", &format!("\"{name}\""))
        .replace("\"frame\"", &format!("\"{name} 2\""));
    let run = on_flat(&text);
    assert!(run.record.ok);
    let html = report(&run);
    assert_well_formed(&html);
    assert_well_formed(&svg(&run.fullest));
    assert!(!html.contains("<script"));
    assert!(html.contains("&lt;script&gt;"));
    assert_eq!(dot(&run.fullest).matches("\n  region0 [").count(), 1);
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let text = SHARED.replace("\"frame\"", "\"fr\\u001b[31mame\"");
    let run = on_flat(&text);
    for text in [summary(&run, Style::Plain), report(&run), dot(&run.fullest)] {
        assert!(!text.contains('\u{1b}'));
    }
}

#[test]
fn an_empty_graph_has_a_picture() {
    let run = on_flat("[[step]]\ndo = \"reap\"\n");
    assert_eq!(picture(&run.fullest), "nothing is mapped\n");
    assert_well_formed(&svg(&run.fullest));
    assert_well_formed(&report(&run));
}

#[test]
fn the_text_shows_who_maps_what() {
    let run = on_flat(SHARED);
    let expected = "\
frame, 64K: 1 x 64K of main
├─ codec behind smmu  codec space (translated)  0x0         1 x 64K        rw-
├─ dma                dma space (one-to-one)    0x41000000  no page table  rw-
└─ cpu0 (cpu)         kernel (cpu)              0xc0000000  1 x 64K        rw-
";
    assert_eq!(picture(&run.fullest), expected);
}

#[test]
fn the_record_has_its_shape() {
    let run = on_flat(SHARED);
    let json: serde_json::Value = serde_json::from_str(&run.record.to_json().unwrap()).unwrap();
    let keys =
        |value: &serde_json::Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    for key in ["ok", "scenario", "machine", "checks", "buffers", "transfers", "faults", "leaks"] {
        assert!(keys(&json).contains(&key.to_owned()), "{key}");
    }
    assert_eq!(json["ok"], true);
    assert_eq!(json["machine"], "flat");
    assert_eq!(keys(&json["checks"][0]), ["detail", "name", "ok"]);
    let buffer = &json["buffers"][0];
    assert_eq!((&buffer["name"], &buffer["bytes"]), (&"frame".into(), &65536.into()));
    assert_eq!(buffer["blocks"], serde_json::json!({ "64K": 1 }));
    let mapper = &buffer["mappers"][1];
    assert_eq!(mapper["region"], "dma space");
    assert_eq!(mapper["device"], "dma");
    assert_eq!(mapper["kind"], "one-to-one");
    assert_eq!(mapper["address"], "0x41000000");
    assert_eq!(buffer["mappers"][0]["leaves"], serde_json::json!({ "64K": 1 }));
    let transfer = &json["transfers"][0];
    for key in ["device", "bytes_read", "bytes_written", "tlb_lookups", "tlb_misses", "faults"] {
        assert!(!transfer[key].is_null(), "{key}");
    }
    let leaks = json["leaks"].as_object().unwrap();
    let expected = [
        "allocations",
        "device_references",
        "interrupts_active",
        "interrupts_enabled",
        "late_events",
        "list_registers",
        "mappings",
        "quarantined",
    ];
    assert_eq!(keys(&json["leaks"]), expected);
    assert!(leaks.values().all(|count| *count == 0));
    assert!(json["interrupts"].is_null());
}
