//! The program itself: what it prints, what it writes, how it exits.

use std::path::Path;
use std::process::{Command, Output};
use vcm_cli::machine::machine_names;
use vcm_cli::scenario::shipped_names;

fn vcm(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vcm")).args(arguments).env_remove("NO_COLOR").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Compares with a file beside the tests. With `UPDATE_EXPECTED=1` in the environment the file is written instead.
fn assert_expected(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expected").join(name);
    if std::env::var_os("UPDATE_EXPECTED").is_some_and(|value| value == "1") {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{name}: what was found differs from {}", path.display());
}

#[test]
fn every_shipped_scenario_holds_on_the_simulated_soc() {
    for name in shipped_names() {
        let output = vcm(&["run", name, "--json", "-", "--quiet"]);
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{name}: {}", text(&output.stderr));
        assert_eq!(json["ok"], true);
        assert_eq!(json["scenario"], name);
        let leaks = json["leaks"].as_object().unwrap();
        assert!(leaks.len() == 8 && leaks.values().all(|count| *count == 0), "{name}: {leaks:?}");
    }
}

#[test]
fn the_walkthrough_prints_what_a_newcomer_understands() {
    let output = vcm(&["run", "walkthrough"]);
    assert_expected("walkthrough.txt", &text(&output.stdout));
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn faults_are_warned_of_once_for_each_device() {
    let output = vcm(&["run", "faults"]);
    assert_expected("faults.txt", &text(&output.stdout));
    assert_expected("faults-warnings.txt", &text(&output.stderr));
}

#[test]
fn help_teaches() {
    assert_expected("help.txt", &text(&vcm(&["--help"]).stdout));
    assert_expected("help-run.txt", &text(&vcm(&["run", "--help"]).stdout));
    // Which of QEMU's machines can be had depends on where this runs.
    let machines = text(&vcm(&["machines"]).stdout);
    let known = machines.lines().filter(|line| !line.starts_with("  not available here"));
    assert_expected("machines.txt", &known.map(|line| line.to_owned() + "\n").collect::<String>());
    assert_expected("scenarios.txt", &text(&vcm(&["scenarios"]).stdout));
    assert_eq!(text(&vcm(&["--version"]).stdout), concat!("vcm ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn the_smallest_scenario_of_the_help_runs() {
    let help = text(&vcm(&["run", "--help"]).stdout);
    let start = help.find("  [[region]]").unwrap();
    let end = help.find("scenarios/README.md").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("smallest.toml");
    std::fs::write(&file, &help[start..end]).unwrap();
    let output = vcm(&["run", file.to_str().unwrap(), "--quiet"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn exit_statuses_tell_failed_from_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fails.toml");
    let file = file.to_str().unwrap();
    let walkthrough = text(&vcm(&["scenarios", "walkthrough"]).stdout);
    let run = |text: &str, arguments: &[&str]| {
        std::fs::write(file, text).unwrap();
        vcm(&[&["run", file], arguments].concat())
    };
    // One check fails.
    let failed = run(&walkthrough.replacen("\"64K\" = 1", "\"64K\" = 2", 1), &["--quiet"]);
    assert_eq!(failed.status.code(), Some(1));
    assert_eq!(text(&failed.stdout), "");
    let expected = "FAIL leaves of frame@codec space: 2 x 1M + 1 x 64K, and had to be 2 x 1M + 2 x 64K\n";
    assert_eq!(text(&failed.stderr), expected);
    // Mistakes.
    for (output, expected) in [
        (run("x = ", &[]), format!("vcm: {file}:1:5: string values must be quoted, expected literal string")),
        (
            run(&walkthrough, &["--machine", "msm8x6"]),
            "vcm: no machine and no device tree blob is called \"msm8x6\"; did you mean \"msm8x60\"?\n"
                .into(),
        ),
        (
            run(&walkthrough, &["--bind", "codec=vcodec"]),
            format!("vcm: {file}:21:1: association.device: \"codec\" is bound to vcodec"),
        ),
        (run(&walkthrough, &["--bind", "codec"]), "vcm: --bind codec: expected ROLE=DEVICE".into()),
        (run(&walkthrough, &["--machine", file]), format!("vcm: {file}: it says neither `tree` nor `qemu`")),
        (
            vcm(&["topology", concat!(env!("CARGO_MANIFEST_DIR"), "/src/main.rs")]),
            concat!("vcm: ", env!("CARGO_MANIFEST_DIR"), "/src/main.rs: not a device tree").into(),
        ),
        (
            run("machine = \"nokia\"", &[]),
            format!("vcm: {file}:1:1: machine: no machine and no device tree blob is called \"nokia\""),
        ),
        (
            vcm(&["run", "walktrough"]),
            "vcm: no file and no shipped scenario is called \"walktrough\"; did you mean \"walkthrough\"?\n"
                .into(),
        ),
        (vcm(&["run", "walkthrough", "--report", "/nowhere/x.html"]), "vcm: /nowhere/x.html: ".into()),
        (
            run(&walkthrough, &["--bind", "codecc=adm0"]),
            "vcm: --bind codecc=adm0: fails has no role \"codecc\"; did you mean \"codec\"?\n".into(),
        ),
        (run("", &[]), "vcm: scenario fails checks nothing; give it a [[region]]".into()),
        (
            vcm(&["run", "walkthrough", "--json", "-", "--report", "-"]),
            "vcm: --json - --report -: two outputs need two places\n".into(),
        ),
        (vcm(&["graph", "walkthrough", "--output", "/nowhere/x"]), "vcm: /nowhere/x: ".into()),
        (vcm(&["graph", "block-sizes"]), "vcm: scenario block-sizes only measures: there is no graph".into()),
        (vcm(&["run"]), "error: the following required arguments were not provided".into()),
    ] {
        let found = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{found}");
        assert!(found.starts_with(&expected), "found {found}\nexpected {expected}");
    }
}

#[test]
fn json_on_standard_output_is_alone_there() {
    let output = vcm(&["run", "walkthrough", "--json", "-"]);
    assert!(serde_json::from_slice::<serde_json::Value>(&output.stdout).is_ok());
    assert!(text(&output.stderr).contains("checks hold"));
}

#[test]
fn files_are_written_where_they_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (json, html, drawing) = (path("a.json"), path("a.html"), path("a.svg"));
    let output = vcm(&["run", "split", "--json", &json, "--report", &html, "--seed", "9"]);
    assert_eq!(output.status.code(), Some(0));
    let record: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!(record["seed"], 9);
    assert!(std::fs::read_to_string(html).unwrap().starts_with("<!DOCTYPE html>"));
    assert_eq!(vcm(&["graph", "split", "--format", "svg", "--output", &drawing]).status.code(), Some(0));
    assert!(std::fs::read_to_string(drawing).unwrap().starts_with("<svg "));
}

/// No place for what comes out: nothing is run. And a run that is not done leaves no empty files behind.
#[test]
fn outputs_are_opened_before_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (json, old) = (path("new.json"), path("old.html"));
    std::fs::write(&old, "old".repeat(100_000)).unwrap();
    let output = vcm(&["run", "walkthrough", "--json", &json, "--report", "/nowhere/x.html"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!((text(&output.stdout).as_str(), Path::new(&json).exists()), ("", false));
    // The scenario is wrong on this machine: what was there stays.
    let wrong = ["run", "walkthrough", "--bind", "codec=nobody", "--json", &json, "--report", &old];
    assert_eq!(vcm(&wrong).status.code(), Some(2));
    assert!(!Path::new(&json).exists());
    assert_eq!(std::fs::metadata(&old).unwrap().len(), 300_000);
    // What was longer is replaced to its end.
    assert_eq!(vcm(&["run", "walkthrough", "--report", &old]).status.code(), Some(0));
    let html = std::fs::read_to_string(&old).unwrap();
    assert!(html.starts_with("<!DOCTYPE html>") && !html.contains("oldold"));
}

#[test]
fn the_source_of_a_device_tree_is_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("board.dts");
    let blob = folder.path().join("board.dtb");
    std::fs::write(&source, "/dts-v1/;\n/ { };\n").unwrap();
    let (source, blob) = (source.to_str().unwrap(), blob.to_str().unwrap());
    let output = vcm(&["topology", source]);
    assert_eq!(output.status.code(), Some(2));
    let expected = format!(
        "vcm: {source}: this is the source of a device tree, not a blob; compile it: dtc -O dtb -o {blob} {source}\n"
    );
    assert_eq!(text(&output.stderr), expected);
}

#[test]
fn a_device_tree_blob_is_a_machine() {
    let folder = tempfile::tempdir().unwrap();
    let blob = folder.path().join("board.dtb");
    std::fs::write(&blob, vcm_platform::topology::shipped("two-banks").unwrap()).unwrap();
    let blob = blob.to_str().unwrap();
    let output =
        vcm(&["run", "walkthrough", "--machine", blob, "--bind", "codec=scaler@10201000", "--quiet"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let shown = text(&vcm(&["topology", blob]).stdout);
    assert!(shown.starts_with("Two banks\n"), "{shown}");
    let json = vcm(&["topology", "two-banks", "--json", "-"]).stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["iommus"][0]["context_banks"], 2);
}

#[test]
fn scenarios_are_not_tied_to_one_machine() {
    // Those of QEMU have a matrix of their own, and `linux` has no devices.
    for machine in machine_names().filter(|name| !name.starts_with("qemu-") && *name != "linux") {
        for name in shipped_names() {
            // It measures much, and one machine is enough; and nobody plays the camera on the other.
            if name == "block-sizes" || (name, machine) == ("context-switch", "apq8064-like") {
                continue;
            }
            // That machine's codec must not be given the first 16 MiB.
            let hole = (name, machine) == ("three-mappings", "apq8064-like");
            let bind: &[&str] = if hole { &["--bind", "codec=gpu@4300000"] } else { &[] };
            let output = vcm(&[&["run", name, "--machine", machine, "--quiet"], bind].concat());
            assert_eq!(output.status.code(), Some(0), "{name} on {machine}: {}", text(&output.stderr));
        }
    }
}

/// This machine's own memory and this process: nothing that any Linux would not lend.
#[test]
fn linux_lends_its_memory_to_this_process() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("process.toml");
    let scenario = "about = \"two views\"\n[[buffer]]\nname = \"frame\"\nlen = \"2112K\"\n\
                    [[region]]\nname = \"process\"\nkind = \"cpu\"\n\
                    [[association]]\nregion = \"process\"\ndevice = \"cpu\"\n\
                    [[share]]\nbuffer = \"frame\"\nregion = \"process\"\n\
                    [[step]]\ndo = \"write\"\ndevice = \"cpu\"\nto = \"frame\"\nseed = 1\n\
                    [[step]]\ndo = \"read\"\ndevice = \"cpu\"\nfrom = \"frame\"\nseed = 1\n";
    std::fs::write(&file, scenario).unwrap();
    let output = vcm(&["run", file.to_str().unwrap(), "--machine", "linux"]);
    let told = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("every byte is the pattern of seed 1"), "{told}");
    // A file for another machine is not one that says what of this one may be used.
    let other = folder.path().join("other.toml");
    std::fs::write(&other, "about = \"x\"\nqemu = \"vt-d\"\n").unwrap();
    let output = vcm(&["run", "walkthrough", "--machine", &format!("linux:{}", other.display())]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("another machine than this one"), "{}", text(&output.stderr));
}

/// What a machine cannot do is told with the place that asks for it, and is no verdict.
#[test]
fn what_a_machine_cannot_do_is_no_failure() {
    let output = vcm(&["run", "faults", "--machine", "qemu-amdvi"]);
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    assert!(told.starts_with("vcm: faults.toml:"), "{told}");
    assert!(told.contains("qemu-amdvi records no faults, which this is about"), "{told}");
    let output = vcm(&["run", "walkthrough", "--machine", "qemu-smmuv4"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("did you mean \"qemu-smmuv3\"?"), "{}", text(&output.stderr));
}

/// A machine's file can be anybody's; its mistakes have a place.
#[test]
fn a_machine_s_file_can_be_given() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    let path = file.to_str().unwrap();
    let text_of =
        |rest: &str| format!("about = \"mine\"\n{rest}\n[roles]\ncodec = \"encoder@10202000\"\n[memories]\n");
    std::fs::write(&file, text_of("tree = \"two-banks\"")).unwrap();
    let output = vcm(&["run", "walkthrough", "--machine", path]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("walkthrough on mine\n"));
    for (wrong, told) in [
        (
            "qemu = \"vt-e\"",
            "mine.toml:2:1: qemu: \"vt-e\" is none of the words that go here; did you mean \"vt-d\"?",
        ),
        ("tree = \"oak\"", "no device tree is called oak"),
        ("", "mine.toml: it says neither `tree` nor `qemu`"),
        ("qemu = \"vt-d\"\ntree = \"two-banks\"", "mine.toml:3"),
    ] {
        std::fs::write(&file, text_of(wrong)).unwrap();
        let output = vcm(&["run", "walkthrough", "--machine", path]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        assert!(text(&output.stderr).contains(told), "{wrong}: {}", text(&output.stderr));
    }
    let output = vcm(&["run", "walkthrough", "--machine", "/nowhere/mine.toml"]);
    assert!(text(&output.stderr).contains("/nowhere/mine.toml: "), "{}", text(&output.stderr));
}

/// A tree with another IOMMU is no simulated machine; who brings one hears where there is such a one.
#[test]
fn other_iommus_are_not_simulated() {
    let tree = concat!(env!("CARGO_MANIFEST_DIR"), "/../platform/device-trees/qemu-virt-smmuv3.dtb");
    let output = vcm(&["run", "walkthrough", "--machine", tree]);
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    assert!(told.contains("smmuv3@9050000") && told.contains("`vcm machines`"), "{told}");
}

/// A machine whose QEMU is not there, or is too old, says which version is needed.
#[test]
fn a_missing_qemu_is_named_with_the_version_that_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let with_path = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_vcm")).args(arguments).env("PATH", folder.path()).output().unwrap()
    };
    let run = ["run", "walkthrough", "--machine", "qemu-smmuv3"];
    let output = with_path(&run);
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    assert!(told.contains("qemu-system-aarch64 10.0 or newer is needed, but it does not run"), "{told}");
    assert!(told.contains("cargo xtask tools"), "{told}");
    let list = text(&with_path(&["machines"]).stdout);
    assert_eq!(list.matches("not available here: ").count(), 5, "{list}");
    let json: serde_json::Value =
        serde_json::from_slice(&with_path(&["machines", "--json", "-"]).stdout).unwrap();
    let missing = json.as_array().unwrap().iter().filter(|machine| machine["available"] == false);
    assert!(missing.clone().all(|machine| machine["why_not"].as_str().unwrap().contains("10.0")));
    assert_eq!(missing.count(), 5);

    // Written by another process: what this one had open for writing could not be run.
    let script = "printf '#!/bin/sh\\necho QEMU emulator version 7.2.17\\n' > \"$1\" && chmod +x \"$1\"";
    let program = folder.path().join("qemu-system-aarch64");
    let written = Command::new("/bin/sh").args(["-c", script, "sh"]).arg(&program).status().unwrap();
    assert!(written.success());
    let told = text(&with_path(&run).stderr);
    assert!(told.contains("10.0 or newer is needed, but this one is 7.2.17"), "{told}");
}

#[test]
fn graphs_are_drawn_in_three_ways() {
    assert_expected("three-mappings.txt", &text(&vcm(&["graph", "three-mappings"]).stdout));
    assert_expected(
        "three-mappings.dot",
        &text(&vcm(&["graph", "three-mappings", "--format", "dot"]).stdout),
    );
}
