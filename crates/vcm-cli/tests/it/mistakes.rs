//! Mistakes in scenarios: each is reported with its place, none is a panic.

use crate::flat::FlatFactory;
use crate::running::SHARED;
use proptest::prelude::*;
use vcm_cli::machine::{Bindings, Description, Simulated};
use vcm_cli::run::{Silent, run};
use vcm_cli::scenario::{Scenario, shipped, shipped_names};

fn problem(text: &str) -> String {
    match Scenario::parse("bad.toml", text) {
        Ok(scenario) => match run(&scenario, &FlatFactory::default(), None, &mut Silent) {
            Ok(run) => panic!("nothing is wrong with it: {:?}", run.record.checks),
            Err(problem) => problem.to_string(),
        },
        Err(problem) => problem.to_string(),
    }
}

#[test]
fn a_mistake_is_reported_with_line_column_and_key() {
    let cases = [
        ("about = 5", "bad.toml:1:1: about: expected a text in quotes, found integer"),
        ("about = \"a", "bad.toml:1:11: invalid basic string, expected `\"`"),
        (
            "colour = 1",
            "bad.toml:1:1: colour: this key is not known; known here: about, association, bound, buffer,",
        ),
        ("[[buffer]]\nname = \"frame\"\nlenght = 5\n", "bad.toml:1:1: buffer.len: this key is missing"),
        (
            "[[buffer]]\nname = \"frame\"\nlen = 4096\ncontigous = true\n",
            "bad.toml:4:1: buffer.contigous: this key is not known; did you mean \"contiguous\"?",
        ),
        (
            "[[buffer]]\nname = \"frame\"\nlen = \"4k\"\n",
            "bad.toml:3:1: buffer.len: \"4k\" is not a number of bytes, such as 4096, \"0x1000\", \"64K\" or \"2M + 4K\"",
        ),
        (
            "[[buffer]]\nname = \"frame\"\nlen = \"999999999999G\"\n",
            "bad.toml:3:1: buffer.len: \"999999999999G\" is more than a 64-bit number holds",
        ),
        (
            "[[buffer]]\nname = \"frame\"\nlen = \"4K +\"\n",
            "bad.toml:3:1: buffer.len: in \"4K +\" a number is missing beside a \"+\" or a \"*\"",
        ),
        (
            "[[buffer]]\nname = \"frame\"\nlen = -1\n",
            "bad.toml:3:1: buffer.len: -1 is not a number from 0 to 2^64 - 1",
        ),
        (
            "[[region]]\nname = \"a\"\nkind = \"translatd\"\n",
            "bad.toml:3:1: region.kind: \"translatd\" is none of the words that go here; did you mean \"translated\"?",
        ),
        (
            "[[region]]\nname = \"a\"\nkind = \"cpu\"\n[[region]]\nname = \"a\"\nkind = \"cpu\"\n",
            "bad.toml:5:1: region.name: there is a region called \"a\" already",
        ),
        (
            "[[buffer]]\nname = \"frame\"\nlen = 4096\nblocks = [\"4K\",\n  \"2M\"]\n",
            "bad.toml:5:3: buffer.blocks: \"2M\" is no block size; blocks have 4K, 64K, 1M or 16M",
        ),
        (
            "[[step]]\ndo = \"wrte\"\n",
            "bad.toml:2:1: step.do: no step does \"wrte\"; did you mean \"write\"?",
        ),
        (
            "[[step]]\ndo = \"free\"\nbuffer = \"frame\"\n",
            "bad.toml:3:1: step.buffer: no buffer is called \"frame\"",
        ),
        ("step = 5", "bad.toml:1:1: step: expected tables, each under [[step]], found integer"),
    ];
    for (text, expected) in cases {
        let found = problem(text);
        assert!(found.starts_with(expected), "{text}\n  found    {found}\n  expected {expected}");
    }
}

#[test]
fn a_mistake_in_a_step_is_reported_where_it_is() {
    let lines = SHARED.lines().count();
    let with = |step: &str| problem(&format!("{SHARED}[[step]]\n{step}"));
    let at = |line: usize| format!("bad.toml:{}:", lines + 1 + line);
    let cases = [
        (
            "do = \"read\"\ndevice = \"kodec\"\nfrom = \"frame\"\n",
            2,
            "flat has no device for the role \"kodec\"; did you mean \"codec\"?",
        ),
        (
            "do = \"read\"\ndevice = \"codec\"\nfrom = \"fram\"\n",
            3,
            "no buffer or share is called \"fram\"; did you mean \"frame\"?",
        ),
        (
            "do = \"read\"\ndevice = \"display\"\nfrom = \"frame\"\n",
            3,
            "\"frame\" is not shared with display there",
        ),
        (
            "do = \"read\"\ndevice = \"codec\"\nfrom = { buffer = \"frame\", len = \"65K\" }\n",
            3,
            "only 65536 are left",
        ),
        (
            "do = \"read\"\ndevice = \"codec\"\nfrom = { buffer = \"frame\", layout = \"columns\", width = 4, height = 4, stride = 3 }\n",
            3,
            "from.stride: a row has 4 bytes",
        ),
        (
            "do = \"read\"\ndevice = \"codec\"\nfrom = { buffer = \"frame\", layout = \"tiled\", width = 4, height = 4, tile = [0, 1] }\n",
            3,
            "from.tile: a tile is",
        ),
        (
            "do = \"read\"\ndevice = \"codec\"\nfrom = { address = \"0xffffffffffffffff\", len = 2 }\n",
            3,
            "passes the end",
        ),
        (
            "do = \"copy\"\ndevice = \"codec\"\nfrom = { buffer = \"frame\", len = 8 }\nto = \"frame\"\n",
            2,
            "a copy from 8 bytes to 65536 bytes",
        ),
        (
            "do = \"activate\"\nregion = \"codec space\"\ndevice = \"dma\"\n",
            3,
            "is not associated with \"dma\"",
        ),
        ("do = \"free\"\nbuffer = \"frame\"\nrefused = \"EBUSI\"\n", 3, "did you mean \"EBUSY\"?"),
        ("do = \"expect-misses\"\nrising = [\"a\", \"b\"]\n", 2, "no transfer is called \"a\""),
        ("do = \"reap\"\nrefused = \"EBUSY\"\n", 2, "step.refused: this key is not known"),
    ];
    for (step, line, expected) in cases {
        let found = with(step);
        assert!(
            found.starts_with(&at(line)) && found.contains(expected),
            "{step}\n  found    {found}\n  expected {} ... {expected}",
            at(line)
        );
    }
}

#[test]
fn numbers_that_would_overflow_are_mistakes() {
    for surface in [
        "layout = \"rectangle\", width = 4294967295, height = 4294967295, pixel = 16",
        "layout = \"columns\", width = 4294967295, height = 4294967295, pixel = 1, stride = 4294967295",
        "layout = \"tiled\", width = 4294967295, height = 1, pixel = 1, tile = [4294967295, 4294967295]",
        "layout = \"scattered\", len = 18446744073709551615, piece = 1",
        "len = 18446744073709551615",
        "offset = 18446744073709551615, len = 1",
        "offset = 18446744073709551615",
    ] {
        let text = format!(
            "{SHARED}[[step]]\ndo = \"read\"\ndevice = \"codec\"\nfrom = {{ buffer = \"frame\", {surface} }}\n"
        );
        let found = problem(&text);
        assert!(found.starts_with("bad.toml:"), "{found}");
    }
    let extreme = SHARED.replace(
        "kind = \"translated\"",
        "kind = \"translated\"\nstart = \"0xffffffffffffffff\"\nlen = \"0xffffffffffffffff\"",
    );
    let scenario = Scenario::parse("bad.toml", &extreme).unwrap();
    let run = run(&scenario, &FlatFactory::default(), None, &mut Silent).unwrap();
    assert_eq!(run.record.failed().next().unwrap().name, "region codec space can be had");
}

/// Where nothing is checked nothing can fail, so that it is no success either.
#[test]
fn a_scenario_that_checks_nothing_is_a_mistake() {
    let cases = [
        "",
        "about = \"nothing\"\nseed = 3\n",
        "[[pool]]\nmemory = \"main\"\nfixed = { \"4K\" = 1 }\n",
        "[[target]]\nname = \"main\"\nmemories = [\"main\"]\n",
        "[[hook]]\ndevice = \"codec\"\nanswer = \"none\"\n",
    ];
    for text in cases {
        let found = problem(text);
        assert!(found.starts_with("scenario bad checks nothing; give it a [[region]]"), "{text}: {found}");
    }
}

const MEASURE: &str = "
[measure]
device = \"codec\"
len = \"64K\"
blocks = [\"4K\"]
[[measure.pattern]]
name = \"linear\"
len = \"64K\"
";

/// Beside a measurement as well as beside a step, whatever else is there.
#[test]
fn what_the_machine_has_not_is_a_mistake_wherever_it_is_named() {
    let cases = [
        (
            "[[target]]\nname = \"a\"\nmemories = [\"nope\"]\n",
            "bad.toml:3:13: target.memories: the machine has no memory \"nope\"",
        ),
        ("[[pool]]\nmemory = \"nope\"\n", "bad.toml:2:1: pool.memory: the machine has no memory \"nope\""),
        (
            "[[hook]]\ndevice = \"zzz\"\nanswer = \"none\"\n",
            "bad.toml:2:1: hook.device: flat has no device for the role \"zzz\"",
        ),
    ];
    for (text, expected) in cases {
        for rest in ["[[region]]\nname = \"r\"\nkind = \"cpu\"\n", "[[step]]\ndo = \"reap\"\n", MEASURE] {
            let found = problem(&format!("{text}{rest}"));
            assert!(found.starts_with(expected), "{text}{rest}\n  found {found}");
        }
    }
}

/// What the graph refuses, at set-up and in a step, is found in the file by its line.
#[test]
fn a_refusal_by_the_graph_says_which_line_asked() {
    let region = "[[region]]\nname = \"r\"\nkind = \"translated\"\nlen = \"1M\"\n";
    let buffer = "[[buffer]]\nname = \"b\"\nlen = \"8K\"\n";
    let share = "[[share]]\nbuffer = \"b\"\nregion = \"r\"\n";
    let cases = [
        (format!("{region}[[bound]]\nname = \"n\"\nregion = \"r\"\nlen = \"2M\"\n"), "bound n can be had", 6),
        ("[[buffer]]\nname = \"b\"\nlen = 0\n".into(), "buffer b can be had", 2),
        (format!("{region}{buffer}{share}address = 3\n"), "share b@r can be had", 8),
        (format!("{region}{buffer}{share}name = \"s\"\nalignment = 3\n"), "share s can be had", 11),
        (format!("{region}{buffer}{share}offset = 3\nlen = \"4K\"\n"), "share b@r can be had", 8),
        (format!("{region}{buffer}{share}len = \"16K\"\n"), "share b@r can be had", 8),
        (
            format!("{region}[[association]]\nregion = \"r\"\ndevice = \"dma\"\n"),
            "association r with dma can be had",
            5,
        ),
        ("[[step]]\ndo = \"allocate\"\nname = \"b\"\nlen = \"1G\"\n".into(), "allocate b", 1),
        (
            format!("{buffer}[[step]]\ndo = \"free\"\nbuffer = \"b\"\nrefused = \"EBUSY\"\n"),
            "free b is refused",
            4,
        ),
    ];
    for (text, name, line) in cases {
        let run = crate::running::on_flat(&text);
        let failed: Vec<_> = run.record.failed().collect();
        assert_eq!(failed.len(), 1, "{text}: {failed:?}");
        assert_eq!(failed[0].name, name, "{text}");
        let end = format!(" (test.toml:{line})");
        assert!(failed[0].detail.ends_with(&end), "{text}: {}", failed[0].detail);
    }
}

#[test]
fn the_cpu_is_no_user() {
    let found = problem(&format!(
        "{SHARED}[[step]]\ndo = \"read\"\ndevice = \"cpu\"\nas = \"user\"\nfrom = \"frame\"\n"
    ));
    assert!(found.contains("moves bytes as supervisor; leave `as` out"), "{found}");
    let found = problem(&format!(
        "{SHARED}[[step]]\ndo = \"read\"\ndevice = \"codec\"\nas = \"root\"\nfrom = \"frame\"\n"
    ));
    assert!(found.contains("step.as: \"root\" is none of the words"), "{found}");
}

#[test]
fn shares_without_a_common_byte_are_not_compared() {
    let text = "
[[region]]
name = \"a\"
kind = \"translated\"
[[buffer]]
name = \"b\"
len = \"16K\"
[[buffer]]
name = \"c\"
len = \"16K\"
[[share]]
name = \"first\"
buffer = \"b\"
region = \"a\"
len = \"8K\"
[[share]]
name = \"second\"
buffer = \"b\"
region = \"a\"
offset = \"8K\"
[[share]]
name = \"third\"
buffer = \"c\"
region = \"a\"
[[association]]
region = \"a\"
device = \"codec\"
[[step]]
do = \"expect-translation\"
share = \"first\"
";
    for other in ["second", "third"] {
        let found = problem(&format!("{text}other = \"{other}\"\n"));
        let expected = format!("step.other: \"first\" and \"{other}\" have no byte in common");
        assert!(found.ends_with(&expected), "{found}");
    }
}

#[test]
fn bindings_are_pairs() {
    let mut bindings = Bindings::default();
    assert_eq!(bindings.bind("codec=gfx3d_user").unwrap(), "codec");
    assert_eq!(bindings.roles["codec"], "gfx3d_user");
    for text in ["codec", "=x", "codec=", ""] {
        assert!(bindings.bind(text).is_err(), "{text}");
    }
    let text = "about = \"x\"\ntree = \"y\"\n[roles]\ncodec = 5\n";
    let problem = Description::parse("board", text).unwrap_err();
    assert_eq!(problem.to_string(), "board.toml:3:2: roles: expected a table of texts, found integer");
}

/// Pieces that scenarios are made of, to get past the first line.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "[[region]]\n",
        "[[buffer]]\n",
        "[[share]]\n",
        "[[step]]\n",
        "[[association]]\n",
        "[measure]\n",
        "[[measure.pattern]]\n",
        "[[pool]]\n",
        "[[target]]\n",
        "[[hook]]\n",
        "[[bound]]\n",
        "name = \"a\"\n",
        "kind = \"cpu\"\n",
        "kind = \"translated\"\n",
        "len = \"1M\"\n",
        "len = 0\n",
        "region = \"a\"\n",
        "buffer = \"a\"\n",
        "device = \"codec\"\n",
        "device = \"cpu\"\n",
        "do = \"write\"\n",
        "do = \"share\"\n",
        "to = \"a\"\n",
        "from = { buffer = \"a\" }\n",
        "memories = [\"main\"]\n",
        "memory = \"main\"\n",
        "fixed = { \"4K\" = 18446744073709551615 }\n",
        "fixed = { \"1M\" = 1, contiguous = 1 }\n",
        "address = \"0xfffffffffffff000\"\n",
        "alignment = 3\n",
        "alignment = 0\n",
        "offset = \"0x8000000000000000\"\n",
        "blocks = [\"4K\"]\n",
        "tlb-entries = [8]\n",
        "layout = \"columns\"\n",
        "width = 4294967295\n",
        "height = 3\n",
        "part = \"low/1\"\n",
        "part = \"high/63\"\n",
        "answer = \"retry\"\n",
        "back = \"a@a\"\n",
        "start = 1\n",
        "[[guest]]\n",
        "[[interrupt]]\n",
        "guest = \"a\"\n",
        "interrupt = \"a\"\n",
        "do = \"ask\"\n",
        "do = \"give\"\n",
        "do = \"unforward\"\n",
        "do = \"kill\"\n",
        "do = \"settle\"\n",
        "do = \"expect-remains\"\n",
        "vcpus = 9\n",
        "gsi = 987\n",
        "times = 1000\n",
        "pace = \"at-once\"\n",
        "forwarded = false\n",
        "given = \"later\"\n",
    ];
    prop_oneof![4 => prop::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => "\\PC{0,12}\n"]
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*") {
        let _ = Scenario::parse("any.toml", &text);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Scenario::parse("any.toml", &String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn pieces_of_scenarios_are_run_or_refused(pieces in prop::collection::vec(piece(), 0..40)) {
        if let Ok(scenario) = Scenario::parse("any.toml", &pieces.concat()) {
            let _ = run(&scenario, &FlatFactory::default(), None, &mut Silent);
            let _ = run(&scenario, &Simulated::find("two-banks").unwrap(), None, &mut Silent);
        }
    }

    #[test]
    fn a_shipped_scenario_with_a_hole_is_run_or_refused(
        which in 0..14_usize, from in 0.0..1.0_f64, len in 0..60_usize, put in "\\PC{0,4}"
    ) {
        let name = shipped_names().nth(which).unwrap();
        let text = shipped(name).unwrap();
        let clamp = |mut at: usize| {
            at = at.min(text.len());
            while !text.is_char_boundary(at) { at -= 1; }
            at
        };
        let start = clamp((text.len() as f64 * from) as usize);
        let holed = format!("{}{put}{}", &text[..start], &text[clamp(start + len)..]);
        if name != "block-sizes" && let Ok(scenario) = Scenario::parse("holed.toml", &holed) {
            let _ = run(&scenario, &FlatFactory::default(), None, &mut Silent);
            let _ = run(&scenario, &Simulated::find("msm8x60").unwrap(), None, &mut Silent);
        }
        let _ = Scenario::parse("cut.toml", &text[..start]);
    }
}
