//! The tiers of tests, from the inside out.

use crate::output::{Counts, Line, line};
use crate::summary::{Ending, Tier, print};
use crate::tools::{Consent, Presence, prepare};
use crate::{no_std, tools, vm};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// The tiers that `cargo test` feeds, by where a test binary's source is.
const TEST_TIERS: [(&str, &str); 10] = [
    ("unit", "beside the code"),
    ("integration", "from outside: models, random sequences, n-th step failing"),
    ("explore", "every interleaving of interrupts, vCPUs and control, to a depth"),
    ("scenarios", "the shipped scenarios, through the program"),
    ("corpus", "what the fuzzers found, replayed"),
    ("qemu-arm", "page tables and interrupts, judged by QEMU's Arm CPU and GIC"),
    ("qemu-iommu", "drivers and the whole graph on QEMU's SMMUv3, VT-d, RISC-V, AMD-Vi and virtio IOMMUs"),
    ("kvm", "guests' memory and interrupts, by this machine's KVM and a device in software"),
    ("dtc", "the committed .dtb files against their sources"),
    ("doc", "the examples in the documentation"),
];

/// Runs everything and prints the summary.
pub(crate) fn run_all(consent: Consent) -> ExitCode {
    let tools = prepare(consent);
    let mut tiers = vec![
        check("format", "rustfmt finds nothing", "cargo", &["fmt", "--all", "--check"]),
        check(
            "lint",
            "clippy finds nothing",
            "cargo",
            &["clippy", "--workspace", "--all-targets", "--all-features", "--quiet", "--", "-D", "warnings"],
        ),
    ];
    tiers.extend(test_tiers(&tools));
    tiers.extend(vm::tiers(&vm::Options::everything(consent), &tools));
    tiers.push(loom());
    tiers.push(timed("no-std", "core crates build without std", || match no_std::check() {
        Ok(()) => Ending::Held,
        Err(message) => {
            eprintln!("{message}");
            Ending::Broken
        }
    }));
    tiers.push(documentation());
    tiers.push(licences());
    print(&tiers)
}

fn timed(name: &'static str, what: &'static str, run: impl FnOnce() -> Ending) -> Tier {
    println!("== {name}: {what}");
    let start = Instant::now();
    let ending = run();
    Tier { name, what: what.into(), ending, took: start.elapsed() }
}

fn check(name: &'static str, what: &'static str, program: &str, words: &[&str]) -> Tier {
    timed(name, what, || ended(Command::new(program).args(words)))
}

fn ended(command: &mut Command) -> Ending {
    match command.status() {
        Ok(status) if status.success() => Ending::Held,
        Ok(_) => Ending::Broken,
        Err(error) => Ending::CannotRun(format!("{:?} could not be started: {error}", command.get_program())),
    }
}

/// The lock-free parts under loom: another build, since every atomic is another one there.
fn loom() -> Tier {
    let (name, what) = ("loom", "the lock-free parts, every interleaving of two or three threads");
    println!("== {name}: {what}");
    let start = Instant::now();
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let output = Command::new("cargo")
        .args(["test", "--package", "vcm-irq", "--release", "--test", "loom", "--color", "never"])
        .env("RUSTFLAGS", "--cfg loom")
        .env("CARGO_TARGET_DIR", target.join("loom"))
        .stderr(Stdio::inherit())
        .output();
    let ending = match output {
        Err(error) => Ending::CannotRun(format!("cargo could not be started: {error}")),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            let mut counts = Counts::default();
            for text in text.lines() {
                if let Line::Result(of_binary) = line(text) {
                    counts.add(of_binary);
                } else if !is_noise(text) {
                    println!("{text}");
                }
            }
            // A build that failed, or a binary without tests, is no success.
            let broken =
                counts.passed + counts.failed == 0 || (!output.status.success() && counts.failed == 0);
            if broken { Ending::Broken } else { Ending::Counted(counts) }
        }
    };
    Tier { name, what: what.into(), ending, took: start.elapsed() }
}

fn documentation() -> Tier {
    timed("rustdoc", "every public item is documented, no broken link", || {
        let mut command = Command::new("cargo");
        command.args(["doc", "--workspace", "--no-deps", "--all-features", "--quiet"]);
        ended(command.env("RUSTDOCFLAGS", "-D warnings"))
    })
}

fn licences() -> Tier {
    timed("licences", "cargo-deny: licences, bans and sources of dependencies", || {
        let mut version = Command::new("cargo");
        version.args(["deny", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
        if version.status().is_ok_and(|status| status.success()) {
            ended(Command::new("cargo").args(["deny", "check", "licenses", "bans", "sources"]))
        } else {
            Ending::CannotRun("cargo-deny is missing (cargo install --locked cargo-deny)".into())
        }
    })
}

/// Runs `cargo test` once and tells its tiers apart.
fn test_tiers(tools: &[(&'static tools::Tool, Presence)]) -> Vec<Tier> {
    println!("== tests");
    let mut command = Command::new("cargo");
    command.args(["test", "--workspace", "--all-features", "--no-fail-fast", "--color", "never"]);
    let mut cannot_run: BTreeMap<&str, &str> = BTreeMap::new();
    let kvm = lack_of_kvm();
    if let Some(why) = &kvm {
        cannot_run.insert("kvm", why);
        command.env("VCM_WITHOUT_KVM", "1");
    }
    for (tool, presence) in tools {
        if let Presence::Missing(why) = presence {
            cannot_run.insert(tool.tier, why);
            command.env(tool.without, "1");
        }
    }
    // Both streams in one, in order: cargo names a binary on one of them, the binary its results on the other.
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$@\" 2>&1", "sh"]).arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        shell.env(key, value.unwrap_or_default());
    }
    let start = Instant::now();
    let child = shell.stdout(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        return vec![Tier {
            name: "tests",
            what: "cargo test".into(),
            ending: Ending::CannotRun("cargo could not be started".into()),
            took: start.elapsed(),
        }];
    };
    let mut found: BTreeMap<&'static str, (Counts, Duration)> = BTreeMap::new();
    let mut tier = "unit";
    // Its ignored tests are run in another tier.
    let mut elsewhere = false;
    let mut since = Instant::now();
    if let Some(stdout) = child.stdout.take() {
        for text in BufReader::new(stdout).lines().map_while(Result::ok) {
            match line(&text) {
                Line::Binary(source) => {
                    (tier, since, elsewhere) = (tier_of(source), Instant::now(), vm::runs_elsewhere(source));
                }
                Line::Documentation => (tier, since, elsewhere) = ("doc", Instant::now(), false),
                Line::Result(mut counts) => {
                    if elsewhere {
                        counts.ignored = 0;
                    }
                    let entry = found.entry(tier).or_default();
                    entry.0.add(counts);
                    entry.1 += since.elapsed();
                    continue;
                }
                Line::Other if is_noise(&text) => continue,
                Line::Other => {}
            }
            println!("{text}");
        }
    }
    let succeeded = child.wait().is_ok_and(|status| status.success());
    let mut tiers: Vec<Tier> = TEST_TIERS
        .iter()
        .map(|(name, what)| {
            let (counts, took) = found.get(name).copied().unwrap_or_default();
            let ending = match cannot_run.get(name) {
                Some(why) => Ending::CannotRun((*why).to_owned()),
                None if counts == Counts::default() => Ending::CannotRun("no test of this tier ran".into()),
                None => Ending::Counted(counts),
            };
            Tier { name, what: (*what).into(), ending, took }
        })
        .collect();
    let failed = found.values().any(|(counts, _)| counts.failed > 0);
    if !succeeded && !failed {
        let what = "cargo test ended badly without a failed test: see above";
        tiers.push(Tier { name: "tests", what: what.into(), ending: Ending::Broken, took: start.elapsed() });
    }
    tiers
}

/// Why this machine's KVM cannot be used, if it cannot.
fn lack_of_kvm() -> Option<String> {
    const NODE: &str = "/dev/kvm";
    if std::env::var_os("VCM_WITHOUT_KVM").is_some() {
        return Some("VCM_WITHOUT_KVM is set".to_owned());
    }
    if !cfg!(target_arch = "x86_64") {
        return Some("its guests are for x86-64".to_owned());
    }
    let opened = std::fs::OpenOptions::new().read(true).write(true).open(NODE);
    let error = opened.err()?;
    Some(format!("{NODE}: {error} (the tier linux-vm has the same tests inside its machine)"))
}

fn tier_of(source: &str) -> &'static str {
    let Some(name) = source.strip_prefix("tests/") else { return "unit" };
    let known = [
        ("qemu_arm", "qemu-arm"),
        ("qemu_iommu", "qemu-iommu"),
        ("kvm", "kvm"),
        ("dtc", "dtc"),
        ("scenarios", "scenarios"),
        ("corpus", "corpus"),
        ("explore", "explore"),
    ];
    known.iter().find(|(start, _)| name.starts_with(start)).map_or("integration", |(_, tier)| tier)
}

/// A line for each passed test is too much.
fn is_noise(text: &str) -> bool {
    (text.starts_with("test ") && text.ends_with(" ... ok"))
        || text.is_empty()
        || text.starts_with("running ")
}
