//! The example `mapping_cost`: it measures everything that it names. How long things take is not judged.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const EDU: &str = "0000:00:04.0";

/// Whether a line about so many blocks is meant.
type Wanted = fn(u64) -> bool;

fn run(arguments: &[&str]) -> Output {
    let folder = std::env::var("VCM_EXAMPLES").expect("cargo xtask vm --programs builds the examples");
    let mut command = Command::new(Path::new(&folder).join("mapping_cost"));
    let output = command.args(arguments).args(["--rounds", "9", "--buffer", "16M"]).output().unwrap();
    println!("{arguments:?}: {}\n{}{}", output.status, text(&output.stdout), text(&output.stderr));
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn has_iommufd() -> bool {
    std::env::var("VCM_VM_IOMMUFD").unwrap() == "yes"
}

/// The words at the end of the line that begins so.
fn line<'t>(told: &'t str, start: &str) -> Vec<&'t str> {
    let found = told.lines().find_map(|line| line.strip_prefix(start));
    found.unwrap_or_else(|| panic!("no line {start:?}")).split_whitespace().collect()
}

/// A step has both times, and makes these calls.
fn holds(told: &str, what: &str, calls: &[&str]) {
    let words = line(told, what);
    let times: Vec<f64> = [0, 2].map(|place: usize| words[place].parse().unwrap()).into();
    assert!(times.iter().all(|time| *time > 0.0), "{what}: {words:?}");
    let text = words.join(" ");
    for call in calls {
        assert!(text.contains(&format!(", {call}")), "{what}: {text}");
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn every_step_is_measured_beside_its_calls() {
    let driver = Path::new("/sys/bus/pci/devices").join(EDU).join("driver");
    let before = fs::read_link(&driver).ok();
    let output = run(&["--device", EDU]);
    assert!(output.status.success());
    assert_eq!(text(&output.stderr), "");
    assert_eq!(fs::read_link(&driver).ok(), before);
    let told = text(&output.stdout);
    let steps = [["map", "unmap"], ["back", "unback"]];
    for size in ["4K", "2M", "2M, a huge page"] {
        for number in [0, 1] {
            let [alone, graph] = steps.map(|steps| steps[number]);
            holds(&told, &format!("container, {size}, Container, {alone} "), &["1 ioctl"]);
            holds(&told, &format!("container, {size}, the graph, {graph} "), &["1 ioctl"]);
            holds(&told, &format!("this process, {size}, the graph, {graph} "), &["1 mmap"]);
            if has_iommufd() {
                holds(&told, &format!("iommufd (attached), {size}, Library::copy, {alone} "), &["1 ioctl"]);
                holds(&told, &format!("iommufd (attached), {size}, the graph, {graph} "), &["1 ioctl"]);
            }
        }
    }
    holds(&told, "MSI, by its group, raise and wait ", &["1 read"]);
    // A buffer's line: blocks, two times of two words each, the calls.
    let calls = |regions: &str, is_wanted: Wanted| {
        let all = told.lines().filter_map(|line| line.strip_prefix(regions));
        let mut words = all.map(|line| line.split_whitespace().collect::<Vec<_>>());
        let words = words.find(|words| is_wanted(words[0].parse().unwrap())).expect(regions);
        (words[0].parse::<u64>().unwrap(), words[5..].join(" "))
    };
    let (whole, scattered): (Wanted, Wanted) = (|blocks| blocks == 1, |blocks| blocks > 9);
    // Of one name, for backing and for taking it back. What the heap needs now and then is no matter.
    let of_name = |regions: &str, is_wanted: Wanted, name: &str| {
        let (blocks, calls) = calls(regions, is_wanted);
        let count = |part: &str| {
            let mut calls = part.split(',').filter_map(|call| call.trim().split_once(' '));
            calls.find_map(|(count, found)| (found == name).then(|| count.parse().unwrap())).unwrap_or(0)
        };
        let (back, unback) = calls.split_once(';').unwrap();
        (blocks, [count(back), count(unback)])
    };
    assert_eq!(of_name("1: this process ", whole, "mmap").1, [1, 1]);
    assert_eq!(of_name("8: this process ", whole, "mmap").1, [8, 8]);
    for blocks in [whole, scattered] {
        assert_eq!(of_name("1: a container ", blocks, "ioctl").1, [1, 1]);
    }
    if has_iommufd() {
        assert_eq!(of_name("1: an IOAS ", whole, "ioctl").1, [1, 1]);
        let (blocks, counts) = of_name("1: an IOAS ", scattered, "ioctl");
        assert_eq!(counts, [blocks, 1]);
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn without_a_device_it_says_what_is_missing() {
    let output = run(&[]);
    assert!(output.status.success());
    let told = text(&output.stdout);
    assert!(told.contains("no device (--device)"));
    assert_eq!(told.contains("no iommufd: "), !has_iommufd());
    assert_eq!(told.contains("iommufd (nothing attached), 4K, SharedIoas, map "), has_iommufd());
    assert!(told.contains("this process, 4K, the graph, back ") && !told.contains("container,"));

    let output = run(&["--json"]);
    let told = text(&output.stdout);
    assert!(output.status.success() && told.starts_with("{\"clock_ns\":") && told.ends_with("]}\n"));
    assert!(told.contains("{\"what\":\"this process, 4K, the graph, back\",\"bare_ns\":"));
    assert!(told.contains("\"bare_calls\":1,\"our_calls\":1}"));
    assert!(told.contains("{\"regions\":\"8: this process\",\"blocks\":1,"));
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn what_cannot_be_is_said() {
    let complaint = |arguments: &[&str]| {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1));
        text(&output.stderr)
    };
    assert!(complaint(&["--loudly"]).contains("what is --loudly?"));
    assert!(complaint(&["--device", "0000:00:1e.0"]).contains("0000:00:1e.0"));
    let help = run(&["--help"]);
    assert!(help.status.success() && text(&help.stdout).starts_with("usage: mapping_cost"));
}
