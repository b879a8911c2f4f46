//! What the first process of a virtual machine tells `cargo xtask vm`, line by line, on its second serial port.
//!
//! The kernel's console is another port, so that neither cuts the other's lines in two. What a test prints comes with
//! a mark in front: it cannot be taken for a record.

use std::fmt;

const RECORD: &str = "@vm ";
const PRINTED: &str = "| ";

/// How one test's process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// It exited with this status.
    Exit(i32),
    /// This signal ended it.
    Signal(i32),
    /// It ran longer than a test may, and was killed.
    TooLong,
}

/// One line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Record {
    /// This test will be run.
    Planned { binary: String, test: String },
    /// It begins now; it is the only one that runs.
    Begin { binary: String, test: String },
    /// The test that began last has ended.
    End { ending: Ending, milliseconds: u64 },
    /// A record of `/dev/kmsg` as it stands there (Documentation/ABI/testing/dev-kmsg).
    Kernel(String),
    /// A line that the running test printed.
    Printed(String),
    /// The first process could not do something that the tests rely on.
    Trouble(String),
    /// Something to know that is no fault.
    Note(String),
    /// Every planned test was run; the machine powers off.
    Finished,
}

impl Record {
    /// Reads a line; `None` if it is no record.
    #[allow(dead_code, reason = "this file is part of the sender too, which does not read")]
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let line = line.trim_end_matches(['\r', '\n']);
        if let Some(printed) = line.strip_prefix(PRINTED) {
            return Some(Self::Printed(printed.to_owned()));
        }
        let record = line.strip_prefix(RECORD)?;
        let (word, rest) = record.split_once(' ').unwrap_or((record, ""));
        let pair = || rest.split_once(' ').map(|(binary, test)| (binary.to_owned(), test.to_owned()));
        match word {
            "planned" => pair().map(|(binary, test)| Self::Planned { binary, test }),
            "begin" => pair().map(|(binary, test)| Self::Begin { binary, test }),
            "end" => {
                let mut words = rest.split(' ');
                let milliseconds = words.next()?.parse().ok()?;
                let ending = match (words.next()?, words.next()) {
                    ("exit", Some(status)) => Ending::Exit(status.parse().ok()?),
                    ("signal", Some(signal)) => Ending::Signal(signal.parse().ok()?),
                    ("too-long", None) => Ending::TooLong,
                    _ => return None,
                };
                Some(Self::End { ending, milliseconds })
            }
            "kernel" => Some(Self::Kernel(rest.to_owned())),
            "trouble" => Some(Self::Trouble(rest.to_owned())),
            "note" => Some(Self::Note(rest.to_owned())),
            "finished" => Some(Self::Finished),
            _ => None,
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Planned { binary, test } => write!(formatter, "{RECORD}planned {binary} {test}"),
            Self::Begin { binary, test } => write!(formatter, "{RECORD}begin {binary} {test}"),
            Self::End { ending, milliseconds } => {
                write!(formatter, "{RECORD}end {milliseconds} ")?;
                match ending {
                    Ending::Exit(status) => write!(formatter, "exit {status}"),
                    Ending::Signal(signal) => write!(formatter, "signal {signal}"),
                    Ending::TooLong => write!(formatter, "too-long"),
                }
            }
            Self::Kernel(record) => write!(formatter, "{RECORD}kernel {record}"),
            Self::Printed(line) => write!(formatter, "{PRINTED}{line}"),
            Self::Trouble(what) => write!(formatter, "{RECORD}trouble {what}"),
            Self::Note(what) => write!(formatter, "{RECORD}note {what}"),
            Self::Finished => write!(formatter, "{RECORD}finished"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_understood() {
        let pair = || ("vm_smoke".to_owned(), "module::test".to_owned());
        let (binary, test) = pair();
        let mut records = vec![Record::Planned { binary, test }];
        let (binary, test) = pair();
        records.push(Record::Begin { binary, test });
        for ending in [Ending::Exit(0), Ending::Exit(-1), Ending::Signal(9), Ending::TooLong] {
            records.push(Record::End { ending, milliseconds: 1234 });
        }
        records.push(Record::Kernel("4,1,2,-;WARNING: here".into()));
        records.push(Record::Printed("@vm finished".into()));
        records.push(Record::Printed(String::new()));
        records.push(Record::Trouble("what".into()));
        records.push(Record::Note("what else".into()));
        records.push(Record::Finished);
        for record in records {
            // The terminal driver of the machine ends lines with both characters.
            assert_eq!(Record::parse(&format!("{record}\r\n")), Some(record));
        }
    }

    #[test]
    fn other_lines_are_no_records() {
        for line in
            ["", "finished", "@vm", "@vm end 1", "@vm end x exit 0", "@vm planned one", " @vm finished"]
        {
            assert_eq!(Record::parse(line), None, "{line}");
        }
    }
}
