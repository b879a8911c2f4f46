//! What a run of a virtual machine has shown: reads the records of its first process, and judges.

use super::kernel_log;
use super::protocol::{Ending, Record};
use crate::output::Counts;

/// At most so many lines of the console are shown around a panic.
const SHOWN: usize = 100;

/// A test, and how it went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Test {
    pub(crate) binary: String,
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    pub(crate) printed: Vec<String>,
    pub(crate) milliseconds: u64,
}

/// How a test went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The machine ended before its turn.
    NotRun,
    Passed,
    /// It failed, and why.
    Failed(String),
}

/// What has been seen so far.
#[derive(Default)]
pub(crate) struct Verdict {
    tests: Vec<Test>,
    running: Option<usize>,
    finished: bool,
    /// What went wrong outside of the tests.
    troubles: Vec<String>,
    /// What the kernel complains about since the running test began, or since the last one ended.
    complaints: Vec<String>,
    /// What the first process wants to be known.
    notes: Vec<String>,
}

impl Verdict {
    /// Takes one line of the port; the test that ended with it, if one did.
    pub(crate) fn take(&mut self, line: &str) -> Option<&Test> {
        let record = Record::parse(line)?;
        match record {
            Record::Planned { binary, test } => {
                let outcome = Outcome::NotRun;
                self.tests.push(Test { binary, name: test, outcome, printed: Vec::new(), milliseconds: 0 });
            }
            Record::Begin { binary, test } => {
                self.blame_nobody();
                let found = self.tests.iter().position(|known| known.binary == binary && known.name == test);
                if found.is_none() {
                    self.troubles.push(format!("{binary} {test} runs and was not planned"));
                }
                self.running = found;
            }
            Record::Printed(line) => {
                if let Some(test) = self.running.and_then(|index| self.tests.get_mut(index)) {
                    test.printed.push(line);
                }
            }
            Record::End { ending, milliseconds } => {
                let index = self.running.take()?;
                let complaints = std::mem::take(&mut self.complaints);
                let test = self.tests.get_mut(index)?;
                test.milliseconds = milliseconds;
                test.outcome = outcome(ending, &test.printed, &complaints);
                return Some(test);
            }
            Record::Kernel(record) => {
                self.complaints.extend(kernel_log::complaint(&record).map(str::to_owned))
            }
            Record::Trouble(what) => self.troubles.push(what),
            Record::Note(what) => self.notes.push(what),
            Record::Finished => {
                self.blame_nobody();
                self.finished = true;
            }
        }
        None
    }

    /// The machine is gone: `how` says what ended it, `console` is all that the kernel wrote there. The tests that have
    /// not ended.
    pub(crate) fn end(&mut self, how: &str, console: &str) -> Vec<&Test> {
        self.blame_nobody();
        let interrupted = self.running.take();
        let complaints = std::mem::take(&mut self.complaints);
        if let Some(test) = interrupted.and_then(|index| self.tests.get_mut(index)) {
            let why = format!("the machine ended during it: {how}");
            test.outcome = Outcome::Failed(with_complaints(why, &complaints));
        }
        if !self.finished {
            self.troubles.push(format!("the machine ended before the tests did: {how}"));
        }
        self.troubles.extend(panic(console));
        if self.tests.is_empty() && self.finished {
            self.troubles.push("no test was run: is the name right?".into());
        }
        let unended = self.tests.iter().enumerate();
        let unended =
            unended.filter(|(index, test)| interrupted == Some(*index) || test.outcome == Outcome::NotRun);
        unended.map(|(_, test)| test).collect()
    }

    /// Complaints while no test runs count against the run.
    fn blame_nobody(&mut self) {
        if self.running.is_none() {
            let complaints = self.complaints.drain(..);
            self.troubles.extend(complaints.map(|line| format!("outside of any test, the kernel: {line}")));
        }
    }

    #[cfg(test)]
    pub(crate) fn tests(&self) -> &[Test] {
        &self.tests
    }

    pub(crate) fn troubles(&self) -> &[String] {
        &self.troubles
    }

    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Each test counts as one; what went wrong outside of them counts as one more.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for test in &self.tests {
            match test.outcome {
                Outcome::Passed => counts.passed += 1,
                Outcome::NotRun | Outcome::Failed(_) => counts.failed += 1,
            }
        }
        counts.failed += u64::from(!self.troubles.is_empty());
        counts
    }
}

fn outcome(ending: Ending, printed: &[String], complaints: &[String]) -> Outcome {
    let why = match ending {
        Ending::TooLong => "it ran longer than a test may".to_owned(),
        Ending::Signal(signal) => format!("signal {signal} ended it"),
        Ending::Exit(0) if !printed.iter().any(|line| line.starts_with("test result: ok. 1 passed")) => {
            "it exited with 0 and did not say that it passed".to_owned()
        }
        Ending::Exit(0) if complaints.is_empty() => return Outcome::Passed,
        Ending::Exit(0) => "the kernel complained".to_owned(),
        Ending::Exit(status) => format!("it exited with {status}"),
    };
    Outcome::Failed(with_complaints(why, complaints))
}

/// What the console says of a panic, from the first complaint of the kernel on; nothing if there was none.
fn panic(console: &str) -> Vec<String> {
    if !console.contains("Kernel panic") {
        return Vec::new();
    }
    let first = console.lines().position(|line| kernel_log::complaint(line).is_some()).unwrap_or_default();
    let lines = console.lines().skip(first.saturating_sub(2)).take(SHOWN);
    std::iter::once("the kernel of the machine panicked:").chain(lines).map(str::to_owned).collect()
}

fn with_complaints(why: String, complaints: &[String]) -> String {
    complaints.iter().fold(why, |why, line| format!("{why}\n    kernel: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two tests are planned, the first has begun.
    const BEGUN: &str = "@vm planned vm_a one\r\n@vm planned vm_a two\r\n@vm begin vm_a one\r\n";
    const PASSED: &str = "| test result: ok. 1 passed; 0 failed; 0 ignored\n@vm end 12 exit 0\n";
    const SECOND: &str = "@vm begin vm_a two\n";

    fn verdict(lines: &[&str], console: &str) -> Verdict {
        let mut verdict = Verdict::default();
        for line in lines.iter().flat_map(|lines| lines.lines()) {
            verdict.take(line);
        }
        verdict.end("it powered off", console);
        verdict
    }

    fn counts(verdict: &Verdict) -> (u64, u64) {
        (verdict.counts().passed, verdict.counts().failed)
    }

    #[test]
    fn a_run_to_the_end_passes() {
        let verdict = verdict(&[BEGUN, PASSED, SECOND, PASSED, "@vm finished"], "[ 1.0] reboot: Power down");
        assert_eq!(counts(&verdict), (2, 0));
        assert_eq!(verdict.troubles(), Vec::<String>::new());
    }

    #[test]
    fn a_test_fails_by_status_by_signal_by_time_and_by_silence() {
        for (ending, why) in [
            ("@vm end 9 exit 101", "exited with 101"),
            ("@vm end 9 signal 11", "signal 11"),
            ("@vm end 9 too-long", "longer"),
            ("@vm end 9 exit 0", "did not say"),
            ("| test result: ok. 0 passed; 0 failed\n@vm end 9 exit 0", "did not say"),
        ] {
            let verdict = verdict(&[BEGUN, ending, SECOND, PASSED, "@vm finished"], "");
            assert_eq!(counts(&verdict), (1, 1), "{ending}");
            let Outcome::Failed(said) = &verdict.tests()[0].outcome else { panic!("{ending}") };
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn a_complaint_of_the_kernel_fails_the_test_that_runs_and_no_other() {
        let warning = "@vm kernel 4,9,9,-;WARNING: drivers/vfio/vfio_main.c:1 at vfio+0x1\n";
        let verdict = verdict(&[BEGUN, warning, PASSED, SECOND, PASSED, "@vm finished"], "");
        assert_eq!(counts(&verdict), (1, 1));
        let Outcome::Failed(said) = &verdict.tests()[0].outcome else { panic!() };
        assert!(said.contains("vfio_main.c:1"), "{said}");
        assert_eq!(verdict.tests()[1].outcome, Outcome::Passed);
    }

    #[test]
    fn a_complaint_between_tests_fails_the_run() {
        let warning = "@vm kernel 4,9,9,-;refcount_t: underflow; use-after-free.\n";
        for lines in [
            [warning, BEGUN, PASSED, SECOND, PASSED, "@vm finished"],
            [BEGUN, PASSED, warning, SECOND, PASSED, "@vm finished"],
            [BEGUN, PASSED, SECOND, PASSED, warning, "@vm finished"],
        ] {
            let verdict = verdict(&lines, "");
            assert_eq!(counts(&verdict), (2, 1));
            assert!(verdict.troubles()[0].contains("refcount_t"), "{:?}", verdict.troubles());
        }
    }

    #[test]
    fn a_panic_is_shown_and_what_did_not_run_counts_as_failed() {
        let console = "[ 1.0] before\n[ 1.9] Oops: 0002 [#1]\n[ 2.0] Kernel panic - not syncing: Fatal exception\n[ 2.1] after\n";
        let verdict = verdict(&[BEGUN], console);
        // Both tests, and the run.
        assert_eq!(counts(&verdict), (0, 3));
        assert_eq!(verdict.tests()[1].outcome, Outcome::NotRun);
        let troubles = verdict.troubles().join("\n");
        assert!(troubles.contains("not syncing") && troubles.contains("before"), "{troubles}");
    }

    #[test]
    fn a_machine_that_ends_early_or_does_nothing_has_not_passed() {
        assert_eq!(counts(&verdict(&[], "")), (0, 1));
        assert_eq!(counts(&verdict(&["@vm finished"], "")), (0, 1));
        assert_eq!(counts(&verdict(&[BEGUN, PASSED, SECOND, PASSED], "")), (2, 1));
        assert_eq!(counts(&verdict(&[BEGUN, PASSED, SECOND, PASSED, "| @vm finished"], "")), (2, 1));
    }

    #[test]
    fn what_the_first_process_could_not_do_fails_the_run() {
        let trouble = "@vm trouble the module /modules/vfio cannot be loaded\n";
        let verdict = verdict(&[trouble, BEGUN, PASSED, SECOND, PASSED, "@vm finished"], "");
        assert_eq!(counts(&verdict), (2, 1));
    }

    #[test]
    fn tests_that_have_not_ended_are_told() {
        let mut verdict = Verdict::default();
        for line in BEGUN.lines() {
            verdict.take(line);
        }
        let names: Vec<&str> = verdict.end("it hung", "").iter().map(|test| test.name.as_str()).collect();
        assert_eq!(names, ["one", "two"]);
    }
}
