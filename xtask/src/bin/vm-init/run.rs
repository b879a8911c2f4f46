//! Runs the tests, each in a process of its own: one that dies or hangs takes no other with it, and what the kernel
//! logs meanwhile is this test's.

use crate::machine::give_devices_back;
use crate::plan::Plan;
use crate::protocol::{Ending, Record};
use crate::report::Report;
use rustix::process::{Pid, Signal, WaitOptions};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where the running test prints to: a pipe would be held open by what it leaves behind.
const PRINTED: &str = "/run/printed";

/// Runs all tests of the plan.
pub(crate) fn all(plan: &Plan, report: &mut Report) {
    let mut tests = Vec::new();
    for path in &plan.binaries {
        let binary = Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
        for test in list(path, report) {
            if test.contains(&plan.filter) {
                report.record(&Record::Planned { binary: binary.clone(), test: test.clone() });
                tests.push((path, binary.clone(), test));
            }
        }
    }
    for (path, binary, test) in tests {
        report.kernel_log();
        report.record(&Record::Begin { binary, test: test.clone() });
        let begin = Instant::now();
        let ending = one(plan, path, &test, report);
        let milliseconds = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        clean_up(plan, report);
        report.kernel_log();
        report.record(&Record::End { ending, milliseconds });
    }
}

/// The names of a binary's tests.
fn list(path: &str, report: &mut Report) -> Vec<String> {
    let output = Command::new(path).args(["--list", "--format", "terse"]).output();
    match output {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
        }
        Ok(output) => {
            let what = format!("{path} does not list its tests: {}", output.status);
            report.record(&Record::Trouble(what));
            Vec::new()
        }
        Err(error) => {
            report.record(&Record::Trouble(format!("{path} cannot be started: {error}")));
            Vec::new()
        }
    }
}

/// Runs one test to its end.
fn one(plan: &Plan, path: &str, test: &str, report: &mut Report) -> Ending {
    let mut child = match start(plan, path, test) {
        Ok(child) => child,
        Err(error) => {
            report.record(&Record::Printed(format!("cannot be started: {error}")));
            return Ending::Exit(-1);
        }
    };
    let mut printed = Printed { file: File::open(PRINTED).ok(), line: Vec::new() };
    let begin = Instant::now();
    let ending = loop {
        match child.try_wait() {
            Ok(Some(status)) => {
                break match (status.code(), status.signal()) {
                    (Some(code), _) => Ending::Exit(code),
                    (None, signal) => Ending::Signal(signal.unwrap_or(0)),
                };
            }
            Ok(None) if begin.elapsed() > plan.limit => {
                stop(&mut child, report);
                break Ending::TooLong;
            }
            Ok(None) => {}
            Err(error) => report.record(&Record::Trouble(format!("waiting for a test failed: {error}"))),
        }
        printed.pass_on(report);
        std::thread::sleep(Duration::from_millis(5));
    };
    printed.pass_on(report);
    printed.end(report);
    ending
}

fn start(plan: &Plan, path: &str, test: &str) -> std::io::Result<Child> {
    let output = File::create(PRINTED)?;
    let mut command = Command::new(path);
    command.args(["--exact", test, "--include-ignored", "--test-threads=1", "--nocapture"]);
    command.env_clear().env("PATH", "/bin").env("HOME", "/root").env("TMPDIR", "/tmp");
    command.envs(plan.environment.iter().map(|(key, value)| (key, value)));
    command.current_dir("/").stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    command.spawn()
}

/// Kills a test that takes too long; the kernel's log tells where its threads are.
fn stop(child: &mut Child, report: &mut Report) {
    let _ = fs::write("/proc/sysrq-trigger", "w");
    report.kernel_log();
    let _ = child.kill();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(10) {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    report
        .record(&Record::Trouble("a test does not die when it is killed: it is stuck in the kernel".into()));
}

/// Ends what a test has left running, and takes its devices back.
fn clean_up(plan: &Plan, report: &mut Report) {
    // The group of process 1, negated, is "every process that may be signalled, but the caller" (kill(2)). All of them
    // are this process's children, or become so.
    let begin = Instant::now();
    loop {
        let _ = rustix::process::kill_process_group(Pid::INIT, Signal::KILL);
        match rustix::process::wait(WaitOptions::NOHANG) {
            Err(_) => break,
            Ok(Some(_)) => {}
            Ok(None) if begin.elapsed() > Duration::from_secs(10) => {
                report.record(&Record::Trouble("what a test left running does not die".into()));
                break;
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    give_devices_back(plan, report);
}

/// What a test prints, passed on line by line while it runs.
struct Printed {
    file: Option<File>,
    line: Vec<u8>,
}

impl Printed {
    fn pass_on(&mut self, report: &mut Report) {
        let Some(file) = self.file.as_mut() else { return };
        let mut bytes = Vec::new();
        if file.read_to_end(&mut bytes).is_err() {
            return;
        }
        for byte in bytes {
            if byte == b'\n' {
                report.record(&Record::Printed(String::from_utf8_lossy(&self.line).into_owned()));
                self.line.clear();
            } else {
                self.line.push(byte);
            }
        }
    }

    fn end(&mut self, report: &mut Report) {
        if !self.line.is_empty() {
            report.record(&Record::Printed(String::from_utf8_lossy(&self.line).into_owned()));
        }
    }
}

/// Causes the disaster that the plan asks for.
pub(crate) fn sabotage(plan: &Plan, report: &mut Report) {
    let Some(kind) = plan.sabotage.as_deref() else { return };
    report.record(&Record::Note(format!("sabotage: {kind}")));
    report.drain();
    let done = match kind {
        "panic" => fs::write("/proc/sysrq-trigger", "c"),
        "hang" => loop {
            std::thread::sleep(Duration::from_secs(3600));
        },
        "exit" => std::process::exit(0),
        "warning" => fs::write("/sys/kernel/debug/provoke-crash/DIRECT", "WARNING"),
        "oops" => fs::write("/sys/kernel/debug/provoke-crash/DIRECT", "EXCEPTION"),
        _ => Err(std::io::Error::other("unknown")),
    };
    if let Err(error) = done {
        report.record(&Record::Trouble(format!("sabotage {kind}: {error}")));
    }
}
